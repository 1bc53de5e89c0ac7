from __future__ import annotations

import pytest

from xstilts.composed import check
from xstilts.composition import (
    Call,
    Part,
    Ref,
    for_language,
    needs_language,
    parse,
    references,
)
from xstilts.errors import UsageError
from xstilts.operators import PartInfo

ROUND_TRIPS = [
    "none",
    "mnli",
    "mnli/lora/xlm-roberta-base@0a1b2c",
    "hf:org/name@v1.0",
    "./my-module",
    "stack(@0a1b2c, mnli)",
    "s3://bucket/path",
    "stack(lang-{lang}, mnli)",
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
        "fuse", (Part(Ref("a")), Part(Ref("b"), 0.5)), (("value", False),)
    )
    assert parse("a - b*2") == Call("sum", (Part(Ref("a")), Part(Ref("b"), -2.0)))
    assert parse("-a + b") == Call("sum", (Part(Ref("a"), -1.0), Part(Ref("b"))))
    assert parse("0.5*a") == Call("sum", (Part(Ref("a"), 0.5),))
    assert parse("lang-sw - b") == Call("sum", (Part(Ref("lang-sw")), Part(Ref("b"), -1.0)))


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
    ],
)
def test_errors_point_at_the_column(text, column, words):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert f"column {column}:" in str(caught.value)
    assert words in str(caught.value)


def test_language_slots():
    expression = parse("stack(lang-{lang}, mnli)")
    assert needs_language(expression)
    assert not needs_language(parse("stack(a, b)"))
    assert str(for_language(expression, "sw")) == "stack(lang-sw, mnli)"
    assert [ref.name for ref in references(parse("stack(a, fuse(b, c)) + none"))] == ["a", "b", "c"]


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
