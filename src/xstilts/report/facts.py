"""What was trained for an expression: parameters, rows, time, disk, shares of tasks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

from xstilts.composition.expression import references
from xstilts.composition.parser import parse
from xstilts.errors import XstiltsError
from xstilts.evaluate.names import plain_label
from xstilts.evaluate.store import Score
from xstilts.zoo import Entry, Zoo

PAUSE = 20
"""A gap in a history this many times the usual one is a pause, not training."""
MEGABYTE = 1e6


@dataclass(frozen=True)
class Facts:
    """What stands behind a label, over its modules and those below them.

    Attributes:
        modules: References, the outermost first.
        parameters: Trained in all of them together.
        megabytes: On disk.
        hours: Of training, by the times in its histories; None where one is gone.
        task: What the first module in the chain was trained on.
        method: Method preset of that module.
        rows: Training rows of that module.
        shares: Module to part to (stated, realised) share of its steps, for mixtures.
    """

    modules: tuple[str, ...]
    parameters: int
    megabytes: float
    hours: float | None
    task: str
    method: str
    rows: int
    shares: Mapping[str, Mapping[str, tuple[float | None, float]]] = field(default_factory=dict)


def facts(scores: Iterable[Score], zoo: Zoo, runs: Path) -> dict[str, Facts]:
    """Label to what was trained for it; labels whose modules are gone are left out.

    Args:
        scores: One row of a label is enough.
        zoo: The module library.
        runs: Folder with the histories of trainings.
    """
    known = {entry.manifest.digest: entry for entry in zoo.entries()}
    firsts: dict[str, Score] = {}
    for score in scores:
        label = plain_label(score)
        if score.main and (label not in firsts or score.train_task):
            firsts.setdefault(label, score)
    found = {}
    for label, score in firsts.items():
        chain = _chain(score.expression, zoo, known)
        if chain:
            found[label] = _of(chain, runs)
    return found


def _chain(expression: str, zoo: Zoo, known: Mapping[str, Entry]) -> list[Entry]:
    """Its modules and those below them, each once; empty when one cannot be found."""
    todo: list[Entry] = []
    try:
        for reference in references(parse(expression)):
            todo.append(zoo.find(reference.name))
    except XstiltsError:
        return []
    chain: dict[str, Entry] = {}
    while todo:
        entry = todo.pop(0)
        if entry.manifest.digest in chain:
            continue
        chain[entry.manifest.digest] = entry
        todo += [known[p.digest] for p in entry.manifest.parents if p.digest in known]
    return list(chain.values())


def _of(chain: list[Entry], runs: Path) -> Facts:
    first = chain[-1].manifest
    times = [_hours(runs / entry.manifest.run[:16] / "history.jsonl") for entry in chain]
    known = [time for time in times if time is not None]
    return Facts(
        modules=tuple(entry.reference for entry in chain),
        parameters=sum(entry.manifest.trainable_parameters for entry in chain),
        megabytes=sum(f.size for entry in chain for f in entry.manifest.files) / MEGABYTE,
        hours=sum(known) if len(known) == len(times) else None,
        task=first.task,
        method=first.preset or first.method,
        rows=sum(record.rows for record in first.data if record.split == "train"),
        shares={entry.reference: shares for entry in chain if (shares := _shares(entry))},
    )


def _shares(entry: Entry) -> dict[str, tuple[float | None, float]]:
    training = entry.manifest.training
    realised = training.get("realised_shares") or {}
    stated = (training.get("mix") or {}).get("shares") or {}
    return {part: (stated.get(part), float(share)) for part, share in realised.items()}


def _hours(history: Path) -> float | None:
    """Time of a training from the times of its history, pauses left out; None without one."""
    if not history.is_file():
        return None
    stamps = []
    for line in history.read_bytes().splitlines():
        with suppress(ValueError, KeyError, TypeError):  # what a crash left of a line
            stamps.append(float(json.loads(line)["time"]))
    stamps.sort()
    gaps = [later - earlier for earlier, later in pairwise(stamps)]
    if not gaps:
        return None
    usual = median(gaps)
    counted = [gap for gap in gaps if gap <= PAUSE * usual or usual == 0]
    return (sum(counted) + usual) / 3600  # what came before the first line took as long as a gap
