"""One plain training loop on accelerate: exact accumulation, exact resume, no pickle."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from xstilts.config.progress import Progress
from xstilts.config.specs import TrainSpec
from xstilts.data.batching import Padding
from xstilts.data.features import Batch
from xstilts.errors import NotFiniteError, TrainingError
from xstilts.train import checkpoint, history, sharding
from xstilts.train.checkpoint import Position
from xstilts.train.history import History
from xstilts.train.mixing import Mixture, Step
from xstilts.train.optim import learning_rate, make_optimizer
from xstilts.train.processes import Processes
from xstilts.train.signals import StopRequest, stop_requests

Between = Callable[[float], None]
"""Called between two batches of a dev evaluation with the share that is done; may raise."""
Evaluate = Callable[[Between], Mapping[str, float]]
"""Part to its dev score."""

CHECKPOINT_SECONDS = 600.0
CALMER = "Nothing was kept. Try a lower train.lr, a longer train.warmup or train.clip=1."
"""What to do about a training that diverged."""


@dataclass(frozen=True)
class TrainResult:
    """What a finished run says of itself.

    Attributes:
        steps: Optimiser steps done.
        best_step: The step whose weights were kept; the last one for an average.
        best_score: Mean of the parts' dev scores with those weights; an average is evaluated once
            more for it. None without dev evaluation.
        stopped_early: Whether patience ran out.
        steps_taken: Part to the steps that it had.
        saved: Steps whose weights were kept besides, in `step-<number>` folders.
    """

    steps: int
    best_step: int
    best_score: float | None
    stopped_early: bool
    steps_taken: Mapping[str, int] = field(default_factory=dict)
    saved: Sequence[int] = ()


class Trainer:
    """Trains the parameters of `model` that require gradients.

    Args:
        model: Called as `model(batch, head)`, gives the loss of each example [E], float32. Its
            `penalty()`, where it has one, is added to the mean loss of each step.
        mixture: Where steps get their rows.
        spec: The settings; `optim.learning_rate` says how the rate goes.
        folder: For checkpoints, the best weights and `history.jsonl`.
        run_key: Digest of everything that the run depends on.
        evaluate: Dev scores; None when there is no dev set.
        processes: Those that train together; one when None.
        resume_command: Shown when the run is interrupted.
        quiet: Show no progress.
        title: What is being trained, for the progress bar.
        blocks: Blocks of the encoder, for rates by depth.
        shards: Parts of the model that `spec.shard` gathers one at a time.
        dev_steps: What a dev evaluation takes, in training steps, for the time left.
        lower_is_better: Parts of which a lower dev score is better.

    Attributes:
        kept: After `run`, the step whose weights the model has.
    """

    def __init__(
        self,
        model: nn.Module,
        mixture: Mixture,
        spec: TrainSpec,
        folder: Path,
        *,
        run_key: str,
        evaluate: Evaluate | None = None,
        processes: Processes | None = None,
        resume_command: str = "",
        quiet: bool = False,
        title: str = "training",
        blocks: int = 0,
        shards: Sequence[nn.Module] = (),
        dev_steps: float = 0.0,
        lower_is_better: Collection[str] = (),
    ) -> None:
        self.model, self.mixture, self.spec, self.folder = model, mixture, spec, folder
        self.evaluate, self.resume_command, self.run_key = evaluate, resume_command, run_key
        self.processes = processes or Processes(spec.precision, next(model.parameters()).device)
        self.quiet, self.title, self.lower_is_better = quiet, title, lower_is_better
        self.dev_steps = dev_steps if evaluate else 0.0
        self.wrapped = self.processes.wrap(model, shards=shards if spec.shard else None)
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.optimizer = make_optimizer(self.parameters, spec, blocks)
        self.total = mixture.total_steps()
        self.position = Position(run_key=run_key)
        self.history = History(folder, self.processes)
        self.kept = 0
        self._saved_at = time.monotonic()

    def run(self) -> TrainResult:
        """Train to the end, or from the newest checkpoint to the end.

        Raises:
            InterruptedRunError: Ctrl-C; a checkpoint was written.
            PreemptedError: SIGTERM or SIGUSR1; a checkpoint was written.
            TrainingError: The loss, the gradient or the weights are not finite.
            UsageError: The folder holds a checkpoint of another run.
            IntegrityError: Weights that it kept were damaged meanwhile.
        """
        self._restore()
        self.mixture.steps_taken |= self.position.steps_taken
        self.mixture.stopped = list(self.position.stopped)
        self.history.cut(self.position.history_bytes)
        self._keep_step()
        quiet = self.quiet or not self.processes.first
        shown = Progress(self.title, start=self._done(), quiet=quiet)
        with stop_requests() as request, shown as progress:
            between = self._between(request, progress)
            stopped = self.position.dev_due and self._evaluate_dev(between)
            began, examples, batches = time.monotonic(), 0, Padding()
            while self.position.step < self.total and not stopped:
                loss, step, seen = self._step()
                examples += step.examples
                batches.add(seen)
                if progress.wanted:
                    seconds = max(1e-9, time.monotonic() - began)
                    progress(
                        f"step {self.position.step}/{self.total}  loss {loss:.4f}  "
                        f"{examples / seconds:.0f} examples/s  "
                        f"{batches.tokens / seconds:.0f} tokens/s  {batches.share:.1%} padding",
                        self._done(),
                    )
                stopped = self._after_step(between)
                number = self.processes.agreed(request.number)
                if number and not stopped and self.position.step < self.total:
                    self._save()
                    request.number = number
                    raise request.error(self.position.step, self.resume_command)
            self._bring_back_kept(between)
        return self._finish(stopped)

    def _restore(self) -> None:
        """Go on from a checkpoint, and say what of the run was damaged."""
        folder, key, parameters = self.folder, self.run_key, self.parameters
        removed: list[str] = []
        if self.processes.first:
            removed = checkpoint.remove_damaged(folder, key, parameters)
        self.processes.wait()  # the others must not read what is being removed
        restored = checkpoint.restore(folder, key, parameters, self.optimizer, self.spec)
        self.position = restored or self.position
        if removed and not self.quiet:
            goes_on = f"goes on after step {restored.step}" if restored else "begins anew"
            print(
                "\n".join([f"damaged and removed: {what}" for what in removed])
                + f"\n{self.title} {goes_on}",
                file=sys.stderr,
            )

    def _between(self, request: StopRequest, progress: Progress) -> Between:
        """What happens between two batches of a dev evaluation, before which all was saved."""

        def between(share: float) -> None:
            number, step = self.processes.agreed(request.number), self.position.step
            if number:
                request.number = number
                raise request.error(step, self.resume_command)
            progress(f"step {step}/{self.total}  dev evaluation {share:.0%}", self._done(share))

        return between

    def _done(self, of_evaluation: float = 0.0) -> float:
        """Share of the run that is done, dev evaluations too, with a share of the current one."""
        step = self.position.step
        ended = -(-step // self._dev_every) if step == self.total else step // self._dev_every
        ended -= self.position.dev_due
        whole = self.total + self.dev_steps * self.dev_evaluations()
        return (step + self.dev_steps * (ended + of_evaluation)) / max(1, whole)

    def calibrate(self, seconds: float) -> tuple[int, float]:
        """Run the longest batch once, then some steps, keeping nothing.

        Args:
            seconds: Stop after about that long.

        Returns:
            Sub-words without padding of the timed steps, and the seconds they took.
        """
        for batches in self.mixture.batches.values():
            longest = batches.lengths.argsort()[::-1][: self.spec.batch_size].copy()
            step = batches.make_step(longest, 0)
            for index, batch in enumerate(step.batches):
                self._backward(batch, step, penalised=index == 0)
        self.optimizer.zero_grad(set_to_none=True)
        began, tokens, steps = time.monotonic(), 0, 0
        while steps < self.total and (steps < 2 or time.monotonic() - began < seconds):
            tokens, steps = tokens + self._step(write=False)[2].tokens, steps + 1
        return tokens, time.monotonic() - began

    # -- one step

    def _step(self, *, write: bool = True) -> tuple[float, Step, Padding]:
        """Forward, backward and update of one optimiser step; its loss, rows and positions.

        Raises:
            TrainingError: The loss or the gradient is not finite; no weight was changed.
        """
        processes, number = self.processes, self.position.step
        torch.manual_seed(_draw_seed(self.spec.seed, number, processes.rank))
        self.model.train()
        lr = learning_rate(self.spec, number, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["scale"]
        step = self.mixture.step(number, processes.rank, processes.count)
        total = torch.zeros((), device=processes.device)
        for index, batch in enumerate(step.batches):
            last = index == len(step.batches) - 1
            with nullcontext() if last else processes.no_sync(self.wrapped):
                total += self._backward(batch, step, penalised=index == 0)
        limit = self.spec.clip or math.inf
        norm = float(
            sharding.whole(nn.utils.clip_grad_norm_(list(self.parameters.values()), limit))
        )
        loss = float(processes.sum(total))
        self._require_finite(loss, norm, step, lr)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.position.step += 1
        seen = Padding.of(step.batches if step.weight else ())
        done = self.position.step
        if write and (done % history.EVERY == 0 or done == self.total):
            self.history.step(done, step, loss, lr, norm, seen)
        return loss, step, seen

    def _require_finite(self, loss: float, norm: float, step: Step, lr: float) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            return
        what = f"the gradient's norm is {norm}" if math.isfinite(loss) else f"the loss is {loss}"
        raise TrainingError(
            f"training diverged at step {self.position.step + 1} of {self.total}: {what}",
            where=f"{self.title}, rows of {step.part}, learning rate {lr:g}",
            hint=f"{CALMER} With train.precision=bf16, try fp32.",
        )

    def _backward(self, batch: Batch, step: Step, *, penalised: bool) -> Tensor:
        """Add the gradient of a micro-batch; each example weighs 1 / examples of the whole step."""
        processes = self.processes
        batch = batch.to(processes.device)
        with processes.autocast():
            losses: Tensor = self.wrapped(batch, step.head)
        loss: Tensor = losses.float().sum() * (step.weight / step.examples)
        reported = loss.detach()
        penalty = getattr(self.model, "penalty", None)
        if penalised and penalty is not None:
            loss = loss + penalty() / processes.count
        # Gradients are averaged over processes; the step's sum must not be divided.
        torch.autograd.backward(loss * processes.count)
        return reported

    # -- between steps

    @property
    def _dev_every(self) -> int:
        return self.spec.eval_every or max(1, round(self.mixture.steps_per_epoch))

    def dev_evaluations(self) -> int:
        """How many dev evaluations a whole run has."""
        if not self.evaluate:
            return 0
        return -(-self.total // self._dev_every) + (self.spec.select == "average")

    def _after_step(self, between: Between) -> bool:
        """Save, and evaluate on the dev rows, when it is time; True when patience ran out."""
        number, every = self.position.step, self._dev_every
        last = number == self.total
        self.position.dev_due = self.evaluate is not None and (number % every == 0 or last)
        self._keep_step()
        due = number % (self.spec.checkpoint_every or every) == 0 or last
        if self.position.dev_due or due or self._is_old():
            self._save()
        return self.position.dev_due and self._evaluate_dev(between)

    def _is_old(self) -> bool:
        """Whether the last checkpoint is old, in the opinion of the first process."""
        if self.position.step % 10:
            return False
        old = time.monotonic() - self._saved_at > CHECKPOINT_SECONDS
        return bool(self.processes.agreed(int(old)))

    def _evaluate_dev(self, between: Between) -> bool:
        """Score the dev sets, and keep the weights that are asked for. True when all is done."""
        position, spec = self.position, self.spec
        scores = self._dev_scores(between)
        mean = sum(scores.values()) / len(scores)
        gains = {n: -s if n in self.lower_is_better else s for n, s in scores.items()}
        gained = position.note_dev_score(sum(gains.values()) / len(gains))
        if gained or spec.select != "best":
            position.kept_score = mean
        best = gained and spec.select == "best"
        averaged = spec.select == "average" and position.step >= spec.average_from * self.total
        if best or averaged:
            self._keep_dev_weights(averaged=averaged)
        self.history.write({"step": position.step, "dev_score": mean, "dev_scores": scores})
        if self.mixture.mix.stop_parts:
            going = position.stop_parts(gains, spec.patience)
            stopped = not going
            if going:
                self.mixture.stopped = list(position.stopped)
        else:
            stopped = bool(spec.patience) and position.evaluations_since_best >= spec.patience
        if not stopped:  # else a run that goes on from here evaluates, and stops, once more
            position.dev_due = False
            if self.processes.first:
                checkpoint.save_position(self.folder, self._position_now())
            self.processes.wait()
        return stopped

    def _dev_scores(self, between: Between) -> dict[str, float]:
        """Each part's dev score with the weights as they are now, the same in every process."""
        assert self.evaluate is not None
        try:
            found = dict(self.evaluate(between))
        except NotFiniteError as error:
            raise TrainingError(
                f"training diverged by step {self.position.step} of {self.total}: {error.what} in "
                "the dev evaluation",
                where=f"{self.title}, {error.where}",
                hint=CALMER,
            ) from None
        return self.processes.same(found)

    def _keep_dev_weights(self, *, averaged: bool) -> None:
        """Keep the weights as they are now, or add them to the mean."""
        position, weights = self.position, checkpoint.weights_of(self.parameters)
        if not self.processes.first:
            return
        if averaged:
            position.averaged = checkpoint.keep_mean(
                self.folder, weights, position.averaged, position.step
            )
        else:
            checkpoint.keep_best(self.folder, weights, position.step)

    def _keep_step(self) -> None:
        every, number = self.spec.save_every, self.position.step
        if not every or number % every:
            return
        weights = checkpoint.weights_of(self.parameters)
        if self.processes.first:
            checkpoint.keep(checkpoint.step_folder(self.folder, number), weights)

    def _position_now(self) -> Position:
        self.position.steps_taken = dict(self.mixture.steps_taken)
        self.position.history_bytes = self.history.size
        return self.position

    def _save(self) -> None:
        weights = checkpoint.weights_of(self.parameters)
        moments = checkpoint.moments_of(self.parameters, self.optimizer)
        if self.processes.first:
            checkpoint.save(self.folder, self._position_now(), weights, moments)
        self._saved_at = time.monotonic()
        self.processes.wait()

    def _bring_back_kept(self, between: Between) -> None:
        """Go back to the weights that are kept, and score an average, which nothing has scored."""
        self.processes.wait()
        position, self.kept = self.position, self.position.step
        if position.best_step >= 0 and self.spec.select == "best":
            best = checkpoint.best_folder(self.folder, position.best_step)
            checkpoint.bring_back(best, self.parameters)
            self.kept = position.best_step
        elif self.spec.select == "average" and self.processes.same(position.averaged)[0]:
            last = self.processes.same(position.averaged)[1]
            checkpoint.bring_back(checkpoint.mean_folder(self.folder, last), self.parameters)
            scores = self._dev_scores(between)
            position.kept_score = sum(scores.values()) / len(scores)
        self.processes.wait()  # the first process may clean up once all have read their weights

    def _finish(self, stopped: bool) -> TrainResult:
        for name, parameter in self.parameters.items():
            if not torch.isfinite(sharding.whole(parameter.detach())).all():
                raise TrainingError(
                    f"training diverged: {name} is not finite after step {self.kept}",
                    where=self.title,
                    hint=CALMER,
                )
        position = self.position
        saved = [int(path.name[5:]) for path in sorted(self.folder.glob("step-*"))]
        return TrainResult(
            position.step,
            self.kept,
            position.kept_score,
            stopped,
            dict(self.mixture.steps_taken),
            saved,
        )


def _draw_seed(*numbers: int) -> int:
    """One seed for torch from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
