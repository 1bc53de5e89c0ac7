"""Methods: what a module's parameters are, where they act, and how they are kept.

A method is one file of this package with these names:

    KIND: str                    the kind written to the manifest: "adapter", "lora", "full", …
    Options                      a frozen `Spec`; unknown keys are refused

    create(shape, options, generator) -> ModuleWeights
        A new module. It starts as the identity: attaching it leaves every output bit-equal.
    save(adapter, folder, name, backbone) -> None
        Weights as safetensors, and the config of the library that owns the format.
    load(folder, shape) -> ModuleWeights
        The module in a folder, with no key missing and none left over. Raises `IntegrityError`.

`ModuleWeights` and the sites are in `xstilts.backbone.sites`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from xstilts.config.registry import Registry
from xstilts.errors import IntegrityError

METHODS = Registry[Any]("xstilts.modules.methods", "method", group="xstilts.methods")


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
        if not bool(tensor.float().isfinite().all()):
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
    shapes = [k for k in wanted.keys() & found.keys() if wanted[k].shape != found[k].shape]
    for keys, what in ((missing, "missing"), (extra, "unexpected"), (shapes, "of another shape")):
        if keys:
            shown = ", ".join(sorted(keys)[:3])
            raise IntegrityError(f"{len(keys)} tensors {what}: {shown}", where=str(at))
