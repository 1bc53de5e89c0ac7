"""`xstilts data` and `xstilts tasks show`."""

from __future__ import annotations

import hashlib
import json
import tarfile

import pytest

from xstilts.cli import main

FILES = {
    "xnli/dev-de.tsv": "a\tb\tneutral\nc\td\tentailment\n",
    "xnli/test-de.tsv": "e\tf\tneutral\n",
    "tatoeba/tatoeba.deu-eng.deu": "ja\n",
    "tatoeba/tatoeba.deu-eng.eng": "yes\n",
}


@pytest.fixture
def data(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "data"


@pytest.fixture
def run(data, capsys):
    def call(*arguments, code=0, root=data):
        with pytest.raises(SystemExit) as caught:
            main(["-q", "--json", "--offline", "--data", str(root), *arguments])
        output = capsys.readouterr()
        assert (caught.value.code or 0) == code, output.err
        return json.loads(output.out or output.err), output.err

    return call


def test_ls(run, data):
    found, _ = run("data", "ls", "xnli", "tatoeba", "--count", "--checksums")
    assert [(f["task"], f["split"], f["language"], f["rows"]) for f in found] == [
        ("xnli", "validation", "de", 2),
        ("xnli", "test", "de", 1),
        ("tatoeba", "test", "de", 1),
    ]
    assert found[0]["license"] == "CC BY-NC 4.0"
    assert found[0]["num_bytes"] == len(FILES["xnli/dev-de.tsv"])
    digest = hashlib.sha256(FILES["xnli/test-de.tsv"].encode()).hexdigest()
    assert found[1]["sha256"] == {"xnli/test-de.tsv": digest}
    assert len(found[2]["files"]) == 2


def test_ls_for_people(data, capsys):
    with pytest.raises(SystemExit):
        main(["-q", "--data", str(data), "data", "ls", "xnli"])
    text = capsys.readouterr().out
    assert "validation" in text
    assert "CC BY-NC" in text


def test_a_task_says_what_is_there_and_where_the_rest_is_looked_for(data, capsys):
    with pytest.raises(SystemExit):
        main(["--data", str(data), "tasks", "show", "xnli"])
    out, err = capsys.readouterr()
    assert "files:" in out and "[]" not in out and "{}" not in out
    lines = err.splitlines()
    assert {f"data folder: {data}", "validation: there in de", "test: there in de"} <= set(lines)
    (train,) = (line for line in lines if line.startswith("train: not there; looked for "))
    assert train.endswith("XNLI-MT-1.0/multinli/multinli.train.ar.tsv")


@pytest.mark.parametrize("command", ["data ls xnli", "tasks show xnli"])
def test_several_data_folders_are_named_as_they_were_given(data, tmp_path, capsys, command):
    other = tmp_path / "other"
    (other / "xnli").mkdir(parents=True)
    (other / "xnli" / "dev-fr.tsv").write_text("a\tb\tneutral\n")
    both = ("--data", str(data), "--data", str(other))
    with pytest.raises(SystemExit):
        main([*both, *command.split()])
    out, err = capsys.readouterr()
    assert f"data folder: {data} and {other}" in err.splitlines()
    assert "de fr" in out + err
    with pytest.raises(SystemExit):
        main([*both, "data", "ls", "panx"])
    said = " ".join(capsys.readouterr().err.split())  # long paths break lines
    assert f" {data}: looked for {data}/panx/test-ar.tsv {data}" in said


def test_check_ends_with_three_when_it_finds_something(run):
    found, error = run("data", "check", "xnli", code=3)
    assert {f["kind"] for f in found["findings"]} == {"count"}
    assert "2 findings in xnli" in error
    assert [f["task"] for f in found["findings"]] == ["xnli", "xnli"]


def test_check_of_data_without_findings(run, data):
    (data / "mlm").mkdir()
    (data / "mlm/train-de.txt").write_text("Ein Satz\nNoch einer\n", encoding="utf-8")
    found, _ = run("data", "check", "mlm")
    assert found == {"tasks": 1, "findings": []}


@pytest.mark.long
def test_check_of_what_is_not_there_is_no_success(run, tmp_path):
    _, error = run("data", "check", "xnli", "nusax_senti", code=4)
    assert "no data of nusax_senti to check" in error
    (tmp_path / "empty").mkdir()
    _, error = run("data", "check", code=4, root=tmp_path / "empty")
    assert "no data of any task" in error
    found, _ = run("data", "check", code=3)
    assert found["tasks"] == 4  # two of them are cut from the other two


def test_ls_goes_on_after_a_broken_file_and_ends_with_three(run, data):
    (data / "xnli/dev-de.tsv").write_text("a\tb\tmaybe\n", encoding="utf-8")
    found, error = run("data", "ls", "xnli", "tatoeba", "--count", code=3)
    assert [(f["task"], f["split"], f["rows"]) for f in found] == [
        ("xnli", "validation", None), ("xnli", "test", 1), ("tatoeba", "test", 1),
    ]  # fmt: skip
    assert "label 'maybe' is none of" in found[0]["broken"]
    assert f"{data}/xnli/dev-de.tsv:1" in found[0]["broken"]
    assert "1 of 3 cannot be read, in xnli" in error


def test_long_ls_names_every_file(data, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["-q", "--data", str(data), "data", "ls", "tatoeba", "--long"])
    text = capsys.readouterr().out
    assert "tatoeba/tatoeba.deu-eng.deu, tatoeba/tatoeba.deu-eng.eng" in text


@pytest.mark.long
def test_nothing_there_says_where_it_looked(run, tmp_path, data, monkeypatch):
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    error, _ = run("data", "ls", root=wrong, code=4)
    assert error["what"] == "no data of any task to list"
    assert error["where"].startswith(f"{wrong}: looked for")
    error, _ = run("data", "ls", "xnli", root=wrong, code=4)
    assert str(wrong / "xnli/test-ar.tsv") in error["where"]
    monkeypatch.delenv("XSTILTS_DATA", raising=False)
    monkeypatch.chdir(wrong)
    with pytest.raises(SystemExit) as caught:
        main(["-q", "data", "ls"])
    assert caught.value.code == 2


def test_a_task_without_data_hides_no_findings_of_another(run):
    found, error = run("data", "check", "nusax_senti", "xnli", code=4)
    assert {f["task"] for f in found["findings"]} == {"xnli"}
    assert "no data of nusax_senti to check" in error
    assert "looked for" in error


@pytest.mark.long
def test_preparing_nothing_is_no_success(run, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    error, _ = run("data", "prepare", "ccg", root=wrong, code=4)
    assert str(wrong / "ccg") in error["where"]
    error, _ = run("data", "prepare", "xquad", root=wrong, code=6)
    assert "only on a hub" in error["what"]
    error, _ = run("data", "prepare", "tatoeba", root=wrong, code=6)
    assert "only on a hub" in error["what"]


@pytest.mark.long
def test_preparing_a_bitext_asks_for_no_pivot_and_fetches_nothing_after_a_conversion(
    run, tmp_path, data, monkeypatch, capsys
):
    asked = []
    monkeypatch.setattr("xstilts.data.readers.hub.fetch", lambda *more: asked.append(more))
    monkeypatch.setattr("xstilts.data.hub_fetch.fetch", lambda *more: asked.append(more))
    new = tmp_path / "new"
    with pytest.raises(SystemExit) as caught:
        raw = str(data / "tatoeba")
        main(["-q", "--data", str(new), "data", "prepare", "tatoeba", "--raw", raw])
    assert not caught.value.code, capsys.readouterr().err
    assert asked == []
    capsys.readouterr()
    found, _ = run("data", "prepare", "tatoeba", root=new)
    assert [(f["language"], f["rows"]) for f in found["ready"]] == [("de", 1)]
    error, _ = run("data", "prepare", "tatoeba", "--raw", raw, root=new, code=2)
    assert "leave out --raw" in error["hint"]
    error, _ = run("data", "show", "tatoeba", "--lang", "en", code=4)
    assert "no language of task tatoeba named 'en'" in error["what"]


OWN = """format: classification
languages: {languages}
labels: [a, b]
metric: accuracy
train_task: own
select_split: ""
sources:
  - {{reader: csv, files: {{train: "own/train-{{language}}.csv"}}, columns: {{text: t, target: l}}}}
"""


@pytest.mark.long
def test_a_task_in_one_language_is_trained_in_it(run, data, tmp_path):
    rows = "".join(f"Satz {n},{'ab'[n % 2]}\n" for n in range(30))
    (data / "own").mkdir()
    (data / "own/train-de.csv").write_text(f"t,l\n{rows}", encoding="utf-8")
    path = tmp_path / "own.yaml"
    path.write_text(OWN.format(languages="[de]"), encoding="utf-8")
    found, _ = run("tasks", "show", str(path))
    assert found["source_language"] == "de"
    assert run("data", "check", str(path))[0] == {"tasks": 1, "findings": []}
    path.write_text(OWN.format(languages="[de, fr]"), encoding="utf-8")
    for command in (("tasks", "show"), ("data", "check")):
        error, _ = run(*command, str(path), code=2)
        assert "source_language: name the language that is trained on" in error["what"]
    stated = OWN.format(languages="[de, en]")
    path.write_text(stated, encoding="utf-8")
    found, _ = run("data", "check", str(path), code=3)
    assert "training rows are there in de, none in 'en'" in found["findings"][0]["message"]


@pytest.mark.long
def test_retrieval_and_targets_of_another_task_keep_english(run):
    for task in ("tatoeba", "americasnli", "indonli", "xcopa"):
        assert run("tasks", "show", task)[0]["source_language"] == "en"


def test_another_code_of_a_language_is_understood_in_the_hint(run):
    error, _ = run("data", "show", "xnli", "--lang", "deu", code=4)
    assert error["hint"] == "German is called 'de' here."
    error, _ = run("data", "show", "xnli", "--lang", "Swahili", code=4)
    assert error["hint"] == "Swahili is called 'sw' here."
    error, _ = run("data", "show", "xnli", "--lang", "fin", code=4)
    assert error["hint"].startswith("It has no Finnish. Known: ar, bg, de")


def test_show(run):
    found, _ = run("data", "show", "xnli", "--limit", "1")
    assert found["examples"] == [
        {
            "id": "1",
            "place": "test-de.tsv:1",
            "fields": {"text": "e", "text_pair": "f"},
            "target": "neutral",
        }
    ]
    assert "google/xtreme" in found["refused"]


def test_prepare_converts_into_a_new_folder(run, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "de-test").write_text("de:Ada\tB-PER\n\nde:geht\tO\n", encoding="utf-8")
    new = tmp_path / "new"
    found, _ = run("data", "prepare", "panx", "--raw", str(raw), root=new)
    assert found["converted"][0]["rows"] == {"test-de.tsv": 2}
    assert [(f["language"], f["rows"]) for f in found["ready"]] == [("de", 2)]
    error, _ = run("data", "prepare", "panx", "--raw", str(raw), root=new, code=2)
    assert "already holds files" in error["what"]


@pytest.mark.long
def test_bundle_unpacks_to_the_same_data(run, data, tmp_path):
    out = tmp_path / "x.tar"
    found, _ = run("data", "bundle", "xnli", "tatoeba", "--out", str(out))
    assert found["files"] == 4
    assert set(found["licenses"]) == {"xnli", "tatoeba"}
    first = out.read_bytes()
    with tarfile.open(out) as tar:
        tar.extractall(tmp_path / "there", filter="data")
    for name, text in FILES.items():
        assert (tmp_path / "there" / name).read_text(encoding="utf-8") == text
    contents = json.loads((tmp_path / "there" / "CONTENTS.json").read_text(encoding="utf-8"))
    assert contents["files"]["xnli/dev-de.tsv"]["tasks"] == ["xnli"]
    run("data", "bundle", "xnli", "tatoeba", "--out", str(out))
    assert out.read_bytes() == first
    assert "no data files" in run("data", "bundle", "ccg", "--out", str(out), code=4)[0]["what"]
    assert out.read_bytes() == first


def test_tasks_show_names_every_option(run):
    found, _ = run("tasks", "show", "tydiqa")
    assert found["options"]["doc_stride"] == 128
    assert found["options"]["decode"] == "offsets"
    assert len(found["languages"]) == 9
    assert any(source["refused"] for source in found["sources"])
    retrieval, _ = run("tasks", "show", "bucc2018")
    assert retrieval["options"]["margin"] == "ratio"
