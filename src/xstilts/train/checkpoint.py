"""Checkpoints that hold everything: weights, optimiser, position. No pickle.

Every random draw of a run is a function of its seed, the step and the process, so that there is no
random state to keep.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from xstilts.config.hub_models import is_finite
from xstilts.config.specs import TrainSpec
from xstilts.errors import IntegrityError, UsageError
from xstilts.files import atomic_folder, sha256_file, write_json
from xstilts.train import sharding
from xstilts.train.sharding import whole

KEPT = 2
WEIGHTS = "weights.safetensors"
MOMENTS = "optimizer.safetensors"
POSITION = "position.json"
SUMS = "sha256.json"
"""Digests of the tensor files beside it, by name; older checkpoints have none."""

_RENAMED = {
    "looks_without_gain": "evaluations_since_best",
    "taken": "steps_taken",
    "inputs": "run_key",
}
"""Fields of a position as they were called before 0.2."""

Weights = dict[str, Tensor]


@dataclass
class Position:
    """How far a run is.

    Attributes:
        step: Optimiser steps done.
        best_step: Step of the best dev evaluation; -1 before the first.
        best_score: Its score, less than 0 where lower ones are better.
        kept_score: Dev score of the weights that the run keeps if it ends here; None before the
            first.
        evaluations_since_best: Since then.
        steps_taken: Part to the steps it had.
        stopped: Parts that get no more steps.
        parts: Part to its own best score and the dev evaluations without gain since.
        averaged: Dev evaluations in the running mean of the weights, and the step of the last.
        history_bytes: Length of the history file at this step.
        run_key: Digest of everything that the run depends on.
        dev_due: Whether the dev evaluation of this step is still to be done.
    """

    step: int = 0
    best_step: int = -1
    best_score: float = float("-inf")
    kept_score: float | None = None
    evaluations_since_best: int = 0
    steps_taken: dict[str, int] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    parts: dict[str, tuple[float, int]] = field(default_factory=dict)
    averaged: tuple[int, int] = (0, -1)
    history_bytes: int = 0
    run_key: str = ""
    dev_due: bool = False

    def note_dev_score(self, score: float) -> bool:
        """Note a dev score, higher is better; whether it is the best so far, first of equals."""
        gained = score > self.best_score
        if gained:
            self.best_score, self.best_step = score, self.step
        self.evaluations_since_best = 0 if gained else self.evaluations_since_best + 1
        return gained

    def stop_parts(self, scores: Mapping[str, float], patience: int) -> list[str]:
        """Stop each part whose score has not risen for `patience` evaluations; those that go on."""
        for name, score in scores.items():
            best, since = self.parts.get(name, (float("-inf"), 0))
            self.parts[name] = (score, 0) if score > best else (best, since + 1)
            tired = patience and self.parts[name][1] >= patience
            if tired and name not in self.stopped:
                self.stopped.append(name)
        return [name for name in scores if name not in self.stopped]


def weights_of(parameters: Mapping[str, nn.Parameter]) -> Weights:
    """Copies in main memory; every process that trains calls this."""
    return {n: whole(p.detach()).cpu().contiguous().clone() for n, p in parameters.items()}


def moments_of(parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> Weights:
    """The optimiser's state as `name|key`; every process that trains calls this."""
    return {
        f"{name}|{key}": whole(torch.as_tensor(value).detach()).cpu()
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def save(folder: Path, position: Position, weights: Weights, moments: Weights) -> None:
    """Write `checkpoint-<step>` below `folder`, whole or not at all; older ones go."""
    with atomic_folder(_checkpoint(folder, position)) as new:
        _write(new, {WEIGHTS: weights, MOMENTS: moments})
        _write_position(new, position)
    for old in sorted(folder.glob("checkpoint-*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def save_position(folder: Path, position: Position) -> None:
    """Write a new position into the checkpoint of its step, whose weights are still the same."""
    _write_position(_checkpoint(folder, position), position)


def _checkpoint(folder: Path, position: Position) -> Path:
    return folder / f"checkpoint-{position.step:08d}"


def _write_position(checkpoint: Path, position: Position) -> None:
    values = asdict(position)
    if position.best_step < 0:
        values["best_score"] = None
    write_json(checkpoint / POSITION, values)


def _write(folder: Path, files: Mapping[str, Weights]) -> None:
    for name, tensors in files.items():
        save_file(tensors, folder / name)
    write_json(folder / SUMS, {name: sha256_file(folder / name) for name in files})


def remove_damaged(folder: Path, run_key: str, parameters: Mapping[str, Tensor]) -> list[str]:
    """Remove what a run cannot go on from, of all that it left in `folder`; what that was and why.

    A disk that was full, a copy that broke off or a machine that lost its power leaves files that
    are cut off, empty, of something else, or full of zeros.

    Args:
        folder: Of the run.
        run_key: Of the run.
        parameters: What it trains, by name.

    Raises:
        UsageError: A checkpoint belongs to a run with other settings or data, or holds, undamaged,
            other weights than those that train.
    """
    removed = []
    for kind in ("checkpoint", "best", "mean", "step"):
        for path in sorted(folder.glob(f"{kind}-*")):
            try:
                if kind == "checkpoint":
                    moments = _read(path, MOMENTS)
                    _read_position(path, run_key)
                    _require_moments(moments, parameters)
                _require_weights(_read(path, WEIGHTS), parameters)
            except _DamagedError as damage:
                undamaged = (path / SUMS).exists()  # its digest was found to be right
                if undamaged and isinstance(damage, _OtherWeightsError):
                    raise UsageError(
                        f"a run left other weights than it trains now: {damage}",
                        where=str(path),
                        hint="To go on, set train.shard as it was, in the version that began the "
                        f"run. To begin anew, remove {folder}.",
                    ) from None
                shutil.rmtree(path)
                removed.append(f"{path.name}: {damage}")
    return removed


class _DamagedError(ValueError):
    """What a run left is not what it wrote."""


class _OtherWeightsError(_DamagedError):
    """What a run left has not the names and shapes of what it trains."""


def _read(folder: Path, name: str) -> Weights:
    """The tensors of a file that a run wrote."""
    path = folder / name
    try:
        sums = json.loads((folder / SUMS).read_bytes()) if (folder / SUMS).exists() else None
        tensors = load_file(path)
        if sums is not None and sums[name] != sha256_file(path):
            raise _DamagedError(f"{name} was changed")
    except PermissionError:
        raise
    except FileNotFoundError:
        raise _DamagedError(f"{name} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        what = str(error) if isinstance(error, _DamagedError) else f"{name} is broken: {error}"
        raise _DamagedError(what) from None
    for key, tensor in tensors.items():
        if not is_finite(tensor):
            raise _DamagedError(f"{key} in {name} holds NaN or infinity")
    return tensors


def _require_weights(weights: Weights, like: Mapping[str, Tensor]) -> None:
    """Refuse weights that have not the names and shapes of others."""
    odd = weights.keys() ^ like.keys()
    odd |= {n for n, w in weights.items() if n not in odd and w.shape != like[n].shape}
    if odd:
        raise _OtherWeightsError(f"{min(odd)} in {WEIGHTS} is not what this run trains")


def _require_moments(moments: Weights, parameters: Mapping[str, Tensor]) -> None:
    """Refuse an optimiser's state that does not fit a run's parameters."""
    for key, value in moments.items():
        name, _, part = key.rpartition("|")
        fits = name in parameters and (
            value.numel() == 1 if part == "step" else value.shape == parameters[name].shape
        )
        if not fits:
            raise _OtherWeightsError(f"{key} in {MOMENTS} is not what this run trains")


def _read_position(checkpoint: Path, run_key: str) -> Position:
    try:
        values = json.loads((checkpoint / POSITION).read_bytes())
        values = {_RENAMED.get(name, name): value for name, value in values.items()}
        if values["run_key"] != run_key:
            raise UsageError(
                "the checkpoint belongs to a run with other settings or data",
                where=str(checkpoint),
                hint="Remove that folder to begin anew.",
            )
        if values["best_score"] is None:
            values["best_score"] = float("-inf")
        position = TypeAdapter(Position).validate_python(values)
    except PermissionError:
        raise
    except FileNotFoundError:
        raise _DamagedError(f"{POSITION} is missing") from None
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise _DamagedError(f"{POSITION} is broken: {error}") from None
    if checkpoint.name != _checkpoint(checkpoint.parent, position).name:
        raise _DamagedError(f"{POSITION} is of step {position.step}")
    return position


def restore(
    folder: Path,
    run_key: str,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    spec: TrainSpec | None = None,
) -> Position | None:
    """Continue from the newest checkpoint that has all it needs beside it; None without one.

    Args:
        folder: Of the run, after `remove_damaged`.
        run_key: Of the run.
        parameters: What is trained, by name; set.
        optimizer: Its state is set.
        spec: Says which weights the run keeps beside its checkpoints; None for none.
    """
    for candidate in sorted(folder.glob("checkpoint-*"), reverse=True):
        position = _read_position(candidate, run_key)
        needed = _needed(folder, position, spec) if spec else ()
        if not all(path.is_dir() for path in needed):
            continue
        if position.kept_score is None and position.best_step >= 0 and spec is not None:
            # an older checkpoint, which knows the score of the best weights only
            position.kept_score = position.best_score if spec.select == "best" else None
        put(parameters, load_file(candidate / WEIGHTS))
        _put_moments(parameters, optimizer, load_file(candidate / MOMENTS))
        return position
    return None


def _needed(folder: Path, position: Position, spec: TrainSpec) -> Iterator[Path]:
    """The folders of kept weights that a run at `position` ends with, besides its own."""
    if spec.select == "best" and position.best_step >= 0:
        yield best_folder(folder, position.best_step)
    if spec.select == "average" and position.averaged[0]:
        yield mean_folder(folder, position.averaged[1])
    if spec.save_every:
        for step in range(0, position.step, spec.save_every):
            yield step_folder(folder, step)


def holds(folder: Path, name: str) -> bool:
    """Whether a checkpoint of the run in `folder` has weights of that name."""
    for candidate in folder.glob("checkpoint-*"):
        with suppress(OSError, SafetensorError), safe_open(candidate / WEIGHTS, "pt") as file:
            if name in file.keys():  # noqa: SIM118  (a safetensors file is no mapping)
                return True
    return False


def put(parameters: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
    """Copy saved tensors into parameters."""
    for name, parameter in parameters.items():
        sharding.put(parameter, weights[name])


def keep(folder: Path, weights: Weights) -> None:
    """Write the weights alone to `folder`, whole or not at all.

    A folder that is there already holds the same weights, written before a crash: it is left as it
    is, so that there is no moment without it.
    """
    if folder.is_dir():
        return
    with atomic_folder(folder) as new:
        _write(new, {WEIGHTS: weights})


def best_folder(folder: Path, step: int) -> Path:
    """Where the weights of the best dev evaluation are, when that was at `step`."""
    return folder / f"best-{step:08d}"


def mean_folder(folder: Path, step: int) -> Path:
    """Where the mean of the weights at dev evaluations is, when the last was at `step`."""
    return folder / f"mean-{step:08d}"


def step_folder(folder: Path, step: int) -> Path:
    """Where the weights of `step` are, which are kept as a module."""
    return folder / f"step-{step:08d}"


def keep_best(folder: Path, weights: Weights, step: int) -> None:
    """Keep the best weights; those that an older checkpoint speaks of stay a while."""
    keep(best_folder(folder, step), weights)
    for old in sorted(folder.glob("best-*"))[: -KEPT - 1]:
        shutil.rmtree(old, ignore_errors=True)


def bring_back(folder: Path, parameters: Mapping[str, nn.Parameter]) -> None:
    """Go back to the weights that `keep` wrote.

    Raises:
        IntegrityError: They are not there any more, or damaged.
    """
    put(parameters, _kept(folder, parameters))


def _kept(folder: Path, like: Mapping[str, Tensor]) -> Weights:
    try:
        weights = _read(folder, WEIGHTS)
        _require_weights(weights, like)
    except _DamagedError as damage:
        raise IntegrityError(
            f"weights that this run kept are damaged: {damage}",
            where=str(folder),
            hint="Run the same command again: it goes on from a checkpoint before them, or anew.",
        ) from None
    return weights


def keep_mean(
    folder: Path, weights: Weights, averaged: tuple[int, int], step: int
) -> tuple[int, int]:
    """Add the weights to the running mean; returns the new `Position.averaged`.

    The mean after each dev evaluation is a folder of its own, so that a run which goes back to an
    older checkpoint finds the mean that belongs to it.
    """
    count, last = averaged
    if count:
        mean = _kept(mean_folder(folder, last), weights)
        weights = {k: mean[k] + (w - mean[k]) / (count + 1) for k, w in weights.items()}
    keep(mean_folder(folder, step), weights)
    for old in sorted(folder.glob("mean-*"))[: -KEPT - 1]:
        shutil.rmtree(old, ignore_errors=True)
    return count + 1, step


def _put_moments(
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    moments: Mapping[str, Tensor],
) -> None:
    # these count their steps on their own device, others in main memory
    groups = [g for g in optimizer.param_groups if g.get("fused") or g.get("capturable")]
    fused = {parameter for group in groups for parameter in group["params"]}
    for key, value in moments.items():
        name, _, part = key.rpartition("|")
        parameter = parameters[name]
        if part != "step":
            value = sharding.like(parameter, value)
        elif parameter in fused:
            value = value.to(parameter.device)
        optimizer.state[parameter][part] = value


def tidy(folder: Path) -> None:
    """Remove the weights of a finished run; its history and what trackers wrote stay."""
    for kind in ("checkpoint", "best", "mean", "step"):
        for path in (*folder.glob(f"{kind}-*"), *folder.glob(f".{kind}-*")):
            shutil.rmtree(path, ignore_errors=True)
