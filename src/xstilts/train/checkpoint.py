"""Checkpoints that hold everything: weights, optimiser, random state, position. No pickle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from xstilts.errors import UsageError
from xstilts.files import atomic_folder, write_json

KEPT = 2


@dataclass
class Position:
    """How far a run is.

    Attributes:
        step: Optimiser steps done.
        best_step: Step of the best look at the dev set; -1 before the first.
        best_score: Its score.
        looks_without_gain: Since then.
        history_bytes: Length of the history file at this step.
        inputs: Digest of everything that the run depends on.
    """

    step: int = 0
    best_step: int = -1
    best_score: float = float("-inf")
    looks_without_gain: int = 0
    history_bytes: int = 0
    inputs: str = ""


def save(
    folder: Path,
    position: Position,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write `checkpoint-<step>` below `folder`, whole or not at all; older ones go."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in parameters.items()}
    moments: dict[str, Tensor] = {}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            moments[f"{names[parameter]}|{key}"] = torch.as_tensor(value).detach().cpu()
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    with atomic_folder(folder / f"checkpoint-{position.step:08d}") as new:
        save_file(_copies(parameters), new / "weights.safetensors")
        save_file(moments, new / "optimizer.safetensors")
        save_file(random, new / "random.safetensors")
        values = asdict(position)
        if position.best_step < 0:
            values["best_score"] = None
        write_json(new / "position.json", values)
    for old in sorted(folder.glob("checkpoint-*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def restore(
    folder: Path,
    inputs: str,
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
            weights = load_file(candidate / "weights.safetensors")
            moments = load_file(candidate / "optimizer.safetensors")
            random = load_file(candidate / "random.safetensors")
        except (OSError, ValueError, SafetensorError):
            continue
        if values["inputs"] != inputs:
            raise UsageError(
                "the checkpoint belongs to a run with other settings or data",
                where=str(candidate),
                hint="Remove that folder to begin anew.",
            )
        if values["best_score"] is None:
            values["best_score"] = float("-inf")
        put(parameters, weights)
        _put_moments(parameters, optimizer, moments)
        torch.set_rng_state(random["cpu"])
        if "cuda" in random and torch.cuda.is_available():
            torch.cuda.set_rng_state(random["cuda"])
        return Position(**values)
    return None


def put(parameters: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
    """Copy saved tensors into parameters."""
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])


def save_best(folder: Path, parameters: Mapping[str, nn.Parameter]) -> None:
    """Keep the weights of the best look."""
    with atomic_folder(folder / "best") as new:
        save_file(_copies(parameters), new / "weights.safetensors")


def load_best(folder: Path, parameters: Mapping[str, nn.Parameter]) -> None:
    """Go back to the weights of the best look."""
    put(parameters, load_file(folder / "best" / "weights.safetensors"))


def _copies(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    return {name: p.detach().cpu().contiguous().clone() for name, p in parameters.items()}


def _put_moments(
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    moments: Mapping[str, Tensor],
) -> None:
    for key, value in moments.items():
        name, _, part = key.rpartition("|")
        parameter = parameters[name]
        kept = value if part == "step" else value.to(parameter.device)
        optimizer.state[parameter][part] = kept
