"""Training phases through the command line: mixtures, several processes, kills and resumes."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from xstilts import sandbox
from xstilts.backbone.activation_cache import FrozenBlocks
from xstilts.backbone.backbone import Backbone
from xstilts.cli import main
from xstilts.composition import predict
from xstilts.config import paths
from xstilts.config.load import config_folder, load_task
from xstilts.data import translated
from xstilts.data.sources import load, task_in_world
from xstilts.data.translation.rows import translate_rows
from xstilts.train.trainer import Trainer

pytestmark = pytest.mark.long


@pytest.fixture
def world(home):
    """The small world's data and backbone, for commands in processes of their own."""
    return sandbox.ensure_world(paths.cache_folder())


def command(world, folder, *arguments, backbone=None):
    """A command line that reads the small world and writes below `folder`."""
    options = ("--data", str(world.data), "--zoo", str(folder / "zoo"), "--offline", "-q", "--json")
    chosen = ("--backbone", str(backbone or world.backbone)) if arguments[0] != "zoo" else ()
    return [sys.executable, "-m", "xstilts", *options, *arguments, *chosen]


def environment(folder):
    return os.environ | {"XSTILTS_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}


def start(world, folder, *arguments, backbone=None):
    """Run a command in a process of its own; its JSON."""
    done = subprocess.run(
        command(world, folder, *arguments, backbone=backbone),
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run(world, folder, *arguments, code=0):
    """Run a command in this process; its JSON, or its error text when it should fail."""
    output, errors = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        pytest.raises(SystemExit) as caught,
    ):
        patch.setenv("XSTILTS_HOME", str(folder / "home"))
        main(command(world, folder, *arguments)[3:])
    assert (caught.value.code or 0) == code, errors.getvalue()
    return json.loads(output.getvalue()) if not code else errors.getvalue()


FAST = (
    "--set",
    "train.batch_size=8",
    "--set",
    "train.lr=1e-3",
    "--set",
    "train.checkpoint_every=2",
)
KINDS = {
    "single": ("train-adapter", "mnli", *FAST),
    "lora": ("train-adapter", "mnli", "--method", "lora", *FAST),
    "full": ("train", "mnli", *FAST),
    "multitask": ("train-adapter", "mnli,qqp", *FAST, "--set", "mix.rule=uniform"),
    "mlm": ("train-adapter", "mnli", "--mlm", "0.3", *FAST, "--set", "train.select=average"),
    "two processes": ("train-adapter", "mnli,qqp", "--nproc", "2", *FAST),
}


def test_select_none_scores_no_dev_rows_and_keeps_the_last_step(world, tmp_path):
    arguments = (*KINDS["single"], "--set", "train.max_steps=4", "--set", "train.select={}")
    made = {}
    for select in ("none", "last"):
        folder = tmp_path / select
        told = run(world, folder, *(text.format(select) for text in arguments))
        manifest = json.loads(Path(told["folder"], "manifest.json").read_text())
        history = next((folder / "home" / "runs").rglob("history.jsonl")).read_text()
        weights = load_file(next(Path(told["folder"]).glob("*adapter*.safetensors")))
        made[select] = (manifest["training"], "dev_score" in history, weights)
    training, scored, weights = made["none"]
    assert training["dev_score"] is None
    assert training["selection"] == made["last"][0]["selection"] == "last checkpoint"
    assert (scored, made["last"][1]) == (False, True)
    assert all(torch.equal(weights[name], tensor) for name, tensor in made["last"][2].items())


def test_a_mixture_keeps_its_heads_and_says_its_shares(world, tmp_path):
    arguments = (*KINDS["multitask"], "--mlm", "0.2", "--set", "train.max_steps=12")
    made = run(world, tmp_path, *arguments, "--name", "mixed", "--set", "train.save_every=6")
    manifest = json.loads(Path(made["folder"], "manifest.json").read_text())
    assert manifest["task"] == "mnli-qqp"
    assert sorted(head["family"] for head in manifest["heads"]) == ["mlm", "nli", "qqp"]
    shares = manifest["training"]["realised_shares"]
    assert sum(shares.values()) == pytest.approx(1)
    assert {name.partition("/")[0] for name in shares} == {"mnli", "qqp", "mlm"}
    listed = run(world, tmp_path, "zoo", "ls")
    assert {row["reference"].partition("/")[0] for row in listed} == {
        "mixed",
        "mixed-step0",
        "mixed-step6",
        "mixed-step12",
    }
    scores = run(
        world, tmp_path, "eval", "mixed", "mixed-step0", "--task", "xnli", "--langs", "qab"
    )
    assert [row["train_task"] for row in scores["scores"]] == ["mnli", "mnli"]
    history = next((tmp_path / "home" / "runs").rglob("history.jsonl"))
    records = [json.loads(line) for line in history.read_text().splitlines()]
    assert any("dev_scores" in record for record in records)
    trained = [record for record in records if "loss" in record]
    assert trained
    assert all(0 < record["tokens"] <= record["positions"] for record in trained)


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_dev_evaluation_is_interrupted_between_batches(kind, code, world, tmp_path, monkeypatch):
    arguments = ("train-adapter", "mnli", *FAST, "--set", "train.eval_every=4")
    arguments = (*arguments, "--set", "train.max_steps=8", "--set", "train.checkpoint_every=100")
    whole = run(world, tmp_path / "whole", *arguments)
    folder = tmp_path / "cut"
    logits, calls = predict.logits, []

    def interrupted(*given, done, **named):
        calls.append(1)
        if len(calls) == 2:  # the second of two dev evaluations, at the last step
            os.kill(os.getpid(), kind)
        return logits(*given, done=done, **named)

    with monkeypatch.context() as patch:
        patch.setattr(predict, "logits", interrupted)
        told = run(world, folder, *arguments, code=code)
    assert "stopped after step 8, checkpoint written" in told
    assert not (folder / "zoo").exists() or not run(world, folder, "zoo", "ls")
    steps = []
    monkeypatch.setattr(Trainer, "_step", lambda *_: steps.append(1))
    assert run(world, folder, *arguments)["digest"] == whole["digest"]
    assert steps == []


def test_a_diverging_training_ends_at_its_step_and_keeps_nothing(world, tmp_path):
    arguments = ("train-adapter", "mnli", *FAST, "--set", "train.lr=1e30", "--set", "train.clip=0")
    told = run(world, tmp_path, *arguments, code=1)
    assert "training diverged at step" in told
    assert "train.lr" in told
    assert not (tmp_path / "zoo").exists() or not run(world, tmp_path, "zoo", "ls")
    history = next((tmp_path / "home" / "runs").rglob("history.jsonl")).read_text()
    assert "NaN" not in history
    assert "Infinity" not in history


def test_training_says_which_rows_are_cut(world, tmp_path, capsys):
    short = (*FAST, "--set", "train.max_steps=2", "--set", "train.max_length=12")
    plan = run(world, tmp_path, "--dry-run", "train-adapter", "mnli", *short)
    loud = [
        part
        for part in command(world, tmp_path, "train-adapter", "mnli", *short)[3:]
        if part != "-q"
    ]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setenv("XSTILTS_HOME", str(tmp_path / "home"))
        main(loud)
    output = capsys.readouterr()
    manifest = json.loads((Path(json.loads(output.out)["folder"]) / "manifest.json").read_text())
    said = manifest["training"]["rows_cut"]
    assert plan["rows cut"] == said
    assert said["mnli"]["rows"] == 120
    assert said["mnli"]["max_length"] == 12
    tokenizer = Backbone.load(str(world.backbone), offline=True).tokenizer
    task = task_in_world(load_task("mnli"), world.data)
    rows = load(task, "train", task.source_language, world.data, offline=True)
    pairs = [(row.fields["text"], row.fields["text_pair"]) for row in rows]
    lengths = [len(tokenizer(*pair)["input_ids"]) for pair in pairs]
    assert said["mnli"]["cut"] == sum(length > 12 for length in lengths) > 0
    note = f"mnli: {said['mnli']['cut']} of 120 training rows lose sub-words; a row holds 12"
    assert note in output.err
    versions = manifest["versions"]
    machine = {"cpu", "threads", "kernels", "onednn", "blas"}
    assert versions.keys() == {"xstilts", "torch", "transformers"} | machine
    long = run(world, tmp_path, "--dry-run", "train-adapter", "mnli", *FAST)
    assert long["rows cut"]["mnli"]["cut"] == 0


def test_training_starts_from_another_module(world, tmp_path):
    none = ("--set", "train.max_steps=1", "--set", "train.lr=1e-12", "--set", "train.clip=0")
    first = run(world, tmp_path, *KINDS["single"], "--set", "train.max_steps=6")
    second = run(world, tmp_path, "train-adapter", "qqp", "--init-from", "mnli", *none)
    states = [load_file(Path(made["folder"], "adapter.safetensors")) for made in (first, second)]
    renamed = {key.replace(".mnli.", ".qqp."): value for key, value in states[0].items()}
    assert renamed.keys() == states[1].keys()
    assert all(torch.allclose(renamed[key], states[1][key], atol=1e-9) for key in renamed)
    manifest = json.loads(Path(second["folder"], "manifest.json").read_text())
    assert [(p["reference"], p["role"]) for p in manifest["parents"]] == [("mnli", "init")]


def test_rows_of_other_languages_are_refused_where_one_is_stated(world, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(world.data, data)
    moved = dataclasses.replace(world, data=data)
    own, other = (data / "pawsx" / f"train-{code}.tsv" for code in ("qaa", "qad"))
    arguments = ("train-adapter", "pawsx", *FAST, "--set", "train.max_steps=1")
    run(moved, tmp_path, *arguments)
    own.write_text(own.read_text() + "".join(other.read_text().splitlines(True)[:15]))
    text = run(moved, tmp_path, *arguments, code=1)
    assert "training rows of 'qaa' hold other languages" in text
    assert "15 of 45 rows looked at are closer to qad" in text
    assert "train-qaa.tsv" in text
    run(moved, tmp_path, *arguments, "--set", "source.check=false")


def test_the_split_that_picks_the_checkpoint_is_stored_with_every_score(world, tmp_path):
    arguments = (*KINDS["single"], "--set", "train.max_steps=4")
    assert "--target" in run(world, tmp_path, *arguments, "--select-on", "target-dev", code=2)
    usual = run(world, tmp_path, *arguments)
    chosen = ("--select-on", "target-dev", "--target", "xnli", "--name", "peeked")
    peeked = run(world, tmp_path, *arguments, *chosen)
    rows = run(world, tmp_path, "eval", "mnli", "peeked", "--task", "xnli")["scores"]
    manifests = [
        json.loads(Path(m["folder"], "manifest.json").read_text()) for m in (usual, peeked)
    ]
    said = [manifest["training"]["selection"] for manifest in manifests]
    assert said[0] == "best qaa validation accuracy"
    assert said[1].startswith("best qab validation accuracy") and said[1].endswith("(target dev)")
    assert "qaa" not in said[1]
    flags = {name: {tuple(r["flags"]) for r in rows if r["expression"].startswith(name)}
             for name in ("mnli", "peeked")}  # fmt: skip
    assert flags == {"mnli": {()}, "peeked": {("target-dev selection",)}}


def test_tensorboard_is_told_the_history(world, tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    arguments = (*KINDS["single"], "--set", "train.max_steps=20")
    run(world, tmp_path, *arguments, "--track", "tensorboard")
    history = next((tmp_path / "home" / "runs").rglob("history.jsonl"))
    records = [json.loads(line) for line in history.read_text().splitlines()]
    wanted = [(r["step"], r["loss"]) for r in records if "loss" in r]
    events = reading.EventAccumulator(str(next(history.parent.rglob("events*")).parent)).Reload()
    found = [(event.step, event.value) for event in events.Scalars("loss")]
    assert [step for step, _ in found] == [step for step, _ in wanted] == [10, 20]
    assert [v for _, v in found] == pytest.approx([v for _, v in wanted], rel=1e-6)


def test_translated_rows_are_trained_on(world, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(world.data, data)
    moved = dataclasses.replace(world, data=data)
    task = task_in_world(load_task("mnli"), data)
    shutil.rmtree(translated.folder_of(task, "qab", data), ignore_errors=True)
    text = run(moved, tmp_path, *KINDS["single"], "--source-lang", "qab", code=4)
    assert "data translate mnli --langs qab" in text
    rows = load(task, "train", task.source_language, data)
    folder = translated.folder_of(task, "qab", data)
    made = translate_rows(rows, "classification", "qab", lambda texts: [t[::-1] for t in texts])
    translated.write(folder / "train.jsonl", made.rows)
    translated.describe(folder, {"model": "some/model"})
    both = ("--source-lang", f"{task.source_language},qab", "--set", "source.how=mixed")
    entry = run(moved, tmp_path, *KINDS["single"], *both, "--set", "source.rows=100")
    manifest = json.loads(Path(entry["folder"], "manifest.json").read_text())
    assert manifest["source_language"] == "qaa,qab"
    assert manifest["data"][0]["rows"] == 100
    assert "qab translated by some/model" in manifest["data"][0]["source"]
    text = run(moved, tmp_path, *KINDS["single"], *both, "--set", "source.rows=500", code=1)
    assert "the budget states 500" in text


SHARDED = ("--set", "train.shard=true")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        ("train-adapter", "--mlm", "0.3"),
        ("train-adapter", "--mlm", "0.3", *SHARDED),
        ("train", "--set", "train.accumulation=3", "--set", "train.gradient_checkpointing=true",
         *SHARDED),
    ],
    ids=["copies", "shards", "shards of the encoder"],
)  # fmt: skip
def test_two_processes_follow_the_loss_curve_of_one(kind, world, tmp_path):
    calm = tmp_path / "calm"
    shutil.copytree(world.backbone, calm)
    config = json.loads((calm / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (calm / "config.json").write_text(json.dumps(config))
    for name in ("mnli", "qqp"):
        text = (config_folder() / "tasks" / f"{name}.yaml").read_text(encoding="utf-8")
        (tmp_path / f"{name}.yaml").write_text(text + "options: {head_dropout: 0}\n")
    tasks = f"{tmp_path / 'mnli.yaml'},{tmp_path / 'qqp.yaml'}"
    settings = (kind[0], tasks, *kind[1:], *FAST, "--set", "train.max_steps=20")
    curves, modules = [], []
    for count in (1, 2):
        folder = tmp_path / str(count)
        made = start(world, folder, *settings, "--nproc", str(count), backbone=calm)
        modules.append(Path(made["folder"]))
        history = next((folder / "home" / "runs").rglob("history.jsonl"))
        records = [json.loads(line) for line in history.read_text().splitlines()]
        curves.append([r for r in records if "loss" in r])
    assert [r["part"] for r in curves[0]] == [r["part"] for r in curves[1]]
    for one, two in zip(*curves, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], abs=1e-4)
        assert (two["tokens"], two["examples"]) == (one["tokens"], one["examples"])
    name = next(path.name for path in modules[0].glob("*.safetensors") if "head" not in path.name)
    weights = [load_file(folder / name) for folder in modules]
    assert weights[0].keys() == weights[1].keys()
    distance = max(float((weights[0][k] - weights[1][k]).abs().max()) for k in weights[0])
    assert distance < 5e-3  # Adam divides by what rounding decides where gradients are near zero


def checkpoints(folder):
    """Names of the checkpoints that are there; older ones vanish while we look."""
    found = set()
    for run_folder in (folder / "home" / "runs").glob("*"):
        with contextlib.suppress(FileNotFoundError):
            found |= {path.name for path in run_folder.glob("checkpoint-*")}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_kills_and_resumes_end_with_the_same_module(kind, world, tmp_path):
    arguments = (*KINDS[kind], "--set", "train.epochs=20")
    whole = start(world, tmp_path / "whole", *arguments)
    folder, draw, kills = tmp_path / "killed", random.Random(kind), 0
    while kills < 5:
        process = subprocess.Popen(
            command(world, folder, *arguments),
            env=environment(folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        before = checkpoints(folder)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if checkpoints(folder) - before:
                break
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.05))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        broken = start(world, folder, "zoo", "verify") if (folder / "zoo").exists() else {}
        assert not broken.get("broken")
    assert kills == 5
    assert start(world, folder, *arguments)["digest"] == whole["digest"]


def test_cached_activations_are_used_by_epochs_and_by_other_modules(world, tmp_path, monkeypatch):
    monkeypatch.setenv("XSTILTS_CACHE", str(tmp_path / "cache"))
    upper = ("--set", "options.leave_out=[0,1,2]", "--set", "train.max_steps=12", *FAST)
    cached = ("--cache-activations", *upper)
    plan = run(world, tmp_path, "--dry-run", "train-adapter", "mnli", *cached)
    made = run(world, tmp_path, "train-adapter", "mnli", *cached)
    files = list((tmp_path / "cache" / "activations").glob("*.sqlite"))
    assert len(files) == 1
    assert 0 < plan["activation cache MB"] * 1e6 <= files[0].stat().st_size * 1.5
    monkeypatch.setattr(FrozenBlocks, "_computed", lambda *_: pytest.fail("a row was run again"))
    second = run(world, tmp_path, "train-adapter", "mnli", "--method", "lora", *cached)
    assert list((tmp_path / "cache" / "activations").glob("*.sqlite")) == files
    assert second["digest"] != made["digest"]
    text = run(world, tmp_path, "train-adapter", "mnli", "--cache-activations", *FAST, code=2)
    assert "leave_out" in text


def test_modules_of_upper_blocks_share_the_lower_ones(world, tmp_path, monkeypatch):
    upper = ("--set", "options.leave_out=[0,1]", "--set", "train.max_steps=4", *FAST)
    names = [
        run(world, tmp_path, "train-adapter", "mnli", "--name", f"upper{n}", "--seed", str(n),
            *upper)["reference"]
        for n in range(3)
    ]  # fmt: skip
    task = ("--task", "xnli", "--langs", "qaa,qab")
    alone = [run(world, tmp_path, "eval", name, *task)["scores"] for name in names]
    runs = []
    computed = FrozenBlocks._computed

    def counting(self, keys, *rest):
        runs.append(len(keys))
        return computed(self, keys, *rest)

    monkeypatch.setattr(FrozenBlocks, "_computed", counting)
    together = run(world, tmp_path, "eval", *names, *task, "--force")
    values = {(s["expression"], s["language"]): s["value"] for s in together["scores"]}
    rows = {s["language"]: s["n"] for s in together["scores"] if s["main"]}
    assert sum(runs) == sum(rows.values())
    for name, scores in zip(names, alone, strict=True):
        for score in scores:
            if score["main"]:
                assert values[name, score["language"]] == score["value"]
