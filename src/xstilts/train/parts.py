"""What a training phase learns from: a part for each task and each language of plain text."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from xstilts.composition.resolve import serves
from xstilts.config.load import load_task
from xstilts.config.run import RunSpec, SourceMix
from xstilts.config.specs import TaskSpec
from xstilts.data import translated
from xstilts.data.check_language import require_language
from xstilts.data.examples import Example
from xstilts.data.sources import (
    available_languages,
    data_digest,
    first_rows,
    load,
    require_located,
    shuffled_labels,
    subset,
    task_in_world,
)
from xstilts.data.text import read_lines
from xstilts.errors import DataError, NotFoundError, UsageError
from xstilts.tasks.formats import FORMATS, check_targets, with_labels
from xstilts.tasks.metrics import METRICS

MLM = "mlm"
ORIGINAL = "original"
"""Note of rows that are the task's own, not translated."""


@dataclass(frozen=True)
class Dev:
    """Rows that pick the checkpoint, in one language of one task."""

    task: TaskSpec
    language: str
    split: str
    rows: Sequence[Example]

    @property
    def inputs(self) -> Sequence[Example]:
        """The rows to encode, those with a label that the head lacks without it.

        Such a label counts as wrong. It can occur where labels are read from the training rows.
        """
        if not FORMATS.get(self.task.format).LABEL_SET:
            return self.rows
        known = set(self.task.labels)
        fit = [known.issuperset(_labels(row)) for row in self.rows]
        if all(fit):
            return self.rows
        pairs = zip(self.rows, fit, strict=True)
        return [row if fits else replace(row, target=None) for row, fits in pairs]


def _labels(row: Example) -> Sequence[str]:
    if row.target is None:
        return ()
    return (row.target,) if isinstance(row.target, str) else row.target


@dataclass(frozen=True)
class Part:
    """One task of a mixture, or one language of plain text, with its rows.

    Attributes:
        name: The task's, or `mlm/<language>` for plain text.
        task: Format, labels and metric.
        languages: Of the training rows.
        rows: To train on.
        dev: Rows that pick the checkpoint; empty when the last one is kept.
        head: Name of the head, the same for tasks of one family with the same labels.
        size: What its share of the text follows, in characters; 0 for other tasks.
        notes: Language to where its rows came from.
    """

    name: str
    task: TaskSpec
    languages: tuple[str, ...]
    rows: Sequence[Example]
    dev: Sequence[Dev] = ()
    head: str = ""
    size: int = 0
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """Where the rows of each language came from; empty when all are the task's own."""
        if set(self.notes.values()) <= {ORIGINAL}:
            return ""
        return ", ".join(f"{language} {note}" for language, note in self.notes.items())

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower score on the dev rows, which are all of one task, is better."""
        return bool(self.dev) and METRICS.get(self.dev[0].task.metric).LOWER_IS_BETTER


def make_parts(
    tasks: Sequence[str], run: RunSpec, root: Path | None, *, offline: bool
) -> list[Part]:
    """The parts of a phase, in the order of `tasks`, plain text last.

    Raises:
        NotFoundError: A task or language is unknown, or has no rows anywhere.
        DataError: A row is broken, or fewer rows are there than the budget states.
        UsageError: Settings that contradict each other.
    """
    require_together(tasks, run)
    parts: list[Part] = []
    for name in tasks:
        if name == MLM:
            parts += _text_parts(run, root, offline=offline)
        else:
            parts.append(_task_part(name, run, root, offline=offline))
    if run.mlm.share and MLM not in tasks:
        parts += _text_parts(run, root, offline=offline)
    _require_selection(parts, run)
    return _with_heads(parts)


def _require_selection(parts: Sequence[Part], run: RunSpec) -> None:
    """Refuse a selection on a target's dev rows that no task's head can predict."""
    asked = run.select_on == "target-dev" and run.train.select != "none"
    trained = [part.name for part in parts if part.task.name != MLM]
    if asked and trained and not any(part.dev for part in parts):
        raise UsageError(
            f"no head of {', '.join(trained)} predicts task {run.target}, on whose dev rows to "
            "select: format, family or labels differ",
            hint="Name a target of the same family, or leave out --select-on.",
        )


def _with_heads(parts: Sequence[Part]) -> list[Part]:
    """The parts with their heads: of the family, or the task's own where that has other labels.

    Raises:
        UsageError: Two parts with other labels, or formats, would have a head of one name.
    """
    heads: dict[str, TaskSpec] = {}
    result = []
    for part in parts:
        task = part.task
        name = task.head_family
        if not _alike(heads.setdefault(name, task), task):
            name = task.name
        other = heads.setdefault(name, task)
        if not _alike(other, task):
            raise UsageError(
                f"tasks {other.name} and {task.name} both name a head '{name}', and differ in "
                "format, labels or their order",
                hint=f"Rename {task.name}'s YAML, or give both the same labels in the same order.",
            )
        result.append(replace(part, head=name))
    return result


def _alike(one: TaskSpec, other: TaskSpec) -> bool:
    """Whether one head can speak for both."""
    return one.format == other.format and one.labels == other.labels


def require_together(tasks: Sequence[str], run: RunSpec) -> None:
    """Refuse tasks that cannot be trained together, before any row is read.

    Raises:
        UsageError: Two tasks have one name, or plain text beside others has no share of the steps,
            or two that differ.
    """
    names = [load_task(name).name for name in tasks]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UsageError(
            f"two of the tasks are called {repeated}",
            hint="Name each once; a YAML's name is that of its file.",
        )
    _require_share(tasks, run)


def _require_share(tasks: Sequence[str], run: RunSpec) -> None:
    if (not run.mlm.share and MLM not in tasks) or list(tasks) == [MLM]:
        return
    beside = sum(v for name, v in run.mix.beside.items() if name.partition("/")[0] == MLM)
    if not run.mlm.share and not run.mix.beside.get(MLM):
        raise UsageError(
            "plain text beside other tasks has no share of the steps",
            hint="Say how much of them: --mlm 0.5, or mlm.share in a YAML.",
        )
    if run.mlm.share and beside not in (0, run.mlm.share):
        raise UsageError(
            f"plain text has two shares of the steps: mlm.share says {run.mlm.share:g}, and "
            f"mix.beside {beside:g}",
            hint="Leave one of them out.",
        )


def require_rows(tasks: Sequence[str], run: RunSpec, root: Path | None, *, offline: bool) -> None:
    """Refuse a training without rows before any is read; raises as `make_parts` does."""
    require_together(tasks, run)
    for name in tasks:
        if name != MLM:
            task = task_in_world(load_task(name), root)
            if FORMATS.get(task.format).TWO_SIDED:
                raise UsageError(
                    f"task {task.name} trains nothing: its sentences are compared as they are",
                    hint="Evaluate on it: xstilts eval EXPRESSION --task TASK.",
                )
            for language in run.source.languages or (task.source_language,):
                _place(task, language, root, offline, made=run.source.origin == "translated")
    if MLM in tasks or run.mlm.share:
        task = task_in_world(load_task(MLM), root)
        for language, path in _text_places(run, task, root).items():
            if path is None:
                require_located(task, "train", language, root, offline=offline)
            elif not path.is_file():
                raise NotFoundError(f"no text file {path}", hint="Check --text.")


# -- tasks


def _task_part(name: str, run: RunSpec, root: Path | None, *, offline: bool) -> Part:
    spec = task_in_world(load_task(name), root)
    languages = tuple(run.source.languages) or (spec.source_language,)
    rows, notes = _rows(spec, languages, run, root, offline=offline)
    task = with_labels(spec, rows)
    if FORMATS.get(task.format).LABELLED:
        check_targets(rows)
    if run.labels == "shuffled":
        rows = shuffled_labels(rows, run.train.seed)
    dev = _dev(spec, task.labels, languages, run, root, offline=offline)
    return Part(task.name, task, languages, rows, dev, notes=notes)


def _rows(
    task: TaskSpec,
    languages: Sequence[str],
    run: RunSpec,
    root: Path | None,
    *,
    offline: bool,
) -> tuple[list[Example], dict[str, str]]:
    """Training rows of all source languages under the run's budget, and where they came from."""
    notes: dict[str, str] = {}
    by_language: dict[str, list[Example]] = {}
    for language in languages:
        made = run.source.origin == "translated"
        by_language[language], notes[language] = _in_language(
            task, language, root, offline, made=made
        )
        if run.source.check:
            unsure = require_language(task, by_language[language], language, root)
            if unsure:
                print(f"{task.name}: {unsure}", file=sys.stderr)
    rows = mix_languages(by_language, run.source, run.train.seed)
    rows = subset(rows, run.train.limit, run.train.seed)
    wanted = run.source.rows
    if wanted and len(rows) < wanted:
        raise DataError(
            f"task {task.name} has {len(rows):,} training rows in {', '.join(languages)}, and the "
            f"budget states {wanted:,}",
            hint="Lower source.rows, or add a language.",
        )
    return subset(rows, wanted, run.train.seed), notes


def _in_language(
    task: TaskSpec, language: str, root: Path | None, offline: bool, *, made: bool
) -> tuple[list[Example], str]:
    """Rows of one language: the task's own, else translated ones; `made` takes only these."""
    ready = _place(task, language, root, offline, made=made)
    if ready is None:
        return load(task, "train", language, root, offline=offline), ORIGINAL
    return translated.read(ready), f"translated by {translated.model_of(ready)}"


def _place(
    task: TaskSpec, language: str, root: Path | None, offline: bool, *, made: bool
) -> Path | None:
    """The file of translated training rows; None where the task has rows of its own.

    Raises:
        NotFoundError: There are neither.
        OfflineError: Only a hub has them, and `offline` is set.
    """
    if not made and language in (*task.every_language, task.source_language):
        require_located(task, "train", language, root, offline=offline)
        return None
    ready = translated.find(task, language, "train", root)
    if ready is None:
        known = [*task.every_language, *translated.languages(task, root)]
        raise NotFoundError(
            f"task {task.name} has no {'translated' if made else 'training'} rows in '{language}'",
            where=f"languages: {', '.join(dict.fromkeys(known))}",
            hint=f"Translate them: xstilts data translate {task.name} --langs {language} "
            "--model MODEL",
        )
    return ready


def mix_languages(
    by_language: dict[str, list[Example]], source: SourceMix, seed: int
) -> list[Example]:
    """One list of rows from several languages.

    `added` is every row of every language. `mixed` deals the rows out: a row number is taken in one
    language only, so that as many rows come out as the smallest language has.
    """
    lists = list(by_language.values())
    tagged = len(lists) > 1
    named = {
        code: [_renamed(row, code) if tagged else row for row in rows]
        for code, rows in by_language.items()
    }
    if source.how == "added" or not tagged:
        return [row for rows in named.values() for row in rows]
    count = min(len(rows) for rows in lists)
    codes = list(named)
    order = subset_order(count, seed)
    chosen = {number: codes[place % len(codes)] for place, number in enumerate(order)}
    return [named[chosen[number]][number] for number in range(count)]


def subset_order(count: int, seed: int) -> list[int]:
    """The numbers below `count` in an order that depends on the seed only."""
    order = list(range(count))
    random.Random(seed).shuffle(order)  # noqa: S311  (sampling, no secret)
    return order


def _renamed(row: Example, language: str) -> Example:
    return replace(row, id=f"{language}:{row.id}")


def _dev(
    task: TaskSpec,
    labels: Sequence[str],
    languages: Sequence[str],
    run: RunSpec,
    root: Path | None,
    *,
    offline: bool,
) -> list[Dev]:
    """Rows of the source language, or of the target's languages where that is asked for.

    They are read with the labels that the YAML lists: `labels`, the head's, may be fewer.
    """
    head = task.model_copy(update={"labels": list(labels)})
    if run.train.select == "none":
        return []
    if run.select_on == "target-dev":
        return _target_dev(head, run, root, offline=offline)
    if not task.select_split or not FORMATS.get(task.format).PREDICTS:
        return []
    split = first_rows(task.select_split, run.train.dev_limit)
    found = []
    for language in languages:
        if language not in (*task.every_language, task.source_language):
            continue
        try:
            rows = load(task, split, language, root, offline=offline)
        except NotFoundError:
            continue
        found.append(Dev(head, language, split, rows))
    return found


def _target_dev(task: TaskSpec, run: RunSpec, root: Path | None, *, offline: bool) -> list[Dev]:
    """Rows of the target's other languages; none where a head of `task` cannot predict them."""
    if not run.target:
        raise UsageError(
            "selection on a target's dev set needs to know the target", hint="Add --target TASK."
        )
    target = task_in_world(load_task(run.target), root)
    if not serves(task, target):
        return []
    labelled = target.model_copy(update={"labels": target.labels or task.labels})
    split = target.select_split or "validation"
    codes = [c for c in available_languages(target, split, root) if c != target.source_language]
    if not codes:
        raise NotFoundError(f"task {target.name} has no split '{split}' in a target language")
    split = first_rows(split, run.train.dev_limit)
    return [Dev(labelled, c, split, load(target, split, c, root, offline=offline)) for c in codes]


# -- plain text


def _text_parts(run: RunSpec, root: Path | None, *, offline: bool) -> list[Part]:
    task = task_in_world(load_task(MLM), root)
    task = task.model_copy(update={"options": {**task.options, **run.mlm.options}})
    texts = _texts(run, task, root, offline=offline)
    return [
        Part(
            f"{MLM}/{code}", task, (code,), rows, size=sum(len(row.fields["text"]) for row in rows)
        )
        for code, rows in texts.items()
    ]


def _texts(
    run: RunSpec, task: TaskSpec, root: Path | None, *, offline: bool
) -> dict[str, list[Example]]:
    """Language to the lines that a run learns from.

    Args:
        run: Says which files or languages; see `_text_places`.
        task: Of masked language modelling.
        root: The folder with data.
        offline: Read from this machine only.

    Raises:
        NotFoundError: There is no text.
        DataError: A file is not UTF-8, or holds no text.
        UsageError: `--text` names no language.
    """
    found = {}
    for language, path in _text_places(run, task, root).items():
        rows = (
            load(task, "train", language, root, offline=offline)
            if path is None
            else _read_text(path, language)
        )
        found[language] = subset(rows, run.train.limit, run.train.seed)
    return found


def _text_places(run: RunSpec, task: TaskSpec, root: Path | None) -> dict[str, Path | None]:
    """Language to the file that was named for it, or None for the task's own rows.

    Where nothing is named, every language with text below `root` counts.
    """
    texts = _text_files(run.mlm.text)
    if not texts:
        codes = run.mlm.languages or available_languages(task, "train", root)
        texts = dict.fromkeys(codes)
    if not texts:
        raise NotFoundError(
            "there is no text for masked language modelling",
            hint="Give files, --text sw=FILE, or put mlm/<language>.txt below the data folder.",
        )
    return texts


def _text_files(entries: Sequence[str]) -> dict[str, Path | None]:
    files: dict[str, Path | None] = {}
    for entry in entries:
        language, equals, path = entry.partition("=")
        if not equals or not language or not path:
            raise UsageError(f"'{entry}' names no language", hint="Write --text sw=FILE.")
        files[language] = Path(path)
    return files


def _read_text(path: Path, language: str) -> list[Example]:
    """One text a line, blank lines skipped.

    Raises:
        NotFoundError: There is no such file.
        DataError: It is not UTF-8, or holds no text.
    """
    if not path.is_file():
        raise NotFoundError(f"no text file {path}", hint="Check --text.")
    rows = [
        Example(str(number), language, {"text": line.strip()}, None, f"{path}:{number}")
        for number, line in enumerate(read_lines(path), 1)
        if line.strip()
    ]
    if not rows:
        raise DataError("the file holds no text", where=str(path))
    return rows


# -- identity


def identity(part: Part) -> dict[str, object]:
    """Everything of a part that decides what is learned from it."""
    return {
        "name": part.name,
        "task": part.task.identity_values(),
        "languages": list(part.languages),
        "head": part.head,
        "rows": data_digest(part.rows),
        "dev": [(dev.task.name, dev.language, data_digest(dev.rows)) for dev in part.dev],
    }
