"""Blocks that nothing touches are run once a row, and nothing else changes."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
import torch
from support.models import tiny_backbone, tokens

from xstilts.backbone.activation_cache import DiskStore, FrozenBlocks, MemoryStore, first_block
from xstilts.errors import DiskError


@pytest.fixture
def backbone():
    return tiny_backbone()


@pytest.fixture(params=["memory", "disk"])
def store(request, tmp_path, backbone):
    if request.param == "memory":
        return MemoryStore()
    return DiskStore(tmp_path / "a" / "rows.sqlite", backbone.shape.hidden_size)


def counted(backbone):
    """How often each block runs."""
    runs = [0] * len(backbone.blocks)

    def count(number):
        def hook(*_):
            runs[number] += 1

        return hook

    for number, block in enumerate(backbone.blocks):
        block.register_forward_hook(count(number))
    return runs


@pytest.mark.parametrize("count", [0, 1, 2])
def test_outputs_are_those_of_the_whole_encoder(count, backbone, store):
    ids, mask = tokens()
    frozen = FrozenBlocks(backbone, count, store)
    whole = backbone(ids, mask).detach()
    first = frozen.last_hidden_state(ids, mask)
    again = frozen.last_hidden_state(ids, mask)
    real = mask.bool()
    assert torch.equal(first[real], whole[real])
    assert torch.equal(again[real], whole[real])


def test_frozen_blocks_run_once_a_row(backbone, store):
    runs = counted(backbone)
    ids, mask = tokens()
    frozen = FrozenBlocks(backbone, 1, store)
    for _ in range(3):
        frozen.last_hidden_state(ids, mask)
    assert runs[0] == 1
    assert runs[1:] == [3] * (len(runs) - 1)


def test_rows_are_found_in_other_batches(backbone, store):
    ids, mask = tokens()
    frozen = FrozenBlocks(backbone, 1, store)
    frozen.last_hidden_state(ids, mask)
    runs = counted(backbone)
    order = torch.arange(len(ids) - 1, -1, -1)
    turned = frozen.last_hidden_state(ids[order], mask[order])
    assert runs[0] == 0
    whole = backbone(ids, mask)[order]
    real = mask[order].bool()
    assert torch.allclose(turned[real], whole[real], atol=1e-6)


def test_another_process_finds_the_rows(backbone, tmp_path):
    ids, mask = tokens()
    path = tmp_path / "rows.sqlite"
    width = backbone.shape.hidden_size
    FrozenBlocks(backbone, 2, DiskStore(path, width)).last_hidden_state(ids, mask)
    runs = counted(backbone)
    FrozenBlocks(backbone, 2, DiskStore(path, width)).last_hidden_state(ids, mask)
    assert runs[:2] == [0, 0]


def test_rows_of_another_precision_are_computed_anew(backbone, store):
    ids, mask = tokens()
    frozen = FrozenBlocks(backbone, 1, store)
    real, outputs = mask.bool(), []
    for _ in range(2):  # the second time from the store
        with torch.autocast("cpu", torch.bfloat16):
            outputs.append(frozen.last_hidden_state(ids, mask)[real])
        assert torch.equal(frozen.last_hidden_state(ids, mask)[real], backbone(ids, mask)[real])
    assert torch.equal(*outputs)


def test_what_does_not_fit_is_computed_each_time(backbone):
    runs = counted(backbone)
    ids, mask = tokens()
    frozen = FrozenBlocks(backbone, 1, MemoryStore(limit=0))
    outputs = [frozen.last_hidden_state(ids, mask) for _ in range(2)]
    assert runs[0] == 2
    assert torch.equal(*outputs)


def test_frozen_blocks_have_no_dropout_and_get_no_gradient(backbone, store):
    ids, mask = tokens()
    backbone.encoder.train()
    backbone.encoder.requires_grad_(True)
    frozen = FrozenBlocks(backbone, 1, store)
    frozen.last_hidden_state(ids, mask).sum().backward()
    assert backbone.encoder.training
    assert all(p.grad is None for p in backbone.blocks[0].parameters())
    assert all(p.grad is not None for p in backbone.blocks[1].parameters())


def test_the_first_touched_block_is_found():
    assert first_block(["3_ffn", "2_query"], 4) == 2
    assert first_block([], 4) == 4
    assert first_block(["-1_embeddings", "3_ffn"], 4) == 0
    assert first_block(["-2_encoder"], 4) == 0


@pytest.mark.parametrize("opened", ["before", "after"])
@pytest.mark.parametrize("damage", ["header", "cut", "other table", "one bit"])
def test_a_damaged_file_is_named_and_filled_again(damage, opened, backbone, tmp_path, capsys):
    path, width = tmp_path / "rows.sqlite", backbone.shape.hidden_size
    rows = {bytes([n]): torch.full((40, width), float(n)) for n in range(9)}
    store = DiskStore(path, width)
    store.put(rows)
    whole = path.read_bytes()
    if damage == "header":
        path.write_bytes(b"\0" * 100 + whole[100:])
    elif damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "other table":
        path.unlink()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE rows (key BLOB PRIMARY KEY, value BLOB)")
    else:
        at = whole.index(rows[b"\5"].numpy().tobytes()[:64])
        path.write_bytes(whole[: at + 9] + bytes([whole[at + 9] ^ 1]) + whole[at + 10 :])
    store = store if opened == "before" else DiskStore(path, width)
    found = store.get([*rows])
    if damage == "one bit":
        assert [row is None for row in found] == [n == 5 for n in range(9)]
    store.put(rows)
    again = store.get([*rows])
    assert all(torch.equal(row, rows[key]) for key, row in zip(rows, again, strict=True))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("computed again, cached activations are broken")
    assert said[0].endswith(str(path))


def test_a_full_disk_is_the_systems_error_and_what_was_kept_stays(backbone, tmp_path, monkeypatch):
    width = backbone.shape.hidden_size
    store = DiskStore(tmp_path / "rows.sqlite", width)
    store.put({b"a": torch.ones(9, width)})
    plain = sqlite3.connect

    def small(*given, **named):
        connection = plain(*given, **named)
        connection.execute("PRAGMA max_page_count=3")  # of the file: what SQLite calls full
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(OSError, match="full") as caught:
        store.put({bytes([n]): torch.ones(400, width) for n in range(9)})
    assert DiskError.of(caught.value).where == str(tmp_path / "rows.sqlite")
    monkeypatch.setattr(sqlite3, "connect", plain)
    assert torch.equal(store.get([b"a"])[0], torch.ones(9, width))


def test_a_file_that_cannot_be_opened_is_left_as_it_is(backbone, tmp_path):
    (tmp_path / "rows.sqlite").mkdir()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        DiskStore(tmp_path / "rows.sqlite", backbone.shape.hidden_size)
