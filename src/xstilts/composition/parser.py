"""The expression language: which modules, combined how.

    none                                   the untouched backbone
    mnli    mnli/lora    ./my-module       one module
    stack(lang-{lang}, mnli)               one after the other, the first nearest to the backbone
    stack(lang-{lang}|none, mnli)          what stands in for a language that has no such module
    fuse(mnli, squad2, average(a, b))      token-wise attention over the parts (AdapterFusion)
    average(mnli*0.3, squad2*0.7)          weighted mean of the modules' parameters or updates
    merge_ties(a, b, density=0.5)          a merging method with options
    a + b - c*0.5                          module arithmetic; `+` and `-` need blanks around them

Expressions are values: frozen, comparable, and `parse(str(expression)) == expression`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NoReturn

from xstilts.composition.expression import (
    LANGUAGE_SLOT,
    SUM,
    Call,
    Expression,
    Operand,
    Ref,
    references,
)
from xstilts.errors import UsageError, near_names
from xstilts.modules.operators import OPERATORS, Option
from xstilts.zoo.manifest import require_name

__all__ = ["Call", "Expression", "Operand", "Option", "Ref", "parse", "require_readable"]

OPERATOR_NAMES = tuple(name for name in OPERATORS if name != SUM)


def parse(text: str) -> Expression:
    """Read an expression.

    Raises:
        UsageError: It does not follow the grammar; the message points at the column and says what
            would be legal there.
    """
    return _Parser(text).parse()


def require_readable(name: str) -> None:
    """Refuse a name for a new module that an expression could not say.

    Raises:
        UsageError: It cannot be a folder's name, or it is read as an operator or a number.
    """
    require_name(name)
    try:
        readable = parse(name) == Ref(name)
    except UsageError:
        readable = False
    if not readable:
        raise UsageError(
            f"{name!r} cannot name a module: an expression reads it as something else",
            hint=f"Add a word to it, such as {name}-1; operators and numbers are taken.",
        )


# ------------------------------------------------------------------------------------- parsing

_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w./@:{}~-])")
_NAME = re.compile(r"(?:[A-Za-z0-9_{~@]|\.{0,2}/)(?:[\w./@:{}~-]|\+(?=[\w.]))*")
_SPACE = re.compile(r"\s*")


_DEEPEST = 50
"""Brackets within brackets: more than anyone reads, and less than Python follows."""


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0

    def parse(self) -> Expression:
        if not self.text.strip():
            self.fail("an expression is empty", "a module name, `none` or an operator")
        expression = self.sum()
        self.skip()
        if self.at < len(self.text):
            self.fail(f"unexpected '{self.text[self.at]}'", "` + `, ` - `, `*weight` or the end")
        return expression

    def sum(self) -> Expression:
        self.depth += 1
        if self.depth > _DEEPEST:
            self.fail(f"brackets are nested more than {_DEEPEST} deep", "a module name")
        negative = self.take("-")
        parts = [self.term(-1.0 if negative else 1.0)]
        while True:
            if self.take("+"):
                parts.append(self.term(1.0))
            elif self.take("-"):
                parts.append(self.term(-1.0))
            else:
                break
        self.depth -= 1
        if len(parts) == 1 and parts[0].weight == 1.0:
            return parts[0].expression
        return Call(SUM, tuple(parts))

    def term(self, sign: float) -> Operand:
        weight = self.number()
        if weight is not None and not self.take("*"):
            self.fail("a number stands alone", "`*` and a module after it")
        expression = self.atom()
        if self.take("*"):
            if weight is not None:
                self.fail("two weights", "one weight for a part")
            negative = self.take("-")
            weight = self.number()
            if weight is None:
                self.fail("a weight is missing", "a number such as 0.5")
            weight = -weight if negative else weight
        return Operand(expression, sign * (1.0 if weight is None else weight))

    def atom(self) -> Expression:
        if self.take("("):
            expression = self.sum()
            self.expect(")")
            return expression
        start = self.at
        name = self.name()
        if name is None:
            self.fail("a module or operator is missing", "a module name, `none` or an operator")
        if self.take("("):
            if name not in OPERATOR_NAMES:
                self.at = start
                near = near_names(name, OPERATOR_NAMES)
                self.fail(f"no operator named '{name}'", hint=near)
            return self.call(name)
        if name in OPERATOR_NAMES:
            self.fail(f"'{name}' has no parts", f"{name}(a, b)")
        return Ref(name, self.fallback(name))

    def fallback(self, name: str) -> str:
        """What stands after `|`, or nothing."""
        start = self.at
        if not self.take("|"):
            return ""
        if LANGUAGE_SLOT not in name:
            self.at = start
            self.fail(f"'{name}' is the same in every language", "`|` after a name with {lang}")
        found = self.name()
        if found is None or found in OPERATOR_NAMES or LANGUAGE_SLOT in found:
            self.fail("what is taken instead is missing", "a module name without {lang}, or `none`")
        return found

    def call(self, operator: str) -> Call:
        parts: list[Operand] = []
        options: dict[str, Option] = {}
        while True:
            start = self.at
            key = self.name()
            if key is not None and self.take("="):
                if key in options:
                    self.fail(f"option '{key}' repeats", "each option once")
                options[key] = self.option()
            else:
                self.at = start
                if options:
                    self.fail("a part after an option", "`option=value` or `)`")
                parts.append(self.operand())
            if not self.take(","):
                break
        self.expect(")")
        return Call(operator, tuple(parts), tuple(sorted(options.items())))

    def operand(self) -> Operand:
        expression = self.sum()
        if (
            isinstance(expression, Call)
            and expression.operator == SUM
            and len(expression.parts) == 1
        ):
            return expression.parts[0]
        return Operand(expression)

    def option(self) -> Option:
        negative = self.take("-")
        number = self.number()
        if number is not None:
            return -number if negative else number
        word = self.name()
        if word is None or negative:
            self.fail("an option has no value", "a number, a word, true or false")
        return {"true": True, "false": False}.get(word, word)

    # -- tokens

    def skip(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def take(self, mark: str) -> bool:
        self.skip()
        if self.text.startswith(mark, self.at):
            self.at += len(mark)
            return True
        return False

    def expect(self, mark: str) -> None:
        if not self.take(mark):
            found = f"'{self.text[self.at]}'" if self.at < len(self.text) else "the end"
            self.fail(f"expected '{mark}', found {found}", "`,` or `)`")

    def number(self) -> float | None:
        self.skip()
        match = _NUMBER.match(self.text, self.at)
        if not match:
            return None
        value = float(match.group())
        if math.isinf(value):
            self.fail(f"'{match.group()}' is too large", "a number such as 0.5")
        if value == 0 and re.match(r"[0.]*[^0.eE]", match.group()):
            self.fail(f"'{match.group()}' is too near to 0", "a number such as 0.5, or 0")
        self.at = match.end()
        return value

    def name(self) -> str | None:
        self.skip()
        match = _NAME.match(self.text, self.at)
        if not match:
            return None
        self.at = match.end()
        return match.group()

    def fail(self, what: str, legal: str = "", hint: str = "") -> NoReturn:
        self.skip()
        pointer = f"  {self.text}\n  {' ' * self.at}^"
        raise UsageError(
            f"column {self.at + 1}: {what}", where=pointer, hint=hint or f"Legal here: {legal}"
        )


def module_names(texts: Sequence[str]) -> list[str]:
    """The modules that expressions name, left to right; those with a `{lang}` are left out."""
    found = (ref.name for text in texts for ref in references(parse(text)))
    return [name for name in dict.fromkeys(found) if LANGUAGE_SLOT not in name]
