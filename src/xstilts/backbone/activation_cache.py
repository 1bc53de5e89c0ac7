"""Outputs of the blocks below the first site where something acts or trains, kept row by row.

Such a block gives a row the same output in every epoch and under every module that acts above it,
so it is run once. Rows are known by their sub-words, which every format has, and by the device and
the precision that they were computed with.
"""

from __future__ import annotations

import errno
import hashlib
import sqlite3
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TypeVar
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import Site

T = TypeVar("T")
MEMORY_LIMIT = 2 << 30
"""Bytes of outputs that are kept in memory; further rows are computed each time."""
_DAMAGED = ("SQLITE_ERROR", "SQLITE_CORRUPT", "SQLITE_NOTADB")
"""Beginnings of what SQLite calls the errors of a file that is none of ours; others have causes."""


def first_block(site_keys: Iterable[str], total: int) -> int:
    """How many blocks from the first on no site of `site_keys` touches; `total` without sites."""
    return max(0, min((Site.of(key).block for key in site_keys), default=total))


class MemoryStore:
    """Rows in memory, as many as fit below a limit.

    Args:
        limit: Bytes.
    """

    def __init__(self, limit: int = MEMORY_LIMIT) -> None:
        self.left = limit
        self._rows: dict[bytes, Tensor] = {}

    def get(self, keys: list[bytes]) -> list[Tensor | None]:
        """The rows of keys, None for those that are not there."""
        return [self._rows.get(key) for key in keys]

    def put(self, rows: dict[bytes, Tensor]) -> None:
        """Keep rows, each [t, D]."""
        for key, row in rows.items():
            size = row.numel() * row.element_size()
            if key not in self._rows and size <= self.left:
                self._rows[key] = row.clone()
                self.left -= size


class DiskStore:
    """Rows in a SQLite file, so that several processes and later runs share them.

    Rows are kept with a checksum. What is damaged is not there any more: a row by itself, or all
    where the file cannot be read, which then begins anew.

    Args:
        path: The file; it is made when it is absent.
        width: D.
    """

    def __init__(self, path: Path, width: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.width = path, width
        self._damaged = False
        self._in_file(lambda _connection: None)

    def _in_file(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """What `act` gives, in a new file where the one that is there is damaged."""
        try:
            return self._once(act)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorname == "SQLITE_FULL":
                raise OSError(errno.ENOSPC, str(error), str(self.path)) from None
            if not error.sqlite_errorname.startswith(_DAMAGED):
                raise  # such as a lock
            self._tell(error)
        for ending in ("", "-wal", "-shm"):
            Path(f"{self.path}{ending}").unlink(missing_ok=True)
        return self._once(act)

    def _once(self, act: Callable[[sqlite3.Connection], T]) -> T:
        with closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, value BLOB, sum INTEGER)"
            )
            return act(connection)

    def _tell(self, why: object) -> None:
        if not self._damaged:
            self._damaged = True
            what = f"cached activations are broken ({why})"
            print(f"computed again, {what}: {self.path}", file=sys.stderr)

    def get(self, keys: list[bytes]) -> list[Tensor | None]:
        """The rows of keys, None for those that are not there."""
        marks = ",".join("?" * len(keys))
        query = f"SELECT key, value, sum FROM rows WHERE key IN ({marks})"  # noqa: S608  (marks)
        found = self._in_file(lambda connection: connection.execute(query, keys).fetchall())
        rows = {key: self._row(value) for key, value, own in found if crc32(value) == own}
        if len(rows) < len(found):
            self._tell("their checksum differs")
        return [rows.get(key) for key in keys]

    def _row(self, value: bytes) -> Tensor:
        return torch.from_numpy(np.frombuffer(value, np.float32).reshape(-1, self.width).copy())

    def put(self, rows: dict[bytes, Tensor]) -> None:
        """Keep rows, each [t, D] float32."""
        values = {key: row.contiguous().numpy().tobytes() for key, row in rows.items()}
        packed = [(key, value, crc32(value)) for key, value in values.items()]
        add = "INSERT OR REPLACE INTO rows VALUES (?, ?, ?)"
        self._in_file(lambda connection: connection.executemany(add, packed))


class FrozenBlocks:
    """The first blocks of an encoder, run once a row.

    Args:
        backbone: What acts in its first `count` blocks, if anything, must be the same in each call.
        count: Blocks below the first site; 0 leaves only the embeddings, all of them is allowed.
        store: Where outputs are kept.
    """

    def __init__(self, backbone: Backbone, count: int, store: MemoryStore | DiskStore) -> None:
        self.backbone, self.count, self.store = backbone, count, store

    def last_hidden_state(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The last block's output, [B, T, D]; gradients reach no block below `count`."""
        hidden = self._below(input_ids, attention_mask)
        return self.backbone.from_block(self.count, hidden, input_ids, attention_mask)

    def _below(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        lengths = attention_mask.sum(1).tolist()
        how = _computed_with(input_ids.device.type)
        keys = [_key(row[:n], how) for row, n in zip(input_ids.cpu(), lengths, strict=True)]
        kept = self.store.get(keys)
        rows = [row for row in kept if row is not None]
        if len(rows) < len(keys):
            return self._computed(keys, lengths, input_ids, attention_mask)
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        missing = input_ids.shape[1] - padded.shape[1]
        return torch.nn.functional.pad(padded, (0, 0, 0, missing)).to(input_ids.device)

    def _computed(
        self, keys: list[bytes], lengths: list[int], input_ids: Tensor, attention_mask: Tensor
    ) -> Tensor:
        training = [module for module in self.backbone.encoder.modules() if module.training]
        for module in training:
            module.training = False
        try:
            with torch.no_grad():
                states = self.backbone.hidden_states(input_ids, attention_mask, up_to=self.count)
        finally:
            for module in training:
                module.training = True
        hidden = states[-1].detach()
        rows = hidden.float().cpu()
        self.store.put({key: rows[n, : lengths[n]] for n, key in enumerate(keys)})
        return hidden


def _computed_with(device: str) -> str:
    """The device and the precision of a forward pass now."""
    mixed = torch.is_autocast_enabled(device)
    return f"{device} {torch.get_autocast_dtype(device) if mixed else torch.float32}"


def _key(ids: Tensor, how: str) -> bytes:
    values = ids.to(torch.int32).numpy().tobytes()
    return hashlib.blake2b(values + how.encode(), digest_size=16).digest()
