"""Retrieval tasks with vectors made by hand, and vectors kept on disk."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from support.models import tiny_backbone, tokens

from xstilts.composition.load import LoadedExpression
from xstilts.composition.predict import embed
from xstilts.composition.task_model import TaskModel
from xstilts.config.progress import silent
from xstilts.data.examples import Example
from xstilts.data.features import Features, Ragged
from xstilts.data.pairs import BitextPair
from xstilts.errors import IntegrityError, UsageError
from xstilts.evaluate.retrieval.task import retrieve
from xstilts.evaluate.retrieval.vectors import SentenceVectors, VectorStore
from xstilts.tasks.formats.retrieval import Options

COMPASS = {"east": (1.0, 0.0), "north": (0.0, 1.0), "west": (-1.0, 0.0), "north-east": (0.6, 0.8)}


def rows(prefix: str, *texts: str, language: str = "de") -> list[Example]:
    return [Example(f"{prefix}-{n}", language, {"text": t}) for n, t in enumerate(texts)]


def hand(examples):
    return np.array([COMPASS[example.fields["text"]] for example in examples], np.float32)


def run(metric, pair, dev=None, **settings):
    return retrieve(metric, pair, dev, hand, Options(**settings), "de", silent)


def test_tatoeba_queries_are_the_sorted_pivot_lines():
    # Pivot lines by code point: east, north, west; their originals are lines 1, 2, 0.
    pair = BitextPair(
        rows("de", "east", "east", "north"),
        rows("en", "west", "east", "north", language="en"),
        [(0, 0), (1, 1), (2, 2)],
    )
    done = run("tatoeba", pair)
    # east finds the first of two equal sentences (0, gold is 1), north finds 2, west is nearest to
    # north (cosine 0 against -1), gold is 0.
    assert done.text == "0\n2\n2\n"
    assert done.scores == {"accuracy": pytest.approx(100 / 3)}
    assert done.n == 3


def test_mining_tunes_its_threshold_on_dev_and_applies_it_to_test():
    dev = BitextPair(
        rows("de", "east", "north-east"), rows("en", "east", "north", language="en"), [(0, 0)]
    )
    # One neighbour: the mean of a sentence is its best cosine. Ratios: (0, 0) 1/1 = 1 and
    # (1, 1) .8/.8 = 1, a tie; with margin absolute 1 and .8: after the first F1 is 1, so the
    # threshold is .9.
    test = BitextPair(
        rows("de", "west", "north-east", "east"),
        rows("en", "east", "north", language="en"),
        [(2, 0), (1, 1)],
    )
    done = run("bucc", test, dev, neighbours=1, margin="absolute")
    assert done.scores["threshold"] == pytest.approx(0.9)
    assert done.scores["validation_f1"] == 100.0
    # Test pairs by cosine: (2, 0) 1.0 and (1, 1) .8, which is below .9: P 1, R 1/2.
    assert done.text == "de-2\ten-0\n"
    assert done.scores["f1"] == pytest.approx(200 / 3)
    fixed = run("bucc", test, dev, neighbours=1, margin="absolute", threshold=0.5)
    assert fixed.text == "de-2\ten-0\nde-1\ten-1\n"
    assert "validation_f1" not in fixed.scores
    part = run("bucc", test, dev, neighbours=1, margin="absolute", threshold=0.5, index="hnsw")
    assert (part.text, part.scores["index_recall"]) == (fixed.text, 100.0)
    assert "index_recall" not in fixed.scores
    own = run("bucc", dev, None, neighbours=1, margin="absolute")
    assert own.scores["f1"] == 100.0
    assert own.n == 1


def test_ranking_gives_average_precision():
    pair = BitextPair(
        rows("q", "east", "north"),
        rows("c", "north-east", "west", "east", "north"),
        [(0, 0), (0, 2), (1, 1)],
    )
    # Query east: 2 (1.0), 0 (.6), 3 (0), 1 (-1): hits at 1 and 2: (1 + 1) / 2 = 1.
    # Query north: 3, 0, then 1 and 2 with cosine 0: gold 1 at rank 3, 1/3.
    done = run("ap_at_k", pair)
    assert done.scores == {"map": pytest.approx(200 / 3)}
    assert json.loads(done.text)["q-0"] == ["c-2", "c-0", "c-3", "c-1"]
    assert run("ap_at_k", pair, depth=2).scores == {"map": pytest.approx(50.0)}


def test_another_metric_is_refused():
    with pytest.raises(UsageError, match="scores no retrieval"):
        run("accuracy", BitextPair([], [], []))


# ---------------------------------------------------------------------------------------- vectors


def some_features(count: int = 5, seed: int = 3) -> Features:
    ids, mask = tokens(count, 11, seed)
    ragged = Ragged.of([row[m == 1].tolist() for row, m in zip(ids, mask, strict=True)])
    return Features(ragged, np.arange(count), count)


@pytest.fixture
def backbone():
    class Tokenizer:
        pad_token_id = 1

    return tiny_backbone(tokenizer=Tokenizer())


def loaded(name: str = "") -> LoadedExpression:
    from xstilts.composition.compose import ComposedModules

    return LoadedExpression("none", ComposedModules({}, {}), (), (), name, name)


def counting(backbone):
    """Rows that the encoder's embeddings have seen."""
    seen = []
    backbone.encoder.embeddings.register_forward_hook(lambda m, i, out: seen.append(out.shape[0]))
    return seen


def test_vectors_are_those_of_a_plain_pass_and_computed_once(backbone, tmp_path):
    features = some_features()
    plain = embed(TaskModel(backbone, None, {}), features, [1, 2], "mean")
    seen = counting(backbone)
    vectors = SentenceVectors(backbone, tmp_path)
    found = vectors.of(loaded(), features, 2, "mean", silent, layers=[1])
    assert np.allclose(found, plain[2], atol=1e-6)
    assert sum(seen) == 5
    again = SentenceVectors(backbone, tmp_path).of(loaded(), features, 1, "mean", silent)
    assert np.allclose(again, plain[1], atol=1e-6)
    assert sum(seen) == 5  # the one pass kept both blocks
    vectors.of(loaded("other"), features, 2, "mean", silent)
    vectors.of(loaded(), features, 2, "cls", silent)
    assert sum(seen) == 15  # other modules and other pooling are other vectors


def test_half_precision_vectors_are_near_and_kept_apart(backbone, tmp_path):
    features = some_features()
    full = SentenceVectors(backbone, tmp_path).of(loaded(), features, 2, "mean", silent)
    seen = counting(backbone)
    half = SentenceVectors(backbone, tmp_path, "bf16")
    with torch.autocast("cpu", torch.bfloat16):
        found = half.of(loaded(), features, 2, "mean", silent)
    assert sum(seen) == 5
    assert not np.array_equal(found, full)
    assert np.allclose(found, full, atol=0.05)  # bfloat16 has 8 bits: steps of 1/128 around 1


def test_only_new_sentences_are_computed_and_repeated_ones_once(backbone, tmp_path):
    vectors = SentenceVectors(backbone, tmp_path)
    features = some_features()
    plain = vectors.of(loaded(), features.take([0, 1, 1, 0]), 2, "mean", silent)
    seen = counting(backbone)
    found = vectors.of(loaded(), features, 2, "mean", silent)
    assert sum(seen) == 3
    assert np.array_equal(plain, found[[0, 1, 1, 0]])


def test_without_a_cache_nothing_is_kept(backbone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    features = some_features()
    plain = embed(TaskModel(backbone, None, {}), features, [2], "cls")
    found = SentenceVectors(backbone, None).of(loaded(), features, 2, "cls", silent)
    assert np.array_equal(found, plain[2])
    assert not list(tmp_path.iterdir())


def test_a_broken_shard_is_named(tmp_path):
    store = VectorStore(tmp_path)
    store.add([b"0" * 16], np.ones((1, 4), np.float32))
    assert np.array_equal(VectorStore(tmp_path).take([b"0" * 16]), np.ones((1, 4)))
    shard = next(tmp_path.iterdir())
    (shard / "vectors.npy").write_bytes((shard / "vectors.npy").read_bytes()[:-4])
    with pytest.raises(IntegrityError, match="shard") as caught:
        VectorStore(tmp_path)
    assert caught.value.where == str(shard)


@pytest.mark.parametrize("name", ["keys.npy", "vectors.npy", ""])
@pytest.mark.parametrize("content", [b"", b"\0" * 300, b"PK\x03\x04", None])
def test_a_damaged_shard_is_computed_again_with_a_word(name, content, backbone, tmp_path, capsys):
    features = some_features()
    plain = SentenceVectors(backbone, tmp_path).of(loaded(), features, 2, "mean", silent)
    shard = next(tmp_path.rglob("keys.npy")).parent
    if name == "":
        shutil.rmtree(shard)
        shard.write_bytes(content or b"x")
    elif content is None:
        (shard / name).unlink()
    else:
        (shard / name).write_bytes(content)
    again = SentenceVectors(backbone, tmp_path).of(loaded(), features, 2, "mean", silent)
    assert np.array_equal(again, plain)
    assert f"broken: {shard}" in capsys.readouterr().err
    assert sorted(path.name for path in shard.iterdir()) == ["keys.npy", "vectors.npy"]


def test_no_block_above_the_deepest_asked_one_runs(backbone, tmp_path):
    ran = []
    for number, block in enumerate(backbone.blocks):
        block.register_forward_hook(lambda m, i, out, number=number: ran.append(number))
    with torch.inference_mode():
        SentenceVectors(backbone, tmp_path).of(
            loaded(), some_features(), 1, "mean", silent, layers=[2]
        )
    assert set(ran) == {0, 1}
