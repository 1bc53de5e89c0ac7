"""Tables on narrow terminals, hints, and numbers in JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from xstilts.cli.output import print_table
from xstilts.composition.parser import parse
from xstilts.errors import UsageError


@pytest.mark.parametrize("columns", [40, 80])
def test_names_stay_whole_on_a_narrow_terminal(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    names = [f"language-{number:02d}" for number in range(9)]
    row = ("stack(mnli/seq_bn, qqp/lora)", *[12.34] * 9)
    print_table(("expression", *names), [row], "T")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["T"], ["expression", *names], ["stack(mnli/seq_bn,", "qqp/lora)", *["12.3"] * 9],
    ]  # fmt: skip


def test_a_long_text_is_folded_at_blanks(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    print_table(("a", "why"), [("x", "some words " * 12)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 2
    assert set(" ".join(lines[1:]).split()) == {"x", "some", "words"}


def test_a_table_that_goes_to_a_file(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    rows = [("中文 [bold]:smile:", 1, "a\nb"), ("x", 22.55, "")]
    print_table(("name", "%", "why"), rows, "T")
    assert capsys.readouterr().out.splitlines() == [
        " " * 14 + "T",
        "name" + " " * 19 + "%  why",
        "中文 [bold]:smile:" + " " * 5 + "1  a",
        " " * 26 + "b",
        "x" + " " * 19 + "22.6",
    ]  # fmt: skip


def test_a_mistyped_operator_is_told_in_one_sentence():
    with pytest.raises(UsageError) as caught:
        parse("fusee(a, b)")
    assert caught.value.hint.startswith("Did you mean")
    with pytest.raises(UsageError) as caught:
        parse("fuse(a, b")
    assert caught.value.hint == "Legal here: `,` or `)`"


@pytest.mark.long
def test_doctor_says_what_decides_the_last_bits():
    command = [sys.executable, "-m", "xstilts", "--json", "doctor"]
    found = {}
    for kernels in ("", "default"):
        more = {"ATEN_CPU_CAPABILITY": kernels} if kernels else {}
        done = subprocess.run(command, env=os.environ | more, capture_output=True, check=True)
        found[kernels] = {k: v["value"] for k, v in json.loads(done.stdout).items()}
    assert found[""]["cpu"] and int(found[""]["cpu threads"]) >= 1
    assert found["default"]["cpu kernels"].startswith("DEFAULT, oneDNN ")
