"""Engines: where the workers of a grid run.

An engine is one file of this package; `Engine` states what it has.

An engine holds no state: which cells there are, who computes them and what became of them is in the
result store's folder, so engines may share a grid and may die.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from xstilts.config.layers import Layer, parse_overrides, resolve
from xstilts.config.registry import Registry, optional
from xstilts.config.specs import Spec
from xstilts.errors import FindingsError, PreemptedError, UsageError, XstiltsError

ENDED = (0, FindingsError.exit_code)
"""Exit codes of a worker that found nothing left to do."""
STARTS = 3
"""Workers in a row that may end with an error of their own before the engine gives up."""


@dataclass
class WorkerPool:
    """The workers of a grid.

    Attributes:
        command: Arguments of Python that make a worker: `-m xstilts … grid worker STUDY …`.
        workers: How many at a time.
        logs: Folder for what the workers say.
        is_over: Whether nothing is left to be computed.
        show_progress: Called now and then, to show how far the grid is.
        cancel: Lets all workers of the study stop after a checkpoint, wherever they are.
        environment: Variables that every worker gets.
        device: What the workers were told to run on, such as `cpu`; empty for the best one.
    """

    command: tuple[str, ...]
    workers: int
    logs: Path
    is_over: Callable[[], bool]
    show_progress: Callable[[], None] = lambda: None
    cancel: Callable[[], None] = lambda: None
    environment: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    _errors: int = 0

    @property
    def arguments(self) -> list[str]:
        """The command with this interpreter."""
        return [sys.executable, *self.command]

    def wants_another(self, code: int) -> bool:
        """Whether a worker that ended with `code` is to be followed by another.

        Raises:
            XstiltsError: Workers cannot even start.
        """
        if code in ENDED or self.is_over():
            return False
        own_error = code > 0 and code != PreemptedError.exit_code
        self._errors = self._errors + 1 if own_error else 0
        if self._errors >= STARTS:
            raise XstiltsError(
                f"{STARTS} workers in a row ended with exit code {code}",
                where=str(self.logs),
                hint="See the newest log there; what was finished is kept.",
            )
        return True


class Engine(Protocol):
    """What an engine has.

    Attributes:
        Options: What it takes besides, by `--engine-option key=value`.
    """

    Options: type[Spec]

    @optional
    def require(self) -> None:
        """Refuse an engine whose package is not installed, before anything is planned."""

    def run(self, pool: WorkerPool, options: Any, stop: Any) -> None:
        """Run `pool.workers` processes of `pool.command` somewhere until all have ended.

        Another is started for each that dies, unless a scheduler ended it. When `stop` notes a
        signal, workers end after a checkpoint first.
        """
        ...


ENGINES = Registry[Engine]("xstilts.grid.engines", "engine", Engine)


def require_package(engine: str, package: str, title: str) -> None:
    """Refuse an engine where its package is not installed; the extra is called as the engine."""
    if find_spec(package) is None:
        raise UsageError(
            f"the engine '{engine}' needs {title}",
            hint=f"Install it: pip install 'xstilts[{engine}]'",
        )


def chosen_engine(name: str, options: Sequence[str]) -> tuple[Engine, Spec]:
    """An engine and its options, of which `options` are `key=value`.

    Raises:
        NotFoundError: There is no such engine.
        ConfigError: One of the options is unknown or wrong.
        UsageError: The engine's package is not installed.
    """
    engine = ENGINES.get(name)
    layer = Layer(
        "--engine-option", parse_overrides(options, "--engine-option", "--engine-option KEY=VALUE")
    )
    values = resolve(engine.Options, [layer]).value
    engine.require()
    return engine, values
