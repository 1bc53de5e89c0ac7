"""How tasks and expressions are named beside their scores, with what must not be overlooked."""

from __future__ import annotations

from functools import cache

from xstilts.config.load import load_task
from xstilts.errors import NotFoundError
from xstilts.evaluate.store import Score


@cache
def own_split(task: str) -> str:
    """The split that a task is scored on; empty for a task that only a YAML of a user knows."""
    try:
        return load_task(task).eval_split
    except NotFoundError:
        return ""


def task_title(task: str, split: str) -> str:
    """The task, with the split where that is not the task's own: `xnli validation`."""
    return task if split in ("", own_split(task)) else f"{task} {split}"


def title_of(score: Score) -> str:
    """`task_title` of what a score is of."""
    return task_title(score.task, score.split)


def plain_label(score: Score) -> str:
    """What stands for the expression, without the block that version 0.1 wrote behind it."""
    return score.intermediate.removesuffix(f" (block {score.layer})")
