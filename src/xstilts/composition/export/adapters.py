"""A folder that the plain adapters library loads, with a head of its own kind.

One module becomes an adapter folder (`load_adapter`); `stack(a, b)` and `fuse(a, b)` become a setup
folder (`load_adapter_setup`) with a folder for each adapter, the fusion and the head.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from xstilts.backbone.sites import SUBLAYERS, Site
from xstilts.composition.export import Source, parts_of
from xstilts.composition.export._heads import adapters_head
from xstilts.composition.expression import Call, Ref
from xstilts.errors import UsageError
from xstilts.files import write_json
from xstilts.modules.methods import METHODS, bottleneck
from xstilts.modules.operators import OPERATORS
from xstilts.modules.weights import ModuleWeights

ABOUT = (
    "For the adapters library: model.load_adapter(folder, use_safetensors=True, set_active=True) "
    "on an AutoAdapterModel; load_adapter_setup where there is an adapter_setup.json."
)


def write(source: Source, folder: Path) -> float | None:
    """Write the adapter, or the setup with its parts.

    Raises:
        UsageError: The library cannot run the module on a model of the backbone's type.
    """
    model_type = source.backbone.identity.model_type
    if model_type not in source.backbone.architecture.ADAPTERS_CLASSES:
        raise UsageError(
            f"the adapters library cannot load a module of a {model_type} backbone",
            hint="Export it as peft or merged, or share the module itself (xstilts zoo push).",
        )
    if source.adapter is not None:
        _write_adapter(source, source.adapter, folder, source.name)
        if source.head is not None:
            _write_head(source, folder, source.name)
    else:
        _write_setup(source, folder)
    return None


def _write_adapter(source: Source, adapter: ModuleWeights, folder: Path, name: str) -> None:
    write = METHODS.get(adapter.method).WRITERS.get("adapters")
    if write is None:
        raise UsageError(
            f"the adapters library cannot hold a module of method {adapter.method}",
            hint="Export it as hf or merged.",
        )
    write(adapter, folder, name, source.backbone)


def _write_head(source: Source, folder: Path, name: str) -> None:
    assert source.head is not None
    config, tensors = adapters_head(source.head, name)
    save_file(tensors, folder / "model_head.safetensors")
    write_json(folder / "head_config.json", bottleneck.library_outer(config, name, source.backbone))


# ---------------------------------------------------------------------------------------- setups


def _write_setup(source: Source, folder: Path) -> None:
    """A stack or a fusion of adapters."""
    expression = source.expression
    flat = isinstance(expression, Call) and all(
        isinstance(part.expression, Ref) and part.weight == 1.0 for part in expression.parts
    )
    operator = OPERATORS.get(expression.operator) if isinstance(expression, Call) else None
    if not flat or operator is None or operator.MERGES or not operator.ADAPTERS_BLOCK:
        raise UsageError(
            f"the adapters library cannot express '{expression}'",
            hint="A stack or fusion of single modules can be exported, and so can one module.",
        )
    parts = parts_of(source)
    for name, adapter in parts:
        if METHODS.get(adapter.method).LOW_RANK:
            raise UsageError(
                "the adapters library computes stacks and fusions of LoRA wrongly or not at all",
                hint="Write the stack as a sum and export it as one module: a + b.",
            )
        (folder / name).mkdir()
        _write_adapter(source, adapter, folder / name, name)
    names = [name for name, _ in parts]
    if operator.LEARNS:
        _write_fusion(source, folder / ",".join(names), names)
    head = ""
    if source.head is not None:
        head = "head-" + source.name
        (folder / head).mkdir()
        _write_head(source, folder / head, head)
    children = [{"type": "single", "children": [name]} for name in names]
    setup = {"type": operator.ADAPTERS_BLOCK, "children": children}
    write_json(
        folder / "adapter_setup.json",
        {"adapter_setup": setup, "head_setup": head or None, "version": bottleneck.VERSION},
    )


def _write_fusion(source: Source, folder: Path, names: list[str]) -> None:
    """The fusion's query, key and value matrices."""
    fusion = ",".join(names)
    tensors: dict[str, Tensor] = {}
    for key, parameter in source.loaded.composed.nodes.named_parameters():
        place, *own, matrix, kind = key.split(".")
        if own != ["own"]:
            continue
        site = Site.of(place)
        if site.name not in SUBLAYERS:
            raise UsageError(f"the adapters library has no fusion at {place}")
        stem = bottleneck.library_stem(source.backbone.shape, site)
        value = parameter.detach().cpu().contiguous()
        tensors[f"{stem}.adapter_fusion_layer.{fusion}.{matrix}.{kind}"] = value
    folder.mkdir()
    save_file(tensors, folder / "model_adapter_fusion.safetensors")
    has_value = any(".value." in name for name in tensors)
    config = {
        "dropout_prob": None,
        "key": True,
        "query": True,
        "query_before_ln": False,
        "regularization": has_value,
        "residual_before": False,
        "temperature": False,
        "value": has_value,
        "value_before_softmax": True,
        "value_initialized": has_value,
    }
    outer = bottleneck.library_outer(config, fusion, source.backbone) | {"adapter_names": names}
    write_json(folder / "adapter_fusion_config.json", outer)
