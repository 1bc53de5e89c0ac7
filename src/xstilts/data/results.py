"""What the verbs of a session that work on data give."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from xstilts.config.specs import TaskSpec
from xstilts.config.tabular import Tabular
from xstilts.data.findings import UNSURE, Finding
from xstilts.data.prepare import Presence

if TYPE_CHECKING:
    from xstilts.data.conversion import Converted


@dataclass(frozen=True, repr=False)
class DataResult(Tabular):
    """Splits of tasks by language, and where they are.

    Attributes:
        found: Those that are there.
        absent: Tasks that have no data.
        converted: What was converted from original files.
        lacking: Languages without rows to evaluate on, where all were to be made ready.
    """

    found: tuple[Presence, ...]
    absent: tuple[TaskSpec, ...] = ()
    converted: tuple[Converted, ...] = ()
    lacking: tuple[Finding, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """One row a split and language."""
        return [{**vars(item), "files": [str(path) for path in item.files]} for item in self.found]


@dataclass(frozen=True, repr=False)
class FindingsResult(Tabular):
    """What a check of data found.

    Attributes:
        findings: Everything that is wrong or unsure.
        checked: The tasks that were looked at.
        absent: Tasks that have no data.
    """

    findings: tuple[Finding, ...]
    checked: tuple[TaskSpec, ...]
    absent: tuple[TaskSpec, ...] = ()

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """The findings that are faults."""
        return tuple(finding for finding in self.findings if finding.kind != UNSURE)

    def records(self) -> list[dict[str, Any]]:
        """One row a finding."""
        return [asdict(finding) for finding in self.findings]


@dataclass(frozen=True, repr=False)
class TranslationsResult(Tabular):
    """Rows that were translated, a mapping a language; see `xstilts.data.translation.task`."""

    made: tuple[dict[str, Any], ...]

    def records(self) -> list[dict[str, Any]]:
        """One row a language."""
        return list(self.made)
