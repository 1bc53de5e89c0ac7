"""The sandbox's tiny backbone: a real XLMRobertaModel with a real Unigram tokenizer.

Half a minute of language modelling gives neither alignment nor attention between equal words, so
the encoder starts with what a long pretraining leaves: word embeddings are those of a concept space
that the languages share, plus noise of each language, and stay as they are; half of the heads
attend to equal words (Trockman and Kolter, 2023, arXiv:2305.09828). It is a simulation. A backbone
of another architecture is made in the same way; a causal one is pretrained to say what comes next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator
from torch.nn.functional import cross_entropy

from xstilts.backbone.architectures import ARCHITECTURES, class_options
from xstilts.backbone.machine import one_thread
from xstilts.backbone.pooling import pool
from xstilts.backbone.sites import EncoderLayout
from xstilts.config.hub_models import import_models, quiet_libraries
from xstilts.config.progress import ProgressFn
from xstilts.config.specs import TaskSpec
from xstilts.data.features import Batch, Features, Ragged, collate
from xstilts.sandbox.languages import LANGUAGES, lexicon
from xstilts.sandbox.meaning import KINDS
from xstilts.sandbox.spec import SandboxSpec
from xstilts.sandbox.vocabulary import CONCEPTS, POINT, SHARED
from xstilts.tasks.formats import masked_lm
from xstilts.tasks.formats._fields import IGNORED
from xstilts.tasks.formats._heads import linear

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
SIZES: Mapping[str, tuple[int, int]] = {"sandbox": (4, 128), "sandbox-small": (2, 64)}
"""Backbone to its blocks and width; all have four heads."""
SCALE = 0.2
"""Standard deviation of the concept vectors' entries; positions have a quarter of it."""
NOISE = 0.3
"""Standard deviation of a language's noise, in units of the concept vectors' own."""
NEAR = 0.6
"""Cosine of a noun and its kind; other concepts have nothing in common."""
ROWS, THREADS = 64, 2
"""Pairs of neighbouring lines in a step of pretraining, and threads that share them: as many on any
machine, since sums of other parts are rounded otherwise."""
RATE, WARMUP = 2e-3, 20
MOST = 3
"""New words of a second line are counted up to here in pretraining."""


def build_backbone(folder: Path, data: Path, spec: SandboxSpec, progress: ProgressFn) -> None:
    """Make the tokenizer, draw the encoder, pretrain it on the seen languages' text, save both.

    Args:
        folder: Its name is one of `SIZES`.
        data: The world's files.
        spec: Of the world.
        progress: Called with how far it is.
    """
    tokenizer, concept_of = build_tokenizer(folder, spec.seed)
    model = _draw_encoder(SIZES[folder.name], len(tokenizer), concept_of, spec)
    with one_thread():
        _pretrain(model, tokenizer, data, spec, progress)
    model.save_pretrained(folder)


def build_tokenizer(folder: Path, seed: int) -> tuple[Any, dict[int, int]]:
    """A Unigram tokenizer that knows every word, and the concept number of each of its ids."""
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )

    import_models()
    from transformers import PreTrainedTokenizerFast

    pieces, concept_of = _pieces(seed)
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    # Han words carry no mark: it would be a piece of its own and take the tag of the first word.
    marked_han = pre_tokenizers.Split(Regex("▁(?=[\u4e00-\u9fff.])"), "removed")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), marked_han])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = ("bos", "pad", "eos", "unk")
    config = {f"{name}_token": token for name, token in zip(names, SPECIAL, strict=True)}
    config |= {"cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    with quiet_libraries():
        return PreTrainedTokenizerFast.from_pretrained(folder), concept_of


def _pieces(seed: int) -> tuple[list[tuple[str, float]], dict[int, int]]:
    """The tokenizer's pieces with their scores, and the concept of those that are words."""
    pieces: list[tuple[str, float]] = [(token, 0.0) for token in SPECIAL]
    concept_of: dict[int, int] = {}
    known = set(SPECIAL)
    characters: set[str] = {"▁"}
    for language in LANGUAGES:
        mark = "▁" if language.blanks else ""
        for number, word in enumerate(lexicon(language, CONCEPTS, seed).values()):
            characters.update(word)
            if mark + word not in known:
                known.add(mark + word)
                concept_of[len(pieces)] = number
                pieces.append((mark + word, -4.0))
    for word in SHARED:
        characters.update(word)
        pieces.append(("▁" + word, -4.0))
    pieces.append((POINT, -4.0))
    pieces += [(character, -12.0) for character in sorted(characters - known)]
    pieces.append(("<mask>", 0.0))
    return pieces, concept_of


def _draw_encoder(
    size: tuple[int, int], vocabulary: int, concept_of: dict[int, int], spec: SandboxSpec
) -> Any:
    from transformers import AutoConfig

    blocks, width = size
    architecture = ARCHITECTURES.get(spec.architecture)
    config = AutoConfig.for_model(
        **architecture.SMALL or {"model_type": architecture.MODEL_TYPES[0]},
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=130,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        initializer_range=0.08,
    )
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    model_class = architecture.model_class(config)
    options = class_options(model_class)
    config._attn_implementation = options.pop("attn_implementation")
    with torch.random.fork_rng():
        torch.manual_seed(spec.seed)
        model = model_class(config, **options)
    generator = Generator().manual_seed(spec.seed)
    concepts = _concepts(width, generator)
    with torch.no_grad():
        words = model.get_input_embeddings().weight
        words.copy_(torch.randn(words.shape, generator=generator) * SCALE)
        words[config.pad_token_id] = 0
        for piece, concept in concept_of.items():
            noise = torch.randn(width, generator=generator) * NOISE
            words[piece] = (concepts[concept] + noise) * SCALE
        for name, table in model.named_parameters():
            if name.endswith("position_embeddings.weight"):
                table.copy_(torch.randn(table.shape, generator=generator) * SCALE / 4)
        _attend_to_equal_words(model, architecture.describe(config), width)
    return model


def _attend_to_equal_words(model: Any, layout: EncoderLayout, width: int) -> None:
    """Give half of the heads the same projection for keys as for queries, in every block."""
    linears, half = layout.linears, width // 2
    for block in model.get_submodule(layout.blocks):
        if "qkv" in linears:  # query, key and value below each other
            rows = block.get_submodule(linears["qkv"]).weight
            rows[width : width + half] = rows[:half]
        else:
            query, key = (block.get_submodule(linears[name]).weight for name in ("query", "key"))
            key[:half] = query[:half]


def _concepts(width: int, generator: Generator) -> torch.Tensor:
    """A vector [width] for each concept; a noun's is near that of its kind."""
    vectors = torch.randn(len(CONCEPTS), width, generator=generator)
    for first, second in ((kind, noun) for kind, nouns in KINDS.items() for noun in nouns):
        a, b = CONCEPTS.index(first), CONCEPTS.index(second)
        vectors[b] = NEAR * vectors[a] + (1 - NEAR**2) ** 0.5 * vectors[b]
    return vectors


def _pretrain(
    model: Any, tokenizer: Any, data: Path, spec: SandboxSpec, progress: ProgressFn
) -> None:
    """Language modelling over pairs of lines, masked or causal, and counting new words.

    The count of the second line's words that the first lacks is read from the vector of the whole
    row, which language modelling alone leaves as it was drawn.
    """
    architecture = ARCHITECTURES.get(spec.architecture)
    task = TaskSpec(
        name="mlm",
        format="masked_lm",
        languages=[],
        metric="perplexity",
        sources=[],
        options={"mask_share": 0.3},
    )
    progress("encoding its lines", 0.0)
    generator = Generator().manual_seed(spec.seed)
    embeddings = model.get_input_embeddings().requires_grad_(False)
    width = embeddings.embedding_dim
    head = masked_lm.make_head(width, task, generator, embeddings=embeddings)
    news = linear(width, MOST + 1, generator)
    facts, stories = _rows(data, tokenizer, spec.text_rows)
    modules = (model, head, news)
    trained = [p for module in modules for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.01)

    def gradients(batch: Batch) -> tuple[torch.Tensor | None, ...]:
        given = architecture.inputs(model, batch.input_ids, batch.attention_mask)
        hidden = model(**given).last_hidden_state
        told = news(pool(hidden, batch.attention_mask, architecture.SENTENCE))
        loss = masked_lm.loss(head(hidden, batch), batch).sum()
        loss = loss + cross_entropy(told, batch.scalars["new"], reduction="sum")
        return torch.autograd.grad(loss / len(picked), trained, allow_unused=True)

    model.eval()  # without dropout, whose draws would depend on the threads' turns
    steps = spec.pretraining_steps
    with ThreadPoolExecutor(THREADS, initializer=torch.set_num_threads, initargs=(1,)) as threads:
        for step in range(steps):
            rise = min(1.0, (step + 1) / WARMUP)
            optimizer.param_groups[0]["lr"] = RATE * rise * (1 - step / steps)
            rows = stories if step % 8 == 7 else facts  # apart: stories are thrice as long
            picked = torch.randperm(len(rows), generator=generator)[:ROWS].numpy()
            batches = []
            by_length = picked[np.argsort(rows.lengths[picked], kind="stable")]
            for share in np.array_split(by_length, min(THREADS, len(picked))):
                batch = collate(rows, share, 1)
                if architecture.CAUSAL:
                    batches.append(_next_tokens(batch))
                else:
                    batches.append(masked_lm.corrupt(batch, tokenizer, task, generator))
            for parameter, *found in zip(trained, *threads.map(gradients, batches), strict=True):
                known = [gradient for gradient in found if gradient is not None]
                parameter.grad = torch.stack(known).sum(0) if known else None
            optimizer.step()
            progress("pretraining its backbone", step / steps)


def _next_tokens(batch: Batch) -> Batch:
    """The batch with what comes next as each token's target."""
    following = batch.input_ids[:, 1:].masked_fill(batch.attention_mask[:, 1:] == 0, IGNORED)
    labels = torch.nn.functional.pad(following, (0, 1), value=IGNORED)
    return replace(batch, tokens={**batch.tokens, "labels": labels})


def _rows(data: Path, tokenizer: Any, text_rows: int) -> tuple[Features, Features]:
    """Rows of two lines, `<s> line </s> </s> line </s>`: of facts, and fewer of stories.

    Facts are what attention between equal words is learnt from in few steps. The second of them is
    the line after the first, or in every fourth row one of elsewhere, as in all of stories.
    """
    facts: list[tuple[str, str]] = []
    stories: list[tuple[str, str]] = []
    for language in LANGUAGES:
        if language.seen:
            text = (data / "mlm" / f"{language.code}.txt").read_text(encoding="utf-8").splitlines()
            first, second = text[:text_rows:2], text[1:text_rows:2]
            second[::4] = [*second[4::4], second[0]]
            facts += zip(first, second, strict=False)
            stories += zip(text[text_rows::8], text[text_rows + 1 :: 8], strict=False)
    return encoded_pairs(facts, tokenizer), encoded_pairs(stories, tokenizer)


def encoded_pairs(pairs: Sequence[tuple[str, str]], tokenizer: Any) -> Features:
    """Rows `<s> line </s> </s> line </s>`, with how many words of the second line are `new`."""
    lines = [
        tokenizer(list(side), return_attention_mask=False)["input_ids"]
        for side in zip(*pairs, strict=True)
    ]
    both = list(zip(*lines, strict=True))
    new = [min(len({*b} - {*a}), MOST) for a, b in both]
    ids = Ragged.of([[*a, tokenizer.eos_token_id, *b[1:]] for a, b in both])
    special = np.isin(ids.values, tokenizer.all_special_ids)
    words = np.where(special, IGNORED, np.arange(len(ids.values), dtype=np.int32))
    count = len(ids)
    scalars = {"new": np.array(new, dtype=np.int64)}
    return Features(ids, np.arange(count), count, {"word": replace(ids, values=words)}, scalars)
