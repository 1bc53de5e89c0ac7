"""From an expression and the module library to a model that can run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import save_file
from torch import Generator, Tensor

from xstilts.backbone.backbone import Backbone
from xstilts.composition.compose import ComposedModules, compose
from xstilts.composition.expression import (
    for_language,
    references,
)
from xstilts.composition.heads import load_heads
from xstilts.composition.parser import parse
from xstilts.composition.resolve import (
    acting_digest,
    find_parts,
    headed_digest,
    outermost,
    pinned_digest,
    resolve_expression,
)
from xstilts.composition.task_model import Head, TaskModel, probe
from xstilts.config.specs import TaskSpec
from xstilts.errors import IntegrityError, UsageError
from xstilts.modules.methods import METHODS, read_tensors
from xstilts.modules.weights import ModuleWeights
from xstilts.zoo import Entry, Manifest, Zoo
from xstilts.zoo.manifest import COMPOSITION

LEARNED = "learned.safetensors"
PROBE_TOLERANCE = 1e-3
"""Largest absolute difference of a probe's outputs between machines; they are of order 1."""


@dataclass(frozen=True)
class LoadedExpression:
    """An expression with its weights.

    Attributes:
        expression: As written.
        composed: What acts in the encoder.
        heads: The heads that come with the outermost module.
        entries: Its modules, in the order of the expression.
        digest: Over the expression with modules by digest; empty for the untouched backbone.
        acting: Over what it does in the encoder (`acting_digest`); empty where it changes nothing.
        replaced: Modules that the language lacks, for which the expression names something else.
    """

    expression: str
    composed: ComposedModules
    heads: tuple[Head, ...]
    entries: tuple[Entry, ...]
    digest: str
    acting: str
    replaced: tuple[str, ...] = ()

    def head_for(self, task: TaskSpec) -> Head | None:
        """The head that can predict a task, or None."""
        return next((head for head in self.heads if head.serves(task)), None)

    @property
    def head(self) -> Head | None:
        """The first of the heads, or None."""
        return self.heads[0] if self.heads else None

    @property
    def manifest(self) -> Manifest | None:
        """The manifest of the outermost module, if the expression is one module."""
        return self.entries[0].manifest if len(self.entries) == 1 else None


def load_expression(
    text: str, zoo: Zoo, backbone: Backbone, language: str = ""
) -> LoadedExpression:
    """The expression with its weights, every file verified; raises as `resolve_expression` does."""
    expression, entries = resolve_expression(text, zoo, backbone, language)
    modules = load_modules(entries, zoo, backbone)
    composed = compose(expression, modules, backbone.shape, Generator().manual_seed(0))
    outer = outermost(expression, entries)
    heads = load_heads(outer, backbone) if outer else ()
    wanted = references(for_language(parse(text), language)) if language else ()
    replaced = (ref.name for ref in wanted if ref.fallback and ref.name not in entries)
    return LoadedExpression(
        text,
        composed,
        heads,
        tuple(entries.values()),
        pinned_digest(expression, entries),
        "" if composed.idle else acting_digest(expression, entries),
        tuple(replaced),
    )


def with_head(
    loaded: LoadedExpression, head: str, zoo: Zoo, backbone: Backbone
) -> LoadedExpression:
    """The expression with the heads of another module; its digest then depends on that, too.

    Raises as `Zoo.find` does.
    """
    entry = zoo.find(head, backbone.identity)
    both = headed_digest(loaded.digest, entry)
    return replace(loaded, heads=load_heads(entry, backbone), digest=both)


# --------------------------------------------------------------------------------------- folders


def load_module(entry: Entry, zoo: Zoo, backbone: Backbone) -> ModuleWeights | ComposedModules:
    """The weights of one module; a composition brings the modules below it.

    Raises:
        IntegrityError: A file is not the one that was recorded.
    """
    from xstilts.zoo import verify_folder

    manifest = verify_folder(entry.folder)
    own: ModuleWeights = METHODS.get(manifest.method).load(entry.folder, backbone.shape)
    if manifest.kind != COMPOSITION:
        return own
    expression = parse(manifest.composition)
    parts = find_parts(expression, zoo, backbone)
    modules = load_modules(parts, zoo, backbone)
    base = compose(expression, modules, backbone.shape, Generator().manual_seed(0))
    _restore_operator_parameters(base, entry.folder)
    whole = on_top(base, own, backbone)
    _check_probe(whole, entry, backbone)
    return whole


def load_modules(
    entries: Mapping[str, Entry], zoo: Zoo, backbone: Backbone
) -> dict[str, ModuleWeights | ComposedModules]:
    """The weights of the modules of an expression, by reference; raises as `load_module` does."""
    return {name: load_module(entry, zoo, backbone) for name, entry in entries.items()}


def _check_probe(whole: ComposedModules, entry: Entry, backbone: Backbone) -> None:
    """Refuse a composition that does not compute what it computed when it was saved."""
    manifest = entry.manifest
    if not manifest.probe or manifest.backbone.differences(backbone.identity):
        return
    model = TaskModel(backbone, whole.to(backbone.device), {})
    with model.attached():
        now = probe(model)
    gap = max(abs(a - b) for a, b in zip(now, manifest.probe, strict=True))
    if not gap <= PROBE_TOLERANCE:
        raise IntegrityError(
            f"'{manifest.name}' gives other outputs than when it was saved (difference {gap:.3g})",
            where=str(entry.folder),
            hint="Load it with the version that made it "
            f"({manifest.versions.get('xstilts', 'unknown')}), or train it again.",
        )


def on_top(base: ComposedModules, own: ModuleWeights, backbone: Backbone) -> ComposedModules:
    """A new module over the base that it was trained on."""
    parts: dict[str, ModuleWeights | ComposedModules] = {"base": base, "own": own}
    return compose(parse("stack(base, own)"), parts, backbone.shape, Generator().manual_seed(0))


def within_encoder(composed: ComposedModules, backbone: Backbone) -> ComposedModules:
    """The same with its encoder weights in the backbone itself, which changes, not beside it."""
    backbone.encoder.load_state_dict(composed.encoder_weights, strict=False)
    return ComposedModules(dict(composed.nodes.items()), {})


def _restore_operator_parameters(composed: ComposedModules, folder: Path) -> None:
    learned = composed.operator_parameters()
    saved: Mapping[str, Tensor] = read_tensors(folder / LEARNED) if learned else {}
    if learned.keys() != saved.keys():
        raise IntegrityError(f"{LEARNED} does not fit the expression", where=str(folder))
    for name, parameter in learned.items():
        parameter.data.copy_(saved[name])


def save_operator_parameters(composed: ComposedModules, folder: Path) -> None:
    """Write the operators' own parameters, if there are any."""
    learned = {n: p.detach().cpu().contiguous() for n, p in composed.operator_parameters().items()}
    if learned:
        save_file(learned, folder / LEARNED)


def start_from(new: ModuleWeights, entry: Entry, zoo: Zoo, backbone: Backbone) -> ModuleWeights:
    """A module of the kind of `new` that starts with the weights of one in the library.

    Raises:
        UsageError: That one is a composition, or of another method or shape.
    """
    found = load_module(entry, zoo, backbone)
    if not isinstance(found, ModuleWeights):
        raise UsageError(
            f"{entry.reference} is a composition, so nothing can start from it",
            hint="Train on top of it instead, with --stack-on.",
        )
    states = new.at.state_dict(), found.at.state_dict()
    shapes = [{key: value.shape for key, value in state.items()} for state in states]
    own = [m.options.model_dump(exclude={"dropout", "stored"}) for m in (new, found)]
    if found.method != new.method or shapes[0] != shapes[1] or own[0] != own[1]:
        raise UsageError(
            f"{entry.reference} has not the method and sizes of the new module",
            hint=f"Use the same --method and options: {entry.manifest.preset}.",
        )
    new.at.load_state_dict(states[1])
    new.encoder_weights = found.encoder_weights
    return new
