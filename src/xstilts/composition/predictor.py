"""Trained modules in a program: `xstilts.load("fuse(mnli, squad2)").predict(…)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xstilts.backbone.backbone import Backbone
from xstilts.composition import predict
from xstilts.composition.load import LoadedExpression, load_expression
from xstilts.composition.refusals import require_language
from xstilts.composition.resolve import answering, require_predictions
from xstilts.composition.task_model import Head, TaskModel
from xstilts.config.load import load_task
from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.inputs import input_example
from xstilts.errors import DataError
from xstilts.tasks.encoding import encode_rows, row_length
from xstilts.tasks.formats import FORMATS
from xstilts.zoo import Zoo

InputRow = str | Sequence[str] | Mapping[str, Any]
"""One input: a text, several texts, or fields by name."""


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
        beside: What stands beside the value in a record, such as the words of the tags.
    """

    id: str
    value: Any
    scores: Mapping[str, float]
    fields: Mapping[str, Any]
    beside: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The prediction as plain JSON values."""
        result: dict[str, Any] = {"id": self.id, "prediction": self.value}
        if self.scores:
            result["scores"] = {name: round(score, 6) for name, score in self.scores.items()}
        return {**result, **self.beside}


class Predictor:
    """An expression on its backbone, ready to be asked.

    Attributes:
        expression: As written.
        backbone: Shared: it is as it was whenever `predict` is not running.
        model: What predicts; `with model.attached():` lets the modules act.
        tokenizer: The backbone's.
        head: The head that answers, and the task it was trained on; None when there is none.
        loaded: The modules, with their manifests.
        num_cut: Inputs of all calls so far that lost sub-words because they were too long.
    """

    def __init__(self, loaded: LoadedExpression, backbone: Backbone, head: Head | None) -> None:
        self.loaded, self.backbone, self.head = loaded, backbone, head
        self.expression = loaded.expression
        self.tokenizer = backbone.tokenizer
        self.model = TaskModel(backbone, loaded.composed, {head.task.name: head} if head else {})
        self.model.to(backbone.device).eval()
        self.num_cut = 0

    def require_head(self) -> Head:
        """The head that answers.

        Raises:
            UsageError: There is none, or it gives no predictions.
        """
        require_predictions(self.expression, self.head.task if self.head else None)
        assert self.head is not None
        return self.head

    def embed(
        self,
        texts: Sequence[str],
        *,
        layer: int = -1,
        pooling: str = "mean",
        language: str = "",
    ) -> NDArray[np.float32]:
        """Sentence vectors [texts, D], not normalised, with the modules acting.

        Args:
            texts: Cut at the backbone's longest input.
            layer: Block that is pooled, 0 for the embeddings; the backbone's own choice when -1.
            pooling: `mean` over all sub-words, `cls` or `last`.
            language: XTREME code of the texts, for a backbone with parts of its own by language.
        """
        examples = [Example(str(n), language, {"text": text}) for n, text in enumerate(texts)]
        task = load_task("tatoeba")
        features = encode_rows(examples, task, self.backbone, self.backbone.max_length)
        self.num_cut += features.cut
        chosen = layer if layer >= 0 else self.backbone.retrieval_layer
        with self.model.attached():
            return predict.embed(self.model, features, [chosen], pooling)[chosen]

    def predict(
        self, rows: InputRow | Sequence[InputRow], *, language: str = ""
    ) -> list[Prediction]:
        """One prediction an input, in order.

        Args:
            rows: A text, or a list of inputs. An input is a text, texts in the order of the
                fields, or a mapping of fields: `text` and `text_pair` (classification), `words`
                (tagging; a text is cut at blanks), `question` and `context` (extractive_qa),
                `context`, `question` and `choices` (multiple_choice).
            language: XTREME code of the inputs, where the format splits words by language, or the
                backbone has parts of its own by language.

        Raises:
            UsageError: There is no head that gives predictions.
            DataError: An input lacks a field, or has one that is unknown, blank or no text; the
                message says which.
        """
        task = self.require_head().task
        listed: Sequence[InputRow] = [rows] if isinstance(rows, str | Mapping) else list(rows)
        if not listed:
            return []
        code = language or task.source_language
        examples = [_example(task, row, number, code) for number, row in enumerate(listed)]
        made = FORMATS.get(task.format)
        features = encode_rows(examples, task, self.backbone, row_length(task, self.backbone))
        self.num_cut += features.cut
        with self.model.attached():
            scores = predict.logits(self.model, features, task.name)
        values = made.decode(scores, features, examples, task)
        records = [made.record(v, e.fields) for v, e in zip(values, examples, strict=True)]
        shares = made.probabilities(scores, features, task)
        return [
            Prediction(e.id, r.pop("prediction"), s, e.fields, r)
            for e, r, s in zip(examples, records, shares, strict=True)
        ]


def _example(task: TaskSpec, row: InputRow, number: int, language: str) -> Example:
    if isinstance(row, Mapping):
        return input_example(row, task, number, language)
    if not isinstance(row, Sequence):
        kind = type(row).__name__
        raise DataError(f"an input is a {kind}, no text and no mapping", where=f"input {number}")
    return input_example(FORMATS.get(task.format).input_fields(row), task, number, language)


# ------------------------------------------------------------------------------------- loading


def predictor(
    expression: str, zoo: Zoo, backbone: Backbone, language: str = "", task: str = ""
) -> Predictor:
    """The expression with its weights and its head; see `Session.load`."""
    require_language(expression, language)
    loaded = load_expression(expression, zoo, backbone, language)
    chosen = answering([head.task for head in loaded.heads], task)
    head = next((head for head in loaded.heads if head.task == chosen), None)
    return Predictor(loaded, backbone, head)
