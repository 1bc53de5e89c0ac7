"""The numbers behind a ranking: vectors of tasks, probes, and the evidence of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from xstilts.backbone.backbone import Backbone
from xstilts.composition.predict import pool
from xstilts.composition.task_model import Head
from xstilts.config.specs import TaskSpec
from xstilts.data.features import Batch, Features, collate
from xstilts.errors import DataError, UsageError
from xstilts.tasks.formats import FORMATS

Vector = NDArray[np.float64]

PROBE_STEPS, PROBE_RATE = 100, 2e-3
FISHER_ROWS = 32
MAX_VECTORS = 4096
_EXAMPLES = 16


@dataclass(frozen=True)
class EncodedBatch:
    """A batch and the encoder's output on it, [B, T, D] float32 on the CPU."""

    batch: Batch
    hidden: Tensor


def generator(seed: int) -> Generator:
    """A generator with this seed."""
    return Generator().manual_seed(seed)


def _batches(backbone: Backbone, features: Features, size: int = _EXAMPLES) -> list[Batch]:
    pad = backbone.tokenizer.pad_token_id
    total = features.num_examples
    examples = [np.arange(at, min(at + size, total)) for at in range(0, total, size)]
    return [collate(features, features.rows_of(part), pad) for part in examples]


@torch.no_grad()
def states(backbone: Backbone, features: Features) -> list[EncodedBatch]:
    """The last hidden states of every row, with whatever acts in the encoder."""
    result = []
    for batch in _batches(backbone, features):
        there = batch.to(backbone.device)
        hidden = backbone(there.input_ids, there.attention_mask)
        result.append(EncodedBatch(batch, hidden.float().cpu()))
    return result


@torch.inference_mode()
def mean_vector(backbone: Backbone, features: Features) -> Vector:
    """The mean of the rows' sentence vectors, mean-pooled at the retrieval block, [D]."""
    layer = backbone.retrieval_layer
    total = np.zeros(backbone.shape.hidden_size)
    for batch in _batches(backbone, features):
        there = batch.to(backbone.device)
        hidden = backbone.hidden_states(there.input_ids, there.attention_mask, up_to=layer)
        pooled = pool(hidden, there.attention_mask, layer, "mean")
        total += pooled.double().sum(0).cpu().numpy()
    return total / len(features)


def cosine(a: Vector, b: Vector) -> float:
    """Cosine of two vectors."""
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))


# ---------------------------------------------------------------------------------------- probes


def probe_head(
    backbone: Backbone, task: TaskSpec, train: Sequence[EncodedBatch], seed: int
) -> nn.Module:
    """A head trained on frozen states: full batches, Adam, no dropout."""
    head = Head.new(task, backbone, generator(seed)).module.cpu().eval()
    optimizer = torch.optim.Adam(head.parameters(), lr=PROBE_RATE)
    for _ in range(PROBE_STEPS):
        optimizer.zero_grad()
        count = sum(state.batch.num_examples for state in train)
        for state in train:
            loss = _losses(task, head, state).sum() / count
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return head


def _losses(task: TaskSpec, head: nn.Module, state: EncodedBatch) -> Tensor:
    return FORMATS.get(task.format).loss(head(state.hidden, state.batch), state.batch)


@torch.no_grad()
def gold_probability(task: TaskSpec, head: nn.Module, held: Sequence[EncodedBatch]) -> float:
    """Geometric mean of the probabilities of the gold labels, 0..1."""
    losses = torch.cat([_losses(task, head, state) for state in held])
    return float(torch.exp(-losses.double().mean()))


# --------------------------------------------------------------------------- Fisher embeddings


def fisher(backbone: Backbone, task: TaskSpec, features: Features, seed: int) -> Vector:
    """Mean squared gradient of each example's loss at the encoder's biases and norms.

    The empirical diagonal Fisher information of the plain encoder under a head that was trained on
    frozen states; labels are the gold ones.
    """
    head = probe_head(backbone, task, states(backbone, features), seed).to(backbone.device)
    chosen = [
        parameter
        for name, parameter in backbone.blocks.named_parameters()
        if name.endswith("bias") or "norm" in name.lower()
    ]
    before = [parameter.requires_grad for parameter in chosen]
    total = np.zeros(sum(parameter.numel() for parameter in chosen))
    single = _batches(backbone, features, 1)[:FISHER_ROWS]
    try:
        for parameter in chosen:
            parameter.requires_grad_(True)
        for batch in single:
            there = batch.to(backbone.device)
            hidden = backbone(there.input_ids, there.attention_mask)
            loss = FORMATS.get(task.format).loss(head(hidden, there), there)
            slopes = torch.autograd.grad(loss.sum(), chosen)
            flat = torch.cat([slope.flatten() for slope in slopes])
            total += flat.double().pow(2).cpu().numpy()
    finally:
        for parameter, was in zip(chosen, before, strict=True):
            parameter.requires_grad_(was)
    return total / max(1, len(single))


# ----------------------------------------------------------------------------------------- LogME


def labelled_vectors(
    task: TaskSpec, train: Sequence[EncodedBatch], pooling: str = "cls"
) -> tuple[Vector, NDArray[np.int64]]:
    """Vectors [N, D] and their classes [N]: what the head of this format has to tell apart.

    Args:
        task: Names the format.
        train: Encoded rows.
        pooling: What a head over a whole text reads, as the backbone's architecture says.

    Raises:
        UsageError: The format does not say.
    """
    form = FORMATS.get(task.format)
    pairs = []
    for state in train:
        hidden = state.hidden
        if pooling != "cls" and not form.PER_TOKEN:  # such formats read the first place
            hidden = pool(hidden, state.batch.attention_mask, how=pooling)[:, None]
        pairs.append(form.classes(hidden, state.batch))
    found = [pair for pair in pairs if pair is not None]
    if not found:
        raise UsageError(
            f"format {task.format} does not say what its heads tell apart",
            hint="Rank without it: --methods without logme.",
        )
    vectors = torch.cat([pair[0] for pair in found]).double().numpy()
    classes = torch.cat([pair[1] for pair in found]).long().numpy()
    if len(vectors) > MAX_VECTORS:
        kept = np.linspace(0, len(vectors) - 1, MAX_VECTORS).astype(int)
        vectors, classes = vectors[kept], classes[kept]
    return vectors, classes


def logme(vectors: Vector, classes: NDArray[np.int64]) -> float:
    """Log maximum evidence of the classes by linear models of the vectors, a vector and class.

    Args:
        vectors: [N, D].
        classes: [N]; each class is a column of zeros and ones.

    Raises:
        DataError: There is only one class.
    """
    names = np.unique(classes)
    if len(names) < 2:
        raise DataError("the rows chosen have one label only", hint="Ask for more with --shots.")
    left, singular, _ = np.linalg.svd(vectors, full_matrices=False)
    columns = [(classes == name).astype(np.float64) for name in names]
    return float(np.mean([_best_evidence(left, singular**2, y, vectors.shape) for y in columns]))


def _best_evidence(left: Vector, sigma: Vector, y: Vector, shape: tuple[int, ...]) -> float:
    """The evidence of one column, maximised by the fixed point of MacKay's updates."""
    count = shape[0]
    inside = (left.T @ y) ** 2
    outside = max(float(y @ y - inside.sum()), 0.0)
    alpha, beta = 1.0, 1.0
    for _ in range(200):
        ratio = alpha / beta
        effective = float((sigma / (sigma + ratio)).sum())
        size, rest = _moments(sigma, inside, outside, ratio)
        new = effective / max(size, 1e-12), (count - effective) / max(rest, 1e-12)
        done = abs(new[0] / new[1] - ratio) <= 1e-6 * ratio
        alpha, beta = new
        if done:
            break
    return evidence(sigma, inside, outside, shape, alpha, beta) / count


def _moments(sigma: Vector, inside: Vector, outside: float, ratio: float) -> tuple[float, float]:
    """Squared size of the posterior mean, and squared residual."""
    size = float((sigma * inside / (sigma + ratio) ** 2).sum())
    rest = float((inside * (ratio / (sigma + ratio)) ** 2).sum()) + outside
    return size, rest


def evidence(
    sigma: Vector,
    inside: Vector,
    outside: float,
    shape: tuple[int, ...],
    alpha: float,
    beta: float,
) -> float:
    """Log density of a column under weights of precision alpha and noise of precision beta.

    Args:
        sigma: Squared singular values of the vectors.
        inside: Squared coordinates of the column along the left singular vectors.
        outside: Squared size of the rest of the column.
        shape: [N, D] of the vectors.
        alpha: Positive.
        beta: Positive.
    """
    count = shape[0]
    size, rest = _moments(sigma, inside, outside, alpha / beta)
    spread = len(sigma) * np.log(alpha) - np.log(alpha + beta * sigma).sum()
    fit = count * np.log(beta / (2 * np.pi)) - beta * rest - alpha * size
    return float(0.5 * (spread + fit))
