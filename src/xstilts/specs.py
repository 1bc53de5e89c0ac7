"""The values that configs turn into: frozen, typed, unknown keys refused.

YAML scalars arrive as text and are read through the field types, so `1e-4` is a number and `no` is
Norwegian.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Spec(BaseModel):
    """A frozen config value that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class HubSource(Spec):
    """A data set on a hub, at a pinned revision; parquet or JSON only, never a loading script.

    Attributes:
        repo: Data set id, such as `facebook/xnli`.
        revision: A commit or tag; never a moving branch unless `unpinned_reason` says why.
        config: Name of the configuration; `{language}`, `{iso3}` and `{language_name}` are filled.
        splits: Our split name to the hub's.
    """

    repo: str
    revision: str
    config: str = ""
    splits: dict[str, str] = Field(default_factory=dict)
    unpinned_reason: str = ""


class SourceSpec(Spec):
    """One way to get a task's rows: local files in an original layout, or a hub data set.

    Attributes:
        reader: A file in `data/readers`; empty when `parts` is set.
        files: Split name to a path below the data folder; `{language}`, `{code}`, `{iso3}`,
            `{language_name}`, `{source}` and `{source_iso3}` are filled, `*` is expanded in sorted
            order. Retrieval tasks name a side and a gold file per split: `test.source`,
            `test.target`, `test.gold`. `test.labels` is a file with the labels of `test`; of
            several label or gold files the first that exists is used.
        parts: Other tasks whose rows are concatenated, as `task`, or `task/split` for training
            rows that another split of that task provides.
        codes: Language code to what this source calls it, filled for `{code}`; the code itself
            where not listed.
        columns: Field of the example to a column name or 0-based number.
        label_map: Label as written to label name; names not listed stay as they are.
        options: What the reader takes besides.
        sha256: File path (filled) to checksum, where the distribution publishes one.
        languages: The languages this source covers; empty means all of the task's.
        note: A trap of this copy, shown by `xstilts data show`.
        refused: When set, this source exists but is not used, for this reason.
    """

    reader: str = ""
    files: dict[str, str | list[str]] = Field(default_factory=dict)
    parts: list[str] = Field(default_factory=list)
    codes: dict[str, str] = Field(default_factory=dict)
    hub: HubSource | None = None
    columns: dict[str, str | int] = Field(default_factory=dict)
    label_map: dict[str, str] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    sha256: dict[str, str] = Field(default_factory=dict)
    languages: list[str] = Field(default_factory=list)
    note: str = ""
    refused: str = ""


class TaskSpec(Spec):
    """A task: a format, its rows, its languages, its metric. One YAML in `configs/tasks`.

    Attributes:
        format: A file in `formats`.
        family: Tasks of one family may share a head (`nli`, `span_qa`, …); defaults to the name.
        roles: `intermediate`, `target` or both.
        languages: Codes, in the order of the official scorer.
        source_language: The language trained on for zero-shot transfer.
        labels: Label names in a fixed order; empty when the format has none or they are read from
            the data.
        metric: A file in `metrics`.
        train_task: The task whose training rows train the head for this target; empty for
            retrieval; the task itself when it has its own training rows.
        eval_split: The split scored by default.
        select_split: The source-language split that picks the checkpoint; empty means the last
            checkpoint is taken, as the protocol does for extractive QA.
        counts: Rows per split and language that the protocol states, for `xstilts data check`:
            `{split: {language or "*": rows}}`.
        max_length: Sub-words per encoder run, special tokens included.
        train: Defaults for `TrainSpec` that belong to the task.
        options: What the format takes besides (document stride, question limit, layer, …).
        domain: `legal`, `medical`, `news`, … for retrieval tasks.
    """

    name: str
    title: str = ""
    format: str
    family: str = ""
    roles: list[Literal["intermediate", "target"]] = Field(default_factory=list)
    languages: list[str]
    source_language: str = "en"
    labels: list[str] = Field(default_factory=list)
    metric: str
    train_task: str = ""
    eval_split: str = "test"
    select_split: str = "validation"
    counts: dict[str, dict[str, int]] = Field(default_factory=dict)
    max_length: int = Field(default=128, gt=4)
    train: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    domain: str = ""
    license: str = ""
    citation: str = ""
    note: str = ""
    sources: list[SourceSpec]

    @property
    def head_family(self) -> str:
        """Tasks with the same value may share a head."""
        return self.family or self.name


class MethodSpec(Spec):
    """A preset of a training method. One YAML in `configs/methods`; the stem is the name.

    Attributes:
        method: A file in `methods`.
        options: Its options, such as `reduction_factor` or `rank`.
        train: Defaults for `TrainSpec` that belong to the method.
    """

    name: str
    method: str
    title: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    citation: str = ""


class BackboneSpec(Spec):
    """A pretrained encoder. One YAML in `configs/backbones`.

    Attributes:
        repo: Hub id or a local folder.
        revision: Commit to pin; empty for a local folder.
        retrieval_layer: Block whose output is pooled for retrieval (1-based, 0 is the embeddings).
    """

    name: str
    repo: str
    revision: str = ""
    title: str = ""
    retrieval_layer: int = Field(ge=0)
    license: str = ""
    note: str = ""


class BackboneIdentity(Spec):
    """Which encoder a module belongs to.

    Attributes:
        name: Short name for references, such as `xlm-roberta-base`.
        repo: Hub id, or the folder's name for a local backbone (never its path).
        tokenizer_sha256: Over the tokenizer's serialised form; 64 hex digits.
        fingerprint: sha256 over names, shapes, types and bytes of the embedding and block tensors
            (no pooler, no head); 64 hex digits.
    """

    name: str
    repo: str
    revision: str = ""
    model_type: str
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    vocab_size: int
    tokenizer_sha256: str
    fingerprint: str

    @property
    def on_hub(self) -> bool:
        """Whether `repo` is a hub id, not the name of a folder."""
        return bool(self.revision or _REPOSITORY.fullmatch(self.repo))

    def differences(self, other: BackboneIdentity) -> list[str]:
        """Why a module of this backbone cannot act in `other`; none when it can.

        Names and revisions may differ: they say where weights came from, not what they are.
        """
        mine, theirs = self.model_dump(), other.model_dump()
        return [name for name in mine.keys() - _ORIGIN if mine[name] != theirs[name]]


_ORIGIN = {"name", "repo", "revision"}
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class TrainSpec(Spec):
    """How one training phase runs. Lengths are sub-words, rates are per optimiser step.

    Attributes:
        lr: Peak learning rate of AdamW (Loshchilov and Hutter, 2019, arXiv:1711.05101).
        epochs: Passes over the training rows; ignored when `max_steps` is positive.
        max_steps: Optimiser steps; 0 means `epochs` decides.
        max_tokens: Sub-words without padding after which no further step begins; 0 means no limit.
        batch_size: Examples per optimiser step, over all processes and accumulation.
        accumulation: Micro-batches that one optimiser step is cut into, at least.
        micro_tokens: Sub-words that a micro-batch has at most, about: a step with more is cut into
            more micro-batches, rows of similar length together. 0 means what suits the device and
            what trains.
        warmup: Share of the steps with rising rate when below 1, else a number of steps.
        schedule: What follows warm-up.
        layer_decay: Factor on the rate for each block further from the head; 1 is the same rate
            everywhere (Howard and Ruder, 2018, arXiv:1801.06146).
        clip: Largest gradient norm of an optimiser step; 0 switches clipping off.
        precision: `bf16` runs the forward pass in bfloat16 autocast; weights stay float32.
        eval_every: Optimiser steps between looks at the dev set; 0 means once an epoch.
        patience: Looks without gain before stopping early; 0 means never.
        select: `best` keeps the checkpoint with the best dev score, the earliest of equal ones;
            `last` the final one; `average` the mean of the weights at the looks (Schmidt et al.,
            2023, arXiv:2305.16834).
        average_from: Share of the steps before which looks do not count for `average`.
        checkpoint_every: Optimiser steps between resumable checkpoints; 0 means at each look. A
            checkpoint is also written when the last one is ten minutes old.
        save_every: Optimiser steps between copies of the weights that are kept for curves over
            time, the start included; 0 means none.
        limit: At most this many training rows, the same nested subset for a seed; 0 means all.
        bucket: Batches' worth of shuffled rows that are sorted by length together; 1 switches
            bucketing off.
        gradient_checkpointing: Keep no activations inside blocks, compute them twice.
        shard: With several processes, spread weights, gradients and optimiser states over them
            (FSDP) instead of a copy in each.
        cache_activations: Run the blocks below the first that trains once a row, without dropout,
            and keep their output on disk for later epochs and modules.
    """

    lr: float = Field(default=1e-4, gt=0)
    epochs: float = Field(default=3.0, ge=0)
    max_steps: int = Field(default=0, ge=0)
    max_tokens: int = Field(default=0, ge=0)
    batch_size: int = Field(default=32, gt=0)
    accumulation: int = Field(default=1, gt=0)
    micro_tokens: int = Field(default=0, ge=0)
    warmup: float = Field(default=0.1, ge=0)
    schedule: Literal["linear", "constant"] = "linear"
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0)
    adam_eps: float = Field(default=1e-8, gt=0)
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    clip: float = Field(default=1.0, ge=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = Field(default=42, ge=0)
    max_length: int = Field(default=0, ge=0)
    eval_every: int = Field(default=0, ge=0)
    patience: int = Field(default=0, ge=0)
    select: Literal["best", "last", "average"] = "best"
    average_from: float = Field(default=0.0, ge=0, lt=1)
    checkpoint_every: int = Field(default=0, ge=0)
    save_every: int = Field(default=0, ge=0)
    limit: int = Field(default=0, ge=0)
    bucket: int = Field(default=50, gt=0)
    gradient_checkpointing: bool = False
    shard: bool = False
    cache_activations: bool = False


class MixSpec(Spec):
    """How often each part of a mixture gets a step. A step never mixes parts.

    Attributes:
        rule: `proportional` to the rows, `temperature` (rows to the power of 1 / temperature),
            `uniform`, or `fixed` to `shares`.
        cap: Rows above which a part counts no more; 0 means no cap (Raffel et al., 2020,
            arXiv:1910.10683).
        temperature: 1 is proportional, infinity would be uniform.
        shares: Part to its share of the steps for `fixed`; they sum to 1.
        beside: Part to its share of all steps, for parts outside the rule, such as `mlm: 0.1`;
            the rule divides what remains.
        stop_parts: Patience counts for each part, and a part that runs out of it gets no more
            steps, instead of the whole run.
    """

    rule: Literal["proportional", "temperature", "uniform", "fixed"] = "proportional"
    cap: int = Field(default=0, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    shares: dict[str, float] = Field(default_factory=dict)
    beside: dict[str, float] = Field(default_factory=dict)
    stop_parts: bool = False


class MixtureSpec(Spec):
    """Tasks that are trained together. One YAML in `configs/mixtures`; the stem is the name.

    Attributes:
        tasks: Their names.
        mix: Defaults for `MixSpec`.
        mlm: Defaults for masked language modelling beside them.
        train: Defaults for `TrainSpec`.
    """

    name: str
    title: str = ""
    tasks: list[str] = Field(min_length=1)
    mix: dict[str, Any] = Field(default_factory=dict)
    mlm: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    note: str = ""
    citation: str = ""


class SectionSpec(Spec):
    """How one kind of phase of a recipe is run: settings over those of task and method.

    Attributes:
        method: Method preset.
        by_task: Task or mixture to settings of its own, over the others.
    """

    method: str = "full"
    options: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    mlm: dict[str, Any] = Field(default_factory=dict)
    by_task: dict[str, dict[str, Any]] = Field(default_factory=dict)


class IntermediateSpec(Spec):
    """One row of a recipe's table: what is trained before the targets.

    Attributes:
        name: Of the row and of its module; `none` trains nothing.
        tasks: A task, a mixture, or tasks joined by commas; the name when empty.
        settings: Over those of the recipe's section, such as `{mlm: {share: 0.1}}`.
    """

    name: str
    tasks: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)


class RecipeSpec(Spec):
    """Phases from a pretrained encoder to evaluated targets. One YAML in `configs/recipes`.

    Attributes:
        intermediates: The rows of the table.
        targets: The columns: tasks.
        intermediate: How the first are trained.
        target: How heads for targets are trained; retrieval needs none.
        language: How a language adapter is trained for each language with text; None for none.
            It acts below everything else and is swapped by language at evaluation (MAD-X).
        seeds: The whole is run once for each.
        sandbox: Section name to what replaces that section's settings in the sandbox world.
        note: What of it comes from a paper and what was chosen here.
    """

    name: str
    title: str = ""
    intermediates: list[IntermediateSpec]
    targets: list[str] = Field(min_length=1)
    intermediate: SectionSpec = Field(default_factory=SectionSpec)
    target: SectionSpec = Field(default_factory=SectionSpec)
    language: SectionSpec | None = None
    seeds: list[int] = Field(default=[42], min_length=1)
    sandbox: dict[str, SectionSpec] = Field(default_factory=dict)
    citation: str = ""
    note: str = ""


class SuiteSpec(Spec):
    """A benchmark: which tasks, in which languages, averaged how. One YAML in `configs/suites`.

    Attributes:
        tasks: Task to its languages in the order of the official scorer.
        groups: Group to tasks; a group's score is the mean of theirs.
        overall: The tasks whose mean is the overall score.
    """

    name: str
    title: str = ""
    tasks: dict[str, list[str]]
    groups: dict[str, list[str]]
    overall: list[str]
    citation: str = ""
    note: str = ""
