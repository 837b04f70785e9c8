"""What keeps a softmax from a fused kernel, taken out of it: other sources, and a sink.

Before: one softmax over several sets of keys
After:  one for each set with a mask, and one for the lists together, merged by their log-sum-exps

Before: exp(s - m) / (sum exp(s - m) + c exp(sink - m))
After:  softmax(s), its result times 1 / (1 + c exp(sink - lse))

For calls that take generated kernels only.
"""

from __future__ import annotations

from dataclasses import replace

from ...dsl.core import Attend, Node, Scores, walk
from ...dsl.elaborate.typing import const, pointwise
from ..normalizer import is_softmax, sink_of, softmax_of
from ..program import Program, parts_read, rewrite
from .merging import lse_of, merged, part_of

#: exp of it is a float
FARTHEST = 80.0


def split_sources(program: Program) -> Program:
    """Attends over several sets of keys, or with a sink, in terms of plain ones."""
    if not program.signature.fused:
        return program
    return rewrite(program, _rule, keep=parts_read(program))


def _rule(node: Node) -> Node:
    if not isinstance(node, Attend) or node.dropout:
        return node  # dropout is drawn by the places of a pair
    if len(node.sources) == 1:
        return _without_sink(node)
    if not is_softmax(node.normalize):
        return node
    plain = [source for source in node.sources if source.at is None and len(source.axes) == 1]
    if len({source.axes for source in plain}) < len(plain) or not plain:
        return node
    rest = tuple(source for source in node.sources if source not in plain)
    parts = [part_of(node, source) for source in plain]
    if rest:
        own = replace(node, sources=rest)
        parts.append((own, lse_of(own)))
    return merged(parts)


def _without_sink(node: Attend) -> Node:
    found = sink_of(node.normalize)
    if found is None or node.sources[0].at is not None:
        return node
    axis, sink, count = found
    scores = next(item for item in walk(node.normalize) if isinstance(item, Scores))
    own = replace(node, normalize=softmax_of(scores, axis))
    # not a sigmoid, whose derivative torch takes from 1 - sigmoid; bounded where lse is -inf
    gap = pointwise("min", pointwise("-", sink, lse_of(own)), const(FARTHEST))
    whole = pointwise("+", const(1.0), pointwise("*", count, pointwise("exp", gap)))
    return pointwise("/", own, whole)
