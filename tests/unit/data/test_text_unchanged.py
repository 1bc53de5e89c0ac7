"""Text comes out of a reader as it stands in the file, and nothing is never text."""

from __future__ import annotations

import json

import pytest
from unit.data.test_readers import (
    CHOICE,
    FREE_TAGS,
    NLI,
    QA,
    TAGS,
    TEXT,
    file,
    read,
    refused,
    task_of,
)

from xstilts.config.load import load_task
from xstilts.data.examples import Answer
from xstilts.data.rows import Dropped
from xstilts.data.sources import load
from xstilts.data.text import read_text
from xstilts.errors import DataError

PAIR = {"text": "text", "text_pair": "pair", "target": "label"}
SPACED = " \u00a0Ein  Hund \u3000"
"""Blanks at both ends, two inside, a no-break space and an ideographic one."""


def json_row(tmp_path, **row):
    return file(tmp_path, json.dumps(row, ensure_ascii=False) + "\n", "rows.jsonl")


def jsonl(columns: dict, **options) -> dict:
    return {"reader": "jsonl", "columns": columns, "options": options}


# ------------------------------------------------------------------------------------ as it stands


def test_sentences_to_mine_that_differ_in_end_blanks_stay_apart(tmp_path):
    path = file(tmp_path, "de-1\tEin Hund\nde-2\tEin Hund \nde-3\t Ein Hund\n", "x.de")
    rows = read(path, {"reader": "bucc"}, TEXT)
    assert [row.fields["text"] for row in rows] == ["Ein Hund", "Ein Hund ", " Ein Hund"]


def test_both_sides_of_a_bitext_stay_as_they_are_and_tatoeba_strips_by_protocol(tmp_path):
    path = file(tmp_path, f"{SPACED}\n", "x.de")
    assert read(path, {"reader": "bitext"}, TEXT)[0].fields["text"] == SPACED
    stripped = read(path, {"reader": "bitext", "options": {"strip": True}}, TEXT)
    assert stripped[0].fields["text"] == "Ein  Hund"
    assert all(source.options.get("strip") for source in load_task("tatoeba").sources)


def test_rows_of_tables_and_objects_keep_their_texts(tmp_path):
    table = file(tmp_path, f"{SPACED}\t{SPACED}\tneutral\n")
    source = {"reader": "tsv", "columns": {"text": "0", "text_pair": "1", "target": "2"}}
    whole = {"text": SPACED, "text_pair": SPACED}
    assert read(table, source, NLI)[0].fields == whole
    quoted = file(tmp_path, f'text,pair,label\n"{SPACED}",{SPACED},neutral\n', "rows.csv")
    assert read(quoted, {"reader": "csv", "columns": PAIR}, NLI)[0].fields == whole
    rows = json_row(tmp_path, text=SPACED, pair=SPACED, label="neutral")
    assert read(rows, jsonl(PAIR), NLI)[0].fields == whole


def test_choices_questions_and_candidates_keep_their_texts(tmp_path):
    columns = {"context": "c", "question": "q", "choices": "o", "target": "a"}
    row = json_row(tmp_path, c=SPACED, q=SPACED, o=[SPACED, "b "], a=0)
    fields = read(row, jsonl(columns), CHOICE)[0].fields
    assert fields == {"context": SPACED, "question": SPACED, "choices": (SPACED, "b ")}
    columns = {"context": "c", "question": "q", "target": "a"}
    answer = [{"text": "Hund", "answer_start": SPACED.index("Hund")}]
    row = json_row(tmp_path, c=SPACED, q=SPACED, a=answer)
    assert read(row, jsonl(columns), QA)[0].fields == {"question": SPACED, "context": SPACED}
    asked = {"id": "1", "question": SPACED, "answers": answer}
    squad = json.dumps({"data": [{"paragraphs": [{"context": SPACED, "qas": [asked]}]}]})
    fields = read(file(tmp_path, squad, "x.json"), {"reader": "squad"}, QA)[0].fields
    assert fields == {"question": SPACED, "context": SPACED}


def treebank(*forms: str) -> str:
    lines = [f"{n}\t{form}\t_\tNOUN\t_\t_\t0\troot\t_\t_" for n, form in enumerate(forms, 1)]
    return "\n".join(lines) + "\n\n"


def test_syntactic_words_keep_blanks_that_fused_ones_lose(tmp_path):
    path = file(tmp_path, treebank("Việt Nam", "a\u200cb", "10\u00a0000"), "vi.conllu")
    task = task_of("tagging")
    (syntactic,) = read(path, {"reader": "conllu", "options": {"words": "syntactic"}}, task)
    assert syntactic.fields["words"] == ("Việt Nam", "a\u200cb", "10\u00a0000")
    (fused,) = read(path, {"reader": "conllu", "options": {"words": "fused"}}, task)
    assert fused.fields["words"] == ("ViệtNam", "ab", "10\u00a0000")


def test_a_no_break_space_ends_no_word_and_no_sentence(tmp_path):
    path = file(tmp_path, "10\u00a0000 O\n\u00a0 O\nAda B-PER\n", "x.txt")
    source = {"reader": "conll", "options": {"separator": "space"}}
    (row,) = read(path, source, TAGS)
    assert row.fields["words"] == ("10\u00a0000", "\u00a0", "Ada")
    tabs = file(tmp_path, "10\u00a0000\tO\n\u00a0\tO\n")
    assert read(tabs, {"reader": "conll"}, TAGS)[0].fields["words"] == ("10\u00a0000", "\u00a0")
    bare = {"reader": "conll", "options": {"labels": "optional"}}
    assert len(read(file(tmp_path, "a\n\u00a0\nb\n"), bare, TAGS)) == 1
    supertags = file(tmp_path, "10\u00a0000|N Ada|N\n", "x.ccg")
    (row,) = read(supertags, {"reader": "ccg"}, FREE_TAGS)
    assert row.fields["words"] == ("10\u00a0000", "Ada")
    text = json_row(tmp_path, words="10\u00a0000 Ada", tags="O B-PER")
    (row,) = read(text, jsonl({"words": "words", "target": "tags"}), TAGS)
    assert row.fields["words"] == ("10\u00a0000", "Ada")


@pytest.mark.parametrize(
    "first", ["<html>\tis a tag\tneutral", "<headline> Ein Fluss", "<head> of state", "<html-like"]
)
def test_a_text_that_begins_with_a_tag_is_no_web_page(tmp_path, first):
    path = file(tmp_path, f"{first}\nUnd mehr Text.\n")
    assert read_text(path).startswith(first)


@pytest.mark.parametrize(
    "page",
    [
        "<!DOCTYPE html>\n<title>404</title>",
        "<html><body>Sign in</body></html>",
        '\n<html lang="en">\n  <head>',
        "<html>Not found</html>\n",
        '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    ],
)
def test_a_web_page_is_no_text(tmp_path, page):
    with pytest.raises(DataError, match="web page"):
        read_text(file(tmp_path, page))


# ---------------------------------------------------------------------------------------- nothing


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"text": NaN, "label": 0}', "'text' is blank"),
        ('{"text": null, "label": 0}', "'text' is blank"),
        ('{"text": Infinity, "label": 0}', "'text' is not text but inf"),
        ('{"text": true, "label": 0}', "'text' is not text but bool"),
        ('{"text": "a", "label": NaN}', "the label is missing"),
        ('{"text": "a", "label": null}', "the label is missing"),
    ],
)
def test_nothing_is_no_text_and_no_label(tmp_path, line, what):
    path = file(tmp_path, '{"text": "a", "label": 1.0}\n' + line + "\n", "rows.jsonl")
    error = refused(path, jsonl({"text": "text", "target": "label"}), task_of("classification"))
    assert what in error.what
    assert error.where.endswith("rows.jsonl:2")


@pytest.mark.parametrize("word", [None, float("nan"), "", " "])
def test_nothing_is_no_word(tmp_path, word):
    path = json_row(tmp_path, words=["Ada", word], tags=["B-PER", "O"])
    columns = {"words": "words", "target": "tags"}
    assert refused(path, jsonl(columns), TAGS).what == "the word is blank"
    assert read(path, jsonl(columns, blank="drop"), TAGS) == [
        Dropped("rows.jsonl:1", "word is blank")
    ]


def test_nothing_is_no_tag_no_choice_no_answer_and_no_id(tmp_path):
    tags = json_row(tmp_path, words=["Ada"], tags=[None])
    columns = {"words": "words", "target": "tags"}
    assert refused(tags, jsonl(columns), FREE_TAGS).what == "the label is missing"
    choices = json_row(tmp_path, o=["a", float("nan")], a=0)
    columns = {"choices": "o", "target": "a"}
    assert refused(choices, jsonl(columns), CHOICE).what == "'choice 1' is blank"
    answers = json_row(tmp_path, c="None", q="?", a=[{"text": None, "answer_start": 0}])
    columns = {"context": "c", "question": "q", "target": "a"}
    assert "answers need" in refused(answers, jsonl(columns), QA).what
    unnamed = json_row(tmp_path, id=None, text="a", label="x")
    columns = {"id": "id", "text": "text", "target": "label"}
    assert refused(unnamed, jsonl(columns), task_of("classification")).what == "the id is missing"


# ----------------------------------------------------------------------------------------- limits


def test_a_question_without_an_answer_is_refused_in_every_layout(tmp_path):
    columns = {"context": "c", "question": "q", "target": "a", "answer_start": "s"}
    row = json_row(tmp_path, c="Ein Hund", q="Wer?", a=[], s=0)
    assert "without an answer" in refused(row, jsonl(columns), QA).what
    (kept,) = read(row, jsonl(columns, unanswerable=True), QA)
    assert kept.target == ()
    hub = json_row(tmp_path, c="Ein Hund", q="Wer?", a={"text": [], "answer_start": []}, s=0)
    assert "without an answer" in refused(hub, jsonl(columns), QA).what
    table = file(tmp_path, "c,q,a,s\nEin Hund,Wer?,Hund,4\nEin Hund,Was?,,\n", "x.csv")
    assert "the label is missing" in refused(table, {"reader": "csv", "columns": columns}, QA).what
    options = {"unanswerable": True}
    rows = read(table, {"reader": "csv", "columns": columns, "options": options}, QA)
    assert [row.target for row in rows] == [(Answer("Hund", 4),), ()]


def test_shipped_tasks_say_which_of_their_copies_have_unanswerable_questions():
    for source in load_task("squad2").sources:
        assert source.options.get("unanswerable")


def test_a_csv_field_may_be_longer_than_the_csv_module_reads_by_default(tmp_path):
    long = "gut " * 40_000
    path = file(tmp_path, f'text,label\n"{long}",neutral\nNiemand,neutral\n', "x.csv")
    rows = read(path, {"reader": "csv", "columns": {"text": "text", "target": "label"}}, NLI)
    assert [len(row.fields["text"]) for row in rows] == [160_000, 7]


def test_an_error_about_a_blank_text_says_what_to_set(tmp_path):
    path = file(tmp_path, " \tb\tneutral\n")
    source = {"reader": "tsv", "columns": {"text": "0", "text_pair": "1", "target": "2"}}
    assert "blank: drop" in refused(path, source, NLI).hint


def test_nahuatl_rows_that_lack_a_text_are_read_and_counted(tmp_path):
    path = tmp_path / "americasnli/test/nah.tsv"
    path.parent.mkdir(parents=True)
    rows = "1\tnah\tNimitz\tAmo\tneutral\n2\tnah\t\tAmo\tneutral\n3\tnah\tNimitz\t\tentailment\n"
    path.write_text("id\tlanguage\tpremise\thypothesis\tlabel\n" + rows, "utf-8")
    task = load_task("americasnli")
    found = load(task, "test", "nah", tmp_path)
    assert [row.fields["text_pair"] for row in found] == ["Amo", "Amo", ""]
    assert (task.counts["test"]["nah"], task.counts["test"]["oto"]) == (738, 748)
