"""The guides of the six studies run as they stand; planted effects and nulls come out as such."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path

import pytest
from support.in_process import make_small, work_here

from xstilts.cli import main
from xstilts.config.load import spec_names

pytestmark = pytest.mark.long

GUIDES = Path(__file__).parents[2] / "docs" / "studies"
STUDIES = sorted(spec_names("studies"))
TINY = (
    "sandbox:train_rows=120,dev_rows=30,test_rows=30,bitext_rows=30,text_rows=60,"
    "pretraining_steps=4"
)
QUICK = ("alignment-by-domain", "scripts", "sentiment-alignment")
"""Studies whose guide runs by default; together they use every part of the code."""
SLOW = pytest.mark.slow
PARTS = ["verdict", "settings", "limits", "missing"]
TWINS = """
question: Does the one of two tasks from one generator help more than the other?
intermediates: [none, snli, cad_nli]
targets: [xnli]
intermediate: {method: full, train: {max_steps: 400, select: last}}
target: {method: head, train: {max_steps: 60, select: last}}
answer:
  ours: [snli]
  theirs: [cad_nli]
  zero_shot: true
  higher: It helps more
  lower: It helps less
  nothing: No difference detected
  tables:
    - {title: Either minus none, by: [row], ours: [snli, cad_nli], theirs: [none]}
"""


def commands(study):
    text = (GUIDES / f"{study}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def call(world, line, capsys, *more):
    name, *words = shlex.split(line)
    assert name == "xstilts"
    with pytest.raises(SystemExit) as caught:
        main(["--world", world, "-q", "--json", *words, *more])
    output = capsys.readouterr()
    assert not caught.value.code, f"{line}\n{output.err}"
    return json.loads(output.out)


def test_every_study_has_a_guide_and_the_overview_names_it():
    overview = (GUIDES / "README.md").read_text(encoding="utf-8")
    assert sorted(path.stem for path in GUIDES.glob("*.md")) == sorted([*STUDIES, "README"])
    assert all(f"[{name}]({name}.md)" in overview for name in STUDIES)
    assert len(STUDIES) == 6


@pytest.mark.parametrize(
    "study", [name if name in QUICK else pytest.param(name, marks=SLOW) for name in STUDIES]
)
def test_the_guide_of_a_study_runs(study, home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XSTILTS_HOME", str(tmp_path / "home"))
    work_here(monkeypatch)
    make_small(monkeypatch, steps=1, targets=2)
    records = {}
    for line in commands(study):
        verb = shlex.split(line)[2]
        more = ["--draws", "100"] if verb == "answer" else []
        records[verb] = call(TINY, line, capsys, *more)
    assert records["plan"]["total"]["new"] == records["plan"]["total"]["cells"] > 5
    assert records["run"]["counts"]["done"] == records["plan"]["total"]["cells"]
    assert records["run"]["answer"]["verdict"]["units"] > 0
    assert set(PARTS) <= {section["key"] for section in records["answer"]["sections"]}
    assert {p.name for p in (tmp_path / study).iterdir()} == {
        "answer.html",
        "answer.json",
        "answer.md",
        "figures",
    }
    times = records["answer"]["settings"]["evaluated"]
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d"
    assert re.fullmatch(rf"{moment}( to ({moment}|\d\d:\d\d))? UTC", times)
    tables = [s for s in records["answer"]["sections"] if s["key"].startswith("table-")]
    assert all(section["tables"] for section in tables)
    assert list((tmp_path / study / "figures").glob("*.svg"))


# -- in full


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XSTILTS_HOME", str(folder))
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_a_study_ends_in_time_and_a_second_run_computes_nothing(study, work, tmp_path, capsys):
    """Three seeds on two cores, in the sandbox as it is shipped."""
    call("sandbox", f"xstilts grid plan {study}", capsys)  # makes the world
    began = time.monotonic()
    first = call("sandbox", f"xstilts grid run {study} --workers 2", capsys)
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\n{study}: {seconds:.0f} s\n{first['answer']['line']}")
    assert seconds < 25 * 60
    assert set(first["counts"]) >= {"done"}
    assert first["counts"]["done"] == len(first["cells"])
    verdict = first["answer"]["verdict"]
    assert verdict["seeds"][0] == 3
    assert verdict["low"] < verdict["effect"] < verdict["high"]
    assert call("sandbox", f"xstilts grid plan {study}", capsys)["total"]["new"] == 0
    began = time.monotonic()
    again = call("sandbox", f"xstilts grid run {study} --workers 2", capsys)
    assert again["answer"]["line"] == first["answer"]["line"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "words"),
    [("sandbox", "No difference detected"), ("sandbox:noise.cad_nli=1", "It helps more")],
)
def test_a_planted_effect_is_found_and_a_planted_null_is_not(world, words, work, tmp_path, capsys):
    """The world's generator makes `cad_nli` useless, or the twin of `snli`."""
    path = tmp_path / "twins.yaml"
    path.write_text(TWINS)
    found = call(world, f"xstilts grid run {path} --workers 2", capsys)["answer"]
    with capsys.disabled():
        print(f"\n{world}: {found['line']}")
    assert found["answer"] == words
