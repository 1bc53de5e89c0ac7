"""Operators: how modules are combined. The file name is the name in expressions.

An operator is one file of this package, or an entry point of the group `xstilts.operators`, that
fulfils one of the contracts below; docs/guides/extending.md shows one. A *weight operator* turns
modules of one method into one module (`WeightOperator`; most only say how updates are merged,
`MergeMethod`). A *site operator* computes with all of its parts at run time (`SiteOperator`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from pydantic import Field

from xstilts.config.registry import Registry, optional
from xstilts.config.specs import Spec
from xstilts.errors import UsageError

if TYPE_CHECKING:  # an expression is read without torch
    from torch import Generator, Tensor, nn

    from xstilts.backbone.sites import EncoderShape, Site
    from xstilts.modules.weights import ModuleWeights

Option: TypeAlias = bool | float | str
"""The value of an operator's option, as the grammar reads it."""


@dataclass(frozen=True, slots=True)
class PartInfo:
    """What is known of an operand without its weights.

    Attributes:
        name: As written in the expression.
        method: The one method of all modules in it, or empty when it mixes methods.
        options: The options of the module. Of a merge, those of its first part; where it has
            ranks of its own, what they follow from. Empty for what is no module.
        merged: Whether it is one module, so that weight operators can take it.
    """

    name: str
    method: str
    options: Mapping[str, object]
    merged: bool


class NoOptions(Spec):
    """Of an operator that takes none."""


class MergeOptions(Spec):
    """What every merge method takes.

    Attributes:
        rank: Of merged LoRA updates, the rest is cut off (SVD); 0 is the sum of the parts' ranks.
    """

    rank: int = Field(default=0, ge=0)


class WeightOperator(Protocol):
    """Turns modules of one method into one module.

    Constants with a value and optional functions may be left out.

    Attributes:
        Options: A `Spec`; unknown keys are refused, with a hint, before any weight is loaded.
        ORDERED: Whether the order of its parts matters.
        SHARES: Whether the weights of its parts are positive and sum to one.
        KEEPS_RANKS: Whether its LoRA modules have the sites, ranks and scales of their parts.
    """

    MERGES: Literal[True] = True
    Options: type[Spec] = NoOptions
    ORDERED: bool = False
    SHARES: bool = False
    KEEPS_RANKS: bool = False

    @optional
    def check(self, parts: Sequence[PartInfo]) -> None:
        """Refuse parts that it cannot take, by what their manifests say.

        Raises:
            UsageError: They are not modules of one method that fit together.
        """
        check_mergeable(parts)

    def combine(
        self,
        modules: Sequence[ModuleWeights],
        weights: Sequence[float],
        options: Any,
        generator: Generator,
    ) -> ModuleWeights:
        """The one module.

        Args:
            modules: Of one method.
            weights: One a module, 1.0 where none is written.
            options: Of the operator's `Options`.
            generator: For what it draws.
        """
        ...


class MergeMethod(WeightOperator, Protocol):
    """A weight operator that says how the updates of one tensor are merged; the rest is shared.

    Attributes:
        Options: As in `WeightOperator`; a `rank` in it cuts the merged LoRA updates.
        DRAWS: Whether it draws at random: then it gets each tensor once and whole, and `generator`
            starts at `options.seed`. Otherwise it works number by number and may get rows of one.
        TRIMS: Whether only the share `options.density` of each update, the largest, is kept before.
    """

    Options: type[Spec] = MergeOptions
    DRAWS: bool = False
    TRIMS: bool = False

    def merge(
        self, updates: Tensor, weights: Sequence[float], options: Any, generator: Generator
    ) -> Tensor:
        """The merged update of N modules: [N, …] to […], float32."""
        ...

    @optional
    def combine(
        self,
        modules: Sequence[ModuleWeights],
        weights: Sequence[float],
        options: Any,
        generator: Generator,
    ) -> ModuleWeights:
        """The module whose updates are merged one by one, as the modules' method does it."""
        from torch import Generator

        from xstilts.modules.merging import Merge
        from xstilts.modules.methods import METHODS

        if self.DRAWS:
            generator = Generator().manual_seed(options.seed)
        how = Merge(
            lambda updates: self.merge(updates, weights, options, generator),
            density=options.density if self.TRIMS else 1.0,
            draws=self.DRAWS,
            rank=getattr(options, "rank", 0),
        )
        return METHODS.get(modules[0].method).merged(modules, how)


class SiteOperator(Protocol):
    """Computes with all of its parts at run time.

    What it puts at a site may say more of itself: see `xstilts.modules.nodes`.

    Attributes:
        Options: As in `WeightOperator`.
        ORDERED: Whether the order of its parts matters.
        LEARNS: Whether it has parameters of its own, which a target phase trains.
        HEAD_OF_LAST: Whether the head of its last part speaks for the whole.
        ADAPTERS_BLOCK: The composition block of the adapters library that computes the same, or
            empty.
    """

    MERGES: Literal[False] = False
    Options: type[Spec] = NoOptions
    ORDERED: bool = False
    LEARNS: bool = False
    HEAD_OF_LAST: bool = False
    ADAPTERS_BLOCK: str = ""

    @optional
    def check(self, parts: Sequence[PartInfo]) -> None:
        """Refuse parts that it cannot take, by what their manifests say."""

    def at_site(
        self,
        site: Site,
        parts: Sequence[nn.Module],
        shape: EncoderShape,
        options: Any,
        generator: Generator,
    ) -> nn.Module:
        """A node that computes with the parts at one site.

        Its own parameters are in children whose name starts with `own`.

        Args:
            site: Where it acts.
            parts: The parts' modules there, at least one.
            shape: Of the encoder.
            options: Of the operator's `Options`.
            generator: Draws new parameters.
        """
        ...


OPERATORS = Registry[WeightOperator | SiteOperator](
    "xstilts.modules.operators",
    "operator",
    (WeightOperator, MergeMethod, SiteOperator),
    "xstilts.operators",
)


# ------------------------------------------------------------------------------- checks of parts


def check_mergeable(parts: Sequence[PartInfo]) -> None:
    """Refuse parts that cannot become one module.

    Raises:
        UsageError: Different methods, adapters of different shape, or a part that is no one module.
    """
    from xstilts.modules.methods import METHODS

    first = parts[0]
    for part in parts:
        if not part.merged:
            raise UsageError(f"'{part.name}' is not one module, so it has no weights to combine")
        if part.method != first.method:
            raise UsageError(
                f"'{part.name}' is of method {part.method}, '{first.name}' of {first.method}",
                hint="Weights of different methods cannot be combined; stack them instead.",
            )
        if part.options != first.options and not METHODS.get(part.method).IS_UPDATE:
            raise UsageError(
                f"adapters '{part.name}' and '{first.name}' have different options",
                hint="Parameters can only be combined when sites and sizes are the same.",
            )


def check_low_rank(parts: Sequence[PartInfo]) -> None:
    """As `check_mergeable`, and only LoRA modules.

    Raises:
        UsageError: Another method.
    """
    from xstilts.modules.methods import METHODS

    check_mergeable(parts)
    if not METHODS.get(parts[0].method).LOW_RANK:
        raise UsageError(
            f"'{parts[0].name}' is of method {parts[0].method}, and this operator takes LoRA",
            hint="Use average(…) or a sum.",
        )
