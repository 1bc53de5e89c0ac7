"""LoRA training of a small encoder beside the transformers Trainer over peft, idle and loaded.

`python -m xstilts.bench.lora SIDE SIZE` takes turns; SIDE is `ours`, `theirs` or `bf16`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from xstilts.bench import MNLI_LENGTHS, Result, compare
from xstilts.bench.apart import compare_apart, take_turns
from xstilts.bench.evaluating import encoder_operations, products
from xstilts.bench.models import adapter, classifier, encoder, rows
from xstilts.bench.training import (
    BATCH,
    MANY,
    WIDTH,
    epoch,
    sequence_classifier,
    steps,
    trainer_step,
)
from xstilts.data.features import Features
from xstilts.train.masks import masks_of_few_bits

_NOTE = f"{MANY} steps of {BATCH} MultiNLI pairs; theirs: Trainer over peft, padded dynamically"


def lora_step(size: str, pairs: int, neighbours: int = 0) -> Result:
    """A training step of a LoRA module, in processes of their own."""
    beside = f", {neighbours} busy beside" if neighbours else ""
    return compare_apart(
        f"LoRA step{beside}",
        lambda side: ["xstilts.bench.lora", side, size],
        pairs=pairs,
        target_ratio=3.0 if neighbours else 2.0,
        note=_NOTE + beside,
        neighbours=neighbours,
    )


def lora_step_busy(size: str, pairs: int) -> Result:
    """The same beside a process that keeps one core busy."""
    return lora_step(size, pairs, 1)


def lora_step_crowded(size: str, pairs: int) -> Result:
    """The same beside three such processes."""
    return lora_step(size, pairs, 3)


def lora_bf16(size: str, pairs: int) -> Result:
    """A training step in bfloat16 against our own in float32, on a CPU with the units."""
    features = _features()
    both = [_ours(size, features, bf16=bf16) for bf16 in (True, False)]
    note = f"{MANY} steps of {BATCH} MultiNLI pairs; theirs: the same in float32"
    return compare("LoRA step, bf16", *both, pairs=pairs, target_ratio=1.5, note=note)


def lora_share(size: str, pairs: int) -> Result:
    """A training step against matrix products of as many operations as its sub-words need.

    The products of a forward pass, and as many again for the gradient of what goes in; frozen
    weights have none.
    """
    features = _features()
    theirs, what = products(2 * encoder_operations(encoder(size), features.lengths))
    ours = _ours(size, features)
    return compare(
        "LoRA step, share of GEMM", ours, theirs, pairs=pairs, target_ratio=0.6, note=what
    )


def _features() -> Features:
    return rows(MANY * BATCH, MNLI_LENGTHS, WIDTH)


def _ours(size: str, features: Features, *, bf16: bool = False) -> Callable[[], None]:
    backbone = encoder(size)
    model = classifier(backbone, adapter(backbone, "lora"))
    model.attached().__enter__()  # for as long as the process lives
    run = epoch(steps(model, features), MANY)

    def work() -> None:
        with torch.autocast("cpu", torch.bfloat16), masks_of_few_bits():
            run()

    return work if bf16 else run


def _theirs(size: str, features: Features) -> Callable[[], None]:
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=8, lora_alpha=16, target_modules=["query", "value"]
    )
    model = get_peft_model(sequence_classifier(size, 2000), config)
    return epoch(trainer_step(model, features, 0), MANY)


def main() -> None:
    """Take turns as one side."""
    side, size = sys.argv[1:]
    take_turns((_ours if side == "ours" else _theirs)(size, _features()))


if __name__ == "__main__":
    main()
