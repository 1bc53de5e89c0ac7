from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import torch
from support.toy import TASK, Tokenizer, Toy, features, same, weights

from xstilts.config.run import resolve_run
from xstilts.config.specs import MixSpec, TrainSpec
from xstilts.errors import ConfigError, UsageError
from xstilts.tasks.formats import FORMATS
from xstilts.train.mixing import Mixture, TaskBatches, mixing_shares
from xstilts.train.optim import distance, make_optimizer
from xstilts.train.trainer import Trainer

SIZES = {"big": 900, "small": 100}


def mixture(sizes=None, mix=None, **settings):
    spec = TrainSpec(**{"lr": 0.01, "epochs": 2, "batch_size": 8, **settings})
    batches = {}
    for name, count in (sizes or {"a": 64, "b": 16}).items():
        task = TASK.model_copy(update={"name": name})
        batches[name] = TaskBatches(task, features(count), Tokenizer(), spec)
    return Mixture(batches, spec, mix)


@pytest.mark.parametrize(
    ("mix", "big", "small"),
    [
        (MixSpec(), 0.9, 0.1),
        (MixSpec(cap=100), 0.5, 0.5),
        (MixSpec(cap=300), 0.75, 0.25),
        (MixSpec(rule="uniform"), 0.5, 0.5),
        # square roots: 30 and 10
        (MixSpec(rule="temperature", temperature=2), 0.75, 0.25),
        (MixSpec(rule="fixed", shares={"big": 0.2, "small": 0.8}), 0.2, 0.8),
        (MixSpec(beside={"small": 0.3}), 0.7, 0.3),
    ],
)
def test_shares_by_hand(mix, big, small):
    assert mixing_shares(SIZES, mix) == pytest.approx({"big": big, "small": small})


def test_a_low_temperature_leaves_everything_to_the_largest():
    shares = {t: mixing_shares(SIZES, MixSpec(rule="temperature", temperature=t)) for t in (1, 2)}
    # the usual arithmetic, to the last bit
    for temperature, found in shares.items():
        weights = {name: size ** (1 / temperature) for name, size in SIZES.items()}
        total = sum(weights.values())
        assert found == {name: weight / total for name, weight in weights.items()}
    for temperature in (0.01, 1e-300, 5e-324):  # 10,000 to the power of 100 is no float
        mix = MixSpec(rule="temperature", temperature=temperature)
        assert mixing_shares({"big": 10_000, "small": 100}, mix) == pytest.approx(
            {"big": 1.0, "small": 0.0}
        )
    # 1000 to the power of 102.7 is a float, twenty of them are not
    even = mixing_shares(
        dict.fromkeys("abcdefghijklmnopqrst", 1000),
        MixSpec(rule="temperature", temperature=1 / 102.7),
    )
    assert set(even.values()) == {1 / 20}


@pytest.mark.parametrize("field", ["shares", "beside"])
def test_negative_shares_are_refused(field):
    with pytest.raises(ConfigError, match=rf"mix\.{field}\.qqp"):
        resolve_run("mnli,qqp", {}, [f"mix.{field}={{qqp: -0.5}}"], None, "x")


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        (MixSpec(rule="fixed", shares={"big": 0.5, "small": 0.6}), "do not sum to 1"),
        (MixSpec(rule="fixed", shares={"big": 1.0}), "no share for 'small'"),
        (MixSpec(beside={"none": 0.1}), "no part 'none'"),
        (MixSpec(beside={"small": 1.0}), "nothing is left for big"),
    ],
)
def test_shares_that_make_no_sense_are_refused(mix, words):
    with pytest.raises(UsageError, match=words):
        mixing_shares(SIZES, mix)


def test_realised_shares_are_within_three_standard_errors():
    made = mixture(SIZES, MixSpec(rule="temperature", temperature=3), max_steps=2000)
    for number in range(2000):
        made.step(number)
    for name, share in made.shares.items():
        error = (share * (1 - share) / 2000) ** 0.5
        assert abs(made.steps_taken[name] / 2000 - share) < 3 * error


def test_a_step_has_rows_of_one_part_and_every_row_comes_once_an_epoch():
    made = mixture({"a": 64, "b": 16}, MixSpec(rule="uniform"))
    seen: dict[str, Counter] = {"a": Counter(), "b": Counter()}
    number = 0
    while made.steps_taken["b"] < 4:
        step = made.step(number)
        assert {step.part} == {step.head}
        seen[step.part].update(np.concatenate([batch.rows for batch in step.batches]).tolist())
        number += 1
    # 16 rows, 8 a step: four steps are two epochs
    assert seen["b"] == Counter(dict.fromkeys(range(16), 2))


def test_steps_of_an_epoch_by_hand():
    # 8 and 2 steps under the rule
    assert mixture().total_steps() == 2 * 10
    # a cap of 32 rows: 4 and 2 steps
    assert mixture(mix=MixSpec(cap=32)).total_steps() == 2 * 6
    # the part beside takes a fifth of all steps: 8 / 0.8
    assert mixture(mix=MixSpec(beside={"b": 0.2})).total_steps() == 2 * 10
    assert mixture(max_steps=7).total_steps() == 7


def test_token_budget_ends_with_the_step_that_reaches_it():
    spec = TrainSpec(batch_size=8, max_tokens=300)
    batches = TaskBatches(TASK, features(70), Tokenizer(), spec)
    steps = Mixture({"toy": batches}, spec).total_steps()
    tokens = [int(batches.tokens[batches.examples(number)].sum()) for number in range(steps)]
    assert sum(tokens) >= 300
    assert sum(tokens[:-1]) < 300


def test_a_token_budget_decides_instead_of_epochs_and_within_steps():
    def steps(**settings):
        return mixture({"a": 64}, **settings).total_steps()

    assert steps(epochs=1) == 8
    assert steps(epochs=1, max_tokens=5000) == steps(epochs=9, max_tokens=5000) > 8
    assert steps(epochs=1, max_tokens=5000, max_steps=5) == 5


def test_targets_are_drawn_for_any_seed(monkeypatch):
    seeds = []

    def corrupt(batch, _tokenizer, _task, generator):
        seeds.append(generator.initial_seed())
        return batch

    monkeypatch.setattr(FORMATS.get("masked_lm"), "corrupt", corrupt)
    task = TASK.model_copy(update={"format": "masked_lm"})
    for seed in (7, 2**32 - 1, 2**32, 2**32 + 7, 2**63 - 1):
        spec = TrainSpec(seed=seed, batch_size=8)
        batches = TaskBatches(task, features(16), Tokenizer(), spec)
        batches.step(0)
        batches.step(1)
    # small seeds draw what they always did
    assert seeds[:4] == [7 << 32, (7 << 32) + 1, (2**32 - 1) << 32, ((2**32 - 1) << 32) + 1]
    assert len(set(seeds)) == len(seeds) == 10


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("budget", [1, 20, 60, 1000])
def test_micro_batches_keep_the_budget_and_every_example(world, budget):
    spec = TrainSpec(batch_size=32, micro_tokens=budget)
    batches = TaskBatches(TASK, features(70), Tokenizer(), spec)
    steps = [batches.step(0, rank, world) for rank in range(world)]
    seen = np.concatenate([batch.rows for step in steps for batch in step.batches])
    assert sorted(seen.tolist()) == sorted(batches.examples(0).tolist())
    counts = {len(step.batches) for step in steps}
    tokens = int(batches.tokens[batches.examples(0)].sum())
    assert counts == {min(-(-tokens // (budget * world)), 32 // world)}
    for step in steps:
        longest = [batch.input_ids.shape[1] for batch in step.batches]
        shortest = [int(batch.attention_mask.sum(1).min()) for batch in step.batches]
        assert all(a <= b for a, b in zip(longest[:-1], shortest[1:], strict=True))
        sizes = [batch.num_tokens for batch in step.batches]
        # a micro-batch ends with the row that reaches its share
        assert max(sizes) <= tokens / world / len(sizes) + 20 * world


def test_a_tired_part_leaves_its_steps_to_the_others(tmp_path):
    made = mixture({"a": 64, "b": 64}, MixSpec(rule="uniform", stop_parts=True), epochs=20)
    looks = iter(range(1, 1000))

    def evaluate(_between):
        number = next(looks)
        return {"a": float(number), "b": 5.0 if number == 1 else 1.0}

    model = Toy()
    # the toy has one head; its name is ignored
    spec = made.spec.model_copy(update={"patience": 2, "eval_every": 10, "max_steps": 60})
    made.spec = spec
    Trainer(model, made, spec, tmp_path, run_key="x", evaluate=evaluate, quiet=True).run()
    records = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    parts = [record["part"] for record in records if "part" in record and record["step"] > 30]
    # b is best at look 1 (step 10), has two looks without gain at step 30, and then stops
    assert made.stopped == ["b"]
    assert parts == ["a", "a", "a"]


def test_the_average_is_the_mean_over_dev_evaluations(tmp_path):
    made = mixture({"a": 40}, select="average", eval_every=4, max_steps=12, average_from=0.5)
    seen = []
    model = Toy()

    def evaluate(_between):
        seen.append(weights(model))
        return {"a": 0.0}

    result = Trainer(
        model, made, made.spec, tmp_path, run_key="x", evaluate=evaluate, quiet=True
    ).run()
    # looks at 4, 8 and 12; the first is before half of the steps
    for name, value in weights(model).items():
        assert torch.allclose(value, (seen[1][name] + seen[2][name]) / 2, atol=1e-7)
    assert result.best_step == 12


def test_saved_steps_hold_the_weights_of_their_time(tmp_path):
    made = mixture({"a": 40}, save_every=3, max_steps=7, select="last")
    start = weights(Toy())
    model = Toy()
    result = Trainer(model, made, made.spec, tmp_path, run_key="x", quiet=True).run()
    assert list(result.saved) == [0, 3, 6]
    from safetensors.torch import load_file

    assert same(load_file(tmp_path / "step-00000000" / "weights.safetensors"), start)
    short = mixture({"a": 40}, max_steps=7, select="last")
    other = Toy()
    trainer = Trainer(other, short, short.spec, tmp_path / "b", run_key="x", quiet=True)
    for _ in range(6):
        trainer._step()
    assert same(load_file(tmp_path / "step-00000006" / "weights.safetensors"), weights(other))


def test_rates_fall_with_the_distance_from_the_head():
    names = {
        "encoder.embeddings.word_embeddings.weight": 4,
        "encoder.encoder.layer.0.output.dense.bias": 3,
        "encoder.encoder.layer.2.output.dense.bias": 1,
        "composed.nodes.1_ffn.down.weight": 2,
        "heads.nli.dense.weight": 0,
        # modules of other libraries
        "composed.nodes.-2_encoder.held.encoder/layer/2/output/adapters/x/adapter_down/0/bias": 1,
        "composed.nodes.-2_encoder.held.encoder/layer/0/attention/self/query/lora_A/x/weight": 3,
        "composed.nodes.-2_encoder.held.transformer/layer/1/attention/q_lin/lora_A/x/weight": 2,
        "composed.nodes.-2_encoder.held.invertible_adapters/x/F/0/weight": 4,
    }
    assert {name: distance(name, 3) for name in names} == names
    parameters = {name: torch.nn.Parameter(torch.zeros(2, 2)) for name in names}
    optimizer = make_optimizer(parameters, TrainSpec(layer_decay=0.5, warmup=0), 3)
    scales = {
        name: group["scale"]
        for group in optimizer.param_groups
        for name, parameter in parameters.items()
        if any(parameter is member for member in group["params"])
    }
    assert scales == {name: 0.5**count for name, count in names.items()}
