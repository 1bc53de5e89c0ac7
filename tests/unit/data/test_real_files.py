"""Every file of the shared real data loads through a task, with the rows its README counts."""

from __future__ import annotations

import csv
from collections import Counter

import pytest
from support.files import SHARED, needs_shared

from xstilts.config.load import load_task, spec_names
from xstilts.config.specs import SourceSpec
from xstilts.data.located import available_languages, locate, split_names
from xstilts.data.pairs import load_pair
from xstilts.data.sources import load, load_rows
from xstilts.errors import DataError

pytestmark = needs_shared

XCOPA = ["et", "ht", "id", "it", "sw", "tr", "vi", "zh"]
# (task, split): rows a language, from the README of the shared data.
ROWS = {
    ("americasnli", "validation"): dict.fromkeys(["aym", "gn", "quy"], 743),
    ("cad_nli", "train"): {"en": 1666 + 6664},
    ("cad_nli", "validation"): {"en": 200 + 800},
    ("codah", "train"): {"en": 2776},
    ("copa", "train"): {"en": 400},
    ("copa", "validation"): {"en": 100},
    ("cosmosqa", "validation"): {"en": 1500},
    ("indonli", "validation"): {"id": 2197},
    ("jcommonsenseqa", "validation"): {"ja": 1119},
    ("masakhaner", "train"): {"sw": 2109},
    ("masakhaner", "validation"): {"sw": 300},
    ("masakhaner", "test"): {"ha": 552, "sw": 604, "yo": 645},
    ("mlqa", "validation"): {"en": 1148, "es": 500, "de": 512, "zh": 504},
    ("mlqa_xlt", "validation"): {"en": 1148, "de": 512},
    ("nusax_senti", "train"): dict.fromkeys(["en", "id", "jv", "min", "su"], 500),
    ("nusax_senti", "validation"): dict.fromkeys(["en", "id", "jv", "min", "su"], 100),
    ("nusax_senti", "test"): dict.fromkeys(["en", "id", "jv", "min", "su"], 400),
    ("pawsx", "validation"): dict.fromkeys(["de", "en", "es", "fr", "ja", "zh"], 2000),
    ("qasrl", "train"): {"en": 3714},
    ("socialiqa", "validation"): {"en": 1954},
    ("tydiqa", "train"): {"en": 3696, "sw": 2755},
    ("tydiqa", "test"): {"en": 440, "bn": 113, "id": 565, "ko": 276, "sw": 499},
    ("ud", "train"): {"en": 1781 + 4274, "mr": 373, "te": 1051},
    ("ud", "validation"): {"en": 156 + 572, "mr": 46, "te": 131},
    ("ud", "test"): {
        "de": 1000, "en": 153 + 1000, "id": 1000, "mr": 47, "ta": 534, "te": 146, "tl": 128,
        "vi": 800, "yo": 317,
    },
    ("udpos", "test"): {
        "af": 425, "bg": 1116, "el": 456, "eu": 1799, "he": 491, "hu": 449, "kk": 1047,
        "nl": 1471, "ur": 535, "zh": 3455, "de": 1000, "en": 153 + 1000, "id": 1000, "mr": 47,
        "ta": 534, "te": 146, "tl": 128, "vi": 800, "yo": 317,
    },
    ("uner", "validation"): {"en": 2001},
    ("uner", "test"): {"da": 565, "de": 1000, "en": 2077 + 1000, "zh": 1000},
    ("wikigold", "train"): {"en": 1841},
    ("xcopa", "validation"): {"en": 100, **dict.fromkeys(XCOPA, 100)},
    ("xcopa", "test"): dict.fromkeys(XCOPA, 500),
    ("xnli", "validation"): dict.fromkeys(
        ["de", "el", "en", "es", "fr", "hi", "ru", "sw", "tr", "ur", "zh"], 2490
    ),
    ("xquad", "test"): dict.fromkeys(["en", "es", "de", "el", "ru", "tr", "zh", "hi"], 1190),
}  # fmt: skip
# Syntactic words of UD test files, from the README's second table.
UD_WORDS = {"de": 21332, "id": 19446, "mr": 412, "ta": 2584, "te": 721, "tl": 734, "vi": 11692}
SHORT = {"jv": 205, "te": 234, "ta": 307, "sw": 390, "th": 548, "kk": 575, "ml": 687, "ka": 746}
NOT_TASK_DATA = ("LICEN", "README", "CC-BY", "langmeta", "DOCUMENT_IDS", "LANGUAGES", "tico19.ids")
# XTREME's processed dev file: its answers are empty texts, so it can neither train nor score.
WITHHELD = ("tydiqa_goldp/tydiqa.goldp.te.dev.json",)
# Folders that no task reads yet.
TO_COME = (
    "commonsenseqa", "conjnli", "erg_supertags", "hellaswag", "indonli", "multinli", "ocnli",
    "paws_wiki", "pros_cons", "sentence_polarity", "sib200", "sick", "siqa", "snli", "squadshifts",
    "ud/UD_English-EWT", "wikineural", "winogrande", "wnut17", "xed", "xsid",
)  # fmt: skip


@pytest.mark.parametrize(("task", "split"), ROWS, ids=lambda value: str(value))
def test_rows_are_those_of_the_readme_and_each_has_its_gold(task, split):
    spec = load_task(task)
    found = {}
    for code in available_languages(spec, split, SHARED):
        loaded = load_rows(spec, split, code, SHARED)
        found[code] = len(loaded.examples)
        assert not loaded.dropped
        assert all(row.target is not None for row in loaded.examples)
        assert all(row.language == code for row in loaded.examples)
        assert len({row.id for row in loaded.examples}) == len(loaded.examples)
    assert found == ROWS[task, split]


@pytest.mark.parametrize(
    ("task", "counts"),
    [
        ("tatoeba", {"*": 1000, **SHORT}),
        ("ntrex", {"*": 1997}),
        ("tico19", {"*": 3071}),
        ("udhr", {"*": 30}),
    ],
)
def test_bitexts_have_the_pairs_of_the_readme(task, counts):
    spec = load_task(task)
    codes = available_languages(spec, "test", SHARED)
    assert len(codes) == {"tatoeba": 36, "ntrex": 24, "tico19": 4, "udhr": 37}[task]
    for code in codes:
        pair = load_pair(spec, code, SHARED)
        assert len(pair.gold) == counts.get(code, counts["*"])
        assert pair.gold == [(at, at) for at in range(len(pair.source))]
        assert {row.language for row in pair.target} == {"en"}


def test_every_data_file_belongs_to_a_task():
    used = set()
    for name in spec_names("tasks"):
        spec = load_task(name)
        if name == "xquad":
            spec = spec.model_copy(update={"languages": [*spec.languages, "ro"]})
        for split in split_names(spec):
            for code in available_languages(spec, split, SHARED):
                keys = (split, f"{split}.source", f"{split}.target")
                found = [locate(spec, key, code, SHARED) for key in keys]
                used.update(path for item in found if item for path in item.files)
    all_files = {path for path in SHARED.rglob("*") if path.is_file()}
    unused = {
        path.relative_to(SHARED).as_posix()
        for path in all_files - used
        if not any(text in path.as_posix() for text in NOT_TASK_DATA)
    }
    assert {name for name in unused if not name.startswith(TO_COME)} == set(WITHHELD)
    assert {folder for folder in TO_COME if any(n.startswith(folder) for n in unused)} == set(
        TO_COME
    )


@pytest.mark.parametrize("name", WITHHELD)
def test_a_file_that_withholds_its_answers_holds_none(name):
    task = load_task("tydiqa")
    source = SourceSpec(reader="squad", files={"test": name}, options={"labels": "optional"})
    rows = load(task.model_copy(update={"sources": [source]}), "test", "en", SHARED)
    assert len(rows) == 669
    assert all(row.target is None for row in rows)
    with pytest.raises(DataError, match="placeholders"):
        load(
            task.model_copy(update={"sources": [source.model_copy(update={"options": {}})]}),
            "test",
            "en",
            SHARED,
        )


@pytest.mark.parametrize("code", UD_WORDS)
def test_syntactic_words_are_those_of_the_treebank(code):
    rows = load(load_task("ud"), "test", code, SHARED)
    assert sum(len(row.fields["words"]) for row in rows) == UD_WORDS[code]


def test_fused_words_are_the_surface_tokens_of_the_treebank():
    rows = load(load_task("udpos"), "test", "de", SHARED)
    path = next((SHARED / "ud" / "UD_German-PUD").glob("*-test.conllu"))
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")]
    tokens = [cells for cells in lines if len(cells) == 10]
    inside = sum(
        int(last) - int(first) + 1
        for cells in tokens
        if "-" in cells[0]
        for first, last in [cells[0].split("-")]
    )
    spans = sum("-" in cells[0] for cells in tokens)
    assert spans > 0
    words = [word for row in rows for word in row.fields["words"]]
    assert len(words) == UD_WORDS["de"] - inside + spans
    assert Counter(words)["zum"] == sum(cells[1] == "zum" for cells in tokens if "-" in cells[0])


def test_answers_are_where_they_are_said_to_be():
    for name, split in (("tydiqa", "test"), ("xquad", "test"), ("mlqa", "validation")):
        spec = load_task(name)
        for code in available_languages(spec, split, SHARED):
            for row in load(spec, split, code, SHARED):
                context = row.fields["context"]
                assert row.target
                assert all(context[a.start : a.start + len(a.text)] == a.text for a in row.target)


@pytest.mark.parametrize("code", ["de", "fr", "ja", "zh"])
def test_quotes_that_xtreme_wrapped_are_undone(code):
    # XTREME wrote these files with a CSV writer, so a CSV reader gives the text as it was.
    path = SHARED / "pawsx" / f"dev-{code}.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        expected = [row[:2] for row in csv.reader(file, delimiter="\t")]
    rows = load(load_task("pawsx"), "validation", code, SHARED)
    assert '""' in path.read_text(encoding="utf-8")
    assert [[row.fields["text"], row.fields["text_pair"]] for row in rows] == expected


def test_parallel_rows_share_their_ids():
    spec = load_task("xnli")
    ids = [
        [row.id for row in load(spec, "validation", code, SHARED)]
        for code in available_languages(spec, "validation", SHARED)
    ]
    assert all(of_language == ids[0] for of_language in ids)


def test_labels_outside_the_panx_set_become_o():
    rows = load(load_task("wikigold"), "train", "en", SHARED)
    tags = Counter(tag for row in rows for tag in row.target)
    raw = (SHARED / "wikigold" / "test.conllu").read_text(encoding="utf-8").split("\n")
    outside = sum(line.endswith(("\tO", "-MISC")) for line in raw)
    assert set(tags) == set(load_task("wikigold").labels)
    assert tags["O"] == outside


def test_english_ner_is_the_sum_of_its_parts():
    rows = load(load_task("ner_en"), "train", "en", SHARED)
    assert len(rows) == 1841 + 2077 + 1000
    assert rows[0].id.startswith("wikigold:")
    assert rows[-1].id.startswith("uner:")
