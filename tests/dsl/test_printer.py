"""Printing syntax: as few brackets as can be, and the same expression when it is parsed again."""

from __future__ import annotations

import pytest
from attnc.dsl.diagnostics import Report
from attnc.dsl.parser import parse_expression
from attnc.dsl.printer import format_expression
from attnc.dsl.reader import Scalar
from attnc.dsl.source import Source, Span
from attnc.dsl.syntax import (
    Binary,
    Bool,
    Call,
    Compare,
    Expr,
    List,
    Logic,
    Member,
    Name,
    Number,
    Read,
    Unary,
)
from hypothesis import given
from hypothesis import strategies as st

PLACE = Span(Source("", ""), 0, 0)


def parse(text: str) -> Expr:
    span = Span(Source("spec.yaml", text), 0, len(text))
    report = Report()
    expr = parse_expression(Scalar(text, "plain", span, span), report)
    assert report.diagnostics == []
    assert expr is not None
    return expr


@pytest.mark.parametrize(
    "text",
    [
        "a + b * c",
        "(a + b) * c",
        "a - (b - c)",
        "a - b - c",
        "a * (b / c)",
        "-a ** b",
        "(-a) ** b",
        "a ** -b",
        "(a ** b) ** c",
        "a ** b ** c",
        "--a",
        "a - -b",
        "-(a + b)",
        "-a * b",
        "-(a * b)",
        "not a == b",
        "(not a) == b",
        "not not a",
        "a < b <= c",
        "(a < b) <= c",
        "a or b and c",
        "(a or b) and c",
        "(a and b) and c",
        "f(a or b, key=not c)",
        "f()",
        "f[a, b].lse",
        "(a + b)[c]",
        "(1).x",
        "(0.5)[i]",
        "[a, [b]][0]",
        "1e-05 + 1e+22",
    ],
)
def test_printed_text_stays_as_it_is(text: str) -> None:
    assert format_expression(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("((a))+(b*c)", "a + b * c"),
        ("(a - b) - c", "a - b - c"),
        ("a ** (b ** c)", "a ** b ** c"),
        ("not (a == b)", "not a == b"),
        ("(f(x))[ (i) ]", "f(x)[i]"),
        ("a\n  and b", "a and b"),
    ],
)
def test_needless_brackets_go(text: str, printed: str) -> None:
    assert format_expression(parse(text)) == printed


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True).filter(
    lambda text: text not in {"and", "or", "not", "true", "false"}
)
NAME_NODES = NAMES.map(lambda text: Name(text, span=PLACE))
NUMBERS = st.one_of(
    st.integers(0, 2**63 - 1), st.floats(0, allow_nan=False, allow_infinity=False)
).map(lambda value: Number(value, span=PLACE))
LEAVES = st.one_of(NAME_NODES, NUMBERS, st.booleans().map(lambda value: Bool(value, span=PLACE)))


def compares(operands: list[Expr], ops: list[str]) -> Expr:
    return Compare(tuple(ops[: len(operands) - 1]), tuple(operands), span=PLACE)


def extend(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    """One more level around some expressions."""
    several = st.lists(inner, min_size=2, max_size=4)
    some = st.lists(inner, min_size=1, max_size=3).map(tuple)
    ops = st.lists(st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), min_size=3, max_size=3)
    keywords = st.dictionaries(NAMES, inner, max_size=2).map(
        lambda found: tuple((Name(key, span=PLACE), value) for key, value in found.items())
    )
    return st.one_of(
        st.builds(Unary, st.sampled_from(["-", "not"]), inner, span=st.just(PLACE)),
        st.builds(
            Binary,
            st.sampled_from(["+", "-", "*", "/", "//", "%", "@", "**"]),
            inner,
            inner,
            span=st.just(PLACE),
        ),
        st.builds(Logic, st.sampled_from(["and", "or"]), several.map(tuple), span=st.just(PLACE)),
        st.builds(compares, several, ops),
        st.builds(
            Call, NAME_NODES, st.lists(inner, max_size=3).map(tuple), keywords, span=st.just(PLACE)
        ),
        st.builds(Read, inner, some, span=st.just(PLACE)),
        st.builds(Member, inner, NAME_NODES, span=st.just(PLACE)),
        st.builds(List, some, span=st.just(PLACE)),
    )


EXPRESSIONS: st.SearchStrategy[Expr] = st.recursive(LEAVES, extend, max_leaves=25)


@given(EXPRESSIONS)
def test_what_is_printed_parses_to_the_same_expression(expr: Expr) -> None:
    printed = format_expression(expr)
    again = parse(printed)
    assert again == expr
    assert format_expression(again) == printed
