"""Which of the stored scores a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xstilts.config.load import short_name, spec_names
from xstilts.errors import NotFoundError
from xstilts.evaluate.store import ResultCell, ResultStore


def selected_cells(
    store: ResultStore,
    *,
    tasks: Sequence[str] = (),
    labels: Sequence[str] = (),
    backbone: str = "",
) -> list[ResultCell]:
    """The cells of some tasks, labels and backbone; all where none is named.

    Args:
        store: Has the cells.
        tasks: By name, or by the path of a YAML.
        labels: What stands for expressions in tables.
        backbone: By its short name.

    Raises:
        NotFoundError: A task is unknown, and no stored score is of it.
    """
    stored = list(store.cells())
    known = {*spec_names("tasks"), *(cell.scores[0].task for cell in stored)}
    for name in tasks:
        if short_name(name) not in known and not Path(name).is_file():
            raise NotFoundError.named("task", name, known)
    names = {short_name(task) for task in tasks}
    return [
        cell
        for cell in stored
        if (not names or cell.scores[0].task in names)
        and (not labels or cell.scores[0].intermediate in labels)
        and backbone in ("", cell.scores[0].backbone)
    ]
