"""One training phase: rows to a module in the library, found again when nothing changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import ModuleWeights
from xstilts.composition.compose import ComposedModules
from xstilts.composition.load import pinned, resolve_expression
from xstilts.composition.task_model import TaskModel
from xstilts.config.load import load_method
from xstilts.config.run import RunSpec, short_name, tasks_of
from xstilts.config.specs import MixSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import Features
from xstilts.data.sources import data_digest
from xstilts.files import digest
from xstilts.modules.methods import METHODS
from xstilts.tasks.encoding import encode
from xstilts.tasks.formats.masked_lm import language_shares
from xstilts.train import parts as phase_parts
from xstilts.train.mixing import Mixture, TaskBatches, micro_tokens
from xstilts.train.parts import MLM, make_parts
from xstilts.zoo import Entry
from xstilts.zoo.store import require_name
from xstilts.zoo.workspace import Workspace

CODE_VERSION = 2
"""Raised when a training gives other weights for the same inputs."""


@dataclass(frozen=True)
class Plan:
    """What a phase would do.

    Attributes:
        tokens: Sub-words without padding over the whole run.
        shares: Part to its stated share of the steps.
        cached_bytes: Of cached activations of frozen blocks; 0 without them.
        known: The module, when this very training was done before.
    """

    rows: int
    dev_rows: int
    steps: int
    tokens: int
    shares: Mapping[str, float]
    trainable_parameters: int
    backbone_parameters: int
    disk_bytes: int
    cached_bytes: int
    run: str
    known: Entry | None


@dataclass(frozen=True)
class PhaseModel:
    """A phase's model.

    Attributes:
        model: The whole, on its backbone; only what the phase trains requires gradients.
        own: The new module in it.
        below: What acts below that.
    """

    model: TaskModel
    own: ModuleWeights
    below: ComposedModules


class Phase:
    """A training of some tasks on a backbone, over what `below` composes.

    Args:
        tasks: A task, a mixture, or several tasks joined by commas.
        run: Method, options and training settings.
        backbone: Loaded; it is left as it was.
        workspace: Where to read and write.
        below: Expression that acts, frozen, below the new module.
        standalone: Keep the new module by itself, so that something else can act below it later (a
            language adapter of another language).
        init: Module whose weights the new one starts from; empty for a fresh start.
        name: Of the new module; that of `tasks` when empty.
        command: Shown to resume an interrupted run.
    """

    def __init__(
        self,
        tasks: str,
        run: RunSpec,
        backbone: Backbone,
        workspace: Workspace,
        *,
        below: str = "none",
        standalone: bool = False,
        init: str = "",
        name: str = "",
        command: str = "",
    ) -> None:
        self.run, self.backbone, self.workspace = run, backbone, workspace
        self.name, self.command = name or short_name(tasks), command
        require_name(self.name)
        self.preset = load_method(run.method)
        self.method = METHODS.get(self.preset.method)
        self.options = self.method.Options.model_validate(run.options)
        self.expression, self.parents = resolve_expression(below, workspace.zoo, backbone)
        self.standalone = standalone
        self.init = workspace.zoo.find(init, backbone.identity) if init else None
        self.tasks = tasks_of(tasks)
        self.parts = make_parts(self.tasks, run, workspace.data, offline=workspace.offline)

    @property
    def full(self) -> bool:
        """Whether the whole encoder is fine-tuned."""
        return self.preset.method == "full"

    @property
    def task(self) -> TaskSpec:
        """The first task."""
        return self.parts[0].task

    @property
    def rows(self) -> list[Example]:
        """The training rows of every part."""
        return [row for part in self.parts for row in part.rows]

    @cached_property
    def heads(self) -> dict[str, TaskSpec]:
        """Head name to the task whose format and labels it speaks."""
        return {part.head: part.task for part in reversed(self.parts)}

    def features(self, examples: Sequence[Example], task: TaskSpec) -> Features:
        """Tokenised rows, cut at the run's or the task's length."""
        length = self.run.train.max_length or task.max_length
        return encode(
            examples,
            data_digest(examples),
            task,
            self.backbone.tokenizer,
            self.backbone.identity.tokenizer_sha256,
            min(length, self.backbone.max_length),
            self.workspace.cache,
        )

    def mixture(self) -> Mixture:
        """Where the steps get their rows."""
        tokenizer, spec = self.backbone.tokenizer, self.run.train
        budget = micro_tokens(self.backbone.device.type, frozen=not self.full)
        streams = {
            part.name: TaskBatches(
                part.task, self.features(part.rows, part.task), tokenizer, spec, part.head, budget
            )
            for part in self.parts
        }
        return Mixture(streams, spec, self.mix())

    def mix(self) -> MixSpec:
        """The run's mix, plain text spread over its languages."""
        texts = {part.name: part.size for part in self.parts if part.task.name == MLM}
        if not texts:
            return self.run.mix
        shares = language_shares(texts, self.run.mlm.alpha)
        if len(texts) == len(self.parts):
            return self.run.mix.model_copy(update={"rule": "fixed", "shares": shares})
        whole = self.run.mlm.share or self.run.mix.beside.get(MLM, 0.0)
        beside = {k: v for k, v in self.run.mix.beside.items() if k != MLM}
        beside |= {name: whole * share for name, share in shares.items()}
        return self.run.mix.model_copy(update={"beside": beside})

    # -- identity

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that decides the weights but the modules below and the one started from."""
        outside = {"checkpoint_every", "gradient_checkpointing", "shard"}
        if not self.run.train.cache_activations:
            outside.add("cache_activations")
        return {
            "code": CODE_VERSION,
            "name": self.name,
            "parts": [phase_parts.identity(part) for part in self.parts],
            "mix": self.mix().model_dump(),
            "backbone": self.backbone.identity.fingerprint,
            "method": self.preset.method,
            "options": self.options.model_dump(),
            "apart": self.standalone,
            "train": self.run.train.model_dump(exclude=outside),
        }

    @cached_property
    def key(self) -> str:
        """Digest of everything that decides the weights."""
        return digest(
            {
                **self.inputs,
                "below": pinned(self.expression, self.parents),
                "init": self.init.manifest.digest if self.init else "",
            }
        )

    def step_key(self, step: int) -> str:
        """What stands for the weights at a step of `train.save_every`, instead of `key`."""
        return digest([self.key, step])

    def trainable(self, model: TaskModel) -> int:
        """How many numbers train; full fine-tuning trains copies of the encoder's."""
        encoder = self.backbone.encoder.parameters() if self.full else ()
        return model.trainable_parameters + sum(p.numel() for p in encoder)
