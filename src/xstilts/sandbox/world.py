"""Write the sandbox's data files, in the layouts of the real distributions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xstilts.files import write_json
from xstilts.sandbox import bitexts, choices, questions, sentence_pairs, tagged, translations
from xstilts.sandbox.languages import LANGUAGES, SOURCE
from xstilts.sandbox.making import Making
from xstilts.sandbox.spec import SandboxSpec

__all__ = ["SandboxSpec", "build_data"]


def build_data(folder: Path, spec: SandboxSpec) -> None:
    """Write every task's files and `world.json` below `folder`."""
    making = Making(folder, spec)
    for writer in (sentence_pairs, tagged, questions, choices, bitexts):
        writer.write_all(making)
    write_json(folder / "world.json", _description(spec))
    translations.write_all(making)


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
