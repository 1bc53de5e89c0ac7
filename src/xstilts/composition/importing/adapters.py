"""Folders of the adapters library: bottleneck and language adapters, LoRA, and flexible heads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from safetensors.torch import save_file
from torch import Tensor

from xstilts.backbone.backbone import Backbone
from xstilts.composition.importing.folder import (
    ExternalFolder,
    Imported,
    of_kinds,
    require_understood,
)
from xstilts.composition.task_model import Head
from xstilts.config.specs import TaskSpec
from xstilts.errors import IntegrityError
from xstilts.files import write_json
from xstilts.modules.methods import _adapters_lora, bottleneck, language, lora
from xstilts.tasks.formats import FORMATS

WEIGHTS = ("adapter.safetensors", "pytorch_adapter.bin")
HEADS = ("model_head.safetensors", "pytorch_model_head.bin")
HEAD_CONFIG = "head_config.json"
FILES = (*WEIGHTS, *HEADS, HEAD_CONFIG)

_OLD_NAMES = {
    "attention_text_task_adapters": "adapters",
    "attention_text_lang_adapters": "adapters",
    "layer_text_task_adapters": "adapters",
    "layer_text_lang_adapters": "adapters",
    "invertible_lang_adapters": "invertible_adapters",
}
_OLD_KEYS = frozenset({"attention_type", "new_attention_norm"})
"""Keys of configs before 2.0 that were about fusion."""

_HINT = "Train one with --method adapters:<config>, which that library computes."


def read(
    folder: ExternalFolder, config: Mapping[str, Any], backbone: Backbone, task: TaskSpec | None
) -> Imported:
    """The module in a folder of the adapters library, and the head beside it.

    Raises:
        IntegrityError: It holds or asks for something that none of our methods computes, or its
            head speaks other labels than the task.
    """
    inner, name = config.get("config"), config.get("name")
    if not isinstance(inner, dict) or not isinstance(name, str):
        raise IntegrityError("adapter_config.json has no config and name", where=str(folder.path))
    found = folder.tensors(WEIGHTS)
    if found is None:
        raise IntegrityError("no adapter.safetensors", where=str(folder.path))
    found = {_new_name(key): tensor for key, tensor in found.items()}
    inner = _new_config(inner, found, str(config.get("version", "")))
    is_lora = inner.get("architecture") == _adapters_lora.ARCHITECTURE
    known = _adapters_lora.KEYS if is_lora else bottleneck.KEYS
    require_understood(inner, known | _OLD_KEYS, folder.path, _HINT)
    plain = folder.scratch / "adapters"
    plain.mkdir()
    save_file(found, plain / bottleneck.WEIGHTS)
    outer = {"config": inner, "name": name, "model_type": backbone.identity.model_type}
    write_json(plain / bottleneck.CONFIG, outer)
    if is_lora:
        adapter = lora.load_from_adapters(plain, backbone.shape)
    elif inner.get("inv_adapter"):
        adapter = language.load(plain, backbone.shape)
    else:
        adapter = bottleneck.load(plain, backbone.shape)
    tensors = folder.tensors(HEADS)
    head = _head(tensors, task, backbone, folder) if tensors else None
    stated = str(config.get("model_name") or "")
    return Imported(adapter, head, "adapters", stated, tuple(folder.notes))


def _new_name(key: str) -> str:
    """A tensor's name as the library writes it now."""
    for old, new in _OLD_NAMES.items():
        key = key.replace(old, new)
    return key


def _new_config(
    config: dict[str, Any], tensors: Mapping[str, Tensor], version: str
) -> dict[str, Any]:
    """A config as the library writes it now."""
    config = dict(config)
    old = config.pop("invertible_adapter", None)
    if isinstance(old, dict) and "inv_adapter" not in config:
        config["inv_adapter"] = old.get("block_type")
        config["inv_adapter_reduction_factor"] = old.get("reduction_factor", 2)
    if not any("invertible_adapters" in key for key in tensors):
        # Task adapters used to name one that they did not have.
        config["inv_adapter"] = config["inv_adapter_reduction_factor"] = None
    match = re.fullmatch(r"adapters\.(\d+)\.(\d+).*", version)
    if (
        match
        and config.get("architecture") == _adapters_lora.ARCHITECTURE
        and (int(match[1]), int(match[2])) < (1, 1)
    ):
        config["alpha"] = config.get("r")  # these versions scaled by 1, whatever they wrote
    return config


# ------------------------------------------------------------------------------------------ heads


class _HeadConfig(BaseModel):
    """The keys of a head's config that are read; those of a plain transformers class are fewer."""

    head_type: str | None = None
    use_pooler: bool | None = None
    activation_function: str | None = "tanh"
    layers: int = 1
    label2id: dict[str, int] | None = None


def _head(
    tensors: Mapping[str, Tensor], task: TaskSpec | None, backbone: Backbone, folder: ExternalFolder
) -> Head | None:
    """The head with its scores in the order of the task's labels."""
    if task is None:
        return folder.head({}, task, backbone)
    outer = folder.json(HEAD_CONFIG)
    config = outer["config"] if isinstance(outer.get("config"), dict) else outer
    read = of_kinds(_HeadConfig, config, folder.path / HEAD_CONFIG)
    problem = _head_problem(read, task)
    if problem:
        folder.notes.append(f"its head was left out: {problem}")
        return None
    order = _order(read.label2id, task, folder)
    named = _head_tensors(tensors)
    if order is not None:
        scores = ("classifier.", "out_proj.")
        named = {k: t[order] if k.startswith(scores) else t for k, t in named.items()}
    return folder.head(named, task, backbone)


def _head_problem(config: _HeadConfig, task: TaskSpec) -> str:
    """Why a head of this config computes something else than ours; empty when it does not.

    The head of a plain transformers class has no type and no layers of its own choice.
    """
    kind, wanted = config.head_type, FORMATS.get(task.format).ADAPTERS_TYPE
    if kind not in (None, wanted):
        return f"a head of type {kind} does not fit task '{task.name}'"
    if config.use_pooler:
        return "it reads the pooler, which no head of ours does"
    if config.layers > 1 and config.activation_function != "tanh":
        return f"its activation function is {config.activation_function}, ours is tanh"
    return ""


def _order(
    labels: Mapping[str, int] | None, task: TaskSpec, folder: ExternalFolder
) -> list[int] | None:
    """The place of each of the task's labels among the head's scores; None to leave them.

    Raises:
        IntegrityError: The head names other labels.
    """
    if not task.labels or not FORMATS.get(task.format).LABEL_SET:
        return None
    if not labels or all(re.fullmatch(r"LABEL_\d+", label) for label in labels):
        folder.notes.append(
            f"its head names no labels: they are taken in the order of '{task.name}', "
            + ", ".join(task.labels)
        )
        return None
    if sorted(labels) != sorted(task.labels):
        raise IntegrityError(
            f"its head speaks the labels {', '.join(sorted(labels))}; "
            f"task '{task.name}' has {', '.join(task.labels)}",
            where=str(folder.path / HEAD_CONFIG),
            hint="Name the task that it was trained on; without --task the head is left out.",
        )
    if sorted(labels.values()) != [*range(len(labels))]:
        numbers = ", ".join(f"{label} {number}" for label, number in labels.items())
        raise IntegrityError(
            f"the numbers of its head's labels are not 0 to {len(labels) - 1}: {numbers}",
            where=str(folder.path / HEAD_CONFIG),
        )
    return [labels[label] for label in task.labels]


def _head_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A head's tensors under our names."""
    places = {key.split(".")[-2] for key in tensors}
    names = {"1": "dense", "4": "out_proj"} if "4" in places else {"1": "classifier"}
    return {
        f"{names.get(key.split('.')[-2], key.split('.')[-2])}.{key.split('.')[-1]}": tensor
        for key, tensor in tensors.items()
    }
