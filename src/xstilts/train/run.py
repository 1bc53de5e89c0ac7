"""One training run, in the order in which it happens: resolve, data, model, trainer, save."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from torch import Generator

from xstilts.backbone.activation_cache import DiskStore, FrozenBlocks, MemoryStore, first_block
from xstilts.backbone.backbone import Backbone
from xstilts.composition import predict
from xstilts.composition.compose import ComposedModules, compose
from xstilts.composition.heads import require_files
from xstilts.composition.load import load_modules, on_top, start_from, within_encoder
from xstilts.composition.parser import require_readable
from xstilts.composition.resolve import pinned, resolve_expression
from xstilts.composition.task_model import Head, TaskModel
from xstilts.config.layers import Layer, resolve
from xstilts.config.load import load_method, load_task, short_name, tasks_of
from xstilts.config.progress import Progress, ProgressFn, silent
from xstilts.config.run import RunSpec
from xstilts.config.specs import Spec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import Batch, Features
from xstilts.errors import UsageError
from xstilts.files import digest
from xstilts.modules.methods import METHODS, full
from xstilts.modules.weights import ModuleWeights
from xstilts.tasks.encoding import encode, remarks
from xstilts.tasks.formats import FORMATS
from xstilts.tasks.metrics import METRICS
from xstilts.tasks.prediction_files import layout_of
from xstilts.train.checkpoint import Weights, put, tidy, weights_of
from xstilts.train.masks import masks_of_few_bits
from xstilts.train.mixing import Mixture, TaskBatches, micro_tokens
from xstilts.train.parts import MLM, Dev, Part, make_parts, require_rows
from xstilts.train.phases import Phase, PhaseModel
from xstilts.train.processes import Processes
from xstilts.train.save import save_module, save_snapshots
from xstilts.train.seen_words import SeenWords, seen_words
from xstilts.train.trainer import Between, Evaluate, Trainer, TrainResult
from xstilts.zoo import Entry
from xstilts.zoo.manifest import LONGEST_NAME
from xstilts.zoo.workspace import Workspace

# -- resolve


def resolve_phase(
    tasks: str,
    run: RunSpec,
    backbone: Backbone,
    workspace: Workspace,
    *,
    base: str = "none",
    standalone: bool = False,
    init: str = "",
    name: str = "",
    command: str = "",
) -> Phase:
    """Find the modules that a training stands on and read its rows; nothing is trained yet.

    Args:
        tasks: A task, a mixture, or several tasks joined by commas.
        run: Method, options and training settings.
        backbone: Loaded; it is left as it was.
        workspace: Where to read and write.
        base: Expression that acts, frozen, below the new module.
        standalone: Keep the new module by itself, so that something else can act below it later.
        init: Module whose weights the new one starts from; empty for a fresh start.
        name: Of the new module; that of `tasks` when empty.
        command: Shown to resume an interrupted run.

    Raises:
        UsageError: A name or the expression makes no sense, or settings contradict each other.
        NotFoundError: A module, task or language is nowhere.
        BackboneMismatchError: A module belongs to another backbone.
        DataError: A row is broken, or fewer rows are there than the budget states.
    """
    name = name or short_name(tasks)
    require_readable(name)
    require_fit(tasks, run, backbone)
    preset, options = load_method(run.method), method_options(run)
    expression, parents = resolve_expression(base, workspace.zoo, backbone)
    names = tasks_of(tasks)
    phase = Phase(
        name=name,
        tasks=names,
        parts=make_parts(names, run, workspace.data, offline=workspace.offline),
        run=run,
        preset=preset,
        options=options,
        backbone=backbone,
        workspace=workspace,
        base=expression,
        parents=parents,
        init=workspace.zoo.find(init, backbone.identity) if init else None,
        standalone=standalone,
        command=command,
    )
    require_files(phase.heads)
    return phase


def require_fit(tasks: str, run: RunSpec, backbone: Backbone) -> None:
    """Refuse a training that a backbone cannot have, or none can, before any row is read.

    Raises:
        UsageError: The encoder lacks what the method acts at, or sees too little for a task; or
            parts are to stop and patience never ends.
    """
    if run.mix.stop_parts and not run.train.patience:
        raise UsageError(
            "mix.stop_parts stops no part: train.patience is 0, which never runs out",
            hint="Set train.patience, or leave mix.stop_parts out.",
        )
    method = METHODS.get(load_method(run.method).method)
    stands_on = backbone.loaded if method.EXTERNAL else backbone
    method.require_fit(stands_on.shape, method_options(run))
    for name in (*tasks_of(tasks), *([MLM] if run.mlm.share else [])):
        Head.require_fit(load_task(name), backbone)


def require_training(
    tasks: str, run: RunSpec, name: str, root: Path | None, *, offline: bool
) -> None:
    """Refuse what is wrong with a training before its rows and its backbone are read.

    Raises:
        UsageError: The module's name is not allowed.
        ConfigError: An option of the method is unknown or wrong.
        NotFoundError: There is no such target task, or there are no training rows below `root`.
        OfflineError: Only a hub has the rows, and `offline` is set.
    """
    require_readable(name or short_name(tasks))
    method_options(run)
    if run.target:
        load_task(run.target)
    require_rows(tasks_of(tasks), run, root, offline=offline)


def method_options(run: RunSpec) -> Spec:
    """The options of a run's method.

    Raises:
        ConfigError: One is unknown or has a wrong value; all are listed.
    """
    preset = load_method(run.method)
    layer = Layer(f"options of {preset.name}", run.options)
    return resolve(METHODS.get(preset.method).Options, [layer]).value


def train_phase(phase: Phase, *, force: bool = False) -> Entry:
    """Train and keep the module, or return the one that this very training made before.

    With several processes, the first one writes and all return what it kept.

    Raises:
        InterruptedRunError: Ctrl-C; the same command resumes.
        TrainingError: The loss, the gradient or the weights are no longer finite.
        DataError: A row is broken.
    """
    known = phase.workspace.zoo.find_run(phase.run_key)
    if known and not force:
        phase.workspace.zoo.adopt(known)
        return known
    folder = phase.workspace.runs / phase.run_key[:16]
    processes = Processes(
        phase.run.train.precision,
        phase.backbone.device,
        trackers=phase.workspace.trackers,
        folder=folder,
        run=(phase.name, phase.run.train.model_dump()),
    )
    with processes.alone_in(folder, partial(_tell_that_another_trains, phase)):
        known = phase.workspace.zoo.find_run(phase.run_key)
        if known is None or force:
            known = _train_and_save(phase, folder, processes)
    processes.close()
    return known


def _tell_that_another_trains(phase: Phase) -> None:
    if not phase.workspace.quiet:
        print("another process trains this very module; waiting for it", file=sys.stderr)


def _train_and_save(phase: Phase, folder: Path, processes: Processes) -> Entry:
    """Train a phase's module and keep it; checkpoints are in `folder` until then."""
    speaks = processes.first and not phase.workspace.quiet
    with Progress(f"{phase.name} {phase.run.method}", quiet=not speaks) as progress:
        mixture = training_mixture(phase, progress)
    _require_snapshot_names(phase, mixture)
    if speaks:
        _tell_what_is_cut(phase, mixture)
    if phase.run.train.shard and processes.count > 1:
        result, weights = _train_in_shards(phase, mixture, folder, processes)
        built = build_model(phase)
        with built.model.attached():
            put(built.trained, weights)
    else:
        built = build_model(phase)
        result = _train(phase, mixture, built, folder, processes)
    if processes.first:
        save_snapshots(phase, mixture, built, result, folder)
        saved = save_module(phase, mixture, built, result)
        tidy(folder)
    processes.wait()
    kept = saved if processes.first else phase.workspace.zoo.find_run(phase.run_key)
    assert kept is not None
    return kept


def _require_snapshot_names(phase: Phase, mixture: Mixture) -> None:
    last = f"{phase.name}-step{mixture.total_steps()}"
    if phase.run.train.save_every and len(last) > LONGEST_NAME:
        raise UsageError(
            f"the snapshot {last} would have a name of {len(last)} characters, more than "
            f"{LONGEST_NAME}",
            hint="Give the module a shorter name, --name NAME, or leave out train.save_every.",
        )


# -- data


def features_of(phase: Phase, examples: Sequence[Example], task: TaskSpec) -> Features:
    """Tokenised rows, cut at the run's or the task's length."""
    length = phase.run.train.max_length or task.max_length
    return encode(examples, task, phase.backbone, phase.workspace.cache, max_length=length)


def training_mixture(phase: Phase, progress: ProgressFn = silent) -> Mixture:
    """The training rows, tokenised, and the order in which parts take turns."""
    spec = phase.run.train
    budget = micro_tokens(phase.backbone.device.type, frozen=not phase.full)
    batches = {}
    for number, part in enumerate(phase.parts):
        progress(f"encoding {len(part.rows):,} rows of {part.name}", number / len(phase.parts))
        features = features_of(phase, part.rows, part.task)
        batches[part.name] = TaskBatches(
            part.task, features, phase.backbone.tokenizer, spec, part.head, budget
        )
    return Mixture(batches, spec, phase.mix)


def _tell_what_is_cut(phase: Phase, mixture: Mixture) -> None:
    for part in phase.parts:
        codes = (row.language for row in part.rows)
        for line in remarks(part.task, phase.backbone, codes, phase.run.train.max_length):
            print(line, file=sys.stderr)
    for name, of_part in phase.rows_cut(mixture).items():
        if of_part["cut"]:
            print(
                f"{name}: {of_part['cut']:,} of {of_part['rows']:,} training rows lose sub-words; "
                f"a row holds {of_part['max_length']} (train.max_length)",
                file=sys.stderr,
            )


# -- model


def build_model(phase: Phase, *, copied: Backbone | None = None) -> PhaseModel:
    """The model to be trained, freshly drawn from the phase's seed.

    Args:
        phase: What is trained.
        copied: A copy of the phase's backbone, whose own weights become those of `base` and are
            trained where they are; without it the phase's backbone, left as it is.
    """
    backbone, zoo = copied or phase.backbone, phase.workspace.zoo
    generator = Generator().manual_seed(phase.run.train.seed)
    own: ModuleWeights = phase.method.create(backbone.shape, phase.options, generator)
    heads = {name: Head.new(task, backbone, generator) for name, task in phase.heads.items()}
    if phase.init:
        own = start_from(own, phase.init, zoo, backbone)
    parents = load_modules(phase.parents, zoo, backbone)
    base = compose(phase.base, parents, backbone.shape, generator)
    if phase.full and copied is None:
        own = full.trainable_copy(own, base.encoder_weights, backbone)
    composed = on_top(base, own, backbone)
    if copied is not None:
        composed = within_encoder(composed, copied)
    backbone.encoder.requires_grad_(False)
    composed.requires_grad_(False)
    for parameter in (*own.parameters(), *base.operator_parameters().values()):
        parameter.requires_grad_(True)
    model = TaskModel(backbone, composed, heads, frozen=_frozen_blocks(phase, composed))
    model.heads.requires_grad_(True)
    model = model.to(backbone.device)
    trained = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad or (phase.full and name.startswith("encoder."))
    }
    return PhaseModel(backbone, model, own, base, trained)


def _frozen_blocks(phase: Phase, composed: ComposedModules) -> FrozenBlocks | None:
    """What runs the blocks below the first that trains, where the settings ask for it."""
    if not phase.run.train.cache_activations:
        return None
    backbone, cache = phase.backbone, phase.workspace.cache
    total = len(backbone.blocks)
    nodes = composed.nodes.items()
    trained = [k for k, node in nodes if any(p.requires_grad for p in node.parameters())]
    count = 0 if phase.full else first_block(trained, total)
    texts = [part.name for part in phase.parts if part.task.name == MLM]
    if count == 0 or texts:
        what = "masks change every row" if texts else "something trains in the first block"
        raise UsageError(
            f"there are no activations to cache: {what}",
            hint=f"Leave blocks out, --set options.leave_out=[0,1] of {total}, or train only a "
            "head, --method head.",
        )
    if cache is None:
        return FrozenBlocks(backbone, count, MemoryStore())
    base = pinned(phase.base, phase.parents)
    name = digest(["with checksums", backbone.identity.key, base, count])[:32]
    path = cache / "activations" / f"{name}.sqlite"
    return FrozenBlocks(backbone, count, DiskStore(path, backbone.shape.hidden_size))


# -- trainer


def _train(
    phase: Phase, mixture: Mixture, built: PhaseModel, folder: Path, processes: Processes
) -> TrainResult:
    with built.model.attached(), trainer_of(phase, mixture, built, folder, processes) as trainer:
        return trainer.run()


def _train_in_shards(
    phase: Phase, mixture: Mixture, folder: Path, processes: Processes
) -> tuple[TrainResult, Weights]:
    """Train on a copy of the backbone that is spread over the processes; the weights, whole."""
    built = build_model(phase, copied=phase.backbone.copy())
    with built.model.attached():
        with trainer_of(phase, mixture, built, folder, processes) as trainer:
            result = trainer.run()
        # spreading puts other parameters in the place of those that were built
        trained = {name: built.model.get_parameter(name) for name in built.trained}
        return result, weights_of(trained)


@contextmanager
def trainer_of(
    phase: Phase, mixture: Mixture, built: PhaseModel, folder: Path, processes: Processes
) -> Iterator[Trainer]:
    """A trainer of the attached model; the encoder is frozen again when the block ends."""
    # What runs may be another library's copy of the encoder, which holds the module that trains
    spec, running, plain = phase.run.train, built.backbone.encoder, built.model.encoder
    plain.requires_grad_(phase.full)
    if spec.gradient_checkpointing:
        running.gradient_checkpointing_enable({"use_reentrant": False})
    seen = _seen_words(phase, mixture, built, folder)
    cheap = spec.precision == "bf16" and processes.device.type == "cpu"
    try:
        with (
            seen.trained() if seen else nullcontext(),
            masks_of_few_bits() if cheap else nullcontext(),
        ):
            trainer = Trainer(
                built.model,
                mixture,
                spec,
                folder,
                run_key=phase.run_key,
                evaluate=_dev_evaluation(phase, built.model),
                processes=processes,
                resume_command=phase.command,
                quiet=phase.workspace.quiet,
                title=f"{phase.name} {phase.run.method}",
                blocks=built.backbone.shape.num_layers,
                shards=list(built.backbone.blocks),
                dev_steps=_dev_steps(phase),
                lower_is_better=phase.lower_is_better,
            )
            if seen:  # who counts the steps is there only now
                seen.step = lambda: trainer.position.step
            yield trainer
            if seen:
                seen.write_back(trainer.kept)
    finally:
        if spec.gradient_checkpointing:
            running.gradient_checkpointing_disable()
        plain.requires_grad_(False)
        plain.eval()


def _seen_words(
    phase: Phase, mixture: Mixture, built: PhaseModel, folder: Path
) -> SeenWords | None:
    """The word embeddings that full fine-tuning changes; None where it trains the whole table."""
    if not phase.full or any(FORMATS.get(part.task.format).BOTH_SIDES for part in phase.parts):
        return None
    backbone = built.backbone
    table = backbone.word_embeddings
    names = (name for name, own in built.model.named_parameters() if own is table.weight)
    blocks = backbone.shape.num_layers
    return seen_words(table, mixture, phase.run.train, folder, next(names), blocks)


def _dev_steps(phase: Phase) -> float:
    """What a dev evaluation takes, in steps: a forward pass is a third of one with the others."""
    rows = sum(len(dev.rows) for part in phase.parts for dev in part.dev)
    return rows / 3 / phase.run.train.batch_size


def _dev_evaluation(phase: Phase, model: TaskModel) -> Evaluate | None:
    """What gives each part's mean score on its dev rows; None when no part has any."""
    selecting = [part for part in phase.parts if part.dev]
    if not selecting:
        return None
    encoded = {
        part.name: [(dev, features_of(phase, dev.inputs, dev.task)) for dev in part.dev]
        for part in selecting
    }

    rows = sum(len(features) for devs in encoded.values() for _, features in devs)

    def evaluate(between: Between) -> dict[str, float]:
        seen = 0

        def done(batch: Batch) -> None:
            nonlocal seen
            seen += len(batch.rows)
            between(seen / rows)

        return {
            part.name: sum(_dev_score(model, part, *dev, done) for dev in encoded[part.name])
            / len(part.dev)
            for part in selecting
        }

    return evaluate


def _dev_score(
    model: TaskModel, part: Part, dev: Dev, features: Features, done: predict.Done
) -> float:
    predicted = predict.predictions(model, features, dev.rows, part.head, dev.task, done=done)
    metric = METRICS.get(dev.task.metric)
    pair = layout_of(dev.task).pair(dev.rows, predicted)
    scores = metric.compute(*pair, language=dev.language, labels=dev.task.labels)
    return scores[metric.MAIN]
