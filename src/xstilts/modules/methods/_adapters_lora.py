"""LoRA modules in the format of the adapters library, both ways, exactly.

The library has one rank and one scaling for all of a module's updates, and the same projections in
every block that is not left out. Smaller ranks are filled up with zeros, scalings go into B, and
projections without an update get one of zero.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import Tensor

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import EncoderShape, Site
from xstilts.errors import IntegrityError, UsageError
from xstilts.files import write_json
from xstilts.modules.methods import bottleneck, read_tensors
from xstilts.modules.weights import ModuleWeights

ARCHITECTURE = "lora"
"""What the library's config calls it."""

_MATRICES = {"query": "q", "key": "k", "value": "v"}
_HELD = (*_MATRICES, "intermediate", "output")
_KEY = re.compile(r"(\w+\..+)\.loras\.([^.]+)\.lora_([AB])")


def save(adapter: ModuleWeights, folder: Path, name: str, backbone: Backbone) -> None:
    """Write `adapter.safetensors` and `adapter_config.json`.

    Raises:
        UsageError: The module acts at a projection where the library has no LoRA.
    """
    at = {Site.of(key): cast("Any", module) for key, module in adapter.at.items()}
    names = {site.name for site in at}
    if names - set(_HELD):
        raise UsageError(
            f"the adapters library has no LoRA at {', '.join(sorted(names - set(_HELD)))}",
            hint="Export it for peft instead.",
        )
    rank = max(len(module.A) for module in at.values())
    blocks = sorted({site.block for site in at})
    stem = backbone.encoder.base_model_prefix
    tensors: dict[str, Tensor] = {}
    for block in blocks:
        for target in sorted(names):
            site = Site(block, target)
            a, b = _padded(at.get(site), backbone.shape.linear_sizes(target), rank)
            key = f"{stem}.{backbone.layout.path(site)}.loras.{name}.lora_"
            tensors |= {key + "A": a, key + "B": b}
    save_file(tensors, folder / bottleneck.WEIGHTS)
    left = sorted(set(range(backbone.shape.num_layers)) - set(blocks))
    outer = bottleneck.library_outer(_config(names, rank, left), name, backbone)
    write_json(folder / bottleneck.CONFIG, outer)


def _config(names: set[str], rank: int, left: list[int]) -> dict[str, Any]:
    """The library's config; `alpha` is the rank, so its scaling is 1."""
    matrices = [short for name, short in _MATRICES.items() if name in names]
    return {
        "alpha": rank,
        "architecture": ARCHITECTURE,
        "attn_matrices": matrices,
        "composition_mode": "add",
        "dropout": 0.0,
        "dtype": None,
        "init_weights": "lora",
        "init_weights_seed": None,
        "intermediate_lora": "intermediate" in names,
        "leave_out": left,
        "output_lora": "output" in names,
        "r": rank,
        "selfattn_lora": bool(matrices),
        "use_dora": False,
        "use_gating": False,
        "vera_b": None,
        "vera_d": None,
    }


def _padded(module: Any, sizes: tuple[int, int], rank: int) -> tuple[Tensor, Tensor]:
    a, b = torch.zeros(rank, sizes[0]), torch.zeros(sizes[1], rank)
    if module is not None:
        own = len(module.A)
        a[:own] = module.A.detach().float().cpu()
        b[:, :own] = module.B.detach().float().cpu() * module.scaling
    return a, b


_NEEDED: dict[str, Any] = {
    "architecture": ARCHITECTURE,
    "composition_mode": "add",
    "use_gating": False,
    "use_dora": False,
    "vera_b": None,
    "vera_d": None,
}
KEYS = frozenset(_config(set(), 1, []))
"""Keys of the library's config that `load` takes account of."""


def read_factors(folder: Path, shape: EncoderShape) -> dict[str, tuple[Tensor, Tensor]]:
    """The updates in a folder of the library: site key to (A [rank, in], B [out, rank]).

    Folders written before 1.1 scaled by 1 where their config says alpha / r (the library corrects
    this when it loads them, and so does this).

    Raises:
        IntegrityError: The folder is broken, or asks for something else than plain LoRA.
    """
    config, _ = bottleneck.read_config(folder)
    for key, value in _NEEDED.items():
        if config.get(key, value) != value:
            raise IntegrityError(
                f"option {key}={config[key]!r} is not supported",
                where=str(folder),
                hint="Train one with --method adapters:<config>, which that library computes.",
            )
    try:
        scaling = float(config["alpha"]) / int(config["r"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise IntegrityError(f"its alpha and r are broken: {error}", where=str(folder)) from None
    found: dict[tuple[str, str], Tensor] = {}
    for key, tensor in read_tensors(folder / bottleneck.WEIGHTS).items():
        match = _KEY.fullmatch(key)
        site = shape.layout.site(match[1]) if match else None
        if match is None or site is None or site.block >= shape.num_layers:
            raise IntegrityError(f"unexpected tensor '{key}'", where=str(folder))
        found[site.key, match[3]] = tensor
    sites = sorted({key for key, _ in found}, key=Site.of)
    if len(found) != 2 * len(sites):
        raise IntegrityError("an update lacks a factor", where=str(folder))
    return {key: (found[key, "A"], found[key, "B"] * scaling) for key in sites}
