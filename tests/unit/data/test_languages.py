"""The language table: whole for what is shipped, and equal to its sources."""

from __future__ import annotations

import csv
import json
import re

import pytest
from support.files import SHARED

from xstilts.cli import main
from xstilts.config.load import (
    load_backbone_spec,
    load_suite,
    load_task,
    pretraining_of,
    spec_names,
)
from xstilts.config.specs import HubSource, SourceSpec
from xstilts.data.languages import UNKNOWN, called, group, group_by, language, languages, seen_in
from xstilts.data.languages.pretraining import CC100, CORPORA
from xstilts.data.layout import fill, known_as, language_names
from xstilts.errors import NotFoundError, UsageError

META = SHARED / "langmeta"
sources = pytest.mark.skipif(not META.is_dir(), reason=f"no sources at {META}")

# Section 6.5 of the facts about X-STILTs: scripts of XTREME's forty.
LATIN = "af de en es et eu fi fr hu id it jv ms nl pt sw tl tr vi yo"
NON_LATIN = "ar bg bn el fa he hi ja ka kk ko ml mr my ru ta te th ur zh"
FORTY = f"{LATIN} {NON_LATIN}".split()
# Tatoeba's files are called by ISO 639-3.
TATOEBA = {"ar": "ara", "fa": "pes", "sw": "swh", "zh": "cmn", "et": "est", "tl": "tgl"}


def test_every_language_of_every_task_and_suite_is_there():
    codes = {code for name in spec_names("tasks") for code in load_task(name).languages}
    for name in ("xtreme", "xtreme-r"):
        codes |= {code for own in load_suite(name).tasks.values() for code in own}
    assert codes - set(languages()) == set()
    assert len(codes) > 80


def test_no_language_of_a_task_lacks_a_script():
    specs = [load_task(name) for name in spec_names("tasks")]
    codes = {code for spec in specs for code in (*spec.every_language, spec.source_language)}
    assert {
        code for code in codes if not (language(code).script and language(code).script_name)
    } == set()
    # CLDR 49, supplemental/likelySubtags.xml: bzd_Latn_CR, cni_Latn_PE, nhe_Latn_MX, bbj_Latn_CM, …
    written = {"bzd", "cni", "hch", "nah", "oto", "shp", "tar", "bbj"}
    assert {(language(code).script, language(code).script_name) for code in written} == {
        ("Latn", "Latin")
    }


def test_codes_as_files_have_them_are_found():
    for code, iso3 in TATOEBA.items():
        assert language(iso3).code == code
    assert language("zho-CN").code == language("cmn_hans").code == "zh"
    assert language("pes_1").code == "fa"
    assert language("Toba_Batak").code == "bbc"
    assert language("swahili").code == "sw"


@sources
@pytest.mark.parametrize(
    ("code", "meant"),
    [
        *(("iw", "he"), ("in", "id"), ("jw", "jv"), ("mo", "ro"), ("fil", "tl"), ("ger", "de")),
        *(("chi", "zh"), ("zh-Hans", "zh"), ("zh_CN", "zh"), ("ZH", "zh"), ("iw-IL", "he")),
    ],
)
def test_codes_of_other_standards_and_times_are_understood(code, meant):
    assert language(code).code == meant
    assert f"is called '{meant}' here" in called(code, [meant, "en"])


@pytest.mark.parametrize("code", ["nb", "no", "lv"])
def test_two_letters_suggest_no_other_two(code):
    assert called(code, ["yo", "nl", "vi", "en"]) == "Known: en, nl, vi, yo."
    with pytest.raises(NotFoundError) as caught:
        language(code)
    assert "Did you mean" not in caught.value.hint


def test_every_language_of_the_shared_data_is_found():
    names = [path.stem for path in SHARED.glob("americasnli/dev/*.tsv")]
    names += [path.name for path in SHARED.glob("masakhaner/*") if path.is_dir()]
    names += [path.name for path in SHARED.glob("nusax_senti/*") if path.is_dir()]
    names += [path.stem.partition(".")[2] for path in SHARED.glob("ntrex/newstest*.txt")]
    names += [p.stem.partition(".")[2] for p in SHARED.glob("tico19/*.txt") if ".ids" not in p.name]
    names += [path.stem.removeprefix("udhr_") for path in SHARED.glob("udhr/*.xml")]
    names += [path.suffix[1:] for path in SHARED.glob("tatoeba/tatoeba.*")]
    names += [path.name for path in SHARED.glob("xcopa/*") if path.is_dir()]
    names += [path.name.split("_")[1].split("-")[0] for path in SHARED.glob("u*/U*-*")]
    unknown = {name for name in names if group(name, "seen") == UNKNOWN}
    assert unknown == set()
    assert len(set(names)) > 70


def test_scripts_of_the_forty():
    groups = group_by(FORTY, "latin")
    assert set(groups["Latin"]) == set(LATIN.split())
    assert set(groups["non-Latin"]) == set(NON_LATIN.split())


def test_what_xlmr_saw():
    # Yoruba is not among its 100 languages; CC-100's smallest here is Sundanese with 0.1 GiB.
    unseen = group_by(FORTY, "seen")["unseen"]
    assert unseen == ("yo",)
    assert language("su").tier == "low" and language("en").tier == "high"
    assert language("sw").tier == "middle" and language("qu").tier == "unseen"
    assert language("zh").cc100_gib == pytest.approx(46.9 + 16.6)
    assert language("my").cc100_gib == pytest.approx(0.4 + 1.6)


def test_groups_are_ordered_and_the_unknown_stand_last():
    groups = group_by(["su", "xx", "yo", "sw", "de"], "tier")
    assert groups == {
        "high": ("de",), "middle": ("sw",), "low": ("su",), "unseen": ("yo",), UNKNOWN: ("xx",),
    }  # fmt: skip
    assert list(group_by(["bjn", "de", "fi"], "family")) == ["Indo-European", "Uralic", UNKNOWN]
    with pytest.raises(UsageError, match="no grouping named 'colour'"):
        group_by(["de"], "colour")


def test_what_was_seen_follows_the_backbone():
    assert group_by(["de", "yo", "xx"], "seen", "wikipedia104") == {
        "seen": ("de", "yo"), UNKNOWN: ("xx",),
    }  # fmt: skip
    assert group_by(["de", "en"], "seen", "roots") == {"seen": ("en",), "unseen": ("de",)}
    assert group("de", "seen", "") == UNKNOWN
    assert seen_in(language("yo"), CC100) is False and seen_in(language("yo"), "") is None
    assert seen_in(language("qah"), "roots") is False  # the sandbox's own
    assert all(codes <= set(languages()) for codes in CORPORA.values())


def test_the_corpus_of_backbones_is_that_of_their_presets():
    assert pretraining_of(["xlm-roberta-base", "microsoft/mdeberta-v3-base@main"]) == CC100
    assert pretraining_of(["bert-base-multilingual-cased"]) == "wikipedia104"
    assert pretraining_of(["xlm-roberta-base", "mbert"]) == ""
    assert pretraining_of(["mmbert-base"]) == pretraining_of(["pico"]) == pretraining_of([]) == ""


@pytest.mark.parametrize("name", spec_names("backbones"))
def test_a_backbone_preset_says_what_it_is(name):
    spec = load_backbone_spec(name)
    assert spec.title and spec.license and spec.note and spec.max_length >= 512
    assert spec.pretraining in ("", CC100, *CORPORA)
    blocks = re.search(r"(?:of|the encoder's|,) (\d+) blocks|block \d+ of (\d+)|Block \d+ of (\d+)",
                       f"{spec.title}; {spec.note}", re.ASCII)  # fmt: skip
    if "relative depth of 14" in spec.note:
        total = int(next(group for group in blocks.groups() if group))
        assert spec.retrieval_layer == round(total * 14 / 24)


def test_an_unknown_language_names_near_ones():
    with pytest.raises(NotFoundError, match="no language named 'xyz'"):
        language("xyz")


def test_the_sandbox_languages_have_script_family_and_whether_seen():
    assert (language("qac").script_name, language("qac").family) == ("Cyrillic", "Aric")
    assert group_by(["qaa", "qab", "qah"], "seen") == {"seen": ("qaa", "qab"), "unseen": ("qah",)}
    assert group_by(["qaa", "qae"], "latin") == {"Latin": ("qaa",), "non-Latin": ("qae",)}
    assert language("qaa").cc100_gib is None and language("qaa").tier == ""


def test_layout_fills_names_from_the_table():
    task = load_task("udpos")
    source = SourceSpec(hub=HubSource(repo="a/b", revision="0"))
    assert language_names("zh") == ("zho", "Chinese")
    assert language_names("xx") == ("xx", "xx")
    assert fill("udpos.{language_name}", task, source, "zh") == "udpos.Chinese"
    assert {"zh", "zho", "cmn", "chinese"} <= known_as(task, "zh")


@sources
def test_family_genus_codes_and_scripts_are_those_of_the_sources():
    with (META / "wals_languages.csv").open(encoding="utf-8", newline="") as file:
        wals = {row["ID"]: row for row in csv.DictReader(file)}
    iso = json.loads((META / "mteb_iso_639_1_to_3.json").read_text())
    scripts = json.loads((META / "mteb_iso_639_3_to_default_script.json").read_text())
    checked = 0
    for known in languages().values():
        for row in (wals[key] for key in known.wals.split()):
            assert (known.family, known.genus) == (row["Family"], row["Genus"])
            checked += 1
        if known.iso1:
            assert iso[known.iso1] == known.iso3
        if known.iso3 in scripts:
            assert scripts[known.iso3] == known.script
    assert checked > 70


@pytest.mark.long
def test_the_command_prints_a_table_groups_and_json(capsys):
    def printed(*arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(["languages", *arguments])
        assert end.value.code in (0, None)
        return capsys.readouterr().out

    assert "Cyrillic" in printed("--task", "tydiqa")
    record = json.loads(printed("--task", "xnli", "--json"))
    assert [item["code"] for item in record] == load_task("xnli").languages
    groups = json.loads(printed("--task", "tydiqa", "--by", "script", "--json"))
    assert groups["Cyrillic"] == ["ru"]
    assert json.loads(printed("--by", "seen", "--json"))["unseen"]
    of_bloom = {
        r["code"]: r["seen"] for r in json.loads(printed("--backbone", "bloom-560m", "--json"))
    }
    assert (of_bloom["de"], of_bloom["yo"]) == (False, True)
    assert list(json.loads(printed("--backbone", "a/model", "--by", "seen", "--json"))) == [UNKNOWN]
