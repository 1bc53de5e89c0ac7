"""`xstilts eval` and `xstilts xtreme`: predictions and scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xstilts.cli.eval_output import print_outcome, print_plan
from xstilts.cli.state import State
from xstilts.cli.training import device, training_task, workspace_of

if TYPE_CHECKING:
    from xstilts.backbone.backbone import Backbone
    from xstilts.evaluate.evaluator import EvaluationOutcome, Evaluator, Request
    from xstilts.train.phases import Phase

Expressions = Annotated[list[str], typer.Argument(help="Expressions, such as none or mnli/lora.")]
Languages = Annotated[str, typer.Option("--langs", help="Comma-separated; empty means all.")]
Split = Annotated[str, typer.Option(help="Empty means the task's own.")]
Layer = Annotated[
    str,
    typer.Option(help="Blocks pooled for retrieval, such as 7 or 5,7-9; empty: the backbone's."),
]
Pooling = Annotated[str, typer.Option(help="mean or cls, for retrieval; empty: the task's.")]
BackboneOption = Annotated[str, typer.Option("--backbone", help="Preset, folder or hub id.")]
Precision = Annotated[
    str, typer.Option(help="fp32; bf16 where the machine computes in it; int8 on a CPU.")
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Run the blocks through torch.compile; for a GPU.")
]
Force = Annotated[bool, typer.Option("--force", help="Compute finished cells again.")]


def evaluate(
    context: typer.Context,
    expressions: Expressions,
    task: Annotated[str, typer.Option(help="The task.")],
    languages: Languages = "",
    split: Split = "",
    layer: Layer = "",
    pooling: Pooling = "",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Option of the task: margin=distance, decode=whitespace, …"),
    ] = None,
    precision: Precision = "fp32",
    compiled: Compile = False,
    backbone: BackboneOption = "",
    force: Force = False,
) -> None:
    """Evaluate expressions on one task; only missing cells are computed.

    Example: xstilts eval none mnli --task tatoeba --langs de,sw
    """
    from xstilts.evaluate.evaluator import Request

    chosen = tuple(code for code in languages.split(",") if code)
    shared: dict[str, Any] = {"split": split, "pooling": pooling, "options": _options(overrides)}
    requests = [
        Request(e, task, _label(e, block, layer), chosen, layer=block, **shared)
        for e in expressions
        for block in layers_of(layer)
    ]
    state: State = context.obj
    evaluation = evaluator_of(state, backbone, precision, compiled)
    if state.dry_run:
        print_plan(state, evaluation.plan(requests), [])
        return
    print_outcome(state, run_requests(state, evaluation, requests, force))


def xtreme(
    context: typer.Context,
    expressions: Expressions,
    tasks: Annotated[str, typer.Option(help="Comma-separated; empty: the suite's.")] = "",
    suite: Annotated[
        str, typer.Option(help="xtreme or xtreme-r: tasks and their languages.")
    ] = "xtreme",
    top: Annotated[
        str, typer.Option(help="New module trained for a target where no head fits.")
    ] = "seq_bn",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="For that training.")] = None,
    split: Split = "",
    layer: Layer = "",
    pooling: Pooling = "",
    precision: Precision = "fp32",
    compiled: Compile = False,
    backbone: BackboneOption = "",
    submit_dir: Annotated[
        Path | None, typer.Option(help="Also write the predictions in XTREME's official layout.")
    ] = None,
    force: Force = False,
) -> None:
    """Evaluate expressions on several targets; a missing target head is trained first.

    Example: xstilts xtreme none mnli "fuse(mnli, qqp)" --tasks xnli,tatoeba
    Example: xstilts xtreme mnli --submit-dir submission
    """
    from xstilts.config.load import load_task
    from xstilts.evaluate.evaluator import Request
    from xstilts.train.run import plan_phase, train_phase

    state: State = context.obj
    chosen = [name for name in tasks.split(",") if name] or _suite_tasks(state, suite)
    requests, ahead = [], []
    for expression in expressions:
        for task in chosen:
            used = expression
            if load_task(task).format != "retrieval":
                phase = _phase(state, expression, task, top, overrides or [], backbone)
                if phase and state.dry_run and not plan_phase(phase).known:
                    ahead.append(phase)
                    continue
                used = "@" + train_phase(phase).manifest.digest if phase else expression
            requests += [
                Request(
                    used,
                    task,
                    _label(expression, block, layer),
                    split=split,
                    layer=block,
                    pooling=pooling,
                    suite=suite,
                )
                for block in layers_of(layer)
            ]
    evaluation = evaluator_of(state, backbone, precision, compiled)
    if state.dry_run:
        print_plan(state, evaluation.plan(requests), ahead)
        return
    outcome = run_requests(state, evaluation, requests, force)
    if submit_dir is not None:
        from xstilts.evaluate.submission import write_submission

        files = write_submission(outcome.cells, submit_dir)
        state.note(f"{sum(len(paths) for paths in files.values())} files in {submit_dir}")
    print_outcome(state, outcome)


def _suite_tasks(state: State, suite: str) -> list[str]:
    """The tasks of a suite that have data; the others are named."""
    from xstilts.config.load import load_suite, load_task
    from xstilts.data.sources import available_languages, task_in_world
    from xstilts.errors import NotFoundError

    there: list[str] = []
    absent: list[str] = []
    chosen = load_suite(suite)
    for name in chosen.tasks:
        task = task_in_world(chosen.of(load_task(name)), state.data)
        on_hub = state.data is None and any(source.hub for source in task.sources)
        found = on_hub or available_languages(task, task.eval_split, state.data)
        (there if found else absent).append(name)
    if not there:
        raise NotFoundError(
            f"no task of {suite} has data", hint="Give --data DIR; see `xstilts data ls`."
        )
    if absent:
        state.note(f"no data for {', '.join(absent)}")
    return there


def layers_of(text: str) -> list[int]:
    """The blocks of `5,7-9`; -1, the default, for an empty text."""
    from xstilts.errors import UsageError

    blocks: list[int] = []
    for part in text.split(",") if text else ():
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"'{text}' names no blocks", hint="Such as 7, or 5,7-9.")
        blocks += range(int(first), int(last or first) + 1)
    return blocks or [-1]


def _label(expression: str, block: int, layers: str) -> str:
    """What stands for an expression in tables: with the block, where several are asked for."""
    return f"{expression} (block {block})" if len(layers_of(layers)) > 1 else expression


def _options(overrides: list[str] | None) -> dict[str, str]:
    from xstilts.errors import UsageError

    for text in overrides or ():
        if "=" not in text:
            raise UsageError(f"--set needs key=value, not '{text}'")
    pairs = (text.partition("=") for text in overrides or ())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _phase(
    state: State, expression: str, target: str, top: str, overrides: list[str], backbone: str
) -> Phase | None:
    """The training that gives the expression a head for the target; None when it has one."""
    from xstilts.composition.expression import operators
    from xstilts.composition.load import load_expression
    from xstilts.composition.parser import parse
    from xstilts.config.load import load_task
    from xstilts.config.run import resolve_run
    from xstilts.data.sources import task_in_world
    from xstilts.files import digest
    from xstilts.train.phases import Phase

    workspace, encoder = workspace_of(state), encoder_of(state, backbone)
    loaded = load_expression(expression, workspace.zoo, encoder)
    task = task_in_world(load_task(target), workspace.data)
    if loaded.head_for(task) is not None:
        return None
    trained = training_task(target)
    method = "head" if "fuse" in operators(parse(expression)) else top
    flags: dict[str, Any] = {"method": method, "backbone": backbone or state.backbone}
    flags["target"] = target
    world = state.training_defaults
    run = resolve_run(trained, flags, overrides, None, state.backbone, world).value
    name = f"{target}-on-{digest(expression)[:8]}" if loaded.entries else f"{target}-alone"
    state.note(f"target phase: {trained} as {method} on {expression}")
    return Phase(trained, run, encoder, workspace, below=expression, name=name)


def encoder_of(state: State, backbone: str) -> Backbone:
    """The backbone, loaded once for a whole command."""
    from xstilts.backbone.backbone import Backbone

    reference = backbone or state.backbone
    if reference not in state.encoders:
        loaded = Backbone.load(reference, offline=state.offline).to(device())
        state.encoders[reference] = loaded
    encoder: Backbone = state.encoders[reference]
    return encoder


def run_requests(
    state: State, evaluation: Evaluator, requests: list[Request], force: bool = False
) -> EvaluationOutcome:
    """Evaluate with a progress bar."""
    from xstilts.config.progress import progress_bar

    with progress_bar("evaluating", quiet=state.quiet) as progress:
        return evaluation.run(requests, progress, force=force)


def evaluator_of(
    state: State, backbone: str = "", precision: str = "fp32", compiled: bool = False
) -> Evaluator:
    """What evaluates, with the result store of the global options.

    Raises:
        UsageError: There is no such precision, or none with `compiled`.
    """
    from typing import cast

    from xstilts.errors import UsageError
    from xstilts.evaluate.evaluator import Evaluator
    from xstilts.evaluate.store import ResultStore

    if precision not in ("fp32", "bf16", "int8"):
        raise UsageError(f"no precision named '{precision}'", hint="Known: bf16, fp32, int8.")
    store, used = ResultStore(state.results), cast("Any", precision)
    encoder = encoder_of(state, backbone)
    return Evaluator(encoder, workspace_of(state), store, used, compiled=compiled)
