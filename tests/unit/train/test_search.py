"""The search for weights, against a grid over all of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from support.trained import add_module, backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.cli import main
from xstilts.composition.load import load_expression
from xstilts.composition.parser import parse
from xstilts.errors import NotFiniteError, NotFoundError, UsageError
from xstilts.modules.operators import OPERATORS
from xstilts.train.search import Search, SearchSpec, weights
from xstilts.train.search.save import save_found
from xstilts.zoo import Zoo
from xstilts.zoo.workspace import Workspace

pytest.importorskip("cma")

LABELS = ("entailment", "neutral", "contradiction")
TEXT = "the old man runs home to a house near river nobody moves quickly there"


def sentence(generator) -> str:
    return " ".join(generator.choice(TEXT.split(), 5))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    generator = np.random.default_rng(0)
    rows = [
        f"{sentence(generator)}\t{sentence(generator)}\t{LABELS[number % 3]}\n"
        for number in range(40)
    ]
    data = folder / "data" / "mnli"
    data.mkdir(parents=True)
    header = "sentence1\tsentence2\tgold_label\n"
    (data / "dev_matched.tsv").write_text(header + "".join(rows), "utf-8")
    (data / "train.tsv").write_text(header + "".join(rows), "utf-8")
    backbone = Backbone.load(str(backbone_folder(folder / "pico")))
    zoo = Zoo(folder / "zoo")
    for task, seed in (("mnli", 1), ("qqp", 2), ("udpos", 3)):
        add_module(zoo, backbone, task, "lora", seed)
    return folder, backbone, zoo


def workspace(place, runs):
    folder, _, zoo = place
    return Workspace(folder / "data", zoo, runs, None, quiet=True)


def make(place, runs, text="average(mnli, qqp)", head="", **spec):
    return Search(text, "mnli", head, place[1], workspace(place, runs), SearchSpec(**spec))


def test_it_is_no_worse_than_a_grid(place, tmp_path):
    search = make(place, tmp_path, budget=60, shots=16)
    found = search.run()
    grid = [
        search.loss(parse(f"average(mnli*{w / 1000}, qqp*{1 - w / 1000})"))
        for w in (1, *range(25, 1000, 25), 999)
    ]
    assert found.loss <= min(grid) + 1e-3
    assert found.start == pytest.approx(search.loss(parse("average(mnli*0.5, qqp*0.5)")))
    assert found.loss == pytest.approx(search.loss(found.expression))
    assert found.loss <= found.start
    assert 60 <= found.judged < 75
    shares = [part.weight for part in found.expression.parts]
    assert sum(shares) == pytest.approx(1.0, abs=1e-9)


def test_free_weights_carry_a_penalty(place, tmp_path):
    search = make(place, tmp_path, "mnli - qqp*0.5", budget=30, shots=16)
    found = search.run()
    # as written: weights 1 and -0.5, whose mean size is 0.75
    assert found.start_penalty == pytest.approx(0.05 * 0.75)
    assert found.start == pytest.approx(search.loss(parse("mnli - qqp*0.5")) + 0.05 * 0.75)
    size = np.mean([abs(part.weight) for part in found.expression.parts])
    assert found.penalty == pytest.approx(0.05 * size)
    assert found.loss == pytest.approx(search.loss(found.expression) + found.penalty)
    assert all(abs(part.weight) <= 1.5 for part in found.expression.parts)
    assert parse(str(found.expression)) == found.expression


def test_a_stopped_search_goes_on(place, tmp_path, monkeypatch):
    whole = make(place, tmp_path / "a", budget=30, shots=8).run()
    count = 0

    def stop(_text, share):
        if share > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(place, tmp_path / "b", budget=30, shots=8).run(stop)
    (path,) = (tmp_path / "b").iterdir()
    done = len(path.read_text().splitlines())
    path.write_text(path.read_text() + '{"number": 99, "lo')
    real = Search.loss

    def counted(self, expression):
        nonlocal count
        count += 1
        return real(self, expression)

    monkeypatch.setattr(Search, "loss", counted)
    again = make(place, tmp_path / "b", budget=30, shots=8).run()
    assert again == whole
    assert count == whole.judged - done > 0
    larger = make(place, tmp_path / "b", budget=40, shots=8).run()
    assert larger.loss <= whole.loss
    assert count == larger.judged - done
    assert (tmp_path / "b" / path.name).read_text().count("\n") == larger.judged


@pytest.mark.parametrize(
    "line", [b"", b"\0\0\0", b"{}", b"[]", b"null", b'{"number": 3, "loss": NaN}',
             b'{"number": 9, "loss": 1.0}', b'{"number": 3, "loss": "low"}', b"\xff"]
)  # fmt: skip
def test_damaged_judgements_are_made_again(line, place, tmp_path):
    whole = make(place, tmp_path, budget=10, shots=8).run()
    (path,) = tmp_path.iterdir()
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:3], line, *lines[4:]]) + b"\n")
    assert make(place, tmp_path, budget=10, shots=8).run() == whole
    assert path.read_bytes().splitlines() == lines


def test_a_search_that_finds_no_number_keeps_nothing(place, tmp_path, monkeypatch):
    monkeypatch.setattr(Search, "loss", lambda *_: float("nan"))
    with pytest.raises(NotFiniteError, match="no weights give a finite loss"):
        make(place, tmp_path, budget=10, shots=8).run()


def test_the_result_is_a_module(place, tmp_path):
    search = make(place, tmp_path, budget=10, shots=8)
    found = search.run()
    entry = save_found(search, found, "mixed")
    assert save_found(search, found, "mixed").manifest.digest == entry.manifest.digest
    loaded = load_expression("mixed", place[2], place[1])
    assert loaded.head is not None
    again = make(place, tmp_path, "average(mnli, qqp)", head="mixed", budget=1, shots=8)
    ids = torch.arange(5, 15)[None]
    with search.model(found.expression).attached():
        wanted = place[1](ids, torch.ones_like(ids))
    with place[1].attach(loaded.composed.nodes):
        assert torch.equal(place[1](ids, torch.ones_like(ids)), wanted)
    assert again.head.task.labels == list(LABELS)


def test_the_manifest_names_the_rows_that_judged(place, tmp_path):
    own = place[0] / "tgt.yaml"
    own.write_text(
        "format: classification\nfamily: nli\nlanguages: [de]\nsource_language: de\n"
        f"labels: [{', '.join(LABELS)}]\nmetric: accuracy\ntrain_task: mnli\n"
        'select_split: ""\nsources: []\n'
    )
    here, spec = workspace(place, tmp_path), SearchSpec(budget=3, shots=8)
    search = Search("average(mnli, qqp)", str(own), "", place[1], here, spec)
    manifest = save_found(search, search.run(), "judged").manifest
    (record,) = manifest.data
    assert (record.task, record.split, record.language) == ("mnli", "validation", "en")
    assert manifest.source_language == "en"


def test_shares_sum_to_one_in_their_decimals():
    # softmax(ln 1, ln 3) = 1/4, 3/4
    assert weights.shares([0.0, float(np.log(3))]) == [0.25, 0.75]
    for seed in range(50):
        values = np.random.default_rng(seed).normal(size=7) * 4
        shares = weights.shares(values.tolist())
        assert abs(sum(shares) - 1) < 1e-9
        assert min(shares) >= 0.001
    assert weights.free([2.0, -9.0, 0.0, 0.12345]) == [1.5, -1.5, 0.001, 0.123]


def test_nested_weights_are_found(place, tmp_path):
    text = "average(mnli, mnli + qqp)"
    search = make(place, tmp_path, text, budget=8, shots=8)
    assert [len(call.parts) for call in search.calls] == [2, 2]
    found = search.run()
    assert parse(str(found.expression)) == found.expression
    assert found.loss <= found.start


@pytest.mark.parametrize("operator", [n for n in OPERATORS if OPERATORS.get(n).MERGES])
def test_every_weighing_operator_can_be_searched(place, tmp_path, operator):
    text = "mnli + qqp" if operator == "sum" else f"{operator}(mnli, qqp)"
    found = make(place, tmp_path, text, budget=3, shots=4).run()
    assert found.loss <= found.start
    assert parse(str(found.expression)) == found.expression


@pytest.mark.parametrize(
    ("text", "head", "error", "words"),
    [
        ("mnli", "", UsageError, "fewer than two weights"),
        ("stack(mnli, qqp)", "", UsageError, "fewer than two weights"),
        ("average(qqp, udpos)", "", UsageError, "--head"),
        ("average(mnli, qqp)", "udpos", UsageError, "--head"),
        ("average(mnli, qqp)", "nothing", NotFoundError, "nothing"),
    ],
)
def test_what_cannot_be_searched_is_refused(place, tmp_path, text, head, error, words):
    with pytest.raises(error, match=words):
        make(place, tmp_path, text, head)


@pytest.mark.parametrize(
    ("expression", "said"),
    [("mnli + qqp", "(as written 0.0500)"), ("average(mnli, qqp)", "")],  # both weights are 1
)
def test_the_command_says_how_much_of_a_loss_is_penalty(
    place, capsys, tmp_path, monkeypatch, expression, said
):
    monkeypatch.setenv("XSTILTS_HOME", str(tmp_path))
    monkeypatch.setenv("XSTILTS_CACHE", str(tmp_path / "cache"))
    flags = ("--backbone", str(place[0] / "pico"), "--zoo", str(place[0] / "zoo"))
    data = ("--data", str(place[0] / "data"), "-q")
    with pytest.raises(SystemExit):
        main(["search", expression, "--target", "mnli", "--budget", "4", *flags, *data])
    lines = [line for line in capsys.readouterr().out.splitlines() if "penalty" in line]
    assert len(lines) == bool(said)
    assert all(line.endswith(said) for line in lines)


def test_command(place, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XSTILTS_HOME", str(tmp_path))
    monkeypatch.setenv("XSTILTS_CACHE", str(tmp_path / "cache"))
    folder = place[0]
    flags = ("--backbone", str(folder / "pico"), "--zoo", str(folder / "zoo"))
    data = ("--data", str(folder / "data"), "--json", "-q")
    asked = ("--search", "dev", "--target", "mnli", "--budget", "6", "--shots", "8")
    with pytest.raises(SystemExit) as caught:
        main(["compose", "average(mnli, qqp)", *asked, "--save", "searched", *flags, *data])
    output = capsys.readouterr()
    assert not caught.value.code, output.err
    record = json.loads(output.out)
    assert record["reference"].startswith("searched/search/")
    assert record["loss"] <= record["start_loss"]
    assert record["examples"] == 8
