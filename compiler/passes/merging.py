"""A softmax over several sets of keys as one softmax over each, merged by their log-sum-exps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...dsl.core import Attend, AttendSource, Kind, Node, Part, Scores, Type
from ...dsl.elaborate.typing import const, pointwise
from ..normalizer import LOWEST, softmax_of


def part_of(node: Attend, source: AttendSource) -> tuple[Node, Node]:
    """The softmax over the keys of one source alone, and its lse."""
    (axis,) = source.axes
    pairs = Type(Kind.REAL, source.score.type.axes | {node.query, axis})
    normalize = softmax_of(Scores(pairs), axis)
    own = replace(node, sources=(source,), joint=axis, normalize=normalize)
    return own, lse_of(own)


def lse_of(node: Attend) -> Node:
    """The log-sum-exp of every row."""
    return Part(Type(Kind.REAL, node.type.axes), node, "lse")


def merged(parts: Sequence[tuple[Node, Node]]) -> Node:
    """sum_p exp(lse_p - m) o_p / sum_p exp(lse_p - m), m the largest lse."""
    largest: Node = const(LOWEST)
    for _, lse in parts:
        largest = pointwise("max", largest, lse)
    total: Node = const(0.0)
    value: Node = const(0.0)
    for result, lse in parts:
        share = pointwise("exp", pointwise("-", lse, largest))
        total = pointwise("+", total, share)
        value = pointwise("+", value, pointwise("*", share, result))
    return pointwise("safe_div", value, total)
