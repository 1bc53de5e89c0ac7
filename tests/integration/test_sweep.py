"""Every command in every bad situation: its exit code, one clear message, and nothing loaded.

With `-s` each sweep prints its table: command, exit code, seconds, message.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest
from huggingface_hub import constants
from support.in_process import work_here
from support.sweep import CASES, build_place, commands, settle

from xstilts import sandbox
from xstilts.backbone import backbone
from xstilts.cli import main
from xstilts.config import hub_models
from xstilts.sandbox.demo import DemoModule
from xstilts.sandbox.spec import SandboxSpec
from xstilts.session import demo

pytestmark = pytest.mark.long

RAW = re.compile(r"Traceback|MaxRetry|Warning:|Error:")
"""What libraries and bugs write."""
SHOWN = re.compile(r"\d{1,3}(,\d{3})+|[+-]?\d+(\.\d+)? ?%|[+-]?\d+\.\d+|yes|no")
"""Numbers and truths as tables show them."""
DISK = "size=6m"
LIGHT_SECONDS = 3
"""What takes longer without computing is named; on a busy machine that is no fault."""
COMPUTING = [command for command, case in CASES.items() if case.loads and command != "demo"]
LIGHT = [command for command, case in CASES.items() if not case.loads]
LONG = ("score", "report", "grid answer", "doctor")
"""They load nothing, but import much."""
SAY_TORCH = """
import sys
from xstilts.cli import main
try:
    main(sys.argv[1:])
except SystemExit as error:
    print(error.code, "torch" in sys.modules)
"""
FIRST = re.compile(r"^error\[XS-[A-Z-]+\]: ", re.M)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "template"
    build_place(folder)
    return folder


@pytest.fixture
def sweep(template, tmp_path, monkeypatch, capsys):
    """Runs commands, each in a place of its own; `sweep.faults` says what went otherwise."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    work_here(monkeypatch)
    lines, faults, late = [], [], []

    def run(command, code, prepare=None, *, words=(), text=False, loads=True):
        place = tmp_path / "place"
        place.mkdir()
        try:
            with pytest.MonkeyPatch.context() as patch:
                settle(patch, place)
                if prepare is full:
                    mount(place, "tmpfs", DISK)
                shutil.copytree(template, place, symlinks=True, dirs_exist_ok=True)
                if prepare is not None:
                    prepare(place, patch)
                if not loads:
                    patch.setattr(backbone, "fetch", nothing_is_loaded)
                    patch.setattr(sandbox, "ensure_world", nothing_is_loaded)
                given = [*command.split(), *(words or CASES[command].words)]
                filled = [word.format(place=place, out=place / "out") for word in given]
                began = time.process_time()  # of the processor, as others may work beside it
                found, problem, message = attempt(filled, capsys, text=text)
                seconds = time.process_time() - began
        finally:
            for folder in (place / "zoo", place):
                # at once, also where a weight file is still mapped
                subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
            shutil.rmtree(place)
        lines.append(f"{command:<14} {found!s:>3} {seconds:7.2f}  {message[:160]}")
        if not loads and seconds > LIGHT_SECONDS:
            late.append(command)
        if text and not CASES[command].wide and (wide := widest(message)) > 80:
            problem = f"a line of {wide} columns"
        if found != code or problem:
            faults.append(f"{command}: {found}, not {code}; {problem}\n{message}")

    run.faults = faults
    yield run
    print("\n" + "\n".join([f"{'command':<14} code seconds  message", *lines]))
    if late:
        print(f"above {LIGHT_SECONDS} s without computing: {', '.join(dict.fromkeys(late))}")


def texts_in(value):
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if type(value) is list else ():
        yield from texts_in(item)


def attempt(words, capsys, *, text):
    """Exit code, what is wrong with the output, and what was said."""
    with pytest.raises(SystemExit) as caught:
        main([*([] if text else ["--json"]), "-q", *words])
    code = caught.value.code or 0
    out, err = capsys.readouterr()
    if RAW.search(out + err):
        return code, "a raw line of a library", err
    if text:
        right = len(FIRST.findall(err)) == (1 if code else 0)
        return code, "" if right else "not one message", out + err
    try:
        for document in out.splitlines() if words[0] == "predict" else [out] if out else ():
            shown = [text for text in texts_in(json.loads(document)) if SHOWN.fullmatch(text)]
            if shown:
                return code, f"texts where numbers belong: {shown}", out
        record = json.loads(err) if code else {"what": "", "hint": ""}
    except ValueError as error:
        return code, f"no JSON: {error}", out + err
    if code and (out or not record["what"]):
        return code, "an output beside the error", out
    return code, "", f"{record['what']} | {record['hint']}"


def nothing_is_loaded(*_arguments, **_options):
    raise AssertionError("a backbone is loaded")


def widest(text):
    """Length of the longest line, without paths and without what can be copied as a command."""
    lines = [" ".join(w for w in line.split(" ") if "/" not in w) for line in text.splitlines()]
    return max((len(line) for line in lines if "xstilts " not in line), default=0)


def mount(folder, kind, options):
    command = ["mount", "-t", kind, "-o", options, "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")


# ------------------------------------------------------------------------------------ situations


def full(place, _patch):
    """Not a byte is left on the disk."""
    with (place / "ballast").open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def no_backbone(place, patch):
    patch.setenv("XSTILTS_BACKBONE", str(place / "nowhere"))


def no_network(_place, patch):
    patch.setenv("XSTILTS_BACKBONE", "some-org/encoder")
    hub_models._answers.cache_clear()


def tiny_demo(place, patch):
    """The demo of a world of a few rows, on a machine where no socket opens."""
    world = sandbox.World(place / "data", place / "pico", "tiny", SandboxSpec())
    probe = DemoModule(str(place / "tasks" / "own.yaml"), "head", "probe")
    patch.setattr(sandbox, "ensure_world", lambda *_given: world)
    patch.setattr(demo, "cores", lambda: 1)
    patch.setattr(demo, "MODULES", (probe,))
    patch.setattr(demo, "TARGETS", {})
    patch.setattr(demo, "evaluated", lambda made: [(made[probe.reference], probe.task, "probe")])
    patch.setattr(socket.socket, "connect", no_socket)
    patch.setattr(socket, "getaddrinfo", no_socket)


def no_socket(*_arguments, **_options):
    raise AssertionError("a socket is opened")


def empty(place, _patch):
    shutil.rmtree(place / "zoo")


def read_only(place, _patch):
    zoo = str(place / "zoo")
    for options in (["--bind", zoo], ["-o", "remount,ro,bind"]):
        if subprocess.run(["mount", *options, zoo], capture_output=True, check=False).returncode:
            pytest.skip("a read-only folder needs root")


def narrow(_place, patch):
    patch.setenv("COLUMNS", "80")


# ---------------------------------------------------------------------------------------- sweeps


def test_every_command_is_swept():
    assert sorted(CASES) == sorted(commands())


def test_json(sweep):
    for command in LIGHT:
        if command not in LONG:
            sweep(command, CASES[command].code, loads=False)
    assert not sweep.faults, "\n\n".join(sweep.faults)


@pytest.mark.slow
def test_json_of_commands_that_import_much(sweep):
    for command in LONG:
        sweep(command, CASES[command].code, loads=False)
    assert not sweep.faults, "\n\n".join(sweep.faults)


@pytest.mark.slow
def test_text_at_80_columns(sweep):
    for command in LIGHT:
        sweep(command, CASES[command].code, narrow, text=True, loads=False)
    assert not sweep.faults, "\n\n".join(sweep.faults)


@pytest.mark.slow
def test_computing_commands(sweep):
    for command in COMPUTING:
        sweep(command, CASES[command].code)
        sweep(command, CASES[command].code, narrow, text=True)
    assert not sweep.faults, "\n\n".join(sweep.faults)


def test_a_missing_backbone(sweep):
    for command in COMPUTING:
        sweep(command, 4, no_backbone, loads=False)
    assert not sweep.faults, "\n\n".join(sweep.faults)


@pytest.mark.parametrize("command", COMPUTING)
def test_a_backbone_that_is_nowhere_costs_no_import_of_torch(template, tmp_path, command):
    case, situations = CASES[command], {"nowhere": 4}
    if case.loads == "any":
        situations["some-org/encoder"] = 6
    for backbone_named, code in situations.items():
        with pytest.MonkeyPatch.context() as patch:
            settle(patch, template)
            patch.setenv("XSTILTS_BACKBONE", backbone_named)
            patch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
            patch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
            filled = [word.format(place=template, out=tmp_path) for word in case.words]
            words = ["-q", *command.split(), *filled]
            done = subprocess.run(
                [sys.executable, "-c", SAY_TORCH, *words],
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.stdout.split()[-2:] == [str(code), "False"], done.stdout + done.stderr


def test_no_network(sweep):
    for command in COMPUTING:
        if CASES[command].loads == "any":
            sweep(command, 6, no_network, loads=False)
    for words, code in (
        (("zoo", "push", "own/lora", "hf:org/name"), 6),
        (("zoo", "import", "hf:org/name"), 6),
        (("data", "prepare", "pawsx", "--langs", "de"), 6),
        (("data", "show", "pawsx"), 6),
        (("doctor", "--hub"), 0),
    ):
        command = words[0] if words[0] == "doctor" else " ".join(words[:2])
        sweep(command, code, no_network, words=words[len(command.split()) :], loads=False)
    assert not sweep.faults, "\n\n".join(sweep.faults)


def test_the_demo_without_a_network(sweep):
    sweep("demo", 0, tiny_demo, words=("--seeds", "1", "--html", "{out}/demo.html"))
    assert not sweep.faults, "\n\n".join(sweep.faults)


def test_an_empty_library(sweep):
    for command, case in CASES.items():
        if case.names or command == "rank":
            sweep(command, 4, empty, loads=False)
        elif command.startswith("zoo") and not case.loads:
            sweep(command, case.code, empty, loads=False)
    assert not sweep.faults, "\n\n".join(sweep.faults)


def test_a_read_only_library(sweep):
    for command, case in CASES.items():
        if "zoo" in case.writes:
            sweep(command, 2, read_only, loads=False)
        elif command.startswith("zoo") and not case.loads:
            sweep(command, case.code, read_only, loads=False)
    sweep("demo", 2, read_only, words=("--zoo", "{place}/zoo"), loads=False)
    assert not sweep.faults, "\n\n".join(sweep.faults)


@pytest.mark.slow
def test_a_full_disk(sweep):
    for command in LIGHT:
        case = CASES[command]
        fits = command == "zoo gc"  # which deletes
        sweep(command, 1 if case.writes and not case.code and not fits else case.code, full)
    sweep("data prepare", 1, full, words=("tatoeba", "--raw", "{place}/raw"))
    assert not sweep.faults, "\n\n".join(sweep.faults)


@pytest.mark.slow
def test_a_full_disk_while_computing(sweep):
    for command in COMPUTING:
        case = CASES[command]
        sweep(command, 1 if case.writes and not case.code else case.code, full)
    sweep("demo", 1, full)
    assert not sweep.faults, "\n\n".join(sweep.faults)
