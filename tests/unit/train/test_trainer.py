from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.toy import Toy, same, trainer, weights

from xstilts.config.progress import Progress
from xstilts.config.specs import TrainSpec
from xstilts.data.batching import (
    Padding,
    evaluation_batches,
    example_lengths,
    training_batches,
)
from xstilts.data.features import Features, Ragged, collate
from xstilts.errors import (
    InterruptedRunError,
    NotFiniteError,
    PreemptedError,
    TrainingError,
    UsageError,
)
from xstilts.train.optim import learning_rate, make_optimizer
from xstilts.train.processes import Processes


def test_every_example_once_an_epoch_and_orders_differ():
    lengths = np.random.default_rng(0).integers(3, 40, 103)
    epochs = [training_batches(lengths, 8, 4, seed=1, epoch=e) for e in (0, 0, 1)]
    for batches in epochs:
        assert sorted(np.concatenate(batches).tolist()) == list(range(103))
        assert sorted(len(b) for b in batches)[:2] == [7, 8]
    assert all(np.array_equal(a, b) for a, b in zip(epochs[0], epochs[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(epochs[0], epochs[2], strict=True))


def test_evaluation_keeps_the_budget():
    lengths = [5, 9, 9, 3, 12, 4]
    rows = Features(Ragged.of([[4] * n for n in lengths]), np.array([0, 1, 1, 2, 3, 4]), 5)
    assert example_lengths(rows).tolist() == [5, 9, 3, 12, 4]
    batches = evaluation_batches(rows, 20)
    # 12; 9 9; 5 4 3 (15 positions): 12 with 9 would be 24, 9 9 with 5 27
    assert [batch.tolist() for batch in batches] == [[4], [1, 2], [0, 5, 3]]


def test_a_large_batch_ends_before_padding_fills_it():
    lengths = [128] * 8 + [120] * 4 + [64] * 20 + [10]
    rows = Features(Ragged.of([[4] * n for n in lengths]), np.arange(33), 33)
    batches = evaluation_batches(rows, 100_000)
    # 12 x 128 = 1536 positions, 32 of them padding; a row of 64 more makes 96 of 1664: 5.8 %; the
    # next 160 of 1792: 8.9 %. Then 19 x 64 = 1216, and the row of 10 would waste 54 of 1280: 4.2 %.
    assert [len(batch) for batch in batches] == [13, 20]
    padding = Padding.of(collate(rows, batch, pad_id=1) for batch in batches)
    assert (padding.positions, padding.tokens) == (13 * 128 + 20 * 64, int(rows.lengths.sum()))
    assert padding.share == pytest.approx((96 + 54) / (1664 + 1280))
    assert sorted(np.concatenate(batches).tolist()) == list(range(33))


def test_rate_by_hand():
    spec = TrainSpec(lr=1.0, warmup=0.2)
    # ten steps, two of warm-up: 1/2, 1, then (10 - step) / 8
    got = [learning_rate(spec, step, 10) for step in range(10)]
    assert got == pytest.approx([0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert learning_rate(TrainSpec(lr=1.0, warmup=5, schedule="constant"), 4, 10) == 1.0


def test_optimizer_has_the_settings_given():
    model = Toy()
    spec = TrainSpec(adam_eps=1e-5, adam_beta1=0.8, adam_beta2=0.95, weight_decay=0.3)
    optimizer = make_optimizer(dict(model.named_parameters()), spec)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    assert all(g["eps"] == 1e-5 and g["betas"] == (0.8, 0.95) for g in optimizer.param_groups)
    assert [p.ndim for p in optimizer.param_groups[1]["params"]] == [1]


def test_accumulation_equals_the_whole_batch(tmp_path):
    results = []
    for number, cut in enumerate(({}, {"accumulation": 4}, {"micro_tokens": 30})):
        model = Toy(dropout=0.0)
        trainer(tmp_path / str(number), model, **cut).run()
        results.append(weights(model))
    for cut in results[1:]:
        for name in results[0]:
            assert torch.allclose(results[0][name], cut[name], atol=1e-5)


def test_best_weights_come_back_and_patience_stops(tmp_path):
    scores = iter([1.0, 3.0, 2.0, 3.0, 0.0, 0.0])
    seen = []
    model = Toy()

    def evaluate(_between):
        seen.append(weights(model))
        return {"toy": next(scores)}

    result = trainer(tmp_path, model, evaluate, epochs=6, patience=2).run()
    assert result.stopped_early
    assert result.best_score == 3.0
    assert result.best_step == 2 * 9
    assert same(weights(model), seen[1])
    looks = [json.loads(x) for x in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [x["dev_score"] for x in looks if "dev_score" in x] == [1.0, 3.0, 2.0, 3.0]


def test_the_dev_score_is_that_of_the_weights_that_are_kept(tmp_path):
    found = {}
    for select in ("best", "last", "average"):
        scores = iter([90.0, 10.0, 20.0, 70.0])
        found[select] = trainer(
            tmp_path / select, Toy(), lambda _between, s=scores: {"toy": next(s)}, select=select
        ).run()
    assert {name: one.best_step for name, one in found.items()} == {
        "best": 9,
        "last": 27,
        "average": 27,
    }
    # the mean of the three is evaluated once more
    assert {name: one.best_score for name, one in found.items()} == {
        "best": 90.0,
        "last": 20.0,
        "average": 70.0,
    }


def test_the_lowest_score_is_best_where_the_metric_says_so(tmp_path):
    scores, seen = iter([30.0, 10.0, 20.0, 15.0]), []
    made = trainer(tmp_path, model := Toy(), epochs=6, patience=2)
    made.lower_is_better = ["toy"]
    made.evaluate = lambda _between: seen.append(weights(model)) or {"toy": next(scores)}
    result = made.run()
    assert (result.best_step, result.best_score, result.stopped_early) == (18, 10.0, True)
    assert same(weights(model), seen[1])
    records = [json.loads(x) for x in (tmp_path / "history.jsonl").read_text().splitlines()]
    shown = [x["dev_score"] for x in records if "dev_score" in x]
    assert shown == [30.0, 10.0, 20.0, 15.0]


@pytest.mark.parametrize("select", ["best", "last", "average"])
def test_a_finished_run_that_goes_on_says_the_same_dev_score(select, tmp_path):
    model, again = Toy(), Toy()
    result = trainer(tmp_path, model, dev_evaluation(model), select=select).run()
    assert trainer(tmp_path, again, dev_evaluation(again), select=select).run() == result
    assert same(weights(again), weights(model))


def test_interrupt_checkpoints_and_resume_is_bit_equal(tmp_path):
    whole = Toy()
    trainer(tmp_path / "whole", whole).run()

    model = Toy()
    run = trainer(tmp_path / "cut", model)
    forward = model.forward

    def interrupting(batch, task):
        if run.position.step == 12:
            os.kill(os.getpid(), signal.SIGINT)
        return forward(batch, task)

    model.forward = interrupting
    with pytest.raises(InterruptedRunError, match="step 13"):
        run.run()
    again = Toy()
    trainer(tmp_path / "cut", again).run()
    assert same(weights(again), weights(whole))


def lines(folder):
    """The history without its times."""
    records = [json.loads(x) for x in (folder / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "time"} for record in records]


def dev_evaluation(model, interrupt=lambda number, share: None):
    """Two batches whose score depends on the weights, so that the best step does."""
    calls = []

    def evaluate(between):
        calls.append(len(calls))
        for share in (0.5, 1.0):
            interrupt(len(calls), share)
            between(share)
        return {"toy": float(model.table.detach().sum())}

    return evaluate


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("evaluation", [1, 2, 3])
@pytest.mark.parametrize("settings", [{}, {"patience": 1}, {"select": "average"}])
def test_interrupt_in_a_dev_evaluation_and_resume_is_bit_equal(
    settings, evaluation, kind, tmp_path
):
    whole = Toy()
    expected = trainer(tmp_path / "whole", whole, dev_evaluation(whole), **settings).run()
    evaluation = min(evaluation, expected.steps // 9)  # the one in which patience runs out

    def stop(number, share):
        if number == evaluation and share == 0.5:
            os.kill(os.getpid(), kind)

    model = Toy()
    error = {signal.SIGINT: InterruptedRunError, signal.SIGTERM: PreemptedError}[kind]
    with pytest.raises(error, match=f"step {9 * evaluation}, checkpoint written"):
        trainer(tmp_path / "cut", model, dev_evaluation(model, stop), **settings).run()
    again = Toy()
    steps = []
    forward = again.forward
    again.forward = lambda *a: steps.append(1) or forward(*a)
    assert trainer(tmp_path / "cut", again, dev_evaluation(again), **settings).run() == expected
    assert same(weights(again), weights(whole))
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    assert len(steps) == expected.steps - 9 * evaluation, "no step is done twice"


def test_an_interrupt_without_a_command_says_how_to_go_on(tmp_path):
    model = Toy()
    stop = lambda number, share: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
    with pytest.raises(InterruptedRunError) as caught:
        trainer(tmp_path, model, dev_evaluation(model, stop)).run()
    assert caught.value.hint == "The same command goes on from there."


def test_a_dev_evaluation_shows_its_progress(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(Progress, "__call__", lambda self, text, share: shown.append((text, share)))
    model = Toy()
    trainer(tmp_path, model, dev_evaluation(model)).run()
    assert shown[:2] == [
        ("step 9/27  dev evaluation 50%", 9 / 27),
        ("step 9/27  dev evaluation 100%", 9 / 27),
    ]
    shown.clear()
    run = trainer(tmp_path / "costly", model := Toy(), dev_evaluation(model))
    run.dev_steps = 3.0  # each of the three evaluations takes as long as three of the 27 steps
    run.run()
    shares = [share for _, share in shown]
    assert shares == pytest.approx([(9 + part) / 36 for part in (1.5, 3, 13.5, 15, 25.5, 27)])


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_stops_training_at_its_step(where, clip, tmp_path):
    model = Toy()
    run = trainer(tmp_path, model, clip=clip)
    forward, before = model.forward, {}

    def diverging(batch, task):
        losses = forward(batch, task)
        if run.position.step < 6:
            return losses
        before.update(weights(model))
        if where == "loss":
            return losses * float("nan")
        # finite, and its derivative is not: the root at zero
        return losses + torch.sqrt(losses - losses.detach())

    model.forward = diverging
    with pytest.raises(TrainingError, match=f"step 7 of 27.*{where}") as caught:
        run.run()
    assert "learning rate 0.0" in caught.value.where
    assert "train.lr" in caught.value.hint
    assert same(weights(model), before)
    assert sorted(p.name for p in tmp_path.glob("checkpoint-*")) == ["checkpoint-00000005"]


def test_weights_that_the_last_update_spoils_are_not_kept(tmp_path):
    model = Toy()
    run = trainer(tmp_path, model, max_steps=1)

    def spoil():
        with torch.no_grad():
            model.out.bias.fill_(float("inf"))

    run.optimizer.register_step_post_hook(lambda *_: spoil())
    with pytest.raises(TrainingError, match=r"out\.bias is not finite after step 1"):
        run.run()


def test_a_dev_evaluation_that_is_not_finite_names_its_step(tmp_path):
    def evaluate(_between):
        raise NotFiniteError("the model's scores are NaN or infinite", where="a batch of 2 rows")

    with pytest.raises(
        TrainingError, match="diverged by step 9 of 27: the model's scores"
    ) as found:
        trainer(tmp_path, Toy(), evaluate).run()
    assert "a batch of 2 rows" in found.value.where
    assert "train.lr" in found.value.hint


def test_checkpoint_of_another_run_is_refused(tmp_path):
    trainer(tmp_path).run()
    other = trainer(tmp_path)
    other.run_key = "y"
    with pytest.raises(UsageError, match="other settings"):
        other.run()


SCRIPT = """
    import sys, time
    sys.path.insert(0, {here!r})
    from pathlib import Path
    from safetensors.torch import save_file
    from support import toy
    model = toy.Toy()
    forward = model.forward
    def slow(batch, task):
        time.sleep({pause})
        return forward(batch, task)
    model.forward = slow
    toy.trainer(Path(sys.argv[1]), model, epochs=6, checkpoint_every=1).run()
    save_file(toy.weights(model), sys.argv[2])
"""


def run_killed(folder, kills, pause=0.01):
    """Start the training, kill it some time after its first checkpoint, and finish it."""
    script = textwrap.dedent(SCRIPT.format(here=str(Path(__file__).parents[2]), pause=pause))
    command = [sys.executable, "-c", script, str(folder / "run"), str(folder / "out")]
    draw = np.random.default_rng(kills)
    for _ in range(kills):
        process = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while not list((folder / "run").glob("checkpoint-*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(float(draw.uniform(0, 0.6)))
        process.kill()
        process.wait()
    subprocess.run(command, check=True)
    return load_file(folder / "out")


KILLED_EVALUATION = """
    import os, signal, sys
    sys.path.insert(0, {here!r})
    from pathlib import Path
    from safetensors.torch import save_file
    from support import toy
    model = toy.Toy()
    def evaluate(between):
        between(0.5)
        marker = Path(sys.argv[1]) / f"killed-{{step.position.step}}"
        if sys.argv[3] == "kill" and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {{"toy": float(model.table.detach().sum())}}
    step = toy.trainer(Path(sys.argv[1]), model, evaluate)
    step.run()
    save_file(toy.weights(model), sys.argv[2])
"""


@pytest.mark.long
def test_kill_9_in_each_dev_evaluation_and_resume_is_bit_equal(tmp_path):
    script = textwrap.dedent(KILLED_EVALUATION.format(here=str(Path(__file__).parents[2])))
    command = [sys.executable, "-c", script]
    subprocess.run([*command, str(tmp_path / "a"), str(tmp_path / "whole"), "go"], check=True)
    killed = [*command, str(tmp_path / "b"), str(tmp_path / "out"), "kill"]
    codes = [subprocess.run(killed, check=False).returncode for _ in range(4)]
    assert codes == [-signal.SIGKILL] * 3 + [0]
    assert same(load_file(tmp_path / "out"), load_file(tmp_path / "whole"))
    assert lines(tmp_path / "b") == lines(tmp_path / "a")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_kill_9_and_resume_is_bit_equal(number, tmp_path):
    whole = Toy()
    trainer(tmp_path / "whole", whole, epochs=6, checkpoint_every=1).run()
    assert same(run_killed(tmp_path, kills=number + 1), weights(whole))


def test_trainings_of_one_process_may_differ_in_precision():
    square = torch.ones(2, 2)
    cpu = torch.device("cpu")
    both = [Processes(precision, cpu) for precision in ("bf16", "fp32", "bf16")]
    for processes, kind in zip(both, (torch.bfloat16, torch.float32, torch.bfloat16), strict=True):
        with processes.autocast():
            assert (square @ square).dtype == kind
    assert (square @ square).dtype == torch.float32


@pytest.mark.parametrize(
    ("earlier", "now"), [("cuda:0", "cpu"), ("cpu", "cuda:0"), ("cuda:0", "cuda:1")]
)
def test_a_training_is_on_its_own_device_whatever_trained_before(earlier, now, monkeypatch):
    from accelerate import PartialState

    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    Processes("fp32", torch.device("cpu"))
    monkeypatch.setitem(PartialState._shared_state, "device", torch.device(earlier))
    assert Processes("fp32", torch.device(now)).device == torch.device(now)
