"""`xstilts.load` and `xstilts predict`, against plain transformers calls."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from support.trained import add_module, backbone_folder

import xstilts
from xstilts.backbone.backbone import Backbone
from xstilts.cli import main
from xstilts.config.load import load_task
from xstilts.data.inputs import input_example
from xstilts.errors import DataError, NotFoundError, UsageError
from xstilts.modules.methods import METHODS
from xstilts.zoo import Zoo


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    backbone = Backbone.load(str(backbone_folder(folder / "pico")))
    zoo = Zoo(folder / "zoo")
    for task in ("mnli", "squad2", "hellaswag", "udpos"):
        add_module(zoo, backbone, task)
    add_module(zoo, backbone, "mlm", "lang")
    return folder


@pytest.fixture
def loaded(place):
    return lambda text: xstilts.load(text, backbone=str(place / "pico"), zoo=place / "zoo")


def by_hand(asked, first, second):
    """Hidden states of a pair through plain transformers calls."""
    entry = asked.loaded.entries[0]
    adapter = METHODS.get("bottleneck").load(entry.folder, asked.backbone.shape)
    row = asked.tokenizer(first, second, return_tensors="pt")
    with asked.backbone.attach(adapter.at), torch.no_grad():
        return row, asked.backbone(row["input_ids"], row["attention_mask"])


def test_classification(loaded):
    asked = loaded("mnli")
    pair = ("a man runs home", "somebody moves")
    (found,) = asked.predict([pair])
    _, hidden = by_hand(asked, *pair)
    head = asked.head.module
    with torch.no_grad():
        scores = head.out_proj(torch.tanh(head.dense(hidden[:, 0])))[0].softmax(-1)
    labels = ["entailment", "neutral", "contradiction"]
    assert found.value == labels[int(scores.argmax())]
    assert found.scores == pytest.approx(dict(zip(labels, scores.tolist(), strict=True)), abs=1e-5)
    named = asked.predict({"text": pair[0], "text_pair": pair[1], "id": "x"})[0]
    assert (named.id, named.value) == ("x", found.value)


def test_multiple_choice(loaded):
    asked = loaded("hellaswag")
    choices = ["nobody", "the house", "quickly home"]
    row = {"context": "a man", "question": "runs", "choices": choices}
    (found,) = asked.predict([row])
    scores = []
    head = asked.head.module
    for choice in choices:
        _, hidden = by_hand(asked, "a man runs", choice)
        with torch.no_grad():
            scores.append(head.out_proj(torch.tanh(head.dense(hidden[:, 0])))[0, 0])
    shares = torch.stack(scores).softmax(0).tolist()
    assert list(found.scores.values()) == pytest.approx(shares, abs=1e-5)
    assert found.record()["choice"] == choices[shares.index(max(shares))]


def test_tagging(loaded):
    asked = loaded("udpos")
    one, two = asked.predict(["a man runs home", ["nobody", "moves"]])
    assert len(one.value) == 4
    assert len(two.value) == 2
    assert set(one.value) | set(two.value) <= set(asked.head.task.labels)
    assert one.record()["words"] == ["a", "man", "runs", "home"]


def test_answers_are_spans_of_the_context(loaded):
    asked = loaded("squad2")
    context = "the old man runs to the house near the river"
    (found,) = asked.predict([("where does the man run ?", context)])
    assert found.value in context


def test_heads_are_chosen_by_task(place):
    options = {"backbone": str(place / "pico"), "zoo": place / "zoo"}
    assert xstilts.load("mnli", task="mnli", **options).head.task.name == "mnli"
    with pytest.raises(NotFoundError, match="mnli"):
        xstilts.load("mnli", task="xnli", **options)


def test_the_backbone_is_left_as_it_was(loaded):
    asked = loaded("mnli")
    ids = torch.arange(5, 12)[None]
    before = asked.backbone(ids, torch.ones_like(ids))
    asked.predict([("a man", "nobody")])
    assert torch.equal(asked.backbone(ids, torch.ones_like(ids)), before)
    assert asked.predict([]) == []


@pytest.mark.parametrize(
    ("expression", "rows", "words"),
    [
        ("squad2", [{"context": "a man"}], "'question'"),
        ("hellaswag", ["a man"], "'choices'"),
        ("mnli", [("a", "b", "c")], "3 texts"),
        ("udpos", [{"text": "a"}], "'words'"),
        ("mnli", ["a man"], r"'text_pair' of row '0' is missing \(mnli is a task of pairs\)"),
        ("mnli", [{"text": "a", "text_pair": "b"}, {"text": "a", "hypothesis": "b"}], "row '1'"),
        ("mnli", [{"text": "a", "text_pair": "b", "premise": "c"}], "'premise' of row '0' is none"),
        ("mnli", [("a", "\ud83d")], "half of a character"),
        ("mnli", [("a", " ")], "'text_pair' is blank"),
        ("mnli", [("a", float("nan"))], "'text_pair' is blank"),
        ("mnli", [{"text": "a", "text_pair": ["b"]}], "'text_pair' is not text but list"),
        ("mnli", [None], "an input is a NoneType"),
        ("hellaswag", [{"choices": ["a", None]}], "'choice 1' is blank"),
        ("hellaswag", [{"choices": ["a"]}], "1 choices"),
        ("udpos", [["Ada", "\ud83d"]], "half of a character"),
        ("udpos", [["Ada", ""]], "the word is blank"),
    ],
)
def test_missing_fields_are_named(loaded, expression, rows, words):
    with pytest.raises(DataError, match=words):
        loaded(expression).predict(rows)


def test_a_task_of_single_texts_takes_no_pair():
    assert input_example({"text": "a"}, load_task("sst2"), 0).fields == {"text": "a"}
    with pytest.raises(DataError, match="'text_pair' of row '0' is none that sst2 reads"):
        input_example({"text": "a", "text_pair": "b"}, load_task("sst2"), 0)


def test_what_cannot_answer_is_refused(loaded):
    for expression, words in (("none", "no head"), ("mlm", "no predictions")):
        with pytest.raises(UsageError, match=words):
            loaded(expression).predict("a man")
    with pytest.raises(UsageError, match="needs a language"):
        loaded("stack(lang-{lang}, mnli)")


def test_sentence_vectors_without_a_head(loaded):
    asked = loaded("fuse(mnli, udpos)")
    assert asked.head is None
    texts = ["a man runs home", "nobody is there now"]
    vectors = asked.embed(texts, layer=2)
    rows = asked.tokenizer(texts, return_tensors="pt", padding=True)
    with asked.model.attached(), torch.no_grad():
        hidden = asked.backbone.hidden_states(rows["input_ids"], rows["attention_mask"])[2]
    mask = rows["attention_mask"][:, :, None]
    wanted = (hidden * mask).sum(1) / mask.sum(1)
    assert torch.allclose(torch.from_numpy(vectors), wanted, atol=1e-5)
    assert (vectors - loaded("none").embed(texts, layer=2)).max() > 1e-3


def run(place, *arguments):
    flags = ("--backbone", str(place / "pico"), "--zoo", str(place / "zoo"))
    with pytest.raises(SystemExit) as caught:
        main(["predict", *arguments, *flags])
    return caught.value.code


@pytest.mark.long
def test_command(place, capsys, tmp_path, loaded):
    assert not run(
        place, "mnli", "--text", "a man", "--text2", "nobody", "--text", "b", "--text2", "c"
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["id"] for line in lines] == ["0", "1"]
    assert lines[0]["prediction"] == loaded("mnli").predict([("a man", "nobody")])[0].value
    assert sum(lines[0]["scores"].values()) == pytest.approx(1, abs=1e-5)

    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": "q", "question": "where ?", "context": "the house"}\n\n', "utf-8")
    assert not run(place, "squad2", "--input", str(rows))
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["id"] == "q"

    assert not run(place, "udpos", "--text", "a man runs")
    assert len(json.loads(capsys.readouterr().out)["prediction"]) == 3
    assert not run(place, "hellaswag", "--context", "a man", "--choice", "runs", "--choice", "is")
    assert json.loads(capsys.readouterr().out)["choice"] in ("runs", "is")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("mnli",), 2, "--input"),
        (("mnli", "--text", "a", "--text2", "b", "--text2", "c"), 2, "do not pair up"),
        (("mnli", "--input", "nowhere.jsonl"), 4, "nowhere.jsonl"),
        (("mlni", "--text", "a"), 4, "mnli"),
    ],
)
def test_bad_input_is_a_clear_error(place, capsys, arguments, code, words):
    assert run(place, *arguments) == code
    output = capsys.readouterr()
    assert output.out == ""
    assert words in output.err


def test_a_broken_line_is_named(place, capsys, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a"}\nno json\n', "utf-8")
    assert run(place, "mnli", "--input", str(rows)) == 1
    assert "rows.jsonl:2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"text": "caf\xe9", "text_pair": "b"}\n', "not UTF-8: byte 0xe9"),
        (b'{"text": "\\ud83d", "text_pair": "b"}\n', "half of a surrogate pair"),
        (b'{"text": NaN, "text_pair": "b"}\n', "'text' is blank"),
        (b'{"text": "A man sleeps", "hypothesis": "b"}\n', "'text_pair' of row '0' is missing"),
        (b'["a", "b"]\n', "no JSON object"),
    ],
)
def test_inputs_are_read_as_strictly_as_data(place, capsys, tmp_path, data, words):
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(data)
    assert run(place, "mnli", "--input", str(rows)) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert words in output.err


def test_bytes_of_the_command_line_that_are_no_text_are_an_error(place, capsys):
    assert run(place, "mnli", "--text", "caf\udce9", "--text2", "b") == 1
    assert "half of a character" in capsys.readouterr().err


def test_importing_the_package_is_light():
    code = "import sys, xstilts; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert callable(xstilts.load)
    with pytest.raises(AttributeError):
        _ = xstilts.nothing


@pytest.mark.parametrize("name", ["train", "evaluate", "report"])
def test_a_package_with_a_verbs_name_is_both_whatever_was_imported_before(name):
    code = f"from xstilts import {name} as room; print(callable(room), room.__path__[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split()[0] == "True", done.stderr
    assert done.stdout.strip().endswith(name)
