"""The pointwise operators in C++: over vectors of pairs, and over the intervals of a block.

One row for each: `{0}`, `{1}`, .. are the operands. Vectors are `real`, `whole` (ints) or `mask`
(bools), intervals are `Span`s; the functions are those of `cpp/vectors.hpp` and `cpp/spans.hpp`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...dsl.core import Node, Reduce


@dataclass(frozen=True, slots=True)
class Text:
    """How an operator is written.

    real, whole, mask   by the kind of its operands (of a `where`: of its branches)
    span                over intervals; empty where nothing is known
    """

    real: str = ""
    whole: str = ""
    mask: str = ""
    span: str = ""


def _same(text: str) -> Text:
    return Text(text, text, text, text)


def _lanes(function: str) -> Text:
    return Text(real=f"lanes([](float a) {{{{ return std::{function}(a); }}}}, {{0}})")


def _infix(op: str, span: str) -> Text:
    text = f"({{0}} {op} {{1}})"
    return Text(text, text, "", span)


def _compared(op: str, span: str) -> Text:
    return Text(f"(mask)({{0}} {op} {{1}})", f"narrow({{0}} {op} {{1}})", "", span)


def _rounded(function: str) -> Text:
    return Text(
        f"lanes([](float a) {{{{ return std::{function}(a); }}}}, {{0}})",
        "{0}",
        "",
        f"rounded({{0}}, [](double a) {{{{ return std::{function}(a); }}}})",
    )


TEXTS: dict[str, Text] = {
    "neg": Text("(-{0})", "(-{0})", "", "(-{0})"),
    "+": _infix("+", "({0} + {1})"),
    "-": _infix("-", "({0} - {1})"),
    "*": _infix("*", "({0} * {1})"),
    "/": Text("({0} / {1})"),
    "//": Text("floor_div({0}, {1})", "floor_div({0}, {1})", span="floor_div({0}, {1})"),
    "%": Text("remainder({0}, {1})", "remainder({0}, {1})", span="remainder({0}, {1}, 1.0)"),
    "**": Text(
        "lanes([](float a, float b) {{ return std::pow(a, b); }}, {0}, {1})", "power({0}, {1})"
    ),
    "<": _compared("<", "less({0}, {1})"),
    "<=": _compared("<=", "at_most({0}, {1})"),
    ">": _compared(">", "less({1}, {0})"),
    ">=": _compared(">=", "at_most({1}, {0})"),
    "==": Text("(mask)({0} == {1})", "narrow({0} == {1})", "(mask)({0} == {1})", "equal({0}, {1})"),
    "!=": Text(
        "(mask)({0} != {1})", "narrow({0} != {1})", "(mask)({0} != {1})", "negated(equal({0}, {1}))"
    ),
    "not": Text(mask="(~{0})", span="negated({0})"),
    "and": Text(mask="({0} & {1})", span="smaller({0}, {1})"),
    "or": Text(mask="({0} | {1})", span="larger({0}, {1})"),
    "where": _same("choose({0}, {1}, {2})"),
    "min": Text("smaller({0}, {1})", "smaller({0}, {1})", "", "smaller({0}, {1})"),
    "max": Text("larger({0}, {1})", "larger({0}, {1})", "", "larger({0}, {1})"),
    "clip": _same("smaller(larger({0}, {1}), {2})"),
    "exp": Text("exponential({0})"),
    "expm1": _lanes("expm1"),
    "log": _lanes("log"),
    "log1p": _lanes("log1p"),
    "sqrt": _lanes("sqrt"),
    "abs": Text("absolute({0})", "absolute({0})", "", "absolute({0})"),
    "sign": Text("sign({0})", "sign({0})"),
    "floor": _rounded("floor"),
    "ceil": _rounded("ceil"),
    "round": _rounded("nearbyint"),
    "tanh": Text("tanh_of({0})"),
    "sigmoid": Text("sigmoid_of({0})"),
    "relu": Text("larger({0}, all(0.0f))"),
    "leaky_relu": Text("choose((mask)({0} > 0.0f), {0}, {0} * {1})"),
    "gelu": Text(
        "({0} * 0.5f * (1.0f + lanes([](float a) {{ return std::erf(a); }}, {0} * 0.70710678f)))"
    ),
    "silu": Text("({0} * sigmoid_of({0}))"),
    "elu": Text(
        "choose((mask)({0} > 0.0f), {0}, lanes([](float a) {{ return std::expm1(a); }}, {0}))"
    ),
    "softplus": Text(
        "(larger({0}, all(0.0f)) + lanes([](float a) {{ return std::log1p(a); }}, exp_negative(-absolute({0}))))"
    ),
    "sin": _lanes("sin"),
    "cos": _lanes("cos"),
    "erf": _lanes("erf"),
    "safe_div": Text("choose((mask)({1} == 0.0f), all(0.0f), {0} / {1})"),
    "ceil_div": Text(
        "(-floor_div(-{0}, {1}))", "(-floor_div(-{0}, {1}))", span="(-floor_div(-{0}, {1}))"
    ),
    "detach": _same("{0}"),
    "as_ref": _same("{0}"),
}


def start_of(term: Node) -> str:
    """What a term is of no features."""
    op = term.op if isinstance(term, Reduce) else "sum"
    return {"sum": "all(0.0f)", "max": "all(-INF)", "min": "all(INF)"}[op]


def joined(term: Node, total: str, value: str) -> str:
    """A term of some features, and of one more."""
    op = term.op if isinstance(term, Reduce) else "sum"
    return f"{total} + {value}" if op == "sum" else TEXTS[op].real.format(total, value)
