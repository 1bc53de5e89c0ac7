"""The verbs about a task's rows: list, check, prepare, bundle, translate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xstilts.errors import UsageError
from xstilts.session.setup import Setup, expanded

if TYPE_CHECKING:
    from xstilts.config.specs import TaskSpec
    from xstilts.data.bundle import Bundle
    from xstilts.data.examples import Example
    from xstilts.data.findings import Finding
    from xstilts.data.prepare import Presence
    from xstilts.data.results import DataResult, FindingsResult, TranslationsResult


class Data(Setup):
    """The verbs about a task's rows; see `Session`."""

    def data_tasks(self, names: Sequence[str] = (), suite: str = "") -> list[TaskSpec]:
        """Tasks in every language that their data has, or in those of a suite; all by default."""
        from xstilts.config.load import load_suite
        from xstilts.data.located import data_tasks

        return data_tasks(names, load_suite(suite) if suite else None, self.data)

    def require_data(self, verb: str) -> Path:
        """The data folder.

        Raises:
            UsageError: There is none to `verb`.
        """
        if self.data is None:
            hint = "Name it: --data DIR or XSTILTS_DATA."
            raise UsageError(f"no data folder to {verb}", hint=hint)
        return self.data

    def list_data(
        self, tasks: Sequence[str] = (), *, suite: str = "", **options: bool
    ) -> DataResult:
        """What data is there.

        Args:
            tasks: All of them when empty.
            suite: The tasks and languages of one.
            options: `count` (read and count the rows), `checksums` (compute sha256).

        Raises:
            NotFoundError: None of the tasks has data; every place is listed.
        """
        from xstilts.data.prepare import list_data, no_data
        from xstilts.data.results import DataResult

        root, specs = self.require_data("list"), self.data_tasks(tasks, suite)
        found: list[Presence] = []
        with self.progress("data") as progress:
            for number, spec in enumerate(specs):
                progress(spec.name, number / len(specs))
                found += list_data([spec], root, **options)
        absent = [spec for spec in specs if spec.name not in {item.task for item in found}]
        if not found:
            raise no_data(absent, root, "list")
        return DataResult(tuple(found), tuple(absent))

    def missing_languages(self, tasks: Sequence[str], suite: str) -> list[Finding]:
        """The languages that a suite names and that have no data; none without a suite."""
        if not suite:
            return []
        from xstilts.data.check import missing_languages

        return list(missing_languages(self.data_tasks(tasks, suite), self.data))

    def check_data(self, tasks: Sequence[str] = (), *, suite: str = "") -> FindingsResult:
        """Look for placeholder labels, wrong languages, repeats, overlap, wrong counts.

        Args:
            tasks: All that have data when empty.
            suite: The tasks and languages of one; a language without data is a finding, too.

        Raises:
            NotFoundError: None of the tasks has data; every place is listed.
        """
        from xstilts.data.check import check_all, present
        from xstilts.data.prepare import no_data
        from xstilts.data.results import FindingsResult

        root, every = self.require_data("check"), self.data_tasks(tasks, suite)
        specs = [spec for spec in every if present(spec, root)]
        absent = [spec for spec in every if spec not in specs] if tasks or not specs else []
        if not specs:
            raise no_data(absent, root, "check")
        with self.progress("checking") as progress:
            found = check_all(specs, root, progress)
        lacking = self.missing_languages(tasks, suite)
        return FindingsResult((*lacking, *found), tuple(specs), tuple(absent))

    def prepare_data(
        self,
        task: str,
        *,
        raw: str | Path | None = None,
        langs: Sequence[str] = (),
        splits: Sequence[str] = (),
        suite: str = "",
    ) -> DataResult:
        """Make a task ready: convert original files or fetch what a hub has, and read it all.

        Args:
            task: Name, or path of a YAML.
            raw: Folder with original files or archives to convert into the data folder first.
            langs: Languages; all of the task's when empty.
            splits: All when empty.
            suite: The languages of one.

        Raises:
            NotFoundError: There is nothing to make ready; every place is listed.
            DataError: A file is broken.
        """
        from xstilts.data.check import missing_languages
        from xstilts.data.prepare import Presence, prepare, require_rows
        from xstilts.data.results import DataResult

        if raw is not None:  # the data folder may be new
            for folder in self.data_option:
                folder.mkdir(parents=True, exist_ok=True)
            self.require_data("write to")
        (spec,), root = self.data_tasks([task], suite), self.data_target
        asked: dict[str, Any] = {"languages": langs, "splits": splits}
        steps = []
        with self.progress("preparing") as progress:
            for step in prepare(spec, root, raw_dir=expanded(raw), offline=self.offline, **asked):
                steps.append(step)
                progress(f"{task}: {len(steps)} done", 0.0)
        ready = tuple(step for step in steps if isinstance(step, Presence))
        if not ready:
            require_rows(spec, root, offline=self.offline or raw is not None, **asked)
        converted = tuple(step for step in steps if not isinstance(step, Presence))
        lacking = () if langs or splits else tuple(missing_languages([spec], root))
        return DataResult(ready, converted=converted, lacking=lacking)

    def bundle_data(self, tasks: Sequence[str], to: str | Path) -> Bundle:
        """Pack the files of some tasks as one `.tar` for a machine without a network."""
        from xstilts.data.bundle import bundle

        return bundle(self.data_tasks(tasks), self.require_data("pack"), Path(to))

    def translation_rows(
        self, task: str, split: str = "train", *, limit: int | None = None, seed: int = 42
    ) -> tuple[TaskSpec, list[Example]]:
        """What `translate` translates: the task, and its rows in the source language."""
        from xstilts.config.load import load_task
        from xstilts.data.sources import load, task_in_world

        root = self.require_data("keep translations in")
        spec = task_in_world(load_task(task), root)
        how: dict[str, Any] = {"offline": self.offline, "limit": limit or 0, "seed": seed}
        return spec, load(spec, split, spec.source_language, root, **how)

    def translate(
        self,
        task: str,
        langs: Sequence[str],
        model: str,
        split: str = "train",
        *,
        limit: int | None = None,
        seed: int = 42,
        code: str = "",
        beams: int = 4,
    ) -> TranslationsResult:
        """Translate a task's rows and keep them with the data; stopped, it continues.

        Args:
            task: Name, or path of a YAML.
            langs: Languages, such as `de` and `sw`.
            model: Seq2seq model of transformers: `org/name@revision` or a folder.
            split: What is translated.
            limit: At most this many rows, a nested subset for a seed.
            seed: Of that subset.
            code: The model's code of the language, where it cannot be found out.
            beams: Of the search; 1 is greedy.

        Raises:
            UsageError: There is no data folder, or rows of this format cannot be translated.
        """
        from xstilts.config.hub_models import require_at_hand

        spec, rows = self.translation_rows(task, split, limit=limit, seed=seed)
        place, _, revision = model.partition("@")
        require_at_hand("translation model", place, revision, offline=self.offline)
        from xstilts.data.results import TranslationsResult
        from xstilts.data.translation.task import translate_task

        root = self.data_target or self.require_data("keep translations in")
        how: dict[str, Any] = {"code": code, "beams": beams, "offline": self.offline}
        made = []
        for language in langs:
            with self.progress(f"{spec.name} into {language}") as progress:
                how |= {"device": self.device, "progress": progress}
                where = language, root, model, self.cache
                made.append(translate_task(spec, split, rows, *where, **how))
        return TranslationsResult(tuple(made))
