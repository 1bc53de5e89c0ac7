"""A composed model for somebody's own loop, or for the transformers Trainer."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from transformers.utils import ModelOutput

from xstilts.backbone.backbone import Backbone
from xstilts.composition.load import LoadedExpression
from xstilts.composition.task_model import Head, TaskModel
from xstilts.config.specs import TaskSpec
from xstilts.data.features import Batch
from xstilts.errors import UsageError
from xstilts.tasks.formats import FORMATS
from xstilts.tasks.formats._fields import IGNORED


@dataclass
class TaskOutput(ModelOutput):  # type: ignore[misc]
    """Loss and logits of a model, as a ModelOutput of transformers.

    Attributes:
        loss: Mean over the examples with a label or a position, a scalar; while training, with what
            operators add (the penalty of a fusion). None without labels.
        logits: As the head gives them: [B, labels], [B, T, labels], [B, T, 2], or [B, C] for C
            choices.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None


class TrainableModel(nn.Module):
    """An expression with a head on a copy of the backbone, attached for good.

    What was added to the encoder (modules, fusion, head) trains; the encoder's own weights are
    frozen, unless a full fine-tune replaced them. `requires_grad_` changes either.

    Args:
        loaded: The expression with its weights.
        backbone: It is copied, so that nothing changes it.
        task: What the head predicts.
        seed: Of a head that is freshly drawn, where the expression brings none for the task.

    Attributes:
        model: The encoder, what acts in it, and the head.
        tokenizer: The backbone's.
        task: The head's task; its `labels` are in the order of the logits.

    Raises:
        UsageError: The task needs no head.
    """

    accepts_loss_kwargs = False
    """Tells the transformers Trainer that it has to divide the loss by its accumulation steps."""

    def __init__(
        self, loaded: LoadedExpression, backbone: Backbone, task: TaskSpec, seed: int = 42
    ) -> None:
        super().__init__()
        if not FORMATS.get(task.format).NEEDS_HEAD:
            raise UsageError(f"task {task.name} has no head", hint="Use Session.load(…).embed.")
        twin = backbone.copy().to(backbone.device)
        if loaded.composed.encoder_weights:
            twin.encoder.load_state_dict(dict(loaded.composed.encoder_weights), strict=False)
        twin.encoder.requires_grad_(bool(loaded.composed.encoder_weights))
        head = loaded.head_for(task) or Head.new(task, twin, Generator().manual_seed(seed))
        self.task, self.tokenizer = head.task, twin.tokenizer
        loaded.composed.encoder_weights = {}
        self.model = TaskModel(twin, loaded.composed, {head.task.name: head}).to(twin.device)
        self.model.composed.requires_grad_(True)
        self.model.heads.requires_grad_(True)
        self._attached = ExitStack()
        self._attached.enter_context(self.model.attached())

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        position_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **others: Any,
    ) -> TaskOutput:
        """Loss and logits of padded rows.

        Args:
            input_ids: [B, T], or [B, C, T] for the C choices of each example.
            attention_mask: As `input_ids`, 1 for real sub-words; all of them when None.
            labels: [B] numbers of labels or choices, or [B, T] of labels; -100 counts for nothing.
            start_positions: [B], position of an answer's first sub-word, or -100.
            end_positions: [B], position of its last one, or -100.
            position_ids: Ignored: the encoder counts itself.
            token_type_ids: Ignored: these encoders have none.
            others: Ignored.

        Raises:
            UsageError: The head needs labels, and there are none.
        """
        del position_ids, token_type_ids, others
        choices = input_ids.shape[1] if input_ids.dim() == 3 else 0
        ids = input_ids.flatten(0, -2)
        mask = torch.ones_like(ids) if attention_mask is None else attention_mask.flatten(0, -2)
        count = input_ids.shape[0]
        example = torch.arange(count, device=ids.device)
        if choices:
            example = example.repeat_interleave(choices)
        tokens: dict[str, Tensor] = {}
        scalars: dict[str, Tensor] = {}
        if labels is not None and labels.dim() == 2:
            tokens["labels"] = labels
        elif labels is not None:
            scalars["label"] = labels[example]
        if start_positions is not None and end_positions is not None:
            scalars |= {"start": start_positions, "end": end_positions}
        batch = Batch(ids, mask, example, np.arange(len(ids)), count, tokens, scalars)
        try:
            logits = self.model.logits(batch, self.task.name)
        except KeyError as error:
            raise UsageError(
                f"the head of task {self.task.name} needs {error}", hint="Give labels."
            ) from None
        loss = None
        if tokens or scalars:
            losses = FORMATS.get(self.task.format).loss(logits, batch)
            counted = _counted(batch)
            loss = losses[counted].mean() if bool(counted.any()) else losses.sum()
            if self.training:
                loss = loss + self.model.penalty()
        return TaskOutput(loss=loss, logits=logits.view(count, choices) if choices else logits)


def _counted(batch: Batch) -> Tensor:
    """Whether an example has a target: [E]."""
    found = torch.zeros(batch.num_examples, dtype=torch.bool, device=batch.input_ids.device)
    for target in (*batch.tokens.values(), *batch.scalars.values()):
        here = target != IGNORED
        found[batch.example[here.any(1) if here.dim() > 1 else here]] = True
    return found
