"""Three hundred module folders that mean harm: each is refused, nothing is written or executed.

By default sixty of them; `pytest -m slow tests/integration/test_hostile.py` takes all.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections import Counter
from contextlib import contextmanager

import pytest
from integration.hub_server import HubServer, use
from support.hostile import ATTACKS, HOOK, hostile
from support.zoo_modules import base

from xstilts.composition.load import load_expression
from xstilts.errors import IntegrityError, XstiltsError
from xstilts.zoo import Zoo, hubs
from xstilts.zoo.maintenance import copy_into

pytestmark = pytest.mark.long

_WRITES = {
    "os.mkdir": 0,
    "os.remove": 0,
    "os.rmdir": 0,
    "os.rename": 1,
    "os.link": 1,
    "os.symlink": 1,
}
"""Events that change a folder, and which of their values is the path that changes."""
_RUNS = ("pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")


class Watch:
    """What this process writes and runs while `on`; an audit hook cannot be taken away."""

    def __init__(self) -> None:
        self.on, self.written, self.run = False, [], []
        sys.addaudithook(self._notice)

    def _notice(self, event: str, values: tuple) -> None:
        if not self.on:
            return
        if event == "open" and isinstance(values[0], str | bytes | os.PathLike):
            flags = values[2] if isinstance(values[2], int) else 0
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or set(values[1] or "") & set("wax+"):
                self.written.append(os.fsdecode(values[0]))
        elif event in _WRITES and values[-1] == -1:  # else relative to a folder that is open
            self.written.append(os.fsdecode(values[_WRITES[event]]))
        elif event.startswith(_RUNS):
            self.run.append((event, str(values)))
        elif event == "import" and values[0] == HOOK:
            self.run.append((event, HOOK))


@pytest.fixture(scope="module")
def watch():
    return Watch()


@contextmanager
def watching(watch):
    watch.written.clear(), watch.run.clear()
    watch.on = True
    try:
        yield
    finally:
        watch.on = False


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with HubServer() as server:
        use(monkeypatch, server, tmp_path)
        yield server


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def take(number, folder, zoo, hub):
    """One of the ways in which a folder of somebody else's is taken; then it is loaded."""
    way = ("add", "folder", "file", "hf", "path")[number % 5]
    if way == "hf" and any(path.is_symlink() for path in folder.iterdir()):
        way = "add"  # a hub holds no links
    if way == "add":
        entry = copy_into(zoo, folder)
    elif way == "folder":
        entry = hubs.pull(f"folder:{folder}", zoo)
    elif way == "file":
        entry = hubs.pull(f"file://{folder}", zoo)
    elif way == "hf":
        files = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
        hub.put_repo(f"org/m{number}", files)
        entry = hubs.pull(f"hf:org/m{number}", zoo)
    else:
        load_expression(str(folder), zoo, base())
        return
    load_expression("@" + entry.manifest.digest, zoo, base())


def is_clear(error):
    """A sentence of ours, printable, that does not show a hostile name as it would be printed."""
    assert isinstance(error, XstiltsError)
    assert error.exit_code in (2, 4, 5)
    text = str(error)
    assert len(error.what) > 15
    assert not re.search(r"0x[0-9a-f]{6}|Traceback|object at", text)
    assert all(c == "\n" or unicodedata.category(c)[0] != "C" for c in text), ascii(text)


@pytest.mark.parametrize("count", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_each_is_refused_and_nothing_is_touched(count, tmp_path, hub, watch, monkeypatch):
    sentinel = tmp_path / "sentinel"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # of what is imported meanwhile
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{HOOK}.py").write_text(
        f"import pathlib\npathlib.Path({str(sentinel)!r}).write_text('executed')\n"
    )
    base()
    refused: Counter[str] = Counter()
    allowed = (str(tmp_path / "zoo"), str(tmp_path / "cache"))
    for number in range(count):
        kind, folder = hostile(number, tmp_path / f"h{number}", sentinel)
        before = tree(folder.parent)
        zoo = Zoo(tmp_path / "zoo" / str(number))
        with watching(watch), pytest.raises((XstiltsError,)) as caught:
            take(number, folder, zoo, hub)
        is_clear(caught.value)
        refused[kind] += 1
        assert kind == "wrong base" or zoo.entries() == [], (number, kind)
        assert tree(folder.parent) == before, (number, kind)
        assert not sentinel.exists(), (number, kind)
        assert not watch.run, (number, kind, watch.run)
        outside = [p for p in watch.written if not p.startswith(allowed)]
        assert not outside, (number, kind, outside)
        inside = [p for p in watch.written if p.startswith(str(folder.parent) + os.sep)]
        assert not inside, (number, kind, inside)
    assert sum(refused.values()) == count
    assert refused.keys() == ATTACKS.keys()
    print(f"{count} hostile folders, {sum(refused.values())} refusals: {dict(refused)}")


def test_the_attacks_are_real(tmp_path, watch):
    """The payload and the hook do act where somebody runs them."""
    import pickle

    from support.hostile import Payload

    with watching(watch):
        pickle.loads(pickle.dumps(Payload(tmp_path / "sentinel")))
    assert (tmp_path / "sentinel").exists()
    assert watch.run[0][0] == "pickle.find_class"
    with watching(watch), pytest.raises(IntegrityError):
        Zoo(tmp_path / "zoo").add(lambda folder: (folder / "x.json").write_text("{}"))
    assert any("zoo" in path for path in watch.written)
