"""Module folders as training leaves them, on a random tiny encoder."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from support.models import randomise, tiny_backbone

from xstilts.config.load import load_method
from xstilts.modules.methods import METHODS
from xstilts.tasks.formats._heads import SentenceHead
from xstilts.zoo import Manifest, Zoo, write_manifest

LABELS = ["entailment", "neutral", "contradiction"]
_BASES: dict[int, object] = {}


def base(seed: int = 0):
    """A tiny backbone, one object a seed."""
    if seed not in _BASES:
        _BASES[seed] = tiny_backbone(seed=seed)
    return _BASES[seed]


def build(folder: Path, preset: str = "seq_bn", seed: int = 7, base_seed: int = 0, **values):
    """Write a module of `preset` into `folder`; returns its manifest."""
    where = base(base_seed)
    spec = load_method(preset)
    method = METHODS.get(spec.method)
    options = method.Options.model_validate(spec.options)
    name = values.get("name", "mnli")
    adapter = method.create(where.shape, options, torch.Generator().manual_seed(seed))
    randomise(adapter, seed)
    if spec.method == "full":
        adapter.encoder_weights = {k: p.detach() for k, p in where.encoder.named_parameters()}
    method.save(adapter, folder, name, where)
    head = SentenceHead(where.shape.hidden_size, 3, 0.0, torch.Generator().manual_seed(seed))
    save_file(dict(head.state_dict()), folder / "head.safetensors")
    fields = {
        "name": name,
        "kind": method.KIND,
        "task": "mnli",
        "format": "classification",
        "family": "nli",
        "method": spec.method,
        "preset": preset,
        "options": options.model_dump(),
        "backbone": where.identity,
        "labels": LABELS,
        "source_language": "en",
        "seed": seed,
        "training": {"dev_score": 80.5, "steps": 3},
        "created": "2026-01-02T03:04:05+00:00",
        "license": "apache-2.0",
    }
    return write_manifest(folder, Manifest(**{**fields, **values}))


def add(zoo: Zoo, preset: str = "seq_bn", **values):
    """Build a module in a library."""
    return zoo.add(lambda folder: build(folder, preset, **values))


def contents(folder: Path) -> dict[str, bytes]:
    """File name to bytes."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
