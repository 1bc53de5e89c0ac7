"""Time and memory against 1x, 4x and 16x data, each measured in a process of its own.

`python -m xstilts.bench.scale WORK FACTOR SIZE` runs one and prints seconds and bytes; SIZE is
`tiny` or `base`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xstilts.bench import XNLI_LENGTHS, seconds
from xstilts.bench.memory import peak_above

FACTORS = (1, 4, 16)
MINED, BUCC = 100_000, 500_000
"""Sentences of a side in the largest mining that is measured with base's size, and about those of
BUCC's largest language."""


@dataclass(frozen=True)
class Point:
    """One amount of one work: what it took, and its peak memory above that of an idle process."""

    work: str
    factor: int
    seconds: float
    bytes: int


def _evaluation(factor: int, size: str) -> Callable[[], object]:
    from xstilts.bench.models import classifier, encoder, rows
    from xstilts.composition import predict

    model, features = classifier(encoder(size)), rows(500 * factor, XNLI_LENGTHS, 128)
    return lambda: predict.logits(model, features, "xnli")


def _mining(factor: int, size: str) -> Callable[[], object]:
    from xstilts.evaluate.retrieval.mining import mine

    count, width = (1000, 128) if size == "tiny" else (MINED // FACTORS[-1], 1024)
    draw = np.random.default_rng(0)
    sides = [draw.standard_normal((count * factor, width), dtype=np.float32) for _ in range(2)]
    return lambda: mine(sides[0], sides[1])


def _report(factor: int, size: str) -> Callable[[], object]:
    """Read, test and write cells of 10 modules in 30 languages.

    There are 300 x `factor` of 100 examples and one score, or of base's size 450 x `factor` of 500
    examples and seven scores, as studies write them: 50,400 rows at 16x.
    """
    from xstilts.config.load import load_suite
    from xstilts.evaluate.store import ResultStore, Score
    from xstilts.report.build import build
    from xstilts.report.html import write_html
    from xstilts.report.material import Material

    draw = np.random.default_rng(0)
    kept = tempfile.TemporaryDirectory()  # until the work is forgotten
    folder = Path(kept.name)
    store, suite = ResultStore(folder / "results"), load_suite("xtreme")
    cells, examples, more = (300, 100, 0) if size == "tiny" else (450, 500, 6)
    for number in range(cells * factor):
        label, language, seed = f"m{number % 10}", f"l{number // 10 % 30}", number // 300
        hits = draw.integers(0, 2, examples).tolist()
        main = Score(
            expression=label,
            intermediate=label,
            digest=f"{label}-{seed}",
            backbone="random",
            fingerprint="0" * 64,
            task="xnli",
            language=language,
            split="test",
            metric="accuracy",
            value=100.0 * sum(hits) / examples,
            n=examples,
            seed=seed,
        )
        others = [
            main.model_copy(update={"metric": f"recall_{other}", "main": False})
            for other in range(more)
        ]
        identity = {"label": label, "language": language, "seed": seed, "metric": "accuracy"}
        lines = "".join(f"{hit}\n" for hit in hits)
        store.put({**identity, "task": "xnli"}, [main, *others], lines, "tsv", hits, 0.0)

    def work() -> None:
        material = Material(list(store.cells()), suite, "m0")
        write_html(build(material), Path(kept.name) / "report.html")

    return work


WORK: Mapping[str, Callable[[int, str], Callable[[], object]]] = {
    "evaluation": _evaluation,
    "mining": _mining,
    "report": _report,
}


def measure(work: str, factor: int, size: str = "tiny") -> Point:
    """Run one amount of one work in a process of its own."""
    command = [sys.executable, "-m", "xstilts.bench.scale", work, str(factor), size]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    found = json.loads(done.stdout.splitlines()[-1])
    return Point(work, factor, found["seconds"], found["bytes"])


def of_bucc(mined: Point) -> Point:
    """What mining among BUCC's sentences would take: products grow with the square, rows do not."""
    times = BUCC // MINED
    return Point(mined.work, mined.factor * times, mined.seconds * times**2, mined.bytes * times)


def main() -> None:
    """Print the seconds of the work and its memory above that before it."""
    run = WORK[sys.argv[1]](int(sys.argv[2]), sys.argv[3])
    took: list[float] = []
    peak = peak_above(lambda: took.append(seconds(run)))
    print(json.dumps({"seconds": took[0], "bytes": peak}))


if __name__ == "__main__":
    main()
