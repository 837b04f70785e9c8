"""Intervals of core nodes: between which numbers does a value lie, whatever the data are.

Sound, not tight. Used to prove that a table is read in range and that a divisor is not zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from .core import (
    Arg,
    Choose,
    ConcatDims,
    Const,
    Contract,
    Fill,
    Index,
    Kind,
    KvHead,
    Length,
    Map,
    Node,
    Param,
    Position,
    Range,
    Read,
    ReadDim,
    Reduce,
    Reshape,
    Scan,
    Split,
    Transpose,
    Tree,
    operands,
)
from .typed import TypedSpec

Interval: TypeAlias = tuple[float, float]
INF = math.inf
ANY: Interval = (-INF, INF)


def bounds(node: Node, spec: TypedSpec) -> Interval:
    """The smallest and largest value that a node may take."""
    known = spec.intervals
    stack = [] if node in known else [node]
    while stack:
        below = [item for item in operands(stack[-1]) if item not in known]
        if below:
            stack.extend(below)
            continue
        item = stack.pop()
        low, high = _bounds(item, spec)
        if math.isnan(low) or math.isnan(high):
            low, high = ANY  # inf - inf
        if item.type.kind is Kind.BOOL:
            low, high = max(low, 0.0), min(high, 1.0)
        known[item] = low, high
    return known[node]


def _bounds(node: Node, spec: TypedSpec) -> Interval:
    match node:
        case Const() | Fill():
            return float(node.value), float(node.value)
        case Index() | Position() | KvHead():
            axis = node.axis if not isinstance(node, KvHead) else (node.type.ref or node.axis)
            return 0.0, INF if axis.size is None else axis.size.value - 1.0
        case Tree():
            low = -1.0 if node.which == "node" else 0.0
            return low, node.levels - 1.0 if node.which == "level" else INF
        case Range():
            return 0.0, node.type.dims[0].value - 1.0
        case Length():
            return 0.0, INF
        case Param() if node.role == "input":
            info = spec.inputs.get(node.name)
            limits = None if info is None else info.bounds
            return ANY if limits is None else (float(limits[0]), float(limits[1]))
        case Param() if node.role == "weight":
            limit = spec.weights[node.name].bounds if node.name in spec.weights else None
            return ANY if limit is None else limit
        case Arg():
            return bounds(node.value, spec)
        case Map():
            return _map(node, spec)
        case Contract() if node.left is node.right and node.left_dims == node.right_dims:
            return 0.0, INF
        case Choose() if node.axis is None and len(node.arg.type.dims) == 1:
            return 0.0, node.arg.type.dims[0].value - 1.0
        case Read() | ReadDim() | Reshape() | Transpose():
            return bounds(node.arg, spec)
        case Split():
            low, high = bounds(node.arg, spec)
            return min(low, 0.0), max(high, 0.0)
        case ConcatDims():
            return _hull([bounds(item, spec) for item in node.args])
        case Reduce():
            return _reduce(node, spec)
        case Scan():
            low, high = bounds(node.arg, spec)
            return (0.0 if low >= 0 else -INF), (0.0 if high <= 0 else INF)
        case _:
            return ANY


def _hull(items: list[Interval]) -> Interval:
    return min(low for low, _ in items), max(high for _, high in items)


def _reduce(node: Reduce, spec: TypedSpec) -> Interval:
    low, high = bounds(node.arg, spec)
    if node.op in ("any", "all"):
        return 0.0, 1.0
    if node.op == "count":
        return 0.0, INF
    if node.op == "sum":
        return (0.0 if low >= 0 else -INF), (0.0 if high <= 0 else INF)
    if node.op == "mean":
        return min(low, 0.0), max(high, 0.0)
    if node.op == "max":
        return low if not node.axes and node.where is None else -INF, high
    if node.op == "min":
        return low, high if not node.axes and node.where is None else INF
    return ANY


def _map(node: Map, spec: TypedSpec) -> Interval:
    args = [bounds(item, spec) for item in node.args]
    rule = _RULES.get(node.op)
    if rule is not None:
        return rule(args)
    if node.op in ("*", "**"):
        return _product(node, args)
    if node.op in ("where",):
        return _hull(args[1:])
    return ANY


def _product(node: Map, args: list[Interval]) -> Interval:
    if node.op == "**":
        exponent = node.args[1]
        even = isinstance(exponent, Const) and exponent.value % 2 == 0
        return _power(*args) if args[0][0] >= 0 else (0.0, INF) if even else ANY
    if node.args[0] is node.args[1]:
        return 0.0, INF
    (a, b), (c, d) = args
    return _hull([(p, p) for p in (_times(a, c), _times(a, d), _times(b, c), _times(b, d))])


def _power(base: Interval, exponent: Interval) -> Interval:
    """Of a base that is at least 0: monotone in each argument, so extreme at the corners."""
    try:
        return _hull([(p, p) for p in (a**b for a in base for b in exponent)])
    except ArithmeticError:
        return 0.0, INF


def _times(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b


def _monotone(apply: Callable[[float], float]) -> Callable[[list[Interval]], Interval]:
    def rule(args: list[Interval]) -> Interval:
        return apply(args[0][0]), apply(args[0][1])

    return rule


def _abs(args: list[Interval]) -> Interval:
    low, high = args[0]
    return max(low, -high, 0.0), max(abs(low), abs(high))


def _mod(args: list[Interval]) -> Interval:
    low, high = args[1]
    return (0.0, high - 1 if high < INF else INF) if low > 0 else ANY


def _floor_div(args: list[Interval]) -> Interval:
    (low, high), (c, d) = args
    if c <= 0:
        return ANY
    return (low // c if low < 0 else _quotient(low, d)), (_quotient(high, c) if high >= 0 else -1.0)


def _quotient(a: float, b: float) -> float:
    if a == INF or b == INF:
        return INF if a == INF and b != INF else 0.0
    return float(a // b)


def _div(args: list[Interval]) -> Interval:
    (low, high), (c, _) = args
    if c < 0:
        return ANY
    return (0.0 if low >= 0 else -INF), (0.0 if high <= 0 else INF)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else INF


def _guarded(apply: Callable[[float], float], low: float) -> Callable[[float], float]:
    return lambda value: apply(value) if value > low else -INF


_RULES: dict[str, Callable[[list[Interval]], Interval]] = {
    "neg": lambda a: (-a[0][1], -a[0][0]),
    "+": lambda a: (a[0][0] + a[1][0], a[0][1] + a[1][1]),
    "-": lambda a: (a[0][0] - a[1][1], a[0][1] - a[1][0]),
    "min": lambda a: (min(a[0][0], a[1][0]), min(a[0][1], a[1][1])),
    "max": lambda a: (max(a[0][0], a[1][0]), max(a[0][1], a[1][1])),
    "clip": lambda a: (
        min(max(a[0][0], a[1][0]), a[2][1]),
        max(min(a[0][1], a[2][1]), a[1][0]),
    ),
    "%": _mod,
    "//": _floor_div,
    "ceil_div": lambda a: (_floor_div(a)[0], _floor_div(a)[1] + 1),
    "/": _div,
    "safe_div": _div,
    "abs": _abs,
    "sign": lambda a: (-1.0, 1.0),
    "exp": _monotone(_exp),
    "sqrt": _monotone(lambda v: math.sqrt(v) if 0 <= v < INF else max(v, 0.0)),
    "log1p": _monotone(_guarded(lambda v: math.log1p(v) if v < INF else INF, -1.0)),
    "log": _monotone(_guarded(lambda v: math.log(v) if v < INF else INF, 0.0)),
    "tanh": lambda a: (-1.0, 1.0),
    "sin": lambda a: (-1.0, 1.0),
    "cos": lambda a: (-1.0, 1.0),
    "erf": lambda a: (-1.0, 1.0),
    "sigmoid": lambda a: (0.0, 1.0),
    "softplus": lambda a: (0.0, INF),
    "relu": lambda a: (max(a[0][0], 0.0), max(a[0][1], 0.0)),
    "elu": lambda a: (max(a[0][0], -1.0), a[0][1]),
    "floor": _monotone(lambda v: float(math.floor(v)) if abs(v) < INF else v),
    "ceil": _monotone(lambda v: float(math.ceil(v)) if abs(v) < INF else v),
    "round": _monotone(lambda v: float(round(v)) if abs(v) < INF else v),
    "real": lambda a: a[0],
    "int": lambda a: (
        float(math.trunc(a[0][0])) if abs(a[0][0]) < INF else a[0][0],
        float(math.trunc(a[0][1])) if abs(a[0][1]) < INF else a[0][1],
    ),
    "detach": lambda a: a[0],
    "as_ref": lambda a: a[0],
    "where": lambda a: _hull(a[1:]),
}
