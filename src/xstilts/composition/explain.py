"""What an expression is made of, before anything is trained or evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import Generator

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import Site
from xstilts.composition.compose import ComposedModules, compose
from xstilts.composition.expression import Call, Expression, Ref
from xstilts.composition.load import load_modules
from xstilts.composition.resolve import resolve_expression
from xstilts.modules.methods import METHODS
from xstilts.modules.operators import OPERATORS
from xstilts.modules.weights import ModuleWeights
from xstilts.zoo import Entry, Zoo


@dataclass(frozen=True)
class TreeLine:
    """One node of an expression's tree.

    Attributes:
        depth: 0 for the outermost.
        text: Operator or reference, with its weight.
        megabytes: Of the module's folder.
        trained: Numbers that training it changed, or that a target phase will train.
        sites: Where the module acts in this backbone, such as `qkv` on ModernBERT for a preset's
            targets `query` and `value`.
    """

    depth: int
    text: str
    task: str = ""
    method: str = ""
    backbone: str = ""
    digest: str = ""
    megabytes: float = 0.0
    trained: int = 0
    sites: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """An expression spelled out.

    Attributes:
        parameters: Numbers that act beside the encoder.
        learned: Those among them that a target phase trains (fusion matrices).
        flops_per_token: Floating-point operations that they add: two for every number of a matrix.
        warnings: What a reader may not expect.
    """

    expression: str
    lines: list[TreeLine]
    parameters: int
    learned: int
    flops_per_token: int
    warnings: list[str]


def explain(text: str, zoo: Zoo, backbone: Backbone, language: str = "") -> Explanation:
    """Resolve, check and load an expression, and say what it is.

    Raises:
        UsageError: The expression does not parse or makes no sense.
        NotFoundError: A module is not in the library.
        BackboneMismatchError: A module belongs to another backbone.
    """
    tree, entries = resolve_expression(text, zoo, backbone, language)
    modules = load_modules(entries, zoo, backbone)
    composed = compose(tree, modules, backbone.shape, Generator().manual_seed(0))
    parameters = {id(p): p for p in composed.nodes.parameters()}.values()

    def learned(part: Expression) -> int:
        if isinstance(part, Ref):
            return 0
        built = compose(part, modules, backbone.shape, Generator().manual_seed(0))
        return sum(p.numel() for p in built.operator_parameters().values())

    def own_numbers(call: Call) -> int:
        return learned(call) - sum(learned(part.expression) for part in call.parts)

    return Explanation(
        str(tree),
        list(_lines(tree, entries, modules, own_numbers, 0, "")),
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in composed.operator_parameters().values()),
        sum(2 * p.numel() for p in parameters if p.ndim > 1),
        list(_warnings(tree, entries)),
    )


def _lines(
    tree: Expression,
    entries: Mapping[str, Entry],
    modules: Mapping[str, ModuleWeights | ComposedModules],
    own_numbers: Callable[[Call], int],
    depth: int,
    weight: str,
) -> Iterator[TreeLine]:
    if isinstance(tree, Ref):
        sites = _sites(modules[tree.name]) if tree.name in modules else ()
        yield _leaf(tree, entries.get(tree.name), depth, weight, sites)
        return
    operator = OPERATORS.get(tree.operator)
    options = "".join(f", {key}={value}" for key, value in tree.options)
    learns = not operator.MERGES and operator.LEARNS
    trained = own_numbers(tree) if learns else 0
    yield TreeLine(depth, f"{tree.operator}{options}{weight}", trained=trained)
    for part in tree.parts:
        own = "" if part.weight == 1.0 else f" * {part.weight:g}"
        yield from _lines(part.expression, entries, modules, own_numbers, depth + 1, own)


def _sites(module: ModuleWeights | ComposedModules) -> tuple[str, ...]:
    """Names of the sites where a module acts, each once."""
    keys = module.at if isinstance(module, ModuleWeights) else module.nodes
    return tuple(dict.fromkeys(Site.of(key).name for key in keys))


def _leaf(
    ref: Ref, entry: Entry | None, depth: int, weight: str, sites: tuple[str, ...]
) -> TreeLine:
    if entry is None:
        return TreeLine(depth, "none" + weight)
    m = entry.manifest
    size = sum(record.size for record in m.files) / 1e6
    return TreeLine(
        depth,
        ref.name + weight,
        m.task,
        m.variant,
        m.backbone.name,
        m.digest[:12],
        size,
        m.trainable_parameters,
        sites,
    )


def _warnings(tree: Expression, entries: Mapping[str, Entry]) -> Iterator[str]:
    if isinstance(tree, Ref):
        return
    merges = OPERATORS.get(tree.operator).MERGES
    methods = {
        entries[p.expression.name].manifest.method
        for p in tree.parts
        if isinstance(p.expression, Ref) and p.expression.name in entries
    }
    if merges and any(METHODS.get(m).ACTS and not METHODS.get(m).IS_UPDATE for m in methods):
        yield (
            f"{tree.operator} combines the parameters of bottleneck adapters, which is not the "
            "combination of their functions; parallel(…) adds functions, fuse(…) learns to"
        )
    for part in tree.parts:
        yield from _warnings(part.expression, entries)
