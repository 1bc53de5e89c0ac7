"""Original distributions to XTREME's layout, checked by hand-made raw files."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from support.files import SHARED, needs_shared, write

import xstilts.data
from xstilts.config.load import load_task
from xstilts.data import archives
from xstilts.data.archives import unpack
from xstilts.data.conversion import convert
from xstilts.data.pairs import load_pair
from xstilts.data.sources import load
from xstilts.errors import DataError, IntegrityError, NotFoundError, UsageError


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder with its text."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


XNLI_HEADER = "language\tgold_label\tsb1\tsb2\tsp1\tsp2\tsentence1\tsentence2\tpromptID\n"


def xnli_row(language: str, label: str, one: str, two: str) -> str:
    return f"{language}\t{label}\t_\t_\t_\t_\t{one}\t{two}\t7\n"


def test_xnli(tmp_path):
    raw = write(
        tmp_path / "raw",
        {
            "XNLI-1.0/xnli.dev.tsv": XNLI_HEADER + xnli_row("de", "neutral", "a", 'b "c"'),
            "XNLI-1.0/xnli.test.tsv": XNLI_HEADER
            + xnli_row("de", "contradictory", " d ", "e")
            + xnli_row("sw", "entailment", "f", "g")
            + xnli_row("de", "neutral", "h", "i"),
            "XNLI-MT-1.0/multinli/multinli.train.en.tsv": "premise\thypo\tlabel\n"
            "j\tk\tcontradictory\n",
        },
    )
    done = convert("xnli", raw, tmp_path / "data" / "xnli")
    assert tree(tmp_path / "data" / "xnli") == {
        "train-en.tsv": "j\tk\tcontradiction\n",
        "dev-de.tsv": 'a\tb "c"\tneutral\n',
        "test-de.tsv": "d\te\nh\ti\n",
        "test-sw.tsv": "f\tg\n",
        "labels/test-de.tsv": "contradiction\nneutral\n",
        "labels/test-sw.tsv": "entailment\n",
    }
    assert done.rows == {"train-en.tsv": 1, "dev-de.tsv": 1, "test-de.tsv": 2, "test-sw.tsv": 1}
    assert done.label_rows == {"test-de.tsv": 2, "test-sw.tsv": 1}
    rows = load(load_task("xnli"), "test", "de", tmp_path / "data")
    assert [row.target for row in rows] == ["contradiction", "neutral"]


def test_pawsx(tmp_path):
    header = "id\tsentence1\tsentence2\tlabel\n"
    raw = write(
        tmp_path / "raw",
        {
            "x-final/en/train.tsv": header + '1\t"a"\tb\t1\n',
            "x-final/de/translated_train.tsv": header + "1\tx\ty\t0\n",
            "x-final/de/dev_2k.tsv": header + "1\tc\td\t0\n",
            "x-final/de/test_2k.tsv": header + "1\te \tf\t1\n",
        },
    )
    convert("pawsx", raw, tmp_path / "out", tmp_path / "labels" / "pawsx")
    assert tree(tmp_path / "out") == {
        "train-en.tsv": '"a"\tb\t1\n',
        "dev-de.tsv": "c\td\t0\n",
        "test-de.tsv": "e\tf\n",
    }
    assert tree(tmp_path / "labels" / "pawsx") == {"test-de.tsv": "1\n"}


def conllu(*lines: str) -> str:
    rows = []
    for line in lines:
        number, form, upos, head = line.split(" ")
        cells = [number, form, "_", upos, "_", "_", head, "_", "_", "_"]
        rows.append("\t".join(cells))
    return "# text\n" + "\n".join(rows) + "\n\n"


def test_udpos(tmp_path):
    zum = conllu("1 geht VERB 0", "2-3 zum _ _", "2 zu ADP 4", "3 dem DET 4", "4 Haus NOUN 1")
    hidden = conllu("1 _ NOUN 0", "2 . PUNCT 1")
    ja = conllu("1 Ja INTJ 0")
    raw = write(
        tmp_path / "raw",
        {
            "ud/UD_German-HDT/de_b-ud-train.conllu": zum + ja,
            "ud/UD_German-GSD/de_a-ud-train.conllu": hidden + ja,
            "ud/UD_German-GSD/de_a-ud-test.conllu": zum + ja,
            "ud/UD_Danish-DDT/da_a-ud-test.conllu": ja,
            "ud/UD_Polish-LFG/pl_a-ud-test.conllu": ja,
        },
    )
    convert("udpos", raw, tmp_path / "out")
    # a before b; `_ .` has one word that is not `_`, so it is left out: 1 >= 2 - 1.
    # Danish is no language of XTREME or XTREME-R, Polish is one of XTREME-R.
    assert tree(tmp_path / "out") == {
        "train-de.tsv": "Ja\tINTJ\n\ngeht\tVERB\nzum\tADP\nHaus\tNOUN\n\nJa\tINTJ\n",
        "test-de.tsv": "geht\nzum\nHaus\n\nJa\n",
        "labels/test-de.tsv": "VERB\nADP\nNOUN\n\nINTJ\n",
        "test-pl.tsv": "Ja\n",
        "labels/test-pl.tsv": "INTJ\n",
    }


PANX = "de:Ada\tB-PER\nde::\tO\nohne\tO\n\nde:Bonn\tB-LOC\n\n"


def test_panx(tmp_path):
    raw = write(tmp_path / "raw", {"de/train": PANX, "de/test": PANX, "qu-dev": PANX})
    convert("panx", raw, tmp_path / "data" / "panx")
    # The line without a colon goes, the last blank line too, other blank lines end sentences.
    assert tree(tmp_path / "data" / "panx") == {
        "train-de.tsv": "Ada\tB-PER\n:\tO\n\nBonn\tB-LOC\n",
        "test-de.tsv": "Ada\n:\n\nBonn\n",
        "labels/test-de.tsv": "B-PER\nO\n\nB-LOC\n",
        "dev-qu.tsv": "Ada\tB-PER\n:\tO\n\nBonn\tB-LOC\n",
    }
    rows = load(load_task("panx"), "test", "de", tmp_path / "data")
    assert [row.target for row in rows] == [("B-PER", "O"), ("B-LOC",)]


def test_bucc(tmp_path):
    files = {
        "zh-en.training.zh": "zh-1\t一\nzh-2\t二\n",
        "zh-en.training.en": "en-1\tone\n",
        "zh-en.training.gold": "zh-1\ten-1\n",
        "zh-en.sample.zh": "zh-3\t三\n",
        "zh-en.sample.en": "en-3\tthree\n",
        "zh-en.sample.gold": "zh-3\ten-3\n",
    }
    raw = write(tmp_path / "raw", {f"bucc2018/zh-en/{name}": text for name, text in files.items()})
    convert("bucc2018", raw, tmp_path / "data" / "bucc2018")
    assert tree(tmp_path / "data" / "bucc2018") == {
        "zh-en.test.zh": "zh-1\t一\nzh-2\t二\n",
        "zh-en.test.en": "en-1\tone\n",
        "zh-en.dev.zh": "zh-3\t三\n",
        "zh-en.dev.en": "en-3\tthree\n",
        "zh-en.dev.gold": "zh-3\ten-3\n",
        "labels/test-zh.tsv": "zh-1\ten-1\n",
    }
    pair = load_pair(load_task("bucc2018"), "zh", tmp_path / "data")
    assert pair.gold_ids == [("zh-1", "en-1")]


def test_tatoeba(tmp_path):
    raw = write(
        tmp_path / "raw",
        {
            "tatoeba.cmn-eng.cmn": "二 \n一\n三\n四\n",
            "tatoeba.cmn-eng.eng": "b\na \nZ\na\n",
        },
    )
    convert("tatoeba", raw, tmp_path / "data" / "tatoeba")
    # Code points: Z before a before b; the two a keep their order (lines 1 and 3).
    assert tree(tmp_path / "data" / "tatoeba") == {
        "zh-en.zh": "二 \n一\n三\n四\n",
        "zh-en.en": "Z\na\na\nb\n",
        "labels/test-zh.tsv": "2\n1\n3\n0\n",
    }
    pair = load_pair(load_task("tatoeba"), "zh", tmp_path / "data")
    found = {pair.source[s].fields["text"]: pair.target[t].fields["text"] for s, t in pair.gold}
    assert found == {"二": "b", "一": "a", "三": "Z", "四": "a"}


def squad(*names: str) -> str:
    def qa(name):
        return {"id": name, "question": "Wer?", "answers": [{"text": "Hund", "answer_start": 4}]}

    paragraph = {"context": "Ein Hund.", "qas": [qa(name) for name in names]}
    return json.dumps({"version": "1.1", "data": [{"title": "T", "paragraphs": [paragraph]}]})


def stripped(*names: str) -> dict:
    return {
        "version": "1.1",
        "data": [
            {
                "paragraphs": [
                    {
                        "context": "Ein Hund.",
                        "qas": [
                            {
                                "id": name,
                                "question": "Wer?",
                                "answers": [{"text": "", "answer_start": 0}],
                            }
                        ],
                    }
                ]
            }
            for name in names
        ],
    }


@pytest.mark.parametrize(
    ("task", "raw_name", "name"),
    [
        ("xquad", "xquad.de.json", "xquad.de.json"),
        (
            "mlqa",
            "MLQA_V1/test/test-context-de-question-de.json",
            "MLQA_V1/test/test-context-de-question-de.json",
        ),
    ],
)
def test_answers_are_stripped_and_kept_apart(tmp_path, task, raw_name, name):
    raw = write(tmp_path / "raw", {raw_name: squad("1", "2")})
    done = convert(task, raw, tmp_path / "data" / task)
    found = {key: json.loads(text) for key, text in tree(tmp_path / "data" / task).items()}
    assert found == {name: stripped("1", "2"), "labels/test-de.json": json.loads(squad("1", "2"))}
    assert done.rows == {name: 2}
    rows = load(load_task(task), "test", "de", tmp_path / "data")
    assert [row.target[0].text for row in rows] == ["Hund", "Hund"]


def test_tydiqa_is_split_by_language_and_its_train_ids_cut(tmp_path):
    raw = write(
        tmp_path / "raw",
        {
            "tydiqa-goldp-v1.1-train.json": squad("english-9-1", "finnish-3-0", "english-8-1"),
            "tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-finnish.json": squad("finnish-4-0"),
        },
    )
    convert("tydiqa", raw, tmp_path / "data" / "tydiqa")
    found = {key: json.loads(text) for key, text in tree(tmp_path / "data" / "tydiqa").items()}
    train = found["tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json"]
    assert [d["paragraphs"][0]["qas"][0]["id"] for d in train["data"]] == ["1", "1"]
    assert train["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["text"] == "Hund"
    dev = found["tydiqa-goldp-v1.1-dev/tydiqa.goldp.fi.dev.json"]
    assert dev == stripped("finnish-4-0")
    assert set(found) == {
        "tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json",
        "tydiqa-goldp-v1.1-train/tydiqa.goldp.fi.train.json",
        "tydiqa-goldp-v1.1-dev/tydiqa.goldp.fi.dev.json",
        "labels/test-fi.json",
    }
    task = load_task("tydiqa")
    assert [row.id for row in load(task, "train", "en", tmp_path / "data")] == ["1", "1#2"]
    assert load(task, "test", "fi", tmp_path / "data")[0].target[0].start == 4


# ------------------------------------------------------------------------------- refusals


def nothing_is_left(folder: Path) -> bool:
    return not folder.exists() or not any(folder.iterdir())


@pytest.mark.parametrize(
    ("task", "files", "what"),
    [
        ("xnli", {"xnli.dev.tsv": XNLI_HEADER + "de\tneutral\ta\n"}, "3 columns where 8"),
        ("xnli", {"xnli.dev.tsv": "<!DOCTYPE html>\n<html></html>\n"}, "web page"),
        ("pawsx", {"de/dev_2k.tsv": "id\ta\tb\tl\n1\ta\tb\n"}, "3 columns where 4"),
        ("udpos", {"de_a-ud-dev.conllu": "1\tJa\n\n"}, "2 columns where CoNLL-U has 10"),
        ("panx", {"de-dev": "Ada B-PER\n"}, "no words"),
        ("tatoeba", {"tatoeba.cmn-eng.cmn": "a\nb\n", "tatoeba.cmn-eng.eng": "a\n"}, "2 lines"),
        ("bucc2018", {"de-en.sample.de": "ohne Kennung\n"}, "id TAB sentence"),
        ("xquad", {"xquad.de.json": squad("1").replace("4", "5")}, "not at offset 5"),
        ("xquad", {"xquad.de.json": json.dumps(stripped("1"))}, "already stripped"),
        ("xquad", {"xquad.de.json": "<html>404</html>"}, "web page"),
        ("tydiqa", {"tydiqa-goldp-v1.1-train.json": squad("klingon-1-0")}, "no language of TyDiQA"),
    ],
)
def test_a_broken_original_leaves_nothing_behind(tmp_path, task, files, what):
    good = {
        "xquad.en.json": squad("1"),
        "en-dev": PANX,
        "en/dev_2k.tsv": "h\th\th\th\n1\ta\tb\t1\n",
    }
    raw = write(tmp_path / "raw", {**good, **files})
    with pytest.raises(DataError, match=what) as caught:
        convert(task, raw, tmp_path / "out" / task, tmp_path / "out" / "labels" / task)
    assert str(raw) in caught.value.where
    assert nothing_is_left(tmp_path / "out") or tree(tmp_path / "out") == {}
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_a_folder_without_originals_says_what_was_looked_for(tmp_path):
    (tmp_path / "raw").mkdir()
    with pytest.raises(NotFoundError, match=r"xnli\.dev\.tsv") as caught:
        convert("xnli", tmp_path / "raw", tmp_path / "out")
    assert "multinli.train.en.tsv" in caught.value.where
    assert not (tmp_path / "out").exists()
    with pytest.raises(NotFoundError, match="no folder with original files"):
        convert("xnli", tmp_path / "none", tmp_path / "out")


def test_a_folder_with_files_is_not_overwritten(tmp_path):
    raw = write(tmp_path / "raw", {"xquad.de.json": squad("1")})
    write(tmp_path / "out", {"mine.txt": "x"})
    with pytest.raises(UsageError, match="already holds files"):
        convert("xquad", raw, tmp_path / "out")
    assert tree(tmp_path / "out") == {"mine.txt": "x"}


def test_only_tasks_with_a_conversion_are_converted(tmp_path):
    with pytest.raises(UsageError, match="no conversion"):
        convert("mnli", tmp_path, tmp_path / "out")
    with pytest.raises(NotFoundError, match="no task named 'xnly'"):
        convert("xnly", tmp_path, tmp_path / "out")


def test_two_different_files_of_one_name_are_refused(tmp_path):
    files = {"a/xquad.de.json": squad("1"), "b/xquad.de.json": squad("2")}
    raw = write(tmp_path / "raw", files)
    with pytest.raises(DataError, match="several files are called"):
        convert("xquad", raw, tmp_path / "out")
    (raw / "b/xquad.de.json").write_text(squad("1"), encoding="utf-8")
    assert convert("xquad", raw, tmp_path / "out").rows == {"xquad.de.json": 1}


def test_the_package_offers_convert():
    assert xstilts.data.convert is convert


# ------------------------------------------------------------------------------- archives


def test_archives_inside_archives_are_converted(tmp_path):
    inner = write(tmp_path / "inner", {"train": PANX, "test": PANX})
    (tmp_path / "raw").mkdir()
    with tarfile.open(tmp_path / "de.tar.gz", "w:gz") as file:
        for name in ("train", "test"):
            file.add(inner / name, arcname=name)
    with zipfile.ZipFile(tmp_path / "raw" / "AmazonPhotos.zip", "w") as outer:
        outer.write(tmp_path / "de.tar.gz", "panx_dataset/de.tar.gz")
    done = convert("panx", tmp_path / "raw", tmp_path / "out")
    assert done.rows == {"train-de.tsv": 2, "test-de.tsv": 2}


def zip_of(path: Path, name: str, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, data)
    return path


@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt", "/etc/x", "C:/x", "..\\x"])
def test_paths_that_leave_the_folder_are_refused(tmp_path, name):
    archive = zip_of(tmp_path / "x.zip", name, b"x")
    with pytest.raises(IntegrityError, match="leaves the folder"):
        unpack(archive, tmp_path / "deep" / "folder")
    assert not (tmp_path / "out.txt").exists()
    assert not (tmp_path / "deep" / "out.txt").exists()


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    zip_of(raw / "MLQA_V1.zip", "MLQA_V1/test/x.json", bytes(archives.FREE_BYTES + 1))
    assert (raw / "MLQA_V1.zip").stat().st_size < 20_000
    with pytest.raises(IntegrityError, match="like a zip bomb"):
        convert("mlqa", raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_size_that_lies_is_noticed(tmp_path):
    archive = zip_of(tmp_path / "x.zip", "a.txt", b"x" * 1000)
    data = archive.read_bytes().replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive.write_bytes(data)
    with pytest.raises(IntegrityError):
        unpack(archive, tmp_path / "folder")


def test_links_and_cut_off_archives_are_refused(tmp_path):
    link = tmp_path / "link.tar"
    with tarfile.open(link, "w") as file:
        member = tarfile.TarInfo("passwd")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(member)
    with pytest.raises(IntegrityError, match="link or device"):
        unpack(link, tmp_path / "folder")
    cut = tmp_path / "cut.tar.gz"
    write(tmp_path, {"big.txt": "".join(chr(33 + n % 90) for n in range(50_000))})
    with tarfile.open(cut, "w:gz") as file:
        file.add(tmp_path / "big.txt", arcname="big.txt")
    cut.write_bytes(cut.read_bytes()[:-60])
    with pytest.raises(IntegrityError, match="not a whole archive"):
        unpack(cut, tmp_path / "folder")
    with pytest.raises(IntegrityError, match="not a whole archive"):
        unpack(write(tmp_path, {"fake.zip": "<html></html>"}) / "fake.zip", tmp_path / "folder")


PACKED = {".zip": "", ".tar": "w", ".tar.gz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}
TEXTS = {"a/one.txt": b"".join(b"%d\n" % (n * n) for n in range(400)), "two.txt": b"hello\n"}


@pytest.mark.parametrize("ending", PACKED)
def test_no_damage_makes_an_archive_smaller_without_a_word(ending, tmp_path):
    archive, out = tmp_path / f"x{ending}", tmp_path / "out"
    if ending == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in TEXTS.items():
                file.writestr(name, content)
    else:
        with tarfile.open(archive, PACKED[ending]) as file:
            for name, content in TEXTS.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))
    whole = archive.read_bytes()
    assert {p.relative_to(out).as_posix(): p.read_bytes() for p in unpack(archive, out)} == TEXTS
    ends = (*range(1, 60), *range(60, len(whole), 97))
    damaged = [whole[:-cut] for cut in ends]
    if ending != ".tar":  # which has no checksum of its contents
        flipped = range(0, len(whole) - 22, 31)  # zip's last 22 bytes say where its index is
        damaged += [whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :] for at in flipped]
    refused = 0
    for data in damaged:
        shutil.rmtree(out)
        archive.write_bytes(data)
        try:
            found = {p.relative_to(out).as_posix(): p.read_bytes() for p in unpack(archive, out)}
        except IntegrityError as error:
            refused += "not a whole archive" in error.what or "encrypted" in error.what
            out.mkdir(exist_ok=True)
        else:
            assert found == TEXTS
    assert refused > len(damaged) / 4
    archive.write_bytes(whole[:-20])  # as it came to light
    if ending != ".tar":
        with pytest.raises(IntegrityError, match="not a whole archive"):
            unpack(archive, tmp_path / "again")


@pytest.mark.long
def test_no_bit_of_a_zip_files_index_hides_a_file(tmp_path):
    archive, out = tmp_path / "x.zip", tmp_path / "out"
    with zipfile.ZipFile(archive, "w") as file:
        file.mkdir("a")
        for name, content in TEXTS.items():
            file.writestr(name, content)
    whole, start = archive.read_bytes(), file.start_dir
    refused = 0
    for at in range(start, len(whole)):
        for bit in range(8):
            archive.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            try:
                found = unpack(archive, out)
            except IntegrityError:
                refused += 1
            else:
                assert {p.relative_to(out).as_posix() for p in found} == TEXTS.keys(), (at, bit)
            shutil.rmtree(out, ignore_errors=True)
    assert refused > 4 * (len(whole) - start)  # half of the bits


def test_a_tar_file_that_ends_between_two_files_is_refused(tmp_path):
    archive = tmp_path / "x.tar"
    with tarfile.open(archive, "w") as file:
        for name in ("one", "two"):
            member = tarfile.TarInfo(name)
            member.size = 512
            file.addfile(member, io.BytesIO(b"x" * 512))
    archive.write_bytes(archive.read_bytes()[:1024])
    with pytest.raises(IntegrityError, match="before its end mark"):
        unpack(archive, tmp_path / "out")


# ------------------------------------------------------------------------------- real files


@needs_shared
def test_an_archive_in_an_unknown_compression_is_refused(tmp_path):
    archive = zip_of(tmp_path / "x.zip", "a.txt", b"a" * 100)
    data = bytearray(archive.read_bytes())
    # The method stands at offset 8 of the local header and 10 of the central one; 99 is nobody's.
    data[8] = data[data.index(b"PK\x01\x02") + 10] = 99
    archive.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"not a whole archive.*compression") as caught:
        unpack(archive, tmp_path / "folder")
    assert caught.value.where == str(archive)


def test_real_tatoeba_order_is_a_permutation_that_leads_back(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for code in ("afr", "jav", "cmn", "tha"):
        for side in (code, "eng"):
            name = f"tatoeba.{code}-eng.{side}"
            shutil.copy(SHARED / "tatoeba" / name, raw / name)
    done = convert("tatoeba", raw, tmp_path / "data" / "tatoeba")
    assert done.label_rows == {
        "test-af.tsv": 1000, "test-jv.tsv": 205, "test-zh.tsv": 1000, "test-th.tsv": 548,
    }  # fmt: skip
    task = load_task("tatoeba")
    for language in ("af", "jv", "zh", "th"):
        before = load_pair(task, language, SHARED)
        after = load_pair(task, language, tmp_path / "data")
        pairs = [
            {(p.source[s].fields["text"], p.target[t].fields["text"]) for s, t in p.gold}
            for p in (before, after)
        ]
        assert pairs[0] == pairs[1]
        texts = [row.fields["text"] for row in after.target]
        assert texts == sorted(texts)


@needs_shared
def test_real_questions_survive_stripping(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for code in ("de", "zh", "ro"):
        shutil.copy(SHARED / "xquad" / f"xquad.{code}.json", raw / f"xquad.{code}.json")
    done = convert("xquad", raw, tmp_path / "data" / "xquad")
    assert done.rows == dict.fromkeys(["xquad.de.json", "xquad.ro.json", "xquad.zh.json"], 1190)
    task = load_task("xquad")
    before = load(task, "test", "zh", SHARED)
    after = load(task, "test", "zh", tmp_path / "data")
    assert [(r.id, r.fields, r.target) for r in after] == [
        (r.id, r.fields, r.target) for r in before
    ]


@pytest.mark.long
@needs_shared
def test_real_treebanks_convert_to_what_is_read_directly(tmp_path):
    done = convert("udpos", SHARED / "ud", tmp_path / "data" / "udpos")
    assert done.rows["train-en.tsv"] == 1781 + 4274
    task = load_task("udpos")
    (treebanks,) = (s for s in task.sources if str(s.files.get("test", "")).startswith("ud/"))
    for language in ("de", "en", "vi"):
        direct = load(task.model_copy(update={"sources": [treebanks]}), "test", language, SHARED)
        converted = load(task, "test", language, tmp_path / "data")
        assert [(r.fields, r.target) for r in converted] == [(r.fields, r.target) for r in direct]


def test_originals_behind_a_link_are_found(tmp_path):
    header, row = XNLI_HEADER, xnli_row("de", "neutral", "a", "b")
    write(
        tmp_path,
        {"store/xnli/xnli.dev.tsv": header + row, "store/xnli/xnli.test.tsv": header + row},
    )
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "XNLI-1.0").symlink_to("../store/xnli")
    (tmp_path / "raw" / "round").symlink_to("../raw")  # leads back
    assert set(convert("xnli", tmp_path / "raw", tmp_path / "out").rows) == {
        "dev-de.tsv",
        "test-de.tsv",
    }


def test_after_an_error_no_folder_is_left(tmp_path):
    (tmp_path / "raw").mkdir()
    with pytest.raises(NotFoundError, match="none of the original files"):
        convert(
            "xnli", tmp_path / "raw", tmp_path / "d" / "xnli", tmp_path / "d" / "labels" / "xnli"
        )
    assert not (tmp_path / "d").exists()
