"""Sentence vectors, computed once for each sentence and kept on disk.

What a sentence's vector depends on is its sub-words, the backbone, what the modules do in it, the
block and the pooling; so tasks, languages and runs share them, such as the English sides of
Tatoeba, and modules with the same weights do, such as one and the snapshot of its last step. One
folder a layer holds shards: some sentences' keys and vectors, written once.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xstilts.backbone.backbone import Backbone
from xstilts.composition import predict
from xstilts.composition.load import LoadedExpression
from xstilts.composition.task_model import TaskModel
from xstilts.config.progress import ProgressFn
from xstilts.data.batching import Padding
from xstilts.data.features import Features
from xstilts.errors import IntegrityError
from xstilts.evaluate.progress import Count
from xstilts.evaluate.retrieval.neighbours import Vectors
from xstilts.files import atomic_folder, digest, write_array

VERSION = 1
"""Raised when the same sentence gets other vectors, so that old ones are not used."""
SHARD = 16384
"""Sentences computed and written at a time; what an interruption can lose."""

Keys = Sequence[bytes]


class VectorStore:
    """Vectors of one layer, by key; safe for many writers, since shards are renamed into place.

    Raises:
        IntegrityError: A shard is broken.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shards: list[Vectors] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        for path in sorted(folder.glob("[0-9a-f]*")):
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            # numpy.load would take another kind of file for what that is
            keys = np.array(np.lib.format.open_memmap(path / "keys.npy", mode="r"))
            vectors: Vectors = np.lib.format.open_memmap(path / "vectors.npy", mode="r")
            whole = len(keys) == len(vectors) and keys.ndim == vectors.ndim == 2
        except (OSError, ValueError, EOFError):
            whole = False
        if not whole:
            raise IntegrityError(
                "a shard of cached sentence vectors is broken",
                where=str(path),
                hint="Remove that folder; the vectors are computed again.",
            )
        for row, key in enumerate(keys):
            self._places.setdefault(key.tobytes(), (len(self._shards), row))
        self._shards.append(vectors)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def add(self, keys: Keys, vectors: Vectors) -> None:
        """Keep the vectors of new keys."""
        packed = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1)
        path = self.folder / hashlib.sha256(packed.tobytes()).hexdigest()[:32]
        if not path.is_dir():  # unless another process was first
            with atomic_folder(path) as folder:
                write_array(folder / "keys.npy", packed)
                write_array(folder / "vectors.npy", vectors)
        self._open(path)

    def take(self, keys: Keys) -> Vectors:
        """The vectors of keys that are all there, [keys, D]."""
        places = np.array([self._places[key] for key in keys], dtype=np.int64).reshape(-1, 2)
        result = np.empty((len(keys), self._shards[0].shape[1]), np.float32)
        for number in np.unique(places[:, 0]).tolist():
            rows = np.flatnonzero(places[:, 0] == number)
            result[rows] = self._shards[number][places[rows, 1]]
        return result


class SentenceVectors:
    """Gives vectors, computing only those that are nowhere.

    Args:
        backbone: Embeds.
        cache: Folder to keep them in; None keeps nothing.
        precision: What the caller computes in; vectors of another one are not used.

    Attributes:
        padding: Of the batches so far; may be replaced.
    """

    def __init__(self, backbone: Backbone, cache: Path | None, precision: str = "fp32") -> None:
        self.backbone, self.cache, self.precision = backbone, cache, precision
        self.padding = Padding()
        self._stores: dict[Path, VectorStore] = {}

    def of(
        self,
        loaded: LoadedExpression,
        features: Features,
        layer: int,
        pooling: str,
        progress: ProgressFn,
        *,
        layers: Sequence[int] = (),
    ) -> Vectors:
        """Vectors of every row at `layer`, [rows, D], not normalised.

        Args:
            loaded: What acts in the backbone.
            features: Tokenised sentences.
            layer: Block to be pooled.
            pooling: `mean`, `cls` or `last`.
            progress: Called with the share that is done.
            layers: Further blocks that will be asked for: the same pass keeps them too.
        """
        wanted = sorted({layer, *layers})
        model = TaskModel(self.backbone, loaded.composed, {})
        if self.cache is None:
            with model.attached():
                count = Count(len(features), progress, self.padding)
                return predict.embed(model, features, [layer], pooling, done=count)[layer]
        keys = _keys(features)
        stores = {number: self._store(loaded, number, pooling) for number in wanted}
        lacking = {
            key: row
            for row, key in enumerate(keys)
            if any(key not in store for store in stores.values())
        }
        self._compute(model, features, lacking, stores, pooling, progress)
        return stores[layer].take(keys)

    def _compute(
        self,
        model: TaskModel,
        features: Features,
        lacking: dict[bytes, int],
        stores: dict[int, VectorStore],
        pooling: str,
        progress: ProgressFn,
    ) -> None:
        count = Count(len(lacking), progress, self.padding)
        with model.attached():
            for keys, rows in _shards(features, lacking):
                part = features.take(rows)
                found = predict.embed(model, part, sorted(stores), pooling, done=count)
                for layer, store in stores.items():
                    fresh = [n for n, key in enumerate(keys) if key not in store]
                    if fresh:
                        store.add([keys[n] for n in fresh], found[layer][fresh])

    def _store(self, loaded: LoadedExpression, layer: int, pooling: str) -> VectorStore:
        assert self.cache is not None
        whose = {
            "version": VERSION,
            "backbone": self.backbone.identity.key,
            "acting": loaded.acting,
            "pooling": pooling,
            "precision": self.precision,
        }
        folder = self.cache / "vectors" / digest(whose)[:32] / f"layer-{layer}"
        while folder not in self._stores:
            try:
                self._stores[folder] = VectorStore(folder)
            except IntegrityError as error:
                print(f"computed again, {error.what}: {error.where}", file=sys.stderr)
                broken = Path(error.where)
                shutil.rmtree(broken) if broken.is_dir() else broken.unlink()
        return self._stores[folder]


def _keys(features: Features) -> list[bytes]:
    """16 bytes for each row that stand for its sub-words."""
    ids = features.input_ids
    flat, bounds = ids.values.tobytes(), (ids.offsets * ids.values.itemsize).tolist()
    return [
        hashlib.blake2b(flat[start:end], digest_size=16).digest() for start, end in pairwise(bounds)
    ]


def _shards(
    features: Features, lacking: dict[bytes, int]
) -> Iterator[tuple[list[bytes], NDArray[np.int64]]]:
    """Keys and rows in portions, sentences of like length together, long ones first."""
    ordered = sorted(lacking.items(), key=lambda item: -int(features.lengths[item[1]]))
    for start in range(0, len(ordered), SHARD):
        keys, rows = zip(*ordered[start : start + SHARD], strict=True)
        yield list(keys), np.array(rows, dtype=np.int64)
