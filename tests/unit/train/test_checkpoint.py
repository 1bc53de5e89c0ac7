"""A run whose files were damaged goes on from what is whole, and ends as if nothing had been."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.toy import Toy, same, trainer, weights

from xstilts.config.specs import TrainSpec
from xstilts.errors import IntegrityError, UsageError
from xstilts.files import sha256_file
from xstilts.train import checkpoint
from xstilts.train.checkpoint import Position
from xstilts.train.optim import make_optimizer

SETTINGS = {
    "best": {"select": "best", "eval_every": 4},
    "average": {"select": "average", "eval_every": 4},
    "snapshots": {"select": "last", "save_every": 4},
}
STOP = 14
"""Step after which the first run ends; its checkpoints are of steps 12 and 14 with `best`."""


def scored(model):
    def evaluate(between):
        between(1.0)
        return {"toy": float(model.table.detach().sum())}

    return evaluate


def run(folder, settings, stop=0):
    """Train in a folder, up to the end or until it is interrupted after `stop` steps."""
    model = Toy()
    made = trainer(folder, model, scored(model), checkpoint_every=2, max_steps=20, **settings)
    made.quiet = False
    if stop:
        forward = model.forward

        def interrupted(batch, task):
            if made.position.step == stop:
                raise KeyboardInterrupt
            return forward(batch, task)

        model.forward = interrupted
        with pytest.raises(KeyboardInterrupt):
            made.run()
        return weights(model), None
    result = made.run()
    return weights(model), result


def truncate(path):
    path.write_bytes(path.read_bytes()[:-9])


def empty(path):
    path.write_bytes(b"")


def zeros(path):
    """The same header, and nothing written after it, as a crash of the machine leaves it."""
    data = path.read_bytes()
    keep = 8 + int.from_bytes(data[:8], "little") if path.suffix == ".safetensors" else 0
    path.write_bytes(data[:keep] + bytes(len(data) - keep))


def foreign(path):
    path.write_bytes(b"#!/bin/sh\nexit 0\n" * 40)


def tensors(change):
    def damage(path):
        state = load_file(path)
        change(state)
        (path.parent / "sha256.json").unlink()  # as an older version left it
        save_file(state, path)

    return damage


@tensors
def nan(state):
    state[min(state)].view(-1)[0] = float("nan")


@tensors
def other_shape(state):
    state[max(state)] = torch.zeros(3, 5)


@tensors
def other_names(state):
    state["else"] = state.pop(max(state))


@tensors
def fewer(state):
    del state[max(state)]


def missing(path):
    path.unlink()


DAMAGES = [truncate, empty, zeros, foreign, missing]
TENSORS = [nan, other_shape, other_names]


def newest(folder, kind):
    return sorted(folder.glob(f"{kind}-*"))[-1]


@pytest.mark.long
@pytest.mark.parametrize("damage", [*DAMAGES, *TENSORS, fewer], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ("best", "checkpoint"),
        ("best", "best"),
        ("average", "mean"),
        ("snapshots", "step"),
        ("snapshots", "checkpoint"),
    ],
)
def test_damaged_weights_are_left_behind(settings, kind, damage, tmp_path, capsys):
    expected = run(tmp_path / "whole", SETTINGS[settings])
    folder = tmp_path / "cut"
    run(folder, SETTINGS[settings], STOP)
    corrupted = newest(folder, kind)
    damage(corrupted / "weights.safetensors")
    capsys.readouterr()
    found = run(folder, SETTINGS[settings])
    said = capsys.readouterr().err
    assert f"damaged and removed: {corrupted.name}: " in said
    assert "goes on after step" in said or "begins anew" in said
    assert same(found[0], expected[0])
    assert found[1] == expected[1]
    if kind == "step":
        kept = [load_file(f / "weights.safetensors") for f in sorted(folder.glob("step-*"))]
        whole = [
            load_file(f / "weights.safetensors") for f in sorted(tmp_path.glob("whole/step-*"))
        ]
        assert len(kept) == len(whole) == 6
        assert all(same(a, b) for a, b in zip(kept, whole, strict=True))


@pytest.mark.parametrize("damage", [*DAMAGES, *TENSORS], ids=lambda f: f.__name__)
def test_a_damaged_optimiser_is_left_behind(damage, tmp_path, capsys):
    expected = run(tmp_path / "whole", SETTINGS["best"])
    run(tmp_path / "cut", SETTINGS["best"], STOP)
    damage(newest(tmp_path / "cut", "checkpoint") / "optimizer.safetensors")
    capsys.readouterr()
    assert same(run(tmp_path / "cut", SETTINGS["best"])[0], expected[0])
    assert "training goes on after step 12" in capsys.readouterr().err


POSITIONS = {
    "no JSON": lambda text: text[:-20],
    "a list": lambda _text: "[]",
    "null": lambda _text: "null",
    "nothing": lambda _text: "",
    "no run key": lambda text: text.replace('"run_key"', '"ran_key"'),
    "a step in words": lambda text: text.replace('"step": 14', '"step": "many"'),
    "another step": lambda text: text.replace('"step": 14', '"step": 13'),
    "parts of nothing": lambda text: text.replace('"parts": {}', '"parts": {"toy": null}'),
    "bytes": lambda _text: "\udcff\udcfe",
}


@pytest.mark.long
@pytest.mark.parametrize("name", POSITIONS)
def test_a_damaged_position_is_left_behind(name, tmp_path, capsys):
    expected = run(tmp_path / "whole", SETTINGS["best"])
    run(tmp_path / "cut", SETTINGS["best"], STOP)
    path = newest(tmp_path / "cut", "checkpoint") / "position.json"
    before = path.read_text()
    path.write_text(POSITIONS[name](before), errors="surrogateescape")
    assert path.read_bytes() != before.encode()
    found = run(tmp_path / "cut", SETTINGS["best"])
    assert same(found[0], expected[0])
    assert "damaged and removed: checkpoint-00000014: position.json" in capsys.readouterr().err


def test_when_nothing_is_whole_the_run_begins_anew(tmp_path, capsys):
    expected = run(tmp_path / "whole", SETTINGS["best"])
    run(tmp_path / "cut", SETTINGS["best"], STOP)
    for folder in tmp_path.glob("cut/checkpoint-*"):
        empty(folder / "weights.safetensors")
    assert same(run(tmp_path / "cut", SETTINGS["best"])[0], expected[0])
    said = capsys.readouterr().err
    assert said.count("damaged and removed") == 2
    assert "begins anew" in said


def test_a_missing_best_folder_sends_the_run_back(tmp_path):
    expected = run(tmp_path / "whole", SETTINGS["best"])
    run(tmp_path / "cut", SETTINGS["best"], STOP)
    best = newest(tmp_path / "cut", "best")
    best.rename(best.with_name(f".{best.name}.half"))  # a rename that was cut off
    found = run(tmp_path / "cut", SETTINGS["best"])
    assert same(found[0], expected[0])
    assert found[1] == expected[1]


def test_weights_that_vanish_while_the_run_goes_on_are_named(tmp_path):
    model = Toy()
    made = trainer(tmp_path, model, scored(model), max_steps=20, eval_every=4)
    forward = model.forward

    def vanishing(batch, task):
        if made.position.step == 19:
            for best in tmp_path.glob("best-*"):
                empty(best / "weights.safetensors")
        return forward(batch, task)

    model.forward = vanishing
    with pytest.raises(IntegrityError, match=r"kept are damaged: weights\.safetensors is broken"):
        made.run()
    assert trainer(tmp_path, Toy(), scored(model), max_steps=20, eval_every=4).run().steps == 20


@pytest.mark.parametrize("left", [0, 100, 250])
def test_a_history_that_lost_its_end_holds_whole_lines_only(left, tmp_path):
    run(tmp_path, SETTINGS["best"], STOP)
    path = tmp_path / "history.jsonl"
    path.write_bytes(path.read_bytes()[:left])
    run(tmp_path, SETTINGS["best"])
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert records[-1]["step"] == 20


def test_a_checkpoint_of_another_run_is_never_removed(tmp_path):
    run(tmp_path, SETTINGS["best"], STOP)
    other = trainer(tmp_path, Toy(), max_steps=20)
    other.run_key = "y"
    with pytest.raises(UsageError, match="other settings"):
        other.run()
    assert len(list(tmp_path.glob("checkpoint-*"))) == 2


@pytest.mark.parametrize("name", ["weights", "optimizer"])
def test_an_undamaged_checkpoint_of_other_weights_is_never_removed(name, tmp_path):
    run(tmp_path, SETTINGS["best"], STOP)
    path = newest(tmp_path, "checkpoint") / f"{name}.safetensors"
    state = load_file(path)
    state["other.weight|exp_avg"] = torch.ones(3)
    save_file(state, path)
    sums = json.loads((path.parent / "sha256.json").read_text())
    sums[path.name] = sha256_file(path)
    (path.parent / "sha256.json").write_text(json.dumps(sums))
    with pytest.raises(UsageError, match="other weights than it trains now") as caught:
        run(tmp_path, SETTINGS["best"])
    assert "train.shard" in caught.value.hint
    assert len(list(tmp_path.glob("checkpoint-*"))) == 2


def test_a_checkpoint_that_may_not_be_read_is_an_error_and_stays(tmp_path, monkeypatch):
    run(tmp_path, SETTINGS["best"], STOP)

    def denied(*_arguments):
        raise PermissionError(13, "Permission denied", "weights.safetensors")

    monkeypatch.setattr("xstilts.train.checkpoint.load_file", denied)
    with pytest.raises(PermissionError):
        run(tmp_path, SETTINGS["best"])
    assert len(list(tmp_path.glob("checkpoint-*"))) == 2


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_an_optimiser_goes_on_on_the_device_of_its_parameters(device, tmp_path):
    kept = {f"w|{name}": torch.ones(2, 3) for name in ("exp_avg", "exp_avg_sq")}
    kept["w|step"] = torch.tensor(7.0)
    checkpoint.save(tmp_path, Position(run_key="x"), {"w": torch.ones(2, 3)}, kept)
    parameters = {"w": torch.nn.Parameter(torch.zeros(2, 3, device=device))}
    optimizer = make_optimizer(parameters, TrainSpec())
    checkpoint.restore(tmp_path, "x", parameters, optimizer)
    state = optimizer.state[parameters["w"]]
    assert {name: value.device.type for name, value in state.items()} == {
        "exp_avg": device,
        "exp_avg_sq": device,
        "step": device,
    }
