"""Folders of the adapters library and of peft as modules: read, checked, converted, kept.

What becomes a module is the function: LoRA of either library, rsLoRA by its scaling, bottleneck
adapters, MAD-X language adapters, the old names of AdapterHub. A head comes along where the task is
named and its labels fit. Pickles are read only when asked for, by another process that loads
nothing but tensors.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import ModuleWeights
from xstilts.composition.heads import save_heads
from xstilts.composition.importing.files import ForeignFolder
from xstilts.composition.task_model import Head, head_tensors, restore_head
from xstilts.config.load import load_task
from xstilts.config.specs import BackboneIdentity, TaskSpec
from xstilts.errors import BackboneMismatchError, IntegrityError, NotFoundError, UsageError
from xstilts.files import sha256_file, write_json
from xstilts.modules.methods import METHODS, _adapters_lora, bottleneck, language, lora
from xstilts.zoo import Entry, Manifest, Zoo, write_manifest
from xstilts.zoo.strict_json import read_json

ADAPTERS_FILES = ("adapter.safetensors", "pytorch_adapter.bin")
ADAPTERS_HEADS = ("model_head.safetensors", "pytorch_model_head.bin")
PEFT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
FILES = ("adapter_config.json", *ADAPTERS_FILES, *ADAPTERS_HEADS, *PEFT_FILES)
"""What is read of a folder of either library; the first is always there."""

_OLD_NAMES = {
    "attention_text_task_adapters": "adapters",
    "attention_text_lang_adapters": "adapters",
    "layer_text_task_adapters": "adapters",
    "layer_text_lang_adapters": "adapters",
    "invertible_lang_adapters": "invertible_adapters",
}


@dataclass(frozen=True)
class Imported:
    """What a folder holds.

    Attributes:
        library: `adapters` or `peft`.
        stated: Names of the base model in its config.
        notes: What was left behind, and why.
    """

    adapter: ModuleWeights
    head: Head | None
    library: str
    stated: str
    notes: tuple[str, ...] = ()


def read_folder(
    path: Path, backbone: Backbone, task: str = "", *, pickles: bool = False
) -> Imported:
    """The module in a folder of the adapters library or of peft.

    Args:
        path: The folder.
        backbone: Gives the shapes.
        task: Whose labels the head speaks; without it no head is read.
        pickles: Read `.bin` files, in another process.

    Raises:
        NotFoundError: There is no such folder.
        UsageError: Its weights are a pickle and `pickles` is not set.
        IntegrityError: It is no such folder, or holds what is not supported.
    """
    if not path.is_dir():
        raise NotFoundError(f"no folder {path}", hint="Check the path.")
    config = read_json(path / "adapter_config.json")
    if not isinstance(config, dict):
        raise IntegrityError("adapter_config.json is no JSON object", where=str(path))
    spec = load_task(task) if task else None
    with tempfile.TemporaryDirectory() as scratch:
        folder = ForeignFolder(path, Path(scratch), pickles)
        read = _from_peft if "peft_type" in config else _from_adapters
        return read(folder, config, backbone, spec)


# ------------------------------------------------------------------------------------------ peft


def _from_peft(
    folder: ForeignFolder, config: dict[str, Any], backbone: Backbone, task: TaskSpec | None
) -> Imported:
    found = folder.tensors(PEFT_FILES)
    if found is None:
        raise IntegrityError("no adapter_model.safetensors", where=str(folder.path))
    rest = {key: tensor for key, tensor in found.items() if ".lora_" not in key}
    config = dict(config)
    saved = config.pop("modules_to_save", None) or []
    numbers = [config.get("r"), config.get("lora_alpha")]
    if config.get("use_rslora") and all(isinstance(n, int | float) and n > 0 for n in numbers):
        if config.get("rank_pattern"):
            raise IntegrityError("rsLoRA with a rank pattern is not supported")
        config["lora_alpha"] = config["lora_alpha"] * math.sqrt(config["r"])
        config["use_rslora"] = False
    plain = folder.scratch / "peft"
    plain.mkdir()
    save_file({k: t for k, t in found.items() if k not in rest}, plain / lora.WEIGHTS)
    write_json(plain / lora.CONFIG, config)
    adapter = lora.load(plain, backbone.shape)
    unknown = [key for key in rest if not any(f".{module}." in key for module in saved)]
    if unknown:
        raise IntegrityError(f"unexpected tensor '{unknown[0]}'", where=str(folder.path))
    head = _head(_peft_head(rest), task, backbone, folder) if rest else None
    return Imported(
        adapter, head, "peft", str(config.get("base_model_name_or_path")), tuple(folder.notes)
    )


def _peft_head(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
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


# -------------------------------------------------------------------------------------- adapters


def _from_adapters(
    folder: ForeignFolder, config: dict[str, Any], backbone: Backbone, task: TaskSpec | None
) -> Imported:
    inner, name = config.get("config"), config.get("name")
    if not isinstance(inner, dict) or not isinstance(name, str):
        raise IntegrityError("adapter_config.json has no config and name", where=str(folder.path))
    found = folder.tensors(ADAPTERS_FILES)
    if found is None:
        raise IntegrityError("no adapter.safetensors", where=str(folder.path))
    found = {_new_name(key): tensor for key, tensor in found.items()}
    inner = _new_config(inner, found, str(config.get("version", "")))
    plain = folder.scratch / "adapters"
    plain.mkdir()
    save_file(found, plain / bottleneck.WEIGHTS)
    outer = {"config": inner, "name": name, "model_type": backbone.identity.model_type}
    write_json(plain / bottleneck.CONFIG, outer)
    if inner.get("architecture") == "lora":
        adapter = _adapters_lora.load(plain, backbone.shape)
    elif inner.get("inv_adapter"):
        adapter = language.load(plain, backbone.shape)
    else:
        adapter = bottleneck.load(plain, backbone.shape)
    tensors = folder.tensors(ADAPTERS_HEADS)
    head = _head(_adapters_head(tensors), task, backbone, folder) if tensors else None
    return Imported(adapter, head, "adapters", str(config.get("model_name")), tuple(folder.notes))


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
    if match and config.get("architecture") == "lora" and (int(match[1]), int(match[2])) < (1, 1):
        config["alpha"] = config.get("r")  # these versions scaled by 1, whatever they wrote
    return config


def _adapters_head(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A head's tensors under our names."""
    places = {key.split(".")[-2] for key in tensors}
    names = {"1": "dense", "4": "out_proj"} if "4" in places else {"1": "classifier"}
    return {
        f"{names.get(key.split('.')[-2], key.split('.')[-2])}.{key.split('.')[-1]}": tensor
        for key, tensor in tensors.items()
    }


def _head(
    tensors: dict[str, Tensor], task: TaskSpec | None, backbone: Backbone, folder: ForeignFolder
) -> Head | None:
    """The head of a task with these tensors; None, and a note, when they are no such head."""
    if task is None:
        folder.notes.append("its head was left out: name its task with --task")
        return None
    try:
        return restore_head(task, backbone, tensors)
    except UsageError as error:
        folder.notes.append(f"its head was left out: {error.what}")
        return None


# --------------------------------------------------------------------------------------- keeping


def require_base(found: Imported, identity: BackboneIdentity, *, allow: bool = False) -> None:
    """Refuse a folder whose config names another base model.

    Raises:
        BackboneMismatchError: It does, and `allow` is not set. Neither library records which
            weights a module was trained on, so a name is all there is.
    """
    if allow or found.stated in (identity.repo, identity.name):
        return
    raise BackboneMismatchError(
        f"the folder was made for '{found.stated}'; this backbone is {identity.repo}",
        hint="Name its base model with --backbone, or give --allow-base-mismatch.",
    )


def add_to(
    zoo: Zoo, found: Imported, name: str, backbone: Backbone, source: Path, origin: str = ""
) -> Entry:
    """Keep an imported module, which was in `source`, and before on a hub as `origin` says."""
    method = METHODS.get(found.adapter.method)
    head = found.head
    imported: dict[str, Any] = {"library": found.library, "files": _checksums(source)}
    if origin:
        imported["origin"] = origin
    if head is not None:  # a head must load again from what is kept
        restore_head(head.task, backbone, head_tensors(head))

    def write(folder: Path) -> Manifest:
        method.save(found.adapter, folder, name, backbone)
        if head is not None:
            save_heads({head.task.name: head}, folder)
        task = head.task if head else None
        manifest = Manifest(
            name=name,
            kind=method.KIND,
            task=task.name if task else "",
            format=task.format if task else "",
            family=task.head_family if task else "",
            method=found.adapter.method,
            preset="imported",
            options=found.adapter.options.model_dump(),
            backbone=backbone.identity,
            labels=task.labels if task else [],
            training={"imported": imported},
            trainable_parameters=found.adapter.num_parameters,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return write_manifest(folder, manifest)

    return zoo.add(write)


def _checksums(source: Path) -> dict[str, str]:
    return {name: sha256_file(source / name) for name in FILES if (source / name).is_file()}
