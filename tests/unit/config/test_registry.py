"""The registry: files and entry points, no doubles, contracts."""

import subprocess
import sys
from typing import Protocol

import pytest

from xstilts.config.registry import Registry, optional
from xstilts.errors import NotFoundError, UsageError


class Tool(Protocol):
    SIZE: int
    LOUD: bool = False

    def work(self, a: int, b: int, *, twice: bool) -> int: ...

    @optional
    def rest(self, hours: int) -> str:
        return f"{self.SIZE} for {hours}"


class Other(Protocol):
    def play(self) -> None: ...


SOUND = "SIZE = 3\ndef work(a, b, *, twice):\n    return a + b\n"


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Write packages: a function that takes their files, and their entry points by distribution."""
    name = f"plug_{tmp_path.name.replace('-', '_')}"
    monkeypatch.syspath_prepend(tmp_path)

    def write(files, **entries):
        folder = tmp_path / name
        folder.mkdir()
        for file, text in {"__init__": "", **files}.items():
            (folder / f"{file}.py").write_text(text)
        for package, lines in entries.items():
            info = tmp_path / f"{package}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
            )
            body = "".join(f"{line.replace('PKG', name)}\n" for line in lines)
            (info / "entry_points.txt").write_text(f"[some.tools]\n{body}")
        return Registry[Tool](name, "tool", Tool, "some.tools")

    yield write
    for module in [m for m in sys.modules if m.partition(".")[0] == name]:
        del sys.modules[module]


def test_files_and_entry_points_are_found_without_an_import(world):
    files = {"hammer": "raise RuntimeError", "_shared": "raise RuntimeError"}
    registry = world(files, acme=["saw = PKG._saw"])
    assert registry.names() == ("hammer", "saw") and "saw" in registry
    assert registry.origin("saw").package == "acme"
    assert registry.origin("hammer").package == registry.package
    with pytest.raises(NotFoundError, match="no tool named 'hamer'"):
        registry.get("hamer")


def test_what_a_contract_leaves_open_gets_the_contracts(world):
    tool = world({"hammer": SOUND}).get("hammer")
    assert (tool.LOUD, tool.rest(2), tool.work(1, 2, twice=True)) == (False, "3 for 2", 3)


def test_an_entry_point_may_be_an_object_in_a_module(world):
    body = "class Saw:\n    SIZE = 1\n    LOUD = True\n    def work(self, a, b, *, twice):\n"
    files = {
        "_saws": body
        + "        return a * b\n    def rest(self, hours):\n        return 'no'\nfine = Saw()\n"
    }
    tool = world(files, acme=["saw = PKG._saws:fine"]).get("saw")
    assert (tool.work(2, 3, twice=False), tool.LOUD, tool.rest(1)) == (6, True, "no")


def test_two_implementations_of_one_name_name_both_packages(world):
    registry = world({"saw": SOUND}, acme=["saw = PKG.saw"])
    with pytest.raises(UsageError, match=f"'{registry.package}' and 'acme'"):
        registry.names()


def test_two_entry_points_of_one_name_name_both_packages(world):
    registry = world({}, acme=["saw = a"], tools=["saw = b"])
    with pytest.raises(UsageError, match=r"'(acme|tools)' and '(acme|tools)'"):
        registry.get("saw")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def work(a, b, *, twice): ...", "it has no SIZE"),
        ("SIZE = 'x'\ndef work(a, b, *, twice): ...", "its SIZE is no int"),
        ("SIZE = 3", r"it has no work\(a, b, twice\)"),
        ("SIZE = 3\nwork = 5", "its work is no function"),
        ("SIZE = 3\ndef work(a): ...", r"its work does not take \(a, b, twice\)"),
        ("SIZE = 3\ndef work(a, b, c, *, twice): ...", r"its work does not take"),
    ],
)
def test_what_is_missing_is_said(world, text, said):
    registry = world({"hammer": text})
    with pytest.raises(UsageError, match=said):
        registry.get("hammer")


def test_one_of_several_contracts_is_enough(world):
    files = {"hammer": SOUND, "ball": "def play(): ...", "stone": "def play(x): ..."}
    registry = Registry[Tool | Other](world(files).package, "thing", (Tool, Other))
    assert registry.get("hammer") and registry.get("ball")
    with pytest.raises(UsageError, match="play does not take"):
        registry.get("stone")


def test_a_plug_in_that_fails_on_import_names_its_package(world):
    registry = world({"_bad": "import nothing_of_this_name"}, acme=["saw = PKG._bad"])
    with pytest.raises(UsageError, match="of package 'acme' cannot be imported: ModuleNotFound"):
        registry.get("saw")


def test_names_that_configs_cannot_hold_are_refused(world):
    with pytest.raises(UsageError, match="'My-Saw' of package 'acme' has no usable name"):
        world({}, acme=["My-Saw = a"]).names()


@pytest.mark.long
def test_listing_methods_imports_none():
    code = (
        "import sys; from xstilts.modules.methods import METHODS; assert 'lora' in METHODS;"
        "print([m for m in sys.modules if m.startswith('xstilts.modules.methods.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
