"""The text of expressions -> syntax: meaning, exact places, limits, and what mistakes are told."""

from __future__ import annotations

import random

import pytest
from attnc.dsl.diagnostics import Diagnostic, Report
from attnc.dsl.parser import MAX_BYTES, MAX_DEPTH, parse_expression
from attnc.dsl.reader import Scalar, read
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
    children,
)
from hypothesis import given
from hypothesis import strategies as st

PLACE = Span(Source("", ""), 0, 0)


def number(value: float) -> Number:
    return Number(value, span=PLACE)


def name(text: str) -> Name:
    return Name(text, span=PLACE)


def binary(op: str, left: Expr, right: Expr) -> Binary:
    return Binary(op, left, right, span=PLACE)


A, B, C = name("a"), name("b"), name("c")


def scalar(text: str) -> Scalar:
    """Text as a plain scalar that is a file of its own."""
    span = Span(Source("spec.yaml", text), 0, len(text))
    return Scalar(text, "plain", span, span)


def parse(text: str) -> tuple[Expr | None, Report]:
    report = Report()
    return parse_expression(scalar(text), report), report


def parse_sound(text: str) -> Expr:
    expr, report = parse(text)
    assert report.diagnostics == []
    assert expr is not None
    return expr


def mistake(text: str) -> Diagnostic:
    """The only mistake in a text."""
    expr, report = parse(text)
    assert expr is None
    (found,) = report.diagnostics
    return found


# Meaning


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", number(3)),
        ("1e-5", number(1e-5)),
        (".5", number(0.5)),
        ("3.", number(3.0)),
        ("9223372036854775807", number(2**63 - 1)),
        ("true", Bool(True, span=PLACE)),
        ("false", Bool(False, span=PLACE)),
        ("window", name("window")),
        ("order", name("order")),
        ("not_a", name("not_a")),
        ("truth", name("truth")),
        ("-a", Unary("-", A, span=PLACE)),
        ("--a", Unary("-", Unary("-", A, span=PLACE), span=PLACE)),
        ("not a", Unary("not", A, span=PLACE)),
        ("a - b - c", binary("-", binary("-", A, B), C)),
        ("a - (b - c)", binary("-", A, binary("-", B, C))),
        ("a + b * c", binary("+", A, binary("*", B, C))),
        ("a ** b ** c", binary("**", A, binary("**", B, C))),
        ("-a ** b", Unary("-", binary("**", A, B), span=PLACE)),
        ("a ** -b", binary("**", A, Unary("-", B, span=PLACE))),
        ("a // b % c @ a", binary("@", binary("%", binary("//", A, B), C), A)),
        ("a < b <= c", Compare(("<", "<="), (A, B, C), span=PLACE)),
        ("not a == b", Unary("not", Compare(("==",), (A, B), span=PLACE), span=PLACE)),
        ("a and b and c", Logic("and", (A, B, C), span=PLACE)),
        ("a or b and c", Logic("or", (A, Logic("and", (B, C), span=PLACE)), span=PLACE)),
        ("a()", Call(A, (), span=PLACE)),
        ("a(b, c)", Call(A, (B, C), span=PLACE)),
        ("a(b, as=c)", Call(A, (B,), ((name("as"), C),), span=PLACE)),
        ("(a)(b)", Call(A, (B,), span=PLACE)),
        ("a[b, c]", Read(A, (B, C), span=PLACE)),
        ("a.lse", Member(A, name("lse"), span=PLACE)),
        ("a.b[c].a", Member(Read(Member(A, B, span=PLACE), (C,), span=PLACE), A, span=PLACE)),
        ("[a, b]", List((A, B), span=PLACE)),
        ("[a][0]", Read(List((A,), span=PLACE), (number(0),), span=PLACE)),
        (" ( ( a ) )\r\n", A),
    ],
)
def test_text_means(text: str, expected: Expr) -> None:
    expr = parse_sound(text)
    assert expr == expected
    if isinstance(expected, Number):
        assert isinstance(expr, Number)
        assert type(expr.value) is type(expected.value)


def test_the_expressions_of_a_whole_spec_parse() -> None:
    for text in (
        "linear(x, to=[h, d_align], bias=false)",
        "not glob[i] and (band(window // 2, window // 2) or glob[j])",
        "where(pos(i) == pos(j), -1e5, dot(qk[i], key[j]) / sqrt(d_head)) - log(real(max(n, 1)))",
        "linear(concat(sum(softmax(lse, r) * each, over=r), over=h))",
        "-left*dilation <= j - i and j - i <= right*dilation and (j - i) % dilation == 0",
        "band(left, right, dilation=1)",
    ):
        parse_sound(text)


# Places

EXPRESSION = "alpha +\n    beta * gamma[i]"
STYLES = {
    "plain": f"score: {EXPRESSION}\n",
    "plain below": f"score:\n    {EXPRESSION}  # comment\n",
    "plain with anchor": f"score: &n {EXPRESSION}\n",
    "single": f"score: '{EXPRESSION}'\n",
    "double": f'score: "{EXPRESSION}"\n',
    "literal": f"score: |\n    {EXPRESSION}\n",
    "literal with header": f"score: |2-  # a + b\n    {EXPRESSION}\n\n\nnext: 1\n",
    "folded": f"score: >+\n\n    {EXPRESSION}\n\n",
    "flow": f"{{other: 'é', score: {EXPRESSION.replace('[i]', '')}}}\n",
}


def value_of(text: str, key: str) -> Scalar:
    report = Report()
    root = read(Source("spec.yaml", text), report)
    assert root is not None
    node = root.get(key)
    assert isinstance(node, Scalar)
    return node


def names_in(expr: Expr) -> list[Name]:
    if isinstance(expr, Name):
        return [expr]
    return [found for child in children(expr) for found in names_in(child)]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("style", STYLES)
def test_spans_are_exact_in_every_scalar_style(style: str, ending: str) -> None:
    text = STYLES[style].replace("\n", ending)
    report = Report()
    expr = parse_expression(value_of(text, "score"), report)
    assert report.diagnostics == []
    assert isinstance(expr, Binary)
    for found in names_in(expr):
        assert found.span.text == found.name
    beta = names_in(expr)[1]
    assert beta.span.line == text[: text.index("beta")].count("\n") + 1
    assert beta.span.column == text.index("beta") - text.rindex("\n", 0, text.index("beta"))
    assert expr.span.text.startswith("alpha")
    assert expr.right.span.text.startswith("beta * gamma")


@pytest.mark.parametrize("style", STYLES)
def test_carets_are_exact_in_every_scalar_style(style: str) -> None:
    text = STYLES[style].replace("beta *", "beta ^")
    report = Report()
    assert parse_expression(value_of(text, "score"), report) is None
    (found,) = report.diagnostics
    assert found.span.start == text.index("^")
    assert found.span.text == "^"


@pytest.mark.parametrize("style", ["plain", "single", "double", "literal", "folded"])
def test_the_text_of_the_file_means_what_yaml_reads(style: str) -> None:
    node = value_of(STYLES[style], "score")
    assert parse_expression(node, Report()) == parse_sound(node.value)


@pytest.mark.parametrize(
    ("text", "part", "marked"),
    [
        ("a + (b * c)", lambda e: e.right, "(b * c)"),
        ("(a + b) * c", lambda e: e, "(a + b) * c"),
        ("f(a, key = b )", lambda e: e, "f(a, key = b )"),
        ("f(a, key = b )", lambda e: e.keywords[0][0], "key"),
        ("f [ a ] . b", lambda e: e.operand, "f [ a ]"),
        ("f [ a ] . b", lambda e: e.name, "b"),
        ("a - b - c", lambda e: e.left, "a - b"),
        ("a or b and c", lambda e: e.operands[1], "b and c"),
        ("not  a", lambda e: e, "not  a"),
        (" [ a ] ", lambda e: e, "[ a ]"),
    ],
)
def test_each_node_knows_its_text(text: str, part: object, marked: str) -> None:
    assert callable(part)
    assert part(parse_sound(text)).span.text == marked


# Mistakes


@pytest.mark.parametrize(
    ("text", "code", "column", "marked", "help"),
    [
        ("", "ATT201", 1, "", "write one"),
        ("a ^ b", "ATT202", 3, "^", "`**` for powers"),
        ("a && b", "ATT202", 3, "&&", "write `and`"),
        ("a || b", "ATT202", 3, "||", "write `or`"),
        ("!a", "ATT202", 1, "!", "write `not`"),
        ("x[1:2]", "ATT202", 4, ":", "no slices"),
        ("'x'", "ATT202", 1, "'", "no strings"),
        ("a; os.system", "ATT202", 2, ";", "without `;`"),
        ("__import__(os)", "ATT202", 1, "__import__", "lower-case letter"),
        ("Alpha + b", "ATT202", 1, "Alpha", "lower case"),
        ("True", "ATT202", 1, "True", "write `true`"),
        ("a − b", "ATT202", 3, "−", "the ASCII one"),
        ("a ≤ b", "ATT202", 3, "≤", "write `<=`"),
        ("аlpha", "ATT202", 1, "аlpha", "ASCII"),
        ("a\\b", "ATT202", 2, "\\", "without a backslash"),
        ("a = b", "ATT203", 3, "=", "`==` to compare"),
        ("a b", "ATT203", 3, "b", "expected an operator"),
        ("f(a b)", "ATT203", 5, "b", "expected an operator, `,` or `)`"),
        ("f(a,)", "ATT203", 5, ")", "expected an expression"),
        ("a)", "ATT203", 2, ")", "expected the end"),
        ("()", "ATT203", 2, ")", "expected an expression"),
        ("2x", "ATT203", 2, "x", "`2 * x`"),
        ("a.1", "ATT203", 3, "1", "expected a name"),
        ("or + 1", "ATT203", 1, "or", "expected an expression"),
        ("f(or=1)", "ATT203", 3, "or", "expected an expression or `)`"),
        ("a == not b", "ATT203", 6, "not", "brackets"),
        ("x if y else z", "ATT203", 3, "if", "where(condition, a, b)"),
        ("a +  ", "ATT204", 4, "", "expected an expression"),
        ("f(a, b", "ATT204", 7, "", "expected an operator, `,` or `)`"),
        ("1e999", "ATT208", 1, "1e999", "doubles"),
        ("2 * 1e-999", "ATT208", 5, "1e-999", "doubles"),
        ("9223372036854775808", "ATT208", 1, "9223372036854775808", "64 bits"),
        ("2(x)", "ATT209", 1, "2", "`*`"),
        ("f.lse(3)", "ATT209", 1, "f.lse", "by their name"),
        ("f(k=1, 2)", "ATT210", 8, "2", "first"),
        ("f(k=1, k=2)", "ATT211", 8, "k", "keep one"),
    ],
)
def test_each_mistake_has_its_code_place_and_help(
    text: str, code: str, column: int, marked: str, help: str
) -> None:
    found = mistake(text)
    assert (found.code, found.span.column, found.span.text) == (code, column, marked)
    assert help in found.help


def test_an_open_bracket_is_pointed_at() -> None:
    (note,) = mistake("f(a, g(b c)").notes
    assert (note.label, note.span.column) == ("opened here", 7)


def test_mistakes_of_meaning_are_reported_together() -> None:
    _, report = parse("f(k=1, k=2) + 1e999 + 2(x)")
    assert [item.code for item in report.errors] == ["ATT211", "ATT208", "ATT209"]


def test_a_backslash_in_double_quotes_is_an_error_at_its_place() -> None:
    text = 'score: "a +\\n b"'
    report = Report()
    assert parse_expression(value_of(text, "score"), report) is None
    (found,) = report.diagnostics
    assert (found.code, found.span.start) == ("ATT205", text.index("\\"))


def test_an_expression_cut_by_a_flow_mapping_is_told_to_be_quoted() -> None:
    report = Report()
    root = read(Source("spec.yaml", "let: {a: f(b, c)}"), report)
    assert root is not None
    let = root.get("let")
    cut = let.get("a")  # type: ignore[union-attr]
    assert isinstance(cut, Scalar)
    assert parse_expression(cut, report) is None
    (found,) = report.diagnostics
    assert (found.code, found.span.column) == ("ATT204", 13)
    assert "quote" in found.help


def test_a_missing_value_is_reported_behind_its_key() -> None:
    report = Report()
    assert parse_expression(value_of("score:\nmask: a", "score"), report) is None
    (found,) = report.diagnostics
    assert (found.code, found.span.line, found.span.column) == ("ATT201", 1, 7)


# Limits


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100 + "x" + ")" * 100,
        "-" * 99 + "x",
        "not " * 99 + "x",
        "**".join("x" * 100),
        "+".join("x" * 100),
        "x" + "[0]" * 99,
        "f(" * 99 + "x" + ")" * 99,
    ],
)
def test_a_hundred_levels_are_parsed(text: str) -> None:
    parse_sound(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 101 + "x" + ")" * 101,
        "-" * 100 + "x",
        "not " * 100 + "x",
        "**".join("x" * 101),
        "+".join("x" * 101),
        "x" + "[0]" * 100,
        "f(" * 100 + "x" + ")" * 100,
        "(" * 4000,
        "[" * 4000,
        "-" * 4000 + "x",
        "+".join("x" * 2000),
        "**".join("x" * 1300),
        "x" + ".a" * 2000,
    ],
)
def test_more_than_a_hundred_levels_are_refused(text: str) -> None:
    assert mistake(text).code == "ATT207"


def test_wide_expressions_are_not_deep() -> None:
    parse_sound(f"[{', '.join('x' * 1000)}]")
    parse_sound(" and ".join("x" * 500))


def test_four_kibibytes_are_the_limit() -> None:
    parse_sound("a" * MAX_BYTES)
    assert mistake("a" * (MAX_BYTES + 1)).code == "ATT206"
    assert mistake("é" * (MAX_BYTES // 2 + 1)).code == "ATT206"


def test_a_number_of_four_thousand_digits_is_out_of_range() -> None:
    assert mistake("9" * MAX_BYTES).code == "ATT208"


def depth(expr: Expr) -> int:
    return 1 + max((depth(child) for child in children(expr)), default=0)


# Anything at all

PIECES = st.sampled_from(
    "a b1 3 .5 1e9 1e999 ( ) [ ] , . = == < + - * ** // @ and or not true ^ && ' é _ if f( k=".split()
) | st.sampled_from(" \n\\#")
TEXTS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=40).map("".join))


@given(TEXTS)
def test_no_text_makes_parsing_fail_without_a_diagnostic(text: str) -> None:
    expr, report = parse(text)
    assert (expr is None) == bool(report.errors)
    for item in report.diagnostics:
        assert 0 <= item.span.start <= item.span.end <= len(text)
        assert item.message
        assert item.help
    if expr is not None:
        assert depth(expr) <= MAX_DEPTH


def test_mutations_of_an_expression_never_crash() -> None:
    text = "where(pos(i) == pos(j), -1e5, dot(q[i], k.lse[j, 2]) / sqrt(d)) and not a"
    rng = random.Random(0)
    for _ in range(3000):
        chars = list(text)
        for _ in range(rng.randint(1, 4)):
            chars[rng.randrange(len(chars))] = rng.choice("()[],.=<>!+-*/%@^&|aA1 \n'\"\\:é")
        expr, report = parse("".join(chars))
        assert (expr is None) == bool(report.errors)
