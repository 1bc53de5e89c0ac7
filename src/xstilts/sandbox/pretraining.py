"""The sandbox's tiny backbone: a real XLMRobertaModel with a real Unigram tokenizer.

Alignment does not emerge from a minute of language modelling, so word embeddings start from a
concept space that the languages share, plus noise of each language. It is a simulation. A backbone
of another architecture is made in the same way; a causal one is pretrained to say what comes next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Generator

from xstilts.backbone.architectures import ARCHITECTURES, class_options
from xstilts.config.hub_models import quiet_libraries
from xstilts.config.progress import ProgressFn
from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import Batch, collate
from xstilts.sandbox.languages import LANGUAGES, lexicon
from xstilts.sandbox.spec import SandboxSpec
from xstilts.sandbox.vocabulary import CONCEPTS, POINT, SHARED
from xstilts.tasks.formats import masked_lm
from xstilts.tasks.formats._fields import IGNORED

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
SIZES: Mapping[str, tuple[int, int]] = {"sandbox": (4, 128), "sandbox-small": (2, 64)}
"""Backbone to its blocks and width; all have four heads."""
NOISE = 0.75
"""Standard deviation of a language's noise, in units of the concept vectors' own."""


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
        intermediate_size=4 * width,
        max_position_embeddings=130,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    model_class = architecture.model_class(config)
    options = class_options(model_class)
    config._attn_implementation = options.pop("attn_implementation")
    with torch.random.fork_rng():
        torch.manual_seed(spec.seed)
        model = model_class(config, **options)
    generator = Generator().manual_seed(spec.seed)
    concepts = torch.randn(len(CONCEPTS), width, generator=generator) * 0.05
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        for piece, concept in concept_of.items():
            noise = torch.randn(width, generator=generator) * 0.05 * NOISE
            table[piece] = concepts[concept] + noise
    return model


def _pretrain(
    model: Any, tokenizer: Any, data: Path, spec: SandboxSpec, progress: ProgressFn
) -> None:
    """Language modelling over the seen languages, one language a step: masked, or causal."""
    architecture = ARCHITECTURES.get(spec.architecture)
    task = TaskSpec(
        name="mlm",
        format="masked_lm",
        languages=[],
        metric="perplexity",
        sources=[],
        options={"packing": "none"},
    )
    progress("encoding its lines", 0.0)
    generator = Generator().manual_seed(spec.seed)
    embeddings = model.get_input_embeddings()
    width = embeddings.embedding_dim
    head = masked_lm.make_head(width, task, generator, embeddings=embeddings)
    features = {
        lang.code: _rows(data, lang.code, tokenizer, task) for lang in LANGUAGES if lang.seen
    }
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
    codes = list(features)
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(spec.seed)
        for step in range(spec.pretraining_steps):
            optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / spec.pretraining_steps)
            rows = features[codes[step % len(codes)]]
            picked = torch.randperm(len(rows), generator=generator)[:64].sort().values
            batch = collate(rows, picked.numpy(), 1)
            if architecture.CAUSAL:
                batch = _next_tokens(batch)
            else:
                batch = masked_lm.corrupt(batch, tokenizer, task, generator)
            given = architecture.inputs(model, batch.input_ids, batch.attention_mask)
            hidden = model(**given).last_hidden_state
            masked_lm.loss(head(hidden, batch), batch).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            progress("pretraining its backbone", step / spec.pretraining_steps)
    model.eval()


def _next_tokens(batch: Batch) -> Batch:
    """The batch with what comes next as each token's target."""
    following = batch.input_ids[:, 1:].masked_fill(batch.attention_mask[:, 1:] == 0, IGNORED)
    labels = torch.nn.functional.pad(following, (0, 1), value=IGNORED)
    return replace(batch, tokens={**batch.tokens, "labels": labels})


def _rows(data: Path, code: str, tokenizer: Any, task: TaskSpec) -> Any:
    lines = (data / "mlm" / f"{code}.txt").read_text(encoding="utf-8").splitlines()
    examples = [Example(str(n), code, {"text": line}) for n, line in enumerate(lines)]
    return masked_lm.encode(examples, tokenizer, task, 64)
