"""One thin path through every layer on a small sandbox world, by the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from xstilts.backbone.pretrained import fingerprint

FAST = ("--set", "train.epochs=1", "--set", "train.lr=1e-3")


def test_path(run, home):
    plan = run("train-adapter", "mnli", *FAST, "--dry-run")
    assert plan["rows"] == 120
    assert plan["already there"] is None
    assert run("zoo", "ls") == []

    first = run("train-adapter", "mnli", *FAST)
    assert first["reference"].startswith("mnli/seq_bn/sandbox@")
    again = run("train-adapter", "mnli", *FAST)
    assert again["digest"] == first["digest"]
    run("train-adapter", "qqp", *FAST)
    run("train-adapter", "mnli", "--method", "lora", *FAST)
    run("train", "mnli", *FAST)
    assert len(run("zoo", "ls")) == 4
    assert run("zoo", "verify") == {"broken": []}

    fused = run("compose", "fuse(mnli/seq_bn, qqp)", "--target", "xnli", "--save", "fused", *FAST)
    assert fused["reference"].startswith("fused/head/")
    expressions = ("mnli/seq_bn", "mnli/lora", "mnli/full", "fused")
    scores = run("eval", *expressions, "--task", "xnli", "--langs", "qaa,qag")
    assert scores["computed"] == 8
    assert 0 < scores["padding"] < 0.5
    assert all(0 <= score["value"] <= 100 and score["n"] == 30 for score in scores["scores"])
    scores = run("eval", *expressions, "--task", "xnli", "--langs", "qaa,qab,qag")
    assert (scores["computed"], scores["cached"]) == (4, 8)
    assert run("eval", *expressions, "--task", "xnli", "--langs", "qaa")["padding"] == 0

    found = run("xtreme", "none", "fuse(mnli/seq_bn, qqp)", "--tasks", "tatoeba")
    assert found["computed"] == 14
    page = home / "report.html"
    run("report", "--html", str(page))
    text = page.read_text(encoding="utf-8")
    assert "no evidence about real languages" in text
    assert "http://" not in text.replace("http://www.w3.org", "")


@pytest.mark.long
def test_training_leaves_the_backbone_bit_equal(run, home):
    from xstilts import sandbox
    from xstilts.backbone.backbone import Backbone
    from xstilts.config import paths
    from xstilts.config.run import resolve_run
    from xstilts.train.run import resolve_phase, train_phase
    from xstilts.zoo import Zoo
    from xstilts.zoo.workspace import Workspace

    world = sandbox.ensure_world(paths.cache_folder())
    backbone = Backbone.load(str(world.backbone), offline=True)
    before = backbone.identity.fingerprint
    workspace = Workspace(world.data, Zoo(home / "zoo2"), home / "runs2", None, quiet=True)
    for method in ("seq_bn", "lora", "full"):
        settings = resolve_run("mnli", {"method": method}, ["train.max_steps=3"], None, "x").value
        train_phase(resolve_phase("mnli", settings, backbone, workspace))
        assert fingerprint(backbone.encoder) == before, method
    left = {path.name for path in (home / "runs2").rglob("*") if path.is_file()}
    assert left == {".lock", "history.jsonl"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("train-adapter", "mnly"), 4, "mnli"),
        (("train-adapter", "mnli", "--method", "lorra"), 2, "Did you mean 'lora'"),
        (("train-adapter", "mnli", "--set", "train.epoch=1"), 2, "Did you mean 'epochs'"),
        (("eval", "nothing", "--task", "xnli"), 4, "no module 'nothing'"),
        (("eval", "none", "--task", "xnli"), 2, "no head for task xnli"),
        (("eval", "none", "--task", "tatoeba", "--langs", "qzz"), 4, "qzz"),
        (("eval", "fuse(a,", "--task", "xnli"), 2, "column 8"),
        (("compose", "none", "--target", "tatoeba", "--save", "x"), 2, "needs no training"),
        (("train-adapter", "mnli", "--name", "Bad Name"), 2, "cannot name a module"),
    ],
)
def test_bad_input_is_a_clear_error(run, arguments, code, words):
    assert words in run(*arguments, code=code)


def test_two_problems_are_both_listed(run):
    text = run("train-adapter", "mnli", "--set", "train.epoch=1", "--set", "train.lr=fast", code=2)
    assert "2 problems" in text
    assert "epoch" in text
    assert "lr" in text


def test_wrong_backbone_is_refused(run, home, tmp_path):
    from xstilts import sandbox
    from xstilts.backbone.backbone import Backbone
    from xstilts.config import paths

    run("train-adapter", "mnli", *FAST)
    world = sandbox.ensure_world(paths.cache_folder())
    other = Backbone.load(str(world.backbone), offline=True)
    other.encoder.encoder.layer[0].output.dense.bias.data += 1
    other.encoder.save_pretrained(tmp_path / "other")
    other.tokenizer.save_pretrained(tmp_path / "other")
    arguments = ("eval", "mnli/seq_bn", "--task", "xnli", "--backbone", str(tmp_path / "other"))
    assert "was trained on sandbox" in run(*arguments, code=5)


@pytest.mark.long
def test_changed_weights_are_refused(run):
    folder = run("train-adapter", "mnli", "--name", "broken", *FAST)["folder"]
    with Path(folder, "adapter.safetensors").open("r+b") as file:
        file.seek(-5, 2)
        file.truncate()
    assert "adapter.safetensors" in run("eval", "broken", "--task", "xnli", code=5)
    run("zoo", "rm", "broken", "--yes")


@pytest.mark.long
def test_data_errors_name_the_row(run, home, tmp_path):
    folder = tmp_path / "mnli"
    folder.mkdir()
    (tmp_path / "world.json").write_text((next((home / "cache").rglob("world.json"))).read_text())
    (folder / "dev_matched.tsv").write_text("sentence1\tsentence2\tgold_label\na\tb\tneutral\n")
    for body, words in (
        ("a\tb\tmaybe\n", "maybe"),
        ("a\tb\n", "train.tsv"),
        ("", "train.tsv"),
    ):
        (folder / "train.tsv").write_text("sentence1\tsentence2\tgold_label\n" + body)
        text = run("train-adapter", "mnli", "--data", str(tmp_path), *FAST, code=1)
        assert words in text
        assert "train.tsv" in text


@pytest.mark.long
def test_a_limit_is_in_every_row_and_stands_apart(run, home):
    few = ("--langs", "qab,qac", "--limit", "5")
    trained = run("train-adapter", "mnli", "--name", "brief", *FAST, "--dev-limit", "7")
    assert trained["selection"] == "best qaa validation[:7] accuracy"
    brief = run("eval", "brief", "--task", "xnli", *few)
    assert {(row["split"], row["n"]) for row in brief["scores"]} == {("test[:5]", 5)}
    whole = run("eval", "brief", "--task", "xnli", "--langs", "qab,qac")
    assert {(row["split"], row["n"]) for row in whole["scores"]} == {("test", 30)}
    assert whole["computed"] == 2
    bitext = run("align", "none", "--task", "tatoeba", "--layers", "1", *few)
    found = run("xtreme", "none", "brief", "--tasks", "xnli,tatoeba", "--top", "head", *few)
    rows = bitext["scores"] + found["scores"]
    assert {row["split"] for row in rows} == {"test[:5]"}
    assert {row["n"] for row in rows if row["metric"] == "accuracy"} == {5}
    run("report", "--html", str(home / "limited.html"))
    page = (home / "limited.html").read_text(encoding="utf-8")
    assert "xnli test[:5]" in page and "tatoeba test[:5]" in page
    where = ("--submit-dir", str(home / "submission"))
    told = run("xtreme", "brief", "--tasks", "xnli", *few, *where, code=2)
    assert "test[:5]" in told or "[:5]" in told
    assert not (home / "submission").exists()


@pytest.mark.long
def test_a_merge_is_scored_with_the_head_of_another_module(run):
    for task in ("mnli", "qqp"):
        run("train-adapter", task, "--name", f"{task}-part", *FAST)
    merge = "average(mnli-part, qqp-part)"
    asked = ("eval", merge, "--task", "xnli", "--langs", "qab")
    assert "has no head for task xnli" in run(*asked, code=2)
    assert "'qqp-part' has no head" in run(*asked, "--head", "qqp-part", code=2)
    (row,) = (r for r in run(*asked, "--head", "mnli-part")["scores"] if r["main"])
    assert row["intermediate"] == f"{merge} (head of mnli-part)" and row["train_task"] == "mnli"
    # the mean of a module with itself is that module
    whole = "average(mnli-part*0.5, mnli-part*0.5)"
    found = run("eval", whole, "--task", "xnli", "--langs", "qab", "--head", "mnli-part")
    alone = run("eval", "mnli-part", "--task", "xnli", "--langs", "qab")
    sums = [[r["predictions_sha256"] for r in made["scores"]] for made in (found, alone)]
    assert sums[0] == sums[1]
    again = run(*asked, "--head", "mnli-part")
    assert (again["computed"], again["cached"]) == (0, 1)


def test_a_device_that_is_not_there_is_refused(run, home):
    told = run("--device", "cuda:9", "eval", "none", "--task", "tatoeba", "--langs", "qab", code=2)
    assert "no device 'cuda:9' here" in told and "cpu" in told
    assert run("eval", "none", "--task", "tatoeba", "--langs", "qab", "--device", "cpu")["scores"]
