"""What commands that train share: where they read and write, and running one training."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from xstilts.cli.state import State, split_commas

if TYPE_CHECKING:
    from xstilts.report.results import ModuleResult


def seed_numbers(text: str) -> list[int]:
    """Comma-separated seeds.

    Raises:
        UsageError: One is no whole number from 0 on, or stands twice.
    """
    from pydantic import TypeAdapter

    from xstilts.config.specs import Seeds
    from xstilts.errors import UsageError

    try:
        return TypeAdapter(Seeds).validate_python(text.split(","))
    except ValueError:
        raise UsageError(f"no seeds: '{text}'", hint="Write --seeds 1,2,3.") from None


def run_training(state: State, *, track: str = "", nproc: int = 1, **how: Any) -> None:
    """Start the processes, and train what `how` states; see `train_and_print`."""
    if nproc > 1 and "RANK" not in os.environ:
        _start_processes(nproc)
    train_and_print(state, track=split_commas(track), **how)


def train_and_print(state: State, *, force: bool = False, **how: Any) -> None:
    """Train and print the module, or with --dry-run what it would cost; see `Session.phase`."""
    how["command"] = shown_command()
    if state.dry_run:
        _print_plan(state, state.session.plan(**how))
        return
    print_module(state, state.session.train(force=force, **how))


def shown_command(*words: str) -> str:
    """The command line, to be shown to whom has to type it again.

    With `words` another command on the same data and results.
    """
    from xstilts.cli.app import shared_options

    own = [*shared_options(sys.argv[1:]), *words] if words else sys.argv[1:]
    return shlex.join(["xstilts", *own])


def _start_processes(count: int) -> NoReturn:
    """Become `count` processes that run this same command together."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    own = sys.argv[1:]
    for index, argument in enumerate(own):  # the launcher would take it for one of its own
        if argument.split("=")[0] == "--nproc":
            own = own[:index] + own[index + (1 if "=" in argument else 2) :]
            break
    command = [sys.executable, *launcher, "-m", "xstilts", *own]
    os.execv(sys.executable, command)  # noqa: S606  (our own interpreter and arguments)


def _print_plan(state: State, record: dict[str, Any]) -> None:
    cut_rows = record["rows cut"]
    shown = {key: value for key, value in record.items() if key not in ("rows cut", "dev limit")}
    shown["already there"] = record["already there"] or "no"
    rows = [(key, f"{v:,}" if isinstance(v, int) else v) for key, v in shown.items()]
    for name, part in cut_rows.items():
        cut = f"{part['cut']:,} of {part['rows']:,} at {part['max_length']} sub-words"
        rows.append((f"rows cut, {name}", cut))
    if record["dev limit"] is not None:
        state.note(
            f"dev evaluations take {record['dev evaluations, share of time']:.0%} of the time; "
            f"--dev-limit {record['dev limit']} would make that 10%"
        )
    state.emit(record, lambda: state.table(("plan", "value"), rows))


def print_module(state: State, result: ModuleResult) -> None:
    """A module that was trained."""
    (record,) = result.records()

    def human() -> None:
        score = result.dev_score
        shown = f"{score:.1f}" if isinstance(score, float) else "none"
        print(f"{result.reference}  dev {shown} ({record['selection']})  {record['mb']} MB")

    state.emit(record, human)
