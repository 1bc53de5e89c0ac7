"""Estimates of transfer, against closed forms, hand arithmetic and planted cases."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from support.models import randomise
from support.trained import add_composition, add_module, backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.pretrained import fingerprint
from xstilts.cli import main
from xstilts.config.load import load_task
from xstilts.data.features import Batch
from xstilts.errors import DataError, NotFoundError, UsageError
from xstilts.evaluate.ranking import RankedModule, Ranker, RankSpec, _ranked, estimates
from xstilts.evaluate.ranking.agreement import agreement, known_results
from xstilts.evaluate.store import ResultStore, Score
from xstilts.modules.methods import METHODS
from xstilts.zoo import Entry, Manifest, Zoo, write_manifest
from xstilts.zoo.manifest import DataRecord
from xstilts.zoo.workspace import Workspace

LABELS = ("entailment", "neutral", "contradiction")
SIGNS = ("nobody", "river", "quickly")


# ----------------------------------------------------------------------------------------- LogME


def problem(count, size, seed=0):
    draws = np.random.default_rng(seed)
    vectors = draws.normal(size=(count, size))
    classes = (vectors @ draws.normal(size=size) + 0.5 * draws.normal(size=count) > 0).astype(int)
    return vectors, classes


@pytest.mark.parametrize("shape", [(30, 6), (8, 12)])
def test_evidence_is_the_density_of_a_linear_model(shape):
    """y ~ N(0, I / beta + F F^T / alpha)."""
    vectors, classes = problem(*shape)
    y = classes.astype(float)
    left, singular, _ = np.linalg.svd(vectors, full_matrices=False)
    inside = (left.T @ y) ** 2
    outside = y @ y - inside.sum()
    for alpha, beta in ((1.0, 1.0), (0.3, 7.0), (20.0, 0.5)):
        covariance = np.eye(shape[0]) / beta + vectors @ vectors.T / alpha
        expected = stats.multivariate_normal.logpdf(y, np.zeros(shape[0]), covariance)
        found = estimates.evidence(singular**2, inside, outside, shape, alpha, beta)
        assert found == pytest.approx(expected, abs=1e-8)


def test_logme_is_the_largest_evidence():
    vectors, classes = problem(60, 5)

    def negative(logs, y):
        alpha, beta = np.exp(logs)
        covariance = np.eye(60) / beta + vectors @ vectors.T / alpha
        return -stats.multivariate_normal.logpdf(y, np.zeros(60), covariance)

    best = []
    for name in (0, 1):
        y = (classes == name).astype(float)
        found = optimize.minimize(negative, [0.0, 0.0], args=(y,), method="Nelder-Mead")
        best.append(-found.fun / 60)
    assert estimates.logme(vectors, classes) == pytest.approx(np.mean(best), abs=1e-4)


def test_logme_prefers_vectors_that_tell_the_classes_apart():
    vectors, classes = problem(80, 6)
    shuffled = np.random.default_rng(1).permutation(classes)
    assert estimates.logme(vectors, classes) > estimates.logme(vectors, shuffled) + 0.05
    with pytest.raises(DataError, match="one label"):
        estimates.logme(vectors, np.zeros(80, int))


# ------------------------------------------------------------------------------------- vectors


def test_vectors_of_each_format():
    hidden = torch.arange(3 * 4 * 2.0).reshape(3, 4, 2)
    ids = torch.ones(3, 4, dtype=torch.long)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])
    rows = torch.arange(3)

    def batch(example, tokens=None, **scalars):
        numbers = {name: torch.tensor(values) for name, values in scalars.items()}
        count = int(example.max()) + 1
        return Batch(ids, mask, example, rows.numpy(), count, tokens or {}, numbers)

    def found(name, made):
        vectors, classes = estimates.labelled_vectors(
            load_task(name), [estimates.EncodedBatch(made, hidden)]
        )
        return vectors.tolist(), classes.tolist()

    first = [[0, 1], [8, 9], [16, 17]]
    assert found("mnli", batch(rows, label=[2, 0, 1])) == (first, [2, 0, 1])
    choices = batch(torch.tensor([0, 0, 1]), label=[1, 1, 0])
    assert found("hellaswag", choices) == (first, [0, 1, 1])
    labels = torch.full((3, 4), -100)
    labels[0, 1], labels[2, 1] = 4, 5
    assert found("udpos", batch(rows, {"labels": labels})) == ([[2, 3], [18, 19]], [4, 5])
    answers = batch(rows, start=[1, 0, 1], end=[2, 0, 1])
    vectors, classes = found("squad2", answers)
    assert len(vectors) == 4 + 3 + 2
    assert classes == [0, 1, 1, 0, 0, 0, 0, 0, 1]


def test_cosine():
    assert estimates.cosine(np.array([3.0, 4.0]), np.array([4.0, 3.0])) == pytest.approx(24 / 25)


# ----------------------------------------------------------------------------------- agreement


def test_agreement_by_hand():
    """Orders 1 2 3 and 1 3 2: rho = 1 - 6*2/24 = 0.5, tau = (2 - 1)/3; 15 chosen of 20 at best."""
    pairs = {
        "text": [(1.0, 10.0), (2.0, 20.0), (3.0, 15.0), (None, 99.0), (4.0, None)],
        "task": [(1.0, 10.0), (2.0, 20.0)],
        "probe": [(1.0, 10.0), (1.0, 20.0), (1.0, 15.0)],
    }
    (only,) = agreement(pairs)
    assert (only.method, only.modules) == ("text", 3)
    assert only.spearman == pytest.approx(0.5)
    assert only.kendall == pytest.approx(1 / 3)
    assert only.regret == pytest.approx(25.0)


def test_what_an_estimate_cannot_tell_apart_counts_by_its_mean():
    """Of 10 and 20 first by the same estimate 15 is expected, of 20 at best."""
    pairs = {"text": [(2.0, 10.0), (2.0, 20.0), (1.0, 5.0)]}
    (only,) = agreement(pairs)
    assert only.regret == pytest.approx(25.0)


# ------------------------------------------------------------------------------------ rankings


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rank")
    draws = np.random.default_rng(0)
    words = ["old", "man", "runs", "home", "house", "near"]
    for name, header in (
        ("mnli", "sentence1\tsentence2\tgold_label\n"),
        ("qqp", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"),
    ):
        (folder / "data" / name).mkdir(parents=True)
        for file, count in (("train", 60), ("dev_matched" if name == "mnli" else "dev", 30)):
            lines = []
            for number in range(count):
                texts = [" ".join(draws.choice(words, 3)) for _ in "ab"]
                kind = number % 3
                if name == "mnli":  # the label is a word of the first text
                    lines.append(f"{SIGNS[kind]} {texts[0]}\t{texts[1]}\t{LABELS[kind]}\n")
                else:
                    lines.append(f"0\t1\t2\t{texts[0]}\t{texts[1]}\t{number % 2}\n")
            (folder / "data" / name / f"{file}.tsv").write_text(header + "".join(lines), "utf-8")
    backbone = Backbone.load(str(backbone_folder(folder / "pico")))
    zoo = Zoo(folder / "zoo")
    _plant(zoo, backbone, "mnli", "seq_bn")
    _plant(zoo, backbone, "qqp", "seq_bn", deaf=True)
    add_module(zoo, backbone, "qqp", "lora")
    return folder, backbone, zoo


def _plant(zoo, backbone, task_name, preset, *, deaf=False, tasks=()):
    """A module that changes nothing, or (deaf) one that makes all tokens alike."""
    method = METHODS.get("bottleneck")
    options = method.Options(reduction_factor=4)

    def write(folder):
        adapter = method.create(backbone.shape, options, torch.Generator().manual_seed(0))
        if deaf:
            randomise(adapter.at["2_ffn"], 3)
            adapter.at["2_ffn"].up.bias.data *= 1e6
        method.save(adapter, folder, task_name, backbone)
        manifest = Manifest(
            name=task_name,
            kind="adapter",
            task=task_name,
            method="bottleneck",
            preset=preset,
            options=options.model_dump(),
            backbone=backbone.identity,
            data=[DataRecord(task=t, split=s, language="en", rows=90) for t, s in tasks],
        )
        return write_manifest(folder, manifest)

    return zoo.add(write)


def ranking(place, tmp_path, modules=(), **spec):
    folder, backbone, zoo = place
    workspace = Workspace(folder / "data", zoo, tmp_path, None, quiet=True)
    return Ranker("mnli", list(modules), backbone, workspace, RankSpec(**{"shots": 24, **spec}))


@pytest.mark.long
def test_a_module_that_brings_the_signal_out_is_seen(place, tmp_path, monkeypatch):
    """The random encoder's first token hears next to nothing of the others; random LoRA mixes."""
    monkeypatch.setattr(estimates, "PROBE_STEPS", 600)  # hidden states are only 16 wide
    monkeypatch.setattr(estimates, "PROBE_RATE", 2e-2)
    before = fingerprint(place[1].encoder)
    outcome = ranking(place, tmp_path, shots=60).run([])
    by_name = {row.entry.reference.rpartition("/")[0]: row.estimates for row in outcome.rows}
    lora, deaf = by_name["qqp/lora"], by_name["qqp/seq_bn"]
    assert lora["logme"] > deaf["logme"] + 0.5
    assert lora["probe"] > deaf["probe"] + 0.2
    # without any signal the best guess at three equally frequent labels is a third
    assert deaf["probe"] == pytest.approx(1 / 3, abs=0.01)
    assert by_name["mnli/seq_bn"]["text"] == pytest.approx(1.0)
    assert by_name["mnli/seq_bn"]["task"] == pytest.approx(1.0)
    assert deaf["task"] < 0.99
    assert outcome.rows[-1].entry.reference.startswith("qqp/seq_bn")
    assert outcome.agreements == []
    assert fingerprint(place[1].encoder) == before
    assert not any(p.requires_grad for p in place[1].encoder.parameters())


@pytest.mark.long
def test_a_module_of_several_tasks_is_compared_by_each_of_them(place, tmp_path):
    folder, backbone, _ = place
    own = Zoo(tmp_path / "zoo")
    _plant(own, backbone, "mnli", "seq_bn")
    _plant(own, backbone, "qqp", "seq_bn")
    trained = (("mnli", "train"), ("qqp", "train"))
    _plant(own, backbone, "both", "seq_bn", tasks=(*trained, ("xnli", "validation")))
    found = ranking((folder, backbone, own), tmp_path / "cache", methods=("text", "task")).run([])
    by_name = {row.entry.manifest.name: row for row in found.rows}
    assert by_name["both"].notes == ()
    for method in ("text", "task"):
        one, other, both = (by_name[n].estimates[method] for n in ("mnli", "qqp", "both"))
        assert both == pytest.approx((one + other) / 2)
    assert [row.entry.manifest.name for row in found.rows] == ["mnli", "both", "qqp"]


def test_what_an_estimate_does_not_know_has_its_middle_rank():
    def made(name, **estimates):
        return RankedModule(SimpleNamespace(reference=name), estimates)

    rows = [
        made("a", text=0.9, probe=0.1),
        made("b", text=0.7, probe=0.2),
        made("c", text=0.8, probe=0.3),
        made("unknown", probe=0.4),
        made("nothing"),
    ]
    placed = {r.entry.reference: r.mean_rank for r in _ranked(rows, ("text", "probe", "logme"))}
    # by text 1, 3, 2 and the middle of three; by probe 4, 3, 2, 1 and the middle of four
    expected = {"a": 2.5, "b": 3.0, "c": 2.0, "unknown": 1.5, "nothing": 2.25}
    assert placed == expected
    assert {r.mean_rank for r in _ranked(rows, ("logme",))} == {3.0}


@pytest.mark.long
def test_fisher_is_the_mean_squared_gradient(place, tmp_path):
    backbone = place[1]
    rows = ranking(place, tmp_path).rows.of("qqp")
    found = estimates.fisher(backbone, rows.task, rows.train, 5)
    head = estimates.probe_head(backbone, rows.task, estimates.states(backbone, rows.train), 5)
    bias = backbone.encoder.encoder.layer[0].attention.self.query.bias.requires_grad_(True)
    squares = []
    for number in range(rows.train.num_examples):
        ids = torch.from_numpy(rows.train.input_ids[number]).long()[None]
        hidden = backbone(ids, torch.ones_like(ids))
        label = torch.tensor([rows.train.scalars["label"][number]])
        loss = torch.nn.functional.cross_entropy(head(hidden, None), label)
        (slope,) = torch.autograd.grad(loss, bias)
        squares.append(slope**2)
    bias.requires_grad_(False)
    expected = torch.stack(squares).mean(0).numpy()
    # the query bias of the first block is the first of the parameters taken
    assert found[: len(bias)] == pytest.approx(expected, rel=1e-3)
    assert len(squares) == 24


@pytest.mark.long
def test_the_same_seed_gives_the_same_numbers(place, tmp_path):
    one, two = (ranking(place, tmp_path, ["qqp/lora"]).run([]).rows for _ in "ab")
    assert one == two


def score(label, language, value, backbone, **more):
    fields = {
        "expression": label,
        "intermediate": label,
        "digest": "d",
        "backbone": "pico",
        "fingerprint": backbone.identity.key,
        "task": "mnli",
        "language": language,
        "split": "test",
        "metric": "accuracy",
        "value": value,
        "n": 10,
    }
    return Score(**{**fields, **more})


def test_known_results_are_means_over_shared_languages(place, tmp_path):
    _, backbone, zoo = place
    entries = ranking(place, tmp_path).entries
    scores = [
        score("mnli/seq_bn", "en", 60.0, backbone, seed=1),
        score("mnli/seq_bn", "en", 70.0, backbone, seed=2),
        score("mnli/seq_bn", "de", 40.0, backbone),
        score("qqp/lora", "en", 50.0, backbone),
        score("none", "en", 99.0, backbone),
        score("stack(mnli/seq_bn, qqp/lora)", "en", 99.0, backbone),
        score("qqp/seq_bn", "en", 99.0, backbone, task="xnli"),
        score("qqp/lora", "en", 99.0, backbone, main=False),
        score("qqp/lora", "en", 99.0, backbone, fingerprint="0" * 64),
    ]
    found = known_results(scores, load_task("mnli"), entries, zoo, backbone)
    digests = {e.reference.rpartition("/")[0]: e.manifest.digest for e in entries}
    assert found == {digests["mnli/seq_bn"]: 65.0, digests["qqp/lora"]: 50.0}
    # Rows of the task's own split are not averaged with others'.
    own = [s.model_copy(update={"split": "validation", "value": s.value / 2}) for s in scores]
    halves = {digest: value / 2 for digest, value in found.items()}
    assert known_results([*scores, *own], load_task("mnli"), entries, zoo, backbone) == halves


def test_known_results_are_of_what_a_head_stands_on_whatever_its_row_is_called(place, tmp_path):
    _, backbone, _ = place
    zoo = Zoo(tmp_path / "study")
    modules = [add_module(zoo, backbone, "qqp", "lora", seed) for seed in (1, 2)]
    modules.append(add_module(zoo, backbone, "qqp", "par_bn", 1))
    at = [f"@{entry.manifest.digest}" for entry in modules]
    rows, values = [], (60.0, 72.0, 50.0, 99.0)
    for value, below in zip(values, [*at, f"stack({at[0]}, {at[2]})"], strict=True):
        head = add_composition(zoo, backbone, below, "mnli", "mnli-after-english").manifest
        rows.append(score(f"@{head.digest}", "de", value, backbone, intermediate="english"))
    rows.append(score(at[0], "de", 90.0, backbone, intermediate="qqp/par_bn"))
    entries = [modules[0], modules[2]]
    found = known_results(rows, load_task("mnli"), entries, zoo, backbone)
    lora, other = (entry.manifest.digest for entry in entries)
    assert found == {lora: 74.0, other: 50.0}  # two seeds below heads, and one module by itself
    zoo.remove(modules[1])
    left = known_results(rows, load_task("mnli"), entries, zoo, backbone)
    assert left == {lora: 75.0, other: 50.0}  # what is gone belongs to nothing


@pytest.mark.parametrize(
    ("target", "spec", "error", "words"),
    [
        ("tatoeba", {}, UsageError, "no labels"),
        ("mnli", {"methods": ("logmee",)}, NotFoundError, "logme"),
        ("nothing", {}, NotFoundError, "nothing"),
    ],
)
def test_what_cannot_be_ranked_is_refused(place, tmp_path, target, spec, error, words):
    folder, backbone, zoo = place
    workspace = Workspace(folder / "data", zoo, tmp_path, None)
    with pytest.raises(error, match=words):
        Ranker(target, [], backbone, workspace, RankSpec(**spec))
    empty = Workspace(folder / "data", Zoo(tmp_path / "empty"), tmp_path, None)
    with pytest.raises(NotFoundError, match="no trained module"):
        Ranker("mnli", [], backbone, empty, RankSpec())


@pytest.mark.long
def test_command(place, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XSTILTS_HOME", str(tmp_path))
    monkeypatch.setenv("XSTILTS_CACHE", str(tmp_path / "cache"))
    folder, backbone, _ = place
    store = ResultStore(tmp_path / "results")
    for number, label in enumerate(("mnli/seq_bn", "qqp/lora", "qqp/seq_bn")):
        row = score(label, "en", 90.0 - 10 * number, backbone)
        store.put({"label": label}, [row], "x\n", "tsv", None, 1.0)
    flags = ("--backbone", str(folder / "pico"), "--zoo", str(folder / "zoo"), "--json", "-q")
    data = ("--data", str(folder / "data"), "--results", str(tmp_path / "results"))
    for extra in (("--dry-run",), ()):
        with pytest.raises(SystemExit) as caught:
            main(["rank", "mnli", "--shots", "24", *flags, *data, *extra])
        output = capsys.readouterr()
        assert not caught.value.code, output.err
        record = json.loads(output.out)
    assert len(record["modules"]) == 3
    assert record["modules"][-1]["reference"].startswith("qqp/seq_bn")
    assert [m["known"] for m in record["modules"]][-1] == 70.0
    by_method = {a["method"]: a for a in record["agreement"]}
    assert by_method["logme"]["modules"] == 3
    assert by_method["probe"]["regret"] >= 0


def test_a_module_stands_for_rows_in_the_languages_that_it_was_trained_in(
    place, tmp_path, monkeypatch
):
    from xstilts.evaluate.ranking import rows as room

    ranker = ranking(place, tmp_path, ["qqp/lora"], methods=("text", "task"))
    (entry,) = ranker.entries
    manifest = entry.manifest.model_copy(update={"source_language": "id,zh"})
    ranker.entries = [Entry(manifest, entry.folder)]
    asked, plain = [], room.load

    def load(task, split, language, root, **options):
        asked.append((task.name, language, options["limit"]))
        return plain(task, split, "en", root, **options)

    monkeypatch.setattr(room, "load", load)
    (row,) = ranker.run([]).rows
    assert set(row.estimates) == {"text", "task"}
    assert asked == [("mnli", "en", 24), ("qqp", "id", 12), ("qqp", "zh", 12)]
