"""Masked words of running text (Devlin et al., 2019, arXiv:1810.04805).

Short texts of one language share a row, `<s> text </s> text </s>`; a text that fits in a row is
never cut, a longer one fills rows of its own and its rest is packed on. Each batch draws its masks
anew. The head computes logits at masked positions only and is tied to the word embeddings, which it
does not own: a saved head has no copy of them. Its parameters are named as in transformers'
`lm_head`, so a pretrained one can be loaded into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field

from xstilts.config.specs import Spec, TaskSpec
from xstilts.data.arrays import Int32, IntArray, np
from xstilts.data.examples import Example
from xstilts.data.features import Batch, Features, Ragged
from xstilts.data.rows import Context, Row, text_field
from xstilts.errors import DataError, UsageError
from xstilts.tasks.formats._fields import IGNORED, options, room, texts
from xstilts.tasks.formats._pieces import Pieces, RowPlan, template, tokenise

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FIELDS: tuple[str, ...] = ("text",)
NEEDS_HEAD = True
LABELLED = False
PER_TOKEN = False
BOTH_SIDES = CORRUPTS = True
PREDICTS = False
GIVES = "numbers"
TRANSLATED = FIELDS
LAYOUT = None
PIPELINE = "fill-mask"
HF_CLASS = "AutoModelForMaskedLM"
ADAPTERS_TYPE = "masked_lm"
HF_NAMES = {"dense": "lm_head.dense", "layer_norm": "lm_head.layer_norm", "bias": "lm_head"}
HF_NAMES_BERT = {
    "dense": "cls.predictions.transform.dense",
    "layer_norm": "cls.predictions.transform.LayerNorm",
    "bias": "cls.predictions",
}

LONG_WORD = 8
"""Sub-words above which a pre-token is masked piecewise even when whole words are asked for: in
scripts without blanks it is a clause, and masking all of it leaves nothing to predict from."""


class Options(Spec):
    """Settings of masked language modelling.

    Attributes:
        mask_share: Share of the sub-words that are predicted.
        replaced: Of these, the share shown as `<mask>`.
        random: Of these, the share shown as a random sub-word; the rest is shown as it is.
        whole_words: Mask all sub-words of a word together.
        packing: `documents` puts several texts into a row, `none` starts a row for each text.
    """

    mask_share: float = Field(default=0.15, gt=0, lt=1)
    replaced: float = Field(default=0.8, ge=0, le=1)
    random: float = Field(default=0.1, ge=0, le=1)
    whole_words: bool = False
    packing: Literal["documents", "none"] = "documents"


# ------------------------------------------------------------------------------------- rows


def read_row(row: Row, context: Context) -> tuple[dict[str, Any], None]:
    """The text."""
    return {"text": text_field(row, context, "text")}, None


def encode(
    examples: Sequence[Example], tokenizer: Any, task: TaskSpec, max_length: int
) -> Features:
    """Packed rows, each counted as an example; texts without sub-words are left out.

    `tokens["word"]` numbers the words of a row, -100 at special tokens; what shares a number is
    masked together when whole words are asked for. A row never holds two languages.

    Raises:
        DataError: A row has no `text`, or no text has any sub-word.
    """
    settings = options(Options, task)
    pieces = tokenise(tokenizer, texts(examples, "text"), words=True)
    if not pieces.lengths.any():
        raise DataError(f"task '{task.name}' has no text to mask")
    around = template(tokenizer, pair=False)
    budget = room(max_length, around.size, task)
    joint = settings.packing == "documents"
    languages = [example.language for example in examples]
    slices, row = _pack(pieces, languages, budget, len(around.suffix), joint=joint)
    opening = np.diff(row, prepend=-1).astype(np.int64)
    prefixes = (np.zeros(len(row), np.int64), opening * len(around.prefix))
    plan = RowPlan([prefixes, (slices[:, 0], slices[:, 1]), len(around.suffix)], len(row))
    ids = plan.fill(around.prefix, pieces.values, around.suffix)
    heads = plan.fill(IGNORED, _word_starts(pieces), IGNORED)
    heads.values[plan.offsets[:-1] + opening * len(around.prefix)] = 1
    bounds = plan.offsets[np.append(np.flatnonzero(opening), len(row))]
    count = len(bounds) - 1
    return Features(
        replace(ids, offsets=bounds),
        np.arange(count, dtype=np.int64),
        count,
        {"word": _numbered(replace(heads, offsets=bounds))},
    )


def _pack(
    pieces: Pieces, languages: Sequence[str], budget: int, gap: int, *, joint: bool
) -> tuple[IntArray, IntArray]:
    """Slices (start, length) of the pieces, and the row that each slice goes to."""
    slices: list[tuple[int, int]] = []
    rows: list[int] = []
    row, left, before = -1, -1, ""
    starts, lengths = pieces.starts.tolist(), pieces.lengths.tolist()
    for start, length, language in zip(starts, lengths, languages, strict=True):
        while length:
            taken = min(length, budget)
            if not joint or language != before or taken + gap > left:
                row, left = row + 1, budget
            else:
                left -= gap
            slices.append((start, taken))
            rows.append(row)
            start, length, left, before = start + taken, length - taken, left - taken, language
    return np.array(slices, dtype=np.int64), np.array(rows, dtype=np.int64)


def _word_starts(pieces: Pieces) -> Int32:
    """1 for the first sub-word of each word and for all of one longer than `LONG_WORD`, else 0."""
    word = pieces.more["word"]
    new = np.ones(len(word), dtype=bool)
    new[1:] = word[1:] != word[:-1]
    new[pieces.ids.offsets[:-1][pieces.ids.lengths > 0]] = True
    number = np.cumsum(new) - 1
    size = np.bincount(number, minlength=1)[number]
    return (new | (size > LONG_WORD)).astype(np.int32)


def _numbered(starts: Ragged) -> Ragged:
    """Word numbers, from 0 in each row, for the flags of `_word_starts`."""
    total = np.cumsum(starts.values == 1)
    before = np.concatenate([[0], total])[starts.offsets[:-1]]
    number = total - np.repeat(before, starts.lengths) - 1
    return replace(starts, values=np.where(starts.values < 0, IGNORED, number).astype(np.int32))


def language_shares(counts: Mapping[str, int], alpha: float) -> dict[str, float]:
    """Sampling share of each language, proportional to its size to the power of `alpha`.

    `alpha` 1 keeps the sizes' proportions and 0 makes all languages equal (Conneau and Lample,
    2019, arXiv:1901.07291, with 0.7; XLM-R used 0.3). Languages without text get 0.

    Raises:
        UsageError: No language has any text.
    """
    powers = {language: n**alpha if n > 0 else 0.0 for language, n in counts.items()}
    total = sum(powers.values())
    if not total:
        raise UsageError("no language has any text to sample from")
    return {language: power / total for language, power in powers.items()}


# ------------------------------------------------------------------------------------- masks


def corrupt(batch: Batch, tokenizer: Any, task: TaskSpec, generator: torch.Generator) -> Batch:
    """The batch with masked input and `tokens["labels"]`: the true id where masked, else -100.

    Each word (or sub-word) is chosen independently; a row in which none was gets the one that came
    closest, so that every row has a loss.

    Args:
        batch: On the CPU, as collated.
        tokenizer: Gives the mask token and the ids to draw from.
        task: Its options say how much is masked and how.
        generator: On the CPU; all draws come from it.
    """
    import torch

    settings = options(Options, task)
    word = batch.tokens["word"]
    chosen = _chosen(word, settings, generator)
    labels = torch.where(chosen, batch.input_ids, IGNORED)
    fate = torch.rand(word.shape, generator=generator)
    ids = batch.input_ids.clone()
    ids[chosen & (fate < settings.replaced)] = int(tokenizer.mask_token_id)
    drawn = _random_ids(tokenizer, word.shape, generator)
    swap = chosen & (fate >= settings.replaced) & (fate < settings.replaced + settings.random)
    ids = torch.where(swap, drawn, ids)
    return replace(batch, input_ids=ids, tokens={**batch.tokens, "labels": labels})


def _chosen(word: Tensor, settings: Options, generator: torch.Generator) -> Tensor:
    """[B, T] bool: what is predicted."""
    import torch

    maskable = word != IGNORED
    if settings.whole_words:
        draws = torch.rand(len(word), max(int(word.max()), 0) + 1, generator=generator)
        draw = draws.gather(1, word.clamp(min=0))
    else:
        draw = torch.rand(word.shape, generator=generator)
    draw = draw.masked_fill(~maskable, 2.0)
    lowest = draw.amin(1, keepdim=True)
    return maskable & ((draw < settings.mask_share) | (draw == lowest) & (lowest < 2))


def _random_ids(tokenizer: Any, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Ids drawn evenly from the vocabulary without its special tokens."""
    import torch

    special = sorted(set(tokenizer.all_special_ids))
    ids = torch.randint(len(tokenizer) - len(special), shape, generator=generator)
    for number in special:
        ids += ids >= number
    return ids


# ------------------------------------------------------------------------------------- head


def make_head(
    hidden_size: int,
    task: TaskSpec,
    generator: torch.Generator,
    *,
    embeddings: nn.Module | None = None,
) -> nn.Module:
    """A new head tied to `embeddings`, the backbone's word embedding module.

    Raises:
        UsageError: No embeddings were given.
    """
    from xstilts.tasks.formats._heads import MaskedLMHead

    options(Options, task)
    if embeddings is None:
        raise UsageError("a masked language model head needs the backbone's word embeddings")
    return MaskedLMHead(hidden_size, cast("nn.Embedding", embeddings), generator)


def loss(logits: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy over each row's masked sub-words, [E] float32."""
    from torch.nn import functional as F

    from xstilts.tasks.formats._heads import mean_by_example

    labels = batch.tokens["labels"]
    here = labels != IGNORED
    values = F.cross_entropy(logits.float(), labels[here], reduction="none")
    example = batch.example[:, None].expand_as(labels)[here]
    return mean_by_example(values, example, batch.num_examples)


def transformers_logits(model: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """[B, T] to [B * T, V]: every position is predicted."""
    logits: Tensor = model(input_ids=input_ids, attention_mask=attention_mask).logits
    return logits.flatten(0, 1)
