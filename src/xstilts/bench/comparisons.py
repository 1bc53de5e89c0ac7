"""The comparisons that `xstilts bench` runs; each is a function of the model's size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from xstilts import predict
from xstilts.backbone import Backbone
from xstilts.bench import TATOEBA_DECILES, XNLI_DECILES, Result, compare
from xstilts.bench.mlm import mlm_step
from xstilts.composed import compose
from xstilts.composition import parse
from xstilts.config import load_method, load_task
from xstilts.data.features import Features, Ragged
from xstilts.methods import METHODS
from xstilts.model import Head, TaskModel
from xstilts.pretrained import fingerprint
from xstilts.sites import Adapter
from xstilts.specs import BackboneIdentity, TrainSpec
from xstilts.train.optim import make_optimizer
from xstilts.train.stream import Stream

SIZES: Mapping[str, Mapping[str, int]] = {
    "tiny": {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
}
PAD = 1


class _Tokenizer:
    """What batching needs of a tokenizer."""

    pad_token_id = PAD


def encoder(size: str, vocab: int = 2000) -> Backbone:
    """A random XLM-R of a size; comparisons that do not touch the vocabulary use a small one."""
    from transformers import XLMRobertaConfig, XLMRobertaModel

    torch.manual_seed(0)
    numbers = SIZES[size]
    config = XLMRobertaConfig(
        vocab_size=vocab,
        intermediate_size=4 * numbers["hidden_size"],
        max_position_embeddings=514,
        type_vocab_size=1,
        attn_implementation="sdpa",
        **numbers,
    )
    model = XLMRobertaModel(config, add_pooling_layer=False).eval().requires_grad_(False)
    identity = BackboneIdentity(
        name=f"random-{size}",
        repo=f"random/{size}",
        model_type="xlm-roberta",
        hidden_size=config.hidden_size,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        intermediate_size=config.intermediate_size,
        vocab_size=vocab,
        tokenizer_sha256="0" * 64,
        fingerprint=fingerprint(model),
    )
    layer = round(14 / 24 * config.num_hidden_layers)
    return Backbone(model, _Tokenizer(), identity, layer)


def rows(count: int, deciles: Sequence[int], longest: int, seed: int = 0) -> Features:
    """Random rows whose lengths follow deciles, cut at `longest`."""
    draw = np.random.default_rng(seed)
    lengths = np.interp(draw.random(count), np.linspace(0, 1, len(deciles)), deciles)
    sizes = np.clip(lengths.astype(int), 4, longest)
    ids = Ragged.of([draw.integers(5, 1990, size).tolist() for size in sizes])
    label = np.arange(count, dtype=np.int64) % 3
    return Features(ids, np.arange(count), count, {}, {"label": label})


def padded(features: Features, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """All rows padded to one width, as run_xnli does by default: ids, mask, labels."""
    ids = torch.full((len(features), width), PAD)
    for number in range(len(features)):
        values = torch.as_tensor(np.asarray(features.input_ids[number]))
        ids[number, : len(values)] = values
    mask = (torch.arange(width)[None] < torch.as_tensor(features.lengths)[:, None]).long()
    return ids, mask, torch.as_tensor(features.scalars["label"])


def adapter(backbone: Backbone, preset: str, seed: int = 0) -> Adapter:
    """A module with random weights."""
    spec = load_method(preset)
    method = METHODS.get(spec.method)
    options = method.Options.model_validate(spec.options)
    made: Adapter = method.create(backbone.shape, options, Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.02, generator=Generator().manual_seed(seed))
    return made


def classifier(backbone: Backbone, module: Adapter | None = None) -> TaskModel:
    """A model with an NLI head, over a module where one is given."""
    head = Head.new(load_task("xnli"), backbone, Generator().manual_seed(0))
    composed = None
    if module is not None:
        composed = compose(parse("m"), {"m": module}, backbone.shape, Generator())
    return TaskModel(backbone, composed, {"xnli": head})


# -- comparisons


def evaluation(size: str, pairs: int) -> Result:
    """XNLI-like evaluation against batches of 32 rows padded to 128."""
    backbone, features = encoder(size), rows(64, XNLI_DECILES, 128)
    model = classifier(backbone)
    ids, mask, _ = padded(features, 128)

    def ours() -> object:
        return predict.logits(model, features, "xnli")

    @torch.inference_mode()
    def theirs() -> None:
        for start in range(0, len(ids), 32):
            part = slice(start, start + 32)
            hidden = backbone.encoder(input_ids=ids[part], attention_mask=mask[part])[0]
            head: Any = model.heads["xnli"]
            head(hidden, None)

    note = "examples/s, 64 pairs of XNLI lengths; theirs: padded to 128, batch 32"
    return compare("evaluation", ours, theirs, pairs=pairs, bar=2.0, note=note)


def retrieval(size: str, pairs: int) -> Result:
    """Sentence vectors at block 14 of 24 against every block in file order."""
    backbone, features = encoder(size), rows(128, TATOEBA_DECILES, 128)
    model = TaskModel(backbone, None, {})
    layer = backbone.retrieval_layer

    def ours() -> object:
        return predict.embed(model, features, [layer], "mean")

    @torch.inference_mode()
    def theirs() -> None:
        for start in range(0, len(features), 100):
            part = features.rows_of(np.arange(start, min(start + 100, len(features))))
            width = int(features.lengths[part].max())
            ids, mask, _ = padded(_some(features, part), width)
            backbone.encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True)

    note = "128 sentences of Tatoeba lengths; theirs: all blocks, batches of 100 in file order"
    return compare("retrieval", ours, theirs, pairs=pairs, bar=2.5, note=note)


def _some(features: Features, numbers: np.ndarray) -> Features:
    ids = Ragged.of([np.asarray(features.input_ids[int(n)]).tolist() for n in numbers])
    count = len(numbers)
    return Features(ids, np.arange(count), count, {}, {"label": features.scalars["label"][numbers]})


def adapter_step(size: str, pairs: int) -> Result:
    """One training step of an adapter against the same module on batches padded to 128."""
    backbone, features = encoder(size), rows(512, XNLI_DECILES, 128)
    model = classifier(backbone, adapter(backbone, "seq_bn"))
    model.requires_grad_(False)
    model.heads.requires_grad_(True)
    model.composed.requires_grad_(True)
    optimizer = make_optimizer(
        {n: p for n, p in model.named_parameters() if p.requires_grad}, TrainSpec(), 12
    )
    stream = Stream(load_task("xnli"), features, _Tokenizer(), TrainSpec(batch_size=32), "xnli")
    ids, mask, _ = padded(features, 128)
    turn = {"ours": 0, "theirs": 0}

    def step(batch: Any) -> None:
        model.train()
        loss = model(batch, "xnli").mean()
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def ours() -> None:
        step(stream.step(turn["ours"]).batches[0])
        turn["ours"] += 1

    def theirs() -> None:
        own = np.arange(32) + 32 * (turn["theirs"] % 16)
        batch = stream.cut(own, 0).batches[0]
        step(replace(batch, input_ids=ids[own], attention_mask=mask[own]))
        turn["theirs"] += 1

    with model.attached():
        note = "a step of 32 XNLI pairs, one bottleneck adapter; theirs: padded to 128"
        return compare("adapter step", ours, theirs, pairs=pairs, bar=2.0, note=note)


def fusion(size: str, pairs: int) -> Result:
    """Fusion of nine bottleneck modules against the adapters library's Fuse, forward."""
    ours, theirs = _fusions(size, train=False)
    note = "fuse of 9 bottleneck modules, forward, 4 x 64 sub-words; theirs: adapters' Fuse"
    return compare("fuse, forward", ours, theirs, pairs=pairs, bar=2.0, note=note)


def fusion_step(size: str, pairs: int) -> Result:
    """The same, forward and backward of the fusion's own parameters."""
    ours, theirs = _fusions(size, train=True)
    note = "fuse of 9 bottleneck modules, forward and backward; theirs: adapters' Fuse"
    return compare("fuse, training", ours, theirs, pairs=pairs, bar=2.0, note=note)


def _fusions(size: str, *, train: bool) -> tuple[Callable[[], None], Callable[[], None]]:
    import adapters
    from adapters.composition import Fuse

    backbone = encoder(size)
    names = [f"m{number}" for number in range(9)]
    modules = {name: adapter(backbone, "seq_bn", n) for n, name in enumerate(names)}
    text = f"fuse({', '.join(names)})"
    composed = compose(parse(text), modules, backbone.shape, Generator().manual_seed(0))
    model = TaskModel(backbone, composed, {})
    model.requires_grad_(False)
    for parameter in composed.learned().values():
        parameter.requires_grad_(train)
    ids = torch.randint(5, 1990, (4, 64))
    mask = torch.ones_like(ids)
    library = encoder(size).encoder
    adapters.init(library)
    for name in names:
        library.add_adapter(name, config="seq_bn")
    library.add_adapter_fusion(Fuse(*names))
    library.set_active_adapters(Fuse(*names))
    library.requires_grad_(False)
    if train:
        library.train_adapter_fusion(Fuse(*names))

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


COMPARISONS: Mapping[str, Callable[[str, int], Result]] = {
    "evaluation": evaluation,
    "retrieval": retrieval,
    "adapter_step": adapter_step,
    "fusion": fusion,
    "fusion_step": fusion_step,
    "mlm_step": mlm_step,
}
