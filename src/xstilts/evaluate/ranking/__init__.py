"""Which modules of the library are worth training on for a target? Estimates before any training.

Four estimates, each higher for a better intermediate:

    text    cosine of the mean sentence vectors of both tasks' rows (Poth et al., 2021,
            arXiv:2104.08247)
    task    cosine of both tasks' Fisher embeddings in the plain encoder (Task2Vec, Achille et al.,
            2019, arXiv:1902.03545; Vu et al., 2020, arXiv:2005.00770)
    probe   how well a head on the frozen encoder with the module predicts held-out target rows: the
            geometric mean of the gold labels' probabilities
    logme   log evidence of the target's labels given the module's features (You et al., 2021,
            arXiv:2102.11005)

Of a module that was trained on several tasks, the first two are means over these. Where the result
store knows what an intermediate brought, every estimate is compared with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import PositiveInt

from xstilts.backbone.known import KnownBackbone
from xstilts.composition.parser import parse
from xstilts.config.file_facts import FileFacts
from xstilts.config.load import load_task, short_name, train_task_of
from xstilts.config.progress import ProgressFn, silent
from xstilts.config.run import CODE_VERSION
from xstilts.config.specs import Seed, Spec, TaskSpec
from xstilts.data.located import locate
from xstilts.data.sources import deciding_files, require_located, task_in_world
from xstilts.errors import NotFoundError, UsageError, XstiltsError
from xstilts.evaluate.ranking.agreement import Agreement, agreement, known_results
from xstilts.evaluate.ranking.rows import LabelledRows, TaskInLanguages, TaskRows
from xstilts.evaluate.store import Score
from xstilts.tasks.formats import FORMATS
from xstilts.zoo import Entry, Zoo
from xstilts.zoo.manifest import COMPOSITION, MERGE
from xstilts.zoo.verify import require_whole
from xstilts.zoo.workspace import Workspace

if TYPE_CHECKING:  # a ranking that is there is found without torch
    from xstilts.evaluate.ranking.estimates import Vector

METHODS = ("text", "task", "probe", "logme")


def _is_of_task(entry: Entry) -> bool:
    """Whether a module acts in the encoder and was trained on a task, by itself."""
    manifest = entry.manifest
    if not manifest.task or manifest.kind in (COMPOSITION, MERGE):
        return False
    from xstilts.modules import methods

    method = methods.METHODS.get(manifest.method)
    return method.ACTS and not method.CARD.for_language


def _languages(entry: Entry) -> tuple[str, ...]:
    """What a module's task was trained in; empty where its manifest does not say."""
    return tuple(filter(None, entry.manifest.source_language.split(",")))


def _tasks(entry: Entry) -> list[str]:
    """The tasks that a module was trained on: one, or those of its mixture."""
    return entry.manifest.trained_tasks or [entry.manifest.task]


class RankSpec(Spec):
    """Settings of a ranking.

    Attributes:
        methods: Estimates wanted, of `METHODS`.
        shots: Labelled rows of the target, and as many held-out ones; rows of each other task.
        seed: Of the choice of rows and of the probes.
    """

    methods: tuple[str, ...] = METHODS
    shots: PositiveInt = 64
    seed: Seed = 42


@dataclass(frozen=True)
class RankedModule:
    """One module and its estimates.

    Attributes:
        estimates: Method to its value; a method that could not be computed is absent.
        mean_rank: Mean of its ranks by each method, 1 is best; an absent one counts as the middle.
        known: Mean main score of the target over languages, when it was measured.
        notes: Why an estimate is absent.
    """

    entry: Entry
    estimates: dict[str, float]
    mean_rank: float = 0.0
    known: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModuleRanking:
    """A ranking, best first, and how well each method agrees with what is known."""

    rows: list[RankedModule] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)


def trained_modules(zoo: Zoo) -> list[Entry]:
    """The modules of a library that can be ranked on their backbones; a study's if no other can.

    Raises:
        NotFoundError: There is none.
    """
    every = [entry for entry in zoo.entries() if _is_of_task(entry)]
    found = zoo.library(every) or every
    if not found:
        raise _no_module(zoo)
    return found


def _no_module(zoo: Zoo, of: str = "") -> NotFoundError:
    hint = "Train some first: xstilts train-adapter mnli"
    return NotFoundError(f"no trained module{of} in {zoo.root}", hint=hint)


def require_target(target: str, spec: RankSpec, root: Path | None, *, offline: bool) -> None:
    """Refuse a ranking that cannot be computed before a backbone is loaded.

    Raises:
        UsageError: The target has no labels.
        NotFoundError: There is no such estimate, or no training rows of the target.
        OfflineError: Only a hub has them, and `offline` is set.
    """
    for method in spec.methods:
        if method not in METHODS:
            raise NotFoundError.named("estimate", method, METHODS)
    if not FORMATS.get(task_in_world(load_task(target), root).format).LABELLED:
        raise UsageError(
            f"task {target} has no labels to learn from",
            hint="Rank for a task with training rows, such as xnli.",
        )
    trained = task_in_world(load_task(train_task_of(target) or target), root)
    require_located(trained, "train", trained.source_language, root, offline=offline)


class Ranker:
    """Estimates for the modules of a library.

    Args:
        target: A task with training rows, or one that names the task that trains it.
        modules: References to rank; every trained module of the backbone when empty.
        backbone: Its weights are loaded for estimates that are not kept; it is as it was when
            nothing runs.
        workspace: Where to read, and to keep estimates while modules and rows are the same.
        spec: What to compute.

    Raises:
        UsageError: The target has no training rows, or a method is unknown.
        NotFoundError: No module fits.
    """

    def __init__(
        self,
        target: str,
        modules: Sequence[str],
        backbone: KnownBackbone,
        workspace: Workspace,
        spec: RankSpec,
    ) -> None:
        self.backbone, self.workspace, self.spec = backbone, workspace, spec
        require_target(target, spec, workspace.data, offline=workspace.offline)
        self.target = task_in_world(load_task(target), workspace.data)
        self.trained = train_task_of(target) or target
        self._facts = self._facts_of(modules)
        self.kept: dict[str, tuple[dict[str, float], list[str]]] = self._facts.get() or {}
        self.entries = (
            [workspace.zoo.find(f"@{digest}") for digest in self.kept]
            if self.kept
            else self._entries(modules)
        )
        self.rows = LabelledRows(backbone, workspace, spec.shots, spec.seed)

    def _entries(self, modules: Sequence[str]) -> list[Entry]:
        zoo, identity = self.workspace.zoo, self.backbone.identity
        if modules:
            return [zoo.find(reference, identity) for reference in modules]
        trained = trained_modules(zoo)
        found = [e for e in trained if not e.manifest.backbone.differences(identity)]
        if not found:
            raise _no_module(zoo, f" for {identity.name}")
        return found

    def _facts_of(self, modules: Sequence[str]) -> FileFacts:
        """Keeps the estimates of the modules while these and the tasks' files are the same."""
        root, zoo, identity = self.workspace.data, self.workspace.zoo, self.backbone.identity
        asked = [zoo.find(reference, identity) for reference in modules] or zoo.entries()
        own = [(name, _languages(entry)) for entry in asked for name in _tasks(entry) if name]
        wanted: list[TaskInLanguages] = [(self.trained, ()), *own]
        specs: list[TaskSpec] = []
        files: list[Path] = []
        for name, languages in dict.fromkeys(wanted):
            with suppress(NotFoundError):  # a YAML that is gone: a note will say so
                specs.append(task := task_in_world(load_task(name), root))
                held = [task.select_split or "validation"] if name == self.trained else []
                for split in ("train", *held):
                    for language in languages or (task.source_language,):
                        found = locate(task, split, language, root)
                        if found and not (found.remote and self.workspace.offline):
                            files += deciding_files(found)
        key = {
            "versions": [version("xstilts"), CODE_VERSION],
            "target": self.target.model_dump(mode="json"),
            "tasks": [task.model_dump(mode="json") for task in specs],
            "modules": sorted([entry.manifest.digest, *_tasks(entry)] for entry in asked),
            "apart": [] if modules else sorted(zoo.studies()),
            "spec": self.spec.model_dump(mode="json"),
            "backbone": [identity.key, self.backbone.tokenization],
        }
        return FileFacts(self.workspace.cache, "rankings", key, files)

    def run(self, scores: Sequence[Score], progress: ProgressFn = silent) -> ModuleRanking:
        """Compute every estimate, or read those that are kept, and order the modules.

        Args:
            scores: Rows of the result store.
            progress: Called with what is being done and the share that is done.
        """
        known = known_results(scores, self.target, self.entries, self.workspace.zoo, self.backbone)
        rows, found = [], {}
        for number, entry in enumerate(self.entries):
            progress(entry.reference, number / len(self.entries))
            digest = entry.manifest.digest
            if digest in self.kept:
                require_whole(entry.folder, self.workspace.cache)
                found[digest] = self.kept[digest]
            else:
                found[digest] = self._estimates(entry)
            values, notes = found[digest]
            rows.append(
                RankedModule(entry, dict(values), known=known.get(digest), notes=tuple(notes))
            )
        if not self.kept:
            self._facts.put(found)
        ranked = _ranked(rows, self.spec.methods)
        pairs = {m: [(r.estimates.get(m), r.known) for r in ranked] for m in self.spec.methods}
        pairs["mean rank"] = [(-r.mean_rank, r.known) for r in ranked]
        return ModuleRanking(ranked, agreement(pairs))

    def _estimates(self, entry: Entry) -> tuple[dict[str, float], list[str]]:
        target = self.rows.of(self.trained, held="probe" in self.spec.methods)
        values: dict[str, float] = {}
        notes: list[str] = []
        wanted = self.spec.methods
        if {"text", "task"} & set(wanted):
            try:
                own = [self._rows_of(name, entry) for name in _tasks(entry)]
                if "text" in wanted:
                    values["text"] = _mean_cosine(self.rows.text, target, own)
                if "task" in wanted:
                    values["task"] = _mean_cosine(self.rows.fisher, target, own)
            except XstiltsError as error:
                notes.append(f"{entry.manifest.task}: {error.what}")
        if "probe" in wanted or "logme" in wanted:
            values |= self._on_features(entry)
        return values, notes

    def _rows_of(self, name: str, entry: Entry) -> TaskRows:
        """Rows of a task that a module was trained on, in its languages."""
        # the target's task may be a YAML's path, which manifests do not keep
        named = self.trained if name == short_name(self.trained) else name
        return self.rows.of(named, _languages(entry))

    def _on_features(self, entry: Entry) -> dict[str, float]:
        """Estimates from what the encoder with the module makes of the target's rows."""
        from xstilts.composition.compose import compose
        from xstilts.composition.load import load_module
        from xstilts.evaluate.ranking import estimates

        rows, backbone = self.rows.of(self.trained), self.backbone.loaded
        module = load_module(entry, self.workspace.zoo, backbone)
        generator = estimates.generator(self.spec.seed)
        composed = compose(parse("a"), {"a": module}, backbone.shape, generator)
        values = {}
        with backbone.attach(dict(composed.to(backbone.device).nodes), composed.encoder_weights):
            train = estimates.states(backbone, rows.train)
            if "probe" in self.spec.methods and rows.held is not None:
                held = estimates.states(backbone, rows.held)
                head = estimates.probe_head(backbone, rows.task, train, self.spec.seed)
                values["probe"] = estimates.gold_probability(rows.task, head, held)
        if "logme" in self.spec.methods and FORMATS.get(rows.task.format).PREDICTS:
            features, labels = estimates.labelled_vectors(
                rows.task, train, backbone.architecture.SENTENCE
            )
            values["logme"] = estimates.logme(features, labels)
        return values


def _mean_cosine(
    vector: Callable[[TaskRows], Vector], target: TaskRows, own: Sequence[TaskRows]
) -> float:
    """Cosine of the target's vector and a task's, averaged over the tasks of a module."""
    from xstilts.evaluate.ranking import estimates

    cosines = [estimates.cosine(vector(target), vector(rows)) for rows in own]
    return sum(cosines) / len(cosines)


def _ranked(rows: list[RankedModule], methods: Sequence[str]) -> list[RankedModule]:
    """The rows ordered by the mean of their ranks; equal values share a rank.

    A module that lacks an estimate has the middle rank by it: neither praised nor blamed.
    """
    ranks: list[list[float]] = [[] for _ in rows]
    for method in methods:
        there = [r.estimates[method] for r in rows if method in r.estimates]
        if not there:
            continue
        for own, row in zip(ranks, rows, strict=True):
            value = row.estimates.get(method)
            if value is None:
                own.append((len(there) + 1) / 2)
            else:
                own.append(sum(other > value for other in there) + (there.count(value) + 1) / 2)
    means = [sum(own) / len(own) if own else (len(rows) + 1) / 2 for own in ranks]
    placed = [
        RankedModule(row.entry, row.estimates, mean, row.known, row.notes)
        for row, mean in zip(rows, means, strict=True)
    ]
    return sorted(placed, key=lambda row: (row.mean_rank, row.entry.reference))
