"""A program that leaves two whole encoders of XLM-R large's widths in a library, piece by piece.

`python -m support.large_modules FOLDER LAYERS`: FOLDER/base is the backbone with a tokenizer,
FOLDER/zoo holds the modules `one` and `two`, which differ from it everywhere. Weights are random.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from support.models import SIZES
from support.tokenizers import tiny_tokenizer
from torch import Tensor
from transformers import XLMRobertaConfig, XLMRobertaModel

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.lazy_tensors import Info, LazyTensors, info_of, rows_of
from xstilts.modules.methods import full
from xstilts.zoo import Manifest, Zoo, write_manifest

LARGE = {
    "vocab_size": 250_002,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "max_position_embeddings": 514,
}


class Changed(LazyTensors):
    """Some weights with noise on every row."""

    def __init__(self, weights: dict[str, Tensor], seed: int) -> None:
        self.weights, self.seed = weights, seed

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)

    def info(self, name: str) -> Info:
        return info_of(self.weights, name)

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        own = rows_of(self.weights, name, start, stop)
        generator = torch.Generator().manual_seed(self.seed + start)
        return own + torch.randn(own.shape, generator=generator) * 1e-3


def main() -> None:
    folder, layers = Path(sys.argv[1]), int(sys.argv[2])
    torch.manual_seed(0)
    config = XLMRobertaConfig(**SIZES | LARGE | {"num_hidden_layers": layers})
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder / "base")
    tiny_tokenizer(["a b c d e"] * 9, characters=True).save_pretrained(folder / "base")
    backbone = Backbone.load(str(folder / "base"), offline=True)
    weights = {name: p.detach() for name, p in backbone.encoder.named_parameters()}
    for seed, name in enumerate(("one", "two")):
        changed = Changed(weights, 1000 * seed)

        def build(into: Path, name: str = name, changed: Changed = changed) -> Manifest:
            adapter = full.create(backbone.shape, full.Options(), torch.Generator())
            adapter.encoder_weights = changed
            full.save(adapter, into, name, backbone)
            identity = backbone.identity
            values = {"name": name, "kind": "full", "method": "full", "preset": "full"}
            return write_manifest(into, Manifest(**values, backbone=identity))

        Zoo(folder / "zoo").add(build)


if __name__ == "__main__":
    main()
