"""Do a module's tensors fit the backbone that its manifest names? Headers only, no weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from xstilts.errors import IntegrityError
from xstilts.zoo.head_formats import head_format
from xstilts.zoo.manifest import HEAD, Manifest
from xstilts.zoo.tensors import TensorInfo

_BLOCK = re.compile(r"\.(\d+)\.(?!weight$|bias$)")
_DOWN = re.compile(r"\.adapters\.[^.]+\.adapter_down\.0\.weight$")
_UP = re.compile(r"\.adapters\.[^.]+\.adapter_up\.weight$")
_LOW = re.compile(r"\.lora_A(?:\.weight)?$")
_EMBEDDINGS = re.compile(r"(?:^|\.)(?:(?:word|tok)_embed[a-z]*|embed_tok[a-z]*|shared)\.weight$")

Header = Mapping[str, TensorInfo]


def check_shapes(headers: Mapping[str, Header], manifest: Manifest, where: Path | str) -> None:
    """Refuse tensors that cannot act in the manifest's backbone.

    Args:
        headers: File name to its safetensors header.
        manifest: Names the backbone and its sizes.
        where: For messages.

    Raises:
        IntegrityError: A tensor is of another size or for a block that the backbone lacks.
    """
    for name, header in headers.items():
        for problem in (
            *_tensors(header, manifest),
            *_pairs(header),
            *_head(name, header, manifest),
        ):
            raise IntegrityError(
                f"file '{name}' does not fit {manifest.backbone.name}: {problem}",
                where=str(where),
                hint="The module belongs to another backbone, or its manifest is wrong.",
            )


def _tensors(header: Header, manifest: Manifest) -> Iterator[str]:
    backbone = manifest.backbone
    for key, tensor in header.items():
        block = _BLOCK.search(key)
        if block and int(block[1]) >= backbone.num_layers:
            yield f"'{key}' is for a block past the {backbone.num_layers}th"
        wanted: tuple[tuple[int, ...], int] | None = None
        if _DOWN.search(key):
            wanted = ((backbone.hidden_size,), 1)
        elif _UP.search(key):
            wanted = ((backbone.hidden_size,), 0)
        elif _EMBEDDINGS.search(key):
            wanted = ((backbone.vocab_size,), 0)
        if wanted and (len(tensor.shape) != 2 or tensor.shape[wanted[1]] not in wanted[0]):
            yield f"'{key}' is of shape {list(tensor.shape)}"
    yield from _low_rank(header, manifest)


def _low_rank(header: Header, manifest: Manifest) -> Iterator[str]:
    """Low-rank updates of which none reads what the backbone has.

    How wide each projection is, is not in the manifest: fused ones and grouped heads have widths
    of their own. Those that read the hidden state, or end the feed-forward sub-layer, are known.
    """
    sizes = (manifest.backbone.hidden_size, manifest.backbone.intermediate_size)
    lows = {key: list(tensor.shape) for key, tensor in header.items() if _LOW.search(key)}
    for key, shape in lows.items():
        if len(shape) != 2 or not any(other[-1] in sizes for other in lows.values()):
            yield f"'{key}' is of shape {shape}"


def _pairs(header: Header) -> Iterator[str]:
    """The two factors of each low-rank update, and of each bottleneck, share their inner size."""
    for key, tensor in header.items():
        for inner, outer in (("lora_A", "lora_B"), ("adapter_down.0.weight", "adapter_up.weight")):
            if (_LOW if inner == "lora_A" else _DOWN).search(key):
                other = header.get(key.replace(inner, outer))
                if other is None:
                    yield f"'{key}' has no counterpart"
                elif len(other.shape) != 2 or other.shape[1] != tensor.shape[0]:
                    yield f"'{key}' and its counterpart differ in their inner size"


def _head(name: str, header: Header, manifest: Manifest) -> Iterator[str]:
    if name != HEAD:
        return
    form = head_format(manifest.format)
    labelled = form is not None and form.LABEL_SET and manifest.labels
    for key, tensor in header.items():
        if key in ("dense.weight", "out_proj.weight", "classifier.weight"):
            if len(tensor.shape) != 2 or tensor.shape[1] != manifest.backbone.hidden_size:
                yield f"'{key}' is of shape {list(tensor.shape)}"
            elif labelled and key != "dense.weight" and tensor.shape[0] != len(manifest.labels):
                yield f"'{key}' has {tensor.shape[0]} scores for {len(manifest.labels)} labels"
