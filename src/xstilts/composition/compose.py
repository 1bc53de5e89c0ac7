"""From an expression and its modules to what acts at each site of the encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from torch import Generator, Tensor, nn

from xstilts.backbone.sites import EncoderShape, Site
from xstilts.composition.expression import SUM, Call, Expression, Operand, Ref
from xstilts.config.specs import Spec
from xstilts.errors import UsageError, near_names
from xstilts.modules.methods import METHODS
from xstilts.modules.nodes import is_idle
from xstilts.modules.operators import OPERATORS, PartInfo
from xstilts.modules.weights import ModuleWeights


class ComposedModules(nn.Module):
    """What an expression becomes on one encoder shape.

    Attributes:
        nodes: Site key to what acts there.
        encoder_weights: Encoder tensors that replace the backbone's own, if a part is a full
            fine-tune.

    Args:
        given: `id` of every parameter that the modules brought.
    """

    def __init__(
        self,
        nodes: Mapping[str, nn.Module],
        encoder_weights: Mapping[str, Tensor],
        given: Iterable[int] = (),
    ) -> None:
        super().__init__()
        self.nodes = nn.ModuleDict(dict(nodes))
        self.encoder_weights = dict(encoder_weights)
        self._given = frozenset(given)

    def __repr__(self) -> str:
        numbers = sum(parameter.numel() for parameter in self.parameters())
        whole = ", with its own encoder" if self.encoder_weights else ""
        return f"ComposedModules({len(self.nodes)} sites, {numbers:,} parameters{whole})"

    @property
    def idle(self) -> bool:
        """Whether it says that the encoder computes what it does without it."""
        return not self.encoder_weights and all(map(is_idle, self.nodes.values()))

    def operator_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters of the operators in this expression (fusion matrices), by name.

        Those of an operator inside one of its modules are not among them: they are that module's.
        """
        return {
            name: parameter
            for name, parameter in self.nodes.named_parameters()
            if "own" in name.split(".") and id(parameter) not in self._given
        }


@dataclass(frozen=True)
class _Nodes:
    """What acts at the sites of an encoder, and the weights that stand in for its own."""

    nodes: Mapping[str, nn.Module]
    encoder_weights: Mapping[str, Tensor]


def compose(
    expression: Expression,
    modules: Mapping[str, ModuleWeights | ComposedModules],
    shape: EncoderShape,
    generator: Generator,
) -> ComposedModules:
    """Build what the expression means.

    Args:
        expression: With `{lang}` already filled.
        modules: Reference name to its module.
        shape: Of the encoder.
        generator: Draws the operators' new parameters.

    Raises:
        UsageError: An operator cannot take one of its parts.
    """
    built = _as_nodes(_build(expression, modules, shape, generator))
    given = [id(p) for module in modules.values() for p in module.parameters()]
    return ComposedModules(built.nodes, built.encoder_weights, given)


def merge(
    expression: Expression,
    modules: Mapping[str, ModuleWeights | ComposedModules],
    shape: EncoderShape,
    generator: Generator,
) -> ModuleWeights | None:
    """The one module that the expression is, or None when it computes with several."""
    built = _build(expression, modules, shape, generator)
    return built if isinstance(built, ModuleWeights) else None


def _build(
    expression: Expression,
    modules: Mapping[str, ModuleWeights | ComposedModules],
    shape: EncoderShape,
    generator: Generator,
) -> ModuleWeights | _Nodes:
    if isinstance(expression, Ref):
        if expression.is_none:
            return _Nodes({}, {})
        module = modules[expression.name]
        if isinstance(module, ComposedModules):
            return _Nodes(dict(module.nodes.items()), module.encoder_weights)
        return module
    operator, options = OPERATORS.get(expression.operator), options_of(expression)
    if operator.MERGES:
        parts = [_build(p.expression, modules, shape, generator) for p in expression.parts]
        adapters = [part for part in parts if isinstance(part, ModuleWeights)]
        weights = [part.weight for part in expression.parts]
        return operator.combine(adapters, weights, options, generator)
    built = [_as_nodes(_build(_weighted(p), modules, shape, generator)) for p in expression.parts]
    keys = sorted({key for part in built for key in part.nodes}, key=Site.of)
    nodes = {
        key: operator.at_site(
            Site.of(key),
            [part.nodes[key] for part in built if key in part.nodes],
            shape,
            options,
            generator,
        )
        for key in keys
    }
    return _Nodes(nodes, _one_encoder(built))


def _weighted(part: Operand) -> Expression:
    return part.expression if part.weight == 1.0 else Call(SUM, (part,))


def _as_nodes(built: ModuleWeights | _Nodes) -> _Nodes:
    if isinstance(built, _Nodes):
        return built
    return _Nodes(dict(built.at.items()), built.encoder_weights or {})


def _one_encoder(parts: Sequence[_Nodes]) -> Mapping[str, Tensor]:
    return next((p.encoder_weights for p in reversed(parts) if p.encoder_weights), {})


# ------------------------------------------------------------------------------------- checking


def check(expression: Expression, infos: Mapping[str, PartInfo]) -> PartInfo:
    """Refuse what makes no sense, before any weight is loaded.

    Args:
        expression: As parsed.
        infos: Reference name to what its manifest says.

    Returns:
        What the whole expression is.

    Raises:
        UsageError: An operator cannot take its parts or options; the message says which and why.
    """
    if isinstance(expression, Ref):
        return PartInfo("none", "", {}, False) if expression.is_none else infos[expression.name]
    operator = OPERATORS.get(expression.operator)
    parts = [check(part.expression, infos) for part in expression.parts]
    where = str(expression)
    options_of(expression)
    if any(part.weight == 0.0 for part in expression.parts):
        raise UsageError("a part has weight 0", where=where, hint="Leave that part out.")
    if any(part.name == "none" for part in parts):
        raise UsageError("`none` stands alone: it cannot be combined", where=where)
    external = next((p for p in parts if p.method and METHODS.get(p.method).EXTERNAL), None)
    if external is not None:
        raise UsageError(
            f"'{external.name}' is run by another library, so it acts alone",
            where=where,
            hint="docs/guides/methods.md says which combinations that library computes wrongly.",
        )
    if not operator.MERGES and any(
        part.method and METHODS.get(part.method).REPLACES_ENCODER for part in parts[1:]
    ):
        raise UsageError(
            "a full fine-tune replaces the encoder, so it can only come first",
            where=where,
            hint="Write stack(full-module, other), or merge the encoders with average(…).",
        )
    if not operator.MERGES:
        _check_weights(expression, parts)
    operator.check(parts)
    methods = {part.method for part in parts}
    method = methods.pop() if len(methods) == 1 else ""
    return PartInfo(where, method, _options_made(expression, parts), operator.MERGES)


def _check_weights(call: Call, infos: Sequence[PartInfo]) -> None:
    for part, info in zip(call.parts, infos, strict=True):
        if part.weight != 1.0 and not info.merged:
            raise UsageError(
                f"'{info.name}' is not one module, so it cannot have a weight",
                where=str(call),
                hint="Leave the weight out, or write it after a module.",
            )


def _options_made(call: Call, parts: Sequence[PartInfo]) -> Mapping[str, object]:
    """The options of a combination; see `PartInfo`."""
    operator, first = OPERATORS.get(call.operator), parts[0]
    if not operator.MERGES:
        return {}
    if operator.KEEPS_RANKS or not METHODS.get(first.method).LOW_RANK:
        return first.options
    options = options_of(call).model_dump()
    return {call.operator: options, "parts": [part.options for part in parts]}


def options_of(call: Call) -> Spec:
    """The options of an operator as its `Options`, defaults filled in.

    Raises:
        UsageError: One is unknown, of another kind, or out of range; the message says what fits.
    """
    spec = OPERATORS.get(call.operator).Options
    values = {
        key: int(value) if isinstance(value, float) and value.is_integer() else value
        for key, value in call.options
    }
    try:
        return spec.model_validate(values, strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
    key, kind, where = str(found["loc"][0]), found["type"], str(call)
    if kind == "extra_forbidden":
        raise UsageError(
            f"{call.operator} has no option '{key}'",
            where=where,
            hint=near_names(key, spec.model_fields),
        )
    takes = _TAKES.get(kind.partition("_")[0], "another value")
    message = f"option '{key}' of {call.operator} takes {takes}"
    raise UsageError(message, where=where, hint=f"{found['msg']}.")


_TAKES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "literal": "a word",
    "string": "a word",
    "greater": "a larger number",
    "less": "a smaller number",
}
"""First word of pydantic's name of an error to what would fit."""
