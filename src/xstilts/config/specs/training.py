"""How a phase trains, and how it mixes what it trains on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from xstilts.config.specs.base import Seed, Spec

WITHOUT_EFFECT = frozenset({"checkpoint_every", "gradient_checkpointing", "shard", "dev_limit"})
"""Settings that decide no weights: of dev rows the digests say which."""


class TrainSpec(Spec):
    """How one training phase runs. Lengths are sub-words, rates are per optimiser step.

    Attributes:
        lr: Peak learning rate of AdamW (Loshchilov and Hutter, 2019, arXiv:1711.05101).
        epochs: Passes over the training rows; ignored when `max_steps` or `max_tokens` is positive.
        max_steps: Optimiser steps, at most where `max_tokens` is positive too; 0 means that
            `max_tokens` or `epochs` decides.
        max_tokens: Sub-words without padding after which no further step begins, however many
            epochs that takes; 0 means no limit.
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
        precision: `bf16` runs the forward pass in bfloat16 autocast; weights stay float32. On a CPU
            it draws dropout's masks from 16 bits each, which are other masks for the same seed.
        eval_every: Optimiser steps between dev evaluations; 0 means once an epoch.
        patience: Dev evaluations without gain before stopping early; 0 means never.
        select: `best` keeps the checkpoint with the best dev score, the earliest of equal ones;
            `last` the final one; `none` the final one too, and no dev row is ever scored; `average`
            the mean of the weights at dev evaluations (Schmidt et al., 2023, arXiv:2305.16834).
        average_from: Share of the steps before which evaluations do not count for `average`.
        checkpoint_every: Optimiser steps between resumable checkpoints; 0 means once an epoch. One
            is also written before each dev evaluation, at the last step, and every ten minutes.
        save_every: Optimiser steps between copies of the weights that are kept for curves over
            time, the start included; 0 means none.
        limit: At most this many training rows, the same nested subset for a seed; 0 means all.
        dev_limit: Only the first dev rows of each language, as many as this; 0 means all.
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
    seed: Seed = 42
    max_length: int = Field(default=0, ge=0)
    eval_every: int = Field(default=0, ge=0)
    patience: int = Field(default=0, ge=0)
    select: Literal["best", "last", "average", "none"] = "best"
    average_from: float = Field(default=0.0, ge=0, lt=1)
    checkpoint_every: int = Field(default=0, ge=0)
    save_every: int = Field(default=0, ge=0)
    limit: int = Field(default=0, ge=0)
    dev_limit: int = Field(default=0, ge=0)
    bucket: int = Field(default=50, gt=0)
    gradient_checkpointing: bool = False
    shard: bool = False
    cache_activations: bool = False


Share = Annotated[float, Field(ge=0)]
"""Of the steps."""


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
        stop_parts: Patience, which is to be positive, counts for each part, and a part that runs
            out of it gets no more steps, instead of the whole run.
    """

    rule: Literal["proportional", "temperature", "uniform", "fixed"] = "proportional"
    cap: int = Field(default=0, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    shares: dict[str, Share] = Field(default_factory=dict)
    beside: dict[str, Share] = Field(default_factory=dict)
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
