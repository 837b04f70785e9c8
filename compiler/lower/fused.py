"""The fused lowering: the pairs of an attend in one generated kernel, forward and backward."""

from __future__ import annotations

import operator
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ...dsl.core import (
    Arg,
    Attend,
    Axis,
    Kind,
    KvHead,
    Linear,
    Map,
    Node,
    Norm,
    Param,
    Read,
    Use,
    operands,
    walk,
)
from ..codegen.kernel import kept_of_rows, sources
from ..codegen.layout import Argument, Kernel, Learner
from ..dropping import row_bits
from ..matching.match import Leaf, Match
from . import alone
from .attend import dropped_rows
from .emitter import Value, by_rank

if TYPE_CHECKING:
    from .dense import Dense


def emit(e: Dense, node: Attend, found: Match) -> Value:
    """The result of the kernel; its lse is kept for those who read it."""
    for row, own in found.rows:
        e.chosen[row] = partial(emit, node=row, found=own)
    if found.dropped is not None:
        dropped_rows(e, node, row_bits(node).type.ordered)
    values = [_value(e, leaf) for leaf in found.leaves]
    axes = by_rank(node.type.axes)
    dims = tuple(dim.value for dim in node.type.dims)
    of_result = {axis.role: axis for axis in axes if axis.role in ("batch", "head", "group")}
    head = of_result.get("head", of_result.get("group"))
    wanted = (of_result.get("batch"), head, found.query)
    fixed = _fixed(node)
    kernel = Kernel(
        re.sub(r"[^a-z0-9_]", "_", f"{e.spec.name}_{node.name}".lower()),
        sources(found),
        tuple(
            _argument(leaf, value, found) for leaf, value in zip(found.leaves, values, strict=True)
        ),
        tuple(e.size(axis) for axis in fixed),
        tuple(
            -1 if axis is None else axes.index(axis) for axis in (*wanted[:2], *fixed, found.query)
        ),
        dims,
        found.weight is None,
        found.with_lse,
        kept_of_rows(found),
    )
    assert e.kernels is not None
    sizes = [1 if axis is None else e.size(axis) for axis in (*wanted, found.key)]
    arrays = [(_shared(leaf.node), v) for leaf, v in zip(found.leaves, values, strict=True)]
    fresh = type(e)(e.program, {})
    dense, of_lse = alone.graph(fresh, found.node, (*wanted, found.key), arrays, found.with_lse)
    name = e.submodule("kernel", e.kernels(kernel, dense))
    made = e.module(name, sizes, *(e.tensor(value) for value in values))
    wide = any(value.wide for value in values[:1])
    if found.with_lse:
        e.lse[node] = _alike(
            e, Value(e.call(operator.getitem, made, 1), axes, 0, wide=True), of_lse
        )
    return Value(e.call(operator.getitem, made, 0), axes, len(dims), wide)


def _alike(e: Dense, value: Value, axes: tuple[Axis, ...]) -> Value:
    """A value that is the same along the axes that it does not have by itself, without these."""
    node = value.node
    for place in reversed(range(len(value.axes))):
        if value.axes[place] not in axes:
            node = e.method("select", node, place, 0)
    return replace(value, node=node, axes=tuple(axis for axis in value.axes if axis in axes))


def _value(e: Dense, leaf: Leaf) -> Value:
    """What a leaf is outside of the pairs; by groups of heads where heads share it."""
    return e.lower(_shared(leaf.node))


def _shared(node: Node) -> Node:
    """What an array is by groups of heads, where heads share it."""
    inner = node.value if isinstance(node, Arg) else node
    if isinstance(inner, Read) and isinstance(inner.index, KvHead):
        return inner.arg
    return node


def _fixed(node: Attend) -> tuple[Axis, ...]:
    """The axes of a result whose places are heads to a kernel."""
    return by_rank(axis for axis in node.type.axes if axis.role == "user")


def _argument(leaf: Leaf, value: Value, found: Match) -> Argument:
    roles = {axis.role: place for place, axis in enumerate(value.axes)}
    head = roles.get("group", roles.get("head", -1))

    def place(axis: Axis) -> int:
        return value.axes.index(axis) if axis in value.axes else -1

    own = [-1 if axis == leaf.along else place(axis) for axis in _fixed(found.node)]

    along = -1 if leaf.along is None else place(leaf.along)
    key = next((axis for axis in value.axes if axis.role == "distance"), found.key)
    axes = (roles.get("batch", -1), head, *own, place(found.query), place(key))
    real = leaf.node.type.kind is Kind.REAL
    return Argument(leaf.domain, axes, along, leaf.width, real, _learns(leaf.node))


def _learns(root: Node) -> Learner:
    """What a gradient reaches through a node: weights before all, tokens before inputs."""
    found: dict[Node, set[Learner]] = {}
    for node in walk(root):
        reached = set[Learner]().union(*(found[item] for item in operands(node)))
        match node:
            case _ if node.type.kind is not Kind.REAL:
                reached = set()
            case Map(op="detach") | Param(role="buffer" | "random"):
                reached = set()
            case Param(role="input"):
                reached = {"inputs"}
            case Param(role="stream" | "argument"):
                reached = {"tokens"}
            case Param() | Linear() | Norm(affine=True) | Use():
                reached |= {"weights"}
        found[node] = reached
    order: tuple[Learner, ...] = ("weights", "tokens", "inputs")
    return next((learner for learner in order if learner in found[root]), "")
