"""Full fine-tuning of the words that occur gives what training the whole table gives."""

from __future__ import annotations

import json
import signal

import pytest
import torch
from safetensors.torch import load_file
from support.files import write
from support.trained import backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.config.run import resolve_run
from xstilts.errors import PreemptedError, UsageError
from xstilts.train import seen_words
from xstilts.train.run import resolve_phase, train_phase
from xstilts.train.trainer import Trainer
from xstilts.zoo import Zoo
from xstilts.zoo.workspace import Workspace

TABLE = "embeddings.word_embeddings.weight"
LABELS = ("entailment", "neutral", "contradiction")
SETTINGS = ("max_steps=20", "batch_size=4", "lr=0.01", "weight_decay=0.5", "eval_every=6")


def rows(texts, count):
    values = [(number, LABELS[number % 3], texts[number % len(texts)]) for number in range(count)]
    return "".join(
        json.dumps(
            {"pairID": str(n), "gold_label": label, "sentence1": text, "sentence2": text[:5]}
        )
        + "\n"
        for n, label, text in values
    )


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seen")
    train = rows(["a man runs home", "a man", "runs home runs"], 24)
    dev = rows(["somebody moves quickly", "where does the man run ?"], 12)
    names = ("train", "dev")
    write(folder, {f"snli/snli_1.0_{n}.jsonl": t for n, t in zip(names, (train, dev), strict=True)})
    return folder, Backbone.load(str(backbone_folder(folder / "tiny")), offline=True)


def phase_of(encoder, folder, *settings):
    data, backbone = encoder
    workspace = Workspace(data, Zoo(folder / "zoo"), folder / "runs", None, quiet=True)
    given = [f"train.{one}" for one in (*SETTINGS, *settings)]
    run = resolve_run("snli", {"method": "full"}, given, None, "x").value
    return resolve_phase("snli", run, backbone, workspace)


def trained(encoder, folder, *settings):
    entry = train_phase(phase_of(encoder, folder, *settings))
    return entry.manifest, load_file(entry.folder / "model.safetensors")


def only_seen(monkeypatch):
    """Let a tiny table count as a large one; the rows that trained, run by run."""
    monkeypatch.setattr(seen_words, "MIN_WORDS", 10)
    made = []
    whole = seen_words.SeenWords.__init__

    def note(self, *given):
        whole(self, *given)
        made.append(self)

    monkeypatch.setattr(seen_words.SeenWords, "__init__", note)
    return made


def stopped(encoder, folder, monkeypatch):
    """Train one step, and keep a checkpoint."""
    step = Trainer._step

    def stop(self, **given):
        result = step(self, **given)
        signal.raise_signal(signal.SIGTERM)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stop)
        with pytest.raises(PreemptedError):
            trained(encoder, folder)


@pytest.mark.long
@pytest.mark.parametrize("select", ["best", "none"])
def test_equal_to_training_the_whole_table(encoder, tmp_path, monkeypatch, select):
    manifest, whole = trained(encoder, tmp_path / "whole", f"select={select}")
    made = only_seen(monkeypatch)
    own, seen = trained(encoder, tmp_path / "seen", f"select={select}")
    assert len(made) == 1
    assert 2 * len(made[0].ids) < len(whole[TABLE])
    assert own.run == manifest.run
    assert own.training["kept_step"] == manifest.training["kept_step"]
    assert seen.keys() == whole.keys()
    before = encoder[1].word_embeddings.weight
    for name, tensor in whole.items():
        assert torch.allclose(seen[name], tensor, atol=2e-6, rtol=2e-6), name
    others = torch.ones(len(before), dtype=torch.bool)
    others[made[0].ids] = False
    assert (whole[TABLE][others] - before[others]).abs().max() > 1e-4  # these decayed
    assert (whole[TABLE][~others] - before[~others]).abs().max() > 1e-2  # and these learned


@pytest.mark.long
def test_a_run_that_was_stopped_ends_with_the_same_bits(encoder, tmp_path, monkeypatch):
    only_seen(monkeypatch)
    _, whole = trained(encoder, tmp_path / "whole")
    step = Trainer._step

    def stop_at_nine(self, **given):
        result = step(self, **given)
        if self.position.step == 9:
            signal.raise_signal(signal.SIGTERM)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stop_at_nine)
        with pytest.raises(PreemptedError):
            trained(encoder, tmp_path / "cut")
    assert "forward" not in vars(encoder[1].word_embeddings)
    _, again = trained(encoder, tmp_path / "cut")
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())


def test_a_run_that_began_with_the_whole_table_ends_with_it(encoder, tmp_path, monkeypatch):
    stopped(encoder, tmp_path, monkeypatch)
    made = only_seen(monkeypatch)
    trained(encoder, tmp_path)
    assert made == []


def test_a_run_that_began_with_the_seen_words_is_not_thrown_away(encoder, tmp_path, monkeypatch):
    only_seen(monkeypatch)
    stopped(encoder, tmp_path, monkeypatch)
    with pytest.raises(UsageError, match="other weights than it trains now") as caught:
        trained(encoder, tmp_path, "shard=true")
    assert "train.shard" in caught.value.hint
    assert len(list(tmp_path.glob("runs/*/checkpoint-*"))) == 1
    trained(encoder, tmp_path)


@pytest.mark.parametrize("setting", ["save_every=5", "select=average"])
def test_the_whole_table_trains_where_weights_are_kept_along_the_way(
    encoder, tmp_path, monkeypatch, setting
):
    made = only_seen(monkeypatch)
    trained(encoder, tmp_path, setting)
    assert made == []
