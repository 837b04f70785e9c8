"""The log-sum-exp of scores from an attend of its own, where weights are no softmax of them.

Before: `y: relu(s)` of which `y.lse` is read, too
After:  `y: relu(s)`, and `z: softmax(s, j)` with values of 1 over the same pairs, of which `z.lse` is read

For calls that take generated kernels only: these know of a row what its weights are made of.
"""

from __future__ import annotations

from dataclasses import replace

from ...dsl.core import Attend, Kind, Map, Node, Part, Scores, Type
from ...dsl.elaborate.typing import fill
from ..normalizer import is_softmax, softmax_of
from ..program import Program, rewrite
from .merging import lse_of


def split_lse(program: Program) -> Program:
    """Log-sum-exps of softmaxes alone."""
    return rewrite(program, _rule) if program.signature.fused else program


def _rule(node: Node) -> Node:
    if not isinstance(node, Part) or node.part != "lse":
        return node
    attend = node.attend
    assert isinstance(attend, Attend)
    if is_softmax(attend.normalize) or len(attend.sources) != 1:
        return node
    return lse_of(ones(attend))


def ones(node: Attend) -> Attend:
    """The sum of the softmax of the scores of an attend, over the same pairs."""
    (source,) = node.sources
    whole = fill(1, frozenset(source.axes), ())
    one = Map(Type(Kind.REAL, whole.type.axes), "real", (whole,))
    given = [source.score, *([] if source.mask is None else [source.mask])]
    by_example = frozenset(axis for axis in node.type.axes if axis.role == "batch")
    axes = by_example.union(*(item.type.axes for item in given))
    scores = Scores(Type(Kind.REAL, axes | {node.query, node.joint}))
    return replace(
        node,
        type=Type(Kind.REAL, (axes | {node.query}) - {*source.axes}),
        sources=(replace(source, value=one),),
        normalize=softmax_of(scores, node.joint),
        dropout=0.0,
        name=f"{node.name}_lse",
    )
