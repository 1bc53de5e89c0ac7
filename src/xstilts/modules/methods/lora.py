"""Low-rank updates of projections (Hu et al., 2022, arXiv:2106.09685), in peft's format."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import Field, PositiveInt, ValidationError
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import LINEARS, EncoderShape, Linear, Site
from xstilts.config.hub_models import is_finite
from xstilts.config.layers import first_problem
from xstilts.config.specs import Spec
from xstilts.errors import IntegrityError, NotFiniteError, UsageError
from xstilts.files import write_json
from xstilts.modules.merging import Merge
from xstilts.modules.methods import (
    Save,
    _adapters_lora,
    read_tensors,
    require_blocks,
    require_same_keys,
)
from xstilts.modules.weights import ModuleWeights
from xstilts.zoo.snippets import MethodCard

KIND = "lora"
CARD = MethodCard(
    "A LoRA module",
    library="peft",
    imports=("from peft import PeftModel",),
    code=("PeftModel.from_pretrained({encoder}, folder)  # acts in place",),
)
IS_UPDATE = LOW_RANK = True
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


_SITE = re.compile(r"\d+_\w+")


class Options(Spec):
    """Options of a LoRA module.

    Attributes:
        targets: Projections that get an update; where the backbone has others in place of one,
            such as `qkv` in place of `query`, those do.
        rank: Rank of each update.
        alpha: The update is scaled by `alpha / rank`.
        dropout: On the input of the update.
        leave_out: Blocks without one, 0-based.
        rank_pattern: Site key to rank, where it differs from `rank`.
        only: Site keys, where the sites are not simply every target in every block.
    """

    targets: list[Linear] = Field(default=["query", "value"], min_length=1)
    rank: int = Field(default=8, gt=0)
    alpha: float = 16.0
    dropout: float = Field(default=0.0, ge=0, lt=1)
    leave_out: list[int] = Field(default_factory=list)
    rank_pattern: dict[str, PositiveInt] = Field(default_factory=dict)
    only: list[str] = Field(default_factory=list)

    def sites(self, num_layers: int) -> list[Site]:
        """Where the updates are, first block first."""
        if self.only:
            return sorted(map(Site.of, self.only))
        blocks = [block for block in range(num_layers) if block not in self.leave_out]
        return [Site(block, name) for block in blocks for name in self.targets]


class LowRank(nn.Module):
    """`B A dropout(x) * alpha / rank`, an update of a projection's output.

    Starts as the identity (B is zero). Shapes: A [rank, in], B [out, rank].
    """

    def __init__(self, sizes: tuple[int, int], rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.zeros(rank, sizes[0]))
        self.B = nn.Parameter(torch.zeros(sizes[1], rank))
        self.dropout = nn.Dropout(dropout)
        self.scaling = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        """The update of the projection of `x` [B, T, in], [B, T, out]."""
        low = nn.functional.linear(self.dropout(x), self.A)
        return nn.functional.linear(low, self.B) * self.scaling

    def idle(self) -> bool:
        """Whether B is zero."""
        return not self.B.any()

    def weight_update(self) -> Tensor:
        """The update of the weight matrix, [out, in], float32."""
        return self.B.float() @ self.A.float() * self.scaling


def require_fit(shape: EncoderShape, options: Options) -> None:
    """Refuse to leave out a block, or to name a site, that there is not.

    Raises:
        UsageError: The backbone has no such block or site, or a rank is for a site without update.
    """
    named = [*options.rank_pattern, *options.only]
    for key in named:
        if not _SITE.fullmatch(key):
            raise UsageError(f"'{key}' is no site", hint="Such as 0_query, of the first block.")
    require_blocks([*options.leave_out, *(Site.of(key).block for key in named)], shape)
    for key in named:
        if Site.of(key).name not in shape.layout.linears:
            raise UsageError(
                f"this backbone has no site '{key}'",
                hint=f"Its projections are {', '.join(shape.layout.linears)}.",
            )
    options = _fitted(options, shape)
    unused = options.rank_pattern.keys() - {site.key for site in options.sites(shape.num_layers)}
    if unused:
        raise UsageError(
            f"rank_pattern names '{min(unused)}', where the module has no update",
            hint=f"It has updates of {', '.join(options.targets)}: see targets, leave_out, only.",
        )


def _fitted(options: Options, shape: EncoderShape) -> Options:
    """The options with the projections that stand for `targets` in this encoder."""
    here = cast("list[Linear]", shape.layout.has(options.targets))
    return options if here == options.targets else options.model_copy(update={"targets": here})


def create(shape: EncoderShape, options: Options, generator: Generator) -> ModuleWeights:
    """A new LoRA module: A uniform as in peft, B zero."""
    modules = {}
    options = _fitted(options, shape)
    for site in options.sites(shape.num_layers):
        rank = options.rank_pattern.get(site.key, options.rank)
        module = LowRank(shape.linear_sizes(site.name), rank, options.alpha, options.dropout)
        nn.init.kaiming_uniform_(module.A, a=math.sqrt(5), generator=generator)
        modules[site.key] = module
    return ModuleWeights("lora", options, modules)


def from_factors(factors: Mapping[str, tuple[Tensor, Tensor]]) -> ModuleWeights:
    """A module whose update at each site is exactly `B @ A`.

    Args:
        factors: Site key to (A [rank, in], B [out, rank]).
    """
    ranks = {Site.of(key): len(a) for key, (a, _) in factors.items()}
    top = max(ranks.values())
    options = _options({"r": top, "lora_alpha": top}, ranks, max(site.block for site in ranks) + 1)
    at = {}
    for key, (a, b) in factors.items():
        module = LowRank((a.shape[1], b.shape[0]), len(a), options.alpha, 0.0)
        module.A.data, module.B.data = a.contiguous(), (b / module.scaling).contiguous()
        at[key] = module
    return ModuleWeights("lora", options, at)


def merged(modules: Sequence[ModuleWeights], merge: Merge) -> ModuleWeights:
    """The module of merged updates, of `merge.rank` or exact."""
    factors: dict[str, tuple[Tensor, Tensor]] = {}
    lost = whole = 0.0
    for key in sorted({key for module in modules for key in module.at}):
        parts = [cast("LowRank", module.at[key]) for module in modules if key in module.at]
        shape = parts[0].weight_update().shape
        zero = torch.zeros(shape)
        updates = [
            cast("LowRank", module.at[key]).weight_update().detach() if key in module.at else zero
            for module in modules
        ]
        update = merge(torch.stack(updates))
        keep = min(merge.rank or sum(len(part.A) for part in parts), *shape)
        factors[key], error = low_rank(update, keep)
        lost, whole = lost + error, whole + float(update.pow(2).sum())
    result = from_factors(factors)
    result.error = (lost / whole) ** 0.5 if whole else 0.0
    return result


def ranks_of(module: ModuleWeights) -> list[int]:
    """The rank of each of its updates."""
    return [len(cast("LowRank", part).A) for part in module.at.values()]


def low_rank(update: Tensor, rank: int) -> tuple[tuple[Tensor, Tensor], float]:
    """The closest factors (A [rank, in], B [out, rank]), and the squared error that remains.

    Raises:
        NotFiniteError: The update holds NaN or infinity.
    """
    if not is_finite(update):
        raise NotFiniteError("a merged update is NaN or infinite", hint="Use smaller weights.")
    left, values, right = torch.linalg.svd(update.double(), full_matrices=False)
    root = values[:rank].sqrt()
    pair = ((root[:, None] * right[:rank]).float(), (left[:, :rank] * root).float())
    return pair, float(values[rank:].pow(2).sum())


# --------------------------------------------------------------------------------- peft's format

_FIXED: dict[str, Any] = {
    "bias": "none",
    "fan_in_fan_out": False,
    "layer_replication": None,
    "lora_bias": False,
    "modules_to_save": None,
    "use_dora": False,
    "use_rslora": False,
    "alpha_pattern": {},
}
"""Keys of peft's config whose value every module of this method has."""


def save(adapter: ModuleWeights, folder: Path, name: str, backbone: Backbone) -> None:
    """Write `adapter_model.safetensors` and `adapter_config.json` as peft does for the encoder."""
    del name
    identity = backbone.identity
    options, path = cast("Options", adapter.options), backbone.layout.path
    tensors = {
        f"base_model.model.{path(site)}.lora_{factor}.weight": value.detach().cpu().contiguous()
        for site in adapter.sites()
        for factor, value in adapter.at[site.key].state_dict().items()
    }
    save_file(tensors, folder / WEIGHTS)
    config = _FIXED | {
        "base_model_name_or_path": identity.repo,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": options.alpha,
        "lora_dropout": options.dropout,
        "peft_type": "LORA",
        "r": options.rank,
        "rank_pattern": {path(Site.of(k)): r for k, r in sorted(options.rank_pattern.items())},
        "revision": identity.revision or None,
        "target_modules": [path(site) for site in adapter.sites()],
        "task_type": "FEATURE_EXTRACTION",
    }
    write_json(folder / CONFIG, config)


def load(folder: Path, shape: EncoderShape) -> ModuleWeights:
    """The module in a folder written by `save` or by peft."""
    config = _read_config(folder)
    tensors = read_tensors(folder / WEIGHTS)
    named: dict[tuple[Site, str], Tensor] = {}
    key_of = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
    for key, tensor in tensors.items():
        match = key_of.fullmatch(key)
        site = shape.layout.site(match[1]) if match else None
        if match is None or site is None:
            raise IntegrityError(f"unexpected tensor '{key}'", where=str(folder / WEIGHTS))
        named[site, match[2]] = tensor
    ranks = {site: t.shape[0 if factor == "A" else 1] for (site, factor), t in named.items()}
    options = _options(config, ranks, shape.num_layers)
    adapter = create(shape, options, Generator())
    wanted = {f"{s.key}.{f}": adapter.at[s.key].get_parameter(f) for s, f in _factors(adapter)}
    found = {f"{site.key}.{factor}": tensor for (site, factor), tensor in named.items()}
    require_same_keys(found, wanted, folder)
    adapter.at.load_state_dict(found)
    return adapter


def _factors(adapter: ModuleWeights) -> list[tuple[Site, str]]:
    return [(site, factor) for site in adapter.sites() for factor in "AB"]


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config["peft_type"] != "LORA":
            raise IntegrityError(f"peft type {config['peft_type']}, not LORA", where=str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{CONFIG} is broken: {error}", where=str(folder)) from None
    for key, value in _FIXED.items():
        if config.get(key) not in (value, None):
            raise IntegrityError(
                f"option {key}={config[key]!r} is not supported",
                where=str(folder),
                hint="Merge it into its base model with peft (merge_and_unload) and name that with "
                "--backbone, or train one with --method peft:lora.",
            )
    return config


def _options(config: dict[str, Any], ranks: dict[Site, int], num_layers: int) -> Options:
    """Options whose sites are exactly those that have tensors."""
    if any(site.block >= num_layers for site in ranks):
        raise IntegrityError(f"the module has more blocks than the backbone's {num_layers}")
    try:
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{CONFIG} has no sound r and lora_alpha: {error}") from None
    values = {
        "targets": sorted({site.name for site in ranks}, key=LINEARS.index),
        "rank": rank,
        "alpha": alpha,
        "dropout": config.get("lora_dropout", 0.0),
        "leave_out": sorted(set(range(num_layers)) - {site.block for site in ranks}),
        "rank_pattern": {site.key: r for site, r in ranks.items() if r != rank},
    }
    try:
        options = Options.model_validate(values)
        if set(options.sites(num_layers)) == set(ranks):
            return options
        return Options.model_validate(values | {"only": [site.key for site in sorted(ranks)]})
    except ValidationError as error:
        why = first_problem(error) if ranks else f"{WEIGHTS} holds no LoRA factors"
        raise IntegrityError(f"this is no LoRA module: {why}") from None


# ------------------------------------------------------------------------ the adapters library's


def load_from_adapters(folder: Path, shape: EncoderShape) -> ModuleWeights:
    """The LoRA module in a folder of the adapters library.

    Raises:
        IntegrityError: The folder is broken, or asks for something else than plain LoRA.
    """
    return from_factors(_adapters_lora.read_factors(folder, shape))


WRITERS: dict[str, Save] = {"peft": save, "adapters": _adapters_lora.save}
