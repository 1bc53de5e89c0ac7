"""What proposes weights, and the file that remembers how they were judged."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xstilts.errors import UsageError
from xstilts.files import write_bytes


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
    """Judgements of earlier runs, in order; the file is cut before the first that is damaged."""
    if not path.is_file():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    known = []
    for number, line in enumerate(lines):
        try:
            record = json.loads(line)
            loss = float(record["loss"])
            whole = record["number"] == number and math.isfinite(loss) and line.endswith(b"\n")
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            write_bytes(path, b"".join(lines[:number]))
            break
        known.append(loss)
    return known


def write_judgement(path: Path, number: int, loss: float) -> None:
    """Append one judgement."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"number": number, "loss": loss}) + "\n")
