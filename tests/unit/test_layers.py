"""Imports point down, code stays short, and the command line starts without heavy libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import xstilts

ROOT = Path(xstilts.__file__).parent
LAYERS = (
    ("errors", "files"),
    ("registry", "specs", "paths", "languages", "reference", "expressions"),
    ("resolving",),
    ("config",),
    (
        "data",
        "metrics",
        "weights",
        "sites",
        "packed",
        "acting",
        "pretrained",
        "backbone",
        "settings",
        "diagnosis",
        "neighbours",
    ),
    ("methods", "formats", "retrieval"),
    ("operators",),
    ("composition",),
    ("composed", "tokenised", "frozen", "model", "zoo"),
    ("heads",),
    ("library", "merging", "shrinking", "explain", "predict", "translate", "translator"),
    ("train", "hubs", "sandbox", "export", "importing"),
    ("evaluate", "search"),
    ("grid", "api", "rank", "bench"),
    ("cli",),
)
MODULE_LINES, FUNCTION_LINES = 300, 40
"""At most; of a function without its signature and docstring."""
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("xstilts"):
            if node.module == "xstilts":
                yield from (alias.name for alias in node.names)
            else:
                yield node.module.split(".")[1]


def test_imports_point_down():
    wrong = []
    for path in ROOT.rglob("*.py"):
        own = path.relative_to(ROOT).with_suffix("").parts[0]
        if own in ("__init__", "__main__"):
            continue
        for other in imports(path):
            if other in LEVEL and LEVEL[other] > LEVEL[own]:
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert wrong == []


def test_every_module_has_a_layer():
    names = {p.stem if p.is_file() else p.name for p in ROOT.iterdir() if p.suffix in ("", ".py")}
    assert names - set(LEVEL) - {"__init__", "__main__", "__pycache__", "_configs", "py"} == set()


def test_modules_and_functions_stay_short():
    long = []
    for path in ROOT.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT)
        if text.count("\n") > MODULE_LINES:
            long.append(str(name))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if body and node.end_lineno - body[0].lineno >= FUNCTION_LINES:
                    long.append(f"{name}: {node.name}")
    assert long == []


def test_command_line_imports_nothing_heavy():
    code = (
        "import sys; import xstilts.cli.app; "
        "print([m for m in ('torch', 'transformers', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
