"""What one training run is made of, and the layers that decide it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from xstilts import paths
from xstilts.config import (
    Layer,
    Resolved,
    load_method,
    load_task,
    parse_overrides,
    read_yaml,
    resolve,
    settings_layers,
    spec_names,
)
from xstilts.errors import ConfigError, NotFoundError, Problem, near_names
from xstilts.specs import Spec, TrainSpec

DEFAULT_METHOD = "seq_bn"


class RunSpec(Spec):
    """The settings of a training run.

    Attributes:
        backbone: Preset name, YAML, folder or `org/name@revision`.
        method: Preset name.
        options: The method's options, over those of the preset.
        train: How it is trained.
    """

    backbone: str = "xlm-roberta-base"
    method: str = DEFAULT_METHOD
    options: dict[str, Any] = Field(default_factory=dict)
    train: TrainSpec = Field(default_factory=TrainSpec)


def resolve_run(
    task: str,
    flags: Mapping[str, Any],
    overrides: Sequence[str],
    config: Path | None,
    backbone: str,
) -> Resolved[RunSpec]:
    """Settings from every layer: default, task, method, user, project, file, --set, flags.

    Args:
        task: Name of the task to be trained; its `train` defaults are a layer.
        flags: Nested settings from the command line.
        overrides: `key=value` texts.
        config: A YAML file of settings, or None.
        backbone: The default when no layer names one.

    Raises:
        ConfigError: Unknown keys, wrong values or an unknown method; all are listed.
        NotFoundError: No such task or file.
    """
    layers = [Layer("default", {"backbone": backbone})]
    spec = load_task(task)
    layers.append(Layer(f"task {task}", {"train": spec.train}))
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
    return resolve(RunSpec, [*layers, *chosen])
