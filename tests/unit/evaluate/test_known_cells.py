"""Cells that are there are found by the identity of files: without weights, and without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.trained import add_module, backbone_folder

from xstilts.cli import main
from xstilts.errors import IntegrityError, LaterVersionError
from xstilts.evaluate.ranking import METHODS
from xstilts.evaluate.store import ResultStore
from xstilts.session import Session
from xstilts.train.known import plan_settings, run_key
from xstilts.train.plan import estimate, plan_phase
from xstilts.zoo import verify

FAST = """
import json, sys
from xstilts.cli import main
place, *words = sys.argv[1:]
try:
    main(["--json", "--zoo", place + "/zoo", "--data", place + "/data", "--results",
          place + "/results", *words])
finally:
    heavy = [m for m in ("torch", "transformers", "scipy", "safetensors.torch") if m in sys.modules]
    print(json.dumps(heavy), file=sys.stderr)
"""


def age(*paths: Path) -> None:
    """Let files be older than what a clock's tick could hide."""
    for path in paths:
        os.utime(path, (1e9, 1e9))


@pytest.fixture
def place(tmp_path):
    base = backbone_folder(tmp_path / "base")
    bitext = tmp_path / "data" / "tatoeba"
    bitext.mkdir(parents=True)
    for side, name in (("de", "deu"), ("en", "eng")):
        lines = [f"a man runs {side}", "nobody is there", "where does the man run ?"]
        (bitext / f"tatoeba.deu-eng.{name}").write_text("\n".join(lines) + "\n", "utf-8")
    (tmp_path / "data" / "xnli").mkdir()
    rows = "a man runs\tnobody is there\tneutral\nwhere\tthe house\tentailment\n"
    (tmp_path / "data/xnli/test-en.tsv").write_text(rows, "utf-8")
    age(*base.iterdir(), *(path for path in (tmp_path / "data").rglob("*") if path.is_file()))
    session = session_at(tmp_path)
    add_module(session.zoo, session.backbone(), "mnli")
    return tmp_path


def session_at(place: Path) -> Session:
    return Session(
        backbone=str(place / "base"),
        zoo=place / "zoo",
        data=place / "data",
        results=place / "results",
        cache=place / "cache",
        quiet=True,
    )


def asked(place: Path, *words: str) -> tuple[dict, list[str]]:
    """What a command prints in a process of its own, and what of the slow it imported."""
    environment = os.environ | {
        "XSTILTS_CACHE": str(place / "cache"),
        "XSTILTS_HOME": str(place / "home"),
        "XSTILTS_BACKBONE": str(place / "base"),
    }
    done = subprocess.run(
        [sys.executable, "-c", FAST, str(place), *words],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    return json.loads(done.stdout), json.loads(done.stderr.splitlines()[-1])


@pytest.mark.long
def test_finished_cells_are_shown_without_torch(place):
    session = session_at(place)
    first = session.evaluate(["none", "mnli"], "tatoeba", langs=["de"])
    own = session.evaluate("mnli", "xnli", langs=["en"])
    measured = session.align("none", "tatoeba", langs=["de"])
    assert (first.outcome.computed, own.outcome.computed) == (2, 1)
    for result, *words in (
        (first, "eval", "none", "mnli", "--task", "tatoeba", "--langs", "de"),
        (own, "eval", "mnli", "--task", "xnli", "--langs", "en"),
        (own, "xtreme", "mnli", "--tasks", "xnli", "--langs", "en"),
        (measured, "align", "none", "--task", "tatoeba", "--langs", "de"),
    ):
        record, heavy = asked(place, *words)
        assert heavy == [], words
        assert (record["computed"], record["cached"]) == (0, len(result.outcome.cells)), words
        assert record["scores"] == [score.model_dump() for score in result.scores]


@pytest.fixture
def training_rows(place):
    """A file of mnli's training rows."""
    rows = ["sentence1\tsentence2\tgold_label"]
    rows += ["a man runs\tnobody is there\tneutral", "where\tthe house\tentailment"] * 4
    path = place / "data/mnli/train.tsv"
    path.parent.mkdir()
    path.write_text("\n".join(rows) + "\n", "utf-8")
    dev = path.with_name("dev_matched.tsv")
    dev.write_text("\n".join(rows[:3]) + "\n", "utf-8")
    age(path, dev)
    return path


FEW = ["train.max_steps=2", "train.batch_size=2"]
LINES = (
    ("xtreme", "none", "--tasks", "xnli", "--langs", "en"),
    ("train-adapter", "mnli", "--name", "own"),
    ("compose", "mnli", "--target", "xnli", "--save", "topped"),
)


def line_of(words: tuple[str, ...]) -> list[str]:
    return [*words, *(part for setting in FEW for part in ("--set", setting))]


@pytest.mark.long
def test_trainings_that_were_done_are_found_without_torch(place, training_rows):
    session = session_at(place)
    scored = session.xtreme("none", tasks=["xnli"], langs=["en"], overrides=FEW)
    assert scored.outcome.computed == 1
    own = session.train("mnli", name="own", overrides=FEW)
    topped = session.compose("mnli", "topped", target="xnli", overrides=FEW)
    record, heavy = asked(place, *line_of(LINES[0]))
    assert (heavy, record["computed"], record["cached"]) == ([], 0, 1)
    assert record["scores"] == [score.model_dump() for score in scored.scores]
    record, heavy = asked(place, "--dry-run", *line_of(LINES[0]))
    assert (heavy, record["train"], record["evaluate"][0]["to compute"]) == ([], [], 0)
    for result, words in ((own, LINES[1]), (topped, LINES[2])):
        record, heavy = asked(place, *line_of(words))
        assert (heavy, record["digest"]) == ([], result.digest), words


def test_a_training_of_other_rows_settings_or_code_is_another_one(place, training_rows):
    session = session_at(place)
    first = session.train("mnli", name="own", overrides=FEW)
    found = session_at(place).trained("mnli", name="own", overrides=FEW)
    assert found is not None and found.digest == first.digest
    for other in (
        {"name": "another"},
        {"name": "own", "seed": 3},
        {"name": "own", "method": "lora"},
        {"name": "own", "base": "mnli"},
    ):
        assert session_at(place).trained("mnli", overrides=FEW, **other) is None, other
    text = training_rows.read_text("utf-8")
    training_rows.write_text(text.replace("the house", "the night", 1), "utf-8")
    assert session_at(place).trained("mnli", name="own", overrides=FEW) is None
    assert session_at(place).train("mnli", name="own", overrides=FEW).digest != first.digest
    dev = place / "data/mnli/dev_matched.tsv"
    training_rows.write_text(text, "utf-8")
    age(training_rows)
    assert session_at(place).train("mnli", name="own", overrides=FEW).digest == first.digest
    assert session_at(place).trained("mnli", name="own", overrides=FEW) is not None
    dev.write_text("\n".join(text.splitlines()[:4]) + "\n", "utf-8")
    assert session_at(place).trained("mnli", name="own", overrides=FEW) is None


def test_a_module_that_was_removed_is_trained_again(place, training_rows):
    first = session_at(place).train("mnli", name="own", overrides=FEW)
    session_at(place).remove(f"@{first.digest}")
    assert session_at(place).trained("mnli", name="own", overrides=FEW) is None
    assert session_at(place).train("mnli", name="own", overrides=FEW).digest == first.digest


@pytest.mark.long
def test_a_plan_needs_no_weights(place):
    session = session_at(place)
    session.evaluate("none", "tatoeba", langs=["de"])
    record, heavy = asked(
        place, "--dry-run", "eval", "none", "mnli", "--task", "tatoeba", "--langs", "de"
    )
    assert heavy == []
    assert [row["to compute"] for row in record["evaluate"]] == [0, 1]


@pytest.mark.long
@pytest.mark.parametrize("method", ["seq_bn", "lora", "full", "head"])
def test_a_plan_of_a_training_needs_no_weights_where_its_speed_is_known(
    place, training_rows, method
):
    def planned(session: Session, *, plan_only: bool):
        phase = session.phase("mnli", method=method, overrides=FEW, plan_only=plan_only)
        return phase, plan_phase(phase)

    _, whole = planned(session_at(place), plan_only=False)
    first, second = session_at(place), session_at(place)
    phase, plan = planned(first, plan_only=True)
    assert plan == whole
    assert not first._backbones
    measured = estimate(phase, plan, seconds=0.05)
    assert first._backbones
    assert estimate(*planned(second, plan_only=True)) == measured
    assert not second._backbones


@pytest.mark.long
def test_a_plan_that_was_made_is_shown_without_torch(place, training_rows):
    session = session_at(place)
    plan = session.plan("mnli", method="lora", overrides=FEW)
    assert (plan["rows"], plan["steps"], plan["already there"]) == (8, 2, None)
    line = line_of(("train-adapter", "mnli", "--method", "lora"))
    record, heavy = asked(place, "--dry-run", *line)
    assert (record, heavy) == (plan, [])
    made = session.train("mnli", method="lora", overrides=FEW)
    record, _ = asked(place, "--dry-run", *line)
    assert record == {**plan, "already there": made.reference}
    other = {"method": "lora", "overrides": [*FEW, "train.lr=0.002"], "seed": 7}
    line = (*line, "--set", "train.lr=0.002", "--seed", "7")
    assert asked(place, "--dry-run", *line) == (plan, [])
    reference = session.train("mnli", **other).reference
    record, heavy = asked(place, "--dry-run", *line)
    assert (record, heavy) == ({**plan, "already there": reference}, [])


@pytest.mark.parametrize(
    ("setting", "free"),
    [("", True), ("train.limit=4", False), ("source.rows=4", False), ("labels=shuffled", False)],
)
def test_a_seed_that_picks_rows_is_part_of_a_plan(place, training_rows, setting, free):
    session = session_at(place)
    overrides = [*FEW, *([setting] if setting else [])]
    settings = [
        session.run_settings("mnli", method="lora", overrides=overrides, seed=n) for n in (1, 2)
    ]
    first, second = (plan_settings(run) for run in settings)
    assert (first == second) == free
    phase = session.phase("mnli", method="lora", overrides=[*overrides, "train.lr=0.1"], seed=1)
    assert run_key(phase.deciding, phase.run) == phase.run_key
    if free:
        other = session.phase("mnli", method="lora", overrides=overrides, seed=2)
        assert run_key(phase.deciding, settings[1]) == other.run_key


def test_predictions_say_how_many_inputs_were_cut(place, monkeypatch, capsys):
    monkeypatch.setenv("XSTILTS_CACHE", str(place / "cache"))
    words = ["--zoo", str(place / "zoo"), "predict", "mnli", "--backbone", str(place / "base")]
    texts = ["a man runs", "a man runs " * 80]
    with pytest.raises(SystemExit):
        main([*words, *(word for text in texts for word in ("--text", text, "--text2", "nobody"))])
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 2
    assert "1 of the inputs were cut at 64 sub-words" in output.err
    with pytest.raises(SystemExit):
        main([*words, "--text", texts[0], "--text2", "nobody"])
    assert "cut" not in capsys.readouterr().err


def test_other_rows_are_other_cells(place):
    session_at(place).evaluate("none", "tatoeba", langs=["de"])
    path = place / "data/tatoeba/tatoeba.deu-eng.deu"
    text = path.read_text("utf-8")
    path.write_text(text.replace("nobody is", "nobody at"), "utf-8")
    assert len(path.read_text("utf-8")) == len(text)
    assert session_at(place).evaluate("none", "tatoeba", langs=["de"]).outcome.computed == 1
    path.write_text(text, "utf-8")
    age(path)
    again = session_at(place)
    assert again.evaluate("none", "tatoeba", langs=["de"]).outcome.computed == 0
    assert len(again._backbones) == 0


def test_another_backbone_in_the_same_folder_is_another_one(place):
    before = session_at(place).evaluate("none", "tatoeba", langs=["de"])
    weights = place / "base/model.safetensors"
    from safetensors.torch import load_file, save_file

    tensors = {name: tensor * 1.5 for name, tensor in load_file(weights).items()}
    save_file(tensors, weights, {"format": "pt"})
    age(weights)
    now = session_at(place).evaluate("none", "tatoeba", langs=["de"])
    assert now.outcome.computed == 1
    assert now.scores[0].fingerprint != before.scores[0].fingerprint


def _other_score(text: str) -> str:
    values = json.loads(text)
    values["scores"][0]["value"] += 0.5
    return json.dumps(values)


@pytest.mark.parametrize(
    "damage",
    [lambda _: "", lambda text: text[:100], lambda _: "[]", _other_score],
    ids=["empty", "cut", "a list", "another score"],
)
def test_a_damaged_cell_is_computed_again_with_a_word(damage, place, capsys):
    before = session_at(place).evaluate(["none", "mnli"], "tatoeba", langs=["de"])
    path = before.outcome.cells[0].folder / "cell.json"
    whole = path.read_text()
    path.write_text(damage(whole))
    assert len(ResultStore(place / "results").scores()) == len(before.scores) - 1
    assert "left out until its evaluation runs again, a result cell is broken" in (
        capsys.readouterr().err
    )
    now = session_at(place).evaluate(["none", "mnli"], "tatoeba", langs=["de"])
    (said,) = [line for line in capsys.readouterr().err.splitlines() if str(path) in line]
    assert said.startswith("computed again, a result cell is broken")
    assert now.outcome.computed == 1
    assert now.scores == before.scores
    assert session_at(place).evaluate("none", "tatoeba", langs=["de"]).outcome.computed == 0
    assert capsys.readouterr().err == ""


def test_a_cell_of_a_later_version_is_refused_and_one_of_before_is_read(place):
    cell = session_at(place).evaluate("none", "tatoeba", langs=["de"]).outcome.cells[0]
    path = cell.folder / "cell.json"
    values = json.loads(path.read_text())
    del values["sha256"]
    path.write_text(json.dumps(values))
    assert session_at(place).evaluate("none", "tatoeba", langs=["de"]).outcome.computed == 0
    path.write_text(json.dumps(values | {"schema": 99}))
    with pytest.raises(LaterVersionError, match="schema 99"):
        session_at(place).evaluate("none", "tatoeba", langs=["de"])
    with pytest.raises(LaterVersionError, match="schema 99"):
        ResultStore(place / "results").scores()
    assert path.is_file()


@pytest.mark.parametrize("content", [b"", None])
def test_scores_of_a_module_whose_files_changed_are_not_shown(place, content):
    session_at(place).evaluate("mnli", "xnli", langs=["en"])
    folder = next((place / "zoo/mnli/seq_bn").iterdir())
    age(*folder.iterdir())
    again = session_at(place)
    assert again.evaluate("mnli", "xnli", langs=["en"]).outcome.computed == 0
    assert list((place / "cache/modules").iterdir())
    weights = folder / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01" if content is None else content)
    with pytest.raises(IntegrityError, match=r"adapter\.safetensors"):
        session_at(place).evaluate("mnli", "xnli", langs=["en"])


def test_a_module_that_is_the_same_is_read_once(place, monkeypatch):
    session_at(place).evaluate("mnli", "xnli", langs=["en"])
    age(*next((place / "zoo/mnli/seq_bn").iterdir()).iterdir())
    read = []
    plain = verify.verify_folder
    monkeypatch.setattr(
        verify, "verify_folder", lambda folder: read.append(folder) or plain(folder)
    )
    for _ in range(3):
        assert session_at(place).evaluate("mnli", "xnli", langs=["en"]).outcome.computed == 0
    assert len(read) == 1


@pytest.mark.long
def test_a_ranking_that_was_computed_is_shown_without_torch(place, training_rows):
    session = session_at(place)
    add_module(session.zoo, session.backbone(), "qqp", seed=1)
    pairs = place / "data/qqp/train.tsv"
    pairs.parent.mkdir()
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    pairs.write_text("\n".join([header, *["0\t1\t2\twho runs\ta man\t1"] * 4]) + "\n", "utf-8")
    age(pairs)
    first = session.rank("mnli", shots=4).outcome
    assert [row.estimates.keys() == set(METHODS) for row in first.rows] == [True, True]
    record, heavy = asked(place, "rank", "mnli", "--shots", "4")
    assert heavy == []
    assert [(m["digest"], m["estimates"]) for m in record["modules"]] == [
        (row.entry.manifest.digest, row.estimates) for row in first.rows
    ]

    def computes(**options) -> bool:
        ranking = session_at(place).ranking("mnli", **{"shots": 4, **options})
        return not ranking.kept

    assert not computes()
    assert computes(shots=3) and computes(seed=1) and computes(modules=["mnli"])
    weights = next((place / "zoo").rglob("*.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4] + b"0000")
    with pytest.raises(IntegrityError):
        session_at(place).rank("mnli", shots=4)
    weights.write_bytes(whole)
    text = training_rows.read_text("utf-8")
    training_rows.write_text(text.replace("the house", "the night", 1), "utf-8")
    assert computes()
