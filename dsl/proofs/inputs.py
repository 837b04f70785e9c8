"""What is known of inputs, whatever they hold: legal values, and that equal tokens have equal ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..core import Axis, Kind, Node, Param, walk
from ..predicates import read_at
from ..substitution import number, place, pointwise
from ..typed import InputInfo
from .unpadded import both, implied

MOST_FACTS = 12


def data_facts(nodes: Sequence[Node], inputs: Mapping[str, InputInfo]) -> list[Node]:
    """What is known of inputs: legal values; equal elements where they are read at equal tokens."""
    found: dict[str, list[tuple[Node, Node]]] = {}
    facts: list[Node] = []
    for node in walk(*nodes):
        foot, places = read_at(node)
        if not isinstance(foot, Param) or foot.role != "input" or foot.name not in inputs:
            continue
        if foot.type.kind is Kind.REAL or foot.type.dims:
            continue
        facts += _legal(node, inputs[foot.name])
        axes = _tokens(foot)
        if len(axes) != 1:
            continue
        index = places.get(axes[0], place(axes[0]))
        known = found.setdefault(foot.name, [])
        for other, at in known:
            same = pointwise("==", node, other)
            facts.append(implied(pointwise("==", index, at), same))
        known.append((node, index))
    return facts[:MOST_FACTS]


def _tokens(node: Node) -> list[Axis]:
    return [axis for axis in node.type.axes if axis.role != "batch"]


def _legal(node: Node, info: InputInfo) -> list[Node]:
    if info.bounds is None or node.type.kind is not Kind.INT:
        return []
    low, high = info.bounds
    low_met = pointwise("<=", number(low), node)
    # What is read beyond the last token is 0, which may lie outside.
    within = both(low_met, pointwise("<=", node, number(high)))
    return [
        within if isinstance(node, Param) else implied(pointwise("!=", node, number(0)), within)
    ]
