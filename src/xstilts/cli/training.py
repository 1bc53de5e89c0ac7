"""What commands that train share: where they read and write, and running one training."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from xstilts.cli.state import State, split_commas

if TYPE_CHECKING:
    from xstilts.report.results import ModuleResult
    from xstilts.train.phases import Phase


DEV_SHARE = 0.1
"""Share of the time of a training above which the plan says how dev evaluations take less."""


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


def run_training(
    state: State, task: str, *, track: str = "", nproc: int = 1, force: bool = False, **how: Any
) -> None:
    """Start the processes, and run the phase that `how` states; see `Session.phase`."""
    if nproc > 1 and "RANK" not in os.environ:
        _start_processes(nproc)
    phase = state.session.phase(task, track=split_commas(track), command=shown_command(), **how)
    run_phase(state, phase, force=force)


def run_phase(state: State, phase: Phase, *, force: bool) -> None:
    """Train, or with --dry-run say what it would cost, and print the module."""
    if state.dry_run:
        _print_plan(state, phase)
        return
    print_module(state, state.session.run_phase(phase, force=force))


def shown_command() -> str:
    """The command line, to be shown to whom has to type it again."""
    return shlex.join(["xstilts", *sys.argv[1:]])


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


def _print_plan(state: State, phase: Phase) -> None:
    from xstilts.train.plan import estimate, plan_phase

    plan = plan_phase(phase)
    expected = estimate(phase, plan)
    record: dict[str, object] = {
        "task": phase.task.name if len(phase.tasks) == 1 else ", ".join(phase.tasks),
        "module": phase.name,
        "method": phase.run.method,
        "rows": plan.rows,
        "dev rows": plan.dev_rows,
        "steps": plan.steps,
        "tokens": plan.tokens,
        "trainable parameters": plan.trainable_parameters,
        "backbone parameters": plan.backbone_parameters,
        "backbone memory MB": round(4 * plan.backbone_parameters / 1e6),
        "least memory MB": round(plan.memory_bytes / 1e6),
        "estimated minutes": round(expected.seconds / 60, 2),
        "dev evaluations": expected.dev_evaluations,
        "dev evaluations, share of time": round(expected.dev_share, 3),
        "tokens a second": round(expected.tokens_per_second),
        "peak memory MB": round(expected.peak_bytes / 1e6),
        "disk MB": round(plan.disk_bytes / 1e6, 2),
        "activation cache MB": round(plan.cached_bytes / 1e6, 2),
        "already there": plan.known.reference if plan.known else None,
    }
    if len(plan.shares) > 1:
        record["shares"] = {name: round(share, 4) for name, share in plan.shares.items()}
    shown = {**record, "already there": record["already there"] or "no"}
    rows = [(key, f"{v:,}" if isinstance(v, int) else v) for key, v in shown.items()]
    for name, part in plan.rows_cut.items():
        cut = f"{part['cut']:,} of {part['rows']:,} at {part['max_length']} sub-words"
        rows.append((f"rows cut, {name}", cut))
    record["rows cut"] = plan.rows_cut
    if expected.dev_share > DEV_SHARE:
        sets = sum(len(part.dev) for part in phase.parts)
        fewer = expected.dev_rows_for(DEV_SHARE, plan.dev_rows) // sets
        state.note(
            f"dev evaluations take {expected.dev_share:.0%} of the time; --dev-limit {fewer} "
            f"would make that {DEV_SHARE:.0%}"
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
