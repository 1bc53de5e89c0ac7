"""Every command of the application, with words that work in a place of one's own, and its needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from support.in_process import work_here
from support.own_task import write_own_task
from support.trained import TEXTS, add_module, backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.cli import main
from xstilts.cli.app import command_tree
from xstilts.config.load import load_task
from xstilts.zoo import Zoo

BITEXT = """
title: Own sentences
format: retrieval
languages: [de]
metric: tatoeba
eval_split: test
sources:
  - reader: bitext
    files:
      test.source: "pairs/{language}.txt"
      test.target: "pairs/{language}.en.txt"
"""
RECIPE = """
title: Own
intermediates: ["{place}/tasks/own.yaml"]
targets: ["{place}/tasks/own.yaml"]
intermediate: {{method: seq_bn, train: {{max_steps: 2, batch_size: 2}}}}
target: {{method: head, train: {{max_steps: 2, batch_size: 2}}}}
"""


SHORT_LISTS = (
    *("recipes", "methods", "suites", "studies", "operators", "formats", "metrics"),
    *("readers", "hubs", "engines"),
)


@dataclass(frozen=True)
class Case:
    """Words that make a command work in the place of `build_place`, and what it needs for that.

    Attributes:
        words: Follow the command; `{place}` and `{out}`, a folder to write to, are filled in.
        loads: A backbone: `any`, the one that is named, or `own`, that of the module it names.
        names: A module of the library.
        writes: Where: `zoo` and what else there is.
        code: What it exits with in the place as it is.
        wide: Its table has more whole names than 80 columns hold.
    """

    words: tuple[str, ...] = ()
    loads: str = ""
    names: bool = False
    writes: tuple[str, ...] = ()
    code: int = 0
    wide: bool = False


FAST = ("--set", "train.max_steps=2", "--set", "train.batch_size=2")
OWN = "{place}/tasks/own.yaml"
PAIRS = "{place}/tasks/pairs.yaml"
STUDY_PATH = "{place}/studies/tiny.yaml"
MEAN = "average(own/lora*0.5, own/lora*0.5)"
SEARCH = ("--target", OWN, "--budget", "3", "--save", "best")
TRAIN = Case((OWN, "--name", "new", *FAST), loads="any", writes=("zoo", "home"))
LISTED, WIDE = Case(), Case(wide=True)
CASES: dict[str, Case] = {
    "train-adapter": TRAIN,
    "train": TRAIN,
    "compose": Case((MEAN, "--save", "mean"), "own", names=True, writes=("zoo",)),
    "search": Case(
        (MEAN, *SEARCH), "own", names=True, writes=("zoo",), code=0 if find_spec("cma") else 2
    ),
    "run": Case(("{place}/recipes/tiny.yaml",), "any", writes=("zoo", "home"), wide=True),
    "eval": Case(("own/lora", "--task", OWN, "--force"), "own", names=True, writes=("results",)),
    "xtreme": Case(
        ("own/lora", "--tasks", OWN, "--force", "--submit-dir", "{out}/sent"),
        "own",
        names=True,
        writes=("results", "out"),
    ),
    "align": Case(("none", "--task", PAIRS), "any", writes=("results",), wide=True),
    "export": Case(
        ("merged", "own/lora", "--to", "{out}/merged"), "own", names=True, writes=("out",)
    ),
    "rank": Case((OWN, "--shots", "4", "--methods", "text"), "any", writes=("cache",)),
    "predict": Case(("own/lora", "--text", "a man runs"), "own", names=True),
    "score": Case(
        ("{place}/sent", "{place}/labels", "--output", "{out}/scores.json"), writes=("out",)
    ),
    "report": Case(("--html", "{out}/page.html", "--draws", "0"), writes=("out",)),
    "languages": Case(("--task", OWN), wide=True),
    "bench": Case(("--only", "nothing"), code=4),
    "doctor": LISTED,
    "demo": Case(loads="world", writes=("cache",)),
    "recipes ls": LISTED,
    "recipes cat": Case(("quick",), wide=True),
    "recipes cp": Case(("quick", "{out}/mine.yaml"), writes=("out",)),
    "grid plan": Case((STUDY_PATH, "--seeds", "2"), "any", wide=True),
    "grid run": Case((STUDY_PATH, "--seeds", "2"), "any", writes=("zoo", "results"), wide=True),
    "grid worker": Case(("tiny",)),
    "grid status": Case(("tiny",)),
    "grid answer": Case(("tiny", "--to", "{out}/answer", "--draws", "100"), writes=("out",)),
    "grid retry": Case(("tiny",)),
    "grid cancel": Case(("tiny",), writes=("results",)),
    "grid logs": Case(("tiny",)),
    "zoo show": Case(("own/lora",), names=True, wide=True),
    "zoo diff": Case(("own/lora", "own/full"), names=True, wide=True),
    "zoo tag": Case(("own/lora", "best"), names=True, writes=("zoo",)),
    "zoo gc": Case(writes=("zoo",)),
    "zoo shrink": Case(("own/full",), "own", names=True, writes=("zoo",)),
    "zoo rm": Case(("own/full", "--yes"), names=True, writes=("zoo",)),
    "zoo verify": LISTED,
    "zoo ls": WIDE,
    "zoo page": Case(("--to", "{out}/page"), writes=("out",)),
    "zoo search": Case(("own",), wide=True),
    "zoo import": Case(("{place}/peft", "--name", "theirs"), "any", writes=("zoo",)),
    "zoo export": Case(
        ("peft", "own/lora", "--to", "{out}/peft"), "own", names=True, writes=("out",)
    ),
    "zoo add": Case(("{place}/module",), writes=("zoo",)),
    "zoo pull": Case(("hf:org/name",), writes=("zoo",), code=6),
    "zoo push": Case(("own/lora", "folder:{out}/shared"), names=True, writes=("out",)),
    "zoo bundle": Case(("{out}/stick", "own/lora"), names=True, writes=("out",)),
    "data translate": Case((OWN, "--langs", "sw", "--model", "{place}/nothing"), code=4),
    "data ls": Case((OWN,)),
    "data prepare": Case((OWN,)),
    "data check": Case((OWN,)),
    "data show": Case((OWN,)),
    "data bundle": Case((OWN, "--out", "{out}/data.tar"), writes=("out",)),
    "tasks ls": WIDE,
    "tasks show": Case((OWN,)),
    "config show": Case((OWN,)),
    "config schema": WIDE,
    "ls languages": WIDE,
    "ls tasks": WIDE,
    "ls backbones": WIDE,
    **{f"ls {name}": LISTED for name in SHORT_LISTS},
}


def commands() -> list[str]:
    """Every command that the application has, such as `zoo push`."""

    def below(command: object, path: tuple[str, ...]) -> Iterator[str]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield " ".join(path)
        for name, part in (inner or {}).items():
            yield from below(part, (*path, name))

    return list(below(typer.main.get_command(command_tree()), ()))


def build_place(place: Path) -> None:
    """A folder with tasks, rows, a backbone, modules, a finished study and a submission."""
    write_own_task(place)
    for name in ("recipes", "data/pairs", "out", "home", "cache"):
        (place / name).mkdir(parents=True)
    (place / "tasks" / "pairs.yaml").write_text(BITEXT)
    (place / "data" / "pairs" / "de.txt").write_text("\n".join(TEXTS) + "\n")
    (place / "data" / "pairs" / "de.en.txt").write_text("\n".join(TEXTS) + "\n")
    (place / "raw").mkdir()
    for code in ("deu", "eng"):
        (place / "raw" / f"tatoeba.deu-eng.{code}").write_text("\n".join(TEXTS) + "\n")
    for folder in ("sent", "labels"):
        (place / folder / "xnli").mkdir(parents=True)
        for code in load_task("xnli").languages:
            (place / folder / "xnli" / f"test-{code}.tsv").write_text("neutral\nentailment\n")
    backbone = Backbone.load(str(backbone_folder(place / "pico")))
    task = str(place / "tasks" / "own.yaml")
    for preset in ("lora", "full"):
        made = add_module(Zoo(place / "zoo"), backbone, task, preset)
        if preset == "lora":
            shutil.copytree(made.folder, place / "module")
    with pytest.MonkeyPatch.context() as patch:
        settle(patch, place)
        work_here(patch)
        for words in (
            ("eval", "own/lora", "--task", task),
            ("grid", "run", str(place / "studies" / "tiny.yaml")),
            ("export", "peft", "own/lora", "--to", str(place / "peft")),
        ):
            with pytest.raises(SystemExit) as caught:
                main(["-q", "--json", *words])
            assert not caught.value.code, words
    (place / "recipes" / "tiny.yaml").write_text(RECIPE.format(place=place))
    config = place / "peft" / "adapter_config.json"  # the place is copied, and its backbone with it
    config.write_text(config.read_text().replace(f'"{(place / "pico").resolve()}"', '"pico"'))


def settle(patch: pytest.MonkeyPatch, place: Path) -> None:
    """Let a place be what the environment names."""
    for name in ("zoo", "results", "home", "cache", "data"):
        patch.setenv(f"XSTILTS_{name.upper()}", str(place / name))
    patch.setenv("XSTILTS_BACKBONE", str(place / "pico"))
    patch.delenv("XSTILTS_INCLUDE", raising=False)
    patch.chdir(place)
