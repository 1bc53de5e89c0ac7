from __future__ import annotations

import random

import pytest

from xstilts.composition.compose import check
from xstilts.composition.expression import (
    Call,
    Operand,
    Ref,
    for_language,
    needs_language,
    references,
    with_fallbacks,
)
from xstilts.composition.parser import OPERATOR_NAMES, parse, require_readable
from xstilts.errors import UsageError
from xstilts.modules.operators import PartInfo

ROUND_TRIPS = [
    "none",
    "mnli",
    "mnli/lora/xlm-roberta-base@0a1b2c",
    "hf:org/name@v1.0",
    "./my-module",
    "stack(@0a1b2c, mnli)",
    "s3://bucket/path",
    "stack(lang-{lang}, mnli)",
    "stack(lang-{lang}|none, mnli)",
    "average(lang-{lang}|lang-en*0.5, b*0.5)",
    "fuse(mnli, squad2, average(a*0.3, b*0.7))",
    "a + b - c*0.5",
    "a*-1 + b",
    "(a + b)*0.5 - c",
    "average(a*1e-3, b*0.999)",
    "fuse(a, b, value=false)",
    "stack(a*0.5, b)",
]


@pytest.mark.parametrize("text", ROUND_TRIPS)
def test_printing_and_parsing_are_inverse(text):
    expression = parse(text)
    assert parse(str(expression)) == expression
    assert hash(parse(str(expression))) == hash(expression)


def test_the_tree_is_what_was_written():
    assert parse("fuse(a, b*0.5, value=false)") == Call(
        "fuse", (Operand(Ref("a")), Operand(Ref("b"), 0.5)), (("value", False),)
    )
    assert parse("a - b*2") == Call("sum", (Operand(Ref("a")), Operand(Ref("b"), -2.0)))
    assert parse("-a + b") == Call("sum", (Operand(Ref("a"), -1.0), Operand(Ref("b"))))
    assert parse("0.5*a") == Call("sum", (Operand(Ref("a"), 0.5),))
    assert parse("lang-sw - b") == Call("sum", (Operand(Ref("lang-sw")), Operand(Ref("b"), -1.0)))


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 1, "empty"),
        ("stak(a)", 1, "Did you mean 'stack'"),
        ("fuse(a,", 8, "module or operator is missing"),
        ("fuse(a", 7, "expected ')'"),
        ("a b", 3, "unexpected 'b'"),
        ("a*", 3, "weight is missing"),
        ("0.5", 4, "number stands alone"),
        ("stack", 6, "has no parts"),
        ("fuse(a, value=)", 15, "no value"),
        ("fuse(value=true, a)", 18, "part after an option"),
        ("fuse(a, value=true, value=true)", 27, "repeats"),
        ("a*0.5*b", 6, "unexpected '*'"),
        ("stack(a|none, b)", 8, "the same in every language"),
        ("stack(a-{lang}|, b)", 16, "taken instead is missing"),
        ("a-{lang}|b-{lang}", 18, "taken instead is missing"),
        ("(" * 2000 + "a" + ")" * 2000, 51, "nested more than 50 deep"),
        ("stack(" * 400 + "a" + ", b)" * 400, 301, "nested more than 50 deep"),
        ("a*1e-400", 3, "too near to 0"),
        ("a*1e400", 3, "too large"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_errors_point_at_the_column(text, column, words):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert f"column {column}:" in str(caught.value)
    assert words in str(caught.value)


def test_fifty_brackets_and_weights_of_nothing_are_read():
    assert parse("(" * 49 + "a" + ")" * 49) == Ref("a")
    for text in ("a*0", "a*0.00", "a*0e5"):
        assert parse(text) == Call("sum", (Operand(Ref("a"), 0.0),))


def test_language_slots():
    expression = parse("stack(lang-{lang}, mnli)")
    assert needs_language(expression)
    assert not needs_language(parse("stack(a, b)"))
    assert str(for_language(expression, "sw")) == "stack(lang-sw, mnli)"
    assert [ref.name for ref in references(parse("stack(a, fuse(b, c)) + none"))] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("stack(lang-{lang}|none, mnli)", "stack(mnli)"),
        ("stack(lang-{lang}|lang-en, mnli)", "stack(lang-en, mnli)"),
        ("stack(lang-{lang}, mnli)", "stack(lang-sw, mnli)"),
        ("average(lang-{lang}|lang-en*0.5, mnli*0.5)", "average(lang-en*0.5, mnli*0.5)"),
        ("lang-{lang}|none", "none"),
        ("fuse(lang-{lang}|none)", "none"),
    ],
)
def test_what_stands_in_for_a_language_without_a_module(text, chosen):
    expression = for_language(parse(text), "sw")
    assert str(with_fallbacks(expression, lambda name: False)) == chosen
    kept = str(with_fallbacks(expression, lambda name: True))
    assert kept == text.replace("{lang}", "sw").replace("|none", "").replace("|lang-en", "")


def drawn(draw, depth=0):
    """A random expression as text."""
    names = ("mnli", "lang-{lang}", "lang-{lang}|none", "qqp/lora", "@0a1b2c", "./x", "hf:o/n@v1")
    kind = draw.random()
    if depth == 3 or kind < 0.4:
        return draw.choice(names)
    weights = [draw.choice(("", "*0.5", "*-2", "*1e-3", "*0.30000000000000004")) for _ in range(3)]
    parts = [drawn(draw, depth + 1) + weight for weight in weights[: draw.randint(1, 3)]]
    if kind < 0.6:
        return "(" + draw.choice((" + ", " - ")).join(parts) + ")"
    options = draw.choice(((), ("density=0.5",), ("b=true", "a=word"), ("x=-1e-05",)))
    return f"{draw.choice(OPERATOR_NAMES)}({', '.join([*parts, *options])})"


def test_two_thousand_random_expressions_survive_printing():
    draw, seen = random.Random(0), set()
    for _ in range(2000):
        expression = parse(drawn(draw))
        assert parse(str(expression)) == expression
        seen.add(expression)
    assert len(seen) > 1000


def info(name, method="bottleneck", **options):
    return PartInfo(name, method, options, merged=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("average(a, l)", "method lora"),
        ("average(a, wide)", "different options"),
        ("average(a, stack(a, b))", "not one module"),
        ("average(a*0, b)", "weight 0"),
        ("fuse(f, a)", "fuse cannot take 'f'"),
        ("stack(a, none)", "stands alone"),
        ("stack(a, f)", "can only come first"),
        ("stack(a, b, depth=2)", "no option 'depth'"),
        ("fuse(a, b, value=2)", "takes true or false"),
    ],
)
def test_what_makes_no_sense_is_refused_without_weights(text, words):
    infos = {
        "a": info("a", size=4),
        "b": info("b", size=4),
        "wide": info("wide", size=8),
        "l": info("l", "lora"),
        "f": info("f", "full"),
    }
    with pytest.raises(UsageError, match=words):
        check(parse(text), infos)


def test_what_makes_sense_passes():
    infos = {"a": info("a"), "b": info("b"), "l": info("l", "lora")}
    for text in ("none", "stack(a, l)", "fuse(a, average(a, b))", "stack(fuse(a, b), l)", "a - b"):
        assert check(parse(text), infos).name


@pytest.mark.parametrize("name", ["mnli+squad", "a.b-c_1", "2024-mnli", "xnli+2", "1e5x"])
def test_every_name_that_may_be_saved_is_read_again(name):
    require_readable(name)
    assert parse(f"average({name}*0.5, {name}/lora*0.5)").parts[0].expression == Ref(name)
    assert parse(f"{name} + {name}").parts[1].expression == Ref(name)


@pytest.mark.parametrize("name", ["stack", "average", "fuse", "7", "1.5", "1e5", "none", "Ünder"])
def test_a_name_that_means_something_else_is_not_saved(name):
    with pytest.raises(UsageError, match="cannot name a module"):
        require_readable(name)


def test_sums_without_blanks_round_their_weights_stay_sums():
    assert parse("a*0.5+b") == parse("a*0.5 + b")
