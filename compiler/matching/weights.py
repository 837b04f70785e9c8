"""How a kernel makes weights of scores: a softmax, an expression of each score, or a quotient.

    w[i, j] = e^s[i, j] / sum_j e^s[i, j],  f(s[i, j]),  or f(s[i, j]) / g(sum_j z(s[i, j]))

A kernel takes the sums of its rows along. What other expressions read of rows, sums and softmaxes
inside of functions, comes from attends of its own: an array by query.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...dsl.core import (
    Arg,
    Attend,
    Axis,
    Kind,
    Map,
    Node,
    Param,
    Part,
    Reduce,
    Scan,
    Scores,
    Simplex,
    Type,
    map_operands,
    operands,
)
from ...dsl.elaborate.typing import const, fill, pointwise
from ..normalizer import (
    LOWEST,
    is_row_sum,
    may_be_absent,
    plain_sums,
    quotient,
    reweighted_softmax,
    softmax_argument,
    softmax_of,
    uses_scores,
)
from .refusal import Refusal


@dataclass(frozen=True)
class Prior:
    """What a softmax is multiplied with: weights e m / (of_weighed sum(e m) + of_all sum(e))."""

    node: Node
    of_weighed: float
    of_all: float


@dataclass(frozen=True)
class Divisor:
    """What the weights of a row are divided by.

    node      arithmetic of sums over the row, and of what depends on the query or the head
    sums      the leaves that stand for the sums in it, and what of each pair is summed
    guarded   whether weights are 0 where it is 0
    """

    node: Node
    sums: tuple[tuple[Param, Node], ...]
    guarded: bool


@dataclass(frozen=True)
class Weights:
    """The weights of an attend.

    node      the attend, whose normaliser reads of other attends what it has no sums for
    score     what the softmax is taken of, or the score itself
    weight    None for softmax, else the weight of a pair before it is divided
    rows      the attends that it reads of the same pairs, and whether their lse is what is read
    """

    node: Attend
    score: Node
    weight: Node | None
    prior: Prior | None = None
    divisor: Divisor | None = None
    rows: tuple[tuple[Attend, bool], ...] = ()


def weights_of(node: Attend) -> Weights | Refusal:
    """How the weights of an attend are made; why not, where a row has to be known as a whole."""
    lifting = _Lifting(node)
    normalize = lifting.quotients(plain_sums(node.normalize, node.joint))
    lifted = {item: lifting.of(item) for item in _inner(normalize, node.joint)}
    if lifting.failed is not None:
        return Refusal("its weights depend on all scores of a row", lifting.failed)
    own = replace(node, normalize=_rebuilt(normalize, lifted, {}))
    return replace(_parsed(own), rows=tuple(lifting.attends.items()))


def _inner(normalize: Node, joint: Axis) -> tuple[Node, ...]:
    """The expressions of each score that a normaliser is made of; sums inside of them are not its own."""
    found = softmax_argument(normalize) or reweighted_softmax(normalize)
    if found is not None:
        return (found[0],)
    parts = quotient(normalize, joint)
    if parts is None:
        return (normalize,)
    return (parts[0], *(item.arg for item in _sums_in(parts[1], joint)))


def _parsed(node: Attend) -> Weights:
    """The weights by a normaliser whose sums are all its own."""
    normalize, score = node.normalize, node.sources[0].score
    found = softmax_argument(normalize)
    if found is not None:
        return Weights(node, _with(found[0], {}, score), None)
    reweighted = reweighted_softmax(normalize)
    if reweighted is not None:
        arg, prior = reweighted[0], Prior(*reweighted[1:])
        return Weights(node, _with(arg, {}, score), None, prior)
    parts = quotient(normalize, node.joint)
    if parts is None:
        return Weights(node, score, _with(normalize, {}, score))
    top, bottom, guarded = parts
    sums = _sums_in(bottom, node.joint)
    leaves: dict[Node, Node] = {
        item: Param(item.type, f"total_{place}", "carry") for place, item in enumerate(sums)
    }
    of_pairs = tuple(
        (leaf, _with(item.arg, {}, score))
        for item, leaf in zip(sums, leaves.values(), strict=True)
        if isinstance(leaf, Param)
    )
    divisor = Divisor(_rebuilt(bottom, leaves, {}), of_pairs, guarded)
    return Weights(node, score, _with(top, {}, score), divisor=divisor)


def _sums_in(bottom: Node, joint: Axis) -> list[Reduce]:
    """The sums over a row that its divisor is made of, each once."""
    found: dict[Reduce, None] = {}
    stack = [bottom]
    while stack:
        node = stack.pop()
        if isinstance(node, Reduce) and is_row_sum(node, joint):
            found[node] = None
        elif uses_scores(node):
            stack.extend(reversed(list(operands(node))))
    return list(found)


class _Lifting:
    """Makes attends of their own of the sums and softmaxes of a row, read as arrays by query."""

    def __init__(self, node: Attend) -> None:
        self.node = node
        self.done: dict[Node, Node] = {}
        self.attends: dict[Attend, bool] = {}
        self.failed: Node | None = None

    def quotients(self, node: Node) -> Node:
        """A normaliser whose softmaxes are e^(z - lse) / sum(e^(z - lse)), but one that is all of it.

        The sum is 1 but for the rounding of lse, which for scores of 1e4 is a thousandth. Weights do
        not depend on lse, so that it needs no gradient.
        """
        parts = softmax_argument(node) or reweighted_softmax(node)
        if parts is None:
            return self._as_quotients(node)
        return _rebuilt(node, {parts[0]: self._as_quotients(parts[0])}, {})

    def _as_quotients(self, node: Node) -> Node:
        if isinstance(node, Scores) or not uses_scores(node):
            return node
        found, joint = softmax_argument(node), self.node.joint
        if found is None or found[1] != joint:
            return map_operands(node, self._as_quotients)
        arg = self._as_quotients(found[0])
        raised = pointwise("exp", pointwise("-", arg, self._lse(arg)))
        row = replace(raised.type, axes=raised.type.axes - {joint})
        return pointwise("safe_div", raised, Reduce(row, "sum", raised, (joint,), (), None))

    def of(self, node: Node) -> Node:
        """An expression whose only scores are those of the pair."""
        if node not in self.done:
            self.done[node] = self._made(node)
        return self.done[node]

    def _made(self, node: Node) -> Node:
        if isinstance(node, Scores) or not uses_scores(node):
            return node
        if isinstance(node, Reduce) and is_row_sum(node, self.node.joint):
            return self._sum(node)
        if isinstance(node, Reduce | Scan | Simplex):
            self.failed = node
            return node
        if isinstance(node, Map):
            return pointwise(node.op, *map(self.of, node.args))
        return map_operands(node, self.of)

    def _sum(self, node: Reduce) -> Node:
        (source,) = self.node.sources
        made = self._alike(source.score, node.arg, with_lse=False)
        return Arg(Type(Kind.REAL, made.type.axes), made)

    def _lse(self, node: Node) -> Node:
        """The log-sum-exp of expressions of a row's scores, without a gradient; of an empty row a number.

        They are the scores of the attend that has it: an lse is that of scores, whatever is made of these.
        """
        score, joint = self._scored(node), self.node.joint
        scores = Scores(Type(Kind.REAL, score.type.axes | {joint}))
        made = self._alike(score, softmax_of(scores, joint), with_lse=True)
        lse = pointwise("detach", Part(Type(Kind.REAL, made.type.axes), made, "lse"))
        return Arg(lse.type, pointwise("max", lse, const(LOWEST)))

    def _scored(self, node: Node) -> Node:
        """An expression of scores as a score, of the same pairs: those that are not there have -inf."""
        (source,) = self.node.sources
        made = _with(self.of(node), {}, source.score)
        if made is source.score or not may_be_absent(source.score):
            return made
        there = pointwise(">", source.score, const(-math.inf))
        return pointwise("where", there, made, const(-math.inf))

    def _alike(self, score: Node, normalize: Node, *, with_lse: bool) -> Attend:
        """The sum of other weights over the same pairs."""
        (source,) = self.node.sources
        whole = fill(1, frozenset({self.node.joint}), ())
        # a real of an int has at least the precision of float32
        one = Map(Type(Kind.REAL, whole.type.axes), "real", (whole,))
        given = (score, source.mask, normalize)
        axes = frozenset[Axis]().union(*(item.type.axes for item in given if item is not None))
        made = Attend(
            Type(Kind.REAL, (axes | {self.node.query}) - {self.node.joint}),
            self.node.query,
            (replace(source, score=score, value=Arg(one.type, one)),),
            self.node.joint,
            normalize,
            0.0,
            f"{self.node.name}_row",
        )
        self.attends[made] = with_lse
        return made


def _rebuilt(node: Node, parts: Mapping[Node, Node], done: dict[Node, Node]) -> Node:
    """An expression of a normaliser with some of its parts replaced."""
    if node not in done:
        if node in parts:
            made = parts[node]
        elif isinstance(node, Scores) or not uses_scores(node):
            made = node
        else:
            made = map_operands(node, lambda item: _rebuilt(item, parts, done))
        done[node] = made
    return done[node]


def _with(node: Node, done: dict[Node, Node], score: Node) -> Node:
    """An expression of the normaliser over the score itself."""
    if node not in done:
        if isinstance(node, Scores):
            made = score
        elif not uses_scores(node):
            made = node
        elif isinstance(node, Map):
            made = pointwise(node.op, *(_with(arg, done, score) for arg in node.args))
        else:
            made = map_operands(node, lambda item: _with(item, done, score))
        done[node] = made
    return done[node]
