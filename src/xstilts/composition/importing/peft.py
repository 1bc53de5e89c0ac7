"""Folders of peft: LoRA and rsLoRA as it computes them; everything else is refused by name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, PositiveInt
from safetensors.torch import save_file
from torch import Tensor

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import Site
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
from xstilts.modules.methods import lora

FILES = ("adapter_model.safetensors", "adapter_model.bin")

_UNDERSTOOD_TEXT = """
    peft_type task_type auto_mapping peft_version base_model_name_or_path revision inference_mode
    r lora_alpha lora_dropout rank_pattern alpha_pattern use_rslora bias lora_bias fan_in_fan_out
    use_dora layer_replication target_modules exclude_modules layers_to_transform layers_pattern
    modules_to_save init_lora_weights eva_config runtime_config megatron_core qalora_group_size
"""
_UNDERSTOOD = frozenset(_UNDERSTOOD_TEXT.split())
"""Keys of a LoRA config that are read, or that say nothing of a trained module: the sites and ranks
are those of the tensors, and `eva_config` is about how training began."""

_KEEPS_THE_BASE = (None, True, False, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` with which the base weights stay what they were."""

_HEADS = ("classifier", "score", "qa_outputs", "pooler", "lm_head", "cls")
"""Modules of transformers' task classes that are no part of the encoder that we run."""

_FORMATS = {
    "SEQ_CLS": "classification",
    "TOKEN_CLS": "tagging",
    "QUESTION_ANS": "extractive_qa",
}
"""Task types of peft to formats."""

_HINT = (
    "Let peft write it as plain LoRA (save_pretrained with path_initial_model_for_weight_conversion"
    "), or merge it into its base model (merge_and_unload) and name that with --backbone."
)


class _Read(BaseModel, strict=True):
    """The keys that decide where and how strongly a module acts, of the kinds that peft takes."""

    r: PositiveInt
    lora_alpha: float = Field(gt=0, allow_inf_nan=False)
    lora_dropout: float = 0.0
    rank_pattern: dict[re.Pattern[str], PositiveInt] | None = None
    target_modules: re.Pattern[str] | list[str] | None = None
    exclude_modules: re.Pattern[str] | list[str] | None = None
    layers_to_transform: int | list[int] | None = None
    modules_to_save: list[str] | None = None


def read(
    folder: ExternalFolder, config: Mapping[str, Any], backbone: Backbone, task: TaskSpec | None
) -> Imported:
    """The LoRA module in a folder of peft, and the head beside it.

    Raises:
        IntegrityError: It holds or asks for something that a LoRA module is not.
    """
    found = folder.tensors(FILES)
    if found is None:
        raise IntegrityError("no adapter_model.safetensors", where=str(folder.path))
    require_understood(config, _UNDERSTOOD, folder.path, _HINT)
    _check_start(config, folder.path)
    of_kinds(_Read, config, folder.path)
    _check_sites(found, config, backbone, folder.path)
    saved = _saved_modules(config, folder.path)
    config = {**config, "modules_to_save": None}
    if config.get("use_rslora"):
        if config.get("rank_pattern"):
            raise IntegrityError("rsLoRA with a rank pattern is not supported")
        config["lora_alpha"] = config["lora_alpha"] * math.sqrt(config["r"])
        config["use_rslora"] = False
    rest = {key: tensor for key, tensor in found.items() if ".lora_" not in key}
    plain = folder.scratch / "peft"
    plain.mkdir()
    save_file({k: t for k, t in found.items() if k not in rest}, plain / lora.WEIGHTS)
    write_json(plain / lora.CONFIG, config)
    adapter = lora.load(plain, backbone.shape)
    for key in rest:
        if not any(f".{module}." in key for module in saved):
            raise IntegrityError(f"unexpected tensor '{key}'", where=str(folder.path))
    head = _head(rest, str(config.get("task_type")), task, backbone, folder) if rest else None
    stated = str(config.get("base_model_name_or_path") or "")
    return Imported(adapter, head, "peft", stated, tuple(folder.notes))


_NOT_ONE_MODULE = "Weights and config are not of one module: download or save them again."


def _check_start(config: Mapping[str, Any], where: Path) -> None:
    """Refuse a module that only acts on base weights which its initialisation changed."""
    start = config.get("init_lora_weights")
    if start not in _KEEPS_THE_BASE:
        raise IntegrityError(
            f"option init_lora_weights={start!r} is not supported: it may have changed the base "
            "weights",
            where=str(where),
            hint=_HINT,
        )


def _check_sites(
    found: Mapping[str, Tensor], config: Mapping[str, Any], backbone: Backbone, where: Path
) -> None:
    """Refuse tensors that peft would leave out or not take, and the lack of ones that it needs."""
    ranks = config.get("rank_pattern") or {}
    there: dict[str, set[Site]] = {}
    for name, tensor in found.items():
        path, factor, which = name.removeprefix("base_model.model.").partition(".lora_")
        if not factor:
            continue
        if not _attached(path, config):
            raise IntegrityError(
                f"there are tensors of {path}, which the config's target_modules, exclude_modules "
                "or layers_to_transform leave out",
                where=str(where),
                hint=_NOT_ONE_MODULE,
            )
        rank = next((r for k, r in ranks.items() if re.match(rf"(.*\.)?({k})$", path)), config["r"])
        if which.startswith("A.") and len(tensor) != rank:
            raise IntegrityError(
                f"{path} has rank {len(tensor)} where the config says {rank}", where=str(where)
            )
        site = backbone.layout.site(path)
        if site is not None:
            before = path.removesuffix(backbone.layout.path(site))
            there.setdefault(before, set()).add(site)
    if len(there) > 1:
        raise IntegrityError(
            f"it acts in {len(there)} encoders: {', '.join(map(repr, sorted(there)))}",
            where=str(where),
            hint="Save the module of one of them.",
        )
    for before, sites in there.items():
        for site in _every_site(backbone):
            path = before + backbone.layout.path(site)
            if site not in sites and config.get("target_modules") and _attached(path, config):
                raise IntegrityError(
                    f"there are no tensors of {path}, which the config's target_modules name",
                    where=str(where),
                    hint=_NOT_ONE_MODULE,
                )


def _every_site(backbone: Backbone) -> list[Site]:
    blocks = range(backbone.shape.num_layers)
    return [Site(block, name) for block in blocks for name in backbone.layout.linears]


def _attached(path: str, config: Mapping[str, Any]) -> bool:
    """Whether peft puts a part at this module: its `check_target_module_exists`."""
    targets, without = config.get("target_modules"), config.get("exclude_modules")
    layers, layer = config.get("layers_to_transform"), re.search(r"\.(\d+)\.", path)
    chosen = layers if isinstance(layers, list) else [] if layers is None else [layers]
    if isinstance(targets, list) and chosen and layer and int(layer[1]) not in chosen:
        return False
    if without and _named(path, without):
        return False
    return targets in (None, "all-linear") or _named(path, targets)


def _named(path: str, names: str | list[str]) -> bool:
    if isinstance(names, str):
        return re.fullmatch(names, path) is not None
    return any(path == name or path.endswith(f".{name}") for name in names)


def _saved_modules(config: Mapping[str, Any], where: Path) -> list[str]:
    """The modules that were trained whole; only heads can be."""
    saved = config.get("modules_to_save") or []
    inner = [name for name in saved if str(name).split(".")[0] not in _HEADS]
    if inner:
        raise IntegrityError(
            f"modules_to_save holds layers of the encoder ({', '.join(map(repr, inner))}), "
            "which a LoRA module cannot hold",
            where=str(where),
            hint="Merge it into its base model with peft (merge_and_unload) and name that with "
            "--backbone.",
        )
    return list(saved)


def _head(
    tensors: Mapping[str, Tensor],
    task_type: str,
    task: TaskSpec | None,
    backbone: Backbone,
    folder: ExternalFolder,
) -> Head | None:
    if task is not None and _FORMATS.get(task_type, task.format) != task.format:
        folder.notes.append(
            f"its head was left out: one of type {task_type} does not fit task '{task.name}'"
        )
        return None
    return folder.head(_head_tensors(tensors), task, backbone)


def _head_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A head's tensors under our names; see `export._heads` for the way out."""
    result = {}
    deep = any(key.split(".")[-2] == "out_proj" for key in tensors)
    pooled = any(".pooler." in key for key in tensors)
    for key, tensor in tensors.items():
        *_, module, kind = key.split(".")
        if module in ("dense", "out_proj"):
            result[f"{module}.{kind}"] = tensor
        elif not deep:
            result[f"{'out_proj' if pooled else 'classifier'}.{kind}"] = tensor
    return result
