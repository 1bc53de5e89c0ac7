"""One ONNX graph of encoder, modules and head, checked with onnxruntime.

Inputs `input_ids` and `attention_mask` [batch, length] as int64; output `logits`, or
`last_hidden_state` without a head. Both sizes may change from call to call.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xstilts.composition.export import Source, difference, probe, reference
from xstilts.data.features import Batch
from xstilts.errors import UsageError
from xstilts.files import write_json
from xstilts.tasks.formats import FORMATS

ABOUT = "An ONNX model for onnxruntime: inputs input_ids and attention_mask, int64 [batch, length]."
MODEL = "model.onnx"
ONE_FILE = 2**30
"""Bytes of weights above which they lie beside the graph: its format ends at 2 GiB."""
SHAPES = ((2, 12), (1, 5), (3, 20))
"""Batches [rows, length] that are compared."""


class _TracedModel(nn.Module):
    """What is traced: [B, T] ids and mask to the head's output."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.model = source.model
        self.backbone = source.backbone
        self.name = source.head.task.name if source.head else ""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.backbone(input_ids, attention_mask)
        if not self.name:
            return hidden
        # what a head reads of a batch is which of the positions are padding
        batch = Batch(input_ids, attention_mask, input_ids[:, 0], np.zeros(0, np.int64), 0)
        output: Tensor = self.model.head(self.name)(hidden, batch)
        return output


def write(source: Source, folder: Path) -> float | None:
    """Write model.onnx, labels.json and the tokenizer; runs it beside our own model."""
    head, identity = source.head, source.backbone.identity
    if why := source.backbone.architecture.NO_GRAPH:
        raise UsageError(f"a {identity.model_type} cannot be exported to ONNX: {why}")
    if head is not None and FORMATS.get(head.task.format).CORRUPTS:
        # such a head computes at the positions that a batch says are drawn
        raise UsageError(f"a head of format {head.task.format} cannot be exported to ONNX")
    _require()
    source.backbone.to("cpu")
    output = "logits" if source.head else "last_hidden_state"
    graph = _TracedModel(source).eval()
    with source.model.attached(), warnings.catch_warnings(), torch.inference_mode(False):
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        _export(graph, probe(source.backbone), folder / MODEL, output)
    labels = source.head.task.labels if source.head else []
    write_json(folder / "labels.json", {"output": output, "labels": labels})
    source.backbone.tokenizer.save_pretrained(folder)
    return max(_difference(source, folder / MODEL, shape) for shape in SHAPES)


def _require() -> None:
    import importlib.util

    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if not _has(importlib, name)]
    if missing:
        raise UsageError(
            f"{', '.join(missing)} must be installed for this",
            hint="pip install 'xstilts[onnx]'",
        )


def _has(importlib: Any, name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _export(graph: nn.Module, example: tuple[Tensor, Tensor], path: Path, output: str) -> None:
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    size = sum(p.numel() * p.element_size() for p in graph.parameters())
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports what is not installed
    torch.onnx.export(
        graph,
        example,
        path,
        input_names=["input_ids", "attention_mask"],
        output_names=[output],
        dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
        dynamo=True,
        external_data=size > ONE_FILE,
        verbose=False,
    )


def _difference(source: Source, path: Path, shape: tuple[int, int]) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    ids, mask = probe(source.backbone, *shape)
    (found,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    return difference(torch.from_numpy(found), reference(source, ids, mask), mask)
