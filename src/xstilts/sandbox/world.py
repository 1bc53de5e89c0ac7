"""Write the sandbox's data files, in the layouts of the real distributions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xstilts.config.cpu import cores
from xstilts.files import write_json
from xstilts.sandbox import bitexts, choices, questions, sentence_pairs, tagged, translations
from xstilts.sandbox.languages import LANGUAGES, SOURCE
from xstilts.sandbox.spec import SandboxSpec
from xstilts.sandbox.world_writer import WorldWriter

__all__ = ["SandboxSpec", "build_data"]

MANY = 1000
"""Rows of a training file from which on another process is worth its start."""
_REST = """import sys
from pathlib import Path
from xstilts.sandbox.world import SandboxSpec, write_rest
write_rest(Path(sys.argv[1]), SandboxSpec.model_validate_json(sys.argv[2]))"""


def build_data(folder: Path, spec: SandboxSpec) -> None:
    """Write every task's files and `world.json` below `folder`."""
    bitexts.write_text(WorldWriter(folder, spec))
    write_rest(folder, spec)


@contextmanager
def text_first(folder: Path, spec: SandboxSpec) -> Iterator[None]:
    """As `build_data`, with all but the text written beside the block, on another core.

    Args:
        folder: Of the world's files; the text that a backbone is pretrained on is there at once.
        spec: Of the world.
    """
    bitexts.write_text(WorldWriter(folder, spec))
    if cores() == 1 or spec.train_rows < MANY:
        yield
        write_rest(folder, spec)
        return
    process = subprocess.Popen(  # noqa: S603  (our own interpreter and arguments)
        [sys.executable, "-c", _REST, str(folder), spec.model_dump_json()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
        if process.wait() != 0:
            write_rest(folder, spec)  # here it can say what is in its way
    finally:
        process.kill()
        process.wait()


def write_rest(folder: Path, spec: SandboxSpec) -> None:
    """Write everything but the text."""
    writer = WorldWriter(folder, spec)
    for part in (sentence_pairs, tagged, questions, choices, bitexts):
        part.write_all(writer)
    write_json(folder / "world.json", _description(spec))
    translations.write_all(writer)


def _description(spec: SandboxSpec) -> dict[str, Any]:
    codes = [language.code for language in LANGUAGES]
    others = [code for code in codes if code != SOURCE]
    return {
        "name": "sandbox",
        "note": "A simulation: its scores say nothing about real languages.",
        "seed": spec.seed,
        "noise": spec.noise,
        "source_language": SOURCE,
        "languages": [language.describe() for language in LANGUAGES],
        "tasks": {
            "xnli": {"languages": codes},
            "tatoeba": {"languages": others},
            "xcopa": {"languages": others},
            "mlm": {"languages": codes},
        },
    }
