"""Sides of a comparison in processes of their own, each with its own waiting threads.

A process that takes turns reads a line, does its work once and writes a line with the seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from xstilts.bench import Result, compare, seconds
from xstilts.config.cpu import WAITING, share_the_machine

_NEIGHBOUR = """
import os
import numpy
parent, a = os.getppid(), numpy.ones((512, 512), "float32")
while os.getppid() == parent:  # also where the parent is killed
    a @ a
"""


def compare_apart(
    name: str,
    command: Callable[[str], list[str]],
    *,
    pairs: int,
    target_ratio: float = 0.0,
    note: str = "",
    neighbours: int = 0,
) -> Result:
    """Compare the processes of `python -m *command("ours")` and `command("theirs")`, in turns.

    Ours waits as `xstilts` makes its threads wait, theirs as torch does where nobody says anything.

    Args:
        name: Of the result.
        command: Module and arguments of a side, which calls `take_turns`.
        pairs: Measured pairs.
        target_ratio: The ratio that is promised.
        note: What is compared.
        neighbours: Processes of one busy thread each that run beside both.
    """
    plain = {key: value for key, value in os.environ.items() if key not in WAITING}
    shared = dict(plain)
    share_the_machine(shared)
    with ExitStack() as stack:
        ours = stack.enter_context(_side(command("ours"), shared))
        theirs = stack.enter_context(_side(command("theirs"), plain))
        for _ in range(neighbours):
            stack.enter_context(_beside())
        return compare(name, ours, theirs, pairs=pairs, target_ratio=target_ratio, note=note)


def take_turns(work: Callable[[], object]) -> None:
    """Do the work once for each line of standard input, and say how long it took."""
    for _ in sys.stdin:
        print(seconds(work), flush=True)


@contextmanager
def _side(command: list[str], environment: dict[str, str]) -> Iterator[Callable[[], None]]:
    """A process that takes turns; gives what asks it for one and waits."""
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def turn() -> None:
            asked.write("\n")
            asked.flush()
            if not answers.readline():
                raise RuntimeError(f"{' '.join(command)} ended with {process.wait()}")

        try:
            yield turn
        finally:
            process.kill()


@contextmanager
def _beside() -> Iterator[None]:
    """A process that keeps one core busy."""
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", _NEIGHBOUR], env=alone)  # noqa: S603
    try:
        yield
    finally:
        process.kill()
        process.wait()
