"""Looks at the dev rows while a phase trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xstilts.composition import predict
from xstilts.composition.task_model import TaskModel
from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import Features
from xstilts.tasks.metrics import METRICS
from xstilts.tasks.prediction_files import comparable
from xstilts.train.parts import Dev, Part


def dev_scores(
    model: TaskModel,
    parts: Sequence[Part],
    encode: Callable[[Sequence[Example], TaskSpec], Features],
) -> Callable[[], dict[str, float]] | None:
    """Gives, when called, part to the mean of its dev scores; None when no part has dev rows.

    Args:
        model: Attached when that is called.
        parts: What is trained on.
        encode: Rows of a task to their sub-words.
    """
    looked_at = {part.name: part for part in parts if part.dev}
    if not looked_at:
        return None
    features = {
        (name, number): encode(dev.rows, dev.task)
        for name, part in looked_at.items()
        for number, dev in enumerate(part.dev)
    }

    def score(name: str, part: Part) -> float:
        scores = [
            _dev_score(model, part, dev, features[name, number])
            for number, dev in enumerate(part.dev)
        ]
        return sum(scores) / len(scores)

    return lambda: {name: score(name, part) for name, part in looked_at.items()}


def _dev_score(model: TaskModel, part: Part, dev: Dev, features: Features) -> float:
    predicted = predict.predictions(model, features, dev.rows, part.head, dev.task)
    metric = METRICS.get(dev.task.metric)
    pair = comparable(dev.task, dev.rows, predicted)
    value: float = metric.compute(*pair, language=dev.language, labels=dev.task.labels)[metric.MAIN]
    return value
