"""Whole commands in processes of their own, on a small sandbox world: a grid, and a known score."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from xstilts.bench import Result, compare

_WORLD = (
    "sandbox:train_rows=2000,dev_rows=30,test_rows=30,bitext_rows=30,text_rows=60,"
    "pretraining_steps=4"
)
_STUDY = """
question: What do four workers take?
intermediates: [none, mnli, qqp]
targets: [xnli]
seeds: [1, 2]
sandbox:
  intermediate: {{method: lora, train: {{max_steps: {steps}, select: none}}}}
  target: {{method: lora, train: {{max_steps: {steps}, select: none}}}}
"""


def grid_workers(size: str, pairs: int) -> Result:
    """A study's ten trainings and six evaluations by four local workers, against one."""
    steps = 10 if size == "tiny" else 200
    with TemporaryDirectory() as folder:
        place, number = Path(folder), count()
        study = place / "study.yaml"
        study.write_text(_STUDY.format(steps=steps))
        _run(place, "--results", "planned", "grid", "plan", "study.yaml")  # makes the world

        def run(workers: int) -> None:
            own = f"run{next(number)}"
            folders = ("--zoo", f"{own}/zoo", "--results", f"{own}/results")
            _run(place, *folders, "grid", "run", "study.yaml", "--workers", str(workers))

        note = f"10 trainings of {steps} steps on the sandbox, 6 evaluations; theirs: one worker"
        return compare(
            "a study by four local workers",
            lambda: run(4),
            lambda: run(1),
            pairs=pairs,
            target_ratio=1.0,
            note=note,
        )


def cached_eval(size: str, pairs: int) -> Result:
    """`xstilts eval` of what is in the result store, against the same where nothing is."""
    del size  # the command's own time is what counts
    with TemporaryDirectory() as folder:
        place, number = Path(folder), count()

        def run(results: str) -> None:
            _run(place, "--results", results, "eval", "none", "--task", "tatoeba")

        return compare(
            "an evaluation that is stored",
            lambda: run("known"),
            lambda: run(f"new{next(number)}"),
            pairs=pairs,
            target_ratio=4.0,
            note="the command's whole time; theirs: loads the backbone and computes it",
        )


def _run(place: Path, *words: str) -> None:
    """A command on the small world, with everything that it keeps below `place`."""
    own = {"XSTILTS_HOME": str(place / "home"), "XSTILTS_CACHE": str(place / "cache")}
    subprocess.run(  # noqa: S603
        [sys.executable, "-m", "xstilts", "-q", "--world", _WORLD, *words],
        check=True,
        capture_output=True,
        cwd=place,
        env={**os.environ, **own},
    )
