"""`kill -9` at any moment of add, remove, push and pull: before or after, never between.

By default a few kills of each; `pytest -m slow tests/integration/test_kills.py` makes a hundred.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from integration.hub_server import HubServer
from support.s3 import s3_server
from support.zoo_modules import build, contents

from xstilts.errors import UsageError
from xstilts.zoo import Zoo, hubs, verify_folder
from xstilts.zoo.maintenance import broken, copy_into, gc
from xstilts.zoo.manifest import CARD

pytestmark = pytest.mark.long

PROGRAM = Path(__file__).parents[1] / "support" / "killed.py"


class Nursery:
    """Runs jobs of `support/killed.py`."""

    def __init__(self, environment: dict[str, str], *imports: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *imports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "HF_HUB_OFFLINE": "0", **environment},
            text=True,
        )

    def do(self, **job: object) -> dict:
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


class Case:
    """One kind of work, two modules that take turns, and what is to be seen of it.

    `job(module)` is the work that brings a module; `reset()` makes it possible again.
    """

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.zoo = Zoo(tmp_path / "zoo")
        self.modules = {}
        for number, preset in enumerate(("seq_bn", "lora")):
            folder = tmp_path / f"module{number}"
            folder.mkdir()
            self.modules[build(folder, preset).digest] = folder
        self.first, self.second = self.modules
        self.environment: dict[str, str] = {}

    def prepare(self) -> None:
        copy_into(self.zoo, self.modules[self.first])

    def job(self) -> dict[str, object]:
        return {"do": "add", "zoo": str(self.zoo.root), "folder": str(self.modules[self.second])}

    def states(self) -> tuple[set[str], set[str]]:
        """What may be there: before, and after."""
        return {self.first}, {self.first, self.second}

    def seen(self) -> set[str]:
        assert broken(self.zoo) == []
        for folder in self.zoo.root.glob("[!.]*/*/*"):
            assert (folder / "manifest.json").is_file(), "a folder that is no module"
        return {entry.manifest.digest for entry in self.zoo.entries()}

    def reset(self) -> None:
        self.zoo.remove(self.zoo.find("@" + self.second))
        gc(self.zoo)
        assert not list(self.zoo.root.glob(".staging/*"))
        assert not list(self.zoo.root.glob(".trash/*"))

    def close(self) -> None:
        pass


class Remove(Case):
    def prepare(self) -> None:
        for folder in self.modules.values():
            copy_into(self.zoo, folder)

    def job(self):
        return {"do": "rm", "zoo": str(self.zoo.root), "target": "@" + self.second}

    def states(self):
        return {self.first, self.second}, {self.first}

    def reset(self) -> None:
        gc(self.zoo)
        copy_into(self.zoo, self.modules[self.second])


class Push(Case):
    """To a place of many modules; pulled from there, each is whole."""

    scheme = ""
    tags: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        return f"{self.scheme}{self.tmp_path}/shared"

    def prepare(self) -> None:
        hubs.push(self.modules[self.first], self.target)

    def job(self):
        return {
            "do": "push",
            "zoo": str(self.zoo.root),
            "folder": str(self.modules[self.second]),
            "target": self.target,
            "tags": list(self.tags),
        }

    def seen(self):
        digests = set()
        try:
            hubs.pull(self.target, Zoo(self.tmp_path / "look"))
            references = [self.target]
        except UsageError as error:  # it lists them
            references = error.where.split()
        for reference in references:
            entry = hubs.pull(reference, Zoo(self.tmp_path / "look"))
            assert same(entry.folder, self.modules[entry.manifest.digest])
            digests.add(entry.manifest.digest)
        shutil.rmtree(self.tmp_path / "look", ignore_errors=True)
        return digests

    def reset(self) -> None:
        for folder in (self.tmp_path / "shared").glob("[!.]*/*/*"):
            if folder.name.endswith(self.second[:12]):
                shutil.rmtree(folder)


class PushFolder(Push):
    scheme = "folder:"
    tags = ("best",)


class PushFile(Push):
    scheme = "file://"


class PushS3(Push):
    """An S3 server of its own."""

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(tmp_path)
        self.server = ExitStack()
        self.store = self.server.enter_context(s3_server())

    target = "s3://team/zoo"

    def reset(self) -> None:
        self.store.invalidate_cache()
        there = self.store.find("team/zoo")
        self.store.rm([p for p in there if p.split("/")[-2].endswith(self.second[:12])])

    def close(self) -> None:
        self.server.close()


class Pull(Case):
    """From a place that has one module; the zoo has another."""

    scheme = "folder:"

    @property
    def target(self) -> str:
        return f"{self.scheme}{self.tmp_path}/shared"

    def prepare(self) -> None:
        super().prepare()
        hubs.push(self.modules[self.second], self.target)

    def job(self):
        return {"do": "pull", "zoo": str(self.zoo.root), "target": self.target}


class PullFile(Pull):
    scheme = "file://"


class Hub:
    """A hub server for the processes that are killed; nothing here asks it over HTTP."""

    def start(self, tmp_path: Path) -> None:
        self.hub = HubServer()
        self.hub.__enter__()
        self.environment = {
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_TOKEN": "hf_owner",
            "HF_HUB_DISABLE_XET": "1",
        }

    def close(self) -> None:
        self.hub.__exit__()


class PushHub(Hub, Push):
    """A repository holds one module: the two take turns."""

    target = "hf:org/mnli"

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(tmp_path)
        self.start(tmp_path)
        self.turn = 0
        self.tags = ("v0",)

    def prepare(self) -> None:
        self.hub.put_repo("org/mnli", contents(self.modules[self.first]))

    def states(self):
        return {self.first}, {self.second}

    def seen(self):
        there = dict(self.hub.repo("org/mnli").at("main").files)
        there.pop(".gitattributes", None)
        look = self.tmp_path / "look"
        look.mkdir()
        for name, data in there.items():
            (look / name).write_bytes(data)
        digest = verify_folder(look).digest
        shutil.rmtree(look)
        repo = self.hub.repo("org/mnli")
        if repo.tags.get(self.tags[0]):
            assert repo.tags[self.tags[0]] == repo.branches["main"]
        return {digest}

    def reset(self) -> None:
        assert self.tags[0] in self.hub.repo("org/mnli").tags
        self.turn += 1
        self.tags = (f"v{self.turn}",)
        self.first, self.second = self.second, self.first


class PullHub(Hub, Case):
    def __init__(self, tmp_path: Path) -> None:
        super().__init__(tmp_path)
        self.start(tmp_path)

    def prepare(self) -> None:
        super().prepare()
        self.hub.put_repo("org/mnli", contents(self.modules[self.second]))

    def job(self):
        return {"do": "pull", "zoo": str(self.zoo.root), "target": "hf:org/mnli"}

    def reset(self) -> None:
        super().reset()
        shutil.rmtree(self.tmp_path / "hf")


def same(folder: Path, source: Path) -> bool:
    """Byte-equal but for the card, which a push writes."""
    mine, theirs = contents(folder), contents(source)
    mine.pop(CARD, None), theirs.pop(CARD, None)
    return mine == theirs


CASES = {
    "add": Case,
    "rm": Remove,
    "push folder": PushFolder,
    "push file": PushFile,
    "push s3": PushS3,
    "push hf": PushHub,
    "pull folder": Pull,
    "pull file": PullFile,
    "pull hf": PullHub,
}


@pytest.mark.parametrize(
    ("name", "kills"),
    [(name, 4) for name in CASES if name != "push s3"]
    + [pytest.param(name, 100, marks=pytest.mark.slow) for name in CASES],
)
def test_before_or_after_never_between(name, kills, tmp_path):
    """Half of the kills at a step of the work, half at a time; then the same command again."""
    case = CASES[name](tmp_path)
    draws = random.Random(f"{name} {kills}")
    imports = ("s3fs",) if name == "push s3" else ()
    try:
        with Nursery(case.environment, *imports) as nursery:
            case.prepare()
            before, after = case.states()
            assert case.seen() == before
            whole = nursery.do(**case.job())
            assert not whole["error"], whole
            assert case.seen() == after
            case.reset()
            done, found = 0, {"before": 0, "after": 0}
            for attempt in range(10 * kills):
                if done == kills:
                    break
                if attempt % 2:
                    moment = {"at": draws.randint(1, whole["steps"])}
                else:
                    moment = {"after": draws.uniform(0, whole["seconds"])}
                said = nursery.do(**case.job(), **moment)
                done += said["killed"]
                before, after = case.states()
                seen = case.seen()
                assert seen in (before, after), (moment, said)
                found["before" if seen == before else "after"] += 1
                if seen == before or not name.startswith("rm"):
                    again = nursery.do(**case.job())
                    assert not again["error"], (moment, again)
                assert case.seen() == after
                case.reset()
            assert done == kills
            print(f"{name}: {done} kills, {found}")
    finally:
        case.close()
