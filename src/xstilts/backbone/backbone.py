"""A pretrained encoder: load it, know which one it is, run part of it, act at its sites."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from xstilts.backbone.hooks import WHOLE_KEY, hook, wrapped
from xstilts.backbone.packed import pack, unpack
from xstilts.backbone.pretrained import backbone_spec, clean_config, fetch, identify
from xstilts.backbone.sites import BLOCKS, EncoderShape, Site
from xstilts.config.hub_models import no_network
from xstilts.config.specs import BackboneIdentity
from xstilts.errors import UsageError


class Backbone:
    """A plain transformers encoder without a head.

    Attributes:
        encoder: The transformers model (XLMRobertaModel, XLMRobertaXLModel, BertModel); no pooler.
        tokenizer: Its fast tokenizer.
        identity: Which backbone this is; modules refuse another one.
        retrieval_layer: Block pooled for retrieval by default.
    """

    def __init__(
        self, encoder: Any, tokenizer: Any, identity: BackboneIdentity, retrieval_layer: int
    ) -> None:
        self.encoder, self.tokenizer = encoder, tokenizer
        self.identity, self.retrieval_layer = identity, retrieval_layer
        self._cut: dict[tuple[int, int], nn.Module] = {}
        self._compiled: list[Any] = []
        pack(self.blocks)

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
        spec = backbone_spec(reference)
        local = Path(spec.repo).expanduser().is_dir()
        closed = None if local else no_network(offline)
        config = clean_config(spec, closed)
        encoder, tokenizer = fetch(spec, config, closed)
        encoder.eval().requires_grad_(False)
        # A hub id says nothing of layers: XTREME's block 14 of 24, at the same relative depth.
        layer = spec.retrieval_layer or round(encoder.config.num_hidden_layers * 14 / 24)
        return cls(encoder, tokenizer, identify(spec, encoder, tokenizer), layer)

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, first to last."""
        return cast("nn.ModuleList", self.encoder.get_submodule(BLOCKS))

    @property
    def shape(self) -> EncoderShape:
        """The sizes that a new module needs."""
        config = self.encoder.config
        return EncoderShape(
            config.num_hidden_layers,
            config.hidden_size,
            config.intermediate_size,
            float(config.attention_probs_dropout_prob),
            self.encoder,
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.encoder.parameters()).device

    @property
    def max_length(self) -> int:
        """Longest input in sub-words, special tokens included."""
        config = self.encoder.config
        offset = 0 if config.model_type == "bert" else int(config.pad_token_id) + 1
        return int(config.max_position_embeddings) - offset

    def to(self, device: torch.device | str) -> Backbone:
        """Move the weights; returns itself."""
        self.encoder.to(device)
        return self

    def copy(self) -> Backbone:
        """The same with weights of its own, in main memory."""
        twin = copy.copy(self)
        twin.encoder, twin._cut, twin._compiled = copy.deepcopy(self.encoder).cpu(), {}, []
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
        """The last block's output, [B, T, D]."""
        output = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        return cast("Tensor", output.last_hidden_state)

    __call__ = forward

    def hidden_states(
        self, input_ids: Tensor, attention_mask: Tensor, *, up_to: int | None = None
    ) -> tuple[Tensor, ...]:
        """Embedding output and the outputs of the first `up_to` blocks; no further block runs.

        Returns:
            `up_to` + 1 tensors [B, T, D]; index k is what `output_hidden_states` calls
            `hidden_states[k]`.

        Raises:
            UsageError: `up_to` is not between 0 and the number of blocks.
        """
        total = len(self.blocks)
        count = total if up_to is None else up_to
        if not 0 <= count <= total:
            raise UsageError(f"layer {count} of a backbone with {total} blocks")
        states: list[Tensor] = []
        with _recording(self.encoder.embeddings, list(self.blocks)[:count], states):
            last = self._first_blocks(count)(input_ids=input_ids, attention_mask=attention_mask)
        if count == total:
            states[-1] = last.last_hidden_state
        return tuple(states)

    def from_block(
        self, first: int, hidden: Tensor, input_ids: Tensor, attention_mask: Tensor
    ) -> Tensor:
        """The last block's output [B, T, D], from the output of the first `first` blocks.

        Args:
            first: Blocks that have run; all of them gives `hidden` back.
            hidden: Their output, [B, T, D]; what is at padding does not matter.
            input_ids: [B, T].
            attention_mask: [B, T].
        """
        if first == len(self.blocks):
            return hidden
        model = self._some_blocks(first, len(self.blocks))
        model._modules["embeddings"] = _Given(hidden)
        output = model(input_ids=input_ids, attention_mask=attention_mask)
        return cast("Tensor", output.last_hidden_state)

    def _first_blocks(self, count: int) -> nn.Module:
        """The encoder with only its first blocks, sharing every weight."""
        if count == len(self.blocks):
            return cast("nn.Module", self.encoder)
        return self._some_blocks(0, count)

    def _some_blocks(self, first: int, end: int) -> nn.Module:
        """The encoder with the blocks from `first` until before `end`, sharing every weight."""
        if (first, end) not in self._cut:
            stack = _shallow(self.encoder.encoder)
            stack._modules["layer"] = nn.ModuleList(list(self.blocks)[first:end])
            model = _shallow(self.encoder)
            model._modules["encoder"] = stack
            self._cut[first, end] = model
        return self._cut[first, end]

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
        patched: list[nn.Module] = []
        originals = self._swap(weights or {})
        plain, cut = self.encoder, self._cut
        try:
            if WHOLE_KEY in nodes:
                self.encoder, self._cut = wrapped(nodes, plain), {}
                yield
                return
            for key, node in nodes.items():
                patched.append(hook(plain, Site.of(key), node))
            yield
        finally:
            self.encoder, self._cut = plain, cut
            for module in patched:
                del module.forward
            self._swap(originals)

    def _swap(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Point parameters at other tensors; returns what they pointed at."""
        parameters = dict(self.encoder.named_parameters()) if weights else {}
        originals = {}
        for name, tensor in weights.items():
            originals[name] = parameters[name].data
            parameters[name].data = tensor.to(self.device)
        return originals


class _Given(nn.Module):
    """Stands where the embeddings are and gives a hidden state that is there already."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, *_arguments: Any, **_named: Any) -> Tensor:
        return self.hidden


def _shallow(module: nn.Module) -> nn.Module:
    """A copy that shares all tensors but has its own table of children."""
    copy = module.__class__.__new__(module.__class__)
    copy.__dict__.update(module.__dict__)
    copy._modules = dict(module._modules)
    return copy


@contextmanager
def _recording(
    embeddings: nn.Module, blocks: list[nn.Module], states: list[Tensor]
) -> Iterator[None]:
    """Append what the embeddings and each of `blocks` give to `states`."""

    def record(_module: nn.Module, _inputs: Any, output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    handles = [module.register_forward_hook(record) for module in (embeddings, *blocks)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
