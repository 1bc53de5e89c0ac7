"""Tensors that are read or computed when they are asked for."""

from __future__ import annotations

import json
import zlib

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models import tiny_backbone

from xstilts.backbone import lazy_tensors as module
from xstilts.backbone.lazy_tensors import (
    FileWeights,
    info_of,
    num_parameters,
    rows_of,
    write_weights,
)
from xstilts.errors import BackboneMismatchError, IntegrityError
from xstilts.modules.methods import _difference


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 50)


@pytest.fixture(scope="module")
def base():
    return {name: p.detach() for name, p in tiny_backbone().encoder.named_parameters()}


@pytest.fixture
def tensors():
    return {
        "matrix": torch.randn(23, 7),
        "scalar": torch.tensor(3.0),
        "half": torch.randn(7, 3).to(torch.bfloat16),
        "empty": torch.zeros(0, 4),
        "whole": torch.arange(5),
        "flags": torch.tensor([True, False]),
        "umläut": torch.randn(2, 3, 4),
    }


def test_files_are_those_of_the_library(tensors, tmp_path):
    save_file(tensors, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    write_weights(tmp_path / "ours.safetensors", tensors)
    assert (tmp_path / "ours.safetensors").read_bytes() == (
        tmp_path / "theirs.safetensors"
    ).read_bytes()


def test_files_are_read_as_the_library_reads_them(tensors, tmp_path):
    save_file(tensors, tmp_path / "x.safetensors")
    found = FileWeights(tmp_path / "x.safetensors")
    assert found.keys() == tensors.keys()
    assert num_parameters(found) == sum(tensor.numel() for tensor in tensors.values())
    for name, tensor in load_file(tmp_path / "x.safetensors").items():
        assert torch.equal(found[name], tensor)
        assert info_of(found, name) == info_of(tensors, name)
    assert torch.equal(found.rows("matrix", 4, 19), tensors["matrix"][4:19])
    assert torch.equal(rows_of(found, "scalar", 0, 1), rows_of(tensors, "scalar", 0, 1))
    write_weights(tmp_path / "y.safetensors", found)
    assert load_file(tmp_path / "y.safetensors").keys() == tensors.keys()


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b"\2\0\0\0\0\0\0\0[]", b"\xff" * 40])
def test_what_is_no_tensor_file(data, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(IntegrityError, match="is broken"):
        FileWeights(tmp_path / "x.safetensors")
    with pytest.raises(IntegrityError, match="is missing"):
        FileWeights(tmp_path / "y.safetensors")


def test_a_file_that_was_cut_is_noticed(tensors, tmp_path):
    path = tmp_path / "x.safetensors"
    write_weights(path, tensors)
    found = FileWeights(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="ends too early"):
        dict(found)


# ---------------------------------------------------------------------------------- differences


def changed(base, scale=1e-4, only="layer.1"):
    generator = torch.Generator().manual_seed(3)
    return {
        name: tensor + torch.randn(tensor.shape, generator=generator) * scale
        if only in name
        else tensor.clone()
        for name, tensor in base.items()
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_difference_gives_back_every_bit(base, dtype, tmp_path):
    start = {name: tensor.to(dtype) for name, tensor in base.items()}
    wanted = {name: tensor.to(dtype) for name, tensor in changed(base).items()}
    wanted["encoder.layer.1.output.dense.bias"][0] = torch.nan
    wanted["encoder.layer.1.output.dense.bias"][1] = -0.0
    _difference.write(tmp_path, wanted, start)
    found = _difference.read(tmp_path, start)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name].view(torch.uint8), tensor.view(torch.uint8)), name
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(found.rows(name, 5, 23), wanted[name][5:23])


def test_what_did_not_change_takes_no_room(base, tmp_path):
    _difference.write(tmp_path, changed(base), base)
    stored = FileWeights(tmp_path / "difference.safetensors")
    assert all("layer.1." in name for name in stored)
    whole = sum(tensor.numel() * 4 for tensor in base.values())
    assert (tmp_path / "difference.safetensors").stat().st_size < whole / 2


@pytest.mark.long
def test_pieces_of_another_size_are_read_as_well(base, tmp_path, monkeypatch):
    wanted = changed(base, only="")
    _difference.write(tmp_path, wanted, base)
    monkeypatch.setattr(module, "PIECE", 77)
    found = _difference.read(tmp_path, base)
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_another_backbone_is_noticed(base, tmp_path):
    _difference.write(tmp_path, changed(base), base)
    other = {name: p.detach() for name, p in tiny_backbone(seed=1).encoder.named_parameters()}
    found = _difference.read(tmp_path, other)
    for name in ("encoder.layer.1.output.dense.weight", "encoder.layer.0.output.dense.weight"):
        with pytest.raises(BackboneMismatchError, match="difference from another backbone"):
            found[name]
    with pytest.raises(BackboneMismatchError, match="difference from another backbone"):
        _difference.read(tmp_path, dict(list(base.items())[1:]))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("xstilts.difference/1", "xstilts.difference/9", "of schema"),
        ('"rows"', '"lines"', "is broken"),
        ('"schema"', '"scheme"', "is broken"),
        ('"ends": [\n', '"ends": [\n 999999999,', "lacks a piece"),
    ],
)
def test_a_broken_difference_is_refused(base, tmp_path, old, new, words):
    _difference.write(tmp_path, changed(base, only=""), base)
    path = tmp_path / "difference.json"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(IntegrityError, match=words):
        dict(_difference.read(tmp_path, base))


@pytest.mark.long
def test_a_bomb_is_not_unpacked(base, tmp_path):
    """A stream that would inflate to a gigabyte is read as far as the tensor reaches."""
    name = "encoder.layer.1.output.dense.bias"
    _difference.write(tmp_path, changed(base), base)
    bomb = zlib.compress(b"\0" * 2**28, 9)
    stored = dict(FileWeights(tmp_path / "difference.safetensors"))
    stored[name + ".xor"] = torch.frombuffer(bytearray(bomb), dtype=torch.uint8)
    write_weights(tmp_path / "difference.safetensors", stored)
    path = tmp_path / "difference.json"
    config = json.loads(path.read_text())
    config["tensors"][name]["ends"] = [len(bomb)]
    path.write_text(json.dumps(config))
    with pytest.raises(IntegrityError):
        _difference.read(tmp_path, base)[name]
