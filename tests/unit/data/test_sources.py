"""Where rows are found, how they are put together, and what is refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter

import pytest
from support.files import write

import xstilts.data
from xstilts.config.load import load_task
from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Answer, Example
from xstilts.data.located import available_languages, locate
from xstilts.data.pairs import BitextPair, load_pair
from xstilts.data.sources import (
    check_source_language,
    data_digest,
    load,
    load_rows,
    shuffled_labels,
    subset,
)
from xstilts.data.world import read_world, task_in_world
from xstilts.errors import (
    ConfigError,
    DataError,
    NetworkError,
    NotFoundError,
    OfflineError,
    UsageError,
)


def task_of(fmt: str, *sources: dict, **more) -> TaskSpec:
    values = {"name": "toy", "languages": ["de", "fr"], "metric": "accuracy", **more}
    return TaskSpec(format=fmt, sources=[SourceSpec(**source) for source in sources], **values)


# --------------------------------------------------------------------------------- finding files


def test_the_first_source_whose_files_exist_is_used(tmp_path):
    source = {"reader": "tsv", "columns": {"text": 0, "target": 1}}
    task = task_of(
        "classification",
        {**source, "files": {"test": "a/{language}.tsv"}},
        {**source, "files": {"test": "b/{language}.tsv"}},
    )
    write(tmp_path, {"b/de.tsv": "b\tx\n"})
    assert load(task, "test", "de", tmp_path)[0].fields["text"] == "b"
    write(tmp_path, {"a/de.tsv": "a\tx\n"})
    assert load(task, "test", "de", tmp_path)[0].fields["text"] == "a"
    assert available_languages(task, "test", tmp_path) == ["de"]


def test_a_language_code_cannot_leave_the_folder(tmp_path):
    with pytest.raises(UsageError, match="not a language code"):
        load(load_task("xquad"), "test", "../../etc", tmp_path)


def test_files_without_a_language_in_their_name_hold_one_language(tmp_path):
    row = '{"premise": "a", "hypothesis": "b", "label": "e"}\n'
    write(tmp_path, {"indonli/val.jsonl": row})
    task = load_task("indonli")
    # The source language is English, but the file is Indonesian.
    assert task.source_language == "en"
    assert available_languages(task, "validation", tmp_path) == ["id"]


def test_wildcards_are_expanded_in_the_order_of_file_names(tmp_path):
    rows = "1\tx\t_\tX\t_\t_\t0\t_\t_\t_\n\n"
    write(
        tmp_path,
        {
            "ud/UD_German-B/de_a-ud-test.conllu": rows.replace("x", "eins"),
            "ud/UD_German-A/de_b-ud-test.conllu": rows.replace("x", "zwei"),
            "ud/UD_Greek-A/el_a-ud-test.conllu": rows,
        },
    )
    found = load(load_task("udpos"), "test", "de", tmp_path)
    # The file names decide, not the folders: XTREME puts all treebanks into one folder.
    assert [row.fields["words"] for row in found] == [("eins",), ("zwei",)]
    assert [row.id for row in found] == ["de_a-ud-test-1", "de_b-ud-test-1"]


def test_labels_come_from_the_label_folder(tmp_path):
    write(tmp_path, {"xnli/test-de.tsv": "a\tb\nc\td\n"})
    task = load_task("xnli")
    assert [row.target for row in load(task, "test", "de", tmp_path)] == [None, None]
    write(tmp_path, {"labels/xnli/test-de.tsv": "neutral\ncontradictory\n"})
    rows = load(task, "test", "de", tmp_path)
    assert [row.target for row in rows] == ["neutral", "contradiction"]
    write(tmp_path, {"labels/xnli/test-de.tsv": "neutral\n"})
    with pytest.raises(DataError, match="1 labels for 2 rows"):
        load(task, "test", "de", tmp_path)


def test_tags_and_answers_come_from_the_label_folder(tmp_path):
    stripped = {"context": "Ein Hund.", "qas": [{"id": "7", "question": "Wer?", "answers": []}]}
    full = {**stripped, "qas": [{"id": "7", "answers": [{"text": "Hund", "answer_start": 4}]}]}
    stripped["qas"][0]["answers"] = [{"text": "", "answer_start": 0}]
    write(
        tmp_path,
        {
            "panx/test-de.tsv": "Ada\nging\n\nweg\n",
            "labels/panx/test-de.tsv": "B-PER\nO\n\nO\n",
            "xquad/xquad.de.json": json.dumps({"data": [{"paragraphs": [stripped]}]}),
            "labels/xquad/test-de.json": json.dumps({"data": [{"paragraphs": [full]}]}),
        },
    )
    rows = load(load_task("panx"), "test", "de", tmp_path)
    assert [row.target for row in rows] == [("B-PER", "O"), ("O",)]
    assert load(load_task("xquad"), "test", "de", tmp_path)[0].target == (Answer("Hund", 4),)
    write(tmp_path, {"labels/panx/test-de.tsv": "B-PER\n\nO\n"})
    with pytest.raises(DataError, match="1 labels for the 2 words of sentence 1"):
        load(load_task("panx"), "test", "de", tmp_path)


def test_repeated_ids_are_refused_or_numbered(tmp_path):
    source = {
        "reader": "csv",
        "files": {"test": "{language}.csv"},
        "columns": {"id": "id", "text": "text", "target": "label"},
    }
    write(tmp_path, {"de.csv": "id,text,label\n7,a,x\n7,b,x\n7,c,x\n"})
    with pytest.raises(DataError, match="id '7' repeats") as caught:
        load(task_of("classification", source), "test", "de", tmp_path)
    assert "de.csv:3" in caught.value.where
    numbered = task_of("classification", {**source, "options": {"repeated_ids": "number"}})
    assert [r.id for r in load(numbered, "test", "de", tmp_path)] == ["7", "7#2", "7#3"]


def test_parts_are_put_together_under_their_names(tmp_path):
    anli = '{"uid": "u", "context": "a", "hypothesis": "b", "label": "e"}\n'
    write(tmp_path, {f"anli/R{n}/train.jsonl": anli for n in (1, 2, 3)})
    write(tmp_path, {"mnli/train.tsv": "sentence1\tsentence2\tgold_label\nc\td\tneutral\n"})
    task = load_task("anli_plus")
    assert locate(task, "train", "en", tmp_path).remote
    snli = '{"sentence1": "e", "sentence2": "f", "gold_label": "%s", "pairID": "1"}\n'
    write(tmp_path, {"snli/snli_1.0_train.jsonl": snli % "-" + snli % "contradiction"})
    loaded = load_rows(task, "train", "en", tmp_path)
    assert [(row.id, row.target) for row in loaded.examples] == [
        ("anli:u", "entailment"), ("anli:u#2", "entailment"), ("anli:u#3", "entailment"),
        ("mnli:1", "neutral"), ("snli:2", "contradiction"),
    ]  # fmt: skip
    assert loaded.dropped == {"label -": 1}


def test_offline_what_only_a_hub_has_is_refused(tmp_path):
    with pytest.raises(OfflineError) as caught:
        load(load_task("pawsx"), "test", "de", tmp_path, offline=True)
    where = caught.value.where
    assert str(tmp_path / "x-final/de/test_2k.tsv") in where
    assert str(tmp_path / "pawsx/test-de.tsv") in where
    assert "hub google-research-datasets/paws-x" in where
    assert "not used: its English train split has 49,175 rows" in where


def test_licensed_data_is_not_looked_for_on_a_hub(tmp_path):
    with pytest.raises(NotFoundError) as caught:
        load(load_task("ccg"), "train", "en", tmp_path)
    assert str(tmp_path / "ccg/train.ccg") in caught.value.where
    assert "--data" in caught.value.hint
    with pytest.raises(NotFoundError, match="no rows for split 'train'") as caught:
        load(load_task("ccg"), "train", "en", None)
    assert "XSTILTS_DATA" in caught.value.hint


def test_an_unknown_language_names_the_nearest(tmp_path):
    with pytest.raises(NotFoundError, match="no language of task ccg named 'enn'"):
        load(load_task("ccg"), "train", "enn", tmp_path)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("udpos", "syntactic words"),
        ("pawsx", "49,175 rows"),
        ("bucc2018", "no distractors"),
        ("bucc2018", "no sample split"),
        ("xnli", "no train split"),
        ("tydiqa", "without moving the answer offsets"),
    ],
)
def test_traps_of_hub_copies_are_refused_with_a_reason(task, reason):
    assert any(reason in source.refused for source in load_task(task).sources)


def test_bucc_and_fused_pos_have_no_hub_source(tmp_path):
    assert locate(load_task("udpos"), "test", "de", None) is None
    assert locate(load_task("bucc2018"), "test.source", "de", None) is None
    assert locate(load_task("ud"), "test", "de", None).source.hub.repo == "google/xtreme"


# --------------------------------------------------------------------------- zero-shot, subsets


def example(row_id: str) -> Example:
    return Example(row_id, "en", {"question": "q", "context": "c"}, (), f"f.json:{row_id}")


def test_a_row_of_another_language_is_refused_by_its_id():
    task = load_task("tydiqa")
    check_source_language([example("english-1-0"), example("en-2"), example("123")], task, "en")
    with pytest.raises(DataError, match="a row of 'fi'") as caught:
        check_source_language([example("english-1-0"), example("finnish-1-0")], task, "en")
    assert caught.value.where == "f.json:finnish-1-0"


def test_tydiqa_train_takes_one_language_out_of_nine(tmp_path):
    def qa(row_id):
        answers = [{"text": "Text", "answer_start": 0}]
        return {"id": row_id, "question": "?", "answers": answers}

    names = ["english-1-0", "finnish-2-0", "english-3-0"]
    data = {"data": [{"paragraphs": [{"context": "Text", "qas": [qa(n) for n in names]}]}]}
    write(tmp_path, {"tydiqa/tydiqa-goldp-v1.1-train.json": json.dumps(data)})
    task = load_task("tydiqa")
    rows = load(task, "train", "en", tmp_path)
    assert [row.id for row in rows] == ["english-1-0", "english-3-0"]
    assert [row.id for row in load(task, "train", "fi", tmp_path)] == ["finnish-2-0"]
    # A file that is named for English but holds Finnish rows too is not trained on.
    write(tmp_path, {"tydiqa_goldp/english_tydiqa_train.json": json.dumps(data)})
    (tmp_path / "tydiqa/tydiqa-goldp-v1.1-train.json").unlink()
    with pytest.raises(DataError, match="Zero-shot training must see one language only"):
        load(task, "train", "en", tmp_path)


def test_subsets_are_nested_seeded_and_in_file_order():
    rows = [example(str(number)) for number in range(100)]
    small, large = subset(rows, 10, 1), subset(rows, 40, 1)
    assert len(small) == 10
    assert {row.id for row in small} <= {row.id for row in large}
    assert [int(row.id) for row in large] == sorted(int(row.id) for row in large)
    assert subset(rows, 10, 2) != small
    assert subset(rows, 0, 1) == subset(rows, 100, 1) == rows


def test_one_file_serves_as_two_splits_by_row_range(tmp_path):
    write(tmp_path, {"de.tsv": "".join(f"t{n}\tx\n" for n in range(1, 6))})
    source = {
        "reader": "tsv",
        "files": {"train": "{language}.tsv", "test": "{language}.tsv"},
        "columns": {"text": 0, "target": 1},
    }
    ranges = {"train": "1-2", "test": "4-9"}
    task = task_of("classification", {**source, "options": {"rows": ranges}})
    assert [row.id for row in load(task, "train", "de", tmp_path)] == ["1", "2"]
    assert [row.id for row in load(task, "test", "de", tmp_path)] == ["4", "5"]
    every = task_of("classification", {**source, "options": {"rows": {"train": "1-2/4"}}})
    assert [row.id for row in load(every, "train", "de", tmp_path)] == ["1", "2", "5"]
    for wrong in ("0-3", "5", "3-2", "a-b", "1-3/2", "1-2/0"):
        bad = task_of("classification", {**source, "options": {"rows": {"train": wrong}}})
        with pytest.raises(ConfigError, match="not first-last"):
            load(bad, "train", "de", tmp_path)


def test_shuffled_labels_keep_their_counts_and_lose_their_rows():
    def row(number, target, **fields):
        return Example(str(number), "en", fields or {"text": str(number)}, target)

    pairs = [row(n, "ab"[n % 2]) for n in range(100)]
    shuffled = shuffled_labels(pairs, 1)
    assert [r.id for r in shuffled] == [r.id for r in pairs]
    assert Counter(r.target for r in shuffled) == {"a": 50, "b": 50}
    # Half of them match by chance; 50 rows of 100 with a standard deviation of 5.
    assert 30 < sum(r.target == s.target for r, s in zip(pairs, shuffled, strict=True)) < 70
    assert shuffled_labels(pairs, 1) == shuffled != shuffled_labels(pairs, 2)
    tagged = [row(n, ("O", "B", "I")[: n % 3 + 1]) for n in range(30)]
    dealt = shuffled_labels(tagged, 1)
    assert [len(r.target) for r in dealt] == [len(r.target) for r in tagged]
    assert Counter(t for r in dealt for t in r.target) == {"O": 30, "B": 20, "I": 10}
    choices = [row(n, str(n % k), choices=("x",) * k) for n in range(40) for k in (2, 4)]
    for example in shuffled_labels(choices, 3):
        assert int(example.target) < len(example.fields["choices"])
    with pytest.raises(UsageError, match="no labels to shuffle"):
        shuffled_labels([row(1, (Answer("x", 0),))], 1)
    with pytest.raises(UsageError, match="no labels to shuffle"):
        shuffled_labels([row(1, None)], 1)


def test_any_file_is_a_task_from_one_yaml(tmp_path):
    yaml = """
        format: extractive_qa
        languages: [de]
        metric: squad
        sources:
          - reader: jsonl
            files: {test: my/questions.jsonl}
            columns: {id: nr, question: frage, context: text, target: antworten}
    """
    line = {"nr": 1, "frage": "Wer?", "text": "Ein Hund.", "antworten": [
        {"text": "Hund", "answer_start": 4}]}  # fmt: skip
    write(tmp_path, {"mine.yaml": yaml, "my/questions.jsonl": json.dumps(line) + "\n"})
    task = load_task(str(tmp_path / "mine.yaml"))
    (row,) = load(task, "test", "de", tmp_path)
    assert (row.id, row.fields["question"], row.target) == ("1", "Wer?", (Answer("Hund", 4),))


def test_the_digest_is_over_id_fields_and_target():
    row = Example("1", "en", {"context": "ä", "question": "q"}, (Answer("ä", 0),), "f:1")
    line = '{"fields":{"context":"ä","question":"q"},"id":"1","target":[{"start":0,"text":"ä"}]}\n'
    assert data_digest([row]) == hashlib.sha256(line.encode()).hexdigest()
    moved = Example("1", "de", dict(reversed(row.fields.items())), row.target, "elsewhere:9")
    assert data_digest([moved]) == data_digest([row])
    assert data_digest([row, row]) != data_digest([row])


# ------------------------------------------------------------------------------------- retrieval


def test_line_aligned_sides_pair_by_line(tmp_path):
    write(
        tmp_path,
        {
            "tatoeba/tatoeba.deu-eng.deu": "eins\nzwei\n",
            "tatoeba/tatoeba.deu-eng.eng": "one\ntwo\n",
        },
    )
    task = load_task("tatoeba")
    pair = load_pair(task, "de", tmp_path)
    assert [row.fields["text"] for row in pair.source] == ["eins", "zwei"]
    assert [row.language for row in pair.target] == ["en", "en"]
    assert pair.gold == [(0, 0), (1, 1)]
    assert pair.gold_ids == [("1", "1"), ("2", "2")]
    write(tmp_path, {"tatoeba/tatoeba.deu-eng.eng": "one\n"})
    with pytest.raises(DataError, match="2 sentences on one side, 1 on the other"):
        load_pair(task, "de", tmp_path)


def test_the_sorted_english_side_needs_its_order(tmp_path):
    write(tmp_path, {"tatoeba/de-en.de": "zwei\neins\n", "tatoeba/de-en.en": "one\ntwo\n"})
    task = load_task("tatoeba")
    with pytest.raises(DataError, match="sorted and the file that says how is missing"):
        load_pair(task, "de", tmp_path)
    write(tmp_path, {"labels/tatoeba/test-de.tsv": "1\n0\n"})
    # Line 0 of the sorted English file belongs to foreign line 1 and the other way round.
    assert load_pair(task, "de", tmp_path).gold == [(0, 1), (1, 0)]
    for wrong in ("1\n2\n", "1\nx\n", "1\n"):
        write(tmp_path, {"labels/tatoeba/test-de.tsv": wrong})
        with pytest.raises(DataError):
            load_pair(task, "de", tmp_path)


def test_bucc_gold_pairs_ids(tmp_path):
    write(
        tmp_path,
        {
            "bucc2018/de-en.dev.de": "de-1\tx\nde-2\teins\nde-3\ty\n",
            "bucc2018/de-en.dev.en": "en-1\tone\nen-2\tz\n",
            "bucc2018/de-en.dev.gold": "de-2\ten-1\n",
        },
    )
    task = load_task("bucc2018")
    pair = load_pair(task, "de", tmp_path, "validation")
    assert pair.gold == [(1, 0)]
    assert pair.gold_ids == [("de-2", "en-1")]
    write(tmp_path, {"bucc2018/de-en.dev.gold": "de-2\ten-1\nde-9\ten-1\n"})
    with pytest.raises(DataError, match="no sentence has the id 'de-9'") as caught:
        load_pair(task, "de", tmp_path, "validation")
    assert caught.value.where.endswith("de-en.dev.gold:2")


def test_any_file_pair_is_a_retrieval_task_from_one_yaml(tmp_path):
    source = {"reader": "bitext", "files": {"source": "court.{language}", "target": "court.en"}}
    task = task_of("retrieval", source, domain="legal")
    write(tmp_path, {"court.de": "Urteil\n", "court.en": "judgment\n"})
    assert load_pair(task, "de", tmp_path).gold == [(0, 0)]
    with pytest.raises(UsageError, match="not a retrieval task"):
        load_pair(load_task("xnli"), "de", tmp_path)


def test_lareqa_pools_sentences_of_all_languages(tmp_path):
    def squad(context, breaks, start):
        qa = {"id": "q1", "question": "?", "answers": [{"text": "x", "answer_start": start}]}
        paragraph = {"context": context, "sentence_breaks": breaks, "qas": [qa]}
        return json.dumps({"data": [{"paragraphs": [paragraph]}]})

    write(
        tmp_path,
        {
            "lareqa/xquad-r/de.json": squad("Eins. Zwei.", [[0, 5], [6, 11]], 7),
            "lareqa/xquad-r/en.json": squad("One. Two.", [[0, 4], [5, 9]], 1),
        },
    )
    pair = load_pair(load_task("lareqa"), "de", tmp_path)
    assert [row.id for row in pair.source] == ["q1_de"]
    assert [row.id for row in pair.target] == ["de_1_0", "de_1_1", "en_1_0", "en_1_1"]
    assert pair.target[1].fields["text"] == "Zwei. Eins. Zwei."
    assert [row.language for row in pair.target] == ["de", "de", "en", "en"]
    # The answer begins in the second German and in the first English sentence.
    assert pair.gold == [(0, 1), (0, 2)]


def test_mewslix_mentions_find_their_entity(tmp_path):
    def mention(language, text, start, entity):
        span = {"start": start, "end": start + 5, "text": text[start : start + 5]}
        return {
            "context": {
                "language": language,
                "text": text,
                "sentence_spans": [{"start": 0, "end": 7}, {"start": 8, "end": len(text)}],
            },
            "mentions": [{"example_id": f"m{entity}", "entity_id": entity, "mention_span": span}],
        }

    def entity(row_id, text):
        spans = [{"start": 0, "end": len(text)}]
        return {
            "entity_id": row_id, "description": text, "description_language": "en",
            "sentence_spans": spans,
        }  # fmt: skip

    mentions = [mention("de", "Anfang. {a} Smith ging", 12, "Q2"), mention("fr", "x" * 30, 9, "Q1")]
    entities = [entity("Q1", "One"), entity("Q2", "A judge\nof law")]
    write(
        tmp_path,
        {
            "mewslix/wikinews_mentions-test.jsonl": "".join(json.dumps(m) + "\n" for m in mentions),
            "mewslix/candidate_set_entities.jsonl": "".join(json.dumps(e) + "\n" for e in entities),
        },
    )
    pair = load_pair(load_task("mewslix"), "de", tmp_path)
    assert [row.fields["text"] for row in pair.source] == ["Smith: (a) { Smith } ging"]
    assert pair.target[1].fields["text"] == "A judge of law"
    assert pair.gold == [(0, 1)]


# ----------------------------------------------------------------------------------------- worlds


WORLD = {
    "source_language": "qaa",
    "languages": [{"code": "qaa", "name": "Aa"}, {"code": "qab", "name": "Ab"}],
    "tasks": {"xnli": {"languages": ["qab", "qaa"]}},
}


def test_a_world_brings_its_own_languages(tmp_path):
    write(
        tmp_path,
        {
            "world.json": json.dumps(WORLD),
            "xnli/test-qab.tsv": "a\tb\tneutral\n",
            "mnli/train.tsv": "sentence1\tsentence2\tgold_label\nc\td\tneutral\n",
            "tatoeba/tatoeba.qab-qaa.qab": "x\n",
            "tatoeba/tatoeba.qab-qaa.qaa": "y\n",
            "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.qab.dev.json": json.dumps(
                {"data": [{"paragraphs": [{"context": "T", "qas": [
                    {"id": "qab-1", "question": "?", "answers": [
                        {"text": "T", "answer_start": 0}]}]}]}]}
            ),
        },
    )  # fmt: skip
    xnli, mnli, tatoeba, tydiqa = (
        task_in_world(load_task(name), tmp_path) for name in ("xnli", "mnli", "tatoeba", "tydiqa")
    )
    assert (xnli.languages, xnli.source_language) == (["qab", "qaa"], "qaa")
    assert (mnli.languages, tatoeba.languages) == (["qaa"], ["qab"])
    assert load(xnli, "test", "qab", tmp_path)[0].language == "qab"
    assert load(mnli, "train", "qaa", tmp_path)[0].target == "neutral"
    assert load_pair(tatoeba, "qab", tmp_path).target[0].language == "qaa"
    assert load(tydiqa, "test", "qab", tmp_path)[0].id == "qab-1"
    assert available_languages(xnli, "test", tmp_path) == ["qab"]


def test_an_ordinary_folder_changes_nothing(tmp_path):
    task = load_task("xnli")
    assert task_in_world(task, tmp_path) is task
    assert task_in_world(task, None) is task
    assert read_world(tmp_path) is None


@pytest.mark.parametrize(
    "world",
    [
        {**WORLD, "source_language": "qaz"},
        {**WORLD, "tasks": {"xnli": {"languages": ["qaz"]}}},
        {"languages": []},
        {**WORLD, "languages": [{"name": "no code"}]},
    ],
)
def test_a_broken_world_is_refused(tmp_path, world):
    write(tmp_path, {"world.json": json.dumps(world)})
    with pytest.raises(DataError):
        task_in_world(load_task("xnli"), tmp_path)


# ------------------------------------------------------------------------------------------- hub


def test_a_local_copy_of_a_hub_data_set_is_read_offline(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    names = ["entailment", "neutral", "contradiction"]
    features = datasets.Features(
        {
            "premise": datasets.Value("string"),
            "hypothesis": datasets.Value("string"),
            "label": datasets.ClassLabel(names=names),
        }
    )
    rows = {"premise": ["a", "c"], "hypothesis": ["b", "d"], "label": [2, 0]}
    folder = tmp_path / "data" / "facebook" / "xnli"
    (folder / "de").mkdir(parents=True)
    datasets.Dataset.from_dict(rows, features=features).to_parquet(
        folder / "de" / "test-00000-of-00001.parquet"
    )
    card = (
        "---\nconfigs:\n- config_name: de\n  data_files:\n  - split: test\n"
        "    path: de/test-*\n---\n"
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    found = load(load_task("xnli"), "test", "de", tmp_path / "data", offline=True)
    # Class labels arrive as names, so the order of ids on the hub does not matter.
    assert [row.target for row in found] == ["contradiction", "entailment"]
    assert found[0].fields == {"text": "a", "text_pair": "b"}


def hub_copy(folder, config: str, split: str, rows: dict, features=None) -> None:
    """A data set folder as the hub has it, with one configuration and split."""
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict(rows, features=features)
    (folder / config).mkdir(parents=True)
    table.to_parquet(folder / config / f"{split}-00000-of-00001.parquet")
    card = (
        f"---\nconfigs:\n- config_name: {config}\n  data_files:\n  - split: {split}\n"
        f"    path: {config}/{split}-*\n---\n"
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def test_hub_tags_answers_choices_and_bitexts(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    text, integer = datasets.Value("string"), datasets.Value("int32")
    tags = datasets.ClassLabel(names=["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"])
    root = tmp_path / "data"
    hub_copy(
        root / "google/xtreme",
        "PAN-X.de",
        "test",
        {"tokens": [["Ada", "ging"]], "ner_tags": [[1, 0]]},
        datasets.Features({"tokens": datasets.Sequence(text), "ner_tags": datasets.Sequence(tags)}),
    )
    hub_copy(
        root / "google/xquad",
        "xquad.de",
        "validation",
        {
            "id": ["7"],
            "context": ["Ein Hund."],
            "question": ["Wer?"],
            "answers": [{"text": ["Hund"], "answer_start": [4]}],
        },
        datasets.Features(
            {
                "id": text,
                "context": text,
                "question": text,
                "answers": datasets.Sequence({"text": text, "answer_start": integer}),
            }
        ),
    )
    choices = {"label": ["A", "B"], "text": ["hier", "da"]}
    rows = {"id": ["q"], "question": ["Wo?"], "choices": [choices], "answerKey": ["B"]}
    hub_copy(root / "tau/commonsense_qa", "default", "validation", rows)
    rows = {"sentence1": ["ja\n", "nein\n"], "sentence2": ["yes\n", "no\n"]}
    hub_copy(root / "mteb/tatoeba-bitext-mining", "deu-eng", "test", rows)

    assert load(load_task("panx"), "test", "de", root)[0].target == ("B-PER", "O")
    assert load(load_task("xquad"), "test", "de", root)[0].target == (Answer("Hund", 4),)
    (row,) = load(load_task("commonsenseqa"), "validation", "en", root)
    assert (row.fields["choices"], row.target) == (("hier", "da"), "1")
    pair = load_pair(load_task("tatoeba"), "de", root)
    assert [(e.fields["text"], e.language) for e in pair.target] == [("yes", "en"), ("no", "en")]
    assert pair.gold == [(0, 0), (1, 1)]


def test_an_unreachable_hub_is_a_network_error(monkeypatch):
    asked = []

    def unreachable(_self, name, **more):
        asked.append((name, more["repo_type"], more["revision"]))
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", unreachable)
    for module in ("located", "hub_fetch"):
        monkeypatch.setattr(f"xstilts.data.{module}.no_network", lambda offline: None)
    with pytest.raises(NetworkError, match="cannot fetch google/xquad: no route"):
        load(load_task("xquad"), "test", "de", None)
    revision = load_task("xquad").sources[1].hub.revision
    assert asked == [("google/xquad", "dataset", revision)]


def test_a_loading_script_is_refused(tmp_path):
    write(tmp_path, {"facebook/xnli/xnli.py": "print('never run')\n"})
    with pytest.raises(DataError, match="loading script; scripts are never run"):
        load(load_task("xnli"), "test", "de", tmp_path, offline=True)


# ---------------------------------------------------------------------------------------- package


def test_the_package_offers_its_doors_without_importing_them():
    code = (
        "import sys, xstilts.data; assert 'datasets' not in sys.modules; "
        "xstilts.data.load; assert 'torch' not in sys.modules and 'datasets' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError):
        xstilts.data.nothing  # noqa: B018


def test_a_slice_is_the_first_rows_of_a_split(tmp_path):
    write(tmp_path, {"xnli/test-de.tsv": "a\tb\nc\td\ne\tf\n"})
    write(tmp_path, {"labels/xnli/test-de.tsv": "neutral\nentailment\nneutral\n"})
    task = load_task("xnli")
    whole = load(task, "test", "de", tmp_path)
    assert load(task, "test[:2]", "de", tmp_path) == whole[:2]
    assert load(task, "test[:9]", "de", tmp_path) == whole
    for wrong in ("test[2:]", "test[:0]", "test[:x]", "[test]"):
        with pytest.raises(UsageError, match="no split"):
            load(task, wrong, "de", tmp_path)


def test_the_first_rows_of_a_bitext_keep_what_belongs_together():
    source, target = ([Example(f"{side}{n}", "", {}) for n in range(4)] for side in "st")
    pair = BitextPair(source, target, [(0, 3), (1, 1), (3, 0)])
    cut = pair.first(2)
    assert [row.id for row in cut.source] == ["s0", "s1"]
    assert cut.gold_ids == [("s0", "t3"), ("s1", "t1")] and len(cut.target) == 2
    # a sentence that belongs to nothing does not leave the target side empty
    assert [row.id for row in BitextPair(source, target, [(3, 2)]).first(2).target] == ["t0", "t1"]
    several = BitextPair(source, target, [(0, 1), (0, 2), (0, 3)]).first(1)
    assert [row.id for row in several.target] == ["t1", "t2", "t3"]  # every answer stays
    assert several.gold == [(0, 0), (0, 1), (0, 2)]


def test_rows_of_a_split_cut_both_sides_of_a_bitext(tmp_path):
    write(tmp_path, {"b/en.txt": "one\ntwo\nthree\n", "b/de.txt": "eins\nzwei\ndrei\n"})
    source = SourceSpec(
        reader="bitext",
        files={"test.source": "b/de.txt", "test.target": "b/en.txt"},
        options={"rows": {"test": "1-2"}},
    )
    task = TaskSpec(
        name="b", format="retrieval", languages=["de"], metric="tatoeba", sources=[source]
    )
    pair = load_pair(task, "de", tmp_path, "test")
    assert [row.fields["text"] for row in pair.source] == ["eins", "zwei"]
    assert [row.fields["text"] for row in pair.target] == ["one", "two"]
    assert pair.gold == [(0, 0), (1, 1)]
