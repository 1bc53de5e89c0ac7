"""Four STILTs experiments on the real files below DATA with a small pretrained backbone.

    python tests/integration/real_runs.py DATA FOLDER --backbone BACKBONE [--seeds 1,2,3] [--only a]

BACKBONE is the `model` folder of `pretrained_backbone.py`. FOLDER gets the recipes, the task files
and `home` with modules and scores; the same command goes on after a kill. Prints, for each target
and language, the mean score without and with the intermediate tasks, and their difference by seed.

a  Social IQa, Cosmos QA and CODAH together, then COPA, evaluated on XCOPA
b  counterfactual SNLI, then TyDiQA in English, evaluated on TyDiQA and XQuAD
c  as b, with masked language modelling of 20 languages in a tenth of the steps
d  XNLI in German, then PAWS-X in English

The files are those at hand: Social IQa, Cosmos QA, XNLI and PAWS-X are dev files (of PAWS-X one
half trains, the other is evaluated), and caps keep it to an hour or two on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import yaml

from xstilts.config.load import config_folder

CHOICES = """
title: {name}, its dev file to train on
format: multiple_choice
family: plausible_choice
languages: [en]
metric: accuracy
train_task: {name}_dev
select_split: ""
eval_split: train
sources:
  - parts: [{name}/validation]
"""
XNLI_DEV = """
title: XNLI, its dev file to train on
format: classification
family: nli
languages: [de]
source_language: de
labels: [entailment, neutral, contradiction]
metric: accuracy
train_task: xnli_dev
select_split: ""
eval_split: train
sources:
  - parts: [xnli/validation]
"""
# The rows are translations of each other, so train and test differ by row, not only by language.
PAWSX_HALF = """
title: PAWS-X, half of dev to train on, half to test
format: classification
languages: [en, de, fr, ja, zh]
labels: ["0", "1"]
metric: accuracy
train_task: pawsx_half
select_split: ""
sources:
  - reader: tsv
    files: {train: "pawsx/dev-{language}.tsv", test: "pawsx/dev-{language}.tsv"}
    columns: {text: 0, text_pair: 1, target: 2}
    options: {quoting: undo, blank: keep, rows: {train: "1-1000", test: "1001-2000"}}
"""
NTREX = "arb deu ell spa est eus fin fra heb hin hun ind ita jpn kor nld por rus swa tur"
TRAIN = {"lr": 1e-4, "warmup": 0.1, "max_length": 256}


def recipes(data: Path) -> dict[str, dict[str, object]]:
    """Letter to recipe."""
    texts = sorted(p for code in NTREX.split() for p in (data / "ntrex").glob(f"*ref.{code}.txt"))
    text = [f"{path.stem.split('.')[-1]}={path}" for path in texts]
    snli = {"tasks": "cad_nli", "settings": {"train": {"limit": 3000, "epochs": 2}}}
    questions = {
        "targets": ["tydiqa", "xquad_tydiqa.yaml"],
        "target": {"method": "full", "train": {**TRAIN, "limit": 500, "epochs": 4}},
    }
    with_text = {**snli["settings"], "mlm": {"share": 0.1, "text": text}}
    return {
        "a": {
            "intermediates": [
                "none",
                {
                    "name": "choices",
                    "tasks": "socialiqa_dev.yaml,cosmosqa_dev.yaml,codah_dev.yaml",
                    "settings": {"train": {"limit": 200, "epochs": 2}},
                },
            ],
            "targets": ["xcopa"],
            "target": {"method": "full", "train": {**TRAIN, "epochs": 5}},
        },
        "b": {"intermediates": ["none", {"name": "snli", **snli}], **questions},
        "c": {
            "intermediates": [{"name": "snli-mlm", "tasks": "cad_nli", "settings": with_text}],
            **questions,
        },
        "d": {
            "intermediates": [
                "none",
                {"name": "xnli-de", "tasks": "xnli_dev.yaml",
                 "settings": {"train": {"epochs": 2}, "source": {"languages": ["de"]}}},
            ],
            "targets": ["pawsx_half.yaml"],
            "target": {"method": "full", "train": TRAIN},
        },
    }  # fmt: skip


def write_tasks(folder: Path) -> None:
    """The task files that the recipes name."""
    for name in ("socialiqa", "cosmosqa"):
        (folder / f"{name}_dev.yaml").write_text(CHOICES.format(name=name), encoding="utf-8")
    codah = CHOICES.format(name="codah").replace("/validation", "/train")
    (folder / "codah_dev.yaml").write_text(codah, encoding="utf-8")
    (folder / "xnli_dev.yaml").write_text(XNLI_DEV, encoding="utf-8")
    half = PAWSX_HALF + "train: {epochs: 3, batch_size: 32}\n"
    (folder / "pawsx_half.yaml").write_text(half, encoding="utf-8")
    xquad = yaml.safe_load((config_folder() / "tasks" / "xquad.yaml").read_text(encoding="utf-8"))
    source = xquad["sources"][0]
    source["options"]["rows"] = {"test": "1-300"}
    xquad |= {"train_task": "tydiqa", "sources": [source], "counts": {}}
    xquad["languages"] = ["en", "de", "es", "ru", "tr", "zh"]
    (folder / "xquad_tydiqa.yaml").write_text(yaml.safe_dump(xquad), encoding="utf-8")


def main() -> None:
    """Run the recipes and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--only", default="abcd")
    wanted = parser.parse_args()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    write_tasks(wanted.folder)
    home = wanted.folder.resolve() / "home"
    for letter, recipe in recipes(wanted.data.resolve()).items():
        if letter not in wanted.only:
            continue
        recipe["intermediate"] = {"method": "full", "train": TRAIN}
        (wanted.folder / f"{letter}.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
        command = [
            *(sys.executable, "-m", "xstilts", "--data", str(wanted.data.resolve())),
            *("--zoo", str(home / "zoo"), "--offline", "--json", "run", f"{letter}.yaml"),
            *("--backbone", str(wanted.backbone.resolve()), "--seeds", wanted.seeds),
        ]
        environment = os.environ | {"XSTILTS_HOME": str(home)}
        done = subprocess.run(
            command,
            cwd=wanted.folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        (wanted.folder / f"{letter}.json").write_text(done.stdout, encoding="utf-8")
    show(wanted.folder)


def show(folder: Path) -> None:
    """Print the main scores of all recipes run, by target, language and intermediate."""
    table: dict[tuple[str, str, str], dict[int, float]] = {}
    for path in sorted(folder.glob("?.json")):
        for row in json.loads(path.read_text(encoding="utf-8"))["scores"]:
            if row["main"]:
                place = (row["task"], row["language"], row["intermediate"])
                table.setdefault(place, {})[row["seed"]] = row["value"]
    print("mean over seeds, and the difference from none by seed")
    for (task, language, label), values in sorted(table.items()):
        base = table.get((task, language, "none"), {})
        by_seed = " ".join(f"{values[s] - base[s]:+.1f}" for s in sorted(values) if s in base)
        print(f"{task:14} {language:4} {label:10} {statistics.fmean(values.values()):5.1f}  "
              f"{by_seed if label != 'none' else ''}")  # fmt: skip


if __name__ == "__main__":
    main()
