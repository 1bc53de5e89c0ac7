"""Character spans of sub-words, and the best spans of a question's windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from xstilts.data.arrays import Int32, IntArray, NDArray, np
from xstilts.data.features import Features
from xstilts.tasks.formats._pieces import Pieces
from xstilts.tasks.formats._whitespace import legacy_answer

ZERO_WIDTH_SPACE = 0x200B
DIRECTION_MARKS = (0x61C, 0x200E, 0x200F)

_UNSEEN = (*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200B, 0x200C, 0x200E, 0x200F, 0xFEFF)
"""Characters without a glyph that SentencePiece's normaliser makes blanks of, or drops."""

_BLANKS = sorted({*_UNSEEN, *(n for n in range(0x3001) if chr(n).isspace())})


class Settings(Protocol):
    """The settings that ranking spans needs."""

    @property
    def max_answer(self) -> int:
        """Longest answer, in sub-words."""

    @property
    def n_best(self) -> int:
        """Starts and ends considered in a window."""

    @property
    def max_context(self) -> bool:
        """Whether a start counts only in its best window."""


def trimmed(pieces: Pieces, texts: Sequence[str], tokenizer: Any) -> Pieces:
    """`pieces` with blanks taken off both ends of every sub-word's characters.

    Depending on the tokenizer, `▁the` spans " the" or "the", and a `▁` alone spans the blank or,
    wrongly, the first character after it. Here neither spans a blank, and a `▁` alone spans
    nothing, at the place where the next word starts. Zero-width spaces after a sub-word belong to
    it: Spanish Wikipedia has one behind reference marks, and MLQA's answers that end there hold it.
    A direction mark belongs to the sub-word that follows it.
    """
    start, end = pieces.more["start"].copy(), pieces.more["end"].copy()
    done: set[int] = set()
    for text, row in zip(texts, pieces.index.tolist(), strict=True):
        if row in done:
            continue
        done.add(row)
        part = slice(int(pieces.ids.offsets[row]), int(pieces.ids.offsets[row + 1]))
        following, before, behind, ahead = _ink(text)
        start[part] = np.minimum(following[start[part]], end[part])
        end[part] = np.maximum(before[end[part]], start[part])
        start[part] = np.where(end[part] > start[part], ahead[start[part]], start[part])
        end[part] = np.where(end[part] > start[part], behind[end[part]], end[part])
    blank = tokenizer.convert_tokens_to_ids("▁")
    # A vocabulary without that piece answers with its unknown token.
    if blank is not None and tokenizer.convert_ids_to_tokens(blank) == "▁":
        end = np.where(pieces.values == blank, start, end)
    return replace(pieces, more={"start": start, "end": end.astype(np.int32)})


def _ink(text: str) -> tuple[Int32, Int32, Int32, Int32]:
    """What surrounds each offset of `text`.

    Returns:
        The next character that is no blank, one past the last character that is none, the next
        character that is no zero-width space, and one past the last that is no direction mark.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    blank = np.isin(codes, np.array(_BLANKS, dtype=np.uint32))
    place = np.arange(len(codes) + 1, dtype=np.int32)
    before = _last(~blank, place)
    marks = np.isin(codes, np.array(DIRECTION_MARKS, dtype=np.uint32))
    return _next(~blank), before, _next(codes != ZERO_WIDTH_SPACE), _last(~marks, place)


def _last(wanted: NDArray[np.bool_], place: Int32) -> Int32:
    """For each place, one past the last wanted one before it, or 0."""
    return np.maximum.accumulate(np.where(np.insert(wanted, 0, False), place, 0))


def _next(wanted: NDArray[np.bool_]) -> Int32:
    """For each place the next wanted one, or the end."""
    place = np.arange(len(wanted) + 1, dtype=np.int32)
    found = np.where(np.append(wanted, True), place, len(wanted)).astype(np.int32)
    return np.minimum.accumulate(found[::-1])[::-1]


def candidates(
    logits: Sequence[NDArray[np.float32]], features: Features, rows: range, settings: Settings
) -> Iterator[tuple[int, int, float]]:
    """Start character, end character and score of possible answers, best first.

    In each window the `n_best` starts and the `n_best` ends within the context are combined; the
    order is stable, so equal scores keep the order of windows, then of starts, then of ends.
    """
    spans: list[NDArray[np.int32]] = []
    scores: list[NDArray[np.float64]] = []
    firsts = features.scalars["first"][rows.start : rows.stop]
    lengths = features.scalars["length"][rows.start : rows.stop]
    for number, row in enumerate(rows):
        begin, length = int(features.scalars["begin"][row]), int(lengths[number])
        inside = logits[row][begin : begin + length].astype(np.float64)
        left, right = _pairs(inside, settings)
        if settings.max_context and len(rows) > 1:
            shift = int(firsts[number])
            here = best_window(firsts, lengths, left + shift) == number
            left, right = left[here], right[here]
        start = features.tokens["start_char"][row][begin + left]
        end = features.tokens["end_char"][row][begin + right]
        spans.append(np.stack([start, end], axis=1))
        scores.append(inside[left, 0] + inside[right, 1])
    span, score = np.concatenate(spans), np.concatenate(scores)
    for index in np.argsort(-score, kind="stable").tolist():
        yield int(span[index, 0]), int(span[index, 1]), float(score[index])


def _pairs(scores: NDArray[np.float64], settings: Settings) -> tuple[IntArray, IntArray]:
    """Starts and ends that make spans of allowed length, from the best of each."""
    starts = np.argsort(-scores[:, 0], kind="stable")[: settings.n_best]
    ends = np.argsort(-scores[:, 1], kind="stable")[: settings.n_best]
    left, right = np.repeat(starts, len(ends)), np.tile(ends, len(starts))
    fits = (right >= left) & (right - left < settings.max_answer)
    return left[fits], right[fits]


def best_window(firsts: IntArray, lengths: IntArray, start: IntArray) -> IntArray:
    """For each sub-word of the context, the window in which a span that starts there counts.

    That is the window that shows most context around it: the smaller of what stands left and right
    of it, plus a hundredth of the window's length; the earliest wins a tie. As in SQuAD's original
    code a span that ends after that window is lost.

    Args:
        firsts: First sub-word of each window.
        lengths: How many each window holds.
        start: First sub-word of each span.
    """
    last = (firsts + lengths - 1)[:, None]
    left, right = start[None, :] - firsts[:, None], last - start[None, :]
    value = np.minimum(left, right) + 0.01 * lengths[:, None]
    holds = (left >= 0) & (right >= 0)
    return np.argmax(np.where(holds, value, -np.inf), axis=0)


def answer_text(context: str, start: int, end: int, how: str) -> str:
    """The answer between two characters of the context."""
    if how == "whitespace":
        return legacy_answer(context, start, end)
    return context[start:end].strip()


def best_threshold(
    gaps: Sequence[float], answered: Sequence[float], unanswered: Sequence[float]
) -> tuple[float, float]:
    """The null threshold that gives the highest mean score, as SQuAD 2.0's scorer searches it.

    Args:
        gaps: For each question, `Ranking.gap`.
        answered: Its score (EM or F1) when the best span is given.
        unanswered: Its score when an empty answer is given: 1 for a question without an answer.

    Returns:
        The lowest best threshold (a question whose gap is above it gets the empty answer), and the
        mean score with it, in the unit of the scores.
    """
    gap = np.asarray(gaps, dtype=np.float64)
    order = np.argsort(gap, kind="stable")
    gain = np.asarray(answered, np.float64)[order] - np.asarray(unanswered, np.float64)[order]
    # Equal gaps can only be answered together: a threshold falls after the last of them.
    last = np.append(np.diff(gap[order]) > 0, True)[: len(gap)]
    totals = np.concatenate([[0.0], np.cumsum(gain)[last]])
    cuts = np.concatenate([[-np.inf], gap[order][last]])
    best = int(np.argmax(totals))
    mean = (float(np.sum(unanswered)) + float(totals[best])) / max(len(gap), 1)
    return float(cuts[best]), mean
