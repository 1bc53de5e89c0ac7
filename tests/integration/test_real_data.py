"""All shared real data, read, trained on, evaluated and scored by the commands a user would type.

The backbone is a small XLMRobertaModel of random weights, so scores are near chance; that every row
is read, every prediction written and every score computed is the point.
"""

from __future__ import annotations

import json

import pytest
from support.files import SHARED, needs_shared
from support.random_xlmr import write_random
from support.tokenizers import tiny_tokenizer

from xstilts.cli import main

pytestmark = [pytest.mark.slow, needs_shared]

STEPS = 30
PLAUSIBLE = """
title: Plausible choices in English
format: multiple_choice
family: plausible_choice
languages: [en]
metric: accuracy
train_task: plausible
select_split: ""
eval_split: train
sources:
  - parts: [copa/train, socialiqa/validation, cosmosqa/validation, codah/train]
"""
# The rows are translations of each other, so train and test differ by row, not only by language.
PAWSX_HALF = """
title: PAWS-X, half of dev to train on, half to test
format: classification
languages: [en, de, fr, ja, zh]
labels: ["0", "1"]
metric: accuracy
train_task: pawsx_half
select_split: ""
sources:
  - reader: tsv
    files: {train: "pawsx/dev-{language}.tsv", test: "pawsx/dev-{language}.tsv"}
    columns: {text: 0, text_pair: 1, target: 2}
    options: {quoting: undo, blank: keep, rows: {train: "1-1000", test: "1001-2000"}}
"""
EACH = dict.fromkeys
VALIDATION = ("--split", "validation")
UD = {"de": 1000, "en": 1153, "id": 1000, "mr": 47, "ta": 534, "te": 146, "tl": 128, "vi": 800,
      "yo": 317}  # fmt: skip
XTREME_POS = {"af": 425, "bg": 1116, "el": 456, "eu": 1799, "he": 491, "hu": 449, "kk": 1047,
              "nl": 1471, "ur": 535, "zh": 3455}  # fmt: skip
# Training task: then (task, further arguments, rows by language) for each evaluation.
RUNS = {
    "cad_nli": [
        (
            "xnli",
            VALIDATION,
            EACH(["de", "el", "en", "es", "fr", "hi", "ru", "sw", "tr", "ur", "zh"], 2490),
        ),
        ("americasnli", VALIDATION, EACH(["aym", "gn", "quy"], 743)),
        ("indonli", VALIDATION, {"id": 2197}),
    ],
    "tydiqa": [
        ("tydiqa", (), {"en": 440, "bn": 113, "id": 565, "ko": 276, "sw": 499}),
        ("xquad", (), EACH(["de", "el", "en", "es", "hi", "ru", "tr", "zh"], 1190)),
        ("mlqa", VALIDATION, {"en": 1148, "es": 500, "de": 512, "zh": 504}),
    ],
    "ud": [("ud", (), UD), ("udpos", (), UD | XTREME_POS)],
    "ner_en": [
        ("uner", ("--langs", "de,zh"), {"de": 1000, "zh": 1000}),
        ("masakhaner", (), {"ha": 552, "sw": 604, "yo": 645}),
    ],
    "plausible.yaml": [
        ("xcopa", (), EACH(["et", "ht", "id", "it", "sw", "tr", "vi", "zh"], 500)),
    ],
    "pawsx_half.yaml": [("pawsx_half.yaml", (), EACH(["en", "de", "fr", "ja", "zh"], 1000))],
    "nusax_senti": [("nusax_senti", (), EACH(["en", "id", "jv", "min", "su"], 400))],
}
SHORT = {"jv": 205, "te": 234, "ta": 307, "sw": 390, "th": 548, "kk": 575, "ml": 687, "ka": 746}
RETRIEVAL = {"tatoeba": (36, 1000), "tico19": (4, 3071), "udhr": (37, 30), "ntrex": (24, 1997),
             "sib200_retrieval": (14, 1004)}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    texts = (p.read_text("utf-8") for p in sorted((SHARED / "ntrex").glob("newstest2019-*.txt")))
    lines = (line for text in texts for line in text.splitlines() if line.strip())
    write_random(folder / "mini", tiny_tokenizer(lines, 8000), layers=2, hidden=64)
    (folder / "plausible.yaml").write_text(PLAUSIBLE, encoding="utf-8")
    (folder / "pawsx_half.yaml").write_text(PAWSX_HALF, encoding="utf-8")
    return folder


@pytest.fixture
def run(place, capsys, monkeypatch):
    monkeypatch.setenv("XSTILTS_HOME", str(place / "home"))
    monkeypatch.setenv("XSTILTS_CACHE", str(place / "cache"))
    monkeypatch.chdir(place)
    always = ["--data", str(SHARED), "--zoo", str(place / "zoo"), "--offline", "--json", "-q"]

    def call(*arguments):
        with pytest.raises(SystemExit) as caught:
            main([*always, *arguments, "--backbone", str(place / "mini")])
        output = capsys.readouterr()
        assert caught.value.code in (0, None), output.err
        return json.loads(output.out)

    return call


def check(place, found, rows):
    """Every language is scored on all of its rows, and the predictions file has them all."""
    main_rows = [row for row in found["scores"] if row["main"]]
    assert {row["language"]: row["n"] for row in main_rows} == rows
    for row in main_rows:
        assert 0 <= row["value"] <= 100
        folder = place / "home" / "results" / "cells" / row["cell"][:2] / row["cell"]
        path = next(folder.glob("predictions.*"))
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            assert len(json.loads(text)) == row["n"]
        elif "\n\n" in text:
            assert len(text.split("\n\n")) == row["n"]
        else:
            assert len(text.splitlines()) == row["n"]


@pytest.mark.parametrize("trained", RUNS)
def test_train_on_english_and_score_every_language(trained, run, place, record_property):
    steps = ("--set", f"train.max_steps={STEPS}", "--set", f"train.eval_every={STEPS}")
    module = run("train-adapter", trained, *steps)
    assert module["steps"] == STEPS
    for task, more, rows in RUNS[trained]:
        found = run("eval", module["reference"], "--task", task, *more)
        check(place, found, rows)
        record_property(task, {r["language"]: r["value"] for r in found["scores"] if r["main"]})
        again = run("eval", module["reference"], "--task", task, *more)
        assert (again["computed"], again["cached"]) == (0, len(rows))


@pytest.mark.parametrize("task", RETRIEVAL)
def test_retrieve_in_every_language(task, run, place):
    count, rows = RETRIEVAL[task]
    found = run("eval", "none", "--task", task)
    assert len(found["missing"]) == (25 if task == "sib200_retrieval" else 0)
    codes = [row["language"] for row in found["scores"]]
    assert len(codes) == count
    short = SHORT if task == "tatoeba" else {}
    check(place, found, {code: short.get(code, rows) for code in codes})


def test_identical_sentences_find_each_other(run, place, tmp_path):
    """Both sides are NTREX's English text: only a repeated line can be missed."""
    source = (SHARED / "ntrex" / "newstest2019-src.eng.txt").read_text(encoding="utf-8")
    lines = source.splitlines()
    yaml = (
        "title: NTREX against itself\nformat: retrieval\nlanguages: [de]\nmetric: tatoeba\n"
        'select_split: ""\nsources:\n  - reader: bitext\n    files:\n'
        "      test.source: ntrex/newstest2019-src.eng.txt\n"
        "      test.target: ntrex/newstest2019-src.eng.txt\n"
    )
    (place / "itself.yaml").write_text(yaml, encoding="utf-8")
    found = run("eval", "none", "--task", "itself.yaml", "--layer", "0-2")
    repeated = len(lines) - len({line.strip() for line in lines})
    for row in found["scores"]:
        assert row["value"] >= 100 * (1 - repeated / len(lines)) - 1e-9
