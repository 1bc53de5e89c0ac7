"""Throughput on one accelerator: evaluation and training of XLM-R shapes in bfloat16.

Sub-words a second, their share of the measured peak, and what the measured speed means for the
whole of XTREME and for two epochs of MNLI. On a machine without one it runs on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch

from xstilts.bench import QA_LENGTHS, TATOEBA_LENGTHS, XNLI_LENGTHS, seconds
from xstilts.bench.evaluating import encoder_operations
from xstilts.bench.models import adapter, classifier, encoder, rows, vocabulary
from xstilts.bench.training import steps
from xstilts.composition import predict
from xstilts.config.load import load_task
from xstilts.tasks.formats import FORMATS


@dataclass(frozen=True)
class Measurement:
    """One kind of work that is measured.

    Attributes:
        passes: Forward passes that a step is worth: gradients of what flows through, and of every
            weight.
        preset: Of the module that is trained.
        whole: Whether the whole encoder is trained.
    """

    name: str
    passes: float
    preset: str = ""
    whole: bool = False

    @property
    def trains(self) -> bool:
        """Whether there is a step of training rather than an evaluation."""
        return self.passes > 1


WORKS = (
    Measurement("evaluation", 1.0),
    Measurement("compiled evaluation", 1.0),
    Measurement("adapter", 2.0, "seq_bn"),
    Measurement("lora", 2.0, "lora"),
    Measurement("full", 3.0, whole=True),
)
MNLI = 2 * 392_702
TASKS: Mapping[str, tuple[int, ...]] = {
    "xnli": XNLI_LENGTHS,
    "pawsx": XNLI_LENGTHS,
    "udpos": XNLI_LENGTHS,
    "panx": TATOEBA_LENGTHS,
    "xquad": QA_LENGTHS,
    "mlqa": QA_LENGTHS,
    "tydiqa": QA_LENGTHS,
    "tatoeba": TATOEBA_LENGTHS,
}
"""Targets and the lengths taken for their rows; BUCC's mining is left out."""


@dataclass(frozen=True)
class Throughput:
    """One kind of work.

    Attributes:
        examples: A second, of XNLI lengths.
        tokens: Sub-words a second, without padding.
        share: Of the peak of matrix products in the same precision, 0 to 1.
    """

    work: str
    examples: float
    tokens: float
    share: float


def peak(device: str, precision: torch.dtype, size: int = 8192, turns: int = 10) -> float:
    """Floating-point operations a second of a square matrix product."""
    a = torch.randn(size, size, device=device, dtype=precision)
    a @ a
    return 2.0 * size**3 / min(seconds(lambda: a @ a) for _ in range(turns))


def throughput(size: str, device: str, count: int, batch: int) -> list[Throughput]:
    """Every kind of work on `count` rows of XNLI lengths, in batches of `batch` for training."""
    precision = torch.bfloat16
    best = peak(device, precision, *((8192, 10) if device != "cpu" else (1024, 3)))
    found = []
    for work in WORKS:
        features = rows(count, XNLI_LENGTHS, 128)
        backbone = encoder(size, vocabulary(size))
        module = adapter(backbone, work.preset) if work.preset else None
        backbone.to(device)
        model = classifier(backbone, module).to(device)
        if work.whole:
            model.encoder.requires_grad_(True)
        turn: Callable[[], object]
        if not work.trains:
            done = count
            turn = partial(predict.logits, model, features, "xnli", token_budget=65_536)
        else:
            done = min(batch, count)
            turn = steps(model, features, done)
        blocks = backbone.compiled() if work.name.startswith("compiled") else nullcontext()
        with model.attached(), blocks, torch.autocast(torch.device(device).type, precision):
            turn()
            taken = min(seconds(turn) for _ in range(3))
        share = encoder_operations(backbone, features.lengths) * work.passes * done / count
        tokens = float(features.lengths.sum()) * done / count
        found.append(Throughput(work.name, done / taken, tokens / taken, share / taken / best))
        del model, backbone, module
        if device != "cpu":
            torch.cuda.empty_cache()
    return found


def projections(found: list[Throughput]) -> dict[str, float]:
    """Minutes for XTREME's targets without BUCC, and for two epochs of MNLI as each method."""
    speed = {item.work: item for item in found}
    tokens = sum(test_rows(name) * _mean(lengths) for name, lengths in TASKS.items())
    minutes = {"xtreme": tokens / speed["evaluation"].tokens / 60}
    for work in filter(lambda work: work.trains, WORKS):
        minutes[f"mnli {work.name}"] = MNLI / speed[work.name].examples / 60
    return minutes


def test_rows(name: str) -> float:
    """Rows of a task's test split in all its languages; one without a count has their mean."""
    task = load_task(name)
    counts = task.counts.get("test", {})
    known = [n for code, n in counts.items() if code != "*"]
    usual = counts["*"] if "*" in counts else sum(known) / len(known)
    sides = 2 if FORMATS.get(task.format).TWO_SIDED else 1
    return sides * sum(counts.get(code, usual) for code in task.languages)


def _mean(lengths: tuple[int, ...]) -> float:
    return sum((a + b) / 2 for a, b in pairwise(lengths)) / (len(lengths) - 1)
