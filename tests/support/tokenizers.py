"""A small SentencePiece tokenizer with XLM-R's normaliser, special tokens and templates."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import sentencepiece
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

Blanks = Literal["split", "keep"]


def tiny_tokenizer(
    texts: Iterable[str],
    vocab_size: int = 1000,
    *,
    blanks: Blanks = "split",
    characters: bool = False,
) -> Any:
    """A fast tokenizer trained on `texts`, laid out like XLM-R's.

    `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, then the pieces, and `<mask>` last. Needs nothing but
    API that transformers 4.57 and 5.x share.

    Args:
        texts: What the unigram model is trained on; lines longer than 20,000 bytes are skipped.
        vocab_size: Wanted size; a smaller text gives fewer pieces.
        blanks: `split` cuts at blanks before pieces are found, as the tokenizer.json on the hub
            does; `keep` leaves the blank inside the piece, as transformers' converter does. They
            give the same pieces with different character offsets.
        characters: Make every character a piece; `vocab_size` is then ignored.
    """
    model = _train(texts, vocab_size, characters)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [
        (processor.id_to_piece(number), processor.get_score(number))
        for number in range(3, processor.get_piece_size())
    ]
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    tokenizer = Tokenizer(models.Unigram([*special, *pieces, ("<mask>", 0.0)], unk_id=3))
    charsmap = normalizers.Precompiled(_charsmap(model))
    metaspace = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    if blanks == "split":
        tokenizer.normalizer = charsmap
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), metaspace]
        )
    else:
        strip = normalizers.Strip(left=False, right=True)
        squeeze = normalizers.Replace(Regex(" {2,}"), "▁")
        tokenizer.normalizer = normalizers.Sequence([charsmap, strip, squeeze])
        tokenizer.pre_tokenizer = metaspace
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token="<mask>",
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
    )


def _train(texts: Iterable[str], vocab_size: int, characters: bool) -> bytes:
    target = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=target,
        model_type="char" if characters else "unigram",
        vocab_size=1_000_000 if characters else vocab_size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        max_sentence_length=20_000,
        num_threads=1,
        minloglevel=2,
    )
    return target.getvalue()


def _charsmap(model: bytes) -> bytes:
    """The compiled normaliser: field 2 of the message that is field 3 of a SentencePiece model."""
    spec = next(value for number, value in _fields(model) if number == 3)
    return next(value for number, value in _fields(spec) if number == 2)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of the length-delimited fields of a protobuf message."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(message):
        key = varint()
        kind = key & 7
        if kind == 2:
            length = varint()
            yield key >> 3, message[position : position + length]
            position += length
        elif kind == 0:
            varint()
        else:
            position += 4 if kind == 5 else 8


def byte_tokenizer(texts: Iterable[str], vocab_size: int = 300) -> Any:
    """A byte-level BPE tokenizer as language models have: no special token but `<|end|>`, id 0."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")
