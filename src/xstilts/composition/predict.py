"""Model, task and language to a predictions file; nothing here trains or scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xstilts.backbone import pooling as pooling_
from xstilts.composition.task_model import TaskModel
from xstilts.config.specs import TaskSpec
from xstilts.data.batching import evaluation_batches
from xstilts.data.examples import Example
from xstilts.data.features import Batch, Features, collate
from xstilts.errors import NotFiniteError
from xstilts.tasks.formats import FORMATS, Format

TOKEN_BUDGET = 8192
"""Sub-words in a batch, padding included; what fits the caches of a CPU and fills a GPU."""

Done = Callable[[Batch], None]
"""Called with each batch when its rows are done."""


def _ignore(_batch: Batch) -> None:
    """Report nothing."""


@torch.inference_mode()
def logits(
    model: TaskModel,
    features: Features,
    task: str,
    *,
    token_budget: int = TOKEN_BUDGET,
    done: Done = _ignore,
) -> list[NDArray[np.float32]]:
    """What the head says about every row, in the rows' order, padding cut.

    Args:
        model: In evaluation mode, its composition attached.
        features: Rows of the head's format.
        task: Name of the head.
        token_budget: Sub-words per batch.
        done: Told of each batch.

    Raises:
        NotFiniteError: The head gives NaN or infinity.
    """
    model.eval()
    result: list[NDArray[np.float32] | None] = [None] * len(features)
    pad_id = model.backbone.tokenizer.pad_token_id
    per_token = FORMATS.get(model.tasks[task].format).PER_TOKEN
    for rows in evaluation_batches(features, token_budget):
        batch = collate(features, rows, pad_id).to(model.backbone.device)
        scores = model.logits(batch, task).float().cpu().numpy()
        _require_finite(scores, "scores", batch)
        for row, score in zip(rows, scores, strict=True):
            result[row] = score[: features.lengths[row]] if per_token else score
        done(batch)
    return [row for row in result if row is not None]


def _require_finite(values: NDArray[np.float32], what: str, batch: Batch) -> None:
    if not np.isfinite(values).all():
        raise NotFiniteError(
            f"the model's {what} are NaN or infinite",
            where=f"a batch of {len(batch.input_ids)} rows of {batch.input_ids.shape[1]} sub-words",
            hint="A training diverged, a merge overflows, or --precision is too low for it.",
        )


def pool(hidden_states: Any, mask: Any, layer: int = -1, how: str = "mean") -> Tensor:
    """Sentence vectors [B, D] from one layer.

    Args:
        hidden_states: [B, T, D] of every layer, 0 the embedding output, in a sequence or stacked;
            or one layer alone, of which `layer` says nothing. Tensors or arrays.
        mask: [B, T], 1 for real sub-words.
        layer: Which of them.
        how: `mean` over all real positions, `<s>` and `</s>` included, `cls`, the first, or `last`.

    Raises:
        UsageError: Another way of pooling.
    """
    stacked = hasattr(hidden_states, "ndim") and hidden_states.ndim == 3
    states = torch.as_tensor(hidden_states if stacked else hidden_states[layer])
    return pooling_.pool(states, torch.as_tensor(mask), how)


@torch.inference_mode()
def embed(
    model: TaskModel,
    features: Features,
    layers: Sequence[int],
    pooling: str,
    *,
    token_budget: int = TOKEN_BUDGET,
    done: Done = _ignore,
) -> dict[int, NDArray[np.float32]]:
    """Sentence vectors of every row at each of `layers`; no block above the highest runs.

    Args:
        model: Its composition attached.
        features: Rows of any format.
        layers: Block numbers, 0 for the embedding output.
        pooling: `mean` over all sub-words, special ones included, `cls` or `last`.
        token_budget: Sub-words per batch.
        done: Told of each batch.

    Returns:
        Layer to an array [rows, D], not normalised.

    Raises:
        NotFiniteError: A vector holds NaN or infinity.
    """
    model.eval()
    size = model.backbone.shape.hidden_size
    vectors = {layer: np.empty((len(features), size), np.float32) for layer in layers}
    pad_id = model.backbone.tokenizer.pad_token_id
    for rows in evaluation_batches(features, token_budget):
        batch = collate(features, rows, pad_id).to(model.backbone.device)
        states = model.backbone.hidden_states(
            batch.input_ids, batch.attention_mask, up_to=max(layers)
        )
        for layer in layers:
            pooled = pool(states, batch.attention_mask, layer, pooling)
            vectors[layer][rows] = pooled.float().cpu().numpy()
            _require_finite(vectors[layer][rows], f"sentence vectors of layer {layer}", batch)
        done(batch)
    return vectors


def predictions(
    model: TaskModel,
    features: Features,
    examples: Sequence[Example],
    head: str,
    task: TaskSpec,
    *,
    done: Done = _ignore,
) -> list[Any]:
    """One prediction an example, in order: a label name, tag names, an answer text, a choice."""
    scores = logits(model, features, head, done=done)
    spoken = task.model_copy(update={"labels": model.tasks[head].labels})
    decoded: list[Any] = FORMATS.get(task.format).decode(scores, features, examples, spoken)
    return decoded


@torch.inference_mode()
def masked_losses(
    model: TaskModel,
    features: Features,
    head: str,
    *,
    seed: int = 0,
    token_budget: int = TOKEN_BUDGET,
    done: Done = _ignore,
) -> list[tuple[float, int]]:
    """Of each row, the summed loss of its masked sub-words (nats) and how many were masked.

    Masks are drawn for each row from `seed` and the row's number, so batches do not change them.

    Args:
        model: In evaluation mode, its composition attached.
        features: Rows of a format that corrupts its batches.
        head: Name of the head's task.
        seed: Of the masks.
        token_budget: Sub-words per batch.
        done: Told of each batch.
    """
    model.eval()
    task, tokenizer = model.tasks[head], model.backbone.tokenizer
    made = FORMATS.get(task.format)
    result: list[tuple[float, int]] = [(0.0, 0)] * len(features)
    for rows in evaluation_batches(features, token_budget):
        alone = [_corrupted(made, features, int(row), tokenizer, task, seed) for row in rows]
        batch = collate(features, rows, tokenizer.pad_token_id)
        labels = torch.full_like(batch.input_ids, -100)
        ids = batch.input_ids.clone()
        for place, one in enumerate(alone):
            width = one.input_ids.shape[1]
            ids[place, :width], labels[place, :width] = one.input_ids[0], one.tokens["labels"][0]
        batch = replace(batch, input_ids=ids, tokens={**batch.tokens, "labels": labels})
        batch = batch.to(model.backbone.device)
        losses = made.loss(model.logits(batch, head), batch).float().cpu()
        _require_finite(losses.numpy(), "losses", batch)
        counts = (labels != -100).sum(1)
        for row, loss, count in zip(rows, losses.tolist(), counts.tolist(), strict=True):
            result[int(row)] = (loss * count, count)
        done(batch)
    return result


def _corrupted(
    made: Format, features: Features, row: int, tokenizer: Any, task: TaskSpec, seed: int
) -> Batch:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + row)
    one = collate(features, np.array([row]), tokenizer.pad_token_id)
    return made.corrupt(one, tokenizer, task, generator)
