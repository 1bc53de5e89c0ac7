"""One plain training loop on accelerate: exact accumulation, exact resume, no pickle."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xstilts.data.features import Batch
from xstilts.specs import TrainSpec
from xstilts.train import checkpoint
from xstilts.train.checkpoint import Position
from xstilts.train.optim import make_optimizer, rate
from xstilts.train.progress import Progress
from xstilts.train.signals import stop_requests
from xstilts.train.stream import Stream

Evaluate = Callable[[], float]


@dataclass(frozen=True)
class TrainResult:
    """What a finished run says of itself.

    Attributes:
        steps: Optimiser steps done.
        best_step: The step whose weights were kept.
        best_score: Dev score there; None when there was no look.
        stopped_early: Whether patience ran out.
    """

    steps: int
    best_step: int
    best_score: float | None
    stopped_early: bool


class Trainer:
    """Trains the parameters of `model` that require gradients.

    Args:
        model: Called as `model(batch, task)`, gives the loss of each example [E], float32.
        stream: Where steps get their rows.
        spec: The settings; the rate is that of `optim.rate`.
        folder: For checkpoints, `best/` and `history.jsonl`.
        inputs: Digest of everything that the run depends on.
        evaluate: Dev score, higher is better; None when there is no dev set.
        resume_command: Shown when the run is interrupted.
        quiet: Show no progress.
        title: What is being trained, for the progress bar.
    """

    def __init__(
        self,
        model: nn.Module,
        stream: Stream,
        spec: TrainSpec,
        folder: Path,
        *,
        inputs: str,
        evaluate: Evaluate | None = None,
        resume_command: str = "",
        quiet: bool = False,
        title: str = "training",
    ) -> None:
        self.model, self.stream, self.spec, self.folder = model, stream, spec, folder
        self.evaluate, self.resume_command, self.inputs = evaluate, resume_command, inputs
        self.quiet, self.title = quiet, title
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.optimizer = make_optimizer(self.parameters, spec)
        self.total = stream.total_steps()
        self.position = Position(inputs=inputs)

    def run(self) -> TrainResult:
        """Train to the end, or from the newest checkpoint to the end.

        Raises:
            InterruptedRunError: Ctrl-C; a checkpoint was written.
            PreemptedError: SIGTERM or SIGUSR1; a checkpoint was written.
            UsageError: The folder holds a checkpoint of another run.
        """
        torch.manual_seed(self.spec.seed)
        restored = checkpoint.restore(self.folder, self.inputs, self.parameters, self.optimizer)
        self.position = restored or self.position
        self._cut_history()
        accelerator = _accelerator(self.spec)
        wrapped = accelerator.prepare_model(self.model) if _distributed(accelerator) else self.model
        stopped = False
        with (
            stop_requests() as request,
            Progress(
                self.title, self.total, quiet=self.quiet or not accelerator.is_main_process
            ) as progress,
        ):
            examples = tokens = 0
            while self.position.step < self.total and not stopped:
                loss, count, seen = self._step(wrapped, accelerator)
                examples, tokens = examples + count, tokens + seen
                if progress.wants_loss:
                    progress.report(self.position.step, float(loss), examples, tokens)
                stopped = self._after_step(accelerator)
                if request.number and self.position.step < self.total:
                    self._save(accelerator)
                    raise request.error(self.position.step, self.resume_command)
        return self._finish(stopped)

    # -- one step

    def _step(self, model: nn.Module, accelerator: Any) -> tuple[Tensor, int, int]:
        """Forward, backward and update of one optimiser step."""
        step = self.position.step
        model.train()
        lr = rate(self.spec, step, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        batches, examples = self.stream.step(
            step, accelerator.process_index, accelerator.num_processes
        )
        total = torch.zeros((), device=accelerator.device)
        for batch in batches:
            total += self._backward(model, accelerator, batch, examples)
        norm = torch.zeros(())
        if self.spec.clip:
            norm = nn.utils.clip_grad_norm_(list(self.parameters.values()), self.spec.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.position.step += 1
        seen = sum(batch.num_tokens for batch in batches)
        self._write_history(accelerator, total, lr, norm, examples, seen)
        return total, examples, seen

    def _backward(self, model: nn.Module, accelerator: Any, batch: Batch, examples: int) -> Tensor:
        """Add the gradient of a micro-batch; each example weighs 1 / examples of the whole step."""
        batch = batch.to(accelerator.device)
        with accelerator.autocast():
            losses: Tensor = model(batch, self.stream.task.name)
        loss = losses.float().sum() / examples
        # DDP divides gradients by the number of processes; the step's sum must not be divided.
        (loss * accelerator.num_processes).backward()
        return loss.detach()

    # -- between steps

    def _after_step(self, accelerator: Any) -> bool:
        """Look at the dev set and save when it is time; True when patience ran out."""
        step, every = self.position.step, self.spec.eval_every or self.stream.steps_per_epoch
        looked = False
        if self.evaluate and (step % every == 0 or step == self.total):
            self._look(accelerator)
            looked = True
        interval = self.spec.checkpoint_every or every
        patience = self.spec.patience
        stopped = bool(patience) and self.position.looks_without_gain >= patience
        if not stopped and step < self.total and (step % interval == 0 or looked):
            self._save(accelerator)
        return stopped

    def _look(self, accelerator: Any) -> None:
        """Score the dev set; the earliest of equal scores is the best."""
        assert self.evaluate is not None
        with torch.random.fork_rng(enabled=True):
            score = self.evaluate()
        if score > self.position.best_score:
            self.position.best_score, self.position.best_step = score, self.position.step
            self.position.looks_without_gain = 0
            if self.spec.select == "best" and accelerator.is_main_process:
                checkpoint.save_best(self.folder, self.parameters)
        else:
            self.position.looks_without_gain += 1
        self._append(accelerator, {"step": self.position.step, "dev_score": score})

    def _save(self, accelerator: Any) -> None:
        if accelerator.is_main_process:
            checkpoint.save(self.folder, self.position, self.parameters, self.optimizer)

    def _finish(self, stopped: bool) -> TrainResult:
        position = self.position
        looked = position.best_step >= 0
        kept = position.step
        if looked and self.spec.select == "best":
            checkpoint.load_best(self.folder, self.parameters)
            kept = position.best_step
        score = position.best_score if looked else None
        return TrainResult(position.step, kept, score, stopped)

    # -- history

    @property
    def _history(self) -> Path:
        return self.folder / "history.jsonl"

    def _cut_history(self) -> None:
        """Drop what was written after the checkpoint, so that no step stands twice."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._history.touch()
        with self._history.open("r+b") as file:
            file.truncate(self.position.history_bytes)

    def _write_history(
        self, accelerator: Any, loss: Tensor, lr: float, norm: Tensor, examples: int, tokens: int
    ) -> None:
        if self.position.step % 10 and self.position.step != self.total:
            return
        record = {
            "step": self.position.step,
            "loss": float(loss),
            "lr": lr,
            "gradient_norm": float(norm),
            "examples": examples,
            "tokens": tokens,
            "time": round(time.time(), 3),
        }
        self._append(accelerator, record)

    def _append(self, accelerator: Any, record: Mapping[str, Any]) -> None:
        if not accelerator.is_main_process:
            return
        with self._history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, sort_keys=True) + "\n")
            self.position.history_bytes = file.tell()


def _accelerator(spec: TrainSpec) -> Any:
    from accelerate import Accelerator

    return Accelerator(mixed_precision="bf16" if spec.precision == "bf16" else "no")


def _distributed(accelerator: Any) -> bool:
    return bool(accelerator.num_processes > 1)
