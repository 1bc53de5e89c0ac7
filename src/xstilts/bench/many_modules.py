"""Nine modules evaluated in one run beside nine runs."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from xstilts.backbone.activation_cache import FrozenBlocks, MemoryStore, first_block
from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import Site
from xstilts.bench import XNLI_LENGTHS, Result, compare
from xstilts.bench.models import PAD, adapter, classifier, encoder, padded, rows, vocabulary
from xstilts.composition import predict
from xstilts.data.features import Features


def nine_modules(size: str, pairs: int) -> Result:
    """Nine modules in every block on one task against nine runs that load the backbone each."""
    return _nine(size, pairs, [], "in every block")


def nine_commands(size: str, pairs: int) -> Result:
    """Nine modules in every block in one process against a process for each, as commands are."""
    with tempfile.TemporaryDirectory() as folder:
        encoder(size, vocabulary(size)).encoder.save_pretrained(folder)

        def run(seeds: str) -> None:
            command = [sys.executable, "-m", "xstilts.bench.many_modules", folder, seeds]
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603

        def theirs() -> None:
            for seed in "012345678":
                run(seed)

        note = "8 pairs of XNLI lengths; theirs: nine processes, each starts and loads the backbone"
        name = "9 modules in every block, processes"
        return compare(
            name, lambda: run("012345678"), theirs, pairs=pairs, target_ratio=2.5, note=note
        )


def main() -> None:
    """Load the encoder of a folder and run a module of each seed: `FOLDER 012`."""
    folder, seeds = sys.argv[1:]
    backbone, features = _loaded(folder, encoder("tiny")), rows(8, XNLI_LENGTHS, 128)
    for seed in seeds:
        model = classifier(backbone, adapter(backbone, "seq_bn", int(seed)))
        with model.attached():
            predict.logits(model, features, "xnli")


def nine_upper_modules(size: str, pairs: int) -> Result:
    """Nine modules in the upper third of the blocks, the others run once, against nine runs."""
    total = encoder(size).shape.num_layers
    return _nine(size, pairs, list(range(total - total // 3)), "in the upper third of the blocks")


def nine_modules_of_adapters(size: str, pairs: int) -> Result:
    """Nine modules in every block against nine runs with the adapters library, padded to 128."""
    return _nine(size, pairs, [], "in every block, adapters", library=True)


def _nine(
    size: str, pairs: int, leave_out: list[int], where: str, *, library: bool = False
) -> Result:
    # every run loads all words
    backbone, features = encoder(size, vocabulary(size)), rows(8, XNLI_LENGTHS, 128)
    modules = [adapter(backbone, "seq_bn", seed, leave_out=leave_out) for seed in range(9)]
    folder = tempfile.TemporaryDirectory()
    backbone.encoder.save_pretrained(folder.name)

    def run(base: Backbone, number: int, frozen: FrozenBlocks | None) -> None:
        model = classifier(base, modules[number])
        model.frozen = frozen
        with model.attached():
            predict.logits(model, features, "xnli")

    def ours() -> None:
        fresh = _loaded(folder.name, backbone)
        sites = [Site.of(key).key for key in modules[0].at]
        count = first_block(sites, len(fresh.blocks))
        frozen = FrozenBlocks(fresh, count, MemoryStore()) if count else None
        for number in range(9):
            run(fresh, number, frozen)

    def own_runs() -> None:
        for number in range(9):
            run(_loaded(folder.name, backbone), number, None)

    name = f"9 modules {where}"
    runs = "nine runs, each loads the backbone"
    note = f"8 pairs of XNLI lengths; theirs: {runs}{', padded to 128' if library else ''}"
    theirs = partial(_runs_of_adapters, folder.name, features) if library else own_runs
    try:
        return compare(name, ours, theirs, pairs=pairs, target_ratio=2.5, note=note)
    finally:
        folder.cleanup()


@torch.inference_mode()
def _runs_of_adapters(folder: str, features: Features) -> None:
    """Nine runs with the adapters library, each with a module of its own, padded to 128."""
    import adapters

    logging.getLogger("adapters").setLevel(logging.ERROR)  # it says of the active that it is not
    ids, mask, _ = padded(features, 128)
    for number in range(9):
        model: Any = _encoder(folder)
        adapters.init(model)
        model.add_adapter(f"m{number}", config="seq_bn")
        model.set_active_adapters(f"m{number}")
        model(input_ids=ids, attention_mask=mask)


def _loaded(folder: str, like: Backbone) -> Backbone:
    return Backbone(_encoder(folder), like.tokenizer, like.identity, like.retrieval_layer)


def _encoder(folder: str) -> Any:
    from transformers import XLMRobertaModel

    model = XLMRobertaModel.from_pretrained(
        Path(folder), add_pooling_layer=False, attn_implementation="sdpa"
    )
    model.eval().requires_grad_(False)
    assert model.config.pad_token_id == PAD
    return model


if __name__ == "__main__":
    main()
