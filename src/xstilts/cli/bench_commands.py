"""`xstilts bench`: speed beside other libraries, measured here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from xstilts.cli.state import State, split_commas

if TYPE_CHECKING:
    from xstilts.bench import Result


def bench(
    context: typer.Context,
    only: Annotated[str, typer.Option(help="Comma-separated comparisons; empty runs all.")] = "",
    full: Annotated[
        bool,
        typer.Option("--full", help="XLM-R base and large shapes; else a tiny model, in a minute."),
    ] = False,
    pairs: Annotated[int, typer.Option(min=1, help="Measured pairs of a comparison.")] = 5,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="XLM-R large in bfloat16 on the accelerator, alone.")
    ] = False,
    scale: Annotated[
        bool, typer.Option("--scale", help="Time and memory at 1x, 4x, 16x; --full mines 100,000.")
    ] = False,
) -> None:
    """Measure this machine, then xstilts against other libraries in turns.

    Example: xstilts bench --full --only fusion,evaluation
    """
    state: State = context.obj
    state.note("measuring on this machine")  # before libraries are imported
    if gpu:
        _throughput(state)
    elif scale:
        _scale(state, "base" if full else "tiny")
    else:
        _compare(state, split_commas(only), pairs, full=full)


def _compare(state: State, only: list[str], pairs: int, *, full: bool) -> None:
    from dataclasses import asdict
    from subprocess import CalledProcessError

    from xstilts.bench import bandwidth, gemm_peak
    from xstilts.bench.comparisons import BY_NAME, COMPARISONS, FULL_SIZES, LONG, NEEDS, there
    from xstilts.errors import FindingsError, NotFoundError

    for name in only:
        if name not in COMPARISONS:
            raise NotFoundError.named("comparison", name, COMPARISONS)
    wanted = only or [n for n in COMPARISONS if n not in BY_NAME and (full or n not in LONG)]
    names = [name for name in wanted if there(name)]
    for name in [n for n in wanted if n not in names]:
        state.note(f"{name}: {NEEDS[name]} is not there, so it is left out")
    results: list[Result] = []
    failed: list[str] = []
    with state.session.progress("bench") as progress:
        machine = {"gemm_gflops": gemm_peak() / 1e9, "bandwidth_gb": bandwidth() / 1e9}
        for number, name in enumerate(names):
            progress(name, number / len(names))
            size = FULL_SIZES.get(name, "base") if full else "tiny"
            try:
                result = COMPARISONS[name](size, pairs)
            except (OSError, RuntimeError, CalledProcessError) as error:  # the others are kept
                failed.append(f"{name}: {error}")
                state.note(failed[-1])
                continue
            results.append(result)
            amounts = " against ".join(_row(result)[1:3])
            state.note(
                f"{result.name}: {amounts}, {result.ratio:.2f} ({result.low:.2f}–{result.high:.2f})"
            )
    record = {**machine, "results": [asdict(result) for result in results]}

    def human() -> None:
        columns = ("work", "ours", "theirs", "ratio", "spread", "target", "what")
        print(
            f"float32 products reach {machine['gemm_gflops']:.0f} GFLOP/s here, "
            f"copies {machine['bandwidth_gb']:.0f} GB/s"
        )
        state.table(columns, [_row(result) for result in results])

    state.emit(record, human)
    if failed:
        raise FindingsError(
            f"{len(failed)} of {len(names)} comparisons failed",
            where=failed[0],
            hint="Each needs memory and disk of its own; run it alone with --only.",
        )


def _row(result: Result) -> tuple[str, ...]:
    return (
        result.name,
        _amount(result.ours, result.unit),
        _amount(result.theirs, result.unit),
        f"{result.ratio:.2f}",
        f"{result.low:.2f}–{result.high:.2f}",
        f"{result.target_ratio:.2f}" if result.target_ratio else "",
        result.note,
    )


def _amount(value: float, unit: str) -> str:
    return f"{value / 1e9:.2f} GB" if unit == "bytes" else f"{value * 1000:.0f} ms"


def _throughput(state: State) -> None:
    from dataclasses import asdict

    import torch

    from xstilts.bench import gpu
    from xstilts.errors import UsageError

    where = state.session.device
    if where == "cpu":
        raise UsageError(
            "there is no accelerator here", hint="Leave out --gpu to measure the processor."
        )
    name = torch.cuda.get_device_name()
    found = gpu.throughput("large", where, 16_384, 512)
    minutes = gpu.projections(found)
    record = {"device": name, "work": [asdict(item) for item in found], "minutes": minutes}

    def human() -> None:
        rows = [
            (item.work, f"{item.examples:,.0f}", f"{item.tokens:,.0f}", f"{item.share:.0%}")
            for item in found
        ]
        print(f"{name}, bfloat16")
        state.table(("work", "examples/s", "sub-words/s", "of peak"), rows)
        for work, taken in minutes.items():
            print(f"projected: {work} {taken:.1f} minutes")

    state.emit(record, human)


def _scale(state: State, size: str) -> None:
    from dataclasses import asdict

    from xstilts.bench.scale import BUCC, FACTORS, MINED, WORK, measure, of_bucc

    wanted = [(work, factor) for work in WORK for factor in FACTORS]
    points = []
    with state.session.progress("bench") as progress:
        for number, (work, factor) in enumerate(wanted):
            progress(f"{work} {factor}x", number / len(wanted))
            points.append(measure(work, factor, size))

    largest = [p for p in points if (p.work, p.factor) == ("mining", FACTORS[-1])]
    projected = [of_bucc(point) for point in largest if size == "base"]

    def human() -> None:
        first = {p.work: p.seconds for p in points if p.factor == 1}
        rows = [
            (
                p.work,
                f"{p.factor}x",
                f"{p.seconds:.2f}",
                f"{p.seconds / first[p.work]:.1f}",
                f"{p.bytes / 1e6:.0f}",
            )
            for p in points
        ]
        columns = ("work", "data", "seconds", "times 1x", "MB above the start")
        state.table(columns, rows)
        for point in projected:
            print(
                f"projected from {MINED:,} sentences a side: {BUCC:,} take "
                f"{point.seconds / 3600:.1f} hours, and {point.bytes / 1e9:.1f} GB beside the "
                "vectors"
            )

    record = {"points": points, "projected": projected}
    state.emit({name: [asdict(p) for p in of] for name, of in record.items()}, human)
