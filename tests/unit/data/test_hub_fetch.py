"""Hub data sets that are fetched: the files of a split only, read as they stand."""

from __future__ import annotations

import pytest
from integration.hub_server import HubServer, use

from xstilts.config import hub_models
from xstilts.config.progress import Progress
from xstilts.config.specs import TaskSpec
from xstilts.data.sources import load
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
    made = hub.put_repo(repo, {name: text.encode() for name, text in files.items()})
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
