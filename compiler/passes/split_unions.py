"""Split a softmax over a union of patterns that want different orders of tokens.

Before: `mask: near or far`, far with `i % 128 == j % 128`
After:  one attend for `near`, one for `far and not near`, merged by their log-sum-exps

For long calls only: tiles put the tokens of each attend into the order in which its mask is made of whole blocks, and no one order does that for a window and for a stride.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

from ...dsl.core import (
    Attend,
    Axis,
    Const,
    KvHead,
    Map,
    Node,
    Read,
    Reduce,
    Top,
)
from ...dsl.elaborate.typing import const, pointwise
from ..labels import conditions, labels_of
from ..normalizer import is_softmax
from ..program import Program, parts_read, rewrite
from .merging import merged, part_of
from .unroll import at_place

#: terms beyond which a mask is left as it is
MOST_TERMS = 32


def split_unions(program: Program) -> Program:
    """Attends over unions of patterns as one attend for each order of tokens."""
    if not program.signature.long:
        return program
    return rewrite(program, _split, keep=parts_read(program))


def _split(node: Node) -> Node:
    if not isinstance(node, Attend):
        return node
    if not is_softmax(node.normalize):
        return node
    if any(source.at is not None or len(source.axes) != 1 for source in node.sources):
        return node
    groups = [_groups(source.mask, node.query, source.axes[0]) for source in node.sources]
    if all(len(masks) < 2 for masks in groups):
        return node
    parts = [
        part_of(node, replace(source, mask=mask))
        for source, masks in zip(node.sources, groups, strict=True)
        for mask in _disjoint(masks or [source.mask])
    ]
    return merged(parts)


def _disjoint(masks: Sequence[Node | None]) -> Iterator[Node | None]:
    """Each mask without what the ones before it let in."""
    before: list[Node] = []
    for mask in masks:
        if mask is None:
            yield None
            continue
        without = [_without(mask, other) for other in before]
        yield reduce(partial(pointwise, "and"), dict.fromkeys(without[::-1]), mask)
        before.append(mask)


def _without(mask: Node, other: Node) -> Node:
    """What holds of the pairs of a mask that another one does not let in.

    Two picks of one choice differ, unless both are missing: these are -1 and come last.
    """
    picks = {pick.key: pick for pick in _picks(other)}
    for own in _picks(mask):
        earlier = picks.get(own.key)
        if earlier is not None and earlier.place < own.place:
            return pointwise(">=", earlier.node, const(0))
    return pointwise("not", other)


@dataclass(frozen=True)
class _Pick:
    """A condition `best[place] == label` on the picks of one `top`."""

    node: Node
    choice: Node
    label: Node
    place: int

    @property
    def key(self) -> tuple[Node, Node]:
        """Equal for picks of one choice that are compared with the same label."""
        return self.choice, self.label


def _picks(mask: Node) -> Iterator[_Pick]:
    for condition in conditions(mask):
        if not isinstance(condition, Map) or condition.op != "==":
            continue
        for node, label in (condition.args, condition.args[::-1]):
            match node:
                case Read(arg=choice, index=Const(value=int() as place)):
                    if node.axis == _picked_along(choice):
                        yield _Pick(node, choice, label, place)


def _picked_along(node: Node) -> Axis | None:
    """The axis along which the picks of a `top` differ, also of those of the group of a head."""
    while isinstance(node, Read) and isinstance(node.index, KvHead):
        node = node.arg
    return node.made if isinstance(node, Top) else None


def _groups(mask: Node | None, query: Axis, key: Axis) -> list[Node]:
    """The terms of a union, those together that want the same order of tokens."""
    terms = None if mask is None else _terms(mask)
    if terms is None or len(terms) < 2:
        return []
    by_order: dict[object, Node] = {}
    for term in terms:
        order = labels_of(term, query, key).key
        known = by_order.get(order)
        by_order[order] = term if known is None else pointwise("or", known, term)
    return list(by_order.values())


def _terms(node: Node) -> list[Node] | None:
    """A mask as a union of conjunctions; None where there would be too many."""
    if isinstance(node, Reduce):
        return _over_axis(node)
    if not isinstance(node, Map):
        return [node]
    match node.op, node.args:
        case "or", args:
            parts = [_terms(arg) for arg in args]
            made = [term for part in parts if part is not None for term in part]
            return made if None not in parts and len(made) <= MOST_TERMS else None
        case "and", (left, right):
            return _both(_terms(left), _terms(right))
        case "where", (test, yes, no):
            sides = _both([test], _terms(yes)), _both([pointwise("not", test)], _terms(no))
            if sides[0] is None or sides[1] is None:
                return None
            return [*sides[0], *sides[1]]
    return [node]


def _over_axis(node: Reduce) -> list[Node] | None:
    """any(p, over=axis) -> p at every place of an axis of static size."""
    if node.op != "any" or len(node.axes) != 1 or node.dims or node.where is not None:
        return [node]
    (axis,) = node.axes
    if axis.size is None or axis.size.value > MOST_TERMS or axis not in node.arg.type.axes:
        return [node]
    return [at_place(node.arg, axis, place) for place in range(axis.size.value)]


def _both(left: list[Node] | None, right: list[Node] | None) -> list[Node] | None:
    if left is None or right is None or len(left) * len(right) > MOST_TERMS:
        return None
    return [pointwise("and", a, b) for a in left for b in right]
