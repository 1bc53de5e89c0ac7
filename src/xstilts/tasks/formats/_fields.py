"""Reading examples and options, with errors that name the row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from xstilts.backbone.pooling import Pooling
from xstilts.config.layers import Layer, resolve
from xstilts.config.specs import Spec, TaskSpec
from xstilts.data.arrays import IntArray, NDArray, np
from xstilts.data.examples import Example
from xstilts.errors import DataError, UsageError, near_names

IGNORED = -100
"""Target of a position or row that has none."""

OptionsT = TypeVar("OptionsT", bound=Spec)


class HeadOptions(Spec):
    """What every format with a head takes.

    Attributes:
        head_dropout: Share of the head's inputs dropped in training.
    """

    head_dropout: float = 0.1


class SentenceHeadOptions(HeadOptions):
    """What formats take whose head reads a whole text.

    Attributes:
        head_pooling: What it reads: the first token (`cls`), the `mean` of all, or the `last`;
            empty for what the backbone's architecture has: `last` for language models.
    """

    head_pooling: Pooling | Literal[""] = ""


def options(spec: type[OptionsT], task: TaskSpec) -> OptionsT:
    """`task.options` as a value.

    Raises:
        ConfigError: An option is unknown or of the wrong kind.
    """
    return resolve(spec, [Layer(f"task {task.name}, options", task.options)]).value


def texts(examples: Sequence[Example], name: str) -> list[str]:
    """The field `name` of every example.

    Raises:
        DataError: It is missing or no text in one of them.
    """
    found = []
    for example in examples:
        value = example.fields.get(name)
        if not isinstance(value, str):
            raise _missing(example, name, "text")
        found.append(value)
    return found


def lists(examples: Sequence[Example], name: str) -> list[Sequence[str]]:
    """The field `name`, a sequence of texts, of every example.

    Raises:
        DataError: It is missing or no sequence of texts in one of them.
    """
    found: list[Sequence[str]] = []
    for example in examples:
        value = example.fields.get(name)
        if not isinstance(value, (tuple, list)) or not all(isinstance(v, str) for v in value):
            raise _missing(example, name, "list of texts")
        found.append(value)
    return found


def _missing(example: Example, name: str, kind: str) -> DataError:
    value = example.fields.get(name)
    problem = "is missing" if value is None else f"is a {type(value).__name__}, not a {kind}"
    return DataError(
        f"field '{name}' of row '{example.id}' {problem}",
        where=example.place,
        hint="Fields there: " + (", ".join(sorted(example.fields)) or "none") + ".",
    )


def label_table(task: TaskSpec) -> dict[str, int]:
    """Label name to its number.

    Raises:
        UsageError: The task has no labels.
    """
    if not task.labels:
        raise UsageError(
            f"task '{task.name}' has no labels yet",
            hint="List them in the task's YAML (labels: [...]).",
        )
    return {name: number for number, name in enumerate(task.labels)}


def label_id(name: object, table: dict[str, int], example: Example) -> int:
    """The number of a label name.

    Raises:
        DataError: It is not one of the task's labels.
    """
    number = table.get(name) if isinstance(name, str) else None
    if number is None:
        raise DataError(
            f"label {name!r} of row '{example.id}' is not one of the task's labels",
            where=example.place,
            hint=near_names(str(name), table),
        )
    return number


def label_ids(examples: Sequence[Example], task: TaskSpec) -> IntArray:
    """The label number of every example, `IGNORED` for those without a target."""
    table = label_table(task)
    return np.array(
        [
            IGNORED if example.target is None else label_id(example.target, table, example)
            for example in examples
        ],
        dtype=np.int64,
    )


def room(max_length: int, taken: int, task: TaskSpec) -> int:
    """Sub-words left in a row of `max_length` after `taken` ones.

    Raises:
        UsageError: None are left.
    """
    if max_length <= taken:
        raise UsageError(
            f"max_length {max_length} of task '{task.name}' leaves no room for text",
            hint=f"{taken} sub-words are taken by special tokens and questions.",
        )
    return max_length - taken


def softmax(scores: NDArray[Any]) -> list[float]:
    """Scores [N] as shares of 1."""
    powers = np.exp(scores.astype(np.float64) - scores.max())
    return [float(share) for share in powers / powers.sum()]
