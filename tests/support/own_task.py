"""A task of one's own with its rows, and a study of it beside them."""

from __future__ import annotations

import json
from pathlib import Path

from support.trained import TEXTS, backbone_folder

from xstilts.session import Session

TASK = """
title: Own
format: classification
languages: [en, de]
labels: [a, b]
metric: accuracy
train_task: own
eval_split: test
max_length: 16
sources:
  - reader: jsonl
    columns: {text: text, target: label}
    files:
      train: "own/train-{language}.jsonl"
      validation: "own/validation-{language}.jsonl"
      test: "own/test-{language}.jsonl"
"""
STUDY = """
question: Does it run?
intermediates: [none, ../tasks/own.yaml]
targets: [../tasks/own.yaml]
seeds: [1]
intermediate: {method: seq_bn, train: {max_steps: 2, batch_size: 2}}
target: {method: head, train: {max_steps: 2, batch_size: 2}}
answer:
  theirs: [none]
  tasks: [../tasks/own.yaml]
  higher: more
  lower: less
  nothing: the same
"""


def write_own_task(place: Path) -> None:
    """tasks/own.yaml, data/own/*.jsonl and studies/tiny.yaml below `place`."""
    for name in ("tasks", "studies", "data/own"):
        (place / name).mkdir(parents=True)
    (place / "tasks" / "own.yaml").write_text(TASK)
    (place / "studies" / "tiny.yaml").write_text(STUDY)
    for number, name in enumerate(("train-en", "validation-en", "test-en", "test-de")):
        lines = [
            json.dumps({"text": f"{TEXTS[n % 5]} {number} {n}", "label": "ab"[n % 2]})
            for n in range(12)
        ]
        (place / "data" / "own" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def own_session(place: Path) -> Session:
    """A session of a tiny backbone with the task's rows, all of it below a folder."""
    write_own_task(place)
    how = {name: place / name for name in ("data", "zoo", "cache", "results")}
    return Session(backbone=str(backbone_folder(place / "pico")), **how, quiet=True)
