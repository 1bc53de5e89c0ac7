"""Checkpoints that hold everything: weights, optimiser, position. No pickle.

Every random draw of a run is a function of its seed, the step and the process, so that there is no
random state to keep.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from xstilts.errors import UsageError
from xstilts.files import atomic_folder, write_json
from xstilts.train import sharding
from xstilts.train.sharding import whole

KEPT = 2
WEIGHTS = "weights.safetensors"

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
        best_score: Its score.
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
    evaluations_since_best: int = 0
    steps_taken: dict[str, int] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    parts: dict[str, tuple[float, int]] = field(default_factory=dict)
    averaged: tuple[int, int] = (0, -1)
    history_bytes: int = 0
    run_key: str = ""
    dev_due: bool = False

    def note_dev_score(self, score: float) -> bool:
        """Note a dev score; whether it is the best so far, the earliest of equals."""
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
        save_file(weights, new / WEIGHTS)
        save_file(moments, new / "optimizer.safetensors")
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
    write_json(checkpoint / "position.json", values)


def restore(
    folder: Path,
    run_key: str,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> Position | None:
    """Continue from the newest whole checkpoint; None when there is none.

    Raises:
        UsageError: The checkpoint belongs to a run with other settings or data.
    """
    for candidate in sorted(folder.glob("checkpoint-*"), reverse=True):
        try:
            values = json.loads((candidate / "position.json").read_text(encoding="utf-8"))
            weights = load_file(candidate / WEIGHTS)
            moments = load_file(candidate / "optimizer.safetensors")
        except (OSError, ValueError, SafetensorError):
            continue
        values = {_RENAMED.get(name, name): value for name, value in values.items()}
        if values["run_key"] != run_key:
            raise UsageError(
                "the checkpoint belongs to a run with other settings or data",
                where=str(candidate),
                hint="Remove that folder to begin anew.",
            )
        if values["best_score"] is None:
            values["best_score"] = float("-inf")
        put(parameters, weights)
        _put_moments(parameters, optimizer, moments)
        values["parts"] = {name: (best, since) for name, (best, since) in values["parts"].items()}
        values["averaged"] = tuple(values["averaged"])
        return Position(**values)
    return None


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
        save_file(weights, new / WEIGHTS)


def best_folder(folder: Path, step: int) -> Path:
    """Where the weights of the best dev evaluation are, when that was at `step`."""
    return folder / f"best-{step:08d}"


def keep_best(folder: Path, weights: Weights, step: int) -> None:
    """Keep the best weights; those that an older checkpoint speaks of stay a while."""
    keep(best_folder(folder, step), weights)
    for old in sorted(folder.glob("best-*"))[: -KEPT - 1]:
        shutil.rmtree(old, ignore_errors=True)


def bring_back(folder: Path, parameters: Mapping[str, nn.Parameter]) -> None:
    """Go back to the weights that `keep` wrote."""
    put(parameters, load_file(folder / WEIGHTS))


def keep_mean(
    folder: Path, weights: Weights, averaged: tuple[int, int], step: int
) -> tuple[int, int]:
    """Add the weights to the running mean; returns the new `Position.averaged`.

    The mean after each dev evaluation is a folder of its own, so that a run which goes back to an
    older checkpoint finds the mean that belongs to it.
    """
    count, last = averaged
    if count:
        mean = load_file(folder / f"mean-{last:08d}" / WEIGHTS)
        weights = {k: mean[k] + (w - mean[k]) / (count + 1) for k, w in weights.items()}
    if not (folder / f"mean-{step:08d}").is_dir():
        with atomic_folder(folder / f"mean-{step:08d}") as new:
            save_file(weights, new / WEIGHTS)
    for old in sorted(folder.glob("mean-*"))[: -KEPT - 1]:
        shutil.rmtree(old, ignore_errors=True)
    return count + 1, step


def _put_moments(
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    moments: Mapping[str, Tensor],
) -> None:
    for key, value in moments.items():
        name, _, part = key.rpartition("|")
        parameter = parameters[name]
        kept = value if part == "step" else sharding.like(parameter, value)
        optimizer.state[parameter][part] = kept


def tidy(folder: Path) -> None:
    """Remove the weights of a finished run; its history and what trackers wrote stay."""
    for kind in ("checkpoint", "best", "mean", "step"):
        for path in (*folder.glob(f"{kind}-*"), *folder.glob(f".{kind}-*")):
            shutil.rmtree(path, ignore_errors=True)
