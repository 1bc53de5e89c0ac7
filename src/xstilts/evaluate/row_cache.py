"""Rows of the cells to be evaluated: read, digested and tokenised once for all expressions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from xstilts.backbone.known import KnownBackbone
from xstilts.config.file_facts import FileFacts
from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import Features
from xstilts.data.located import Located, locate
from xstilts.data.pairs import BitextPair, load_pair
from xstilts.data.sources import deciding_files, first_rows, load, sliced
from xstilts.errors import DataError, XstiltsError
from xstilts.evaluate.cells import EvaluationJob
from xstilts.tasks.encoding import encode, encode_rows, row_length, rows_digest
from xstilts.tasks.formats import FORMATS
from xstilts.zoo.workspace import Workspace

TUNED_ON = "validation"
"""The split that tunes the threshold of mining."""
KEPT = 12
"""Lists of rows, digests and features that are remembered, for cells next to each other."""

SAMPLE = 100
"""Rows whose sub-words are counted, about, where a number near enough will do."""

T = TypeVar("T")
CellRows = Sequence[Example] | BitextPair


@dataclass(frozen=True)
class RowFacts:
    """What a cell's key needs of its rows.

    Attributes:
        digests: Of its lists of rows.
        target_languages: Those of the other side of a bitext, in order of appearance.
    """

    digests: tuple[str, ...]
    target_languages: tuple[str, ...] = ()


class RowCache:
    """Gives the rows of cells; those of the next cell are made ready while one is computed.

    Args:
        backbone: Its tokenizer splits the rows.
        workspace: Where data and cache are.
    """

    def __init__(self, backbone: KnownBackbone, workspace: Workspace) -> None:
        self.backbone, self.workspace = backbone, workspace
        self._recent: OrderedDict[Hashable, Any] = OrderedDict()
        self._recent_lock, self._tokenizer_lock = Lock(), Lock()
        self._ahead: ThreadPoolExecutor | None = None
        self._coming: dict[Hashable, Future[None]] = {}

    def of(self, job: EvaluationJob) -> list[CellRows]:
        """The rows of a cell, and those that a mining threshold is tuned on.

        Raises:
            NotFoundError: They are nowhere.
            DataError: A file is broken, or rows that are to be scored have no gold.
        """
        coming = self._coming.pop(job.rows, None)
        if coming is not None:
            coming.result()
        return self._rows(job)[1]

    def _rows(self, job: EvaluationJob) -> tuple[FileFacts, list[CellRows]]:
        """The rows of a cell, and the files as they were before these were read."""
        return self._remembered(
            ("rows", job.rows), lambda: (self._file_facts(job), self._read(job))
        )

    def known(self, job: EvaluationJob) -> RowFacts | None:
        """What `facts` gives, if the files are those that were read before; none is read now."""
        kept = self._file_facts(job).get()
        return kept and RowFacts(tuple(kept["digests"]), tuple(kept["target_languages"]))

    def facts(self, job: EvaluationJob) -> RowFacts:
        """What the key of a cell needs of its rows, kept with the identity of their files.

        Raises as `of` does.
        """
        data = self.of(job)
        other = data[0].target if isinstance(data[0], BitextPair) else ()
        found = RowFacts(
            tuple(self.digest(side) for rows in data for side in sides(rows)),
            tuple(dict.fromkeys(example.language for example in other)),
        )
        self._rows(job)[0].put(vars(found))
        return found

    def _file_facts(self, job: EvaluationJob) -> FileFacts:
        task, root = job.task, self.workspace.data
        located: list[Located | None] = []
        for split in _splits(job):
            name = sliced(split)[0] or task.eval_split
            keys = [name]
            if job.settings is not None:
                keys = [f"{name}.{part}" for part in ("source", "target", "gold", "order")]
            located += [locate(task, key, job.language, root) for key in keys]
        key = [job.rows, task.model_dump(mode="json"), version("xstilts")]
        files = [path for item in located if item for path in deciding_files(item)]
        # where rows begin with their language, the backbone has its say in their digests
        cache = None if self.backbone.asks_language else self.workspace.cache
        return FileFacts(cache, "rows", key, files)

    def digest(self, examples: Sequence[Example]) -> str:
        """The digest of a list of rows that `of` gave."""
        key = ("digest", id(examples))
        return self._remembered(key, lambda: (rows_digest(examples, self.backbone), examples))[0]

    def tokens(self, examples: Sequence[Example], task: TaskSpec) -> int:
        """The sub-words of rows, estimated from a few of them."""
        count = len(examples)
        chosen = np.random.default_rng(0).permutation(count)[:SAMPLE]
        some = [examples[number] for number in chosen]
        length = row_length(task, self.backbone)
        with self._tokenizer_lock:
            encoded = encode_rows(some, task, self.backbone, length)
        return round(int(encoded.lengths.sum()) * count / max(1, len(some)))

    def features(self, examples: Sequence[Example], task: TaskSpec) -> Features:
        """The rows as sub-words."""
        digest = self.digest(examples)

        def make() -> Features:
            cache = self.workspace.cache
            with self._tokenizer_lock:
                return encode(examples, task, self.backbone, cache, known_digest=digest)

        key = ("features", digest, task.format, str(task.options), task.max_length, *task.labels)
        return self._remembered(key, make)

    def prepare(self, job: EvaluationJob) -> None:
        """Begin to read and tokenise the rows of a cell that comes next."""
        if job.rows in self._coming or ("rows", job.rows) in self._recent:
            return
        self._ahead = self._ahead or ThreadPoolExecutor(1, "xstilts-rows")
        self._coming[job.rows] = self._ahead.submit(self._make_ready, job)

    def close(self) -> None:
        """Stop making rows ready."""
        if self._ahead is not None:
            self._ahead.shutdown(cancel_futures=True)
        self._ahead = None
        self._coming.clear()

    def _make_ready(self, job: EvaluationJob) -> None:
        try:
            for rows in self._rows(job)[1]:
                for side in sides(rows):
                    self.features(side, job.plain_task)
        except XstiltsError:
            return  # it is raised where the cell itself is evaluated

    def _remembered(self, key: Hashable, make: Callable[[], T]) -> T:
        with self._recent_lock:
            if key in self._recent:
                self._recent.move_to_end(key)
                found: T = self._recent[key]
                return found
        value = make()
        with self._recent_lock:
            self._recent[key] = value
            while len(self._recent) > KEPT:
                self._recent.popitem(last=False)
        return value

    def _read(self, job: EvaluationJob) -> list[CellRows]:
        workspace = self.workspace
        if job.settings is None:
            rows = load(
                job.task, job.split, job.language, workspace.data, offline=workspace.offline
            )
            _require_gold(rows, job)
            return [rows]
        return [
            load_pair(job.task, job.language, workspace.data, split, offline=workspace.offline)
            for split in _splits(job)
        ]


def _splits(job: EvaluationJob) -> list[str]:
    """The splits that a cell reads: its own, and the one that a mining threshold is tuned on."""
    name, first = sliced(job.split)
    tuned = job.tunes and name != TUNED_ON
    return [job.split, *([first_rows(TUNED_ON, first)] if tuned else [])]


def sides(data: CellRows) -> list[Sequence[Example]]:
    """The lists of rows in it: both sides of a bitext, or the rows alone."""
    return [data.source, data.target] if isinstance(data, BitextPair) else [data]


def _require_gold(rows: Sequence[Example], job: EvaluationJob) -> None:
    """Refuse rows that nothing can be scored against."""
    if not FORMATS.get(job.task.format).LABELLED:
        return
    lacking = next((row for row in rows if row.target is None), None)
    if lacking is not None:
        raise DataError(
            f"task {job.task.name}, {job.language}, {job.split}: row '{lacking.id}' has no label",
            where=lacking.place,
            hint="Put the gold labels beside the rows (labels/<task>/), or use `xstilts predict`.",
        )
