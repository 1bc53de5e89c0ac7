"""Expressions as values: frozen, comparable, printed as `xstilts.composition.parser` reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from xstilts.modules.operators import OPERATORS, Option

SUM = "sum"
"""The operator of `a + b - c`."""
LANGUAGE_SLOT = "{lang}"


@dataclass(frozen=True, slots=True)
class Ref:
    """One module by reference, or `none`.

    Attributes:
        name: May hold `{lang}`.
        fallback: What is taken for a language that has no such module; empty: it is refused.
    """

    name: str
    fallback: str = ""

    def __str__(self) -> str:
        return f"{self.name}|{self.fallback}" if self.fallback else self.name

    @property
    def is_none(self) -> bool:
        """Whether this is the untouched backbone."""
        return self.name == "none"


@dataclass(frozen=True, slots=True)
class Operand:
    """An operand and its weight."""

    expression: Expression
    weight: float = 1.0

    def __str__(self) -> str:
        inner = str(self.expression)
        if isinstance(self.expression, Call) and self.expression.operator == SUM:
            inner = f"({inner})"
        return inner if self.weight == 1.0 else f"{inner}*{_number(self.weight)}"


@dataclass(frozen=True, slots=True)
class Call:
    """An operator over parts; `operator` is `sum` for `a + b - c`."""

    operator: str
    parts: tuple[Operand, ...]
    options: tuple[tuple[str, Option], ...] = ()

    def __str__(self) -> str:
        if self.operator == SUM:
            text = ""
            for number, part in enumerate(self.parts):
                negative = part.weight < 0 and number > 0
                sign = (" - " if negative else " + ") if number else ""
                text += sign + str(Operand(part.expression, -part.weight) if negative else part)
            return text
        options = [f"{key}={_option(value)}" for key, value in self.options]
        return f"{self.operator}({', '.join([*map(str, self.parts), *options])})"


Expression = Ref | Call


def references(expression: Expression) -> Iterator[Ref]:
    """Every module reference, from left to right, `none` left out."""
    if isinstance(expression, Ref):
        if not expression.is_none:
            yield expression
        return
    for part in expression.parts:
        yield from references(part.expression)


def operators(expression: Expression) -> Iterator[str]:
    """Every operator used, outermost first."""
    if isinstance(expression, Call):
        yield expression.operator
        for part in expression.parts:
            yield from operators(part.expression)


def learns(expression: Expression) -> bool:
    """Whether an operator in it has parameters of its own, which a target phase trains."""
    used = [OPERATORS.get(name) for name in operators(expression)]
    return any(operator.LEARNS for operator in used if not operator.MERGES)


def map_references(expression: Expression, change: Callable[[str], str]) -> Expression:
    """The same expression with every reference renamed by `change`."""
    if isinstance(expression, Ref):
        name, fallback = expression.name, expression.fallback
        return expression if expression.is_none else Ref(change(name), fallback)
    parts = tuple(Operand(map_references(p.expression, change), p.weight) for p in expression.parts)
    return Call(expression.operator, parts, expression.options)


def needs_language(expression: Expression) -> bool:
    """Whether a reference holds `{lang}`."""
    return any(LANGUAGE_SLOT in ref.name for ref in references(expression))


def for_language(expression: Expression, language: str) -> Expression:
    """The expression with `{lang}` filled."""
    return map_references(expression, lambda name: name.replace(LANGUAGE_SLOT, language))


def with_fallbacks(expression: Expression, exists: Callable[[str], bool]) -> Expression:
    """The expression with every `name|fallback` decided: `name` where `exists` says so.

    A part for which `none` stands in is left out.
    """
    if isinstance(expression, Ref):
        if not expression.fallback:
            return expression
        return Ref(expression.name if exists(expression.name) else expression.fallback)
    parts = []
    for part in expression.parts:
        chosen = with_fallbacks(part.expression, exists)
        if chosen == part.expression or chosen != Ref("none"):
            parts.append(Operand(chosen, part.weight))
    return Call(expression.operator, tuple(parts), expression.options) if parts else Ref("none")


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _option(value: Option) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else _number(value)
