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

pytestmark = [pytest.mark.long, needs_shared]

SIB200 = ["ar", "bn", "de", "el", "en", "fi", "hi", "id", "ko", "ru", "sw", "th", "tr", "vi", "zh"]
XCOPA = ["et", "ht", "id", "it", "sw", "tr", "vi", "zh"]
# (task, split): rows a language, from the README of the shared data.
ROWS = {
    ("americasnli", "validation"): dict.fromkeys(["aym", "gn", "quy"], 743),
    ("cad_nli", "train"): {"en": 1666 + 6664},
    ("cad_nli", "validation"): {"en": 200 + 800},
    ("codah", "train"): {"en": 2776},
    ("commonsenseqa", "train"): {"en": 9741},
    ("commonsenseqa", "validation"): {"en": 1221},
    ("conjnli", "train"): {"en": 15000},
    ("conjnli", "validation"): {"en": 623},
    ("copa", "train"): {"en": 400},
    ("copa", "validation"): {"en": 100},
    ("cosmosqa", "validation"): {"en": 1500},
    ("erg_supertags", "train"): {"en": 2829},
    ("erg_supertags", "test"): {"en": 1470},
    ("hellaswag", "train"): {"en": 10042 - 1000},
    ("hellaswag", "validation"): {"en": 1000},
    ("indonli", "train"): {"id": 6000},
    ("indonli", "validation"): {"id": 2197},
    ("indonli_translated", "train"): {"id": 7000},
    ("indonli_translated", "validation"): {"id": 2197},
    ("jcommonsenseqa", "validation"): {"ja": 1119},
    ("masakhaner", "train"): {"sw": 2109},
    ("masakhaner", "validation"): {"sw": 300},
    ("masakhaner", "test"): {"ha": 552, "sw": 604, "yo": 645},
    ("mlqa", "validation"): {"en": 1148, "es": 500, "de": 512, "zh": 504},
    ("mlqa_xlt", "validation"): {"en": 1148, "de": 512},
    ("mnli", "train"): {"en": 9815},
    ("mnli", "validation"): {"en": 2000},
    ("nusax_senti", "train"): dict.fromkeys(["en", "id", "jv", "min", "su"], 500),
    ("nusax_senti", "validation"): dict.fromkeys(["en", "id", "jv", "min", "su"], 100),
    ("nusax_senti", "test"): dict.fromkeys(["en", "id", "jv", "min", "su"], 400),
    # 3,000 rows, six of them without a label; every tenth hundred is kept apart: 100 + 100 + 94.
    ("ocnli", "train"): {"zh": 3000 - 6 - 294},
    ("ocnli", "validation"): {"zh": 294},
    ("paws_wiki", "train"): {"en": 8000 - 800},
    ("paws_wiki", "validation"): {"en": 800},
    ("pawsx", "validation"): dict.fromkeys(["de", "en", "es", "fr", "ja", "zh"], 2000),
    # One con is blank; the 20th tenth hundred therefore has 99 rows.
    ("pros_cons", "train"): {"en": 18000},
    ("pros_cons", "validation"): {"en": 1999},
    ("qasrl", "train"): {"en": 3714},
    ("sentence_polarity", "train"): {"en": 2 * 5331 - 1000},
    ("sentence_polarity", "validation"): {"en": 1000},
    ("sib200", "train"): dict.fromkeys(SIB200, 701),
    ("sib200", "validation"): dict.fromkeys(SIB200, 99),
    ("sib200", "test"): dict.fromkeys(SIB200, 204),
    ("sick", "train"): {"en": 4500},
    ("sick", "validation"): {"en": 500},
    ("sick", "test"): {"en": 4927},
    ("snli", "train"): {"en": 9842 - 1000},
    ("snli", "validation"): {"en": 1000},
    ("socialiqa", "train"): {"en": 10000},
    ("socialiqa", "validation"): {"en": 1954},
    ("squadshifts", "train"): {"en": 7938 - 818},
    ("squadshifts", "validation"): {"en": 818},
    ("tydiqa", "train"): {"en": 3696, "sw": 2755},
    ("tydiqa", "test"): {"en": 440, "bn": 113, "id": 565, "ko": 276, "sw": 499},
    ("ud", "train"): {"en": 1781 + 4274, "mr": 373, "te": 1051},
    ("ud", "validation"): {"en": 156 + 572, "mr": 46, "te": 131},
    ("ud", "test"): {
        "de": 1000, "en": 153 + 1000, "id": 1000, "mr": 47, "ta": 534, "te": 146, "tl": 128,
        "vi": 800, "yo": 317,
    },
    ("ud_ewt", "train"): {"en": 1503 + 2725 - 400},
    ("ud_ewt", "validation"): {"en": 400},
    ("udpos", "test"): {
        "af": 425, "bg": 1116, "el": 456, "eu": 1799, "he": 491, "hu": 449, "kk": 1047,
        "nl": 1471, "ur": 535, "zh": 3455, "de": 1000, "en": 153 + 1000, "id": 1000, "mr": 47,
        "ta": 534, "te": 146, "tl": 128, "vi": 800, "yo": 317,
    },
    ("uner", "validation"): {"en": 2001},
    ("uner", "test"): {"da": 565, "de": 1000, "en": 2077 + 1000, "zh": 1000},
    ("wikigold", "train"): {"en": 1841},
    ("wikineural", "train"): {"en": 5500 - 500},
    ("wikineural", "validation"): {"en": 500},
    ("wikineural", "test"): dict.fromkeys(["es", "fr", "nl", "ru"], 1200),
    ("winogrande", "train"): {"en": 10234},
    ("winogrande", "validation"): {"en": 1267},
    ("wnut17", "train"): {"en": 3394},
    ("wnut17", "validation"): {"en": 1009},
    ("wnut17", "test"): {"en": 1287},
    ("xcopa", "validation"): {"en": 100, **dict.fromkeys(XCOPA, 100)},
    ("xcopa", "test"): dict.fromkeys(XCOPA, 500),
    **{
        (task, split): rows
        for task in ("xsid_intent", "xsid_slots")
        for split, rows in {
            "train": {"en": 7268, "da": 7268},
            "validation": {"en": 300},
            "test": {**dict.fromkeys(["da", "de", "en", "id", "it", "tr", "zh"], 500), "ja": 250},
        }.items()
    },
    ("xnli", "validation"): dict.fromkeys(
        ["de", "el", "en", "es", "fr", "hi", "ru", "sw", "tr", "ur", "zh"], 2490
    ),
    ("xquad", "test"): dict.fromkeys(["en", "es", "de", "el", "ru", "tr", "zh", "hi"], 1190),
}  # fmt: skip
# (task, split): rows that the data set says to leave out.
DROPPED = {
    ("mnli", "train"): {"label -": 10000 - 9815},
    ("mnli", "validation"): {"label -": 10000 - 9832},
    ("ocnli", "train"): {"label -": 6},
    ("ocnli", "validation"): {"label -": 6},
    ("pros_cons", "train"): {"text is blank": 1},
    ("pros_cons", "validation"): {"text is blank": 1},
    ("snli", "train"): {"label -": 158},
    ("snli", "validation"): {"label -": 158},
}
# Syntactic words of UD test files, from the README's second table.
UD_WORDS = {"de": 21332, "id": 19446, "mr": 412, "ta": 2584, "te": 721, "tl": 734, "vi": 11692}
SHORT = {"jv": 205, "te": 234, "ta": 307, "sw": 390, "th": 548, "kk": 575, "ml": 687, "ka": 746}
NOT_TASK_DATA = ("LICEN", "README", "CC-BY", "langmeta", "DOCUMENT_IDS", "LANGUAGES", "tico19.ids",
                 "sib200/labels.txt")  # fmt: skip
# XTREME's processed dev file: its answers are empty texts, so it can neither train nor score.
WITHHELD = ("tydiqa_goldp/tydiqa.goldp.te.dev.json",)
# Lines without an emotion: no other language of XED has them.
NEUTRAL = ("xed/AnnotatedData/neu_en.txt",)


@pytest.mark.parametrize(("task", "split"), ROWS, ids=lambda value: str(value))
def test_rows_are_those_of_the_readme_and_each_has_its_gold(task, split):
    spec = load_task(task)
    found = {}
    for code in available_languages(spec, split, SHARED):
        loaded = load_rows(spec, split, code, SHARED)
        found[code] = len(loaded.examples)
        assert loaded.dropped == DROPPED.get((task, split), {})
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
        ("sib200_retrieval", {"*": 701 + 99 + 204}),
    ],
)
def test_bitexts_have_the_pairs_of_the_readme(task, counts):
    spec = load_task(task)
    codes = available_languages(spec, "test", SHARED)
    languages = {"tatoeba": 36, "ntrex": 24, "tico19": 4, "udhr": 37, "sib200_retrieval": 14}
    assert len(codes) == languages[task]
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
    assert unused == {*WITHHELD, *NEUTRAL}


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


LABELS = {
    "mnli": {"entailment": 3479, "neutral": 3123, "contradiction": 3213},
    "sick": {"neutral": 2536, "entailment": 1299, "contradiction": 665},
    "conjnli": {"entailment": 5820, "neutral": 6757, "contradiction": 2423},
    "indonli": {"entailment": 1979, "neutral": 2028, "contradiction": 1993},
    "indonli_translated": {"entailment": 2334, "neutral": 2281, "contradiction": 2385},
    "socialiqa": {"0": 3364, "1": 3383, "2": 3253},
    "winogrande": {"0": 5117, "1": 5117},
}


@pytest.mark.parametrize("task", LABELS)
def test_training_labels_are_those_of_the_readme(task):
    spec = load_task(task)
    rows = load(spec, "train", available_languages(spec, "train", SHARED)[0], SHARED)
    assert Counter(row.target for row in rows) == LABELS[task]


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("snli", {"entailment": 3329, "neutral": 3235, "contradiction": 3278}),
        ("ocnli", {"neutral": 1054, "entailment": 974, "contradiction": 966}),
        ("paws_wiki", {"0": 4464, "1": 3536}),
        ("hellaswag", {"0": 2515, "1": 2485, "2": 2584, "3": 2458}),
        ("sentence_polarity", {"positive": 5331, "negative": 5331}),
    ],
)
def test_two_splits_of_one_file_are_the_whole_file_once(task, labels):
    spec = load_task(task)
    both = [
        row
        for split in ("train", "validation")
        for row in load(spec, split, spec.source_language, SHARED)
    ]
    assert Counter(row.target for row in both) == labels
    assert len({row.id for row in both}) == len(both)


def test_squadshifts_splits_share_no_paragraph():
    spec = load_task("squadshifts")
    train, held_out = (
        {row.fields["context"] for row in load(spec, split, "en", SHARED)}
        for split in ("train", "validation")
    )
    assert len(train) + len(held_out) == 1581
    assert not train & held_out


def test_topics_are_stated_in_the_order_of_their_file():
    names = (SHARED / "sib200" / "labels.txt").read_text(encoding="utf-8").split()
    assert load_task("sib200").labels == names


def test_supertags_are_all_stated():
    spec = load_task("erg_supertags")
    train, test = (load(spec, split, "en", SHARED) for split in ("train", "test"))
    tags = [tag for row in test for tag in row.target]
    shown = {tag for row in train for tag in row.target}
    assert len(spec.labels) == len(shown | set(tags)) == 793
    assert len(tags) == 29697
    assert sum(tag not in shown for tag in tags) == 60


XED = {
    "en": ("AnnotatedData/en-annotated.tsv", 17528),
    "fi": ("AnnotatedData/fi-annotated.tsv", 14449),
    "es": ("Projections/es-projections.tsv", 11302),
    "nl": ("Projections/nl-projections.tsv", 5334),
    "pt": ("Projections/pt-projections.tsv", 7221),
}


@pytest.mark.parametrize("code", XED)
def test_xed_rows_with_one_emotion_are_read_and_the_others_counted(code):
    name, rows = XED[code]
    lines = (SHARED / "xed" / name).read_text(encoding="utf-8").split("\n")
    whole = [line.split("\t") for line in lines if line.count("\t") == 1]
    single = [text for text, labels in whole if "," not in labels]
    spec = load_task("xed")
    splits = ["train", "validation"] if code == "en" else ["test"]
    loaded = [load_rows(spec, split, code, SHARED) for split in splits]
    assert len(whole) == rows
    assert sum(len(part.examples) for part in loaded) == len(single)
    assert all(part.dropped["several labels"] == rows - len(single) for part in loaded)
    assert {row.target for part in loaded for row in part.examples} == set(spec.labels)


def test_intents_and_slots_are_those_of_the_same_utterances():
    intent, slots = load_task("xsid_intent"), load_task("xsid_slots")
    for split, code in (("train", "en"), ("train", "da"), ("test", "ja")):
        texts, words = (load(spec, split, code, SHARED) for spec in (intent, slots))
        assert [row.id for row in texts] == [row.id for row in words]
        if split == "train":
            assert all(
                text.fields["text"].split() == list(row.fields["words"])
                for text, row in zip(texts, words, strict=True)
            )
    train, test = (
        {row.fields["text"].casefold() for row in load(intent, split, "en", SHARED)}
        for split in ("train", "test")
    )
    assert (len(test), len(test & train)) == (447, 48)
    raw = (SHARED / "xsid/mt.train.da/label.en").read_text(encoding="utf-8")
    # The 19 intents as written; one of them is read as another.
    assert len({line.split()[-1] for line in raw.splitlines()}) == 19 == len(intent.labels) + 1
