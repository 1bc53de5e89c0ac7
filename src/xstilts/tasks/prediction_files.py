"""Scores of prediction files against label files, in the layouts of XTREME's scorer.

Every line is stripped at both ends and compared as text; a blank line is an item. Tag files have
one tag a line and a blank line after each sentence. Answers are one JSON object, id to text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xstilts.config.load import load_task
from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.text import json_lines, read_json, read_lines
from xstilts.errors import DataError, NotFoundError
from xstilts.tasks.metrics import METRICS

_JSON = ("answers", "answers_or_none", "rankings")
_MANY = 20
"""A file of fewer questions may have nothing but empty answers."""
_STRIPPED = "Test files of the shared distributions have no labels; score against raw data."

Read = Callable[[Path, Path], tuple[Any, Any]]


def score_file(
    task: str, predictions: str | Path, labels: str | Path, language: str = ""
) -> dict[str, float]:
    """Score a file of predictions, in XTREME's layout, against a file of labels.

    Args:
        task: Name of the task, such as `xquad`.
        predictions: Lines of labels, tags with blank lines between sentences, a JSON object of
            answers by id, or lines `xx-id TAB en-id`.
        labels: The same layout; for question answering a SQuAD file.
        language: XTREME code; MLQA's rules depend on it and have no default.

    Returns:
        Score name to value, 0..100: `accuracy`; `f1`, `precision`, `recall` (and `token_accuracy`
        for POS); `exact_match`, `f1` and their `mean`; `map`.

    Raises:
        DataError: A file is broken, or the two do not fit together; file and line are named.
        NotFoundError: There is no such task or file.
        UsageError: The metric needs a language, or has no rules for this one.
    """
    spec = load_task(task)
    kind = kind_of(spec)
    metric = METRICS.get(spec.metric)
    predicted, gold = _SHAPES[kind](Path(predictions), Path(labels))
    try:
        scores: dict[str, float] = metric.compute(
            predicted, gold, language=language, labels=spec.labels
        )
    except DataError as error:
        raise DataError(
            error.what, where=f"{predictions} against {labels}", hint=error.hint
        ) from None
    return scores


def kind_of(task: TaskSpec) -> str:
    """Which layout a task's prediction and label files have.

    Raises:
        NotFoundError: Its predictions are not exchanged as files.
    """
    by_metric = {
        "bucc": "pairs",
        "ap_at_k": "rankings",
        "tatoeba": "lines",
        "squad_v2": "answers_or_none",
    }
    if task.metric in by_metric:
        return by_metric[task.metric]
    by_format = {
        "classification": "lines",
        "multiple_choice": "choices",
        "tagging": "tags",
        "extractive_qa": "answers",
    }
    if task.format not in by_format:
        raise NotFoundError(f"task {task.name} has no layout for prediction files")
    return by_format[task.format]


def suffix_of(task: TaskSpec) -> str:
    """The suffix of a task's files in XTREME's layout."""
    return "jsonl" if (kind := kind_of(task)) == "choices" else "json" if kind in _JSON else "tsv"


# -- layouts


def lines(path: Path) -> list[str]:
    """The items of a file of lines."""
    return [line.strip() for line in read_lines(path)]


def _answered(path: Path) -> list[str]:
    """The items of a file of predictions, all of which may be blank."""
    text = path.read_bytes() if path.is_file() else b""
    if text and not text.strip(b" \t\r\n"):
        return [""] * len(text.splitlines())
    return lines(path)


def _lines(predictions: Path, labels: Path) -> tuple[Any, Any]:
    predicted, gold = _answered(predictions), lines(labels)
    _same_number(predicted, gold, "lines", predictions, labels)
    return predicted, gold


def _pairs(predictions: Path, labels: Path) -> tuple[Any, Any]:
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


def _tags(predictions: Path, labels: Path) -> tuple[Any, Any]:
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


def _answers(predictions: Path, labels: Path, *, unanswerable: bool = False) -> tuple[Any, Any]:
    predicted = _object(predictions)
    for key, value in predicted.items():
        if not isinstance(value, str):
            raise DataError(f"the answer to '{key}' is no text", where=str(predictions))
    return predicted, golds(labels, unanswerable=unanswerable)


def _answers_or_none(predictions: Path, labels: Path) -> tuple[Any, Any]:
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
    key = str(question["id"])
    texts = [str(answer["text"]) for answer in question["answers"]]
    if key in found:
        raise DataError(f"question id '{key}' repeats", where=str(path))
    if not texts and not unanswerable:
        raise DataError(f"question '{key}' has no gold answer", where=str(path), hint=_STRIPPED)
    found[key] = texts


def _object(path: Path) -> dict[str, Any]:
    """A JSON object without repeated keys."""
    read_json(path)  # says what is wrong with a file that is no JSON

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise DataError(f"id '{key}' repeats", where=str(path))
            result[key] = value
        return result

    value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    if not isinstance(value, dict):
        raise DataError("not a JSON object of ids", where=str(path))
    return value


def _choices(predictions: Path, labels: Path) -> tuple[Any, Any]:
    """The `label` of each row; a file of plain lines is read as well."""
    predicted, gold = _choice_labels(predictions), _choice_labels(labels)
    _same_number(predicted, gold, "rows", predictions, labels)
    return predicted, gold


def _choice_labels(path: Path) -> list[str]:
    if path.suffix not in (".jsonl", ".json"):
        return lines(path)
    found = []
    for number, row in json_lines(path):
        if "label" not in row:
            raise DataError("the row has no 'label'", where=f"{path}:{number}")
        found.append(str(row["label"]))
    return found


def _rankings(predictions: Path, labels: Path) -> tuple[Any, Any]:
    """Rankings and golds of each query; one that is not answered has an empty ranking."""
    predicted, gold = _object(predictions), _object(labels)
    for path, value in ((predictions, predicted), (labels, gold)):
        for key, ids in value.items():
            if not isinstance(ids, list):
                raise DataError(f"the entry of '{key}' is no list", where=str(path))
    ranked = [[str(found) for found in predicted.get(key, [])] for key in gold]
    return ranked, [[str(wanted).strip() for wanted in ids] for ids in gold.values()]


def _same_number(
    predicted: list[Any], gold: list[Any], what: str, predictions: Path, labels: Path
) -> None:
    if len(predicted) != len(gold):
        raise DataError(
            f"{len(predicted)} {what} for {len(gold)} in the labels",
            where=f"{predictions} against {labels}",
            hint="A prediction stands in the line of its label.",
        )


_SHAPES: Mapping[str, Read] = {
    "lines": _lines,
    "pairs": _pairs,
    "tags": _tags,
    "answers": _answers,
    "answers_or_none": _answers_or_none,
    "choices": _choices,
    "rankings": _rankings,
}


# -- predictions of a model


def file_text(task: TaskSpec, examples: Sequence[Example], predicted: Sequence[Any]) -> str:
    """The content of a predictions file in XTREME's layout."""
    if task.format == "extractive_qa":
        answers = {example.id: answer for example, answer in zip(examples, predicted, strict=True)}
        return json.dumps(answers, ensure_ascii=False, indent=0, sort_keys=True) + "\n"
    if task.format == "tagging":
        return "\n".join("\n".join(tags) + "\n" for tags in predicted)
    if task.format == "multiple_choice":
        rows = zip(examples, predicted, strict=True)
        return "".join(json.dumps({"id": e.id, "label": int(c)}) + "\n" for e, c in rows)
    return "".join(f"{label}\n" for label in predicted)


def file_suffix(task: TaskSpec) -> str:
    """`json` for question answering, `jsonl` for choices (as XCOPA's), else `tsv`."""
    return {"extractive_qa": "json", "multiple_choice": "jsonl"}.get(task.format, "tsv")


def comparable(
    task: TaskSpec, examples: Sequence[Example], predicted: Sequence[Any]
) -> tuple[Any, Any]:
    """Predictions and references in the shape that the task's metric takes."""
    if task.format == "extractive_qa":
        return (
            {e.id: answer for e, answer in zip(examples, predicted, strict=True)},
            {e.id: tuple(answer.text for answer in e.target) for e in examples},
        )
    if task.format == "tagging":
        return [list(tags) for tags in predicted], [list(e.target) for e in examples]
    return list(predicted), [e.target for e in examples]
