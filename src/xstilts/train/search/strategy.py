"""What proposes weights, and the file that remembers how they were judged."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xstilts.errors import UsageError


def require_cma() -> None:
    """Refuse a search where the package that proposes weights is not installed."""
    if find_spec("cma") is None:
        raise UsageError("the search needs cma", hint="pip install 'xstilts[search]'")


def strategy(start: NDArray[np.float64], bounds: list[list[float]], seed: int) -> Any:
    """CMA-ES whose draws come from their own generator."""
    require_cma()
    import cma

    draws = np.random.default_rng(seed)
    options = {
        "seed": np.nan,
        "randn": lambda *size: draws.standard_normal(size),
        "verbose": -9,
        "verb_log": 0,
        "bounds": bounds,
    }
    return cma.CMAEvolutionStrategy(start.tolist(), 0.4, options)


def read_judgements(path: Path) -> list[float]:
    """Judgements of earlier runs, in order; a half-written last line is cut off the file."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return [float(json.loads(line)["loss"]) for line in whole.splitlines()]


def write_judgement(path: Path, number: int, loss: float) -> None:
    """Append one judgement."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"number": number, "loss": loss}) + "\n")
