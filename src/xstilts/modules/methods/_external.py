"""Modules that another library runs: a wrapped copy of the encoder that shares its weights."""

from __future__ import annotations

import ast
import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Generator, Tensor, nn

from xstilts.backbone.sites import WHOLE, EncoderShape, Site
from xstilts.errors import UsageError

SITE = Site(-2, WHOLE)


@contextmanager
def unwarned() -> Iterator[None]:
    """Keep to itself what a library says of its own insides: compilers, the shape of a bias."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class ExternalModule(nn.Module):
    """The trained parameters of a library's module, and the encoder that the library wrapped.

    Args:
        encoder: The plain encoder.
        wrapped: What the library made of a copy that shares the encoder's weights.
        read: Gives everything that is kept: the library's name to its tensor, as it is now.
    """

    def __init__(
        self, encoder: Any, wrapped: Any, read: Callable[[], Mapping[str, Tensor]]
    ) -> None:
        super().__init__()
        wrapped.eval()
        self._read = read
        state = self.state
        base = {id(p) for p in encoder.parameters()}
        new = {name: p for name, p in wrapped.named_parameters() if id(p) not in base}
        kept = {t.data_ptr() for t in state.values()}
        self.held = nn.ParameterDict(
            {
                name.replace(".", "/"): parameter
                for name, parameter in new.items()
                if parameter.data_ptr() in kept
            }
        )
        # Plain lists hide both encoders from parameters() and state_dict().
        self._encoders = [encoder, wrapped]

    @property
    def state(self) -> dict[str, Tensor]:
        """Everything that is kept: the library's name to its tensor."""
        with unwarned():
            return dict(self._read())

    def fill(self, found: Mapping[str, Tensor]) -> None:
        """Take over the values of tensors with the library's names."""
        for name, tensor in self.state.items():
            tensor.data.copy_(found[name])

    def wrapping(self, encoder: Any) -> Any:
        """The wrapped encoder, on the device of `encoder`.

        Raises:
            UsageError: It wraps another encoder.
        """
        plain, wrapped = self._encoders
        if plain is not encoder:
            raise UsageError("this module wraps another encoder object; load it again")
        return wrapped.to(next(encoder.parameters()).device)

    def train(self, mode: bool = True) -> ExternalModule:
        """Switch dropout, also in the wrapped encoder."""
        super().train(mode)
        self._encoders[1].train(mode)
        return self


def encoder_of(shape: EncoderShape) -> Any:
    """The encoder that a shape was taken from."""
    if shape.encoder is None:
        raise UsageError("a module of another library can only be made for a loaded backbone")
    return shape.encoder


def sharing(encoder: Any, own: Callable[[str], bool] = lambda _name: False) -> Any:
    """A copy of the encoder with its own module objects and the same tensors.

    Args:
        encoder: Left as it is.
        own: Parameters, by name, that the copy gets for itself, because the library changes them.
    """
    shared = {id(t): t for t in chain(encoder.parameters(), encoder.buffers())}
    for name, parameter in encoder.named_parameters():
        if own(name):
            del shared[id(parameter)]
    return copy.deepcopy(encoder, shared)


def seeded(generator: Generator, make: Callable[[], Any]) -> Any:
    """What `make` gives when torch's global draws come from `generator`."""
    seed = int(torch.randint(2**31 - 1, (), generator=generator))
    with torch.random.fork_rng(devices=[]), unwarned():
        torch.manual_seed(seed)
        return make()


def plain_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose texts are read as Python literals where they are some (`4`, `[1, 2]`)."""
    words = {"true": True, "false": False, "null": None, "none": None}
    result: dict[str, Any] = {}
    for key, value in settings.items():
        result[key] = value
        if isinstance(value, str):
            try:
                result[key] = words.get(value.lower(), value)
                if result[key] == value:
                    result[key] = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                result[key] = value
    return result
