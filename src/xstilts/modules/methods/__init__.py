"""Methods: what a module's parameters are, where they act, and how they are kept.

A method is one file of this package, or an entry point of the group `xstilts.methods`, that fulfils
`Method`; docs/guides/extending.md shows one. `ModuleWeights` and the sites are in
`xstilts.backbone.sites`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from torch import Generator, Tensor

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.lazy_tensors import info_of
from xstilts.backbone.sites import EncoderShape
from xstilts.config.hub_models import is_finite
from xstilts.config.registry import Registry, optional
from xstilts.config.specs import Spec
from xstilts.errors import IntegrityError, UsageError
from xstilts.modules.merging import Merge, merged_parameters
from xstilts.modules.weights import ModuleWeights
from xstilts.zoo.snippets import MethodCard

Save: TypeAlias = Callable[[ModuleWeights, Path, str, Backbone], None]
"""Writes a module into a folder under a name; see `Method.save`."""


class Method(Protocol):
    """What an implementation has; constants with a value and optional functions may be left out.

    Attributes:
        KIND: What manifests call its modules: "adapter", "lora", "full", …
        CARD: What model cards say of them.
        Options: A frozen `Spec`; unknown keys are refused.
        ACTS: Whether its modules act in the encoder; a head alone does not.
        REPLACES_ENCODER: Whether a module is the whole encoder, in place of the backbone's.
        EXTERNAL: Whether another library runs its modules, so that they combine with nothing.
        IS_UPDATE: Whether modules are updates of weights: then a combination of them is that of
            their functions, and modules of different options can be merged.
        LOW_RANK: Whether what acts at its sites are `lora.LowRank`, so that a merge of its modules
            is a LoRA module.
        DIFFERENCES: Whether `Options(stored="difference")` keeps what differs from the backbone.
        LIBRARIES: Packages that compute its modules; a module records their versions.
        WRITERS: Library to what writes a module in its format, for exports. A method whose own
            format is a library's names `save`.
    """

    KIND: str
    CARD: MethodCard
    Options: type[Spec]
    ACTS: bool = True
    REPLACES_ENCODER: bool = False
    EXTERNAL: bool = False
    IS_UPDATE: bool = False
    LOW_RANK: bool = False
    DIFFERENCES: bool = False
    LIBRARIES: Sequence[str] = ()
    WRITERS: Mapping[str, Save] = MappingProxyType({})

    def create(self, shape: EncoderShape, options: Any, generator: Generator) -> ModuleWeights:
        """A new module. It starts as the identity: attaching it leaves every output bit-equal.

        Args:
            shape: Sizes of the encoder.
            options: Of the method's `Options`.
            generator: Draws its parameters.
        """
        ...

    def save(self, adapter: ModuleWeights, folder: Path, name: str, backbone: Backbone) -> None:
        """Write weights as safetensors, and the config of the library that owns the format."""
        ...

    def load(self, folder: Path, shape: EncoderShape) -> ModuleWeights:
        """The module in a folder, with no key missing and none left over.

        Raises:
            IntegrityError: The folder is incomplete or holds something else.
        """
        ...

    @optional
    def require_fit(self, shape: EncoderShape, options: Any) -> None:
        """Refuse options that name what an encoder lacks, before a training.

        Raises:
            UsageError: They do.
        """

    @optional
    def merged(self, modules: Sequence[ModuleWeights], merge: Merge) -> ModuleWeights:
        """One module from several of this method; parameter by parameter unless it says how."""
        return merged_parameters(modules, merge)


METHODS = Registry[Method]("xstilts.modules.methods", "method", Method, "xstilts.methods")


def require_blocks(blocks: Iterable[int], shape: EncoderShape) -> None:
    """Refuse blocks that an encoder lacks.

    Raises:
        UsageError: The encoder has fewer; negative numbers count from nowhere.
    """
    unknown = sorted({block for block in blocks if not 0 <= block < shape.num_layers})
    if unknown:
        raise UsageError(
            f"the backbone has no block {', '.join(map(str, unknown))}",
            hint=f"Its blocks are 0 to {shape.num_layers - 1}.",
        )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        IntegrityError: The file is missing, truncated, not safetensors, or holds what is no number.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise IntegrityError(f"{path.name} is missing", where=str(path.parent)) from None
    except SafetensorError as error:
        raise IntegrityError(
            f"{path.name} is broken: {error}",
            where=str(path),
            hint="Remove the module and train or fetch it again.",
        ) from None
    require_finite(tensors, path)
    return tensors


def require_finite(tensors: Mapping[str, Tensor], where: Path) -> None:
    """Refuse weights from which no score can come.

    Raises:
        IntegrityError: A tensor holds NaN or infinity; the first one is named.
    """
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise IntegrityError(
                f"tensor '{name}' holds NaN or infinity",
                where=str(where),
                hint="Its training diverged, or the file was damaged: train or fetch it again.",
            )


def require_same_keys(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], at: Path) -> None:
    """Refuse tensors that are missing, left over or of another shape.

    Raises:
        IntegrityError: `found` does not fit `wanted`; the first differing keys are named.
    """
    missing = sorted(wanted.keys() - found.keys())
    extra = sorted(found.keys() - wanted.keys())
    both = wanted.keys() & found.keys()
    shapes = [k for k in both if info_of(wanted, k).shape != info_of(found, k).shape]
    for keys, what in ((missing, "missing"), (extra, "unexpected"), (shapes, "of another shape")):
        if keys:
            shown = ", ".join(sorted(keys)[:3])
            raise IntegrityError(f"{len(keys)} tensors {what}: {shown}", where=str(at))
