"""Evaluation and retrieval beside padded batches, whole encoders and sentence-transformers."""

from __future__ import annotations

import tempfile
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Generator

from xstilts.backbone.backbone import Backbone
from xstilts.bench import QA_LENGTHS, TATOEBA_LENGTHS, XNLI_LENGTHS, Result, Work, compare
from xstilts.bench.models import (
    classifier,
    encoder,
    padded,
    plain,
    rows,
    some,
)
from xstilts.composition import predict
from xstilts.composition.task_model import Head, TaskModel
from xstilts.config.load import load_task
from xstilts.data.features import Features


def evaluation(size: str, pairs: int) -> Result:
    """XNLI-like evaluation against batches of 32 rows padded to 128."""
    features = rows(128, XNLI_LENGTHS, 128)
    note = "128 pairs of XNLI lengths; theirs: padded to 128, batch 32"
    return _padded("evaluation", classifier(encoder(size)), features, 128, pairs, 2.0, note)


def question_answering(size: str, pairs: int) -> Result:
    """Question answering in windows of 384 against windows padded to 384."""
    backbone, features = encoder(size), rows(24, QA_LENGTHS, 384)
    head = Head.new(load_task("tydiqa"), backbone, Generator().manual_seed(0))
    model = TaskModel(backbone, None, {"qa": head})
    note = "24 windows (384/128) of TyDiQA lengths; theirs: padded to 384, batch 8"
    return _padded("QA evaluation", model, features, 384, pairs, 1.5, note)


def _padded(
    name: str,
    model: TaskModel,
    features: Features,
    width: int,
    pairs: int,
    target_ratio: float,
    note: str,
) -> Result:
    ids, mask, _ = padded(features, width)
    task, step = next(iter(model.heads)), 32 * 128 // width // 8 * 8
    library = plain(model.backbone)

    def ours() -> object:
        return predict.logits(model, features, task)

    @torch.inference_mode()
    def theirs() -> None:
        for start in range(0, len(ids), step):
            part = slice(start, start + step)
            hidden = library(input_ids=ids[part], attention_mask=mask[part])[0]
            head: Any = model.heads[task]
            head(hidden, None)

    return compare(name, ours, theirs, pairs=pairs, target_ratio=target_ratio, note=note)


def evaluation_bf16(size: str, pairs: int) -> Result:
    """XNLI-like evaluation in bfloat16 against our own in float32, on a CPU with the units."""
    features = rows(128, XNLI_LENGTHS, 128)
    model = classifier(encoder(size))

    def ours() -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return predict.logits(model, features, "xnli")

    theirs = partial(predict.logits, model, features, "xnli")
    apart = max(abs(one - other).max() for one, other in zip(ours(), theirs(), strict=True))
    note = f"128 pairs of XNLI lengths; theirs: in float32; logits {apart:.3f} apart at most"
    return compare("evaluation, bf16", ours, theirs, pairs=pairs, target_ratio=1.5, note=note)


def compiled(size: str, pairs: int) -> Result:
    """Evaluation from packed weights against the same blocks through torch.compile."""
    features = rows(128, XNLI_LENGTHS, 128)
    model = classifier(encoder(size))

    def ours() -> object:
        return predict.logits(model, features, "xnli")

    def theirs() -> None:
        with model.backbone.compiled():
            predict.logits(model, features, "xnli")

    note = "128 pairs of XNLI lengths; theirs: the same through torch.compile, already compiled"
    return compare("evaluation, not compiled", ours, theirs, pairs=pairs, note=note)


def share_of_peak(size: str, pairs: int) -> Result:
    """Evaluation against matrix products of as many operations as its sub-words need."""
    backbone, features = encoder(size), rows(64, XNLI_LENGTHS, 128)
    model = classifier(backbone)
    theirs, what = products(encoder_operations(backbone, features.lengths))

    def ours() -> object:
        return predict.logits(model, features, "xnli")

    return compare(
        "evaluation, share of GEMM", ours, theirs, pairs=pairs, target_ratio=0.65, note=what
    )


def products(operations: float, side: int = 1536) -> tuple[Work, str]:
    """Square matrix products of about as many operations, and what a share of their speed is of."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    turns = max(1, round(operations / (2 * side**3)))

    def work() -> None:
        for _ in range(turns):
            torch.mm(a, b)

    return work, f"share of the speed of {side} x {side} products, sub-words without padding"


def encoder_operations(backbone: Backbone, lengths: np.ndarray) -> float:
    """Floating-point operations of a forward pass over rows without padding.

    Two for each weight of a block's matrices and sub-word, and the two products of attention.
    """
    shape = backbone.shape
    wide, narrow = shape.layout.intermediate_size, shape.hidden_size
    weights = 4 * narrow * narrow + 2 * narrow * wide
    sizes = lengths.astype(float)
    return float(shape.num_layers * (2 * weights * sizes + 4 * narrow * sizes**2).sum())


def retrieval(size: str, pairs: int) -> Result:
    """Sentence vectors at block 14 of 24 against every block in file order."""
    backbone, features = encoder(size), rows(128, TATOEBA_LENGTHS, 128)
    model = TaskModel(backbone, None, {})
    layer, library = backbone.retrieval_layer, plain(backbone)

    def ours() -> object:
        return predict.embed(model, features, [layer], "mean")

    @torch.inference_mode()
    def theirs() -> None:
        for start in range(0, len(features), 100):
            part = features.rows_of(np.arange(start, min(start + 100, len(features))))
            width = int(features.lengths[part].max())
            ids, mask, _ = padded(some(features, part), width)
            library(input_ids=ids, attention_mask=mask, output_hidden_states=True)

    note = "128 sentences of Tatoeba lengths; theirs: all blocks, batches of 100 in file order"
    return compare("retrieval", ours, theirs, pairs=pairs, target_ratio=2.5, note=note)


def sentence_transformers(size: str, pairs: int) -> Result:
    """Sentence vectors at block 14 of 24 against sentence-transformers' encode, same weights."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from xstilts.data.examples import Example
    from xstilts.tasks.formats import FORMATS

    backbone = encoder(size)
    words = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3} | {f"w{n}": n for n in range(4, 1990)}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))  # noqa: S106  (no password)
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, **special)
    features = rows(128, TATOEBA_LENGTHS, 128)
    texts = [" ".join(f"w{n}" for n in features.input_ids[i][1:-1]) for i in range(len(features))]
    with tempfile.TemporaryDirectory() as folder:
        backbone.encoder.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        loaded = Transformer(folder, max_seq_length=128)
        pooling = Pooling(backbone.shape.hidden_size, "mean")
        library = SentenceTransformer(modules=[loaded, pooling], device="cpu")
    backbone.tokenizer = tokenizer
    model, made, task = (
        TaskModel(backbone, None, {}),
        FORMATS.get("retrieval"),
        load_task("tatoeba"),
    )
    examples = [Example(str(n), "en", {"text": text}) for n, text in enumerate(texts)]

    def ours() -> object:
        found = made.encode(examples, tokenizer, task, 128)
        return predict.embed(model, found, [backbone.retrieval_layer], "mean")

    def theirs() -> object:
        return library.encode(texts, batch_size=32, show_progress_bar=False)

    note = "128 sentences of Tatoeba lengths, texts to vectors; theirs: all blocks, mean pooling"
    name = "retrieval, sentence-transformers"
    return compare(name, ours, theirs, pairs=pairs, target_ratio=1.6, note=note)
