"""The weights of one module, wherever its method puts them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from xstilts.backbone.lazy_tensors import num_parameters
from xstilts.backbone.sites import Site
from xstilts.config.specs import Spec


class ModuleWeights(nn.Module):
    """The parameters of one module, by site; what `methods` make, save and load.

    Attributes:
        method: Name of the method that made it.
        options: The method's options.
        at: Site key to what acts there.
        encoder_weights: Encoder tensors that replace the backbone's own (full fine-tuning).
        base: The backbone's own, for what is computed from differences; only with those.
        error: Relative error of a merge that was cut to a rank; 0 where nothing was cut.
    """

    def __init__(
        self,
        method: str,
        options: Spec,
        at: Mapping[str, nn.Module],
        encoder_weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.method, self.options = method, options
        self.at = nn.ModuleDict(dict(at))
        self.encoder_weights = encoder_weights
        self.base: Mapping[str, Tensor] = {}
        self.error = 0.0

    def sites(self) -> Iterator[Site]:
        """The sites this module acts at, first block first."""
        yield from sorted(Site.of(key) for key in self.at)

    @property
    def num_parameters(self) -> int:
        """Number of parameters, those of a fine-tuned encoder included."""
        own = sum(parameter.numel() for parameter in self.parameters())
        return own + num_parameters(self.encoder_weights or {})
