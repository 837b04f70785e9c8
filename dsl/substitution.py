"""Substitution of index axes: what an expression is at another token.

    substitute(f[x], x, e)    is    f read at e along x

Pointwise operators and reads are rewritten inside; any other node is wrapped in a `Read`, so that
equal results are the same object and can serve as the same unknown of the prover.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count

from .core import Axis, Const, Index, Kind, Map, Node, Position, Read, Type, walk

INT, BOOL = Kind.INT, Kind.BOOL


def place(axis: Axis) -> Node:
    """The place along an axis, as a ref to it."""
    return Index(Type(INT, frozenset({axis}), (), axis), axis)


def number(value: int) -> Node:
    """An integer constant."""
    return Const(Type(INT), value)


def pointwise(op: str, *args: Node) -> Node:
    """A pointwise operator on ints or bools; comparisons and logic give a bool."""
    axes = frozenset[Axis]().union(*(arg.type.axes for arg in args))
    truth = op in ("<", "<=", ">", ">=", "==", "!=", "not", "and", "or")
    dims = next((arg.type.dims for arg in args if arg.type.dims), ())
    return Map(Type(BOOL if truth else INT, axes, dims), op, args)


def read(arg: Node, axis: Axis, index: Node) -> Node:
    """arg read along an axis at a ref."""
    axes = (arg.type.axes - {axis}) | index.type.axes
    return Read(replace(arg.type, axes=axes), arg, axis, index)


class Fresh:
    """A supply of axes that occur nowhere else, for tokens that a reduction ranges over."""

    def __init__(self) -> None:
        self.numbers = count(1)

    def like(self, axis: Axis) -> Axis:
        """A new axis over the same tokens."""
        name = f"{axis.name.split('#')[0]}#{next(self.numbers)}"
        return replace(axis, name=name, base=axis.base or axis.name)


def substitute(node: Node, axis: Axis, index: Node) -> Node:
    """The node with the tokens of `axis` replaced by the one that `index` names."""
    if axis not in node.type.axes or (isinstance(index, Index) and index.axis == axis):
        return node
    return _rewritten(node, axis, index)


def _rewritten(root: Node, axis: Axis, index: Node) -> Node:
    done: dict[int, Node] = {}
    for node in _open(root, axis):
        done[id(node)] = _at(node, axis, index, done)
    return done[id(root)]


def _open(root: Node, axis: Axis) -> list[Node]:
    """The nodes that a substitution reaches, operands first."""
    order: list[Node] = []
    seen: set[int] = set()
    stack = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((child, False) for child in _inside(node, axis))
    return order


def _inside(node: Node, axis: Axis) -> tuple[Node, ...]:
    if axis not in node.type.axes:
        return ()
    match node:
        case Map():
            return node.args
        case Read() if node.axis != axis:
            return (node.arg, node.index)
        case Read():
            return (node.index,)
        case _:
            return ()


def _at(node: Node, axis: Axis, index: Node, done: dict[int, Node]) -> Node:
    if axis not in node.type.axes:
        return node
    axes = (node.type.axes - {axis}) | index.type.axes
    match node:
        case Index():
            return index
        case Position() if isinstance(index, Index):
            return Position(replace(node.type, axes=axes), index.axis)
        case Map():
            args = tuple(done[id(arg)] for arg in node.args)
            return replace(node, type=replace(node.type, axes=axes), args=args)
        case Read() if node.axis == axis or node.axis not in index.type.axes:
            arg = node.arg if node.axis == axis else done[id(node.arg)]
            return read(arg, node.axis, done[id(node.index)])
        case _:
            return read(node, axis, index)


def instead(root: Node, values: Mapping[Node, Node]) -> Node:
    """The expression with other nodes for some, inside of pointwise operators and reads."""
    done = dict(values)
    for node in walk(root):
        match node:
            case _ if node in done:
                continue
            case Map(args=args) if any(done.get(arg, arg) is not arg for arg in args):
                given = tuple(done.get(arg, arg) for arg in args)
                axes = frozenset[Axis]().union(*(arg.type.axes for arg in given))
                done[node] = replace(node, type=replace(node.type, axes=axes), args=given)
            case Read(arg=arg, index=index):
                done[node] = read(done.get(arg, arg), node.axis, done.get(index, index))
    return done.get(root, root)


def size_of(node: Node) -> int:
    """How many different nodes an expression has."""
    return sum(1 for _ in walk(node))
