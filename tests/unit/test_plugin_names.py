"""What others must know of an implementation they ask it: nobody compares its name.

The walk takes string constants that are an implementation's name in a comparison, an `in` test, a
`match`, or as a key of a dict, and `startswith`/`endswith` of them. Names in configs, defaults of
options and arguments are not comparisons.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import xstilts
from xstilts.backbone.architectures import ARCHITECTURES
from xstilts.composition.export import EXPORTS
from xstilts.config.registry import Registry
from xstilts.data.readers import READERS
from xstilts.grid.engines import ENGINES
from xstilts.modules.methods import METHODS
from xstilts.modules.operators import OPERATORS
from xstilts.tasks.formats import FORMATS
from xstilts.tasks.metrics import METRICS
from xstilts.zoo.hubs import HUBS

ROOT = Path(xstilts.__file__).parent
REGISTRIES: dict[str, Registry] = {
    "backbone/architectures": ARCHITECTURES,
    "modules/methods": METHODS,
    "modules/operators": OPERATORS,
    "tasks/formats": FORMATS,
    "tasks/metrics": METRICS,
    "data/readers": READERS,
    "zoo/hubs": HUBS,
    "grid/engines": ENGINES,
    "composition/export": EXPORTS,
}
"""Folder to the implementations in it."""
WORDS = {
    *("average", "full", "head", "language", "retrieval", "sum"),
    *("blocks", "csv", "lines", "mlqa", "tatoeba"),
    *("adapters", "folder", "peft", "remote"),
}
"""Names that are also columns, fields, rules or tasks of something else: they count where the other
side of the comparison speaks of an implementation."""
SPEAKS = ("method", "operator", "preset", "kind", "work", "format", "form", "metric", "reader")
OF_ROOM = {"zoo/hubs": ("hub",), "grid/engines": ("engine",), "composition/export": ("export",)}
"""Words that speak of an implementation of these; of the others those of `SPEAKS` do."""
ANYTHING = " ".join({*SPEAKS, *(word for words in OF_ROOM.values() for word in words)})
"""The other side of a `match`, whose subject may be anything."""


def constants(node: ast.AST) -> list[str]:
    """The strings in a constant or in a tuple, list or set of constants."""
    return [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and type(n.value) is str]


def identifiers(nodes: list[ast.expr]) -> str:
    """All names and attributes in expressions, as one text."""
    walked = [n for node in nodes for n in ast.walk(node)]
    return " ".join(getattr(n, "id", getattr(n, "attr", "")) for n in walked).lower()


def compared(tree: ast.AST) -> list[tuple[int, str, str]]:
    """Line, text, and the names on the other side of the comparison, of every compared string."""
    found: list[tuple[int, str, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            plain = [
                s for s in sides if isinstance(s, ast.Constant | ast.Tuple | ast.List | ast.Set)
            ]
            texts = [text for side in plain for text in constants(side)]
            others = identifiers([side for side in sides if side not in plain]) if texts else ""
            found += [(node.lineno, text, others) for text in texts]
        elif isinstance(node, ast.Dict):
            keys = [key for key in node.keys if isinstance(key, ast.Constant)]
            found += [(key.lineno, key.value, "") for key in keys if type(key.value) is str]
        elif isinstance(node, ast.MatchValue):
            found += [(node.lineno, text, ANYTHING) for text in constants(node)]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("startswith", "endswith", "removeprefix")
        ):
            others = identifiers([node.func.value])
            found += [(node.lineno, t, others) for arg in node.args for t in constants(arg)]
    return found


@cache
def of_all_files() -> dict[str, list[tuple[int, str, str]]]:
    """Place of a file to what `compared` finds in it."""
    return {
        path.relative_to(ROOT).as_posix(): compared(ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(ROOT.rglob("*.py"))
    }


def offences(folder: str, registry: Registry) -> list[str]:
    names, words = set(registry.names()), OF_ROOM.get(folder, SPEAKS)
    prefixes = {f"{name.split('_')[0]}_" for name in names if "_" in name}
    wrong = []
    for place, found in of_all_files().items():
        if place.startswith(f"{folder}/") or place.startswith("_configs/"):
            continue
        for line, text, others in found:
            speaks = any(word in others for word in words)
            if (text in names and (speaks or text not in WORDS)) or (text in prefixes and speaks):
                wrong.append(f"{place}:{line} compares '{text}'")
    return wrong


@pytest.mark.parametrize("folder", REGISTRIES)
def test_no_file_outside_its_package_compares_an_implementations_name(folder):
    assert offences(folder, REGISTRIES[folder]) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("if method == 'lora': pass", 1),
        ("if engine in ('ray', 'slurm'): pass", 2),
        ("x = kind in ('adapter', 'lora')", 2),
        ("names = {'fuse': 1}", 1),
        ("method.startswith('external_')", 1),
        ("match name:\n    case 'lora': pass", 1),
        ("train(method='lora')", 0),
        ("METHOD = 'lora'", 0),
    ],
)
def test_the_walk_sees_comparisons_and_no_defaults(text, count):
    assert len(compared(ast.parse(text))) == count
