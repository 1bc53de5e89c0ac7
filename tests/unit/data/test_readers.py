"""Readers: what each layout gives, and what a broken file is told."""

from __future__ import annotations

import bz2
import gzip
import json
import random
from pathlib import Path

import networkx
import pytest

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Answer, Example
from xstilts.data.fused import _DEFAULT_ORDER, Sentence, Token, fused
from xstilts.data.readers import READERS
from xstilts.data.rows import Dropped
from xstilts.errors import ConfigError, DataError, NotFoundError


def task_of(fmt: str, labels: tuple[str, ...] = (), languages: tuple[str, ...] = ("de", "en")):
    return TaskSpec(
        name="toy", format=fmt, languages=list(languages), labels=list(labels), metric="accuracy",
        sources=[],
    )  # fmt: skip


NLI = task_of("classification", ("entailment", "neutral", "contradiction"))
CHOICE = task_of("multiple_choice")
TAGS = task_of("tagging", ("O", "B-PER", "I-PER"))
FREE_TAGS = task_of("tagging")
QA = task_of("extractive_qa")
TEXT = task_of("retrieval")
PAIR_COLUMNS = {"text": "0", "text_pair": "1", "target": "2"}


def read(path: Path | list[Path], source: dict, task: TaskSpec, language="de", split="test"):
    paths = path if isinstance(path, list) else [path]
    spec = SourceSpec(**source)
    return list(READERS.get(spec.reader).read(paths, spec, task, language, split))


def file(tmp_path: Path, content: str | bytes, name: str = "rows.tsv") -> Path:
    path = tmp_path / name
    data = content.encode("utf-8") if isinstance(content, str) else content
    path.write_bytes(data)
    return path


def tsv(**options) -> dict:
    return {"reader": "tsv", "columns": PAIR_COLUMNS, "options": options}


def refused(path, source, task) -> DataError:
    with pytest.raises(DataError) as caught:
        read(path, source, task)
    return caught.value


# ------------------------------------------------------------------------------------- tables


def test_a_row_becomes_an_example_with_its_place(tmp_path):
    path = file(tmp_path, "Ein Hund .\tEin Tier .\tentailment\n")
    (row,) = read(path, tsv(), NLI)
    assert row == Example(
        "1", "de", {"text": "Ein Hund .", "text_pair": "Ein Tier ."}, "entailment", "rows.tsv:1"
    )


def test_a_header_names_columns_in_any_order_and_rows_are_counted_from_1(tmp_path):
    path = file(tmp_path, "gold\tb\ta\nneutral\tzwei\teins\n")
    source = {**tsv(header="true"), "columns": {"text": "a", "text_pair": "b", "target": "gold"}}
    (row,) = read(path, source, NLI)
    assert (row.fields["text"], row.fields["text_pair"], row.target) == ("eins", "zwei", "neutral")
    assert (row.id, row.place) == ("1", "rows.tsv:2")


def test_labels_are_mapped_and_rows_the_data_set_disowns_are_dropped(tmp_path):
    path = file(tmp_path, "a\tb\tcontradictory\nc\td\t-\ne\tf\tneutral\n")
    source = {**tsv(drop_labels=["-"]), "label_map": {"contradictory": "contradiction"}}
    rows = read(path, source, NLI)
    assert [getattr(row, "target", None) for row in rows] == ["contradiction", None, "neutral"]
    assert rows[1] == Dropped("rows.tsv:2", "label -")


def test_a_filter_keeps_one_language_of_a_shared_file(tmp_path):
    text = "lang\ta\tb\tl\nde\tx\ty\tneutral\nfr\tu\tv\tneutral\nde\tp\tq\tentailment\n"
    path = file(tmp_path, text)
    source = {
        "reader": "tsv",
        "columns": {"text": "a", "text_pair": "b", "target": "l"},
        "options": {"header": True, "filter": {"lang": "{language}"}},
    }
    assert [row.fields["text"] for row in read(path, source, NLI)] == ["x", "p"]
    with pytest.raises(DataError, match="no rows of"):
        read(path, source, NLI, language="en")


def test_quotes_are_characters_unless_a_csv_writer_wrapped_the_field(tmp_path):
    path = file(tmp_path, '"""Ja"", sagt er."\t"bloss so"\tneutral\n')
    assert read(path, tsv(), NLI)[0].fields["text"] == '"""Ja"", sagt er."'
    undone = read(path, tsv(quoting="undo"), NLI)[0].fields
    assert undone == {"text": '"Ja", sagt er.', "text_pair": '"bloss so"'}


def test_csv_fields_may_hold_commas_quotes_and_line_ends(tmp_path):
    path = file(tmp_path, 'id,text,label\n7,"Gut, ""sehr""\ngut",neutral\n', "rows.csv")
    source = {"reader": "csv", "columns": {"id": "id", "text": "text", "target": "label"}}
    (row,) = read(path, source, NLI)
    assert (row.id, row.fields["text"]) == ("7", 'Gut, "sehr"\ngut')


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_only_lf_crlf_and_cr_end_a_line(tmp_path, end):
    path = file(tmp_path, f"a\u2028a\tb\x85b\tneutral{end}c\td\tneutral{end}")
    rows = read(path, tsv(), NLI)
    assert [row.fields["text"] for row in rows] == ["a\u2028a", "c"]
    assert rows[0].fields["text_pair"] == "b\x85b"
    assert rows[1].target == "neutral"


def test_a_cr_inside_a_line_is_never_part_of_a_field(tmp_path):
    path = file(tmp_path, "a\tb\tneutral\nc\rd\te\tneutral\n")
    error = refused(path, tsv(), NLI)
    assert (error.what, error.where) == ("line ends are mixed (LF and CR)", f"{path}:2")
    mixed = file(tmp_path, "a\tb\tneutral\nc\td\tneutral\re\tf\tneutral\r\n")
    rows = read(mixed, tsv(line_ends="mixed"), NLI)
    assert [row.fields["text"] for row in rows] == ["a", "c", "e"]


def test_unlabelled_rows_pass_only_where_that_is_allowed(tmp_path):
    path = file(tmp_path, "a\tb\nc\td\n")
    assert [row.target for row in read(path, tsv(labels="optional"), NLI)] == [None, None]
    assert "no column '2'" in refused(path, tsv(), NLI).what


def test_ids_of_several_files_stay_apart(tmp_path):
    (tmp_path / "x").mkdir()
    one, two = file(tmp_path, "a\tb\tneutral\n"), file(tmp_path / "x", "c\td\tneutral\n")
    ids = [row.id for row in read([one, two], tsv(), NLI)]
    assert ids == [f"{tmp_path.name}/rows-1", "x/rows-1"]


@pytest.mark.parametrize(
    ("content", "what", "row"),
    [
        ("a\tb\tneutral\nc\td\tmaybe\n", "label 'maybe' is none of", 2),
        ("a\tb\tneutral\nc\td\n", "2 columns where 3", 2),
        ("a\tb\tneutral\nc\td\tneutral\tx\n", "4 columns where 3", 2),
        ("a\tb\tneutral\n\n", "1 columns where 3", 2),
        ("a\tb\tneutral\n \td\tneutral\n", "'text' is blank", 2),
        ("a\tb\t\n", "the label is missing", 1),
        ("a\tb\tneutral\r\nc\td\tneutral\n", "line ends are mixed", 2),
        ("\ufeffa\tb\tneutral\n", "byte order mark (UTF-8)", 1),
        ("a\tb\tneutral\n".encode("utf-16"), "byte order mark (UTF-16)", 1),
        (b"a\tb\tneutral\n" + "ä\tb\tneutral\n".encode("latin-1"), "byte 0xe4", 2),
        (b"a\tb\tneutral\na\0\tb\tneutral\n", "NUL byte", 2),
        ("<!DOCTYPE html>\n<html><body>404</body></html>\n", "web page", 1),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer", 1),
    ],
)
def test_a_broken_table_is_refused_with_its_row(tmp_path, content, what, row):
    path = file(tmp_path, content)
    error = refused(path, tsv(), NLI)
    assert what in error.what
    assert error.where == f"{path}:{row}"


@pytest.mark.parametrize(
    ("content", "what"),
    [("", "empty"), (" \n\n", "empty"), (b"PK\x03\x04rest", "zip archive"), (b"\x1f\x8b1", "gzip")],
)
def test_a_file_without_rows_is_refused(tmp_path, content, what):
    error = refused(file(tmp_path, content), tsv(), NLI)
    assert what in error.what
    assert error.where == str(tmp_path / "rows.tsv")


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_a_packed_file_is_read_and_a_broken_one_refused(tmp_path, ending, pack):
    packed = pack(b"Ein Hund .\tEin Tier .\tentailment\n")
    (row,) = read(file(tmp_path, packed, f"rows.tsv{ending}"), tsv(), NLI)
    assert (row.fields["text"], row.target) == ("Ein Hund .", "entailment")
    for broken in (packed[:-9], b"no archive"):
        error = refused(file(tmp_path, broken, f"rows.tsv{ending}"), tsv(), NLI)
        assert f"not a whole {ending} file" in error.what
    bomb = file(tmp_path, pack(b" " * (20 * 2**20)), f"bomb{ending}")
    assert "200 times its size" in refused(bomb, tsv(), NLI).what


def test_every_stream_of_a_packed_file_is_read_or_refused(tmp_path):
    """Python's own reader of bzip2 leaves out what follows a broken stream, without a word."""
    first, second = (f"Satz {n}\tSatz\tneutral\n".encode() for n in (1, 2))
    streams = [bz2.compress(first), bz2.compress(second)]
    rows = read(file(tmp_path, b"".join(streams), "rows.tsv.bz2"), tsv(), NLI)
    assert [row.fields["text"] for row in rows] == ["Satz 1", "Satz 2"]
    for rest in (b"BZx" + streams[1][3:], streams[1][:-4], b"something else"):
        error = refused(file(tmp_path, streams[0] + rest, "rows.tsv.bz2"), tsv(), NLI)
        assert "not a whole .bz2 file" in error.what


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("a\tb\n".encode("utf-32"), "byte order mark (UTF-32)"),
        (b"\0\0\xfe\xff\0\0\0a", "byte order mark (UTF-32)"),
        (b"\x28\xb5\x2f\xfd\x04\0", "zstd archive"),
        (b"\x04\x22\x4d\x18\x64\x40", "lz4 archive"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "7z archive"),
        (b"PAR1\x15\x04PAR1", "parquet table"),
    ],
)
def test_a_file_of_another_kind_is_called_by_it(tmp_path, content, what):
    assert what in refused(file(tmp_path, content), tsv(), NLI).what


@pytest.mark.parametrize(
    ("name", "content", "row"),
    [
        ("rows.jsonl", '{"0": "a", "1": "b", "2": "neutral"}\n\n', 2),
        ("rows.tsv", "a\tb\tneutral\n\nc\td\tneutral\n", 2),
        ("rows.csv", "0,1,2\na,b,neutral\n\n", 3),
    ],
)
def test_a_blank_row_is_said_to_be_blank(tmp_path, name, content, row):
    source = tsv() | {"reader": name.partition(".")[2]}
    error = refused(file(tmp_path, content, name), source, NLI)
    assert error.where == f"{tmp_path / name}:{row}"
    assert "blank" in error.what + error.hint


def test_rows_of_whole_lines(tmp_path):
    path = file(tmp_path, "eins\n1\na\nb\nzwei\n0\nc\nd\n")
    source = {
        "reader": "blocks",
        "columns": {"context": 0, "target": 1, "choices": "2, 3"},
        "options": {"lines": 4},
    }
    rows = read(path, source, CHOICE)
    assert [(row.id, row.place) for row in rows] == [("1", "rows.tsv:1"), ("2", "rows.tsv:5")]
    assert [row.fields["choices"] for row in rows] == [("a", "b"), ("c", "d")]
    assert [row.target for row in rows] == ["1", "0"]
    cut = file(tmp_path, "eins\n1\na\nb\nzwei\n", "cut.tsv")
    assert "5 lines are no whole number of rows of 4" in refused(cut, source, CHOICE).what


def test_the_file_is_the_label_and_ids_do_not_depend_on_the_folder(tmp_path):
    paths = [file(tmp_path, f"<a>{n}</a>\n", f"rows.{n}") for n in ("pos", "neg")]
    source = {
        "reader": "blocks",
        "columns": {"text": 0, "target": "file"},
        "label_map": {"rows.pos": "good", "rows.neg": "bad"},
        "options": {"pattern": "<a>(.*)</a>"},
    }
    task = task_of("classification", ("good", "bad"))
    rows = read(paths, source, task)
    assert [(row.id, row.fields["text"], row.target) for row in rows] == [
        ("rows.pos-1", "pos", "good"),
        ("rows.neg-1", "neg", "bad"),
    ]
    error = refused(file(tmp_path, "<a>x</a>\n<b>y</b>\n", "rows.pos"), source, task)
    assert "does not match the pattern" in error.what
    assert error.where.endswith("rows.pos:2")
    for wrong in ("(", "a", "(a)(b)"):
        bad = {**source, "options": {"pattern": wrong}}
        with pytest.raises(ConfigError, match=r"regular expression|groups"):
            read(paths, bad, task)


def test_rows_with_several_labels_or_too_many_columns_are_left_out(tmp_path):
    path = file(tmp_path, "a\t1\nb\t1, 2\nc\t2\tx\n")
    source = {
        "reader": "tsv",
        "columns": {"text": 0, "target": 1},
        "options": {"label_separator": ",", "width": 2, "long_rows": "drop"},
    }
    rows = read(path, source, task_of("classification", ("1", "2")))
    assert [row.reason for row in rows if isinstance(row, Dropped)] == [
        "several labels",
        "too many columns",
    ]
    assert [row.target for row in rows if isinstance(row, Example)] == ["1"]


XSID_TEXT = (
    "# id = 1\n# text = vis alle  nu\n# intent = show\n1\tvis\tshow\tO\n2\talle\tshow\tB-x\n"
)


def test_utterances_with_intent_and_slots(tmp_path):
    conll = file(tmp_path, f"{XSID_TEXT}\n{XSID_TEXT}", "da.test.conll")
    pair = [file(tmp_path, "vis alle\n", "text"), file(tmp_path, "O B-x\tshow\n", "label")]
    intents = {"reader": "xsid", "columns": {"text": "text", "target": "intent"}}
    slots = {"reader": "xsid", "columns": {"words": "words", "target": "slots"}}
    intent_task, slot_task = task_of("classification", ("show",)), task_of("tagging", ("O", "B-x"))
    rows = read(conll, intents, intent_task)
    assert [(row.id, row.fields["text"], row.target) for row in rows] == [
        ("1", "vis alle  nu", "show"),
        ("7", "vis alle  nu", "show"),
    ]
    assert [row.target for row in read(pair, intents, intent_task)] == ["show"]
    for paths in (conll, pair):
        row = read(paths, slots, slot_task)[0]
        assert (row.fields["words"], row.target) == (("vis", "alle"), ("O", "B-x"))
    wrong = {"O show\n": "2 labels for 2 words", "O B-x show\nO show\n": "2 lines of labels for 1"}
    for text, what in wrong.items():
        error = refused([pair[0], file(tmp_path, text, "wrong")], slots, slot_task)
        assert what in error.what
        assert "wrong" in error.where
    assert "columns where" in refused(file(tmp_path, "1\ta\tb\n"), slots, slot_task).what
    assert "a text and a label file" in refused([conll, *pair], slots, slot_task).what


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match="no such data file"):
        read(tmp_path / "none.tsv", tsv(), NLI)


def test_a_header_without_the_column_names_the_nearest(tmp_path):
    path = file(tmp_path, "premise\thypothesis\tgold_label\na\tb\tneutral\n")
    source = {
        **tsv(header=True),
        "columns": {"text": "premise", "text_pair": "hypotesis", "target": "gold_label"},
    }
    error = refused(path, source, NLI)
    assert "no column 'hypotesis'" in error.what
    assert "hypothesis" in error.hint


def test_an_unclosed_quote_is_refused(tmp_path):
    path = file(tmp_path, 'id,text,label\n1,"open,neutral\n', "rows.csv")
    source = {"reader": "csv", "columns": {"text": "text", "target": "label"}}
    assert "not valid CSV" in refused(path, source, NLI).what


def test_a_column_that_is_wanted_stands_once(tmp_path):
    path = file(tmp_path, "id,text,note,note,text,label\n1,a,n,n,b,neutral\n", "rows.csv")
    source = {"reader": "csv", "columns": {"text": "text", "target": "label"}}
    error = refused(path, source, task_of("classification", ("neutral",)))
    assert "2 columns 'text'" in error.what
    counted = source | {"columns": {"text": "4", "target": "label"}}
    (row,) = read(path, counted, task_of("classification", ("neutral",)))
    assert row.fields == {"text": "b"}


def test_a_key_of_a_json_row_stands_once(tmp_path):
    path = file(tmp_path, '{"text": "a", "text": "b", "label": "neutral"}\n', "rows.jsonl")
    source = {"reader": "jsonl", "columns": {"text": "text", "target": "label"}}
    error = refused(path, source, task_of("classification", ("neutral",)))
    assert "key 'text' repeats" in error.what
    assert error.where.endswith("rows.jsonl:1")


def test_an_unknown_option_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="unknown key"):
        read(file(tmp_path, "a\tb\tneutral\n"), tsv(headr=True), NLI)


def test_cut_off_and_blank_rows_can_be_dropped_and_counted(tmp_path):
    path = file(tmp_path, "a\tb\tneutral\nc\td\n\te\tneutral\n")
    rows = read(path, tsv(short_rows="drop", blank="drop"), NLI)
    assert rows[1:] == [
        Dropped("rows.tsv:2", "too few columns"),
        Dropped("rows.tsv:3", "text is blank"),
    ]


# ----------------------------------------------------------------------------- objects, choices


def jsonl(tmp_path: Path, *records: dict, end: str = "\n") -> Path:
    lines = (json.dumps(record, ensure_ascii=False) + end for record in records)
    return file(tmp_path, "".join(lines), "rows.jsonl")


def test_dotted_columns_reach_into_lists(tmp_path):
    record = {
        "id": "q1",
        "answerKey": "B",
        "question": {
            "stem": "Wo?",
            "choices": [{"label": "A", "text": "hier"}, {"label": "B", "text": "da"}],
        },
    }
    source = {
        "reader": "jsonl",
        "columns": {
            "id": "id", "question": "question.stem", "choices": "question.choices.text",
            "target": "answerKey",
        },
        "label_map": {"A": "0", "B": "1"},
    }  # fmt: skip
    (row,) = read(jsonl(tmp_path, record), source, CHOICE)
    assert row.fields == {"context": "", "question": "Wo?", "choices": ("hier", "da")}
    assert (row.id, row.target) == ("q1", "1")


def test_copa_has_two_choice_columns_a_question_in_words_and_crlf(tmp_path):
    record = {"premise": "P.", "choice1": "x", "choice2": "y", "question": "cause", "label": 1}
    source = {
        "reader": "jsonl",
        "columns": {
            "context": "premise", "question": "question", "choices": "choice1, choice2",
            "target": "label",
        },
        "options": {"values": {"question": {"cause": "Warum?"}}},
    }  # fmt: skip
    (row,) = read(jsonl(tmp_path, record, end="\r\n"), source, CHOICE)
    assert row.fields == {"context": "P.", "question": "Warum?", "choices": ("x", "y")}
    assert row.target == "1"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"label": 2}, "names none of the 2 choices"),
        ({"label": -1}, "names none of the 2 choices"),
        ({"label": None}, "label is missing"),
        ({"choice2": " "}, "'choice 1' is blank"),
        ({"premise": ["a"]}, "not text but list"),
    ],
)
def test_a_broken_choice_is_refused_with_its_row(tmp_path, change, what):
    record = {"premise": "P.", "choice1": "x", "choice2": "y", "label": 1}
    columns = {"context": "premise", "choices": "choice1, choice2", "target": "label"}
    path = jsonl(tmp_path, record, {**record, **change})
    error = refused(path, {"reader": "jsonl", "columns": columns}, CHOICE)
    assert what in error.what
    assert error.where == f"{path}:2"


def test_a_missing_choice_column_is_refused(tmp_path):
    columns = {"context": "p", "choices": "a, b", "target": "l"}
    error = refused(
        jsonl(tmp_path, {"p": "P", "a": "x", "l": 0}),
        {"reader": "jsonl", "columns": columns},
        CHOICE,
    )
    assert "a choice is missing" in error.what


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"text": "a"}\n{"text": \n', "not valid JSON"),
        ('{"text": "a"}\n["b"]\n', "not a JSON object"),
        ('{"text": "a"}\n{"txt": "b"}\n', "no column 'text'"),
        ("<html>\n</html>\n", "web page"),
    ],
)
def test_broken_json_lines_are_refused_with_their_row(tmp_path, content, what):
    path = file(tmp_path, content, "rows.jsonl")
    error = refused(path, {"reader": "jsonl", "columns": {"text": "text"}}, TEXT)
    assert what in error.what
    assert error.where == f"{path}:{1 if 'web' in what else 2}"


# ------------------------------------------------------------------------------------- QA


def squad(tmp_path: Path, context: str, *questions: dict) -> Path:
    data = {"data": [{"paragraphs": [{"context": context, "qas": list(questions)}]}]}
    return file(tmp_path, json.dumps(data, ensure_ascii=False), "squad.json")


def question(answers, **more) -> dict:
    spans = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": "q", "question": "Wer?", "answers": spans, **more}


def test_answers_carry_character_offsets_in_every_script(tmp_path):
    context = "北京是中国的首都。𝒳 ist 🦊."
    path = squad(tmp_path, context, question([("中国", 3), ("🦊", 15)]))
    (row,) = read(path, {"reader": "squad"}, QA)
    # 9 characters before the mathematical X, which is one character, as is the fox.
    assert context[15] == "🦊"
    assert row.target == (Answer("中国", 3), Answer("🦊", 15))
    assert (row.fields["question"], row.fields["context"]) == ("Wer?", context)


def test_unanswerable_questions_belong_to_squad_2_only(tmp_path):
    path = squad(tmp_path, "Text.", question([], is_impossible=True))
    error = refused(path, {"reader": "squad"}, QA)
    assert "without an answer" in error.what
    (row,) = read(path, {"reader": "squad", "options": {"unanswerable": True}}, QA)
    assert row.target == ()


def test_the_stripped_test_file_is_unlabelled_not_wrong(tmp_path):
    path = squad(tmp_path, "Text.", question([("", 0)]))
    assert "placeholders" in refused(path, {"reader": "squad"}, QA).what
    (row,) = read(path, {"reader": "squad", "options": {"labels": "optional"}}, QA)
    assert row.target is None


def test_an_answer_elsewhere_is_refused_or_moved_to_the_nearest_place(tmp_path):
    path = squad(tmp_path, "der Hund und der Hund", question([("Hund", 14)]))
    error = refused(path, {"reader": "squad"}, QA)
    assert "not at offset 14" in error.what
    assert error.where == f"{path}:1"
    (row,) = read(path, {"reader": "squad", "options": {"offsets": "nearest"}}, QA)
    # Occurrences start at 4 and 17; 17 is 3 away from 14, 4 is 10 away.
    assert row.target == (Answer("Hund", 17),)


ANSWER_COLUMNS = {"id": "id", "context": "c", "question": "q", "target": "a"}


def test_a_table_may_hold_answers_with_their_offsets(tmp_path):
    path = file(tmp_path, 'id,c,q,a,at\n1,"Am Fluß, dort",Wo?,Fluß,3\n', "rows.csv")
    source = {"reader": "csv", "columns": {**ANSWER_COLUMNS, "answer_start": "at"}}
    assert read(path, source, QA)[0].target == (Answer("Fluß", 3),)
    wrong = file(tmp_path, "id,c,q,a,at\n1,Am Fluß,Wo?,Fluß,2\n", "wrong.csv")
    assert "not at offset 2" in refused(wrong, source, QA).what
    wrong = file(tmp_path, "id,c,q,a,at\n1,Am Fluß,Wo?,Fluß,x\n", "wrong.csv")
    assert "'x' is no offset" in refused(wrong, source, QA).what


@pytest.mark.parametrize(("start", "reads"), [("4", True), ("4.0", True), ("4.7", False)])
def test_an_offset_is_a_whole_number(tmp_path, start, reads):
    answers = f'{{"text": ["Hund"], "answer_start": [{start}]}}'
    row = f'{{"id": "1", "c": "der Hund", "q": "Wer?", "a": {answers}}}\n'
    path = file(tmp_path, row, "rows.jsonl")
    source = {"reader": "jsonl", "columns": ANSWER_COLUMNS}
    if reads:
        assert read(path, source, QA)[0].target == (Answer("Hund", 4),)
    else:
        assert "answers need `text` and `answer_start`" in refused(path, source, QA).what


def test_answers_without_offsets_take_their_first_place_only_when_asked(tmp_path):
    path = file(tmp_path, '{"id": "1", "c": "da da", "q": "Wo?", "a": "da"}\n')
    source = {"reader": "jsonl", "columns": ANSWER_COLUMNS}
    error = refused(path, source, QA)
    assert (error.what, error.where) == ("an answer without its offset", f"{path}:1")
    assert "answer_start" in error.hint
    near = {**source, "options": {"offsets": "nearest"}}
    assert read(path, near, QA)[0].target == (Answer("da", 0),)


def test_tydiqa_rows_are_taken_by_id_prefix(tmp_path):
    path = squad(
        tmp_path,
        "Text.",
        question([("Text", 0)], id="german-1-0"),
        question([("Text", 0)], id="english-2-0"),
    )
    source = {
        "reader": "squad",
        "codes": {"de": "german"},
        "options": {"id_language": True},
    }
    task = QA.model_copy(update={"sources": [SourceSpec(**source)]})
    assert [row.id for row in read(path, source, task)] == ["german-1-0"]
    with pytest.raises(DataError, match="no questions in sw"):
        read(path, source, task, language="sw")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', "no questions"),
        ('{"data": [{"paragraph": []}]}', "not SQuAD JSON"),
        ('{"data": [{"paragraphs": [{"context": "x", "qas": [{"id": "1"}]}]}]}', "without 'ques"),
        ('{"data": [', "not valid JSON"),
        ("<html></html>", "web page"),
    ],
)
def test_broken_squad_files_are_refused(tmp_path, content, what):
    path = file(tmp_path, content, "squad.json")
    error = refused(path, {"reader": "squad"}, QA)
    assert what in error.what
    assert str(path) in error.where


# ------------------------------------------------------------------------------------- tagging


def conll(**options) -> dict:
    return {"reader": "conll", "options": options}


def test_blank_lines_end_sentences_and_may_repeat_or_be_missing(tmp_path):
    path = file(tmp_path, "Ada\tB-PER\nging\tO\n\n\n#\tO\n")
    rows = read(path, conll(), TAGS)
    assert [row.fields["words"] for row in rows] == [("Ada", "ging"), ("#",)]
    assert [row.target for row in rows] == [("B-PER", "O"), ("O",)]
    assert [row.place for row in rows] == ["rows.tsv:1", "rows.tsv:5"]


def test_panx_words_lose_their_language_up_to_the_first_colon(tmp_path):
    path = file(tmp_path, "de:Ada\tB-PER\nde::\tO\n")
    (row,) = read(path, conll(strip_language=True), TAGS)
    assert row.fields["words"] == ("Ada", ":")
    path = file(tmp_path, "de:Ada\tB-PER\nfr:Ada\tB-PER\n")
    assert "does not begin with 'de:'" in refused(path, conll(strip_language=True), TAGS).what


@pytest.mark.parametrize(
    ("between", "sentences"),
    [
        ("", [("Ada", "Bea")]),
        ("de:\u3000\tO\n", [("Ada",), ("Bea",)]),
        ("de:\tI-PER\n\n", [("Ada",), ("Bea",)]),
        ("nocolon\tO\n", [("Ada", "Bea")]),
        ("weird\n", [("Ada",), ("Bea",)]),
        ("de:Ada\tB-PER\tx\n", [("Ada",), ("Bea",)]),
        ("  de:Cy \tO \r\n", [("Ada", "Cy", "Bea")]),
    ],
)
def test_raw_panx_is_read_by_the_line_rules_of_xtreme(tmp_path, between, sentences):
    path = file(tmp_path, f"de:Ada\tB-PER\n{between}de:Bea\tB-PER\n")
    rows = read(path, conll(strip_language=True), TAGS)
    assert [row.fields["words"] for row in rows] == sentences
    assert [len(row.target) for row in rows] == [len(words) for words in sentences]


def test_columns_comments_and_label_maps(tmp_path):
    path = file(tmp_path, "# id = 1\n1\tAda\tB-PER\t-\t-\n2\t#\tB-OTH\t-\t-\n")
    source = {
        **conll(comments=True, width=5),
        "columns": {"words": 1, "target": 2},
        "label_map": {"B-OTH": "O"},
    }
    (row,) = read(path, source, TAGS)
    assert (row.fields["words"], row.target) == (("Ada", "#"), ("B-PER", "O"))


def test_words_alone_are_an_unlabelled_sentence(tmp_path):
    path = file(tmp_path, "Ada\nging\n")
    (row,) = read(path, conll(labels="optional"), TAGS)
    assert (row.fields["words"], row.target) == (("Ada", "ging"), None)
    mixed = file(tmp_path, "Ada\tO\nging\n")
    assert "some words have a label" in refused(mixed, conll(labels="optional"), TAGS).what


@pytest.mark.parametrize(
    ("content", "what", "row"),
    [
        ("Ada\tB-PER\nging\n", "1 columns where 2", 2),
        ("Ada\tB-LOC\n", "label 'B-LOC' is none of", 1),
        ("Ada\tB-PER\tx\n", "3 columns where 2", 1),
        ("Ada\tO\n \tO\n", "the word is blank", 2),
    ],
)
def test_broken_word_files_are_refused_with_their_row(tmp_path, content, what, row):
    path = file(tmp_path, content)
    error = refused(path, conll(), TAGS)
    assert what in error.what
    assert error.where == f"{path}:{row}"


def conllu(*lines: str) -> str:
    """Lines of `id form upos head [deps]` as CoNLL-U."""
    rows = []
    for line in lines:
        number, form, upos, head, *deps = line.split(" ")
        cells = [number, form, "_", upos, "_", "_", head, "_", deps[0] if deps else "_", "_"]
        rows.append("\t".join(cells))
    return "# text = …\n" + "\n".join(rows) + "\n\n"


ZUM = conllu(
    "1 Er PRON 2", "2 geht VERB 0", "3-4 zum _ _", "3 zu ADP 5", "4 dem DET 5",
    "5 Haus NOUN 2", "5.1 leer VERB _",
)  # fmt: skip


def test_multi_word_tokens_are_fused_or_split(tmp_path):
    path = file(tmp_path, ZUM, "de.conllu")
    # zu and dem both hang on Haus: equally far from the root, and VERB … ADP DET … puts ADP first.
    (row,) = read(path, {"reader": "conllu"}, FREE_TAGS)
    assert row.fields["words"] == ("Er", "geht", "zum", "Haus")
    assert row.target == ("PRON", "VERB", "ADP", "NOUN")
    (row,) = read(path, {"reader": "conllu", "options": {"words": "syntactic"}}, FREE_TAGS)
    assert row.fields["words"] == ("Er", "geht", "zu", "dem", "Haus")
    assert row.target == ("PRON", "VERB", "ADP", "DET", "NOUN")


@pytest.mark.parametrize(
    ("lines", "what", "row"),
    [
        (("1-3 im _ _", "1 in ADP 2", "2 dem DET 0"), "ends at word 3, and the last word is 2", 1),
        (
            ("1-2 im _ _", "1 in ADP 0", "2-3 x _ _", "2 dem DET 1", "3 H NOUN 1"),
            "begins before",
            4,
        ),
        (("1 in ADP 0", "1-2 im _ _", "2 dem DET 1"), "begins before", 3),
        (("2-1 im _ _", "1 in ADP 0", "2 dem DET 1"), "begins before", 2),
    ],
)
def test_multi_word_tokens_that_do_not_fit_their_sentence(tmp_path, lines, what, row):
    path = file(tmp_path, conllu(*lines), "de.conllu")
    error = refused(path, {"reader": "conllu"}, FREE_TAGS)
    assert what in error.what
    assert error.where == f"{path}:{row}"


def test_the_head_of_a_fused_word_is_its_highest_part(tmp_path):
    # dámelo: me and lo hang on da, which is the root.
    text = conllu("1-3 dámelo _ _", "1 da VERB 0", "2 me PRON 1", "3 lo PRON 1")
    (row,) = read(file(tmp_path, text, "es.conllu"), {"reader": "conllu"}, FREE_TAGS, "es")
    assert (row.fields["words"], row.target) == (("dámelo",), ("VERB",))


def test_ties_follow_the_list_of_the_language(tmp_path):
    # Two parts as far from the root: Italian puts ADV before PRON, the default list PRON first.
    text = conllu("1 va VERB 0", "2-3 ciò _ _", "2 ci PRON 1", "3 o ADV 1")
    path = file(tmp_path, text, "it.conllu")
    (italian,) = read(path, {"reader": "conllu"}, FREE_TAGS, "it")
    (other,) = read(path, {"reader": "conllu"}, FREE_TAGS, "de")
    assert italian.target == ("VERB", "ADV")
    assert other.target == ("VERB", "PRON")


def test_enhanced_heads_count_as_ancestors(tmp_path):
    # Basic heads leave 2 and 3 equal. An enhanced edge gives 2 one ancestor more (4), so 3 wins.
    text = conllu(
        "1 va VERB 0", "2-3 xy _ _", "2 x VERB 1 1:a|4:b", "3 y DET 1", "4 z NOUN 1", "4.1 e X _",
    )  # fmt: skip
    (row,) = read(file(tmp_path, text, "de.conllu"), {"reader": "conllu"}, FREE_TAGS)
    assert row.fields["words"] == ("va", "xy", "z")
    assert row.target == ("VERB", "DET", "NOUN")


def test_heads_of_fused_words_equal_those_of_a_graph_library():
    draw = random.Random(5)
    order = _DEFAULT_ORDER.split()
    for _ in range(200):
        count = draw.randint(2, 7)
        graph = networkx.DiGraph()
        tokens = {}
        for number in range(1, count + 1):
            heads = [draw.choice([h for h in range(count + 1) if h != number])]
            heads += [draw.randint(0, count)] * draw.randint(0, 1)
            graph.add_edges_from((head, number) for head in heads)
            tokens[number] = Token(f"w{number}", draw.choice(order), tuple(heads))
        first = draw.randint(1, count - 1)
        span = range(first, draw.randint(first + 1, count) + 1)
        depth = {number: len(networkx.ancestors(graph, number)) for number in span}
        highest = [number for number in span if depth[number] == min(depth.values())]
        head = min(highest, key=lambda number: order.index(tokens[number].tag))
        words, tags = fused(Sentence(1, tokens, {first: (span[-1], "xy")}), "de")
        assert words[first - 1] == "xy"
        assert tags[first - 1] == tokens[head].tag
        assert len(words) == count - len(span) + 1


def test_sentences_without_text_are_dropped_and_words_cleaned(tmp_path):
    text = (
        conllu("1 _ NOUN 0", "2 _ VERB 1", "3 . PUNCT 1")
        + conllu("1 _ NOUN 0", "2 a VERB 1", "3 . PUNCT 1")
        + conllu("1 می\u200cروم VERB 0").replace("می", "می x")
    )
    rows = read(file(tmp_path, text, "fa.conllu"), {"reader": "conllu"}, FREE_TAGS, "fa")
    # 2 of 3 words withheld: 2 >= 3 - 1, dropped; 1 of 3 is kept.
    assert rows[0] == Dropped("fa.conllu:1", "text withheld")
    assert rows[1].fields["words"] == ("_", "a", ".")
    assert rows[2].fields["words"] == ("میxروم",)


@pytest.mark.parametrize(
    ("text", "what", "row"),
    [
        ("1\tEr\t_\tPRON\n\n", "4 columns where CoNLL-U has 10", 1),
        (conllu("1 Er PRON 0", "3 geht VERB 1"), "word 3 where word 2 is due", 3),
        (conllu("x Er PRON 0"), "'x' is no word number", 2),
    ],
)
def test_broken_treebanks_are_refused_with_their_row(tmp_path, text, what, row):
    path = file(tmp_path, text, "de.conllu")
    error = refused(path, {"reader": "conllu"}, FREE_TAGS)
    assert what in error.what
    assert error.where == f"{path}:{row}"


def test_ccg_columns_and_derivations(tmp_path):
    columns = file(tmp_path, "Der|NP/N Hund|NN|N a|b|N |||, \n", "x.ccg")
    (row,) = read(columns, {"reader": "ccg"}, FREE_TAGS)
    assert row.fields["words"] == ("Der", "Hund", "a", "||")
    assert row.target == ("NP/N", "N", "N", ",")
    auto = file(
        tmp_path,
        "ID=wsj_0001.1 PARSER=GOLD NUMPARSE=1\n"
        "(<T S[dcl] 0 2> (<T NP 0 2> (<L N/N NNP NNP Pierre N_73/N_73>) "
        "(<L N NNP NNP Vinken N>) ) (<L S[dcl]\\NP VBD VBD left S[dcl]\\NP_1>) ) \n",
        "wsj.auto",
    )
    (row,) = read(auto, {"reader": "ccg", "options": {"layout": "auto"}}, FREE_TAGS)
    assert row.id == "wsj_0001.1"
    assert row.fields["words"] == ("Pierre", "Vinken", "left")
    assert row.target == ("N/N", "N", "S[dcl]\\NP")


def test_broken_ccg_files_are_refused(tmp_path):
    error = refused(file(tmp_path, "Der|NP/N Hund\n"), {"reader": "ccg"}, FREE_TAGS)
    assert "'Hund' is not word|tag" in error.what
    path = file(tmp_path, "ID=1\n(<L N NNP\n", "x.auto")
    options = {"layout": "auto"}
    assert "derivation" in refused(path, {"reader": "ccg", "options": options}, FREE_TAGS).what


# ------------------------------------------------------------------------------ text, retrieval


def test_lines_are_texts_and_blank_ones_an_error_or_dropped(tmp_path):
    path = file(tmp_path, "eins \n\nzwei\n", "x.txt")
    assert "'text' is blank" in refused(path, {"reader": "bitext"}, TEXT).what
    rows = read(path, {"reader": "lines", "options": {"blank": "drop"}}, TEXT)
    assert [row.fields["text"] for row in rows if isinstance(row, Example)] == ["eins", "zwei"]
    assert rows[1] == Dropped("x.txt:2", "text is blank")


def test_bucc_sentences_keep_their_ids_and_later_tabs(tmp_path):
    path = file(tmp_path, "de-000000007\tein\tSatz\n", "x.de")
    (row,) = read(path, {"reader": "bucc"}, TEXT)
    assert (row.id, row.fields["text"]) == ("de-000000007", "ein\tSatz")
    error = refused(file(tmp_path, "ein Satz\n", "x.de"), {"reader": "bucc"}, TEXT)
    assert "id TAB sentence" in error.what


def test_udhr_articles_are_joined_paragraphs(tmp_path):
    xml = (
        '<?xml version="1.0"?><udhr xmlns="http://efele.net/udhr">'
        '<preamble><para>weg</para></preamble><article number="1"><title>A 1</title>'
        "<para>Alle Menschen\n sind</para><para>frei.</para></article></udhr>"
    )
    (row,) = read(file(tmp_path, xml, "u.xml"), {"reader": "udhr"}, TEXT)
    assert (row.id, row.fields["text"]) == ("1", "Alle Menschen sind frei.")


@pytest.mark.parametrize(
    ("xml", "what"),
    [
        ("<udhr></udhr>", "no <article>"),
        ("<udhr><article></udhr>", "not valid XML"),
        ('<!DOCTYPE u [<!ENTITY a "b">]><udhr/>', "document type or entities"),
        ('<udhr><article number="1"></article></udhr>', "without number or text"),
    ],
)
def test_broken_declarations_are_refused(tmp_path, xml, what):
    assert what in refused(file(tmp_path, xml, "u.xml"), {"reader": "udhr"}, TEXT).what


def test_qasrl_ranges_become_offsets(tmp_path):
    gold = file(
        tmp_path,
        "qasrl_id,verb_idx,verb,question,is_redundant,answer_range,answer\n"
        "s1,2,eats,What does she eat?,False,3:5~!~4:5,x\ns1,2,eats,Again?,True,0:1,y\n",
        "gold.csv",
    )
    texts = file(tmp_path, "qasrl_id,tokens,sentence\ns1,So she eats red apples,z\n", "full.csv")
    rows = read([gold, texts], {"reader": "qasrl"}, QA)
    # "So she eats " is 12 characters long, "So she eats red " 16.
    assert rows[0].target == (Answer("red apples", 12), Answer("apples", 16))
    assert rows[0].id == "s1:2:2"
    assert rows[1] == Dropped("gold.csv:3", "redundant question")
    bad = gold.read_text(encoding="utf-8").replace("3:5~!~4:5", "3:9")
    gold.write_text(bad, encoding="utf-8")
    assert "leaves the sentence" in refused([gold, texts], {"reader": "qasrl"}, QA).what


def test_every_reader_states_its_options_and_reads():
    assert {"bitext", "blocks", "bucc", "ccg", "conll", "conllu", "csv", "hub", "jsonl", "lareqa",
            "lines", "mewslix", "qasrl", "squad", "tsv", "udhr", "xsid",
            } == set(READERS.names())  # fmt: skip
    for name in READERS:
        module = READERS.get(name)
        assert module.Options(labels="optional", blank="keep")
        assert callable(module.read)
