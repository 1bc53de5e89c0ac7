"""Every metric as a module of the evaluate library, offline; imported only when asked for.

    evaluate.load(path_of("mlqa")).compute(predictions=…, references=…, language="de")

Predictions and references are texts (labels, or mined pairs `xx-id TAB en-id`), lists of tags or of
ids, or SQuAD's records: `{id, prediction_text}` and `{id, answers: {text, answer_start}}`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from xstilts.config import paths
from xstilts.files import write_text
from xstilts.tasks.metrics import METRICS

_SOURCE = '''"""`{name}` for the evaluate library."""

from xstilts.tasks.metrics._evaluate import module_class


class Module(module_class("{name}")):
    pass
'''


def path_of(name: str) -> str:
    """Where the module of a metric is, for `evaluate.load`; it is written into the cache.

    Raises:
        NotFoundError: There is no such metric.
    """
    METRICS.get(name)
    path = paths.cache_folder() / "evaluate" / f"{name}.py"
    write_text(path, _SOURCE.format(name=name))
    return str(path)


def module_class(name: str) -> type[evaluate.Metric]:
    """The `evaluate.Metric` that computes one of our metrics."""
    metric = METRICS.get(name)

    class Module(evaluate.Metric):  # type: ignore[misc]
        def _info(self) -> evaluate.MetricInfo:
            return evaluate.MetricInfo(
                description=inspect.getdoc(metric) or "",
                citation="",
                inputs_description=inspect.getdoc(metric.compute) or "",
                features=datasets.Features(_features(metric.TAKES)),
            )

        def _compute(
            self,
            predictions: Any,
            references: Any,
            language: str = "",
            labels: Sequence[str] = (),
        ) -> dict[str, float]:
            pair = _plain(metric.TAKES, predictions, references)
            result: dict[str, float] = metric.compute(*pair, language=language, labels=labels)
            return result

    return Module


def _features(takes: str) -> dict[str, Any]:
    text = datasets.Value("string")
    if takes == "answers":
        answers = {"text": [text], "answer_start": [datasets.Value("int32")]}
        return {
            "predictions": {"id": text, "prediction_text": text},
            "references": {"id": text, "answers": answers},
        }
    one: Any = {"lists": [text], "numbers": [datasets.Value("float64")]}.get(takes, text)
    return {"predictions": one, "references": one}


def _plain(takes: str, predictions: Any, references: Any) -> tuple[Any, Any]:
    if takes == "answers":
        return (
            {p["id"]: p["prediction_text"] for p in predictions},
            {r["id"]: list(r["answers"]["text"]) for r in references},
        )
    if takes == "pairs":
        return [tuple(p.split("\t")) for p in predictions], [
            tuple(r.split("\t")) for r in references
        ]
    return predictions, references
