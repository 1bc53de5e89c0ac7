"""Trained modules in a program: `xstilts.load("fuse(mnli, squad2)").predict(…)`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xstilts.backbone.backbone import Backbone
from xstilts.composition import predict
from xstilts.composition.expression import LANGUAGE_SLOT
from xstilts.composition.load import LoadedExpression, load_expression
from xstilts.composition.task_model import Head, TaskModel
from xstilts.config.load import load_task
from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import Features
from xstilts.errors import DataError, NotFoundError, UsageError
from xstilts.tasks.formats import FORMATS
from xstilts.zoo import Zoo

Row = str | Sequence[str] | Mapping[str, Any]
"""One input: a text, several texts, or fields by name."""

_POSITIONS: dict[str, tuple[str, ...]] = {
    "classification": ("text", "text_pair"),
    "extractive_qa": ("question", "context"),
}
_FIELDS: dict[str, tuple[str, ...]] = _POSITIONS | {
    "multiple_choice": ("context", "question", "choices"),
    "tagging": ("words",),
}


@dataclass(frozen=True)
class Prediction:
    """What a head says about one input.

    Attributes:
        id: The input's own, or its number.
        value: A label name, an answer text (empty for none), the number of a choice, or a tag for
            every word.
        scores: Probability of each label, or of each choice by its number; empty for tags and
            answers.
        fields: The input as the format read it.
    """

    id: str
    value: Any
    scores: Mapping[str, float]
    fields: Mapping[str, Any]

    def record(self) -> dict[str, Any]:
        """The prediction as plain JSON values."""
        result: dict[str, Any] = {"id": self.id, "prediction": self.value}
        if self.scores:
            result["scores"] = {name: round(score, 6) for name, score in self.scores.items()}
        if "words" in self.fields:
            result["words"] = list(self.fields["words"])
        if "choices" in self.fields:
            result["choice"] = self.fields["choices"][self.value]
        return result


class Predictor:
    """An expression on its backbone, ready to be asked.

    Attributes:
        expression: As written.
        backbone: Shared: it is as it was whenever `predict` is not running.
        model: What predicts; `with model.attached():` lets the modules act.
        tokenizer: The backbone's.
        head: The head that answers, and the task it was trained on; None when there is none.
        loaded: The modules, with their manifests.
    """

    def __init__(self, loaded: LoadedExpression, backbone: Backbone, head: Head | None) -> None:
        self.loaded, self.backbone, self.head = loaded, backbone, head
        self.expression = loaded.expression
        self.tokenizer = backbone.tokenizer
        self.model = TaskModel(backbone, loaded.composed, {head.task.name: head} if head else {})
        self.model.to(backbone.device).eval()

    def require_head(self) -> Head:
        """The head that answers.

        Raises:
            UsageError: There is none, or it gives no predictions.
        """
        if self.head is None:
            raise UsageError(
                f"'{self.expression}' has no head",
                hint=f"Train one: xstilts compose '{self.expression}' --target TASK --save NAME",
            )
        if self.head.task.format not in _FIELDS:
            raise UsageError(f"a head of format {self.head.task.format} gives no predictions")
        return self.head

    def embed(
        self, texts: Sequence[str], *, layer: int = -1, pooling: str = "mean"
    ) -> NDArray[np.float32]:
        """Sentence vectors [texts, D], not normalised, with the modules acting.

        Args:
            texts: Cut at the backbone's longest input.
            layer: Block that is pooled, 0 for the embeddings; the backbone's own choice when -1.
            pooling: `mean` over all sub-words, or `cls`.
        """
        examples = [Example(str(n), "", {"text": text}) for n, text in enumerate(texts)]
        task = load_task("tatoeba")
        made = FORMATS.get("retrieval")
        features = made.encode(examples, self.tokenizer, task, self.backbone.max_length)
        chosen = layer if layer >= 0 else self.backbone.retrieval_layer
        with self.model.attached():
            return predict.embed(self.model, features, [chosen], pooling)[chosen]

    def predict(self, rows: Row | Sequence[Row], *, language: str = "") -> list[Prediction]:
        """One prediction an input, in order.

        Args:
            rows: A text, or a list of inputs. An input is a text, texts in the order of the
                fields, or a mapping of fields: `text` and `text_pair` (classification), `words`
                (tagging; a text is cut at blanks), `question` and `context` (extractive_qa),
                `context`, `question` and `choices` (multiple_choice).
            language: XTREME code of the inputs, where the format splits words by language.

        Raises:
            UsageError: There is no head that gives predictions.
            DataError: An input lacks a field; the message says which.
        """
        task = self.require_head().task
        listed: Sequence[Row] = [rows] if isinstance(rows, str | Mapping) else list(rows)
        if not listed:
            return []
        code = language or task.source_language
        examples = [_example(task, row, number, code) for number, row in enumerate(listed)]
        made = FORMATS.get(task.format)
        length = min(task.max_length, self.backbone.max_length)
        features = made.encode(examples, self.tokenizer, task, length)
        with self.model.attached():
            scores = predict.logits(self.model, features, task.name)
        values = made.decode(scores, features, examples, task)
        shares = _shares(task, scores, features)
        return [
            Prediction(e.id, int(v) if task.format == "multiple_choice" else v, s, e.fields)
            for e, v, s in zip(examples, values, shares, strict=True)
        ]


def _example(task: TaskSpec, row: Row, number: int, language: str) -> Example:
    fields = _fields(task.format, row)
    name = str(row.get("id", number)) if isinstance(row, Mapping) else str(number)
    return Example(name, language, fields, place=f"input {name}")


def _shares(
    task: TaskSpec, scores: list[NDArray[np.float32]], features: Features
) -> Iterator[dict[str, float]]:
    """Softmax over the labels or choices of each example."""
    if task.format == "classification":
        for row in scores:
            yield dict(zip(task.labels, _softmax(row), strict=True))
    elif task.format == "multiple_choice":
        bounds = np.searchsorted(features.example, np.arange(features.num_examples + 1))
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            row = np.array([float(np.asarray(s).reshape(())) for s in scores[start:end]])
            yield {str(number): share for number, share in enumerate(_softmax(row))}
    else:
        yield from ({} for _ in range(features.num_examples))


def _softmax(row: NDArray[Any]) -> list[float]:
    powers = np.exp(row.astype(np.float64) - row.max())
    return [float(share) for share in powers / powers.sum()]


def _fields(format_name: str, row: Row) -> dict[str, Any]:
    """The fields of an input, by the names of the format."""
    if isinstance(row, Mapping):
        fields = {name: row[name] for name in _FIELDS[format_name] if name in row}
    elif format_name == "tagging":
        fields = {"words": row}
    elif isinstance(row, str):
        fields = {_FIELDS[format_name][0]: row}
    else:
        names = _POSITIONS.get(format_name, ())
        if len(row) > len(names):
            raise DataError(f"an input of {len(row)} texts", hint=fields_hint(format_name))
        fields = dict(zip(names, row, strict=False))
    if isinstance(fields.get("words"), str):
        fields["words"] = fields["words"].split()
    for name in ("words", "choices"):
        if isinstance(fields.get(name), list):
            fields[name] = tuple(fields[name])
    return fields


def fields_hint(format_name: str) -> str:
    """A sentence with the fields of a format's inputs."""
    return f"Inputs of format {format_name} have: " + ", ".join(_FIELDS[format_name]) + "."


# ------------------------------------------------------------------------------------- loading


def predictor(
    expression: str, zoo: Zoo, backbone: Backbone, language: str = "", task: str = ""
) -> Predictor:
    """The expression with its weights and its head; see `Session.load`."""
    if LANGUAGE_SLOT in expression and not language:
        raise UsageError(
            f"'{expression}' needs a language", hint="Give it with --langs, or language=…."
        )
    loaded = load_expression(expression, zoo, backbone, language)
    named = {head.task.name: head for head in loaded.heads}
    if task and named and task not in named:
        raise NotFoundError.named("head", task, named)
    return Predictor(loaded, backbone, named[task] if task and named else loaded.head)
