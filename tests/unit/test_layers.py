"""Imports point down through the rooms of the house, and the command line starts light."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import xstilts

ROOT = Path(xstilts.__file__).parent
FLOORS = (
    ("errors", "files"),
    ("config",),
    ("backbone", "data", "zoo"),
    ("modules", "tasks"),
    ("composition", "sandbox"),
    ("evaluate", "train"),
    ("report",),
    ("bench", "grid"),
    ("session",),
    ("cli",),
)
"""From the ground up; a room imports from lower floors only."""
ENTRIES = 20

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    ".".join(("xstilts", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in ROOT.rglob("*.py")
    if "_configs" not in path.parts
}


@cache
def imports(module: str) -> frozenset[str]:
    """The modules that a module names in an import anywhere, also under `TYPE_CHECKING`."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "xstilts":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES}
    return frozenset(found - {module})


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def test_imports_point_down():
    wrong = [
        f"{module} imports {other}"
        for module in MODULES
        for other in imports(module)
        if (room(module) in FLOOR and room(other) != room(module))
        and FLOOR.get(room(other), len(FLOORS)) >= FLOOR[room(module)]
    ]
    assert wrong == []


def test_no_file_imports_itself_through_others():
    @cache
    def reaches(module: str) -> frozenset[str]:
        line.append(module)
        below = set()
        for other in imports(module):
            if other in line:
                circles.append([*line[line.index(other) :], other])
            else:
                below |= {other} | reaches(other)
        line.pop()
        return frozenset(below)

    line: list[str] = []
    circles: list[list[str]] = []
    for module in MODULES:
        reaches(module)
    assert circles == []


def test_every_room_has_a_floor():
    names = {path.stem for path in ROOT.iterdir() if path.suffix in ("", ".py")}
    assert names - set(FLOOR) - {"__init__", "__main__", "__pycache__", "_configs"} == set()
    listed = [p for p in ROOT.iterdir() if p.name not in ("__pycache__", "_configs", "py.typed")]
    assert len(listed) <= ENTRIES


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_pages_name_the_floors(page):
    text = " ".join((Path(__file__).parents[2] / page).read_text(encoding="utf-8").split())
    (chain,) = re.findall(r"(?:\w+(?:, \w+)* → )+\w+(?:, \w+)*", text)
    floors = [set(floor.split(", ")) for floor in chain.split(" → ")]
    assert floors == [set(rooms) for rooms in reversed(FLOORS)]


def test_the_longest_chain_of_rooms(capsys):
    @cache
    def chain(name: str) -> tuple[str, ...]:
        below = {room(o) for m in MODULES if room(m) == name for o in imports(m)} - {name}
        return (name, *max((chain(other) for other in below), key=len, default=()))

    longest = max((chain(name) for name in FLOOR), key=len)
    with capsys.disabled():
        print(f"\nfloors: {len(longest)} ({' > '.join(longest)})")
    assert len(longest) <= 10


def test_command_line_imports_nothing_heavy():
    code = (
        "import sys; from xstilts.cli.app import command_tree; command_tree(); "
        "print([m for m in ('torch', 'transformers', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "line", ["tasks show xnli", "tasks ls", "zoo ls", "config show", "data ls"]
)
def test_what_only_lists_is_answered_without_torch(line, tmp_path):
    code = (
        "import sys; from xstilts.cli import main\n"
        f"try: main({line.split()!r})\n"
        "except SystemExit as done: assert not done.code, done.code\n"
        "heavy = ('torch', 'transformers', 'datasets', 'pandas', 'numpy', 'rich.table')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    home = dict.fromkeys(("XSTILTS_HOME", "XSTILTS_CACHE", "XSTILTS_DATA"), str(tmp_path))
    (tmp_path / "xnli").mkdir()
    (tmp_path / "xnli" / "dev-de.tsv").write_text("a\tb\tneutral\n")
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env=os.environ | home,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_bench_says_what_it_does_before_torch_is_imported():
    code = (
        "import sys; from xstilts.cli import main\n"
        "sys.modules['torch'] = None\n"
        "main(['bench', '--only', 'fusion'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[0] == "measuring on this machine"
    assert "import of torch halted" in done.stderr


def named_types(tree: ast.Module) -> list[tuple[str, bool]]:
    """Public classes and types of a file, and whether it is a class."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found.append((node.name, True))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.append((node.targets[0].id, False))
    return [(name, kind) for name, kind in found if re.fullmatch(r"[A-Z][a-z]\w*", name)]


def test_no_public_class_shares_its_name_with_another_or_with_a_type():
    # `Options` is what every plug-in calls its own options.
    found: dict[str, list[tuple[str, bool]]] = {}
    for module, path in MODULES.items():
        for name, is_class in named_types(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(name, []).append((module, is_class))
    twins = {
        name: [module for module, _ in places]
        for name, places in found.items()
        if len(places) > 1 and any(is_class for _, is_class in places)
    }
    assert not twins.keys() - {"Options"}, twins


def test_rows_and_cards_ask_formats_without_torch():
    code = (
        "import sys; import xstilts.data.check, xstilts.zoo.card; "
        "from xstilts.data.formats import ROW_FORMATS; "
        "from xstilts.zoo.head_formats import HEAD_FORMATS; "
        "headed = [n for n in HEAD_FORMATS if HEAD_FORMATS.get(n).HF_CODE]; "
        "print([ROW_FORMATS.get(n).FIELDS[0] for n in headed]); "
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['text', 'question', 'context', 'words']", "[]"]


def test_reports_and_answers_are_made_without_torch():
    code = (
        "import sys; import xstilts.grid.answer, xstilts.grid.state, xstilts.report.html; "
        "import xstilts.report.build, xstilts.report.figures, xstilts.report.plain; "
        "print([m for m in ('torch', 'transformers', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
