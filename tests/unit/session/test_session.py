"""A session's verbs in a program, and composed models in somebody else's loop."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from support.trained import add_module, backbone_folder

import xstilts
from xstilts.backbone.backbone import Backbone
from xstilts.errors import NotFoundError, UsageError
from xstilts.session import Session
from xstilts.zoo import Zoo


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    backbone = Backbone.load(str(backbone_folder(folder / "pico")))
    zoo = Zoo(folder / "zoo")
    for task in ("mnli", "qqp", "squad2", "hellaswag", "udpos"):
        add_module(zoo, backbone, task)
    add_module(zoo, backbone, "mnli", "full", seed=3)
    add_module(zoo, backbone, "mnli", "lora", seed=4)
    add_module(zoo, backbone, "qqp", "lora", seed=5)
    return folder


@pytest.fixture
def session(place, tmp_path):
    return Session(
        backbone=str(place / "pico"),
        zoo=place / "zoo",
        results=tmp_path / "results",
        cache=tmp_path / "cache",
        quiet=True,
    )


def batch_of(session, pairs):
    rows = session.backbone().tokenizer(
        *zip(*pairs, strict=True), padding=True, return_tensors="pt"
    )
    return {name: rows[name] for name in ("input_ids", "attention_mask")}


PAIRS = [("a man runs home", "somebody moves"), ("nobody is there", "the old man runs quickly")]


@pytest.mark.parametrize("expression", ["mnli/seq_bn", "mnli/full", "mnli/lora"])
def test_a_model_gives_the_logits_that_predictions_come_from(session, expression):
    model = session.model(expression, task="xnli").eval()
    with torch.no_grad():
        logits = model(**batch_of(session, PAIRS)).logits
    asked = session.predict(expression, PAIRS)
    for row, found in zip(logits.softmax(-1).tolist(), asked, strict=True):
        shares = [found.scores[label] for label in model.task.labels]
        assert row == pytest.approx(shares, abs=1e-5)


def test_a_model_leaves_the_session_as_it_was(session):
    ids = torch.arange(5, 12)[None]
    before = session.backbone()(ids, torch.ones_like(ids))
    model = session.model("mnli/full", task="xnli")
    loss = model(**batch_of(session, PAIRS), labels=torch.tensor([0, 1])).loss
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert torch.equal(session.backbone()(ids, torch.ones_like(ids)), before)


def test_two_steps_of_a_plain_loop(session):
    model = session.model("fuse(mnli/seq_bn, qqp/seq_bn)", task="xnli").train()
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    trained = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    assert any("heads" in name for name in trained)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    batch, labels = batch_of(session, PAIRS), torch.tensor([2, 0])
    losses = []
    for _ in range(2):
        output = model(**batch, labels=labels, token_type_ids=None)
        expected = torch.nn.functional.cross_entropy(output.logits, labels)
        penalty = model.model.penalty()
        assert penalty > 0
        assert torch.allclose(output.loss, expected + penalty)
        losses.append(output["loss"].item())
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[0] != losses[1]
    now = dict(model.named_parameters())
    assert all(torch.equal(now[name], value) for name, value in frozen.items())
    changed = [name for name, value in trained.items() if not torch.equal(now[name], value)]
    assert any("heads" in name for name in changed)
    assert any("composed" in name for name in changed)


def test_two_steps_of_the_transformers_trainer(session, tmp_path):
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    model = session.model("average(mnli/lora, qqp/lora)", task="xnli")
    tokenizer = model.tokenizer
    rows = [{**tokenizer(a, b), "labels": n % 3} for n, (a, b) in enumerate(PAIRS * 2)]
    arguments = TrainingArguments(
        str(tmp_path / "out"),
        max_steps=2,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    assert trainer.train().global_step == 2
    assert not trainer.model_accepts_loss_kwargs  # else it sums over accumulated steps
    now = dict(model.named_parameters())
    changed = {name for name, value in before.items() if not torch.equal(now[name], value)}
    assert changed
    assert changed <= {name for name, p in now.items() if p.requires_grad}


def test_tags_spans_and_choices(session):
    tagger = session.model("udpos", task="udpos")
    batch = batch_of(session, PAIRS)
    output = tagger(**batch, labels=torch.zeros_like(batch["input_ids"]))
    assert output.logits.shape == (*batch["input_ids"].shape, len(tagger.task.labels))
    assert output.loss.item() > 0
    spans = session.model("squad2", task="tydiqa")
    ends = torch.tensor([3, 4])
    found = spans(**batch, start_positions=ends, end_positions=ends)
    assert found.logits.shape == (*batch["input_ids"].shape, 2)
    assert found.loss.item() > 0
    chooser = session.model("hellaswag", task="hellaswag").eval()
    ids = batch["input_ids"][None].repeat(1, 2, 1)
    mask = batch["attention_mask"][None].repeat(1, 2, 1)
    whole = chooser(ids, mask, labels=torch.tensor([1]))
    assert whole.logits.shape == (1, 4)
    expected = torch.nn.functional.cross_entropy(whole.logits, torch.tensor([1]))
    assert torch.allclose(whole.loss, expected)


def test_a_model_counts_neither_what_has_no_label_nor_a_penalty_that_trains_nothing(session):
    model = session.model("fuse(mnli/seq_bn, qqp/seq_bn)", task="xnli")
    batch = batch_of(session, PAIRS)
    some, none = torch.tensor([2, -100]), torch.tensor([-100, -100])
    model.eval()
    output = model(**batch, labels=some)
    expected = torch.nn.functional.cross_entropy(output.logits[:1], some[:1])
    assert torch.allclose(output.loss, expected)
    assert model(**batch, labels=none).loss.item() == 0.0
    for name, parameter in model.named_parameters():
        if name.endswith("own.value.weight"):
            with torch.no_grad():
                parameter.copy_(torch.eye(len(parameter)) + 0.5)
    sizes = [len(p) for n, p in model.named_parameters() if n.endswith("own.value.weight")]
    assert sizes
    # the default weight 0.01 times D * D times 0.5 squared, at each fusion
    penalty = sum(0.01 * size * size * 0.25 for size in sizes)
    plain, trained = model(**batch, labels=some), model.train()(**batch, labels=some)
    assert torch.allclose(plain.loss, torch.nn.functional.cross_entropy(plain.logits[:1], some[:1]))
    expected = torch.nn.functional.cross_entropy(trained.logits[:1], some[:1])
    assert torch.allclose(trained.loss, expected + penalty)
    tagger = session.model("udpos", task="udpos").eval()
    labels = torch.zeros_like(batch["input_ids"])
    alone = tagger(**{name: value[:1] for name, value in batch.items()}, labels=labels[:1]).loss
    labels[1] = -100
    assert torch.allclose(tagger(**batch, labels=labels).loss, alone, atol=1e-5)


def test_what_has_no_head_is_refused(session):
    with pytest.raises(UsageError, match="has no head"):
        session.model("mnli/lora", task="tatoeba")


def test_results_show_themselves(session):
    found = session.predict("mnli/lora", PAIRS)
    frame = found.to_pandas()
    assert list(frame["text"]) == [first for first, _ in PAIRS]
    assert list(frame["prediction"]) == [p.value for p in found]
    assert "prediction" in repr(found)
    assert "<table" in found._repr_html_()
    assert found[0].id == "0"
    assert len(found) == 2


def test_sharing_and_removing(session, tmp_path):
    pushed = session.push("mnli/lora", f"folder:{tmp_path / 'shared'}")
    assert pushed.module.startswith("mnli/lora")
    assert (pushed.scores, pushed.to_pandas()["target"][0]) == (0, pushed.target)
    other = Session(backbone=session.backbone_option, zoo=tmp_path / "other", quiet=True)
    pulled = other.pull(pushed.reference)
    assert pulled.digest == session.zoo.find("mnli/lora").manifest.digest
    assert other.zoo.find("mnli/lora").folder == pulled.folder
    merged = other.compose("mnli/lora*0.5", "half")
    assert merged.reference.startswith("half/")
    assert other.remove("half").reference == merged.reference
    with pytest.raises(NotFoundError):
        other.zoo.find("half")


def test_a_module_is_exported(session, tmp_path):
    (row,) = session.export("hf", "mnli/lora", tmp_path / "hf").records()
    assert (tmp_path / "hf" / "model.safetensors").is_file()
    assert {"config.json", "model.safetensors"} <= set(row["files"])
    assert row["difference"] <= 1e-4
    with pytest.raises(UsageError, match="exists"):
        session.export("hf", "mnli/lora", tmp_path / "hf")


def test_what_has_no_head_is_refused_without_its_weights(session, monkeypatch, tmp_path):
    def load(*_):
        raise AssertionError("weights are read")

    monkeypatch.setattr(Backbone, "load", load)
    text = "average(mnli/lora, qqp/lora)"
    with pytest.raises(UsageError, match="has no head"):
        session.predict(text, PAIRS)
    with pytest.raises(NotFoundError, match="no head named 'squad2'"):
        session.predict("mnli/lora", PAIRS, task="squad2")
    with pytest.raises(UsageError, match="needs a language"):
        session.predict("lang-{lang}", PAIRS)
    with pytest.raises(UsageError, match="has no head"):
        session.export("hf", text, tmp_path / "hf")


def test_a_folder_of_predictions_is_scored(session, tmp_path):
    for folder, labels in (("own", ["0", "1", "1", "1"]), ("gold", ["0", "1", "0", "1"])):
        path = tmp_path / folder / "pawsx" / "test-de.tsv"
        path.parent.mkdir(parents=True)
        path.write_text("".join(f"{label}\n" for label in labels))
    for code in ("en", "es", "fr", "ja", "ko", "zh"):
        (tmp_path / "gold" / "pawsx" / f"test-{code}.tsv").write_text("0\n")
    found = session.score(tmp_path / "own", tmp_path / "gold")
    assert found.to_pandas().to_dict("records") == [
        {"task": "pawsx", "language": "de", "metric": "accuracy", "value": 75.0}
    ]
    assert len(found.absent) == 6  # a task without one of its languages has no mean
    assert found.summary.tasks == {}
    assert found.official["pawsx"] == {"accuracy": {"de": 75.0}}


def test_data_are_listed_checked_and_packed(tmp_path):
    lines = [f"{n} is\tit was {n}\t{'neutral' if n else 'entailment'}" for n in range(3)]
    path = tmp_path / "data" / "xnli" / "dev-de.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n")
    session = Session(data=tmp_path / "data", quiet=True, offline=True)
    listed = session.list_data(["xnli"], count=True)
    assert [(row["split"], row["language"], row["rows"]) for row in listed.records()] == [
        ("validation", "de", 3)
    ]
    assert session.prepare_data("xnli", langs=["de"]).found[0].rows == 3
    checked = session.check_data(["xnli"])
    assert [task.name for task in checked.checked] == ["xnli"]
    assert [finding.kind for finding in checked.wrong] == ["count"]
    assert session.bundle_data(["xnli"], tmp_path / "packed.tar").files == 1
    with pytest.raises(NotFoundError, match="no data of pawsx to check"):
        session.check_data(["pawsx"])


def test_short_forms_are_those_of_a_default_session():
    assert xstilts.rank.__self__ is xstilts.compose.__self__
    import_module("xstilts.train")
    assert xstilts.train.__name__ == "xstilts.train"
    with pytest.raises(NotFoundError, match="no task named 'nonsense'"):
        xstilts.train("nonsense")
    with pytest.raises(AttributeError):
        _ = xstilts.nonsense


def test_importing_stays_light():
    code = (
        "import sys, xstilts, xstilts.session; xstilts.Session(world='sandbox'); "
        "print([m for m in ('torch', 'transformers', 'numpy', 'pydantic', 'pandas') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_world():
    with pytest.raises(NotFoundError, match="no world named 'sandbax'"):
        Session(world="sandbax")


def test_the_package_lists_its_verbs_and_is_typed():
    assert {"train", "evaluate", "xtreme", "predict", "load", "Session"} <= set(dir(xstilts))
    assert not {"Any", "ModuleType", "sys", "annotations"} & set(dir(xstilts))
    assert all(callable(getattr(xstilts, name)) for name in ("evaluate", "align", "rank"))
    assert (Path(xstilts.__file__).parent / "py.typed").is_file()


def test_what_is_evaluated_is_said_before_anything_is_looked_up(tmp_path, capsys):
    session = Session(zoo=tmp_path / "zoo", results=tmp_path / "r", cache=tmp_path / "c")
    for go in (
        lambda: session.evaluate(["none", "mnli"], "nowhere"),
        lambda: session.xtreme(["none", "mnli"], tasks=["nowhere"]),
        lambda: session.align(["none", "mnli"], "nowhere"),
    ):
        with pytest.raises(NotFoundError):
            go()
        assert capsys.readouterr().err.splitlines()[0] == "evaluating none, mnli on nowhere"


@pytest.mark.long
def test_slow_verbs_say_what_they_do_before_torch_is_imported(tmp_path):
    (tmp_path / "base").mkdir()
    code = """
import sys
from xstilts.errors import XstiltsError
from xstilts.session import Session

place, verb = sys.argv[1:]
Session.note = lambda self, text: print("torch" in sys.modules, text)
session = Session(backbone=place + "/base", zoo=place + "/zoo", cache=place + "/c", data=place)
verbs = {
    "explain": lambda: session.explain("none"),
    "compose": lambda: session.compose("none", "kept"),
    "export": lambda: session.export("merged", "none", place + "/out"),
    "evaluate": lambda: session.evaluate("none", "tatoeba"),
}
try:
    verbs[verb]()
except XstiltsError:
    pass
"""
    for verb in ("explain", "compose", "export", "evaluate"):
        command = [sys.executable, "-c", code, str(tmp_path), verb]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.startswith("False "), (verb, done.stdout)
