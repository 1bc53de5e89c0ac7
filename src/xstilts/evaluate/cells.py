"""The cells that requests ask for: one for each expression, task and language."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from xstilts.backbone.known import KnownBackbone
from xstilts.backbone.pooling import POOLINGS
from xstilts.config.load import load_suite, load_task
from xstilts.config.specs import TaskSpec
from xstilts.data.languages import called
from xstilts.data.located import available_languages, require_located, row_key, tried
from xstilts.data.sources import first_rows, sliced, task_in_world
from xstilts.errors import NotFoundError, UsageError
from xstilts.evaluate.request import Request
from xstilts.tasks.encoding import unreadable
from xstilts.tasks.formats import FORMATS
from xstilts.tasks.formats._fields import options
from xstilts.tasks.formats.retrieval import Options
from xstilts.tasks.metrics import METRICS

Precision = Literal["fp32", "bf16", "int8"]

SKIPPED = "skipped"
"""What the reason begins with where a backbone cannot read a language that has data."""


@dataclass(frozen=True)
class EvaluationJob:
    """One cell to be evaluated: an expression on a task's split in one language.

    Attributes:
        task: With the request's options.
        settings: How sentences are compared, for retrieval; None otherwise.
        layers: Blocks that this run pools for the same expression, for retrieval.
        precision: What the encoder computes in, `fp32`, `bf16` or `int8`.
    """

    request: Request
    task: TaskSpec
    language: str
    split: str
    settings: Options | None = None
    layers: tuple[int, ...] = ()
    precision: Precision = "fp32"

    @property
    def layer(self) -> int:
        """The block that is pooled; -1 where nothing is retrieved."""
        return self.settings.layer if self.settings else -1

    @property
    def pooling(self) -> str:
        """How it is pooled; empty where nothing is retrieved."""
        return self.settings.pooling if self.settings else ""

    @property
    def tunes(self) -> bool:
        """Whether a mining threshold has to be tuned."""
        if self.request.alignment or self.settings is None or self.settings.threshold is not None:
            return False
        return METRICS.get(self.task.metric).SEARCH == "pairs"

    @property
    def rows(self) -> tuple[str, str, str, bool, tuple[str, ...]]:
        """What its rows depend on; equal for cells that can share them."""
        labels = tuple(self.task.labels)  # of the head, where the task states none
        return self.task.name, self.language, self.split, self.tunes, labels

    @property
    def plain_task(self) -> TaskSpec:
        """The task with the options that its tokenised rows depend on."""
        plain = self.settings is not None
        return self.task.model_copy(update={"options": {}}) if plain else self.task

    @property
    def label(self) -> str:
        """What stands for the expression in tables."""
        return self.request.label or self.request.expression


@dataclass(frozen=True)
class Inputs:
    """The rows that a cell reads: how many, and what tells them from others.

    Attributes:
        digests: Of its lists of rows.
        rows: How many there are.
        tokens: Sub-words in them, about.
    """

    job: EvaluationJob
    digests: tuple[str, ...]
    rows: int
    tokens: int


def jobs_of(
    requests: Sequence[Request], backbone: KnownBackbone, root: Path | None, precision: Precision
) -> tuple[list[EvaluationJob], dict[str, str]]:
    """The cells of requests, in their order.

    Args:
        requests: What is asked for.
        backbone: What will run them; it says which block is pooled where nothing else does.
        root: The folder with data.
        precision: What the encoder will compute in.

    Returns:
        The cells, and the languages that are left out, as `task/language`, to why: there is no data
        or the backbone cannot read them. Those that a request names are never left out.

    Raises:
        NotFoundError: A task or language is unknown.
        UsageError: A layer or pooling that there is not, a task that is no bitext is to be measured
            as one, or the backbone can read no language of a task.
    """
    jobs: list[EvaluationJob] = []
    missing: dict[str, str] = {}
    layers: dict[tuple[str, str], set[int]] = defaultdict(set)
    for request in requests:
        task = _cut(_task(request, root), backbone)
        two_sided = FORMATS.get(task.format).TWO_SIDED
        settings = _settings(request, task, backbone) if two_sided else None
        name, first = sliced(request.split)
        split = name or task.eval_split
        languages = _languages(request, task, split, root)
        if not request.languages:
            missing |= {
                f"{task.name}/{code}": _looked_for(task, split, code, root)
                for code in task.languages
                if code not in languages
            }
            unread = unreadable(languages, backbone)
            missing |= {f"{task.name}/{code}": f"{SKIPPED}; {why}" for code, why in unread.items()}
            # with none left it is the first one that is refused when it is read
            languages = [code for code in languages if code not in unread] or languages[:1]
        rows = first_rows(split, first)
        for language in languages:
            jobs.append(EvaluationJob(request, task, language, rows, settings, precision=precision))
            layers[request.expression, jobs[-1].pooling].add(jobs[-1].layer)
    return [_with_layers(job, layers[job.request.expression, job.pooling]) for job in jobs], missing


def require_data(requests: Iterable[Request], root: Path | None, *, offline: bool) -> None:
    """Refuse requests that no rows can answer; no backbone is needed, and no row is read.

    Raises:
        NotFoundError: A task or language is unknown, or there are no rows; the places are listed.
        OfflineError: Only a hub has them, and `offline` is set.
        UsageError: A task that is no bitext is to be measured as one.
    """
    seen = set()
    for request in requests:
        asked = request.task, request.suite, request.languages, request.split, request.alignment
        if asked in seen:
            continue
        seen.add(asked)
        task = _task(request, root)
        split = sliced(request.split)[0] or task.eval_split
        two_sided = FORMATS.get(task.format).TWO_SIDED
        keys = [f"{split}.source", f"{split}.target"] if two_sided else [split]
        for language in _languages(request, task, split, root):
            for key in keys:
                require_located(task, key, language, root, offline=offline)


def _task(request: Request, root: Path | None) -> TaskSpec:
    """The task with the request's options."""
    task = load_task(request.task)
    if request.suite:
        task = load_suite(request.suite).of(task)
    task = task_in_world(task, root)
    if request.alignment and METRICS.get(task.metric).SEARCH != "nearest":
        raise UsageError(
            f"task {task.name} is no bitext of sentences with one translation each",
            hint="Such as tatoeba, ntrex, tico19 or udhr.",
        )
    return task.model_copy(update={"options": {**task.options, **request.options}})


def _cut(task: TaskSpec, backbone: KnownBackbone) -> TaskSpec:
    """A task without training, cut where its YAML says, or else where the backbone's input ends."""
    if FORMATS.get(task.format).NEEDS_HEAD or "max_length" in task.model_fields_set:
        return task
    return task.model_copy(update={"max_length": backbone.max_length})


def _languages(request: Request, task: TaskSpec, split: str, root: Path | None) -> Sequence[str]:
    """Those asked for, or all of the task that have data."""
    for language in request.languages:
        if language not in task.every_language:
            known = task.every_language
            hint = called(language, known)
            raise NotFoundError.named(f"language of task {task.name}", language, known, hint=hint)
    if request.languages:
        return request.languages
    there = available_languages(task, split, root)
    there = there or available_languages(task, split, root, remote=True)
    found = [language for language in task.languages if language in there]
    return found or task.languages[:1]  # loading it lists every place that was tried


def _looked_for(task: TaskSpec, split: str, language: str, root: Path | None) -> str:
    """That a language has no rows, and the first place where they would be."""
    place = next(iter(tried(task, row_key(task, split), language, root)), "")
    return f"no data; {f'looked for {place}' if place else 'no source has it'}"


def _settings(request: Request, task: TaskSpec, backbone: KnownBackbone) -> Options:
    """The task's retrieval options with what the request and the backbone say."""
    settings = options(Options, task)
    asked = request.layer if request.layer >= 0 else settings.layer
    layer = asked if asked >= 0 else backbone.retrieval_layer
    if layer > backbone.identity.num_layers:
        raise UsageError(f"layer {layer}: the backbone has {backbone.identity.num_layers} blocks")
    pooling = request.pooling or settings.pooling
    if pooling not in POOLINGS:
        known = ", ".join(sorted(POOLINGS))
        raise UsageError(f"no pooling named '{pooling}'", hint=f"Known: {known}.")
    return settings.model_copy(update={"layer": layer, "pooling": pooling})


def _with_layers(job: EvaluationJob, layers: set[int]) -> EvaluationJob:
    return job if job.settings is None else replace(job, layers=tuple(sorted(layers)))
