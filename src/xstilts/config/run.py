"""What one training run is made of, and the layers that decide it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from xstilts.config import paths
from xstilts.config.layers import (
    Layer,
    Resolved,
    parse_overrides,
    read_yaml,
    resolve,
    settings_layers,
)
from xstilts.config.load import (
    load_method,
    load_mixture,
    load_task,
    spec_names,
    tasks_of,
    train_task_of,
)
from xstilts.config.specs import MixSpec, Spec, TaskSpec, TrainSpec
from xstilts.errors import ConfigError, NotFoundError, Problem, near_names

DEFAULT_METHOD = "seq_bn"
CODE_VERSION = 2
"""Raised when a training gives other weights for the same inputs."""


class SourceMix(Spec):
    """The languages that training rows come from.

    Attributes:
        languages: Empty means the task's source language.
        how: `added` takes every row of every language; `mixed` takes each row number in one
            language only, so that the whole is as large as one language.
        rows: Exactly this many training rows, the same nested subset for a seed; too few are
            refused. 0 means all.
        check: Refuse rows of which many are in another language than the one stated.
        origin: `translated` takes what `xstilts data translate` made even where the task has rows
            of its own in a language; `any` takes those first.
    """

    languages: list[str] = Field(default_factory=list)
    how: Literal["added", "mixed"] = "added"
    rows: int = Field(default=0, ge=0)
    check: bool = True
    origin: Literal["any", "translated"] = "any"


class MlmSpec(Spec):
    """Masked language modelling beside other tasks, or alone.

    Attributes:
        share: Of all optimiser steps; 0 switches it off.
        languages: Empty means every language with text below the data folder.
        text: `language=FILE` entries instead of the data folder's text.
        alpha: Languages are sampled by their amount of text to this power (Conneau et al., 2020,
            arXiv:1911.02116, with 0.3).
        options: For the masked_lm format, such as `whole_words`.
    """

    share: float = Field(default=0.0, ge=0, lt=1)
    languages: list[str] = Field(default_factory=list)
    text: list[str] = Field(default_factory=list)
    alpha: float = Field(default=0.3, ge=0, le=1)
    options: dict[str, Any] = Field(default_factory=dict)


class RunSpec(Spec):
    """The settings of a training run.

    Attributes:
        backbone: Preset name, YAML, folder or `org/name@revision`.
        method: Preset name.
        options: The method's options, over those of the preset.
        train: How it is trained.
        mix: How the steps are shared among several tasks.
        mlm: Masked language modelling beside them.
        source: The languages of the training rows.
        labels: `shuffled` deals the training labels out anew, as a control.
        select_on: Whose dev rows pick the checkpoint: the source language's, or those of the
            target's other languages (no longer zero-shot; every score row says so).
        target: The target task, for `target-dev`.
    """

    backbone: str = "xlm-roberta-base"
    method: str = DEFAULT_METHOD
    options: dict[str, Any] = Field(default_factory=dict)
    train: TrainSpec = Field(default_factory=TrainSpec)
    mix: MixSpec = Field(default_factory=MixSpec)
    mlm: MlmSpec = Field(default_factory=MlmSpec)
    source: SourceMix = Field(default_factory=SourceMix)
    labels: Literal["true", "shuffled"] = "true"
    select_on: Literal["source-dev", "target-dev"] = "source-dev"
    target: str = ""


def resolve_run(
    task: str,
    flags: Mapping[str, Any],
    overrides: Sequence[str],
    config: Path | None,
    backbone: str,
    world: Mapping[str, Mapping[str, Any]] | None = None,
    backbone_origin: str = "default",
) -> Resolved[RunSpec]:
    """Settings from every layer, of which later ones win.

    They are: default, task, method, target or world, user, project, file, --set, flags.

    Args:
        task: Name of the task or mixture to be trained; its defaults are a layer.
        flags: Nested settings from the command line; a `target` whose head `task` trains has
            settings of its own, see `target_defaults`.
        overrides: `key=value` texts.
        config: A YAML file of settings, or None.
        backbone: The default when no layer names one.
        world: Method preset or task to the training defaults of the data's world; `""` holds for
            all.
        backbone_origin: Where that default comes from.

    Raises:
        ConfigError: Unknown keys, wrong values or an unknown method; all are listed.
        NotFoundError: No such task or file.
    """
    layers = [Layer(backbone_origin, {"backbone": backbone}), _task_layer(task)]
    chosen: list[Layer] = settings_layers(Path.cwd(), paths.home_folder())
    if config is not None:
        chosen.append(Layer(str(config), read_yaml(config)))
    chosen.append(Layer("--set", parse_overrides(overrides)))
    chosen.append(Layer("flag", flags))
    method = DEFAULT_METHOD
    for layer in chosen:
        method = str(layer.values.get("method", method))
    try:
        preset = load_method(method)
    except NotFoundError:
        hint = near_names(method, spec_names("methods"))
        problem = Problem("method", f"unknown method '{method}'.", hint)
        raise ConfigError("settings", [problem]) from None
    layers.append(Layer(f"method {method}", {"train": preset.train, "options": preset.options}))
    if world is None:
        layers.append(_target_layer(task, flags))
    else:
        train = {**world.get("", {}), **world.get(method, {}), **world.get(task, {})}
        layers.append(Layer("world", {"train": train}))
    return resolve(RunSpec, [*layers, *chosen])


def target_defaults(target: TaskSpec) -> dict[str, Any]:
    """What a target says of the training of its head on another task's rows.

    Without a `select_split` the last checkpoint is kept, as XTREME does for question answering.
    """
    if target.name == target.train_task:
        return {}
    last = {} if target.select_split else {"select": "none"}
    return {**target.train, "max_length": target.max_length, **last}


def _target_layer(task: str, flags: Mapping[str, Any]) -> Layer:
    """Settings of the target whose head is trained; none where `task` is not what trains it."""
    name = str(flags.get("target", ""))
    values = target_defaults(load_task(name)) if name and train_task_of(name) == task else {}
    if flags.get("select_on") == "target-dev":
        values.pop("select", None)
    return Layer(f"target {name}", {"train": values})


def _task_layer(name: str) -> Layer:
    """What a mixture or a single task says of its training; a list of tasks says nothing."""
    if name in spec_names("mixtures"):
        mixture = load_mixture(name)
        return Layer(
            f"mixture {name}", {"train": mixture.train, "mix": mixture.mix, "mlm": mixture.mlm}
        )
    if "," in name:
        for part in tasks_of(name):
            load_task(part)
        return Layer(f"tasks {name}", {})
    return Layer(f"task {name}", {"train": load_task(name).train})
