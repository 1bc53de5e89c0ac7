"""Layouts of prediction and label files, as XTREME's scorer has them.

Every line is stripped at both ends and compared as text; a blank line is an item. LF, CRLF or CR
ends a line, one of them throughout a file. Tag files have one tag a line and a blank line after
each sentence. Answers are one JSON object, id to text. A format names the layout of its
predictions, and a metric another one where it needs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xstilts.data.examples import Example
from xstilts.data.rows import is_missing, text_of
from xstilts.data.text import json_lines, of_kind, read_json, read_lines
from xstilts.errors import DataError

_MANY = 20
"""A file of fewer questions may have nothing but empty answers."""
_STRIPPED = "Test files of the shared distributions have no labels; score against raw data."

Pair = tuple[Any, Any]
"""Predictions and references, in the shape that a metric takes."""


def _own_lines(examples: Sequence[Example], predicted: Sequence[Any]) -> str:
    del examples
    return "".join(f"{label}\n" for label in predicted)


def _own_pair(examples: Sequence[Example], predicted: Sequence[Any]) -> Pair:
    return list(predicted), [example.target for example in examples]


@dataclass(frozen=True)
class Layout:
    """How predictions are written, and handed to a metric from files or from memory.

    Attributes:
        suffix: Of a prediction file: `tsv`, `json` or `jsonl`.
        read: A file of predictions and one of labels, as a metric takes them.
        text: Rows and their predictions as the content of a prediction file.
        pair: Rows and their predictions, as a metric takes them.
    """

    suffix: str
    read: Callable[[Path, Path], Pair]
    text: Callable[[Sequence[Example], Sequence[Any]], str] = _own_lines
    pair: Callable[[Sequence[Example], Sequence[Any]], Pair] = _own_pair


def lines(path: Path) -> list[str]:
    """The items of a file of lines."""
    return [line.strip() for line in read_lines(path)]


def _answered(path: Path) -> list[str]:
    """The items of a file of predictions, all of which may be blank."""
    text = path.read_bytes() if path.is_file() else b""
    if text and not text.strip(b" \t\r\n"):
        return [""] * len(text.splitlines())
    return lines(path)


def _lines(predictions: Path, labels: Path) -> Pair:
    predicted, gold = _answered(predictions), lines(labels)
    _same_number(predicted, gold, "lines", predictions, labels)
    return predicted, gold


def _pairs(predictions: Path, labels: Path) -> Pair:
    """Sets of lines cut at tabs; what was mined may be nothing."""
    mined = (
        [] if predictions.is_file() and not predictions.stat().st_size else _answered(predictions)
    )
    return {tuple(x.split("\t")) for x in mined}, {tuple(x.split("\t")) for x in lines(labels)}


def tags(path: Path) -> list[list[str]]:
    """The tags of each sentence; two blank lines in a row make an empty sentence."""
    sentences: list[list[str]] = [[]]
    for line in lines(path):
        if line:
            sentences[-1].append(line)
        else:
            sentences.append([])
    return sentences if sentences[-1] else sentences[:-1]


def _tags(predictions: Path, labels: Path) -> Pair:
    predicted, gold = tags(predictions), tags(labels)
    _same_number(predicted, gold, "sentences", predictions, labels)
    row = 1
    for number, (own, wanted) in enumerate(zip(predicted, gold, strict=True), 1):
        if len(own) != len(wanted):
            raise DataError(
                f"sentence {number} has {len(own)} tags for {len(wanted)} words",
                where=f"{predictions}:{row}",
                hint=f"Give one tag a word, as in {labels}.",
            )
        row += len(own) + 1
    return predicted, gold


def _answers(predictions: Path, labels: Path, *, unanswerable: bool = False) -> Pair:
    predicted = _object(predictions)
    for key, value in predicted.items():
        if not isinstance(value, str):
            raise DataError(f"the answer to '{key}' is no text", where=str(predictions))
    return predicted, golds(labels, unanswerable=unanswerable)


def _answers_or_none(predictions: Path, labels: Path) -> Pair:
    return _answers(predictions, labels, unanswerable=True)


def golds(path: Path, *, unanswerable: bool = False) -> dict[str, list[str]]:
    """Question id to gold answers, of a SQuAD file or the list in it.

    Raises:
        DataError: It has another structure, repeats an id, all answers are empty, or a question has
            no gold and is not allowed to be `unanswerable`.
    """
    value = read_json(path)
    articles: Any = value.get("data") if isinstance(value, dict) else value
    found: dict[str, list[str]] = {}
    try:
        for article in articles:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    _add_gold(found, question, path, unanswerable)
    except (KeyError, TypeError) as error:
        raise DataError(f"not a SQuAD file: {error!r}", where=str(path)) from None
    if not found:
        raise DataError("no question", where=str(path))
    if len(found) >= _MANY and not any(text for texts in found.values() for text in texts):
        raise DataError("no question has a gold answer", where=str(path), hint=_STRIPPED)
    return found


def _add_gold(
    found: dict[str, list[str]], question: Mapping[str, Any], path: Path, unanswerable: bool
) -> None:
    key = question["id"]
    key = str(key) if isinstance(key, int) else of_kind(key, str)
    texts = [of_kind(answer["text"], str) for answer in question["answers"]]
    if key in found:
        raise DataError(f"question id '{key}' repeats", where=str(path))
    if not texts and not unanswerable:
        raise DataError(f"question '{key}' has no gold answer", where=str(path), hint=_STRIPPED)
    found[key] = texts


def _object(path: Path) -> dict[str, Any]:
    """A JSON object without repeated keys."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError("not a JSON object of ids", where=str(path))
    return value


def _choices(predictions: Path, labels: Path) -> Pair:
    """The `label` of each row; a file of plain lines is read as well."""
    predicted, gold = _choice_labels(predictions), _choice_labels(labels)
    _same_number(predicted, gold, "rows", predictions, labels)
    _require_same_order(predictions, labels)
    return predicted, gold


def _choice_labels(path: Path) -> list[str]:
    if path.suffix not in (".jsonl", ".json"):
        return lines(path)
    found = []
    for number, row in json_lines(path):
        if "label" not in row:
            raise DataError("the row has no 'label'", where=f"{path}:{number}")
        found.append(_name(row["label"], "the label", f"{path}:{number}"))
    return found


def _name(value: Any, what: str, spot: str) -> str:
    """A label or id as text, `1.0` as `1`; nothing, true and lists are none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or is_missing(value):
        raise DataError(f"{what} is {json.dumps(value):.40}, no text or number", where=spot)
    return value if isinstance(value, str) else text_of(value)


def _require_same_order(predictions: Path, labels: Path) -> None:
    """Refuse rows that say themselves that they stand in another order than the labels'."""
    if not all(path.suffix in (".jsonl", ".json") for path in (predictions, labels)):
        return
    rows = [[row for _, row in json_lines(path)] for path in (predictions, labels)]
    for key in ("id", "idx"):
        own, gold = ([row.get(key) for row in of_file] for of_file in rows)
        if own == gold or None in own or any(name not in gold for name in own):
            continue  # the rows name nothing, or other things than the labels' do
        at = next(at for at, name in enumerate(own) if name != gold[at])
        raise DataError(
            f"the row is about {key} {own[at]!r}, the label's about {gold[at]!r}",
            where=f"{predictions}:{at + 1}",
            hint=f"Give one row for each of {labels}, in its order.",
        )


def _rankings(predictions: Path, labels: Path) -> Pair:
    """Rankings and golds of each query; one that is not answered has an empty ranking."""
    predicted, gold = _object(predictions), _object(labels)
    for path, value in ((predictions, predicted), (labels, gold)):
        for key, ids in value.items():
            if not isinstance(ids, list):
                raise DataError(f"the entry of '{key}' is no list", where=str(path))
    own, wanted = (
        {key: [_name(i, f"an id of '{key}'", str(path)) for i in ids] for key, ids in value.items()}
        for path, value in ((predictions, predicted), (labels, gold))
    )
    golds = [[name.strip() for name in ids] for ids in wanted.values()]
    return [own.get(key, []) for key in wanted], golds


def _same_number(
    predicted: list[Any], gold: list[Any], what: str, predictions: Path, labels: Path
) -> None:
    if len(predicted) != len(gold):
        raise DataError(
            f"{len(predicted)} {what} for {len(gold)} in the labels",
            where=f"{predictions} against {labels}",
            hint="A prediction stands in the line of its label.",
        )


# -- predictions of a model


def _tag_text(examples: Sequence[Example], predicted: Sequence[Any]) -> str:
    del examples
    return "\n".join("\n".join(tags) + "\n" for tags in predicted)


def _tag_pair(examples: Sequence[Example], predicted: Sequence[Any]) -> Pair:
    return [list(tags) for tags in predicted], [list(example.target) for example in examples]


def _answer_text(examples: Sequence[Example], predicted: Sequence[Any]) -> str:
    answers = {example.id: answer for example, answer in zip(examples, predicted, strict=True)}
    return json.dumps(answers, ensure_ascii=False, indent=0, sort_keys=True) + "\n"


def _answer_pair(examples: Sequence[Example], predicted: Sequence[Any]) -> Pair:
    return (
        {example.id: answer for example, answer in zip(examples, predicted, strict=True)},
        {example.id: tuple(answer.text for answer in example.target) for example in examples},
    )


def _choice_text(examples: Sequence[Example], predicted: Sequence[Any]) -> str:
    rows = zip(examples, predicted, strict=True)
    return "".join(json.dumps({"id": e.id, "label": int(c)}) + "\n" for e, c in rows)


LINES = Layout("tsv", _lines)
"""A label a line."""
TAGS = Layout("tsv", _tags, _tag_text, _tag_pair)
"""A tag a line, a blank line after each sentence."""
ANSWERS = Layout("json", _answers, _answer_text, _answer_pair)
"""A JSON object, id to answer; labels are a SQuAD file."""
ANSWERS_OR_NONE = Layout("json", _answers_or_none, _answer_text, _answer_pair)
"""The same, where questions may have no answer."""
CHOICES = Layout("jsonl", _choices, _choice_text)
"""A JSON object a line, its `label` the number of a choice, as XCOPA's files have it."""
PAIRS = Layout("tsv", _pairs)
"""Mined pairs, `xx-id TAB en-id`."""
RANKINGS = Layout("json", _rankings)
"""A JSON object, id to the ids found for it."""
