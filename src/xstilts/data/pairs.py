"""Both sides of a retrieval task, and which sentences belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.formats import ROW_FORMATS
from xstilts.data.located import Located, locate, require_located
from xstilts.data.readers import READERS
from xstilts.data.readers.bucc import read_gold
from xstilts.data.sources import read_located, sliced
from xstilts.data.text import read_lines
from xstilts.errors import DataError, UsageError


@dataclass(frozen=True, slots=True)
class BitextPair:
    """Two sides of a retrieval task.

    Attributes:
        source: Sentences of the evaluated language.
        target: Sentences of the pivot language, English in XTREME.
        gold: Positions in `source` and `target` that belong together.
    """

    source: list[Example]
    target: list[Example]
    gold: list[tuple[int, int]]

    @property
    def gold_ids(self) -> list[tuple[str, str]]:
        """The gold pairs as ids, source first."""
        return [(self.source[s].id, self.target[t].id) for s, t in self.gold]

    def first(self, count: int) -> BitextPair:
        """The first `count` sentences of the source side, and as many of the target side at least.

        Those come first that belong to a sentence which is there, then others in their order.
        """
        gold = [(s, t) for s, t in self.gold if s < count]
        belonging = {t for _, t in gold}
        others = (t for t in range(len(self.target)) if t not in belonging)
        kept = sorted([*belonging, *islice(others, max(0, count - len(belonging)))])
        place = {t: at for at, t in enumerate(kept)}
        return BitextPair(
            self.source[:count], [self.target[t] for t in kept], [(s, place[t]) for s, t in gold]
        )


def load_pair(
    task: TaskSpec, language: str, root: Path | None, split: str = "", *, offline: bool = False
) -> BitextPair:
    """Both sides of a retrieval task in a language, and which sentences belong together.

    Sentences with the same id belong together, line numbers being ids where a file has none. A gold
    file decides instead, where there is one, or what both sides say in `target`. Of a split such
    as `test[:100]` see `BitextPair.first`.

    Raises:
        NotFoundError: A side is nowhere.
        DataError: The sides differ in length, or a gold id is unknown.
        UsageError: The task is no retrieval task.
    """
    if not ROW_FORMATS.get(task.format).TWO_SIDED:
        raise UsageError(f"task {task.name} is not a retrieval task", where=f"it is {task.format}")
    name, count = sliced(split)
    split = name or task.eval_split
    source, source_end = _side(task, split, "source", language, root, offline)
    target, target_end = _side(task, split, "target", language, root, offline)
    spot = f"{source_end} against {target_end}"
    pair = BitextPair(source, target, _gold(task, split, language, root, source, target, spot))
    return pair.first(count) if count else pair


def _side(
    task: TaskSpec, split: str, side: str, language: str, root: Path | None, offline: bool
) -> tuple[list[Example], str]:
    """The sentences of a side, and where its last one is."""
    located = require_located(task, f"{split}.{side}", language, root, offline=offline)
    if located.source.hub is not None and not located.source.files:
        columns = {"text": located.source.columns[side]}
        source = located.source.model_copy(update={"columns": columns})
        located = replace(located, source=source)
    examples, _ = read_located(located)
    row = examples[-1].place.rpartition(":")[2]
    end = f"{located.paths[-1]}:{row}" if located.paths else f"the hub's {split}.{side}:{row}"
    tells = READERS.get(located.source.reader).TELLS_LANGUAGE
    if side == "source" or tells:
        return examples, end
    return [replace(example, language=task.source_language) for example in examples], end


def _gold(
    task: TaskSpec,
    split: str,
    language: str,
    root: Path | None,
    source: Sequence[Example],
    target: Sequence[Example],
    spot: str,
) -> list[tuple[int, int]]:
    """Gold positions; `spot` is where both sides end, for messages."""
    gold = locate(task, f"{split}.gold", language, root)
    if gold is not None:
        return _gold_from(gold, source, target)
    order = locate(task, f"{split}.order", language, root)
    if order is not None:
        _require_same_length(source, target, spot)
        return _ordered(order.paths[0], len(target))
    if _order_apart(task, split, language, root):
        raise DataError(
            "the English side is sorted and the file that says how is missing",
            where=spot,
            hint="Use the original files, or convert them again to get the labels folder.",
        )
    if source[0].target is not None:
        return _by_target(source, target)
    _require_same_length(source, target, spot)
    positions = {example.id: at for at, example in enumerate(target)}
    try:
        return [(at, positions[example.id]) for at, example in enumerate(source)]
    except KeyError as error:
        raise DataError(f"sentence {error} has no counterpart", where=spot) from None


def _require_same_length(source: Sequence[Example], target: Sequence[Example], spot: str) -> None:
    if len(source) != len(target):
        raise DataError(
            f"{len(source)} sentences on one side, {len(target)} on the other",
            where=spot,
            hint="The files must have the same number of lines, in the same order.",
        )


def _gold_from(
    gold: Located, source: Sequence[Example], target: Sequence[Example]
) -> list[tuple[int, int]]:
    at_source = {example.id: at for at, example in enumerate(source)}
    at_target = {example.id: at for at, example in enumerate(target)}
    pairs = []
    for path in gold.paths:
        for row, (left, right) in enumerate(read_gold(path), 1):
            for known, sentence in ((at_source, left), (at_target, right)):
                if sentence not in known:
                    raise DataError(f"no sentence has the id '{sentence}'", where=f"{path}:{row}")
            pairs.append((at_source[left], at_target[right]))
    return pairs


def _by_target(source: Sequence[Example], target: Sequence[Example]) -> list[tuple[int, int]]:
    """Gold of sides whose rows name what they belong to in `target`."""
    places: dict[str, list[int]] = {}
    for at, example in enumerate(target):
        for key in example.target:
            places.setdefault(key, []).append(at)
    pairs = []
    for at, example in enumerate(source):
        found = sorted({place for key in example.target for place in places.get(key, ())})
        if not found:
            raise DataError(f"nothing to find for '{example.id}'", where=example.place)
        pairs += [(at, place) for place in found]
    return pairs


def _ordered(path: Path, count: int) -> list[tuple[int, int]]:
    """Gold of a sorted target side: line i names the 0-based source sentence of target i."""
    lines = read_lines(path)
    if len(lines) != count:
        raise DataError(f"{len(lines)} lines for {count} sentences", where=f"{path}:{len(lines)}")
    found: dict[int, int] = {}
    for row, line in enumerate(lines, 1):
        number = int(line) if line.strip().isdecimal() and len(line) < 20 else count
        if number >= count or number in found:
            what = "repeats" if number in found else f"is none of 0 to {count - 1}"
            raise DataError(f"sentence number '{line}' {what}", where=f"{path}:{row}")
        found[number] = row - 1
    return sorted(found.items())


def _order_apart(task: TaskSpec, split: str, language: str, root: Path | None) -> bool:
    """Whether the sides come from a source that keeps their order in a file of its own."""
    side = locate(task, f"{split}.target", language, root)
    return side is not None and bool(side.source.files.get(f"{split}.order"))
