"""In each family a small backbone, pretrained in the sandbox, transfers to other languages.

A LoRA is trained on the source language's NLI and scored in the others; chance is a third. As a
script it prints a line when an architecture is done with a seed, and goes on where it was stopped:

    python tests/bench/test_architectures_learn.py FOLDER [SEED ...]
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
import torch

from xstilts import Session
from xstilts.sandbox.languages import LANGUAGES, SOURCE

CHANCE, MARGIN = 100 / 3, 8.0
SEEN = [language.code for language in LANGUAGES if language.seen and language.code != SOURCE]
ARCHITECTURES = ("post_norm", "deberta", "modernbert", "decoder")


def measure(architecture: str, seed: int, folder: Path) -> tuple[float, str]:
    """Mean accuracy in the other languages that the backbone saw, and a line that says more."""
    began = time.process_time()
    world = f"sandbox:architecture={architecture},seed={seed}"
    session = Session(world=world, zoo=folder / "zoo", results=folder / "results", quiet=True)
    made = session.train("mnli", method="lora", seed=seed)
    found = session.evaluate(made.reference, "xnli", langs=[SOURCE, *SEEN]).scores
    values = {row.language: row.value for row in found if row.main}
    source, others = values.pop(SOURCE), list(values.values())
    mean = sum(others) / len(others)
    return mean, (
        f"{architecture}, seed {seed}: {source:.1f} in the source language, {mean:.1f} in "
        f"{len(others)} others ({min(others):.1f} to {max(others):.1f}); "
        f"{time.process_time() - began:.0f} CPU seconds"
    )


@pytest.mark.bench
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_zero_shot_nli_is_above_chance(seed, architecture, tmp_path, monkeypatch, capsys):
    for name in ("HOME", "CACHE"):
        monkeypatch.setenv(f"XSTILTS_{name}", str(tmp_path / name))
    mean, line = measure(architecture, seed, tmp_path)
    with capsys.disabled():
        print(f"\n{line}", flush=True)
    assert mean >= CHANCE + MARGIN


if __name__ == "__main__":
    place = Path(sys.argv[1]).absolute()
    os.environ |= {f"XSTILTS_{name}": str(place / name.lower()) for name in ("HOME", "CACHE")}
    torch.set_num_threads(1)
    for number in map(int, sys.argv[2:] or ("1", "2", "3")):
        for name in ARCHITECTURES:
            print(measure(name, number, place)[1], flush=True)
