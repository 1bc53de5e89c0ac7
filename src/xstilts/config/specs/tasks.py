"""Tasks, where their rows come from, and the benchmarks that they make up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from xstilts.config.specs.base import Spec

_LABEL = re.compile(r"\S(?:[^\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]*\S)?")
_CODE = re.compile(r"[\w-]+")


def _by_language(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    return {k: v if isinstance(v, Mapping) else {"*": v} for k, v in values.items()}


Counts = Annotated[dict[str, dict[str, int]], BeforeValidator(_by_language)]
"""Split to language to rows; `*` is every other language, and a number stands for all."""


class HubSource(Spec):
    """A data set on a hub, at a pinned revision; parquet or JSON only, never a loading script.

    Attributes:
        repo: Data set id, such as `facebook/xnli`.
        revision: A commit or tag; never a moving branch unless `unpinned_reason` says why.
        config: Name of the configuration; `{language}`, `{iso3}` and `{language_name}` are filled.
        splits: Our split name to the hub's, or to the file that holds it.
    """

    repo: str
    revision: str
    config: str = ""
    splits: dict[str, str] = Field(default_factory=dict)
    unpinned_reason: str = ""


class SourceSpec(Spec):
    """One way to get a task's rows: local files in an original layout, or a hub data set.

    Attributes:
        reader: A file in `data/readers`; empty when `parts` is set.
        files: Split name to a path below the data folder; `{language}`, `{code}`, `{iso3}`,
            `{language_name}`, `{source}` and `{source_iso3}` are filled, `*` is expanded in sorted
            order. Retrieval tasks name a side and a gold file per split: `test.source`,
            `test.target`, `test.gold`. `test.labels` is a file with the labels of `test`; of
            several label or gold files the first that exists is used.
        parts: Other tasks whose rows are concatenated, as `task`, or `task/split` for training
            rows that another split of that task provides.
        codes: Language code to what this source calls it, filled for `{code}`; the code itself
            where not listed.
        columns: Field of the example to a column name or 0-based number; `a + b` joins the texts
            of several by a blank, and `{code}` and the like are filled.
        label_map: Label as written to label name; names not listed stay as they are.
        options: What the reader takes besides.
        sha256: File path (filled) to checksum, where the distribution publishes one.
        languages: The languages this source covers; empty means all of the task's.
        counts: Rows per split and language of this copy where they are not the task's `counts`:
            a part of the data, or a stand-in for it.
        note: A trap of this copy, shown by `xstilts data show`.
        refused: When set, this source exists but is not used, for this reason.
    """

    reader: str = ""
    files: dict[str, str | list[str]] = Field(default_factory=dict)
    parts: list[str] = Field(default_factory=list)
    codes: dict[str, str] = Field(default_factory=dict)
    hub: HubSource | None = None
    columns: dict[str, str | int] = Field(default_factory=dict)
    label_map: dict[str, str] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    sha256: dict[str, str] = Field(default_factory=dict)
    languages: list[str] = Field(default_factory=list)
    counts: Counts = Field(default_factory=dict)
    note: str = ""
    refused: str = ""


class TaskSpec(Spec):
    """A task: a format, its rows, its languages, its metric. One YAML in `configs/tasks`.

    Attributes:
        format: A file in `formats`.
        family: Tasks of one family may share a head (`nli`, `span_qa`, …); defaults to the name.
        roles: `intermediate`, `target` or both.
        languages: Codes, in the order of the official scorer.
        more_languages: What the data has besides, such as XTREME-R's; evaluated where a suite or
            `--langs` names it.
        source_language: The language trained on for zero-shot transfer, or that sentences are
            paired with. Where it is not stated: English, or the only language of a task that trains
            on its own rows; with several and no English it has to be stated.
        labels: Label names in a fixed order; empty when the format has none or they are read from
            the data.
        metric: A file in `metrics`.
        train_task: The task whose training rows train the head for this target; empty for
            retrieval; the task itself when it has its own training rows.
        eval_split: The split scored by default.
        select_split: The source-language split that picks the checkpoint; empty means the last
            checkpoint is taken, as the protocol does for extractive QA.
        counts: Rows per split and language that the protocol states, for `xstilts data check`:
            `{split: {language or "*": rows}}`, or `{split: rows}` for all languages.
        max_length: Sub-words per encoder run, special tokens included; retrieval that does not
            state it takes what the backbone holds.
        train: Defaults for `TrainSpec` that belong to the task.
        options: What the format takes besides (document stride, question limit, layer, …).
        domain: `legal`, `medical`, `news`, … for retrieval tasks.
    """

    name: str
    title: str = ""
    format: str
    family: str = ""
    roles: list[Literal["intermediate", "target"]] = Field(default_factory=list)
    languages: list[str]
    more_languages: list[str] = Field(default_factory=list)
    source_language: str = "en"
    labels: list[str] = Field(default_factory=list)
    metric: str
    train_task: str = ""
    eval_split: str = "test"
    select_split: str = "validation"
    counts: Counts = Field(default_factory=dict)
    max_length: int = Field(default=128, gt=4)
    train: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    domain: str = ""
    license: str = ""
    citation: str = ""
    note: str = ""
    sources: list[SourceSpec]

    @model_validator(mode="before")
    @classmethod
    def _own_source_language(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "source_language" in values:
            return values
        languages = values.get("languages")
        if not isinstance(languages, list) or not languages or not _has_training_rows(values):
            return values
        if "en" in (*languages, *(values.get("more_languages") or ())):
            return values
        if len(languages) == 1:
            return {**values, "source_language": languages[0]}
        return {**values, "source_language": ""} if values.get("train_task") else values

    @field_validator("source_language")
    @classmethod
    def _stated(cls, value: str) -> str:
        if value:
            return value
        raise PydanticCustomError(
            "source_language",
            "name the language that is trained on: `languages` lists several and no en",
        )

    @field_validator("labels", "languages", "more_languages")
    @classmethod
    def _distinct(cls, names: list[str], info: ValidationInfo) -> list[str]:
        """Predictions are files of lines with names between tabs, and codes are parts of paths."""
        kind = _LABEL if info.field_name == "labels" else _CODE
        for number, name in enumerate(names):
            if not kind.fullmatch(name):
                raise PydanticCustomError("name", f"{name!r} cannot be a name here")
            if name in names[:number]:
                raise PydanticCustomError("name", f"{name!r} is listed twice")
        return names

    @property
    def every_language(self) -> list[str]:
        """All languages that the data has."""
        return [*self.languages, *self.more_languages]

    def identity_values(self) -> dict[str, Any]:
        """What of the task decides a result; equal values, the same task, wherever its rows lie.

        A key that is added to `TaskSpec` belongs here only where it changes what is computed:
        digests of trainings and cells are made of these values.
        """
        outside = {"sources", "note", "title", "counts", "citation", "more_languages"}
        return self.model_dump(exclude=outside)

    @property
    def head_family(self) -> str:
        """Tasks with the same value may share a head."""
        return self.family or self.name


def _has_training_rows(values: dict[str, Any]) -> bool:
    """Whether a task, as read from YAML, trains on rows of its own."""
    train_task = values.get("train_task")
    if train_task:
        return bool(train_task == values.get("name"))
    sources = values.get("sources")
    for source in sources if isinstance(sources, list) else ():
        spec = source.model_dump() if isinstance(source, SourceSpec) else source
        if isinstance(spec, dict) and "train" in (spec.get("files") or {}):
            return True
    return False


class SuiteSpec(Spec):
    """A benchmark: which tasks, in which languages, averaged how. One YAML in `configs/suites`.

    Attributes:
        tasks: Task to its languages in the order of the official scorer.
        groups: Group to tasks; a group's score is the mean of theirs.
        overall: The tasks whose mean is the overall score.
    """

    name: str
    title: str = ""
    tasks: dict[str, list[str]]
    groups: dict[str, list[str]]
    overall: list[str]
    citation: str = ""
    note: str = ""

    def of(self, task: TaskSpec) -> TaskSpec:
        """The task with the languages that the suite has it in; others stay as they are."""
        own = self.tasks.get(task.name)
        return (
            task
            if own is None
            else task.model_copy(update={"languages": own, "more_languages": []})
        )
