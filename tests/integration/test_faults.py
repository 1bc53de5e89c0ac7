"""A full disk and a missing network, by the command line."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from xstilts import sandbox
from xstilts.cli import main
from xstilts.config import paths
from xstilts.data.features import Features


@pytest.fixture
def disk(tmp_path, request):
    """A disk of a few megabytes, or of as many kilobytes as the test asks for."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = getattr(request, "param", 2500)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.long
@pytest.mark.parametrize("method", ["seq_bn", "full"])
def test_a_full_disk_is_a_clear_error_and_leaves_nothing_half_written(
    method, home, disk, tmp_path, capsys
):
    world = sandbox.ensure_world(paths.cache_folder())
    # full weights do not fit; for the adapter, something else has taken the room
    room = disk / "ballast"
    if method == "seq_bn":
        room.write_bytes(b"x" * (shutil.disk_usage(disk).free - 60_000))
    arguments = [
        *("--data", str(world.data), "--zoo", str(disk / "zoo"), "--offline", "-q"),
        *("train-adapter", "mnli", "--method", method, "--backbone", str(world.backbone)),
        *("--set", "train.max_steps=4", "--set", "train.select=last"),
    ]

    def run():
        with pytest.raises(SystemExit) as caught, pytest.MonkeyPatch.context() as patch:
            patch.setenv("XSTILTS_HOME", str(tmp_path / "home"))
            main(arguments)
        return caught.value.code or 0, capsys.readouterr()

    code, output = run()
    assert code == 1
    assert "error[XS-DISK]: no space left on device" in output.err
    assert "Make room" in output.err
    assert output.out == ""
    left = [path for path in (disk / "zoo").rglob("*") if path.suffix == ".safetensors"]
    assert left == []
    if method == "seq_bn":
        room.unlink()
        code, output = run()
        assert code == 0, output.err
        assert output.out.startswith("mnli/seq_bn/")


TRAIN = ("train-adapter", "mnli", "--set", "train.max_steps=2", "--set", "train.select=last")
PLACES = [
    ("cache", ("eval", "none", "--task", "tatoeba", "--langs", "qab")),
    ("cache", TRAIN),
    ("results", ("eval", "none", "--task", "tatoeba", "--langs", "qab")),
    ("results", ("eval", "mnli", "--task", "xnli", "--langs", "qab")),
    ("home", (*TRAIN, "--set", "train.checkpoint_every=1")),
    ("zoo", TRAIN),
    ("zoo", ("zoo", "import", "{tmp}/theirs", "--name", "copy")),
    ("zoo", ("compose", "average(mnli*0.5, mnli*0.5)", "--save", "mean")),
    ("zoo", ("zoo", "add", "{module}")),
    ("zoo", ("zoo", "pull", "{module}")),
    ("push", ("zoo", "push", "mnli", "folder:{disk}/shared")),
    ("push", ("zoo", "push", "mnli", "file://{disk}/shared")),
    ("push", ("zoo", "bundle", "{disk}/stick", "mnli")),
    ("push", ("export", "peft", "mnli", "--to", "{disk}/peft")),
]


@pytest.fixture(scope="module")
def trained(home):
    """A library with a module, and what it is as a folder of peft."""
    world = sandbox.ensure_world(paths.cache_folder())
    own = ("--data", str(world.data), "--zoo", str(home / "first"), "--offline", "-q")
    last = ("--backbone", str(world.backbone))
    for command in (
        (*TRAIN, "--method", "lora"),
        ("export", "peft", "mnli", "--to", str(home / "theirs")),
    ):
        with pytest.raises(SystemExit) as caught:
            main([*own, *command, *last])
        assert not caught.value.code
    return home / "first"


@pytest.mark.parametrize("disk", [1000], indirect=True)
@pytest.mark.parametrize(("place", "command"), PLACES)
def test_every_write_to_a_full_disk_is_a_clear_error_and_leaves_nothing(
    place, command, home, disk, trained, tmp_path, capsys
):
    world = sandbox.ensure_world(paths.cache_folder())
    for name in ("cache", "results", "home", "zoo"):
        (disk if place == name else tmp_path).joinpath(name).mkdir(exist_ok=True)
    at = {n: (disk if place == n else tmp_path) / n for n in ("cache", "results", "home", "zoo")}
    module = next(path.parent for path in trained.rglob("manifest.json"))
    uses_module = "mnli" in " ".join(command) and command[0] != "train-adapter"
    if uses_module:
        shutil.copytree(trained, at["zoo"], dirs_exist_ok=True)
    (disk / "ballast").write_bytes(b"x" * (shutil.disk_usage(disk).free - 4096))
    before = {path for path in disk.rglob("*") if path.is_file()}
    names = {"tmp": home, "module": module, "disk": disk}
    backbone = () if command[0] == "zoo" and command[1] != "import" else ("--backbone",)
    arguments = [
        *("--data", str(world.data), "--zoo", str(at["zoo"]), "--offline", "-q"),
        *("--results", str(at["results"])),
        *(part.format(**names) for part in command),
        *(backbone and (*backbone, str(world.backbone))),
    ]
    with pytest.raises(SystemExit) as caught, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XSTILTS_HOME", str(at["home"]))
        patch.setenv("XSTILTS_CACHE", str(at["cache"]))
        main(arguments)
    output = capsys.readouterr()
    assert caught.value.code == 1, output.err
    assert "error[XS-DISK]: no space left on device" in output.err
    assert "Make room" in output.err
    left = {path for path in disk.rglob("*") if path.is_file()} - before
    seen = [path for path in left if not path.name.endswith(".lock")]
    if place == "cache":  # what was finished before the disk was full is whole and stays
        for path in seen:
            json.loads(path.read_text()) if path.suffix == ".json" else Features.load(path)
    elif place == "home":  # the log of the run and what is remembered of backbones stay, whole
        assert {path.suffix for path in seen} <= {".json", ".jsonl"}
        for path in seen:
            text = path.read_text()
            for part in text.splitlines() if path.suffix == ".jsonl" else [text]:
                json.loads(part)
    elif "file://" in command[-1]:  # the next push completes it; nobody sees it without a manifest
        assert "manifest.json" not in {path.name for path in seen}
    else:
        assert seen == []


NO_SOCKETS = """
import socket
def refuse(*arguments, **options):
    raise RuntimeError("a socket was opened")
socket.socket.connect = refuse
socket.create_connection = refuse
socket.getaddrinfo = refuse
from xstilts.cli import main
main()
"""


@pytest.mark.long
def test_offline_opens_no_socket(home, tmp_path):
    world = sandbox.ensure_world(paths.cache_folder())
    options = ["--data", str(world.data), "--zoo", str(tmp_path / "zoo"), "--offline", "-q"]
    backbone = ["--backbone", str(world.backbone)]
    script = tmp_path / "offline.py"
    script.write_text(NO_SOCKETS)

    def run(*arguments):
        return subprocess.run(
            [sys.executable, str(script), *options, *arguments],
            env=os.environ | {"XSTILTS_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("train-adapter", "mnli", "--set", "train.max_steps=2", *backbone)
    assert done.returncode == 0, done.stderr
    done = run("eval", "mnli", "none", "--task", "tatoeba", "--langs", "qab", *backbone)
    assert done.returncode == 0, done.stderr
    missing = run("train-adapter", "imdb", *backbone)
    assert missing.returncode in (4, 6), missing.stderr
    assert "a socket was opened" not in missing.stderr
    hub = run("eval", "none", "--task", "tatoeba", "--backbone", "xlm-roberta-base")
    assert hub.returncode == 6, hub.stderr
    assert "error[XS-OFFLINE]" in hub.stderr


@pytest.mark.slow
def test_without_offline_a_hub_that_cannot_be_reached_is_a_clear_error(home, capsys, monkeypatch):
    def unreachable(*_arguments, **_options):
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    world = sandbox.ensure_world(paths.cache_folder())
    with pytest.raises(SystemExit) as caught:
        main(
            [
                *("--data", str(world.data), "-q", "eval", "none", "--task", "tatoeba"),
                *("--backbone", "some-org/some-encoder"),
            ]
        )
    assert caught.value.code in (4, 6)
    text = capsys.readouterr().err
    assert text.startswith("error[XS-")
    assert "some-org/some-encoder" in text
    assert Path(world.data).is_dir()
