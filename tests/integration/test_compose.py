"""Composing by the command line: explaining, merging, training on top, reloading."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

FAST = ("--set", "train.max_steps=4", "--set", "train.lr=1e-2")


@pytest.fixture
def modules(run):
    for task in ("mnli", "qqp"):
        for method in ("seq_bn", "lora"):
            run("train-adapter", task, "--method", method, *FAST)
        run("train", task, *FAST)


def test_an_expression_is_explained(run, modules):
    found = run("compose", "fuse(mnli/seq_bn, average(qqp/seq_bn*0.25, mnli/seq_bn*0.75))")
    lines = [(line["depth"], line["text"]) for line in found["lines"]]
    assert lines == [
        (0, "fuse"),
        (1, "mnli/seq_bn"),
        (1, "average"),
        (2, "qqp/seq_bn * 0.25"),
        (2, "mnli/seq_bn * 0.75"),
    ]
    # four blocks of 128: query, key and value, two of them with a bias
    learned = 4 * (3 * 128 * 128 + 2 * 128)
    assert found["learned"] == learned
    # two adapters of 128 x 8 act in each block
    assert found["parameters"] == learned + 2 * 4 * (2 * 128 * 8 + 8 + 128)
    assert found["flops_per_token"] == 2 * (4 * 3 * 128 * 128 + 2 * 4 * 2 * 128 * 8)
    assert "not the combination of their functions" in found["warnings"][0]


def test_nested_fusions_are_explained_one_by_one(run, modules):
    found = run("compose", "fuse(mnli/seq_bn, fuse(qqp/seq_bn, mnli/seq_bn))")
    one = 4 * (3 * 128 * 128 + 2 * 128)
    fusions = [line["trained"] for line in found["lines"] if line["text"] == "fuse"]
    assert fusions == [one, one]
    assert found["learned"] == 2 * one


@pytest.mark.parametrize("method", ["seq_bn", "lora", "full"])
def test_a_merge_is_an_ordinary_module(method, run, modules):
    text = f"merge_ties(mnli/{method}, qqp/{method}*0.5, density=0.4)"
    made = run("compose", text, "--save", f"ties-{method}".replace("_", "-"))
    manifest = json.loads(Path(made["folder"], "manifest.json").read_text())
    assert manifest["kind"] == "merge"
    parents = [(p["reference"], p["role"], p["weight"]) for p in manifest["parents"]]
    assert parents == [(f"mnli/{method}", "merged", 1.0), (f"qqp/{method}", "merged", 0.5)]
    assert run("zoo", "verify") == {"broken": []}
    pair = ("--task", "tatoeba", "--langs", "qab")
    kept = run("eval", made["reference"], *pair)["scores"][0]["value"]
    assert run("eval", text, *pair)["scores"][0]["value"] == kept


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("fuse(mnli/lora, qqp/lora)", "fused-loras"),
        ("fuse(mnli/seq_bn, qqp/lora)", "fused-kinds"),
        ("parallel(mnli/lora, qqp/seq_bn)", "parallel-kinds"),
    ],
)
def test_lora_and_mixed_compositions_are_trained_kept_and_reloaded(expression, name, run, modules):
    made = run("compose", expression, "--target", "xnli", "--save", name, *FAST)
    first = run("eval", name, "--task", "xnli", "--langs", "qaa,qab")
    assert first["computed"] == 2
    manifest = json.loads(Path(made["folder"], "manifest.json").read_text())
    assert manifest["kind"] == "composition"
    again = run("eval", name, "--task", "xnli", "--langs", "qaa,qab", "--force")
    assert [s["value"] for s in again["scores"]] == [s["value"] for s in first["scores"]]


def test_a_merge_that_is_only_planned_is_explained_and_not_kept(run, modules):
    before = run("zoo", "ls")
    found = run("compose", "average(mnli/lora, qqp/lora)", "--save", "planned", "--dry-run")
    assert [line["text"] for line in found["lines"]] == ["average", "mnli/lora", "qqp/lora"]
    assert run("zoo", "ls") == before


def test_what_cannot_be_merged_is_refused(run, modules):
    error = run("compose", "stack(mnli/lora, qqp/lora)", "--save", "x", code=2, as_json=True)
    assert "nothing to keep" in error["what"]
    error = run("compose", "average(mnli/lora, qqp/seq_bn)", "--save", "x", code=2, as_json=True)
    assert "of method" in error["what"]
