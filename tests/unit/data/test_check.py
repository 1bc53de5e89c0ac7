"""What `data ls`, `prepare`, `check` and `show` find."""

from __future__ import annotations

import hashlib
import random

import pytest
from pydantic import ValidationError
from support.files import SHARED, needs_shared, write

from xstilts.config.load import load_task
from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.check import Seen, check, check_between
from xstilts.data.check_language import check_languages, require_language
from xstilts.data.conversion import Converted
from xstilts.data.examples import Example
from xstilts.data.findings import UNSURE
from xstilts.data.prepare import Presence, list_data, look, prepare, show
from xstilts.data.sources import load
from xstilts.errors import DataError, NotFoundError, OfflineError


def toy(**more) -> TaskSpec:
    source = {
        "reader": "tsv",
        "files": {"train": "{language}/train.tsv", "test": "{language}/test.tsv"},
        "columns": {"text": 0, "target": 1},
        **more.pop("source", {}),
    }
    values = {
        "name": "toy", "format": "classification", "languages": ["de", "en", "sw"],
        "labels": ["a", "b"], "metric": "accuracy", "license": "CC0", **more,
    }  # fmt: skip
    return TaskSpec(sources=[SourceSpec(**source)], **values)


def rows(*pairs: tuple[str, str]) -> str:
    return "".join(f"{text}\t{label}\n" for text, label in pairs)


def numbered(count: int, prefix: str = "Satz") -> str:
    return rows(*((f"{prefix} {n}", "ab"[n % 2]) for n in range(count)))


def kinds(findings) -> list[tuple[str, str, str]]:
    return [(f.split, f.language, f.kind) for f in findings]


def test_good_data_has_no_findings(tmp_path):
    write(tmp_path, {"de/train.tsv": numbered(30), "de/test.tsv": numbered(30, "anders")})
    task = toy(counts={"train": {"de": 30}, "test": {"*": 30}})
    assert check(task, tmp_path) == []
    assert check(task, tmp_path / "nowhere") == []


def test_counts_against_the_protocol(tmp_path):
    write(tmp_path, {"de/test.tsv": numbered(3), "en/test.tsv": numbered(4)})
    found = check(toy(counts={"test": {"*": 4, "de": 2}}), tmp_path)
    assert kinds(found) == [("test", "de", "count")]
    assert found[0].message == "3 rows where the protocol states 2"


def test_one_count_for_all_languages(tmp_path):
    assert toy(counts={"test": 4}).counts == {"test": {"*": 4}}
    with pytest.raises(ValidationError, match="valid integer"):
        toy(counts={"test": "four"})


def test_counts_of_a_copy_come_before_those_of_the_protocol(tmp_path):
    write(tmp_path, {"de/test.tsv": numbered(3), "de/train.tsv": numbered(5, "anders")})
    stated = {"counts": {"test": {"de": 100}, "train": {"de": 6}}}
    found = check(toy(**stated, source={"counts": {"test": {"de": 3}}}), tmp_path)
    assert kinds(found) == [("train", "de", "count")]
    assert found[0].message == "5 rows where the protocol states 6"


def test_placeholder_labels(tmp_path):
    constant = rows(*((f"Satz {n}", "a") for n in range(20)))
    write(tmp_path, {"de/test.tsv": constant, "en/test.tsv": rows(("x", "a"), ("y", "a"))})
    found = check(toy(), tmp_path)
    # Two rows say nothing, twenty equal ones do.
    assert kinds(found) == [("test", "de", "labels")]
    assert found[0].message == "all 20 rows have the label a: a placeholder?"
    assert found[0].where == "test.tsv:1"


def test_training_rows_without_labels(tmp_path):
    write(tmp_path, {"de/train.tsv": "x\ny\n"})
    found = check(toy(source={"options": {"labels": "optional"}}), tmp_path)
    assert [f.message for f in found] == ["training rows have no label"]


def test_broken_files_do_not_hide_other_findings(tmp_path):
    write(tmp_path, {"de/test.tsv": rows(("x", "c")), "en/test.tsv": rows(("x", "a"))})
    found = check(toy(counts={"test": {"*": 2}}), tmp_path)
    assert kinds(found) == [("test", "de", "broken"), ("test", "en", "count")]
    assert found[0].where == f"{tmp_path / 'de/test.tsv'}:1"
    assert "label 'c'" in found[0].message


def test_duplicate_ids_are_found_with_their_row(tmp_path):
    write(tmp_path, {"de/test.tsv": "7\tx\ta\n7\ty\tb\n"})
    found = check(toy(source={"columns": {"id": 0, "text": 1, "target": 2}}), tmp_path)
    assert kinds(found) == [("test", "de", "broken")]
    assert found[0].message == "id '7' repeats (first at test.tsv:1)"
    assert found[0].where.endswith("test.tsv:2")


def test_the_same_text_with_two_labels(tmp_path):
    write(tmp_path, {"de/test.tsv": rows(("x", "a"), ("X ", "b"), ("y", "a"), ("y", "a"))})
    found = check(toy(), tmp_path)
    assert kinds(found) == [("test", "de", "duplicate")]
    assert found[0].message.startswith("1 rows repeat")
    assert found[0].where == "test.tsv:2"


def test_training_rows_in_the_test_set(tmp_path):
    write(
        tmp_path,
        {
            "de/train.tsv": rows(("x", "a"), ("y", "b")),
            "de/test.tsv": rows(("z", "a"), ("Y", "b"), ("x", "a")),
            "en/test.tsv": rows(("x", "a")),
        },
    )
    found = check(toy(), tmp_path)
    # Case and blanks aside, two German test rows were trained on; the English file is no matter.
    assert kinds(found) == [("test", "de", "overlap")]
    assert found[0].message == "2 of 3 rows are training rows too"
    assert found[0].where == "test.tsv:2"


GERMAN = ["der Hund schläft unter dem Tisch", "die Kinder spielen im Garten", "das Brot ist frisch"]
ENGLISH = ["the dog sleeps under the table", "the children play outside", "the bread is fresh"]
SWAHILI = ["mbwa analala chini ya meza", "watoto wanacheza nje", "mkate ni mpya kabisa leo"]


def text_of(lines: list[str], tail: str) -> str:
    return rows(*((f"{lines[n % 3]} {tail}{n}", "ab"[n % 2]) for n in range(30)))


def test_a_training_file_in_another_language(tmp_path):
    files = {
        "en/train.tsv": text_of(GERMAN, "x"),
        "en/test.tsv": text_of(ENGLISH, "y"),
        "de/test.tsv": text_of(GERMAN, "y"),
        "sw/test.tsv": text_of(SWAHILI, "y"),
    }
    found = check(toy(), write(tmp_path, files))
    assert ("train", "en", "language") in kinds(found)
    message = next(f.message for f in found if (f.split, f.language) == ("train", "en"))
    assert "closer to 'de'" in message
    write(tmp_path, {"en/train.tsv": text_of(ENGLISH, "x")})
    assert check(toy(), tmp_path) == []


def test_a_training_file_of_several_languages(tmp_path):
    mixed = [line for three in zip(ENGLISH, GERMAN, SWAHILI, strict=True) for line in three]
    files = {
        "en/train.tsv": rows(*((f"{mixed[n % 9]} {n}", "ab"[n % 2]) for n in range(36))),
        "en/test.tsv": text_of(ENGLISH, "y"),
        "de/test.tsv": text_of(GERMAN, "y"),
        "sw/test.tsv": text_of(SWAHILI, "y"),
    }
    found = check(toy(), write(tmp_path, files))
    # One row in three is English.
    assert [f.message for f in found if f.split == "train"] == [
        "24 of 36 rows looked at are closer to de, sw than to 'en'"
    ]
    assert [f.where for f in found if f.split == "train"] == ["train.tsv:2"]


CHINESE = ["狗在桌子下睡觉", "孩子们在外面玩", "面包很新鲜 NATO"]


def test_a_training_file_alone_in_another_script(tmp_path):
    write(tmp_path, {"en/train.tsv": text_of(CHINESE, "")})
    found = check(toy(), tmp_path)
    # Letters: 10 rows of 7, 10 of 7, 10 of 5 and 4 Latin ones. 40 of 230 are Latin, 17 percent.
    assert kinds(found) == []
    write(tmp_path, {"en/train.tsv": text_of(CHINESE[:1] * 3, "")})
    found = check(toy(), tmp_path)
    assert kinds(found) == [("train", "en", "language")]
    assert found[0].message == "0% of the letters are of the script of 'en', 100% are CJK"


def test_one_split_alone_is_not_judged_for_its_language():
    example = [Example(str(n), "de", {"text": "der Hund"}, "a") for n in range(30)]
    assert list(check_languages(toy(), {("test", "de"): example, ("test", "en"): example})) == []


def test_a_file_that_is_not_the_published_one(tmp_path):
    write(tmp_path, {"de/test.tsv": rows(("x", "a"), ("y", "b"))})
    digest = hashlib.sha256(b"x\ta\ny\tb\n").hexdigest()
    assert check(toy(source={"sha256": {"de/test.tsv": digest}}), tmp_path) == []
    found = check(toy(source={"sha256": {"de/test.tsv": "0" * 64}}), tmp_path)
    assert kinds(found) == [("test", "de", "checksum")]


def sentences(words: list[str], count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(words, k=8)) for _ in range(count)]


FAMILIAR = list(dict.fromkeys(" ".join(GERMAN).split()))
IDEOGRAPHS = [chr(n) for n in range(0x4E00, 0x4E00 + 3000)]


def labelled(texts: list[str]) -> str:
    return rows(*((text, "ab"[n % 2]) for n, text in enumerate(texts)))


def test_a_language_with_little_reference_text_is_not_called_another(tmp_path):
    # 3,000 ideographs: fifty reference rows share hardly a sequence with the training rows, and
    # the German word in each of these made them "closer to de".
    chinese = [text.replace(" ", "") for text in sentences(IDEOGRAPHS, 300, 1)]
    train = [f"{text}. Hund und Haus {text}" for text in chinese[50:]]
    german = sentences(FAMILIAR, 50, 2)
    files = {"zh/train.tsv": labelled(train), "zh/test.tsv": labelled(chinese[:50])}
    write(tmp_path, {**files, "de/test.tsv": labelled(german)})
    task = toy(languages=["zh", "de"], source_language="zh")
    assert [f for f in check(task, tmp_path) if f.kind in ("language", "unsure")] == []
    assert require_language(task, load(task, "train", "zh", tmp_path), "zh", tmp_path) == ""
    mixed = [*train, *sentences(FAMILIAR, 60, 3)]
    write(tmp_path, {"zh/train.tsv": labelled(mixed)})
    (found,) = [f for f in check(task, tmp_path) if f.kind == "language"]
    assert "60 of 310 rows looked at are closer to de" in found.message


def test_too_little_evidence_is_said_and_not_refused(tmp_path):
    draw = random.Random(5)
    letters = "abcdefghijklmnopqrstuvwxyzäöüßéèçñøåœæ"
    words = ["".join(draw.choices(letters, k=7)) for _ in range(4000)]
    own = sentences(words, 300, 1)
    files = {"sw/train.tsv": labelled(own[20:]), "sw/test.tsv": labelled(own[:20])}
    write(tmp_path, {**files, "de/test.tsv": labelled(sentences(FAMILIAR, 50, 2))})
    task = toy(languages=["sw", "de"], source_language="sw")
    found = [f for f in check(task, tmp_path) if f.kind in ("language", UNSURE)]
    assert [f.kind for f in found] == [UNSURE]
    assert "too little text of 'sw'" in found[0].message
    said = require_language(task, load(task, "train", "sw", tmp_path), "sw", tmp_path)
    assert "too little text of 'sw'" in said


# --------------------------------------------------------------------------- ls, show, prepare


def test_listing_gives_place_size_licence_rows_and_checksum(tmp_path):
    write(tmp_path, {"de/test.tsv": "x\ta\n", "en/train.tsv": "y\ta\nz\tb\n"})
    found = list(list_data([toy()], tmp_path, count=True, checksums=True))
    assert [(p.split, p.language, p.rows, p.num_bytes) for p in found] == [
        ("train", "en", 2, 8),
        ("test", "de", 1, 4),
    ]
    assert found[1].place == "de/test.tsv"
    assert found[1].license == "CC0"
    assert found[1].sha256 == {"de/test.tsv": hashlib.sha256(b"x\ta\n").hexdigest()}
    assert next(list_data([toy()], tmp_path)).rows is None


def test_showing_gives_the_first_rows_and_what_is_refused(tmp_path):
    write(tmp_path, {"pawsx/test-de.tsv": "a\tb\t1\nc\td\t0\n"})
    shown = show(load_task("pawsx"), "test", "de", tmp_path, limit=1)
    assert [row.fields["text"] for row in shown.examples] == ["a"]
    assert "49,175 rows" in shown.refused["google/xtreme"]
    assert shown.presence.place == "pawsx/test-de.tsv"
    with pytest.raises(NotFoundError):
        show(load_task("ccg"), "test", "en", tmp_path)


def test_showing_a_bitext_gives_pairs(tmp_path):
    files = {"tatoeba/tatoeba.deu-eng.deu": "ja\n", "tatoeba/tatoeba.deu-eng.eng": "yes\n"}
    shown = show(load_task("tatoeba"), "test", "de", write(tmp_path, files))
    assert [row.fields["text"] for row in shown.examples] == ["ja", "yes"]
    assert len(shown.presence.files) == 2


def test_preparing_converts_and_reads_everything(tmp_path):
    raw = write(tmp_path / "raw", {"de/test": "de:Ada\tB-PER\n\n", "en/train": "en:x\tO\n\n"})
    data = tmp_path / "data"
    done = list(prepare(load_task("panx"), data, raw_dir=raw, offline=True))
    assert isinstance(done[0], Converted)
    assert (data / "labels" / "panx" / "test-de.tsv").read_text(encoding="utf-8") == "B-PER\n"
    found = [p for p in done[1:] if isinstance(p, Presence)]
    assert [(p.split, p.language, p.rows) for p in found] == [("train", "en", 1), ("test", "de", 1)]


def test_preparing_what_is_nowhere_or_broken(tmp_path):
    with pytest.raises(OfflineError):
        list(prepare(load_task("xquad"), tmp_path, languages=["de"], splits=["test"], offline=True))
    assert list(prepare(load_task("xquad"), tmp_path, offline=True)) == []
    write(tmp_path, {"de/test.tsv": "x\tc\n"})
    with pytest.raises(DataError):
        list(prepare(toy(), tmp_path))


def test_a_split_only_on_a_hub_is_told_as_such():
    found = look(load_task("xquad"), "test", "de", None)
    assert found.remote
    assert found.place == "hub google/xquad@51adfef1c128"
    assert found.files == ()


# ------------------------------------------------------------------------------------ real data


@pytest.mark.long
@needs_shared
def test_real_findings():
    # MasakhaNER's Swahili test and dev files hold sentences of its training file; counted here
    # from the raw blocks of the files.
    found = check(load_task("masakhaner"), SHARED)
    overlap = {f.split: f.message for f in found if f.kind == "overlap"}
    sentences = {}
    for split in ("train", "dev", "test"):
        text = (SHARED / "masakhaner" / "swa" / f"{split}.txt").read_text(encoding="utf-8")
        blocks = [block for block in text.split("\n\n") if block.strip()]
        sentences[split] = [
            " ".join(line.split(" ")[0] for line in block.split("\n") if line).casefold()
            for block in blocks
        ]
    known = set(sentences["train"])
    expected = {
        ours: f"{sum(s in known for s in sentences[theirs])} of {len(sentences[theirs])} "
        "rows are training rows too"
        for ours, theirs in (("validation", "dev"), ("test", "test"))
    }
    assert overlap == expected


@pytest.mark.long
@needs_shared
def test_real_data_is_in_the_languages_it_says():
    for name in ("nusax_senti", "xcopa"):
        assert [f for f in check(load_task(name), SHARED) if f.kind == "language"] == []


@pytest.mark.long
@needs_shared
def test_half_of_cosmos_qa_is_noticed():
    found = check(load_task("cosmosqa"), SHARED)
    assert [f.message for f in found] == ["1500 rows where the protocol states 2985"]


PAWS = "".join(f"{n}\tA satz {n} .\tB satz {n} .\t{n % 2}\r\n" for n in range(1, 31))


def between(names, root):
    seen: Seen = {}
    tasks = [load_task(name) for name in names]
    for task in tasks:
        check(task, root, seen)
    return list(check_between(tasks, seen))


def test_rows_of_paws_x_that_train_as_paws_are_found(tmp_path):
    # PAWS-X's rows come from the dev file of PAWS-Wiki: here two stand in what is trained on.
    pawsx = "Neu .\tAnders .\t0\nA satz 7 .\tB satz 7 .\t1\nA satz 8 .\tB satz 8 .\t0\n"
    write(tmp_path, {"paws_wiki/final/test.tsv": PAWS, "pawsx/dev-en.tsv": pawsx})
    (found,) = between(["pawsx", "paws_wiki"], tmp_path)
    assert (found.task, found.split, found.language, found.kind) == (
        "pawsx", "validation", "en", "overlap",
    )  # fmt: skip
    assert found.message == "2 of 3 rows are training rows of paws_wiki"
    assert found.where == "dev-en.tsv:2"
    write(tmp_path, {"pawsx/dev-en.tsv": "Neu .\tAnders .\t0\n"})
    assert between(["pawsx", "paws_wiki"], tmp_path) == []
    # A task of another family may show the same text: its labels are other labels.
    write(tmp_path, {"pawsx/dev-en.tsv": pawsx, "mnli/dev_matched.tsv": MNLI})
    assert between(["mnli", "paws_wiki"], tmp_path) == []


MNLI = "sentence1\tsentence2\tgold_label\nA satz 7 .\tB satz 7 .\tneutral\n"


@pytest.mark.long
@needs_shared
def test_overlap_between_real_tasks():
    # README of the data: PAWS-Wiki's test part shares no sentence with PAWS-X, 204 pairs of SNLI's
    # dev file are in CAD-NLI too.
    assert between(["paws_wiki", "pawsx"], SHARED) == []
    found = {(f.task, f.split): f.message for f in between(["snli", "cad_nli"], SHARED)}
    rows = {
        (name, split): {
            (row.fields["text"].casefold(), row.fields["text_pair"].casefold())
            for row in load(load_task(name), split, "en", SHARED)
        }
        for name in ("snli", "cad_nli")
        for split in ("train", "validation")
    }
    both = (
        rows["snli", "train"] | rows["snli", "validation"],
        rows["cad_nli", "train"] | rows["cad_nli", "validation"],
    )
    assert len(both[0] & both[1]) == 204
    assert ("cad_nli", "validation") in found
    assert found["cad_nli", "validation"].endswith("rows are training rows of snli")


TRAPS = {
    "a label that says there is none": (
        "csv", {"drop_labels": ["-"]},
        "pairID,sentence1,sentence2,label\na,x,y,neutral\nb,z,w,-\n",
        {"text": "sentence1", "text_pair": "sentence2", "target": "label"},
        "label '-' is none of",
    ),
    "line ends that change inside a file": (
        "tsv", {"line_ends": "mixed"}, "x\ty\tneutral\r\nz\tw\tneutral\n",
        {"text": 0, "text_pair": 1, "target": 2}, "line ends are mixed",
    ),
    "a line broken inside its text": (
        "tsv", {"width": "3", "short_rows": "drop"}, "x\ty\tneutral\n- and\nz\tw\tneutral\n",
        {"text": 0, "text_pair": 1, "target": 2}, "1 columns where 3 are expected",
    ),
    "a column too many": (
        "tsv", {"width": "3", "long_rows": "drop"}, "x\ty\tneutral\na\tb\tc\td\n",
        {"text": 0, "text_pair": 1, "target": 2}, "4 columns where 3 are expected",
    ),
    "several labels in one column": (
        "tsv", {"label_separator": ","}, "x\ty\tneutral\nz\tw\tneutral, entailment\n",
        {"text": 0, "text_pair": 1, "target": 2}, "label 'neutral, entailment' is none of",
    ),
}  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_is_found_until_the_task_says_how_to_read_it(trap, tmp_path):
    reader, options, text, columns, message = TRAPS[trap]
    (tmp_path / "rows").write_bytes(text.encode())
    source = {"reader": reader, "files": {"test": "rows"}, "columns": columns}
    labels = {"labels": ["entailment", "neutral", "contradiction"], "languages": ["en"]}
    task = toy(**labels)
    plain = task.model_copy(update={"sources": [SourceSpec(**source)]})
    (found,) = check(plain, tmp_path)
    assert found.kind == "broken"
    assert message in found.message
    told = task.model_copy(update={"sources": [SourceSpec(**source, options=options)]})
    assert check(told, tmp_path) == []


def test_crlf_and_tabs_in_empty_lines_are_no_part_of_the_data(tmp_path):
    write(tmp_path, {
        "paws_wiki/final/test.tsv": PAWS,
        "wnut17/wnut17train.conll": "a\tO\n\t\nb\tB-person\n\t\n",
    })  # fmt: skip
    paws = load(load_task("paws_wiki"), "train", "en", tmp_path)
    assert {row.target for row in paws} == {"0", "1"}
    wnut = load(load_task("wnut17"), "train", "en", tmp_path)
    assert [row.fields["words"] for row in wnut] == [("a",), ("b",)]
