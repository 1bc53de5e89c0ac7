"""The package of docs/guides/extending.md, as entry points, through the command line."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from safetensors.torch import load_file
from support.plugins import install
from support.trained import backbone_folder

pytestmark = pytest.mark.long

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "extending.md"
TEXT = GUIDE.read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
BLOCKS = re.findall(r"^```bash\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
DRIVER = """
import contextlib, io, json, sys
from xstilts.cli import main
results = []
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
            code = 0
        except SystemExit as end:
            code = end.code or 0
    results.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the files of the guide, its package installed beside them."""
    folder = tmp_path_factory.mktemp("plugins")
    for name, text in FILES.items():
        path = folder / ("site" if name.startswith("acme_xstilts/") else "") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    install(folder / "site", project["name"], project["entry-points"])
    backbone_folder(folder / "pico")
    return folder


def run(place, *commands, more=()):
    """Run commands in one fresh process: the exit code, output and errors of each."""
    words = [[*shlex.split(line)[1:], "-q", "--json", "--offline"] for line in commands]
    for each in words:
        if each[0] in ("train", "train-adapter", "eval", "compose"):
            each += ["--backbone", str(place / "pico")]
        if each[0] == "train-adapter" or "--target" in each:
            each += ["--set", "train.max_steps=2"]
    folders = {f"XSTILTS_{name}": str(place / name.lower()) for name in ("HOME", "CACHE", "ZOO")}
    path = [str(place / "site"), *more, os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(words),
        env={
            **os.environ,
            **folders,
            "XSTILTS_DATA": str(place),
            "XSTILTS_RESULTS": str(place / "results"),
            "PYTHONPATH": os.pathsep.join(map(str, path)),
        },
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def outcomes(place):
    """Command to its JSON, of all commands of the guide."""
    commands = list(dict.fromkeys(line for block in BLOCKS for line in block.splitlines()))
    found = {}
    for line, (code, out, err) in zip(commands, run(place, *commands), strict=True):
        assert code == 0, f"{line}\n{err}"
        found[line] = json.loads(out)
    return found


def manifest(place, name):
    (path,) = (place / "zoo").glob(f"{name}/**/manifest.json")
    return path.parent, json.loads(path.read_text(encoding="utf-8"))


def test_the_doctor_lists_them_with_their_package(outcomes):
    listed = outcomes["xstilts doctor --plugins"]
    theirs = [(i["kind"], i["name"]) for i in listed if i["package"] == "acme-xstilts"]
    assert set(theirs) == {
        ("method", "shift"),
        ("operator", "merge_magnitude"),
        ("metric", "macro_f1"),
        ("format", "ordinal"),
        ("reader", "record_jar"),
    }
    assert all(not i["problems"] for i in listed)
    assert ("operator", "fuse", "xstilts") in [(i["kind"], i["name"], i["package"]) for i in listed]


def test_a_method_is_trained_kept_and_evaluated(place, outcomes):
    folder, kept = manifest(place, "reviews")
    assert (kept["kind"], kept["method"], kept["preset"]) == ("shift", "shift", "shift")
    assert kept["options"] == {"sites": ["ffn"]}
    tensors = load_file(folder / "shift.safetensors")
    assert len(tensors) == 3
    assert all(tensor.abs().sum() > 0 for tensor in tensors.values())  # two steps moved them
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "A learned shift trained on reviews in en" in card
    assert "xstilts xtreme reviews/shift" in card and "library_name: xstilts" in card
    scores = outcomes["xstilts eval reviews/shift --task reviews.yaml --langs de"]["scores"]
    assert [row["n"] for row in scores if row["main"]] == [2]
    twice = manifest(place, "shifted-twice")[1]
    assert twice["options"] == {"sites": ["attention", "ffn"]}
    assert twice["training"]["settings"]["lr"] == 0.01


def test_an_operator_has_its_default_and_merges(place, outcomes):
    folders = {name: manifest(place, name) for name in ("one", "two", "magnitude", "everything")}
    assert folders["magnitude"][1]["kind"] == "merge"
    assert folders["magnitude"][1]["training"]["expression"] == "merge_magnitude(one, two)"
    states = {name: updates(folder) for name, (folder, _) in folders.items()}
    for key, one in states["one"].items():
        whole = one + states["two"][key]
        assert (states["everything"][key] - whole).abs().max() < 1e-5
        kept = sum(largest(states[name][key], 0.3) for name in ("one", "two"))
        assert (states["magnitude"][key] - kept).abs().max() < 1e-5
        assert (kept - whole).abs().max() > 1e-5


def updates(folder):
    """Each projection's update; the adapters' alpha over rank is 2 in the preset, 1 in a merge."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "adapter_model.safetensors")
    stems = {key.rsplit(".lora_", 1)[0] for key in tensors}
    scaling = config["lora_alpha"] / config["r"]
    return {
        stem: tensors[f"{stem}.lora_B.weight"] @ tensors[f"{stem}.lora_A.weight"] * scaling
        for stem in stems
    }


def largest(update, share):
    least = update.abs().flatten().sort(descending=True).values[int(share * update.numel()) - 1]
    return update * (update.abs() >= least)


def test_both_are_combined_with_what_comes_along(place, outcomes):
    folder, kept = manifest(place, "fused")
    assert kept["kind"] == "composition" and len(kept["parents"]) == 2
    assert (folder / "learned.safetensors").is_file()
    assert manifest(place, "averaged")[1]["method"] == "shift"
    assert outcomes["xstilts zoo verify"] == {"broken": []}


def test_what_cannot_be_is_refused(place, outcomes):
    found = run(
        place,
        'xstilts compose "merge_magnitude(reviews/shift, one)" --save x',
        'xstilts compose "merge_magnitude(reviews/shift, reviews/shift)" --save x',
        'xstilts compose "merge_magnitude(one, two, densty=0.5)" --save x',
        "xstilts train-adapter reviews.yaml --method shift --set options.site=ffn --name x",
    )
    assert [code for code, _, _ in found] == [2, 2, 2, 2]
    words = ("of method lora", "takes LoRA", "Did you mean 'density'", "Did you mean 'sites'")
    for (_, _, err), word in zip(found, words, strict=True):
        assert word in err


def macro_f1(predicted, gold, labels):
    """From its definition, label by label, in percent."""
    total = 0.0
    for label in labels:
        right = sum(p == g == label for p, g in zip(predicted, gold, strict=True))
        precision = right / max(predicted.count(label), 1)
        recall = right / max(gold.count(label), 1)
        total += 2 * precision * recall / (precision + recall) if right else 0.0
    return 100 * total / len(labels)


def scored(place, outcome):
    """The main score of a command `eval`, and its predictions."""
    (score,) = [row for row in outcome["scores"] if row["main"]]
    assert score["metric"] == "macro_f1"
    (cell,) = (place / "results").glob(f"cells/*/{score['cell']}")
    predicted = (cell / "predictions.tsv").read_text(encoding="utf-8").split()
    assert score["n"] == len(predicted)
    return score["value"], predicted


def test_a_task_of_their_format_metric_and_reader_is_trained_and_scored(place, outcomes):
    assert outcomes["xstilts data check stars.yaml"] == {"findings": [], "tasks": 1}
    kept = manifest(place, "stars")[1]
    assert (kept["format"], kept["labels"]) == ("ordinal", ["poor", "fair", "good"])
    evaluated = outcomes["xstilts eval stars --task stars.yaml --langs de"]
    value, predicted = scored(place, evaluated)
    gold = ["good", "poor", "fair"]
    assert value == pytest.approx(macro_f1(predicted, gold, kept["labels"]))
    said = outcomes['xstilts predict stars --text "Nobody is there"']
    poor, fair, _ = said["scores"].values()
    assert max(poor, 1 - poor - fair) < 0.5 and said["prediction"] == "fair"  # the median


OWN = {
    "nobody is": "poor",
    "somebody moves": "fair",
    "the old man": "good",
}
"""What begins a text, and its stars."""


def test_predictions_of_several_labels_have_the_macro_f1_of_their_file(place, outcomes):
    """Also what breaks the reader's layout, and what the format does not export to."""
    rows = [(f"{a} {b}", c) for a, c in OWN.items() for b in ("there", "runs", "home", "quickly")]
    jar = "".join(f"review: {text}\nstars: {stars}\n%%\n" for text, stars in rows)
    (place / "stars" / "own-en.txt").write_text(jar, encoding="utf-8")
    (place / "stars" / "torn-en.txt").write_text(jar.replace("%%", "%", 1), encoding="utf-8")
    for name in ("own", "torn"):
        text = FILES["stars.yaml"].replace("train_task: stars", f"train_task: {name}")
        text = re.sub(r"stars/\w+-", f"stars/{name}-", text.replace("[en, de]", "[en]"))
        (place / f"{name}.yaml").write_text(text, encoding="utf-8")
    found = run(
        place,
        "xstilts train own.yaml --set train.max_steps=60 --set train.lr=3e-3",
        "xstilts eval own --task own.yaml --langs en",
        "xstilts export hf own --to exported",
        "xstilts data check torn.yaml",
        "xstilts train-adapter torn.yaml",
    )
    assert [code for code, _, _ in found] == [0, 0, 2, 3, 1]
    value, predicted = scored(place, json.loads(found[1][1]))
    gold = [stars for _, stars in rows]
    assert len(set(predicted)) > 1
    assert value == pytest.approx(macro_f1(predicted, gold, ["poor", "fair", "good"]))
    assert "no class for heads of format ordinal" in found[2][2]
    findings = json.loads(found[3][1])["findings"]
    assert {(f["kind"], f["split"], f["message"]) for f in findings} == {
        ("broken", split, "the line is no `name: value`") for split in ("train", "test")
    }
    assert all(f["where"].endswith("torn-en.txt:3") for f in findings)
    assert "torn-en.txt:3" in found[4][2]


BROKEN = {
    "restless": 'KIND = "r"\n'
    + FILES["acme_xstilts/shift.py"]
    .replace('"shift", options', '"restless", options')
    .replace("torch.zeros", "torch.ones"),
    "forgetful": FILES["acme_xstilts/shift.py"].replace("def load(", "def read("),
    "absent": "import nothing_of_this_name",
    "keepsake": FILES["acme_xstilts/merge_magnitude.py"]
    + "\nORDERED = LEARNS = True\ncombine = None\n",
}


def test_the_doctor_says_what_breaks_a_contract(place, tmp_path):
    for name, text in BROKEN.items():
        (tmp_path / f"bad_{name}.py").write_text(text)
    methods = {name: f"bad_{name}" for name in ("restless", "forgetful", "absent")}
    groups = {"xstilts.methods": methods, "xstilts.operators": {"keepsake": "bad_keepsake"}}
    install(tmp_path, "bad-plugins", groups)
    install(tmp_path, "twin", {"xstilts.metrics": {"accuracy": "bad_absent"}})
    ((code, out, err),) = run(place, "xstilts doctor --plugins", more=[tmp_path])
    assert code == 3 and "5 of" in err
    found = {i["name"]: " ".join(i["problems"]) for i in json.loads(out) if i["problems"]}
    assert found["restless"] == "a new module changes the encoder's output"
    assert "it has no load(folder, shape)" in found["forgetful"]
    assert "cannot be imported: ModuleNotFoundError" in found["absent"]
    assert "its combine is no function" in found["keepsake"]
    assert "packages 'xstilts' and 'twin'" in found[""]
