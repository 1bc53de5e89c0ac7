"""Keep the one module that an expression is, as an ordinary module of the library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Generator

from xstilts.backbone.backbone import Backbone
from xstilts.composition.compose import compose, merge
from xstilts.composition.expression import Expression, Ref
from xstilts.composition.load import load_modules
from xstilts.composition.manifests import new_manifest
from xstilts.composition.parser import parse, require_readable
from xstilts.composition.resolve import resolve_expression
from xstilts.composition.task_model import TaskModel, probe
from xstilts.config.hub_models import is_finite
from xstilts.errors import NotFiniteError, UsageError
from xstilts.modules.methods import METHODS
from xstilts.zoo import Entry, Manifest, Zoo, write_manifest
from xstilts.zoo.manifest import MERGE, Parent


def save_merged(text: str, name: str, zoo: Zoo, backbone: Backbone) -> Entry:
    """Merge what an expression of average, sums and merge operators names, and keep the result.

    The result has the parts as parents and no head: it is trained on top of, or used for retrieval.

    Raises:
        UsageError: The expression computes with several modules when it runs, so there is no single
            one to keep.
        NotFoundError: A module is not in the library.
        NotFiniteError: The merge overflows.
    """
    require_readable(name)
    tree, entries = resolve_expression(text, zoo, backbone)
    modules = load_modules(entries, zoo, backbone)
    merged = merge(tree, modules, backbone.shape, Generator().manual_seed(0))
    if merged is None or isinstance(tree, Ref):
        raise UsageError(
            f"'{text}' is not a merge of modules, so there is nothing to keep by itself",
            hint="Give --target TASK to train it for a task, or use average(…) or merge_…(…).",
        )
    for key, tensor in merged.at.state_dict().items():
        if not is_finite(tensor):
            raise NotFiniteError(
                f"'{text}' comes out as NaN or infinity at {key}", hint="Use smaller weights."
            )
    if not merged.encoder_weights:  # which are checked as they are written
        alone = compose(parse("result"), {"result": merged}, backbone.shape, Generator())
        model = TaskModel(backbone, alone.to(backbone.device), {})
        with model.attached():
            probe(model)
    parents = [
        Parent(reference=ref, digest=entries[ref].manifest.digest, role="merged", weight=weight)
        for ref, weight in _weights(tree, 1.0)
    ]
    presets = {entry.manifest.preset for entry in entries.values()}

    def build(folder: Path) -> Manifest:
        METHODS.get(merged.method).save(merged, folder, name, backbone)
        return write_manifest(
            folder,
            new_manifest(
                name,
                merged.method,
                backbone,
                options=merged.options,
                kind=MERGE,
                preset=presets.pop() if len(presets) == 1 else "",
                parents=parents,
                source_language=_languages(list(entries.values())),
                training={"expression": str(tree), "relative_error": round(merged.error, 8)},
                trainable_parameters=merged.num_parameters,
            ),
        )

    return zoo.add(build)


def _weights(tree: Expression, weight: float) -> Iterator[tuple[str, float]]:
    """Every module with the product of the weights that are written above it."""
    if isinstance(tree, Ref):
        yield tree.name, weight
        return
    for part in tree.parts:
        yield from _weights(part.expression, weight * part.weight)


def _languages(entries: list[Entry]) -> str:
    codes = {c for e in entries for c in e.manifest.source_language.split(",") if c}
    return ",".join(sorted(codes))
