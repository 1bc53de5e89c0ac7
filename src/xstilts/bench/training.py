"""Training steps and their memory beside the transformers Trainer and the adapters library."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from xstilts.bench import MNLI_LENGTHS, XNLI_LENGTHS, Result, compare
from xstilts.bench.models import (
    PAD,
    SIZES,
    PadTokenizer,
    adapter,
    classifier,
    encoder,
    rows,
    shape,
    vocabulary,
)
from xstilts.composition.task_model import TaskModel
from xstilts.config.load import load_task
from xstilts.config.specs import TrainSpec
from xstilts.data.features import Features
from xstilts.train.mixing import TaskBatches, micro_tokens
from xstilts.train.optim import make_optimizer
from xstilts.train.seen_words import SeenWords

BATCH, WIDTH, STEPS = 32, 128, 2
"""Rows of a step, their longest, and the steps of an epoch, which is what a comparison times."""
MANY = 8
"""Steps of an epoch of a small encoder: batches of similar length need rows to choose from."""
WORDS = 20_000
"""Words that occur in an English task; 9,815 rows of MultiNLI have 11,150 of XLM-R's."""


def adapter_step(size: str, pairs: int) -> Result:
    """A training step of an adapter against the adapters library's in a Trainer, padded to 128."""
    note = "2 steps of 32 XNLI pairs, an adapter; theirs: adapters' module, Trainer, padded to 128"
    return _adapter(size, pairs, "adapter step, padded", WIDTH, 2.0, note)


def adapter_step_dynamic(size: str, pairs: int) -> Result:
    """The same against batches padded to their longest row."""
    note = "the same; theirs: adapters' module, Trainer, padded to the longest row of each batch"
    return _adapter(size, pairs, "adapter step, dynamic", 0, 1.15, note)


def full_step(size: str, pairs: int) -> Result:
    """A full fine-tuning step, all 250,002 words, against a Trainer with dynamic padding."""
    features = rows(MANY * BATCH, MNLI_LENGTHS, WIDTH)
    model = classifier(encoder(size, vocabulary(size)))
    model.encoder.requires_grad_(True)
    words = min(WORDS, vocabulary(size))
    seen = SeenWords(model.backbone.word_embeddings, torch.arange(words), [1.0])
    theirs = epoch(trainer_step(sequence_classifier(size, vocabulary(size)), features, 0), MANY)
    note = f"{MANY} steps of 32 MultiNLI pairs, {words:,} words occur; theirs: Trainer, dynamic"
    with seen.trained():
        ours = epoch(steps(model, features), MANY)
        return compare("full step", ours, theirs, pairs=pairs, target_ratio=2.0, note=note)


def _adapter(
    size: str, pairs: int, name: str, width: int, target_ratio: float, note: str
) -> Result:
    import adapters

    features, backbone = rows(STEPS * BATCH, XNLI_LENGTHS, WIDTH), encoder(size)
    model = classifier(backbone, adapter(backbone, "seq_bn"))
    library = sequence_classifier(size, 2000)
    adapters.init(library)
    library.add_adapter("m", config="seq_bn")
    library.train_adapter("m")
    theirs = epoch(trainer_step(library, features, width))
    with model.attached():
        ours = epoch(steps(model, features))
        return compare(name, ours, theirs, pairs=pairs, target_ratio=target_ratio, note=note)


def epoch(step: Callable[[], None], number: int = STEPS) -> Callable[[], None]:
    """Every row once; single steps differ by the lengths of their rows."""

    def run() -> None:
        for _ in range(number):
            step()

    return run


def sequence_classifier(size: str, words: int) -> Any:
    """Transformers' own classifier of a size, random weights."""
    from transformers import XLMRobertaForSequenceClassification

    torch.manual_seed(0)
    return XLMRobertaForSequenceClassification(shape(size, words, num_labels=3))


def steps(model: TaskModel, features: Features, batch: int = BATCH) -> Callable[[], None]:
    """One optimiser step a call, as xstilts' trainer makes it."""
    model.heads.requires_grad_(True)
    model.composed.requires_grad_(True)
    learned = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = make_optimizer(learned, TrainSpec(), SIZES["base"]["num_hidden_layers"])
    device = model.backbone.device
    frozen = not any(parameter.requires_grad for parameter in model.encoder.parameters())
    budget = micro_tokens(device.type, frozen=frozen)
    spec = TrainSpec(batch_size=batch)
    batches = TaskBatches(load_task("xnli"), features, PadTokenizer(), spec, "xnli", budget)
    number = iter(range(10**6))

    def step() -> None:
        model.train()
        whole = batches.step(next(number))
        for part in whole.batches:
            torch.autograd.backward(model(part.to(device), "xnli").sum() / whole.examples)
        torch.nn.utils.clip_grad_norm_(list(learned.values()), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def trainer_step(model: Any, features: Features, width: int) -> Callable[[], None]:
    """One optimiser step a call, as the transformers Trainer makes it.

    Args:
        model: Its parameters that require gradients train.
        features: Rows, shuffled by the Trainer's sampler.
        width: Of padding; 0 pads to the longest row of a batch.
    """
    from transformers import Trainer, TrainingArguments

    data = [
        {"input_ids": np.asarray(features.input_ids[n]), "labels": int(label)}
        for n, label in enumerate(features.scalars["label"])
    ]

    def collate(batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = width or max(len(row["input_ids"]) for row in batch)
        ids = torch.full((len(batch), longest), PAD)
        for number, row in enumerate(batch):
            ids[number, : len(row["input_ids"])] = torch.as_tensor(row["input_ids"])
        labels = torch.tensor([row["labels"] for row in batch])
        return {"input_ids": ids, "attention_mask": (ids != PAD).long(), "labels": labels}

    arguments = TrainingArguments(
        tempfile.gettempdir(),
        per_device_train_batch_size=BATCH,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        remove_unused_columns=False,
    )
    trainer = Trainer(model, arguments, train_dataset=data, data_collator=collate)
    trainer.create_optimizer_and_scheduler(num_training_steps=10**6)
    trainer.current_gradient_accumulation_steps = 1  # as `train` sets it
    batches = _endless(trainer)
    learned = [p for p in model.parameters() if p.requires_grad]
    model.train()

    def step() -> None:
        trainer.training_step(model, next(batches))
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
        trainer.optimizer.zero_grad()

    return step


def _endless(trainer: Any) -> Iterator[Any]:
    while True:
        yield from trainer.get_train_dataloader()


# -- memory


def memory(size: str, pairs: int) -> Result:
    """Peak memory of a process that trains an adapter against one that trains every weight."""
    del pairs
    ours, theirs = _alone("ours", size), _alone("theirs", size)
    ratio = theirs / ours
    note = "peak bytes of a process, batch 32 x 128, 250,002 words; theirs: Trainer, every weight"
    return Result("memory", ours, theirs, ratio, ratio, ratio, 1 / 0.45, note, "bytes")


def _alone(which: str, size: str) -> float:
    command = [sys.executable, "-m", "xstilts.bench.training", which, size]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Run two steps and print the peak resident memory of this process in bytes."""
    which, size = sys.argv[1:]
    features = rows(2 * BATCH, (WIDTH, WIDTH), WIDTH)
    if which == "theirs":
        step = trainer_step(sequence_classifier(size, vocabulary(size)), features, WIDTH)
        step(), step()
    else:
        backbone = encoder(size, vocabulary(size))
        model = classifier(backbone, adapter(backbone, "seq_bn"))
        with model.attached():
            step = steps(model, features)
            step(), step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main()
