"""In each family a small backbone, pretrained in the sandbox, transfers to other languages.

A LoRA is trained on the source language's NLI and scored in the others; chance is a third.
"""

from __future__ import annotations

import pytest

from xstilts import Session
from xstilts.sandbox.languages import LANGUAGES, SOURCE

CHANCE, MARGIN = 100 / 3, 8.0
SEEN = {language.code for language in LANGUAGES if language.seen} - {SOURCE}


@pytest.mark.bench
@pytest.mark.parametrize("seed", [7, 8, 9])
@pytest.mark.parametrize("architecture", ["post_norm", "deberta", "modernbert", "decoder"])
def test_zero_shot_nli_is_above_chance(architecture, seed, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XSTILTS_HOME", str(tmp_path))
    world = f"sandbox:architecture={architecture},seed={seed}"
    session = Session(world=world, zoo=tmp_path / "zoo", results=tmp_path / "results")
    made = session.train("mnli", method="lora")
    rows = [row for row in session.evaluate(made.reference, "xnli").scores if row.main]
    values = {row.language: row.value for row in rows}
    mean = sum(values[code] for code in SEEN & values.keys()) / len(SEEN & values.keys())
    with capsys.disabled():
        each = ", ".join(f"{code} {value:.1f}" for code, value in sorted(values.items()))
        print(f"\n{architecture}, seed {seed}: {mean:.1f} in seen languages ({each})")
    assert mean >= CHANCE + MARGIN
