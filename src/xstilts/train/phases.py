"""What a training phase is and what is built of it; `xstilts.train.run` runs one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from xstilts.backbone.backbone import Backbone
from xstilts.composition.compose import ComposedModules
from xstilts.composition.expression import Expression
from xstilts.composition.resolve import pinned
from xstilts.composition.task_model import TaskModel
from xstilts.config.run import CODE_VERSION, RunSpec
from xstilts.config.specs import MethodSpec, MixSpec, Spec, TaskSpec
from xstilts.config.specs.training import WITHOUT_EFFECT
from xstilts.data.examples import Example
from xstilts.files import digest
from xstilts.modules.methods import METHODS
from xstilts.modules.weights import ModuleWeights
from xstilts.tasks.encoding import row_length
from xstilts.tasks.formats.masked_lm import language_shares
from xstilts.train import parts as phase_parts
from xstilts.train.mixing import Mixture
from xstilts.train.parts import MLM, Part
from xstilts.zoo import Entry
from xstilts.zoo.workspace import Workspace


@dataclass(frozen=True)
class Phase:
    """One training of some tasks on a backbone; `run.resolve_phase` makes it.

    Attributes:
        name: Of the new module.
        tasks: Names of what is trained on, `mlm` for plain text.
        parts: Their rows: a part for each task and each language of plain text.
        run: Method, options and training settings.
        preset: The method preset.
        options: Of the method.
        backbone: It is left as it was.
        workspace: Where to read and write.
        base: Expression that acts, frozen, below the new module.
        parents: The modules in `base`, by reference.
        init: Module whose weights the new one starts from; None for a fresh start.
        standalone: The new module is kept by itself, so that something else can act below it later
            (a language adapter of another language).
        command: Shown to resume an interrupted run.
    """

    name: str
    tasks: Sequence[str]
    parts: Sequence[Part]
    run: RunSpec
    preset: MethodSpec
    options: Spec
    backbone: Backbone
    workspace: Workspace
    base: Expression
    parents: Mapping[str, Entry]
    init: Entry | None = None
    standalone: bool = False
    command: str = ""

    @property
    def method(self) -> Any:
        """The file of `modules/methods` that makes the new module."""
        return METHODS.get(self.preset.method)

    @property
    def full(self) -> bool:
        """Whether the whole encoder is fine-tuned."""
        return self.method.REPLACES_ENCODER

    @property
    def task(self) -> TaskSpec:
        """The first task; others of a mixture are in `parts`."""
        return self.parts[0].task

    @property
    def rows(self) -> list[Example]:
        """The training rows of every part."""
        return [row for part in self.parts for row in part.rows]

    @property
    def heads(self) -> dict[str, TaskSpec]:
        """Head name to the task whose format and labels it speaks."""
        return {part.head: part.task for part in reversed(self.parts)}

    @property
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

    @property
    def lower_is_better(self) -> list[str]:
        """Names of the parts of which a lower dev score is better."""
        return [part.name for part in self.parts if part.lower_is_better]

    def rows_cut(self, mixture: Mixture) -> dict[str, dict[str, int]]:
        """Part to how many of its training rows lost sub-words, of how many, at which length."""
        return {
            part.name: {
                "cut": mixture.batches[part.name].features.cut,
                "rows": len(part.rows),
                "max_length": row_length(part.task, self.backbone, self.run.train.max_length),
            }
            for part in self.parts
        }

    @cached_property
    def identity_values(self) -> dict[str, Any]:
        """Everything that decides the weights but the modules of `base` and `init`."""
        outside = set(WITHOUT_EFFECT)  # the parts' digests hold the rows that `dev_limit` leaves
        train = self.run.train
        if not train.cache_activations:
            outside.add("cache_activations")
        selects = train.select == "best" or train.patience > 0
        lowest = self.lower_is_better if selects else []
        decays = self.method.EXTERNAL and train.layer_decay < 1
        return {
            "code": CODE_VERSION,
            "name": self.name,
            "parts": [phase_parts.identity(part) for part in self.parts],
            "mix": self.mix.model_dump(),
            "backbone": self.backbone.identity.key,
            "method": self.preset.method,
            "options": self.options.model_dump(),
            "apart": self.standalone,
            "train": train.model_dump(exclude=outside),
            **({"lower is better": lowest} if lowest else {}),
            **({"layer decay": "also in modules of another library"} if decays else {}),
        }

    @cached_property
    def deciding(self) -> dict[str, Any]:
        """Everything that decides the weights, as JSON values."""
        return {
            **self.identity_values,
            "below": pinned(self.base, self.parents),
            "init": self.init.manifest.digest if self.init else "",
        }

    @cached_property
    def run_key(self) -> str:
        """Digest of everything that decides the weights: equal keys, the same training."""
        return digest(self.deciding)

    def step_key(self, step: int) -> str:
        """What stands for the weights at a step of `train.save_every`, instead of `run_key`."""
        return digest([self.run_key, step])


@dataclass(frozen=True)
class PhaseModel:
    """The model that a phase trains, and which of its parameters.

    Attributes:
        backbone: What it stands on: the phase's own, or a copy that is spread over processes.
        model: The whole, on the backbone.
        own: The new module in it.
        base: What acts below that.
        trained: Name in `model` to each parameter that training changes.
    """

    backbone: Backbone
    model: TaskModel
    own: ModuleWeights
    base: ComposedModules
    trained: Mapping[str, nn.Parameter]

    @property
    def num_trained(self) -> int:
        """Number of parameters that training changes."""
        return sum(parameter.numel() for parameter in self.trained.values())
