"""The result store: one folder a cell, written once, never changed.

A *cell* is one expression on one task, one language and one split. Its key is a digest of
everything that decides the outcome, so a finished cell is found and never computed again:

    <root>/cells/<key[:2]>/<key>/
        cell.json            identity, inputs, score rows, time, machine
        predictions.tsv      (.json for question answering) what the model said
        outcomes.json        per-example outcomes, for paired statistics

Everything shown anywhere is computed from the rows found here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import from_json

from xstilts.backbone.machine import machine
from xstilts.config.layers import first_problem
from xstilts.config.specs import Spec
from xstilts.errors import LaterVersionError
from xstilts.files import atomic_folder, digest, sha256_file, write_json, write_text

SCHEMA = 2
"""Of `cell.json`; cells of schema 1 lack `step` and `written` and are read all the same."""


class Score(Spec):
    """One number, and where it comes from. `value` is 0..100.

    Attributes:
        expression: As evaluated, such as `stack(lang-{lang}, mnli)`.
        intermediate: What stands for it in tables; the expression unless a run names it.
        digest: Over the digests of every module in it; empty for the untouched backbone.
        backbone: Short name; `fingerprint` says which (`BackboneIdentity.key`).
        source_language: The language that the head was trained on.
        group: `alignment` for measures of a bitext's alignment; empty otherwise.
        n: Examples scored.
        seed: Of the modules, language adapters aside where there are others; -1 without one, or
            with several.
        step: Training steps behind a snapshot; -1 for what training ended with.
        layer: Block pooled, for retrieval; -1 otherwise.
        pooling: `mean`, `cls` or `last` for retrieval, empty otherwise.
        num_cut: Examples of which a text lost its end, of both sides for retrieval.
        max_length: Sub-words that a text was cut at; 0 for what is not known.
        coverage: Share of the task's languages that this run has rows for; filled in by reports.
        selection: How the checkpoint was picked, such as `best en validation accuracy`.
        flags: Anything a reader must know (`base-mismatch`, `target-dev selection`).
    """

    expression: str
    intermediate: str
    digest: str
    backbone: str
    fingerprint: str
    method: str = ""
    task: str
    group: str = ""
    domain: str = ""
    language: str
    split: str
    metric: str
    main: bool = True
    value: float
    n: int
    seed: int = -1
    step: int = -1
    layer: int = -1
    pooling: str = ""
    source_language: str = ""
    train_task: str = ""
    trainable_parameters: int = 0
    selection: str = ""
    flags: list[str] = Field(default_factory=list)
    num_cut: int = 0
    max_length: int = 0
    predictions_sha256: str = ""
    cell: str = ""


@dataclass(frozen=True)
class ResultCell:
    """One finished cell.

    Attributes:
        key: Digest of everything that decides the outcome.
        identity: That everything, readable.
        scores: Its rows.
        seconds: Wall time it took.
        written: When it was finished, in UTC, to the microsecond.
        machine: What computed it, see `xstilts.backbone.machine`; empty for cells of 0.1.
    """

    key: str
    identity: Mapping[str, Any]
    scores: Sequence[Score]
    seconds: float
    folder: Path
    written: str = ""
    machine: Mapping[str, str] = field(default_factory=dict)

    def outcomes(self) -> Any:
        """Per-example outcomes as the metric gives them, or None."""
        try:
            return from_json(_bytes(self.folder, "outcomes.json"))
        except FileNotFoundError:
            return None

    @property
    def predictions(self) -> Path:
        """The predictions file."""
        return next(self.folder.glob("predictions.*"))


def cell_key(identity: Mapping[str, Any]) -> str:
    """The key of a cell: a digest of its identity."""
    return digest(dict(identity))


class ResultStore:
    """All cells below a folder; safe for many writers, since a cell is renamed into place."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._said: set[Path] = set()  # damaged cells that were named

    def _folder(self, key: str) -> Path:
        return self.root / "cells" / key[:2] / key

    def get(self, key: str) -> ResultCell | None:
        """The finished cell with this key, or None: there is none, or it is damaged, which is said.

        Raises:
            LaterVersionError: A later version wrote it.
        """
        folder = self._folder(key)
        return self._whole(folder, "computed again") if (folder / "cell.json").is_file() else None

    def find(self, identity: Mapping[str, Any]) -> ResultCell | None:
        """The finished cell with this identity, as `get`.

        Cells of before tokenizers were told apart, which say nothing of theirs, do as well.
        """
        earlier = {name: value for name, value in identity.items() if name != "tokenizer"}
        return self.get(cell_key(identity)) or self.get(cell_key(earlier))

    def put(
        self,
        identity: Mapping[str, Any],
        scores: Sequence[Score],
        predictions: str,
        suffix: str,
        outcomes: Any,
        seconds: float,
    ) -> ResultCell:
        """Keep a finished cell; its rows get the key and the predictions' checksum."""
        key = cell_key(identity)
        with atomic_folder(self._folder(key)) as folder:
            path = folder / f"predictions.{suffix}"
            write_text(path, predictions)
            stamp = {"cell": key, "predictions_sha256": sha256_file(path)}
            rows = [score.model_copy(update=stamp) for score in scores]
            if outcomes is not None:
                write_text(folder / "outcomes.json", json.dumps(outcomes, allow_nan=False) + "\n")
            record = {
                "schema": SCHEMA,
                "identity": dict(identity),
                "scores": [row.model_dump() for row in rows],
                "seconds": round(seconds, 3),
                "machine": machine(),
                "written": datetime.now(UTC).isoformat(timespec="microseconds"),
            }
            write_json(folder / "cell.json", record | {"sha256": digest(record)})
        return _read(self._folder(key))

    def cells(self) -> Iterator[ResultCell]:
        """Every finished cell, in the order of keys; damaged ones are left out, and said once.

        Raises:
            LaterVersionError: A later version wrote one.
        """
        found = (
            [
                key.path
                for start in os.scandir(self.root / "cells")
                if start.is_dir()
                for key in os.scandir(start.path)
                if os.path.isfile(f"{key.path}/cell.json")  # noqa: PTH113  (see _bytes)
            ]
            if (self.root / "cells").is_dir()
            else []
        )
        for path in sorted(found):
            cell = self._whole(Path(path), "left out until its evaluation runs again")
            if cell is not None:
                yield cell

    def _whole(self, folder: Path, what_then: str) -> ResultCell | None:
        try:
            return _read(folder)
        except (OSError, ValueError) as error:
            path = folder / "cell.json"
            _refuse_later(path)
            if folder not in self._said:
                self._said.add(folder)
                why = first_problem(error) if isinstance(error, ValidationError) else error
                print(f"{what_then}, a result cell is broken ({why}): {path}", file=sys.stderr)
            return None

    def scores(self) -> list[Score]:
        """The score rows of all stored cells."""
        return [score for cell in self.cells() for score in cell.scores]

    def of_module(self, module_digest: str) -> list[dict[str, Any]]:
        """The main scores of a module by itself, as plain values for its card.

        Of what was measured more than once, such as by name and in a study, the newest.
        """
        own = digest(f"@{module_digest}")
        newest: dict[str, Score] = {}
        for cell in sorted(self.cells(), key=lambda cell: cell.written):
            for row in cell.scores:
                if row.main and row.digest == own:
                    newest[digest(row.model_dump(exclude=_MEASURED))] = row
        return [row.model_dump() for row in newest.values()]


_MEASURED = {"expression", "intermediate", "value", "n", "num_cut", "predictions_sha256", "cell"}
"""What may differ where the same was measured twice."""


class _Record(BaseModel):
    """What `cell.json` holds."""

    schema_: int = Field(alias="schema", le=SCHEMA)
    identity: dict[str, Any]
    scores: list[Score]
    seconds: float
    written: str = ""
    machine: dict[str, str] = {}


def _read(folder: Path) -> ResultCell:
    values = from_json(_bytes(folder, "cell.json"))
    record = _Record.model_validate(values)
    stated = values.pop("sha256", None)  # cells of before have none
    if stated is not None and stated != digest(values):
        raise ValueError("its checksum differs")
    return ResultCell(
        folder.name,
        record.identity,
        record.scores,
        record.seconds,
        folder,
        record.written,
        record.machine,
    )


def _bytes(folder: Path, name: str) -> bytes:
    """A file of a cell; reports read so many that making a path of each is half the time."""
    with open(f"{folder}/{name}", "rb") as stream:  # noqa: PTH123
        return stream.read()


def _refuse_later(path: Path) -> None:
    """Refuse a cell that a later version wrote, which is not broken."""
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))["schema"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if isinstance(schema, int) and schema > SCHEMA:
        raise LaterVersionError(
            f"a result cell has schema {schema}, this version reads up to {SCHEMA}",
            where=str(path),
        )
