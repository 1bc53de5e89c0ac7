"""pyproject.toml names what is imported, and nothing else."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import xstilts

TOP = Path(__file__).parents[2]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CALLED = {"faiss": "faiss-cpu", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Imported name to the distribution's, where they differ."""
READ_BY_TRANSFORMERS = {"protobuf", "sentencepiece"}
"""What transformers needs for tokenizers that come as a SentencePiece model alone."""
OWN = {"integration", "real_backbone", "support", "unit", "xstilts"}


def named(requirements):
    """Names of the distributions in a list of requirements."""
    return {re.match(r"[\w-]+", text)[0].lower().replace("_", "-") for text in requirements}


@cache
def trees(folder):
    return [ast.parse(path.read_text(encoding="utf-8")) for path in folder.rglob("*.py")]


def imported(folder, *, at_once=False):
    """Names of the distributions that files import; `at_once` when they are themselves."""
    found = set()
    for tree in trees(folder):
        for node in tree.body if at_once else ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module.split(".")[0])
    outside = found - set(sys.stdlib_module_names) - OWN - {"__future__"}
    return {CALLED.get(name, name).replace("_", "-") for name in outside}


CORE = named(PROJECT["dependencies"])
EXTRAS = {name for group in PROJECT["optional-dependencies"].values() for name in named(group)}
SOURCE = Path(xstilts.__file__).parent


@pytest.mark.long
def test_what_is_imported_is_declared():
    assert imported(SOURCE) - CORE - EXTRAS == set()
    assert imported(TOP / "tests") - CORE - EXTRAS == set()


def test_what_only_an_extra_brings_is_imported_when_it_is_used():
    assert imported(SOURCE, at_once=True) - CORE == set()


def test_what_is_declared_is_imported():
    assert CORE - imported(SOURCE) == READ_BY_TRANSFORMERS
