"""What the folder `configs` holds: tasks, suites, recipes, methods, backbones, by name or path."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TypeVar

from xstilts.config.layers import Layer, read_yaml, resolve
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
from xstilts.errors import NotFoundError

T = TypeVar("T", bound=Spec)

EXTERNAL = {"adapters": ("external_adapters", "config"), "peft": ("external_peft", "tuner")}
"""Library to the method that runs its modules, and the option that says which kind."""

METHODS = Registry[object]("xstilts.modules.methods", "method", group="xstilts.methods")
"""The names of implementations; `xstilts.modules.methods` gives them by their contract."""


@cache
def config_folder() -> Path:
    """The folder with `tasks/`, `methods/`, …: inside the wheel, or beside `src` in a checkout."""
    packaged = Path(__file__).parents[1] / "_configs"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "configs"


def spec_names(kind: str) -> list[str]:
    """The names in `configs/<kind>`, sorted."""
    return sorted(path.stem for path in (config_folder() / kind).glob("*.yaml"))


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
    if name.endswith((".yaml", ".yml")):
        return load_spec(spec, Path(name))
    if name not in spec_names(kind):
        raise NotFoundError.named(singular, name, spec_names(kind))
    return load_spec(spec, config_folder() / kind / f"{name}.yaml")


def load_task(name: str) -> TaskSpec:
    """The task called `name`, or the one in the YAML file of that path."""
    return _named(TaskSpec, "tasks", "task", name)


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
    path = Path(name) if name.endswith((".yaml", ".yml")) else _recipe_path(name)
    values = read_yaml(path)
    rows = values.get("intermediates")
    if isinstance(rows, list):
        values["intermediates"] = [{"name": r} if isinstance(r, str) else r for r in rows]
    return resolve(RecipeSpec, [Layer(str(path), {"name": path.stem, **values})]).value


def _recipe_path(name: str) -> Path:
    if name not in spec_names("recipes"):
        raise NotFoundError.named("recipe", name, spec_names("recipes"))
    return config_folder() / "recipes" / f"{name}.yaml"


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
