"""What is kept of a finished phase: its module, the snapshots of its steps, and their manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xstilts.composition.heads import save_heads
from xstilts.composition.load import save_operator_parameters
from xstilts.composition.manifests import new_manifest, parents_of
from xstilts.composition.resolve import pinned
from xstilts.composition.task_model import Head, TaskModel, probe
from xstilts.config.load import short_name
from xstilts.data.examples import Example
from xstilts.data.sources import data_digest
from xstilts.data.world import read_world
from xstilts.errors import NotFiniteError, TrainingError
from xstilts.train.checkpoint import bring_back, put, step_folder, weights_of
from xstilts.train.mixing import Mixture
from xstilts.train.parts import MLM
from xstilts.train.phases import Phase, PhaseModel
from xstilts.train.trainer import CALMER, TrainResult
from xstilts.zoo import Entry, Manifest, write_manifest
from xstilts.zoo.manifest import COMPOSITION, SIMULATED, HeadRecord, Parent


def save_module(phase: Phase, mixture: Mixture, built: PhaseModel, result: TrainResult) -> Entry:
    """Write the trained module to the library: weights, heads, manifest and card."""
    return phase.workspace.zoo.add(lambda folder: _save(phase, mixture, built, result, folder))


def save_snapshots(
    phase: Phase, mixture: Mixture, built: PhaseModel, result: TrainResult, folder: Path
) -> None:
    """Keep the weights of `train.save_every` as modules called `<name>-step<step>`.

    Args:
        phase: What trained them.
        mixture: Its rows.
        built: Its model; the weights are the same afterwards.
        result: How training went.
        folder: Where training left them.
    """
    if not result.saved:
        return
    with built.model.attached():
        final = weights_of(built.trained)
    for number in result.saved:
        with built.model.attached():
            bring_back(step_folder(folder, number), built.trained)
        then = TrainResult(number, number, None, False, result.steps_taken)
        step = {"name": f"{phase.name}-step{number}", "run": phase.step_key(number)}

        def build(at: Path, then: TrainResult = then, step: Mapping[str, str] = step) -> Manifest:
            whole = _save(phase, mixture, built, then, at)
            return write_manifest(at, whole.model_copy(update=step))

        phase.workspace.zoo.add(build)
    with built.model.attached():
        put(built.trained, final)


def _save(
    phase: Phase, mixture: Mixture, built: PhaseModel, result: TrainResult, folder: Path
) -> Manifest:
    phase.method.save(built.own, folder, phase.name, phase.backbone)
    if not phase.standalone:
        save_operator_parameters(built.base, folder)
    heads = {name: Head(task, built.model.head(name)) for name, task in phase.heads.items()}
    records = save_heads(heads, folder)
    return write_manifest(folder, _manifest(phase, mixture, built, result, records))


def _manifest(
    phase: Phase,
    mixture: Mixture,
    built: PhaseModel,
    result: TrainResult,
    heads: Sequence[HeadRecord],
) -> Manifest:
    outputs = _outputs(phase, built.model, result.best_step)
    within = bool(phase.parents) and not phase.standalone
    parents = parents_of(phase.parents)
    if phase.init:
        start = phase.init.manifest
        parents.append(Parent(reference=start.name, digest=start.digest, role="init"))
    single = len(heads) == 1
    languages = sorted({code for part in phase.parts for code in part.languages})
    return new_manifest(
        phase.name,
        phase.preset.method,
        phase.backbone,
        options=built.own.options,
        head=phase.task if single else None,
        kind=COMPOSITION if within else phase.method.KIND,
        task=phase.task.name if single else short_name(",".join(phase.tasks)),
        heads=[] if single else list(heads),
        preset=phase.run.method,
        composition=pinned(phase.base, phase.parents) if within else "none",
        parents=parents,
        languages=languages if list(phase.tasks) == [MLM] and len(languages) == 1 else [],
        source_language=",".join(languages),
        seed=phase.run.train.seed,
        run=phase.run_key,
        training=_training(phase, mixture, result),
        data=_data(phase),
        trainable_parameters=built.num_trained,
        probe=[] if phase.standalone else outputs,
    )


def _outputs(phase: Phase, model: TaskModel, step: int) -> list[float]:
    """What the model computes on fixed ids.

    Raises:
        TrainingError: It is not finite.
    """
    try:
        with model.attached():
            return probe(model)
    except NotFiniteError as error:
        raise TrainingError(
            f"training diverged: after step {step} {error.what}", where=phase.name, hint=CALMER
        ) from None


def _training(phase: Phase, mixture: Mixture, result: TrainResult) -> dict[str, Any]:
    train = phase.run.train
    record: dict[str, Any] = {
        "settings": train.model_dump(exclude=set() if train.dev_limit else {"dev_limit"}),
        "steps": result.steps,
        "kept_step": result.best_step,
        "dev_score": result.best_score,
        "stopped_early": result.stopped_early,
        "selection": _selection(phase),
        "labels": phase.run.labels,
        "rows_cut": phase.rows_cut(mixture),
    }
    if len(phase.parts) > 1:
        total = max(1, sum(result.steps_taken.values()))
        record["mix"] = phase.mix.model_dump()
        record["realised_shares"] = {n: taken / total for n, taken in result.steps_taken.items()}
    return record


def _selection(phase: Phase) -> str:
    """Which checkpoint was kept, in words."""
    selecting = [dev for part in phase.parts for dev in part.dev]
    if phase.run.train.select == "last" or not selecting:
        return "last checkpoint"
    what = ", ".join(dict.fromkeys(f"{d.language} {d.split} {d.task.metric}" for d in selecting))
    rule = "mean of the dev evaluations" if phase.run.train.select == "average" else f"best {what}"
    return rule + (" (target dev)" if phase.run.select_on == "target-dev" else "")


def _data(phase: Phase) -> list[dict[str, Any]]:
    """What was trained and selected on."""
    records = []
    world = SIMULATED if read_world(phase.workspace.data) else ""
    for part in phase.parts:
        language = ",".join(part.languages)
        source = ", ".join(filter(None, [world, part.origin]))
        records.append(_record(part.task.name, "train", language, part.rows, source))
        for dev in part.dev:
            records.append(_record(dev.task.name, dev.split, dev.language, dev.rows, world))
    return records


def _record(
    task: str, split: str, language: str, rows: Sequence[Example], source: str
) -> dict[str, Any]:
    return {
        "task": task,
        "split": split,
        "language": language,
        "rows": len(rows),
        "sha256": data_digest(rows),
        "source": source,
    }
