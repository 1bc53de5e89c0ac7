"""Which training was done before, known by the identity of files: no row and no weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xstilts.backbone.known import KnownBackbone
from xstilts.composition.resolve import expression_digest
from xstilts.config.file_facts import FileFacts
from xstilts.config.load import METHODS, load_method, load_task, tasks_of
from xstilts.config.run import CODE_VERSION, RunSpec
from xstilts.config.specs import TrainSpec
from xstilts.data.located import locate
from xstilts.data.sources import deciding_files, task_in_world
from xstilts.files import digest
from xstilts.train.parts import MLM
from xstilts.zoo.workspace import Workspace

UNPLANNED = {"seed", "lr", "weight_decay"}
"""Settings of a training that its rows, steps, time and memory do not depend on."""


def plan_settings(run: RunSpec) -> RunSpec:
    """The settings that a plan depends on, with the others as they are by default.

    The seed stays where it picks or mixes rows, or shuffles labels.
    """
    picks = run.train.limit or run.source.rows or run.source.how != "added"
    left = {"seed"} if picks or run.labels == "shuffled" else set[str]()
    usual = {name: getattr(TrainSpec(), name) for name in UNPLANNED - left}
    return run.model_copy(update={"train": run.train.model_copy(update=usual)})


def run_key(deciding: Mapping[str, Any], run: RunSpec) -> str:
    """The key of a training, from what decides one that has the same plan (`Phase.deciding`)."""
    own = run.train.model_dump(include=UNPLANNED)
    return digest({**deciding, "train": {**deciding["train"], **own}})


def training_facts(
    tasks: str,
    run: RunSpec,
    backbone: KnownBackbone,
    workspace: Workspace,
    *,
    base: str,
    init: str,
    name: str,
    kind: str = "trainings",
    on: object = None,
) -> FileFacts | None:
    """Keeps what is found out of a training (`run.resolve_phase`) while its files are the same.

    None where more decides it than the files of its tasks' own rows: plain text, translated rows,
    a target's dev rows, a method of another package.

    Args:
        tasks: See `run.resolve_phase`.
        run: See there.
        backbone: See there.
        workspace: See there.
        base: See there.
        init: See there.
        name: See there.
        kind: Of the facts: `trainings` for the `run_key`.
        on: JSON values that these facts depend on, too.

    Raises:
        NotFoundError: A module, task or method is nowhere.
        UsageError: A reference is ambiguous.
    """
    names = tasks_of(tasks)
    plain = MLM in names or run.mlm.share or run.source.origin == "translated"
    preset = load_method(run.method)
    code = METHODS.origin(preset.method).path
    if plain or run.select_on == "target-dev" or code is None:
        return None
    root, zoo = workspace.data, workspace.zoo
    specs = [task_in_world(load_task(part), root) for part in names]
    files: list[Path] = []
    for task in specs:
        for language in run.source.languages or (task.source_language,):
            rows = locate(task, "train", language, root)
            if rows is None:
                return None
            dev = task.select_split and locate(task, task.select_split, language, root)
            files += [path for found in (rows, dev) if found for path in deciding_files(found)]
    key = {
        "versions": [version("xstilts"), CODE_VERSION],
        "tasks": [task.model_dump(mode="json") for task in specs],
        "run": run.model_dump(mode="json", exclude={"backbone"}),
        "preset": preset.model_dump(mode="json"),
        "name": name,
        "base": [base, expression_digest(base, zoo, backbone)],
        "init": zoo.find(init, backbone.identity).manifest.digest if init else "",
        "backbone": backbone.identity.key,
        "on": on,
    }
    return FileFacts(workspace.cache, kind, key, [*files, code])
