"""Tokenised rows that are kept on disk, and what becomes of damaged ones."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.models import tiny_backbone
from support.tokenizers import tiny_tokenizer
from support.trained import TEXTS

from xstilts.config.load import load_task
from xstilts.data.examples import Example
from xstilts.tasks.encoding import encode


def changed(change):
    def damage(path):
        arrays = load_file(path)
        change(arrays)
        save_file(arrays, path)

    return damage


@changed
def zero_offsets(arrays):
    arrays["input_ids.offsets"] = np.zeros_like(arrays["input_ids.offsets"])


@changed
def fewer_rows(arrays):
    arrays["example"] = arrays["example"][:-1]


@changed
def other_scalars(arrays):
    arrays["scalars.label"] = arrays["scalars.label"][:1]


@changed
def foreign(arrays):
    arrays.clear()
    arrays["weight"] = np.ones((2, 2), np.float32)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-7])


def empty(path):
    path.write_bytes(b"")


DAMAGES = [zero_offsets, fewer_rows, other_scalars, foreign, truncated, empty]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: getattr(damage, "__name__", ""))
def test_damaged_rows_are_tokenised_again_with_a_word(damage, tmp_path, capsys):
    backbone = tiny_backbone(tokenizer=tiny_tokenizer(TEXTS * 20, 120), vocab_size=120)
    task = load_task("mnli")
    rows = [
        Example(str(n), "en", {"text": text, "text_pair": TEXTS[0]}, task.labels[n % 3])
        for n, text in enumerate(TEXTS)
    ]
    whole = encode(rows, task, backbone, tmp_path)
    (path,) = tmp_path.rglob("*.safetensors")
    content = path.read_bytes()
    damage(path)
    assert path.read_bytes() != content
    again = encode(rows, task, backbone, tmp_path)
    assert path.name in capsys.readouterr().err
    assert path.read_bytes() == content
    assert np.array_equal(again.input_ids.values, whole.input_ids.values)
    encode(rows, task, backbone, tmp_path)
    assert capsys.readouterr().err == ""
