"""Rewriting what an attend says of its pairs, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...dsl.core import Arg, Attend, Node, map_operands


def rewrite_pairs(node: Attend, rule: Callable[[Node], Node]) -> Attend:
    """An attend with every number of its pairs rewritten once, operands first."""
    done: dict[Node, Node] = {}

    def made(item: Node) -> Node:
        pairs = node.query in item.type.axes and len(item.type.tokens) > 1
        if not pairs or isinstance(item, Attend | Arg):
            return item
        if item not in done:
            done[item] = rule(map_operands(item, made))
        return done[item]

    sources = tuple(
        replace(
            source,
            mask=None if source.mask is None else made(source.mask),
            score=made(source.score),
            value=made(source.value),
        )
        for source in node.sources
    )
    return node if sources == node.sources else replace(node, sources=sources)
