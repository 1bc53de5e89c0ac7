"""What the global options mean to every command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from xstilts.errors import UsageError
from xstilts.files import without_nan
from xstilts.session import Session

if TYPE_CHECKING:
    from rich.console import Console


def split_commas(text: str) -> list[str]:
    """The parts of a comma-separated option; none for an empty one."""
    return [part.strip() for part in text.split(",") if part.strip()]


@dataclass
class State:
    """The session that the global options describe, and how results are printed.

    Attributes:
        session: What works.
        as_json: Print one JSON value on stdout instead of tables.
        dry_run: Print the plan and write nothing.
        yes: Answer every question with yes.
    """

    session: Session
    as_json: bool = False
    dry_run: bool = False
    yes: bool = False

    def refuse_dry_run(self, command: str) -> None:
        """Stop a command that would write although `--dry-run` is given.

        Raises:
            UsageError: It is given.
        """
        if self.dry_run:
            raise UsageError(f"{command} has no plan to print", hint="Leave out --dry-run.")

    @cached_property
    def console(self) -> Console:
        """Standard output, for people."""
        from rich.console import Console

        from xstilts.cli.output import WIDTH

        asked = sys.stdout.isatty() or "COLUMNS" in os.environ
        return Console(soft_wrap=True, width=None if asked else WIDTH)

    @property
    def json(self) -> bool:
        """Whether stdout carries JSON."""
        return self.as_json

    def emit(self, value: Any, human: Callable[[], object]) -> None:
        """Print a result: `value` as JSON with `--json`, else whatever `human` prints."""
        if os.environ.get("RANK", "0") != "0":
            return
        if self.as_json:
            plain = without_nan(value)
            json.dump(plain, sys.stdout, ensure_ascii=False, indent=2, sort_keys=True, default=str)
            sys.stdout.write("\n")
        else:
            human()

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = ""
    ) -> None:
        """Print a table on stdout, for people."""
        from xstilts.cli.output import print_table

        print_table(columns, rows, title)

    def show(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print rows as a table, or with `--json` as one mapping each."""
        listed = list(rows)
        records = [dict(zip(columns, row, strict=True)) for row in listed]
        self.emit(records, lambda: self.table(columns, listed))

    def note(self, text: str) -> None:
        """A line for the person on stderr, unless quiet."""
        self.session.note(text)
