"""Modules as updates of weights, and back: what the merging operators share.

A LoRA module is an update of each projection it acts on; its factors mean nothing by themselves. A
full fine-tune is its difference from the backbone. A bottleneck adapter has no weights that it
updates, so its parameters stand for it: their combination is not that of the functions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from xstilts.backbone.lazy_tensors import Info, Weights, info_of, rows_of
from xstilts.backbone.sites import ModuleWeights
from xstilts.errors import UsageError
from xstilts.modules.methods.lora import LowRank, from_factors
from xstilts.modules.operators import PartInfo

Merge = Callable[[Tensor], Tensor]
"""[N, …] of one tensor in N modules to the merged tensor."""


def check(parts: Sequence[PartInfo]) -> None:
    """Refuse parts that cannot become one module.

    Raises:
        UsageError: Different methods, adapters of different shape, or a part that is no one module.
    """
    first = parts[0]
    for part in parts:
        if not part.merged:
            raise UsageError(f"'{part.name}' is not one module, so it has no weights to combine")
        if part.method != first.method:
            raise UsageError(
                f"'{part.name}' is of method {part.method}, '{first.name}' of {first.method}",
                hint="Weights of different methods cannot be combined; stack them instead.",
            )
        if part.method not in ("lora", "full") and part.options != first.options:
            raise UsageError(
                f"adapters '{part.name}' and '{first.name}' have different options",
                hint="Parameters can only be combined when sites and sizes are the same.",
            )


def check_lora(parts: Sequence[PartInfo]) -> None:
    """As `check`, and only LoRA modules.

    Raises:
        UsageError: Another method.
    """
    check(parts)
    if parts[0].method != "lora":
        raise UsageError(
            f"'{parts[0].name}' is of method {parts[0].method}, and this operator takes LoRA",
            hint="Use average(…) or a sum.",
        )


def merged(
    modules: Sequence[ModuleWeights],
    merge: Merge,
    rank: int,
    *,
    density: float = 1.0,
    draws: bool = False,
) -> ModuleWeights:
    """One module from tensors that are merged one by one.

    Args:
        modules: Of one method.
        merge: Combines the updates of one tensor, already in float32; number by number, unless
            `draws`, so that it may get some rows at a time.
        rank: Of LoRA updates; 0 is the sum of the parts' ranks. The rest is cut off (SVD).
        density: Share of each update that is kept before, the largest; see `trim`.
        draws: `merge` draws at random, so it gets each tensor once, and whole.
    """
    first = modules[0]

    def trimmed(updates: Tensor) -> Tensor:
        return merge(trim(updates, density))

    if first.method == "lora":
        return _merged_lora(modules, trimmed, rank)
    if first.method == "full":
        streamed = MergedEncoder(modules, merge, density)
        weights = _at_once(modules, merge) if draws else streamed
        result = ModuleWeights("full", first.options, {}, weights)
        result.base = first.base
        return result
    states = [module.at.state_dict() for module in modules]
    total = {
        key: trimmed(torch.stack([state[key].float() for state in states])).to(value.dtype)
        for key, value in states[0].items()
    }
    result = ModuleWeights(
        first.method, first.options, {k: copy.deepcopy(m) for k, m in first.at.items()}
    )
    result.at.load_state_dict(total)
    return result


def _merged_lora(modules: Sequence[ModuleWeights], merge: Merge, rank: int) -> ModuleWeights:
    factors: dict[str, tuple[Tensor, Tensor]] = {}
    lost = whole = 0.0
    for key in sorted({key for module in modules for key in module.at}):
        parts = [cast("LowRank", module.at[key]) for module in modules if key in module.at]
        shape = parts[0].update().shape
        zero = torch.zeros(shape)
        updates = [
            cast("LowRank", module.at[key]).update().detach() if key in module.at else zero
            for module in modules
        ]
        update = merge(torch.stack(updates))
        keep = min(rank or sum(len(part.A) for part in parts), *shape)
        factors[key], error = low_rank(update, keep)
        lost, whole = lost + error, whole + float(update.pow(2).sum())
    result = from_factors(factors)
    result.error = (lost / whole) ** 0.5 if whole else 0.0
    return result


def low_rank(update: Tensor, rank: int) -> tuple[tuple[Tensor, Tensor], float]:
    """The closest factors (A [rank, in], B [out, rank]), and the squared error that remains."""
    left, values, right = torch.linalg.svd(update.double(), full_matrices=False)
    root = values[:rank].sqrt()
    pair = ((root[:, None] * right[:rank]).float(), (left[:, :rank] * root).float())
    return pair, float(values[rank:].pow(2).sum())


# -- whole encoders


class MergedEncoder(Weights):
    """Encoders whose differences from the backbone are merged when rows are asked for.

    Neither the parts nor the result need to be in memory: a piece of each is.

    Args:
        modules: Full fine-tunes of one backbone.
        merge: See `merged`.
        density: See `merged`.
    """

    def __init__(
        self, modules: Sequence[ModuleWeights], merge: Merge, density: float = 1.0
    ) -> None:
        self.base = modules[0].base
        self.states = [module.encoder_weights or {} for module in modules]
        self.merge, self.density = merge, density
        self._least: dict[str, Tensor] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self.states[0])

    def __len__(self) -> int:
        return len(self.states[0])

    def info(self, name: str) -> Info:
        return info_of(self.states[0], name)

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        base, updates = self._updates(name, start, stop)
        if self.density < 1:
            if name not in self._least:
                self._least[name] = self._kept_from(name)
            updates = keep_from(updates, self._least[name])
        return (base + self.merge(updates)).to(self.info(name).dtype)

    def _updates(self, name: str, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Rows of the backbone, and of what each module changed, [N, …]; float32."""
        base = rows_of(self.base, name, start, stop).float()
        parts = [rows_of(state, name, start, stop).float() - base for state in self.states]
        return base, torch.stack(parts)

    def _kept_from(self, name: str) -> Tensor:
        """The least magnitude that is kept of each module's update, [N].

        Magnitudes of float32 are ordered as their bits are: the upper half of the bits of the
        wanted one is found in one pass over the pieces, the lower half in another.
        """
        info = self.info(name)
        keep = int(self.density * info.numel)
        upper = self._counted(name, None)
        high, above = _from_top(upper, torch.full((len(self.states),), keep))
        lower = self._counted(name, high)
        low, _ = _from_top(lower, keep - above)
        bits = (high << 16 | low).to(torch.int32).view(torch.float32)
        return bits if keep else torch.full_like(bits, torch.inf)

    def _counted(self, name: str, upper: Tensor | None) -> Tensor:
        """How many magnitudes have each upper half, or with that given, each lower; [N, 2^16]."""
        total = torch.zeros(len(self.states), 2**16, dtype=torch.int64)
        for start, stop in self.info(name).pieces():
            _, updates = self._updates(name, start, stop)
            bits = updates.abs().flatten(1).view(torch.int32)
            for number, row in enumerate(bits):
                chosen = row >> 16
                if upper is not None:
                    chosen = row[chosen == upper[number]] & 0xFFFF
                total[number] += torch.bincount(chosen, minlength=2**16)
        return total


def _from_top(counts: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The bin of the `wanted`-th largest of [N, bins] counts, and how many are in higher ones."""
    from_top = counts.flip(1).cumsum(1)
    place = (from_top < wanted[:, None]).sum(1).clamp(max=counts.shape[1] - 1)
    above = torch.where(place > 0, from_top.gather(1, (place - 1).clamp(min=0)[:, None])[:, 0], 0)
    return counts.shape[1] - 1 - place, above


def _at_once(modules: Sequence[ModuleWeights], merge: Merge) -> dict[str, Tensor]:
    """The merged encoder, each tensor whole and computed now."""
    parts = MergedEncoder(modules, merge)
    total = {}
    for name in parts:
        info = parts.info(name)
        base, updates = parts._updates(name, 0, info.shape[0] if info.shape else 1)
        total[name] = (base + merge(updates)).to(info.dtype).view(info.shape)
    return total


# -- TIES and DARE


def trim(updates: Tensor, density: float) -> Tensor:
    """Keep the `density` largest values by magnitude of each [N, …] update, zero the rest.

    Values as large as the least that is kept stay too, as in the authors' code.
    """
    if density >= 1:
        return updates
    flat = updates.abs().flatten(1)
    keep = int(density * flat.shape[1])
    if not keep:
        return torch.zeros_like(updates)
    return keep_from(updates, flat.kthvalue(flat.shape[1] - keep + 1, dim=1).values)


def keep_from(updates: Tensor, least: Tensor) -> Tensor:
    """Zero what is smaller in magnitude than `least`, [N], in [N, …] updates."""
    limits = least.view(-1, *[1] * (updates.ndim - 1))
    return torch.where(updates.abs() >= limits, updates, 0.0)


def drop(updates: Tensor, density: float, generator: torch.Generator) -> Tensor:
    """Keep each value with probability `density` and divide it by that (DARE)."""
    kept = torch.rand(updates.shape, generator=generator) < density
    return torch.where(kept, updates / density, 0.0)


def elect(updates: Tensor, weights: Sequence[float], how: str) -> Tensor:
    """Mean over the weighted updates whose sign is the elected one (TIES, section 3).

    Args:
        updates: [N, …], trimmed.
        weights: N factors, applied after the election.
        how: `total` elects the sign of the sum, `frequency` that of the count.
    """
    votes = updates.sum(0) if how == "total" else updates.sign().sum(0)
    elected = torch.where(votes >= 0, 1.0, -1.0)
    agree = updates.sign() == elected
    weighted = updates * scale(weights, updates)
    return (weighted * agree).sum(0) / agree.sum(0).clamp(min=1)


def weighted_sum(updates: Tensor, weights: Sequence[float]) -> Tensor:
    """The sum of [N, …] updates, each times its weight."""
    return (updates * scale(weights, updates)).sum(0)


def scale(weights: Sequence[float], updates: Tensor) -> Tensor:
    """N weights in the shape of [N, …] updates."""
    return torch.tensor(weights, dtype=updates.dtype).view(-1, *[1] * (updates.ndim - 1))


def require_density(options: Mapping[str, object]) -> float:
    """The `density` option.

    Raises:
        UsageError: It is not above 0 and at most 1.
    """
    density = float(cast("float", options["density"]))
    if not 0 < density <= 1:
        raise UsageError(f"density {density:g} is not above 0 and at most 1")
    return density


def require_sign(options: Mapping[str, object]) -> str:
    """The `sign` option.

    Raises:
        UsageError: It is neither `total` nor `frequency`.
    """
    how = str(options["sign"])
    if how not in ("total", "frequency"):
        raise UsageError(f"sign={how} is unknown", hint="Known: total, frequency.")
    return how
