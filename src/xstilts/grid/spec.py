"""A study: a question, the table of runs that can answer it, and how the answer is read off."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import Field

from xstilts.config.layers import Layer, read_yaml, resolve
from xstilts.config.load import short_name, spec_path, spelt
from xstilts.config.specs import IntermediateSpec, RecipeSpec, SectionSpec, Seeds, Spec
from xstilts.errors import ConfigError, Problem
from xstilts.grid.answer_spec import AnswerSpec, TableSpec
from xstilts.train.recipe_rows import row_problems

Answered = TypeVar("Answered", AnswerSpec, TableSpec)

SECTIONS = ("intermediate", "target", "language")
ASKED = {"title", "question", "answer", "citation", "note"}
"""Of a study, what decides no cell."""


class StudySpec(Spec):
    """Runs that answer one question. One YAML in `configs/studies`; the stem is the name.

    In a sandbox world the values of its `sandbox` key replace the others.

    Attributes:
        question: In one sentence.
        backbones: The whole is run on each; empty means the command's.
        intermediates: The rows of the table; a text is a task or mixture.
        targets: Tasks that are evaluated; those with a head are trained first.
        alignment: Bitexts on which alignment is measured, at every depth.
        curve: Measure it on the snapshots of trainings too (`train.save_every`).
        intermediate: How the rows are trained.
        target: How heads for targets are trained.
        language: As in a recipe; None for no language adapters.
        seeds: The whole is run once for each.
        depths: Shares of the blocks that retrieval pools at; empty means the backbone's own block.
        answer: How the answer is read off; None for a study that only computes.
    """

    name: str
    title: str = ""
    question: str = ""
    backbones: list[str] = Field(default_factory=list)
    intermediates: list[IntermediateSpec] = Field(min_length=1)
    targets: list[str] = Field(default_factory=list)
    alignment: list[str] = Field(default_factory=list)
    curve: bool = False
    intermediate: SectionSpec = Field(default_factory=SectionSpec)
    target: SectionSpec = Field(default_factory=SectionSpec)
    language: SectionSpec | None = None
    seeds: Seeds = Field(default=[1, 2, 3])
    depths: list[float] = Field(default_factory=list)
    answer: AnswerSpec | None = None
    citation: str = ""
    note: str = ""

    def recipe(self) -> RecipeSpec:
        """Its training and evaluation as a recipe.

        The sections hold in every world, as `sandbox` was applied when the study was read.
        """
        own = {name: getattr(self, name) for name in SECTIONS if getattr(self, name) is not None}
        # a recipe has at least one target; what a study leaves out is not evaluated
        return RecipeSpec.model_construct(
            name=self.name,
            title=self.title,
            intermediates=self.intermediates,
            targets=[*self.targets, *self.alignment],
            seeds=self.seeds,
            sandbox=own,
            **{name: getattr(self, name) for name in SECTIONS},
        )

    def layers_at(self, blocks: int) -> dict[int, float]:
        """Blocks to the depth that they stand for, the first of several depths on one of them.

        Args:
            blocks: Of the backbone.
        """
        found: dict[int, float] = {}
        for depth in self.depths:
            found.setdefault(round(depth * blocks), depth)
        return found


def study_name(study: str) -> str:
    """What a study is called that is given by its name or by the path of its YAML."""
    path = Path(study)
    return path.stem if path.suffix in (".yaml", ".yml") else path.name


def load_study(name: str, *, sandbox: bool) -> StudySpec:
    """A study by name or by the path of a YAML.

    Raises:
        NotFoundError: There is none of that name; near names are shown.
        ConfigError: The file has problems; all of them are listed.
    """
    path = spec_path("studies", "study", name)
    values = read_yaml(path)
    replaced = values.pop("sandbox", None) or {}
    if sandbox:
        values |= replaced
    layer = Layer(str(path), {"name": path.stem, **spelt(values, path.parent)})
    study = resolve(StudySpec, [layer]).value
    study = _checked(study, str(path))
    if not sandbox:  # a mistake in the part that is not used is one all the same
        other = Layer(str(path), {"name": path.stem, **spelt(values | replaced, path.parent)})
        _checked(resolve(StudySpec, [other]).value, str(path))
    return study


def _checked(study: StudySpec, where: str) -> StudySpec:
    """The study with its answer's rows spelt out, rows and tasks by their short names.

    Raises:
        ConfigError: A row is wrong, or the answer speaks of what the study does not have.
    """
    answer = study.answer and _spelt_answer(study, study.answer)
    problems = row_problems(study.recipe())
    if study.name != study_name(where):
        problems.append(Problem("name", "a study is called as its file is.", "Leave out this key."))
    if answer:
        problems += _answer_problems(study, answer)
    if problems:
        raise ConfigError(where, problems)
    return study.model_copy(update={"answer": answer})


def _spelt_answer(study: StudySpec, answer: AnswerSpec) -> AnswerSpec:
    tables = [_short(table) for table in answer.tables]
    answer = _short(answer).model_copy(update={"tables": tables})
    rows = [row.name for row in study.intermediates if row.name not in answer.theirs]
    return answer.model_copy(update={"ours": answer.ours or rows})


def _answer_problems(study: StudySpec, answer: AnswerSpec) -> list[Problem]:
    known = {
        "rows": {row.name for row in study.intermediates},
        "tasks": {short_name(name) for name in (*study.targets, *study.alignment)},
    }
    problems = []
    for place, part in (
        ("answer", answer),
        *((f"answer.tables[{n}]", table) for n, table in enumerate(answer.tables)),
    ):
        for key, kind in (("ours", "rows"), ("theirs", "rows"), ("tasks", "tasks")):
            wrong = [name for name in getattr(part, key) if name not in known[kind]]
            problems += [Problem(f"{place}.{key}", f"{n} is none of its {kind}") for n in wrong]
    if study.depths and answer.depth not in study.depths:
        shown = ", ".join(f"{depth:g}" for depth in study.depths)
        problems.append(Problem("answer.depth", f"{answer.depth:g} is none of {shown}"))
    if study.alignment and not study.depths:
        problems.append(Problem("depths", "alignment is measured at depths, and there are none"))
    return problems


def _short(part: Answered) -> Answered:
    """A part of an answer in which what is given by a YAML's path has its short name."""
    names = {key: getattr(part, key) for key in ("ours", "theirs", "tasks")}
    return part.model_copy(
        update={
            key: [short_name(name) if name.endswith(".yaml") else name for name in own]
            for key, own in names.items()
        }
    )
