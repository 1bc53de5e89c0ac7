"""What the folder `configs` holds: tasks, suites, recipes, methods, backbones, by name or path."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from xstilts.config import paths
from xstilts.config.layers import Layer, place_setting, read_yaml, resolve
from xstilts.config.registry import Registry
from xstilts.config.specs import (
    BackboneSpec,
    MethodSpec,
    MixtureSpec,
    RecipeSpec,
    Spec,
    SuiteSpec,
    TaskSpec,
)
from xstilts.errors import ConfigError, NotFoundError, Problem, near_names

T = TypeVar("T", bound=Spec)

EXTERNAL = {"adapters": ("external_adapters", "config"), "peft": ("external_peft", "tuner")}
"""Library to the method that runs its modules, and the option that says which kind."""

METHODS = Registry[object]("xstilts.modules.methods", "method", group="xstilts.methods")
FORMATS = Registry[object]("xstilts.tasks.formats", "format", group="xstilts.formats")
METRICS = Registry[object]("xstilts.tasks.metrics", "metric", group="xstilts.metrics")
READERS = Registry[object]("xstilts.data.readers", "reader", group="xstilts.readers")
"""The names of implementations; their packages give them by their contracts."""

_YAML = (".yaml", ".yml")


@cache
def config_folder() -> Path:
    """The folder with `tasks/`, `methods/`, …: inside the wheel, or beside `src` in a checkout."""
    packaged = Path(__file__).parents[1] / "_configs"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "configs"


def _folders_of(key: str) -> list[Path]:
    """Folders of an environment variable, or else of an `xstilts.toml`, relative to that."""
    folders = paths.split_folders(os.environ.get(f"XSTILTS_{key.upper()}", ""))
    if folders:
        return folders
    listed, origin = place_setting(key, Path.cwd(), paths.home_folder())
    if isinstance(listed, str):
        listed = [listed]
    if origin is not None and not (
        isinstance(listed, list) and all(isinstance(item, str) for item in listed)
    ):
        raise ConfigError(str(origin), [Problem(key, "not a list of folders.")])
    return [origin.parent / Path(item).expanduser() for item in listed or [] if origin]


def data_folders() -> list[Path]:
    """Folders with original data files, of `XSTILTS_DATA`, or `data` in an `xstilts.toml`.

    Raises:
        ConfigError: `data` is no list of texts.
    """
    return _folders_of("data")


def include_folders() -> list[Path]:
    """Folders of own YAMLs: of `XSTILTS_INCLUDE`, or `include` in an `xstilts.toml`.

    Raises:
        NotFoundError: One of them is not there.
        ConfigError: `include` is no list of texts.
    """
    folders = _folders_of("include")
    for folder in folders:
        if not folder.is_dir():
            raise NotFoundError(f"no folder {folder}", hint="Check --include.")
    return folders


def _own_files(kind: str) -> Iterator[Path]:
    """YAMLs of a kind in the folders included: tasks lie in them, other kinds below them."""
    for folder in include_folders():
        yield from sorted((folder / kind).glob("*.yaml"))
        if kind == "tasks":
            yield from sorted(folder.glob("*.yaml"))


def spec_names(kind: str) -> list[str]:
    """The names in `configs/<kind>` and in the folders included, sorted."""
    shipped = (config_folder() / kind).glob("*.yaml")
    return sorted({path.stem for path in (*shipped, *_own_files(kind))})


def spec_path(kind: str, singular: str, name: str) -> Path:
    """The YAML of a name, or the path itself.

    Raises:
        NotFoundError: There is no such name.
        ConfigError: Two files have the name.
    """
    if name.endswith(_YAML):
        return Path(name).expanduser()
    shipped = config_folder() / kind / f"{name}.yaml"
    found = [path for path in (shipped, *_own_files(kind)) if path.stem == name and path.is_file()]
    if not found:
        raise NotFoundError.named(singular, name, spec_names(kind))
    if len(found) > 1:
        raise ConfigError(
            str(found[1]), [Problem("name", f"{found[0]} has it, too.", "Rename it.")]
        )
    return found[0]


def load_spec(spec: type[T], path: Path) -> T:
    """One YAML file as a value; `name` is the file stem.

    Raises:
        ConfigError: The file has problems; all of them are listed.
    """
    return resolve(spec, [Layer(str(path), {"name": path.stem, **read_yaml(path)})]).value


_RENAMED = {("methods", "full_diff"): "full_delta"}
"""Folder and name of what was called otherwise before 0.2."""


def _named(spec: type[T], kind: str, singular: str, name: str) -> T:
    name = _RENAMED.get((kind, name), name)
    return load_spec(spec, spec_path(kind, singular, name))


def load_task(name: str) -> TaskSpec:
    """The task called `name`, or the one in the YAML file of that path.

    Raises:
        NotFoundError: There is no such task; near names are shown.
        ConfigError: The file has problems, such as an unknown format, metric or reader; all of
            them are listed.
    """
    task = _named(TaskSpec, "tasks", "task", name)
    named = [("format", FORMATS, task.format), ("metric", METRICS, task.metric)]
    named += [
        (f"sources[{number}].reader", READERS, source.reader)
        for number, source in enumerate(task.sources)
        if source.reader
    ]
    problems = [
        Problem(place, f"no {known.kind} named '{value}'.", near_names(value, known))
        for place, known, value in named
        if value not in known
    ]
    path = spec_path("tasks", "task", name)
    if not problems and path.parent != config_folder() / "tasks":  # what is shipped is tested
        problems = task_problems(task)
    if problems:
        raise ConfigError(str(path), problems)
    return task


def task_problems(task: TaskSpec) -> list[Problem]:
    """What makes a task useless although each of its keys is sound; nothing where all fits."""
    found = []
    form, metric = FORMATS.get(task.format), METRICS.get(task.metric)
    gives, takes = getattr(form, "GIVES", ""), getattr(metric, "TAKES", "texts")
    if getattr(metric, "SEARCH", ""):
        takes = "vectors"
    if gives not in ("", takes):
        what = f"'{task.metric}' scores {takes}, and format '{task.format}' gives {gives}."
        found.append(Problem("metric", what))
    if not task.every_language:
        found.append(Problem("languages", "none is listed.", "List at least one."))
    for number, source in enumerate(task.sources):
        unknown = sorted({*source.label_map.values()} - {*task.labels}) if task.labels else []
        for label in unknown:
            what = f"'{label}' is none of the task's labels."
            found.append(Problem(f"sources[{number}].label_map", what))
    return found


def tasks_of(name: str) -> list[str]:
    """The tasks of a mixture, or of a comma-separated list, or the task itself; YAMLs by path."""
    if name in spec_names("mixtures"):
        return list(load_mixture(name).tasks)
    return [part for part in name.split(",") if part]


def short_name(name: str) -> str:
    """What a mixture, some tasks or a task's YAML are called."""
    if name in spec_names("mixtures"):
        return name
    return "-".join(Path(p).stem if p.endswith(_YAML) else p for p in tasks_of(name))


def cut_down(
    spec: T,
    *,
    intermediates: Sequence[str] = (),
    targets: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> T:
    """A recipe or a study with only some of its rows and targets, or with other seeds.

    Args:
        spec: The recipe or study.
        intermediates: Names of the rows that stay, in this order; empty for all.
        targets: The targets that stay; empty for all.
        seeds: Instead of its own; empty for those.

    Raises:
        NotFoundError: It has no such row or target; near names are shown.
    """
    whole: Any = spec
    update: dict[str, list[Any]] = {"seeds": list(seeds)}
    for kind, names, known in (
        ("intermediate", intermediates, [(row.name, row) for row in whole.intermediates]),
        ("target", map(short_name, targets), [(short_name(each), each) for each in whole.targets]),
    ):
        wanted = dict.fromkeys(names)
        for name in wanted:
            if name not in dict(known):
                raise NotFoundError.named(f"{kind} of {whole.name}", name, dict(known))
        update[f"{kind}s"] = [each for name in wanted for own, each in known if own == name]
    return spec.model_copy(update={key: value for key, value in update.items() if value})


def located(name: str, folder: Path | None = None) -> str:
    """A task, or several joined by commas, as any process finds it from any folder.

    Own tasks are given by their file's absolute path; all else stays as it is.

    Args:
        name: Of the task, or its YAML's path from `folder`, or else from where one works.
        folder: Of the file that names it.
    """
    own = {path.stem: path for path in _own_files("tasks")}

    def one(part: str) -> str:
        if not part.endswith(_YAML):
            return str(own[part].absolute()) if part in own else part
        path = Path(part).expanduser()
        beside = folder / path if folder else path
        return str((beside if beside.is_file() else path).absolute())

    return ",".join(map(one, name.split(",")))


def train_task_of(name: str) -> str:
    """The task whose rows train a head for the task `name`, as `load_task` takes it; may be empty.

    A task in a file that trains on its own rows is known by that file's path.
    """
    spec = load_task(name)
    return name if spec.train_task == spec.name else spec.train_task


def load_mixture(name: str) -> MixtureSpec:
    """A mixture of tasks by name or by the path of a YAML; see `load_task` for what it raises."""
    return _named(MixtureSpec, "mixtures", "mixture", name)


def load_suite(name: str) -> SuiteSpec:
    """A suite of tasks by name or by the path of a YAML; see `load_task` for what it raises."""
    return _named(SuiteSpec, "suites", "suite", name)


def load_recipe(name: str) -> RecipeSpec:
    """A recipe by name or by the path of a YAML; see `load_task` for what it raises.

    An intermediate that is only a name stands for the task or mixture of that name.
    """
    path = spec_path("recipes", "recipe", name)
    values = spelt(read_yaml(path), path.parent)
    return resolve(RecipeSpec, [Layer(str(path), {"name": path.stem, **values})]).value


def spelt(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What a recipe or study in `folder` says, its rows spelt out and its tasks `located`.

    A row that is only a task gets the task's short name.
    """
    changed = dict(values)
    for key in ("targets", "alignment"):
        if isinstance(names := values.get(key), list):
            changed[key] = [located(n, folder) if isinstance(n, str) else n for n in names]
    if isinstance(rows := values.get("intermediates"), list):
        changed["intermediates"] = [_spelt_row(row, folder) for row in rows]
    return changed


def _spelt_row(row: Any, folder: Path) -> Any:
    row = {"name": row} if isinstance(row, str) else row
    name = row.get("name") if isinstance(row, dict) else None
    if not isinstance(name, str) or not isinstance(row.get("tasks", ""), str) or "compose" in row:
        return row
    tasks = located(row.get("tasks") or name, folder)
    short = short_name(name) if name.endswith(_YAML) else name
    return {**row, "name": short, **({"tasks": tasks} if tasks != short else {})}


def load_method(name: str) -> MethodSpec:
    """The method preset called `name`, or the one in the YAML file of that path.

    `peft:<tuner>` and `adapters:<config>` are presets of the libraries' own methods. An
    implementation that has no preset of its name, such as that of an installed package, is one by
    itself, with its default options.
    """
    library, colon, kind = name.partition(":")
    if colon and library in EXTERNAL:
        method, option = EXTERNAL[library]
        title = f"{kind}, run by the {library} library"
        train = {"lr": 3e-4, "weight_decay": 0.0}
        return MethodSpec(
            name=name, method=method, title=title, options={option: kind}, train=train
        )
    if name in METHODS and name not in spec_names("methods"):
        return MethodSpec(name=name, method=name, title="with its default options")
    return _named(MethodSpec, "methods", "method", name)


def load_backbone_spec(name: str) -> BackboneSpec:
    """The backbone called `name`, or the one in the YAML file of that path."""
    return _named(BackboneSpec, "backbones", "backbone", name)


def pretraining_of(backbones: Iterable[str]) -> str:
    """The corpus that backbones were pretrained on; empty where it is unknown or not the same.

    Args:
        backbones: Their names, as results have them, or references. A hub id or folder whose last
            part is a preset's name, or that of its repository, counts as that preset.
    """
    presets = [load_backbone_spec(name) for name in spec_names("backbones")]
    known = {name: p.pretraining for p in presets for name in (p.name, p.repo.rsplit("/", 1)[-1])}

    def corpus(name: str) -> str:
        if name.endswith((".yaml", ".yml")):
            return load_backbone_spec(name).pretraining
        return known.get(name.partition("@")[0].rsplit("/", 1)[-1], "")

    found = {corpus(name) for name in backbones}
    return found.pop() if len(found) == 1 else ""
