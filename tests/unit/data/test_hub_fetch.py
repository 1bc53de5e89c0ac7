"""Hub data sets that are fetched: the files of a split only, read as they stand."""

from __future__ import annotations

import io
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value
from integration.hub_server import HubServer, use

from xstilts.config import hub_models
from xstilts.config.load import load_task
from xstilts.config.progress import Progress
from xstilts.config.specs import TaskSpec
from xstilts.data.pairs import load_pair
from xstilts.data.sources import available_languages, load
from xstilts.errors import DataError, NetworkError, NotFoundError

TSV = 'sentence1\tsentence2\tlabel\n"A man, he said\tA man spoke\t1\nThe dog runs\tNA\t0\n'
CSV = 'sentence1,sentence2,label\n"say ""hi""",007,1\nNA,2020-01-01,0\n'
JSON = '{"sentence1": "null", "sentence2": "1e5", "label": 1}\n'
CARD = """---
configs:
- config_name: de
  data_files:
  - {split: test, path: "parts/de-*.csv"}
---
"""


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with HubServer() as server:
        use(monkeypatch, server, tmp_path)
        hub_models._answers.cache_clear()
        yield server
    hub_models._answers.cache_clear()


def put(hub, files, repo="me/pairs"):
    """A data set with these files; its commit."""
    files = {name: d.encode() if isinstance(d, str) else d for name, d in files.items()}
    made = hub.put_repo(repo, files)
    hub.repos["datasets", repo] = hub.repos.pop(("models", repo))
    return made.at("main").oid


def rows(revision, repo="me/pairs", config="", split="test", language="en", **how):
    task = TaskSpec(
        name="pairs",
        format="classification",
        languages=["en", "de"],
        labels=["0", "1"],
        metric="accuracy",
        sources=[
            {
                "reader": "hub",
                "hub": {"repo": repo, "revision": revision, "config": config},
                "columns": {"text": "sentence1", "text_pair": "sentence2", "target": "label"},
            }
        ],
    )
    found = load(task, split, language, None, **how)
    return [(row.fields["text"], row.fields["text_pair"], row.target) for row in found]


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("test.tsv", TSV, [('"A man, he said', "A man spoke", "1"), ("The dog runs", "NA", "0")]),
        ("test.csv", CSV, [('say "hi"', "007", "1"), ("NA", "2020-01-01", "0")]),
        ("test.jsonl", JSON, [("null", "1e5", "1")]),
    ],
)
def test_rows_are_those_of_the_file(hub, name, text, wanted):
    assert rows(put(hub, {name: text, "train.csv": "broken", "big.bin": "x"})) == wanted
    assert hub.asked("GET", name)
    assert not hub.asked("GET", "train.csv")
    assert not hub.asked("GET", "big.bin")


def test_the_card_says_which_files(hub, monkeypatch):
    files = {"README.md": CARD, "parts/de-1.csv": CSV, "parts/en-1.csv": "broken"}
    revision = put(hub, files)
    assert len(rows(revision, config="{language}", language="de")) == 2
    assert not hub.asked("GET", "en-1")
    # what the cache has is read again without a network
    hub_models._answers.cache_clear()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert len(rows(revision, config="{language}", language="de")) == 2


def test_what_is_not_there(hub, monkeypatch):
    revision = put(hub, {"train.csv": CSV, "pairs.py": "raise SystemExit"})
    with pytest.raises(DataError, match="loading script; scripts are never run"):
        rows(revision)
    revision = put(hub, {"train.csv": CSV}, "me/others")
    with pytest.raises(NotFoundError, match="has no files of configuration '', split 'test'"):
        rows(revision, "me/others")
    with pytest.raises(NotFoundError, match="me/nothing does not exist on the hub"):
        rows("0" * 40, "me/nothing")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    hub_models._answers.cache_clear()
    with pytest.raises(NetworkError, match=r"is only on a hub, and http://127\.0\.0\.1:9 does not"):
        rows("0" * 40)


def test_what_arrives_is_told_by_our_progress_alone(hub, monkeypatch, capsys):
    monkeypatch.setattr(hub_models, "ARRIVING_SECONDS", 0.01)
    many = TSV + "".join(f"row {n}\tanother\t1\n" for n in range(4000))
    revision = put(hub, {"test.tsv": many})
    slow = hub.fault("GET", r"/test\.tsv", delay=0.02, times=9)
    told = []
    monkeypatch.setattr(Progress, "say", lambda self, text: told.append(text))
    with Progress("preparing"):
        assert len(rows(revision)) == 4002
    assert slow.hits
    assert told and told[-1].startswith("fetching me/pairs, 0."), told
    out, err = capsys.readouterr()
    assert "test.tsv" not in out + err, err


def shipped(hub, task, files):
    """The data set of a shipped task's hub source, with these files at the revision it names."""
    (source,) = (source for source in load_task(task).sources if source.hub)
    put(hub, files, source.hub.repo)
    repo = hub.repo(source.hub.repo, "datasets")
    commit, revision = repo.at("main"), source.hub.revision
    oid = revision if "/" not in revision else commit.oid
    repo.commits[oid] = replace(commit, oid=oid)
    repo.branches[revision] = oid


def parquet(columns, features=None):
    """A parquet file as the library writes it, or a bare one where no features are named."""
    file = io.BytesIO()
    if features is None:
        pq.write_table(pa.table(columns), file)
    else:
        Dataset.from_dict(columns, features=features).to_parquet(file)
    return file.getvalue()


def test_flores_is_a_column_for_each_language(hub):
    columns = {"eng_Latn": ["One.", "Two."], "deu_Latn": ["Eins.", "Zwei."], "id": [7, 8]}
    shipped(hub, "flores", {"data/devtest-00000-of-00001.parquet": parquet(columns)})
    flores = load_task("flores")
    pair = load_pair(flores, "de", None)
    assert [row.fields["text"] for row in pair.source] == ["Eins.", "Zwei."]
    assert [row.fields["text"] for row in pair.target] == ["One.", "Two."]
    assert (pair.target[0].language, pair.gold) == ("en", [(0, 0), (1, 1)])
    assert available_languages(flores, "test", None, remote=True) == flores.languages
    with pytest.raises(DataError, match=r"no column 'fra_Latn' \(for 'text'\)"):
        load_pair(flores, "fr", None)


NER = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-DATE", "I-DATE"]


@pytest.mark.parametrize("named", [True, False])
def test_masakhaner_is_read_from_the_hubs_conversion_of_a_script(hub, monkeypatch, named):
    columns = {
        "id": ["0"],
        "tokens": [["Ada", "saw", "Lagos", "today"]],
        "ner_tags": [[1, 0, 5, 7]],
    }
    features = {
        "id": Value("string"),
        "tokens": Sequence(Value("string")),
        "ner_tags": Sequence(ClassLabel(names=NER)),
    }
    file = parquet(columns, Features(features) if named else None)
    shipped(hub, "masakhaner2", {"yor/test/0000.parquet": file, "zul/test/0000.parquet": b"no"})
    (row,) = load(load_task("masakhaner2"), "test", "yo", None)
    assert row.fields["words"] == ("Ada", "saw", "Lagos", "today")
    assert row.target == ("B-PER", "O", "B-LOC", "O")
    hub_models._answers.cache_clear()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert load(load_task("masakhaner2"), "test", "yo", None) == [row]  # from the cache


def test_a_split_may_be_a_file(hub):
    names = ["InputStoryid", *(f"InputSentence{n}" for n in range(1, 5))]
    names += ["RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2", "AnswerRightEnding"]
    cells = ["s1", "A.", "B.", "C.", "D.", "wrong", "right", "2"]
    text = "\t".join(names) + "\n" + "\t".join(cells) + "\n"
    start = "spring2016.val.eu.tsv.split_20_80_"
    files = {f"{start}eval.tsv": text, f"{start}train.tsv": "no", "xstory_cloze.py": "no"}
    shipped(hub, "xstorycloze", files)
    (row,) = load(load_task("xstorycloze"), "test", "eu", None)
    assert (row.fields["context"], row.fields["choices"]) == ("A. B. C. D.", ("wrong", "right"))
    assert (row.id, row.target) == ("s1", "1")
    assert not hub.asked("GET", "train.tsv")


@pytest.mark.parametrize(("task", "config"), [("mlqa", "MLQA.de.de"), ("mlqa_xlt", "MLQA.de.en")])
def test_mlqa_is_read_from_xtremes_files(hub, task, config):
    columns = {
        "id": ["q1"],
        "context": ["Das Haus ist rot."],  # its loader took a blank from the start
        "question": ["Wie ist das Haus?"],
        "answers": [{"answer_start": [14], "text": ["rot"]}],
    }
    files = {f"{config}/test-00000-of-00001.parquet": parquet(columns)}
    shipped(hub, task, files | {"MLQA.es.es/test-00000-of-00001.parquet": b"no"})
    (row,) = load(load_task(task), "test", "de", None)
    assert [(answer.text, answer.start) for answer in row.target] == [("rot", 13)]
