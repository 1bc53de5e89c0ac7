"""`Session.demo`: train, compose and evaluate in the sandbox world, in a few processes.

Each piece of work has a lock; who has it makes the piece, or finds what another made. So a process
that dies or was stopped leaves its piece to the others, and the one that the person started could
do everything alone. Two processes of one thread use two cores better than one of two threads, and
one thread gives the same weights whatever the number of cores.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

from xstilts.backbone.machine import one_thread
from xstilts.config.cpu import cores
from xstilts.config.file_facts import FileFacts
from xstilts.config.hub_models import import_models
from xstilts.errors import PreemptedError, UsageError
from xstilts.files import digest
from xstilts.sandbox import chosen_world, is_built
from xstilts.sandbox.demo import MODULES, TARGETS, DemoModule, evaluated, filled
from xstilts.session.evaluating import Evaluating

if TYPE_CHECKING:
    from xstilts.evaluate.request import Request
    from xstilts.report.results import ScoresResult
    from xstilts.zoo import Entry

MOST = 4
"""Processes that share a demo, on a machine with as many cores."""
WAIT_SECONDS = 0.1

Piece = TypeVar("Piece")
SeededModule = tuple[int, DemoModule]
"""Seed and module."""


class Demo(Evaluating):
    """The demo; see `Session`."""

    def demo(self, seeds: Sequence[int] = (42,)) -> ScoresResult:
        """Train, compose and evaluate on the sandbox world, once a seed; what is there is reused.

        Raises:
            UsageError: The session is in no world.
        """
        if not self.world:
            raise UsageError("the demo needs a world", hint='Use Session(world="sandbox").')
        self.require_writable("zoo", "home", "cache", "results")  # before minutes of building
        from xstilts.backbone.known import BackboneFacts

        run, count = _DemoRun(self, seeds), min(cores(), MOST)
        if is_built(self.cache, chosen_world(self.world)[1]):
            count = min(count, len(run.not_made()))
        with run.other_processes(count - 1):  # they get ready while this process builds the world
            self.note(f"world: {self.sandbox.data.parent}")
            left = run.not_made()
            result = run.finish(left)
        if left:  # until now the world's files may have been too young for that
            BackboneFacts(self.backbone_reference, self.cache).keep(self.backbone())
        computed, cells = result.outcome.computed, len(result.outcome.cells)
        self.note(f"{computed} cells computed, {cells - computed} reused")
        return result


def join_demo(settings: str) -> None:
    """Share in a demo that another process began, which wrote `settings` as JSON."""
    atexit.register(gc.freeze)  # as `xstilts.cli.main`
    import_models()  # seconds, while the world may still be built
    import xstilts.train.run  # noqa: F401

    given = json.loads(settings)
    seeds = given.pop("seeds")
    run = _DemoRun(Demo(**given, quiet=True), seeds)
    run.finish(run.not_made())


@dataclass
class _DemoRun:
    """One demo, in one of the processes that share it.

    Attributes:
        session: Where it takes place.
        seeds: Everything is trained and evaluated once for each.
        made: Seed to the modules that are there: `DemoModule.reference` to the zoo's.
        found: The modules, with their seeds, that were there from the start.
    """

    session: Demo
    seeds: Sequence[int]
    made: dict[int, dict[str, str]] = field(default_factory=dict)
    found: list[tuple[int, Entry]] = field(default_factory=list)

    def finish(self, left: Sequence[SeededModule]) -> ScoresResult:
        """Train what is left, and evaluate everything."""
        for seed, entry in self.found:
            self._tell(seed, entry, "found")
        from xstilts.data.once import read_once

        with read_once():
            if left:
                with one_thread():
                    self._share(left, self._train)
            requests: list[Request] = []
            for seed in self.seeds:
                requests += [r for r in self._requests(seed) if r not in requests]
            return self._evaluate(requests)

    # -- processes

    @contextmanager
    def other_processes(self, count: int) -> Iterator[None]:
        """Let other processes share the work until the block ends."""
        from xstilts.grid.worker import DRIVER

        session = self.session
        settings = {
            "zoo": str(session.zoo_folder),
            "results": str(session.results_folder),
            "cache": str(session.cache),
            "device": session.device_option,
            "offline": session.offline,
            "world": session.world,
            "seeds": list(self.seeds),
        }
        code = "import sys; from xstilts.session import demo; demo.join_demo(sys.argv[1])"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", DRIVER: str(os.getpid())}
        running = [
            subprocess.Popen(  # noqa: S603  (our own interpreter and arguments)
                [sys.executable, "-c", code, json.dumps(settings)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            for _ in range(count)
        ]
        try:
            yield
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait()

    def _share(self, pieces: Sequence[Piece], make: Callable[[Piece], bool]) -> None:
        """Make pieces, or find them made; `make` tells whether one could be made yet.

        Raises:
            PreemptedError: The process that began the demo is gone.
        """
        from xstilts.grid.worker import driver_is_gone

        left, noted = list(pieces), False
        while left:
            if driver_is_gone():
                raise PreemptedError("the demo that this process shared is gone")
            done = next((piece for piece in left if self._made_alone(piece, make)), None)
            if done is not None:
                left.remove(done)
                continue
            if not noted:
                self.session.note(f"waiting for another process: {len(left)} pieces left")
                noted = True
            time.sleep(WAIT_SECONDS)

    def _made_alone(self, piece: Piece, make: Callable[[Piece], bool]) -> bool:
        """Make a piece unless another process is about it."""
        from filelock import FileLock, Timeout

        folder = self.session.runs / "demo"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / f"{digest(str(piece))[:16]}.lock", timeout=0):
                return make(piece)
        except Timeout:
            return False

    # -- modules

    def not_made(self) -> list[SeededModule]:
        """The trainings whose modules are not known to be there; torch is not needed to know."""
        from xstilts.zoo.verify import require_whole

        there = {entry.manifest.run: entry for entry in self.session.zoo.entries()}
        left = []
        for seed in self.seeds:
            for module in (*MODULES, *TARGETS.values()):
                if module.reference in self.made.get(seed, {}):
                    continue
                facts = self._facts(seed, module)
                entry = there.get(facts.get() or "") if facts else None
                if entry is None:
                    left.append((seed, module))
                else:
                    require_whole(entry.folder, self.session.cache)
                    self._keep(seed, module, entry)
                    self.found.append((seed, entry))
        return left

    def _train(self, training: SeededModule) -> bool:
        """Train a module, or find it; False while what it stands on is not there."""
        seed, module = training
        facts = self._facts(seed, module)
        if facts is None:
            return False
        session, verb, run = self.session, "trained", facts.get()
        entry = session.zoo.find_run(run) if run else None
        if entry is None:
            base = filled(module.base, self.made.get(seed, {})) or ""
            how: dict[str, Any] = {
                "method": module.method,
                "name": module.name,
                "base": base,
                "seed": seed,
            }
            phase = session.phase(module.task, **how)
            if session.zoo.find_run(phase.run_key):
                verb = "found"
            entry = session.run_phase(phase).entry
            facts.put(phase.run_key)
        self._keep(seed, module, entry)
        self._tell(seed, entry, verb)
        return True

    @cached_property
    def _place(self) -> dict[str, str]:
        """What everything here depends on, in a world, whose rows never change."""
        from xstilts.config.run import CODE_VERSION
        from xstilts.evaluate.score_rows import VERSION

        return {
            "code": f"{version('xstilts')} {CODE_VERSION} {VERSION}",
            "world": self.session.sandbox.digest,
            "backbone": self.session.known_backbone().identity.key,
        }

    def _facts(self, seed: int, module: DemoModule) -> FileFacts | None:
        """The cache's entry on the training that a module came from; None while its base lacks."""
        session, base = self.session, filled(module.base, self.made.get(seed, {}))
        if base is None:
            return None
        about = {
            **self._place,
            "module": [module.task, module.name, base],
            "run": session.run_settings(
                module.task, method=module.method, base=base, seed=seed
            ).model_dump(),
        }
        return FileFacts(session.cache, "trainings", about)

    def _keep(self, seed: int, module: DemoModule, entry: Entry) -> None:
        self.session.zoo.adopt(entry)
        self.made.setdefault(seed, {})[module.reference] = f"@{entry.manifest.digest}"

    def _tell(self, seed: int, entry: Entry, verb: str) -> None:
        score = entry.manifest.training["dev_score"]
        self.session.note(f"{verb} {entry.reference}  seed {seed}  dev {score:.1f}")

    # -- scores

    def _requests(self, seed: int) -> list[Request]:
        from xstilts.evaluate.request import Request

        return [Request(*asked) for asked in evaluated(self.made[seed])]

    def _evaluate(self, requests: Sequence[Request]) -> ScoresResult:
        """Score everything; processes share what is missing, a task and language each.

        Cells that are known to be of these very modules are read without looking at rows.
        """
        from xstilts.evaluate.request import EvaluationOutcome
        from xstilts.report.results import ScoresResult

        session = self.session
        kept = FileFacts(session.cache, "demos", {**self._place, "made": self.made})
        cells = [session.results.get(key) for key in kept.get() or ()]
        if cells and None not in cells:
            return ScoresResult(EvaluationOutcome([cell for cell in cells if cell]))
        evaluator = session.evaluator(requests)
        plan, _ = evaluator.plan(requests)
        missing = [job for job, there in plan if not there]
        parts = list(dict.fromkeys((job.request.task, job.language) for job in missing))
        done = 0

        def compute(part: tuple[str, str]) -> bool:
            nonlocal done
            task, language = part
            own = [replace(r, languages=(language,)) for r in requests if r.task == task]

            def within(text: str, share: float) -> None:
                progress(text, (done + share) / len(parts))

            evaluator.run(own, within)
            done += 1
            return True

        if missing:
            with one_thread(), session.progress("evaluating") as progress:
                self._share(parts, compute)
        result = session.run_requests(evaluator, requests)
        result.outcome.computed = len(missing)
        kept.put([cell.key for cell in result.outcome.cells])
        return result
