"""Fusion of nine bottleneck modules beside the adapters library's Fuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator

from xstilts.backbone.backbone import Backbone
from xstilts.bench import Result, compare
from xstilts.bench.models import adapter, encoder, plain
from xstilts.composition.compose import compose
from xstilts.composition.parser import parse
from xstilts.composition.task_model import TaskModel


def fusion(size: str, pairs: int) -> Result:
    """Fusion of nine bottleneck modules against the adapters library's Fuse, forward."""
    ours, theirs = _fusions(size, train=False)
    note = "fuse of 9 bottleneck modules, forward, 4 x 64 sub-words; theirs: adapters' Fuse"
    return compare("fuse, forward", ours, theirs, pairs=pairs, target_ratio=2.0, note=note)


def fusion_step(size: str, pairs: int) -> Result:
    """The same, forward and backward of the fusion's own parameters."""
    ours, theirs = _fusions(size, train=True)
    note = "fuse of 9 bottleneck modules, forward and backward; theirs: adapters' Fuse"
    return compare("fuse, training", ours, theirs, pairs=pairs, target_ratio=2.0, note=note)


def _fusions(size: str, *, train: bool) -> tuple[Callable[[], None], Callable[[], None]]:
    backbone = encoder(size)
    names = [f"m{number}" for number in range(9)]
    modules = {name: adapter(backbone, "seq_bn", n) for n, name in enumerate(names)}
    text = f"fuse({', '.join(names)})"
    composed = compose(parse(text), modules, backbone.shape, Generator().manual_seed(0))
    model = TaskModel(backbone, composed, {})
    model.requires_grad_(False)
    for parameter in composed.operator_parameters().values():
        parameter.requires_grad_(train)
    ids = torch.randint(5, 1990, (4, 64))
    mask = torch.ones_like(ids)
    library = _library_fusion(backbone, names, train=train)

    def run(target: Any) -> None:
        with torch.set_grad_enabled(train):
            output = target(input_ids=ids, attention_mask=mask)[0]
            if train:
                torch.autograd.backward(output.pow(2).mean())

    def ours() -> None:
        with model.attached():
            composed.train(train)
            backbone.encoder.train(train)
            run(backbone.encoder)

    def theirs() -> None:
        library.train(train)
        run(library)

    return ours, theirs


def _library_fusion(backbone: Backbone, names: Sequence[str], *, train: bool) -> Any:
    """The encoder with the adapters library's fusion of fresh modules."""
    import adapters
    from adapters.composition import Fuse

    library = plain(backbone)
    adapters.init(library)
    for name in names:
        library.add_adapter(name, config="seq_bn")
    library.add_adapter_fusion(Fuse(*names))
    library.set_active_adapters(Fuse(*names))
    library.requires_grad_(False)
    if train:
        library.train_adapter_fusion(Fuse(*names))
    return library
