"""Typing of single nodes: kinds, unions of axes, dims, and constant folding."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable

from ..core import Axis, Const, Fill, Kind, KvHead, Map, Node, Read, Type
from ..operators import COMPARISONS, POINTWISE, Pointwise
from ..sizes import Size

INT, REAL, BOOL = Kind.INT, Kind.REAL, Kind.BOOL


class TypeMistake(Exception):
    """A type rule is broken: code, message and help; the caller knows the place."""

    def __init__(self, code: str, message: str, help: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.help = code, message, help


def const(value: bool | int | float, name: str = "") -> Const:
    """A constant of the kind of its Python type."""
    kind = BOOL if isinstance(value, bool) else INT if isinstance(value, int) else REAL
    return Const(Type(kind), value, name)


def union(nodes: Iterable[Node]) -> frozenset[Axis]:
    """The index axes of several operands together."""
    axes: frozenset[Axis] = frozenset()
    for node in nodes:
        axes |= node.type.axes
    return axes


def with_heads(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """The operands with g read at the kv_head of h, where both axes meet."""
    axes = union(nodes)
    head = next((axis for axis in axes if axis.role == "head"), None)
    group = next((axis for axis in axes if axis.role == "group"), None)
    if head is None or group is None:
        return nodes
    kv_head = KvHead(Type(INT, frozenset({head}), (), group), head)
    return tuple(read(node, group, kv_head) if group in node.type.axes else node for node in nodes)


def read(arg: Node, axis: Axis, index: Node) -> Node:
    """arg read along one axis at a ref."""
    axes = (arg.type.axes - {axis}) | index.type.axes
    return Read(Type(arg.type.kind, axes, arg.type.dims, arg.type.ref), arg, axis, index)


def real(node: Node) -> Node:
    """The node as a real."""
    if node.type.kind is REAL:
        return node
    if isinstance(node, Const):
        return const(float(node.value), node.name)
    return Map(Type(REAL, node.type.axes, node.type.dims), "real", (node,))


def integer(node: Node) -> Node:
    """The node as an int."""
    if node.type.kind is INT:
        return node
    if isinstance(node, Const):
        return const(int(node.value))
    return Map(Type(INT, node.type.axes, node.type.dims), "int", (node,))


def as_ref(node: Node, axis: Axis) -> Node:
    """An int node as a ref to an axis."""
    if node.type.ref == axis:
        return node
    return Map(Type(INT, node.type.axes, node.type.dims, axis), "as_ref", (node,))


def common_dims(nodes: Iterable[Node]) -> tuple[Size, ...]:
    """The feature dims of operands that must be equal or []."""
    dims: tuple[Size, ...] = ()
    for node in nodes:
        if not node.type.dims or node.type.dims == dims:
            continue
        if dims:
            raise TypeMistake(
                "ATT502",
                f"feature dims differ: [{_list(dims)}] and [{_list(node.type.dims)}]",
                "pointwise operators take equal feature dims; `outer` makes products of dims, "
                "`dot` and `@` contract them",
            )
        dims = node.type.dims
    return dims


def _list(dims: tuple[Size, ...]) -> str:
    return ", ".join(str(dim) for dim in dims)


def pointwise(name: str, *args: Node) -> Node:
    """A pointwise operator applied, typed and folded."""
    row = POINTWISE[name]
    nodes = with_heads(args)
    dims = common_dims(nodes)
    nodes, kind = _kinds(row, nodes)
    folded = _fold(name, nodes, kind)
    if folded is not None:
        return folded
    ref = None
    if name in ("where", "detach", "min", "max"):
        refs = {node.type.ref for node in nodes[-2 if name == "where" else 0 :]}
        ref = refs.pop() if len(refs) == 1 else None
    return Map(Type(kind, union(nodes), dims, ref), name, nodes)


def _kinds(row: Pointwise, nodes: tuple[Node, ...]) -> tuple[tuple[Node, ...], Kind]:
    kinds = [node.type.kind for node in nodes]
    shown = "-" if row.name == "neg" else row.name
    match row.rule:
        case "logic":
            if any(kind is not BOOL for kind in kinds):
                raise TypeMistake(
                    "ATT501", f"`{shown}` takes bools, not {_kind_names(kinds)}", "compare first"
                )
            return nodes, BOOL
        case "where":
            if kinds[0] is not BOOL:
                raise TypeMistake(
                    "ATT501", f"`where` takes a bool first, not {_kind_names(kinds[:1])}"
                )
            if BOOL in kinds[1:] and kinds[1] is not kinds[2]:
                raise TypeMistake("ATT501", f"`where` chooses between {_kind_names(kinds[1:])}")
            branches, kind = _promote(nodes[1:])
            return (nodes[0], *branches), kind
        case "cast":
            return nodes, Kind(row.result)
        case "as_ref":
            return nodes, INT
        case "equal" if all(kind is BOOL for kind in kinds):
            return nodes, BOOL
        case _:
            pass
    if BOOL in kinds:
        raise TypeMistake(
            "ATT501",
            f"`{shown}` takes numbers, not {_kind_names(kinds)}",
            "`int(..)` or `real(..)` makes a number of a bool",
        )
    match row.rule:
        case "numeric" if row.name == "**" and _may_be_fraction(nodes):
            return tuple(real(node) for node in nodes), REAL
        case "real" | "divide":
            return tuple(real(node) for node in nodes), REAL
        case "compare" | "equal":
            return _promote(nodes)[0], BOOL
        case _:
            return _promote(nodes)


def _may_be_fraction(nodes: tuple[Node, ...]) -> bool:
    """Whether a power of ints is no int: unless the exponent is a number from 0 on."""
    exponent = nodes[1]
    return not (isinstance(exponent, Const) and exponent.value >= 0)


def _kind_names(kinds: list[Kind]) -> str:
    return " and ".join(kind.value for kind in kinds)


def _promote(nodes: tuple[Node, ...]) -> tuple[tuple[Node, ...], Kind]:
    if all(node.type.kind is BOOL for node in nodes):
        return nodes, BOOL
    if any(node.type.kind is REAL for node in nodes):
        return tuple(real(node) for node in nodes), REAL
    return nodes, INT


def _divide(a: float, b: float) -> float:
    return a / b


_FOLDS: dict[str, Callable[..., bool | int | float]] = {
    "neg": operator.neg,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    **COMPARISONS,
    "not": operator.not_,
    "min": min,
    "max": max,
    "clip": lambda a, low, high: min(max(a, low), high),
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "floor": lambda a: float(math.floor(a)),
    "ceil": lambda a: float(math.ceil(a)),
    "abs": abs,
    "sin": math.sin,
    "cos": math.cos,
    "tanh": math.tanh,
    "ceil_div": lambda a, b: -(-a // b),
    "real": float,
    "int": int,
}


def _fold(name: str, nodes: tuple[Node, ...], kind: Kind) -> Node | None:
    if name in ("and", "or"):
        return _fold_logic(name, nodes)
    if name == "where":
        return _fold_where(nodes)
    if name not in _FOLDS or not all(isinstance(node, Const) for node in nodes):
        return None
    values = [node.value for node in nodes if isinstance(node, Const)]
    if name == "**" and (abs(values[0]) > 1e6 or abs(values[1]) > 1e3):
        return None
    try:
        value = _FOLDS[name](*values)
    except (ArithmeticError, ValueError):
        return None
    if isinstance(value, complex) or value != value:
        return None
    if kind is INT and abs(value) >= 2**63:
        raise TypeMistake("ATT208", "this number is out of range", "integers have 64 bits")
    return const(float(value) if kind is REAL else value)


def _fold_logic(name: str, nodes: tuple[Node, ...]) -> Node | None:
    """true and a -> a; false and a -> false; and the same with or."""
    absorbing = name == "or"
    for this, other in (nodes, nodes[::-1]):
        if isinstance(this, Const):
            return this if this.value is absorbing else other
    return None


def _fold_where(nodes: tuple[Node, ...]) -> Node | None:
    condition, yes, no = nodes
    if isinstance(condition, Const):
        return yes if condition.value else no
    return None


def fill(value: bool | int | float, axes: frozenset[Axis], dims: tuple[Size, ...]) -> Node:
    """A constant array."""
    kind = BOOL if isinstance(value, bool) else INT if isinstance(value, int) else REAL
    if not axes and not dims:
        return const(value)
    return Fill(Type(kind, axes, dims), value)
