"""Keys over a product of axes as keys over one axis.

Before: `attend x -> rows*w`, mask `i // 64 == (64 * rows + w) // 64`
After:  `attend x -> f`, rows = f // 64 and w = f % 64, mask `i // 64 == f // 64`

For long calls only: tiles take the keys of a source along one axis.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ...dsl.core import (
    Attend,
    AttendSource,
    Axis,
    ConcatDims,
    Contract,
    Linear,
    Map,
    Node,
    Norm,
    Read,
    ReadDim,
    Reduce,
    Reshape,
    Transpose,
    map_operands,
)
from ...dsl.elaborate.typing import const, pointwise
from ...dsl.substitution import place, substitute
from ...dsl.typed import TokenSet
from ..program import Program, parts_read, rewrite


def join_products(program: Program) -> Program:
    """Every source over the tokens of a product, but those of attends whose pairs are read."""
    if not program.signature.long:
        return program
    read = {attend for attend, parts in parts_read(program).items() if parts != {"lse"}}
    made: dict[str, TokenSet] = {}
    joined = rewrite(program, lambda node: _rule(node, program, made), keep=read)
    if not made:
        return program
    return replace(joined, spec=replace(program.spec, sets={**program.spec.sets, **made}))


def _rule(node: Node, program: Program, made: dict[str, TokenSet]) -> Node:
    if not isinstance(node, Attend) or node.dropout:
        return node  # dropout is drawn by the places of a pair
    sources = tuple(
        _joined(source, node.query, program, made) if _is_product(source) else source
        for source in node.sources
    )
    return node if sources == node.sources else replace(node, sources=sources)


def _is_product(source: AttendSource) -> bool:
    """Whether the keys are over one axis of the call and others of static size."""
    open_axes = [axis for axis in source.axes if axis.size is None]
    return source.at is None and len(source.axes) > 1 and len(open_axes) == 1


def _joined(
    source: AttendSource, query: Axis, program: Program, made: dict[str, TokenSet]
) -> AttendSource:
    """The source with its axes, outermost first, read at the digits of a place along one axis."""
    axis = _axis_for(source.axes, program, made)
    digits: dict[Axis, Node] = {}
    rest: Node = place(axis)
    for factor in reversed(source.axes):
        if factor == source.axes[0]:
            digits[factor] = rest
        else:
            size = _count(factor, program)
            digits[factor] = pointwise("%", rest, size)
            rest = pointwise("//", rest, size)

    done: dict[Node, Node] = {}
    mask, score, value = (
        None if item is None else _moved(item, query, digits, done)
        for item in (source.mask, source.score, source.value)
    )
    assert score is not None
    assert value is not None
    return AttendSource((axis,), mask, None, score, value)


def _moved(node: Node, query: Axis, digits: dict[Axis, Node], done: dict[Node, Node]) -> Node:
    """A value at the digits; of pairs its operands, so that what is of the keys alone is read."""
    if node in done:
        return done[node]
    factors = node.type.axes & digits.keys()
    if not factors:
        made = node
    elif query in node.type.axes and _is_by_place(node, digits):
        bound = node.axes if isinstance(node, Reduce) else ()
        free = {factor: digit for factor, digit in digits.items() if factor not in bound}
        inside = done if len(free) == len(digits) else {}
        inner = map_operands(node, lambda item: _moved(item, query, free, inside))
        (axis,) = {axis for digit in digits.values() for axis in digit.type.axes}
        made = replace(inner, type=replace(node.type, axes=(node.type.axes - factors) | {axis}))
    else:
        made = node
        for factor in sorted(factors, key=lambda axis: axis.rank):
            made = substitute(made, factor, digits[factor])
    done[node] = made
    return made


def _is_by_place(node: Node, factors: Collection[Axis]) -> bool:
    """Whether a value at one place depends on its operands at that place, but where a reduction binds it."""
    match node:
        case Map() | Contract() | ReadDim() | ConcatDims() | Reshape() | Transpose():
            return True
        case Linear() | Norm() | Reduce():
            return True
        case Read(axis=axis):
            return axis not in factors
    return False


def _axis_for(axes: tuple[Axis, ...], program: Program, made: dict[str, TokenSet]) -> Axis:
    """The axis of a product, as one more set of tokens of the program."""
    name = "*".join(axis.name for axis in axes)
    if name not in made:
        count: Node = const(1)
        for factor in axes:
            count = pointwise("*", count, _count(factor, program))
        rank = max(factor.rank for factor in axes)
        made[name] = TokenSet(name, (Axis(name, "token", rank, None, name),), count=count)
    return made[name].axis


def _count(axis: Axis, program: Program) -> Node:
    """How many places an axis has."""
    if axis.size is not None:
        return const(axis.size.value)
    count = program.spec.sets[axis.base].count
    assert count is not None
    return count
