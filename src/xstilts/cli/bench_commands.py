"""`xstilts bench`: speed beside other libraries, measured here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.bench import Result


def bench(
    context: typer.Context,
    only: Annotated[str, typer.Option(help="Comma-separated comparisons; empty runs all.")] = "",
    full: Annotated[
        bool, typer.Option("--full", help="XLM-R base shapes; else a tiny model, in a minute.")
    ] = False,
    pairs: Annotated[int, typer.Option(help="Measured pairs of a comparison.")] = 5,
) -> None:
    """Measure this machine, then xstilts against other libraries in turns.

    Example: xstilts bench --full --only fusion,evaluation
    """
    from dataclasses import asdict

    from xstilts.bench import bandwidth, gemm_peak
    from xstilts.bench.comparisons import COMPARISONS
    from xstilts.cli.output import step_progress, table
    from xstilts.errors import NotFoundError

    state: State = context.obj
    names = [name for name in only.split(",") if name] or list(COMPARISONS)
    for name in names:
        if name not in COMPARISONS:
            raise NotFoundError.named("comparison", name, COMPARISONS)
    results: list[Result] = []
    with step_progress("bench", quiet=state.quiet) as progress:
        machine = {"gemm_gflops": gemm_peak() / 1e9, "bandwidth_gb": bandwidth() / 1e9}
        for number, name in enumerate(names):
            progress(name, number / len(names))
            results.append(COMPARISONS[name]("base" if full else "tiny", pairs))
    record = {**machine, "results": [asdict(result) for result in results]}

    def human() -> None:
        rows = [
            (
                r.name,
                f"{r.ours * 1000:.0f}",
                f"{r.theirs * 1000:.0f}",
                f"{r.ratio:.2f}",
                f"{r.low:.2f}–{r.high:.2f}",
                f"{r.bar:.1f}" if r.bar else "",
                r.note,
            )
            for r in results
        ]
        columns = ("work", "ours ms", "theirs ms", "ratio", "spread", "bar", "what")
        print(
            f"float32 products reach {machine['gemm_gflops']:.0f} GFLOP/s here, "
            f"copies {machine['bandwidth_gb']:.0f} GB/s"
        )
        state.console.print(table(columns, rows))

    state.emit(record, human)
