"""Every metric as a module of the evaluate library, offline; imported only when asked for.

    evaluate.load(path_of("mlqa")).compute(predictions=…, references=…, language="de")

Predictions and references are texts (labels, or mined pairs `xx-id TAB en-id`), lists of tags or of
ids, or SQuAD's records: `{id, prediction_text}` and `{id, answers: {text, answer_start}}`.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import datasets
import evaluate

from xstilts.tasks.metrics import METRICS

_LISTS = ("chunk_f1", "pos_f1", "token_accuracy", "ap_at_k")
_ANSWERS = ("squad", "squad_v2", "mlqa")


def path_of(name: str) -> str:
    """Where the module of a metric is, for `evaluate.load`.

    Raises:
        NotFoundError: There is no such metric.
    """
    METRICS.get(name)
    return str(Path(__file__).parent / "_modules" / f"{name}.py")


def module_class(name: str) -> type[evaluate.Metric]:
    """The `evaluate.Metric` that computes one of our metrics."""
    metric = METRICS.get(name)

    class Module(evaluate.Metric):  # type: ignore[misc]
        def _info(self) -> evaluate.MetricInfo:
            return evaluate.MetricInfo(
                description=inspect.getdoc(metric) or "",
                citation="",
                inputs_description=inspect.getdoc(metric.compute) or "",
                features=datasets.Features(_features(name)),
            )

        def _compute(
            self, predictions: Any, references: Any, language: str = "en"
        ) -> dict[str, float]:
            pair = _plain(name, predictions, references)
            result: dict[str, float] = metric.compute(*pair, language=language)
            return result

    return Module


def _features(name: str) -> dict[str, Any]:
    text = datasets.Value("string")
    if name in _ANSWERS:
        answers = {"text": [text], "answer_start": [datasets.Value("int32")]}
        return {
            "predictions": {"id": text, "prediction_text": text},
            "references": {"id": text, "answers": answers},
        }
    if name == "perplexity":
        numbers = [datasets.Value("float64")]
        return {"predictions": numbers, "references": numbers}
    one: Any = [text] if name in _LISTS else text
    return {"predictions": one, "references": one}


def _plain(name: str, predictions: Any, references: Any) -> tuple[Any, Any]:
    if name in _ANSWERS:
        return (
            {p["id"]: p["prediction_text"] for p in predictions},
            {r["id"]: list(r["answers"]["text"]) for r in references},
        )
    if name == "bucc":
        return [tuple(p.split("\t")) for p in predictions], [
            tuple(r.split("\t")) for r in references
        ]
    return predictions, references
