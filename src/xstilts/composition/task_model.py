"""An encoder, what acts in it, and heads: what is trained and what predicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from xstilts.backbone.activation_cache import FrozenBlocks
from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import ENTRY
from xstilts.composition.compose import ComposedModules
from xstilts.composition.resolve import serves
from xstilts.config.specs import TaskSpec
from xstilts.data.features import Batch
from xstilts.errors import NotFiniteError, UsageError
from xstilts.modules.nodes import Penalised, inverse_of
from xstilts.tasks.formats import FORMATS


@dataclass(frozen=True)
class Head:
    """A head and the task whose format and label names it speaks."""

    task: TaskSpec
    module: nn.Module

    @classmethod
    def new(cls, task: TaskSpec, backbone: Backbone, generator: Generator) -> Head:
        """A freshly drawn head for `task` on `backbone`.

        Raises:
            UsageError: See `require_fit`.
        """
        cls.require_fit(task, backbone)
        module: Any = FORMATS.get(task.format).make_head(
            backbone.shape.hidden_size,
            task,
            generator,
            embeddings=backbone.word_embeddings,
        )
        if getattr(module, "pooling", None) == "":
            module.pooling = backbone.architecture.SENTENCE
        return cls(task, module)

    @staticmethod
    def require_fit(task: TaskSpec, backbone: Backbone) -> None:
        """Refuse a task that a backbone cannot do.

        Raises:
            UsageError: The backbone is causal, and the format's targets need both sides of a token.
        """
        if FORMATS.get(task.format).BOTH_SIDES and backbone.architecture.CAUSAL:
            raise UsageError(
                f"task {task.name} ({task.format}) cannot run on backbone {backbone.identity.name}",
                where=f"a {backbone.identity.model_type} sees only what stands before a token",
                hint="Use an encoder, such as xlm-roberta-base, or a task with labels.",
            )

    def serves(self, task: TaskSpec) -> bool:
        """Whether it can predict `task`; see `serves`."""
        return serves(self.task, task)


class TaskModel(nn.Module):
    """One encoder under any number of heads.

    Args:
        backbone: Its encoder is shared, not copied.
        composed: What acts in the encoder; `None` for the untouched backbone.
        heads: Task name to head.
        frozen: Runs the blocks that nothing touches once a row; None runs every block each time.
    """

    def __init__(
        self,
        backbone: Backbone,
        composed: ComposedModules | None,
        heads: Mapping[str, Head],
        *,
        frozen: FrozenBlocks | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.encoder = cast("nn.Module", backbone.encoder)
        self.composed = composed or ComposedModules({}, {})
        self.heads = nn.ModuleDict({_key(name): head.module for name, head in heads.items()})
        self.tasks = {name: head.task for name, head in heads.items()}
        self.frozen = frozen

    @contextmanager
    def attached(self) -> Iterator[TaskModel]:
        """Run with the composition acting in the encoder until the block ends."""
        nodes = dict(self.composed.nodes.items())
        tied: list[Any] = [head for head in self.heads.values() if hasattr(head, "inverse")]
        for head in tied:
            head.inverse = inverse_at_embeddings(nodes)
        try:
            with self.backbone.attach(nodes, self.composed.encoder_weights):
                yield self
        finally:
            for head in tied:
                head.inverse = None

    def head(self, task: str) -> nn.Module:
        """The module of a task's head."""
        return self.heads[_key(task)]

    def logits(self, batch: Batch, task: str) -> Tensor:
        """What the head of `task` says about a batch; the shape is the format's."""
        return self._logits(batch, task)

    def _logits(self, batch: Batch, task: str) -> Tensor:
        # `forward` runs this and not `logits`, which a sharded model wraps as it does `forward`.
        run = self.frozen.last_hidden_state if self.frozen else self.backbone.forward
        hidden_BTD = run(batch.input_ids, batch.attention_mask)
        return cast("Tensor", self.head(task)(hidden_BTD, batch))

    def forward(self, batch: Batch, task: str) -> Tensor:
        """The loss of each example, [E], float32."""
        loss: Any = FORMATS.get(self.tasks[task].format).loss(self._logits(batch, task), batch)
        return cast("Tensor", loss)

    def penalty(self) -> Tensor:
        """What operators that train add to the loss: a scalar, float32."""
        total = torch.zeros(())
        for module in self.composed.modules():
            if isinstance(module, Penalised):
                value = module.penalty()
                total = total.to(value.device) + value
        return total

    @property
    def trainable_parameters(self) -> int:
        """Number of parameters that training changes."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


_TAKEN = frozenset(dir(nn.ModuleDict()))


def _key(task: str) -> str:
    """A head's name in torch's dictionary, which takes no dot and no name of its own attributes."""
    key = task.replace(".", "%")
    return f"{key}%" if key in _TAKEN else key


def inverse_at_embeddings(nodes: Mapping[str, nn.Module]) -> Callable[[Tensor], Tensor] | None:
    """What takes a hidden state back through the invertible parts that act at the embeddings.

    Raises:
        UsageError: What acts there cannot be inverted.
    """
    node = nodes.get(ENTRY)
    return None if node is None else inverse_of(node)


def head_tensors(head: Head) -> dict[str, Tensor]:
    """A head's tensors for saving."""
    return {name: t.detach().cpu().contiguous() for name, t in head.module.state_dict().items()}


def restore_head(task: TaskSpec, backbone: Backbone, tensors: Mapping[str, Tensor]) -> Head:
    """The head of saved tensors.

    Raises:
        UsageError: The tensors are not those of a head for this task.
    """
    head = Head.new(task, backbone, torch.Generator())
    try:
        head.module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise UsageError(f"the saved head does not fit task '{task.name}': {first}") from None
    return head


@torch.inference_mode()
def probe(model: TaskModel) -> list[float]:
    """First values of the encoder's output on fixed ids, while the composition is attached.

    Raises:
        NotFiniteError: One of them is NaN or infinite.
    """
    model.eval()
    size = model.backbone.identity.vocab_size
    ids = (torch.arange(8)[None, :] * 7 + 5) % size
    ids = ids.to(model.backbone.device)
    output = model.backbone(ids, torch.ones_like(ids))
    values = [round(float(value), 6) for value in output[0, 0, :8]]
    if not all(map(math.isfinite, values)):
        raise NotFiniteError(
            "the model's outputs are NaN or infinite",
            hint="A training diverged, a merge overflows, or its weights are too large.",
        )
    return values
