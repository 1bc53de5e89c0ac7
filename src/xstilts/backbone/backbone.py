"""A pretrained encoder: load it, know which one it is, run part of it, act at its sites."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from xstilts.backbone.architectures import Architecture, architecture_of
from xstilts.backbone.hooks import WHOLE_KEY, Undo, hook, wrapped
from xstilts.backbone.packed import pack, unpack
from xstilts.backbone.pretrained import (
    clean_config,
    fetch,
    fetch_tokenizer,
    identify,
    outline,
    require_memory,
    tokenization,
)
from xstilts.backbone.reference import backbone_spec
from xstilts.backbone.sites import ENTRY, EncoderShape, Site
from xstilts.config.hub_models import no_network
from xstilts.config.specs import BackboneIdentity, BackboneSpec
from xstilts.errors import NetworkError, UsageError

Change: TypeAlias = Callable[[Tensor], Tensor]
"""Gives another hidden state for the one that it gets, both [B, T, D]."""


class Backbone:
    """A plain transformers encoder without a head.

    Attributes:
        encoder: The transformers model, such as XLMRobertaModel; no pooler.
        tokenizer: Its fast tokenizer.
        identity: Which backbone this is; modules refuse another one.
        retrieval_layer: Block pooled for retrieval by default.
        max_length: Longest input in sub-words, special tokens included.
        architecture: What differs between encoders.
        layout: Where everything is in this one.
    """

    def __init__(
        self,
        encoder: Any,
        tokenizer: Any,
        identity: BackboneIdentity,
        retrieval_layer: int,
        longest: int = 0,
    ) -> None:
        self.encoder, self.tokenizer = encoder, tokenizer
        self.identity, self.retrieval_layer = identity, retrieval_layer
        self.architecture = architecture_of(encoder.config.model_type)
        self.layout = self.architecture.describe(encoder.config)
        self.architecture.prepare(encoder)
        self.max_length = min(longest or self.layout.max_length, self.layout.max_length)
        self._compiled: list[Any] = []
        self._attached: Set[str] = frozenset()  # keys of the sites at which something acts
        self._entry: nn.Module | None = None  # what acts at the embeddings
        pack(self.blocks)

    def __repr__(self) -> str:
        own, device = self.identity, self.device
        sizes = f"{own.num_layers} blocks of {own.hidden_size}"
        return f"Backbone('{own.name}', {own.model_type}, {sizes}, on {device})"

    @classmethod
    def load(cls, reference: str, *, offline: bool = False) -> Backbone:
        """The backbone of a preset name, a YAML file, a local folder or a hub id (`org/name@rev`).

        Weights are float32, attention is torch's scaled dot product, and no code that comes with a
        model is ever run.

        Raises:
            NotFoundError: No such preset, folder or repository.
            OfflineError: It is not on this machine and `offline` is set.
            NetworkError: It is not on this machine and the hub does not answer.
            UsageError: It is not an encoder of a supported architecture.
            DataError: Its weights or its tokenizer are not those of the model.
        """
        spec, config, closed = _configured(reference, offline=offline)
        require_memory(spec, config)
        encoder, tokenizer = fetch(spec, config, closed)
        encoder.eval().requires_grad_(False)
        # A hub id says nothing of layers: XTREME's block 14 of 24, at the same relative depth.
        layer = spec.retrieval_layer or round(encoder.config.num_hidden_layers * 14 / 24)
        identity = identify(spec, encoder, tokenizer)
        return cls(encoder, tokenizer, identity, layer, spec.max_length)

    @property
    def asks_language(self) -> bool:
        """Whether rows have to begin with their language, see `Architecture.language_token`."""
        try:
            return self.architecture.language_token(self.encoder.config, "") is not None
        except UsageError:  # it asks, and knows no default
            return True

    @cached_property
    def tokenization(self) -> str:
        """How its tokenizer splits texts, see `KnownBackbone`."""
        return tokenization(self.tokenizer)

    @property
    def loaded(self) -> Backbone:
        """This backbone: its weights are loaded already; see `KnownBackbone`."""
        return self

    @property
    def runs_on(self) -> str:
        """The device that its weights are on, or will be."""
        return str(self.device)

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, first to last."""
        return cast("nn.ModuleList", self.encoder.get_submodule(self.layout.blocks))

    @property
    def shape(self) -> EncoderShape:
        """The sizes that a new module needs."""
        config = self.encoder.config
        return EncoderShape(config.num_hidden_layers, config.hidden_size, self.layout, self.encoder)

    @property
    def word_embeddings(self) -> nn.Embedding:
        """The table of the sub-words' embeddings."""
        return cast("nn.Embedding", self.encoder.get_input_embeddings())

    @property
    def padding_remark(self) -> str:
        """What stands behind short rows, where that is no token for it; empty otherwise."""
        tokenizer = self.tokenizer
        ends = {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id}
        if tokenizer.pad_token_id not in ends:
            return ""
        name, token = self.identity.name, tokenizer.pad_token
        return f"{name} has no padding token of its own: '{token}' stands behind short rows, masked"

    @property
    def device(self) -> torch.device:
        """The device that the weights are on."""
        return next(self.encoder.parameters()).device

    def to(self, device: torch.device | str) -> Backbone:
        """Move the weights; returns itself."""
        self.encoder.to(device)
        return self

    def copy(self) -> Backbone:
        """The same with weights of its own, in main memory."""
        twin = copy.copy(self)
        twin.encoder, twin._compiled = copy.deepcopy(self.encoder).cpu(), []
        return twin

    def in_int8(self) -> Backbone:
        """A copy for CPUs whose projections multiply in 8 bits, inputs scaled batch by batch.

        Raises:
            UsageError: The backbone is not on the CPU.
        """
        from torch.ao import quantization

        if self.device.type != "cpu":
            raise UsageError("int8 computes on the CPU", hint="Use --precision bf16 on a GPU.")
        twin = self.copy()
        unpack(twin.blocks)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about where this code will move
            quantize: Any = quantization.quantize_dynamic
            quantize(twin.encoder, {nn.Linear}, dtype=torch.qint8, inplace=True)
        return twin

    @contextmanager
    def compiled(self) -> Iterator[None]:
        """Run every block through torch.compile, for inputs of any shape, until the block ends.

        It pays on a GPU; a CPU multiplies faster from `xstilts.backbone.packed`, which compiling
        switches off. What acts at sites is compiled with its block.
        """
        if not self._compiled:
            self._compiled = [torch.compile(b._call_impl, dynamic=True) for b in self.blocks]
        for block, call in zip(self.blocks, self._compiled, strict=True):
            block._compiled_call_impl = call
        try:
            yield
        finally:
            for block in self.blocks:
                block._compiled_call_impl = None

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The last block's output, after the norm that follows it if there is one, [B, T, D]."""
        taps: dict[int, Change] = {} if self._entry is None else {0: self._enter}
        return self._run(input_ids, attention_mask, taps)

    __call__ = forward

    def hidden_states(
        self, input_ids: Tensor, attention_mask: Tensor, *, up_to: int | None = None
    ) -> tuple[Tensor, ...]:
        """What the first block reads and the outputs of the first `up_to`; no further block runs.

        Returns:
            `up_to` + 1 tensors [B, T, D]; index k is what `output_hidden_states` calls
            `hidden_states[k]`. Where a norm follows the last block, the last one is what comes out
            of it, as `forward` gives.

        Raises:
            UsageError: `up_to` is not between 0 and the number of blocks.
        """
        total = len(self.blocks)
        count = total if up_to is None else up_to
        if not 0 <= count <= total:
            raise UsageError(f"layer {count} of a backbone with {total} blocks")
        states: list[Tensor] = []

        def see(hidden: Tensor) -> Tensor:
            states.append(hidden if states else self._enter(hidden))
            if len(states) > count:
                raise _Reached
            return states[-1]

        taps = dict.fromkeys(range(min(count + 1, total)), see)
        with suppress(_Reached):
            states.append(self._run(input_ids, attention_mask, taps))
        return tuple(states)

    def from_block(
        self, first: int, hidden: Tensor, input_ids: Tensor, attention_mask: Tensor
    ) -> Tensor:
        """What `forward` gives, [B, T, D], from the output of the first `first` blocks.

        Args:
            first: Blocks that have run; all of them gives `hidden` back.
            hidden: Their output, [B, T, D]; what is at padding does not matter.
            input_ids: [B, T].
            attention_mask: [B, T].
        """
        if first == len(self.blocks):
            return hidden
        skipped = [_Skipped(block, self.architecture) for block in self.blocks[:first]]
        stands: dict[str, nn.Module] = {}
        if self.layout.embeddings:
            stands[self.layout.embeddings] = _Given(hidden)
        return self._run(input_ids, attention_mask, {first: lambda _: hidden}, skipped, stands)

    def _enter(self, hidden: Tensor) -> Tensor:
        """What the first block reads, with what acts there."""
        return hidden if self._entry is None else hidden + self._entry(hidden, hidden, None)

    def _run(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        taps: Mapping[int, Change],
        skipped: Sequence[nn.Module] = (),
        stands: Mapping[str, nn.Module] = MappingProxyType({}),
    ) -> Tensor:
        """The encoder's output.

        Args:
            input_ids: [B, T].
            attention_mask: [B, T].
            taps: Number of a block to what changes the hidden state that it reads.
            skipped: Stand where the first blocks are.
            stands: Path to what stands there.
        """
        encoder = self.encoder
        if taps:
            blocks = [*skipped, *list(self.blocks)[len(skipped) :]]
            for number, change in taps.items():
                blocks[number] = _Tapped(blocks[number], change)
            encoder = _sharing(encoder, {**stands, self.layout.blocks: nn.ModuleList(blocks)})
        given = self.architecture.inputs(encoder, input_ids, attention_mask)
        return cast("Tensor", encoder(**given).last_hidden_state)

    @contextmanager
    def attach(
        self, nodes: Mapping[str, nn.Module], weights: Mapping[str, Tensor] | None = None
    ) -> Iterator[None]:
        """Let what `nodes` holds act at its sites until the block ends.

        Args:
            nodes: Site key to what acts there (see `xstilts.backbone.sites`).
            weights: Encoder tensors to run with instead of the own ones, which come back after.

        Raises:
            UsageError: Something already acts at one of the sites.
        """
        nodes = dict(nodes.items())  # a ModuleDict has no `get`
        taken = sorted(self._attached & nodes.keys(), key=Site.of)
        if taken:
            site = Site.of(taken[0])
            raise UsageError(f"a module already acts at block {site.block}, {site.name}")
        plain, entry, attached = self.encoder, self._entry, self._attached
        undo: list[Undo] = []
        originals = self._swap(weights or {})
        try:
            if WHOLE_KEY in nodes:
                self.encoder = wrapped(nodes, plain)
            else:
                # several nodes may change one module: projections before ends of sub-layers
                sites = sorted((Site.of(key) for key in nodes), key=lambda site: not site.is_linear)
                for site in sites:
                    if site.block >= 0:
                        undo += hook(plain, self.layout, site, nodes[site.key])
                self._entry = nodes.get(ENTRY, entry)
            self._attached = attached | nodes.keys()
            yield
        finally:
            self.encoder, self._entry, self._attached = plain, entry, attached
            for restore in reversed(undo):
                restore()
            self._swap(originals)

    def _swap(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Point parameters at other tensors; returns what they pointed at."""
        parameters = dict(self.encoder.named_parameters()) if weights else {}
        originals = {}
        for name, tensor in weights.items():
            originals[name] = parameters[name].data
            parameters[name].data = tensor.to(self.device)
        return originals


class OutlinedBackbone(Backbone):
    """A backbone with the shapes of its weights alone, for plans.

    Args:
        reference: As for `Backbone.load`.
        identity: What it was when it was loaded before.
        retrieval_layer: Block pooled for retrieval by default.
        max_length: Longest input in sub-words.
        runs_on: The device that its weights will be on.
        load: Gives it with its weights.
        offline: Ask no hub for its config and tokenizer.

    Raises:
        As `Backbone.load`.
    """

    def __init__(
        self,
        reference: str,
        identity: BackboneIdentity,
        retrieval_layer: int,
        max_length: int,
        *,
        runs_on: str,
        load: Callable[[], Backbone],
        offline: bool = False,
    ) -> None:
        spec, config, closed = _configured(reference, offline=offline)
        tokenizer = fetch_tokenizer(spec, config, closed)
        encoder = outline(config).eval().requires_grad_(False)
        super().__init__(encoder, tokenizer, identity, retrieval_layer, max_length)
        self._load, self._runs_on = load, runs_on

    @property
    def loaded(self) -> Backbone:
        """The same backbone with its weights, loaded when this is first asked for."""
        return self._load()

    @property
    def runs_on(self) -> str:
        """The device that its weights will be on."""
        return self._runs_on


def _configured(reference: str, *, offline: bool) -> tuple[BackboneSpec, Any, NetworkError | None]:
    """What a reference means, its config, and why the hub cannot be asked, if it cannot."""
    spec = backbone_spec(reference)
    local = Path(spec.repo).expanduser().is_dir()
    closed = None if local else no_network(offline)
    return spec, clean_config(spec, closed), closed


class _Given(nn.Module):
    """Stands where the embeddings are and gives a hidden state that is there already."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, *_arguments: Any, **_named: Any) -> Tensor:
        return self.hidden


class _Reached(Exception):  # noqa: N818  (no error: the run ends where nobody reads on)
    """All hidden states that are wanted are there."""


class _Instead(nn.Module):
    """Stands where a block is, and has all that the block has."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("block"), name)


class _Tapped(_Instead):
    """A block whose hidden state is changed before it reads it."""

    def __init__(self, block: nn.Module, change: Change) -> None:
        super().__init__(block)
        self.change = change

    def forward(self, hidden: Any, *given: Any, **named: Any) -> Any:
        return self.block(self.change(hidden), *given, **named)


class _Skipped(_Instead):
    """A block that does not run."""

    def __init__(self, block: nn.Module, architecture: Architecture) -> None:
        super().__init__(block)
        self.architecture = architecture

    def forward(self, *given: Any, **named: Any) -> Any:
        return self.architecture.skipped(self.block, given, named)


def _sharing(model: nn.Module, stands: Mapping[str, nn.Module]) -> Any:
    """A copy that shares every tensor but has other modules at some paths."""
    top = _shallow(model)
    copies = {"": top}
    for path, module in stands.items():
        parent = ""
        *above, name = path.split(".")
        for part in above:
            inner = f"{parent}.{part}".lstrip(".")
            if inner not in copies:
                copies[inner] = _shallow(cast("nn.Module", copies[parent]._modules[part]))
                copies[parent]._modules[part] = copies[inner]
            parent = inner
        copies[parent]._modules[name] = module
    return top


def _shallow(module: nn.Module) -> nn.Module:
    """A copy that shares all tensors but has its own table of children."""
    copy = module.__class__.__new__(module.__class__)
    copy.__dict__.update(module.__dict__)
    copy._modules = dict(module._modules)
    return copy
