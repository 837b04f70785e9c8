"""Whether the scores of an attend are products of a query part and a key part.

    s[i, j] = f[i] . g[j]

So it is where the score is made of dot products, sums and products of what depends on the query alone and on the key alone, the weights are the scores times what a row and its sum say, and the mask hides keys, rows or the future. A softmax over the past of scores of the key alone is a mean that runs along.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...dsl import sizes
from ...dsl.core import (
    Arg,
    Attend,
    Axis,
    AxisToDim,
    ConcatDims,
    Const,
    Contract,
    Kind,
    Map,
    Node,
    Position,
    Reduce,
    Reshape,
    Scores,
    Type,
    map_operands,
)
from ...dsl.elaborate.typing import const, fill, pointwise, real
from ..labels import conditions
from ..normalizer import is_softmax, uses_scores
from ..program import Program
from .refusal import Refusal, whole_rows

#: features beyond which the factors would be larger than what they save
MOST_FEATURES = 4096
ONE = const(1.0)


@dataclass(frozen=True)
class Match:
    """How an attend factors: f and g with one feature dim each, the value, who sees whom.

    past   `all`, `upto` (keys up to the query's own token) or `before`
    """

    query: Node
    key: Node
    value: Node
    past: str


@dataclass(frozen=True)
class KeySoftmax:
    """A softmax over the past of scores that depend on the key alone: a mean that runs along."""

    score: Node
    value: Node
    past: str


class _Unfit(Exception):
    def __init__(self, reason: str, node: Node) -> None:
        self.reason, self.node = reason, node
        super().__init__(reason)


def match(node: Attend, program: Program, parts: frozenset[str]) -> Match | KeySoftmax | Refusal:
    """Whether the scores of an attend factor, and nothing needs them one by one."""
    refusal = whole_rows(node, program, parts)
    if refusal is not None:
        return refusal
    source = node.sources[0]
    if is_softmax(node.normalize):
        return _match_softmax(node, program)
    if not _is_linear(node.normalize, node.joint):
        return Refusal("its weights are no multiple of its scores", node.normalize, "normalize: s")
    factors = _Factors(node.query, node.joint)
    try:
        left, right = factors.of(source.score)
        past = "all"
        for condition in conditions(source.mask):
            side = factors.side(condition)
            if side == "pair":
                past = _past(condition, node, program)
            elif side == "key":
                right = pointwise("where", _plain(condition), right, const(0.0))
            else:
                left = pointwise("where", _plain(condition), left, const(0.0))
        if node.joint not in source.value.type.axes or node.query in source.value.type.axes:
            raise _Unfit("its value is not one of the key", source.value)
    except _Unfit as error:
        return Refusal(error.reason, error.node)
    return Match(left, right, real(_plain(source.value)), past)


def _match_softmax(node: Attend, program: Program) -> KeySoftmax | Refusal:
    source = node.sources[0]
    if node.query in source.score.type.axes or node.joint not in source.score.type.axes:
        return Refusal("its weights are no multiple of its scores", node.normalize, "normalize: s")
    score, past = real(_plain(source.score)), "all"
    factors = _Factors(node.query, node.joint)
    try:
        for condition in conditions(source.mask):
            if factors.side(condition) == "pair":
                past = _past(condition, node, program)
            elif factors.side(condition) == "key":
                score = pointwise("where", _plain(condition), score, const(-math.inf))
            else:
                raise _Unfit("its mask hides whole rows", condition)
        if past == "all" or node.query in source.value.type.axes:
            raise _Unfit("its rows are all the same", source.score)
    except _Unfit as error:
        return Refusal(error.reason, error.node)
    return KeySoftmax(score, real(_plain(source.value)), past)


def _is_linear(node: Node, joint: Axis) -> bool:
    """Whether a normaliser is its scores times what depends on the row and the sum of its scores."""
    if isinstance(node, Scores):
        return True
    if not isinstance(node, Map) or node.op not in ("*", "/", "safe_div"):
        return False
    first, second = node.args
    if node.op == "*" and not uses_scores(first):
        first, second = second, first
    return _is_linear(first, joint) and _is_of_row(second, joint)


def _is_of_row(node: Node, joint: Axis) -> bool:
    if is_sum(node, joint):
        return True
    if isinstance(node, Scores) or joint in node.type.axes:
        return False
    if not uses_scores(node):
        return True
    return isinstance(node, Map) and all(_is_of_row(arg, joint) for arg in node.args)


def is_sum(node: Node, joint: Axis) -> bool:
    """The sum of the scores of a row."""
    return (
        isinstance(node, Reduce)
        and node.op == "sum"
        and isinstance(node.arg, Scores)
        and node.axes == (joint,)
        and node.where is None
    )


def _past(mask: Node, node: Attend, program: Program) -> str:
    """What a mask over pairs lets in, of the keys of the same tokens."""
    given = program.signature.given
    same = "context" not in given and "k_start" not in given
    if not same or node.joint.base not in ("context", "x") or node.query.base != "x":
        raise _Unfit("its mask is not over the queries' own tokens", mask)
    if isinstance(mask, Map) and mask.op in ("<=", "<", ">=", ">"):
        left, right = mask.args if mask.op[0] == "<" else mask.args[::-1]
        both = (left, right) if isinstance(left, Position) and isinstance(right, Position) else ()
        if [item.axis for item in both] == [node.joint, node.query]:
            return "upto" if mask.op.endswith("=") else "before"
    raise _Unfit("its mask is more than causal", mask)


def _plain(node: Node) -> Node:
    """A value outside the pair loop."""
    if isinstance(node, Arg):
        return node.value
    return map_operands(node, _plain)


class _Factors:
    """Takes a score apart into one vector of the query and one of the key."""

    def __init__(self, query: Axis, joint: Axis) -> None:
        self.query, self.joint = query, joint

    def side(self, node: Node) -> str:
        """`query`, `key` or `pair`; what depends on neither counts as the query's."""
        if self.joint not in node.type.axes:
            return "query"
        return "pair" if self.query in node.type.axes else "key"

    def of(self, node: Node) -> tuple[Node, Node]:
        """Vectors f, g with node = f . g."""
        side = self.side(node)
        if side != "pair":
            vector = _vector(real(_plain(node)))
            one = fill(1.0, frozenset(), vector.type.dims)
            return (vector, one) if side == "query" else (one, vector)
        match node:
            case Contract(left=left, right=right) if (
                len(left.type.dims) == len(right.type.dims) == len(node.left_dims) == 1
            ):
                if {self.side(left), self.side(right)} == {"query", "key"}:
                    pair = (_plain(left), _plain(right))
                    return pair if self.side(left) == "query" else pair[::-1]
            case Map(op="*", args=(left, right)):
                return self._product(left, right)
            case Map(op="/", args=(left, right)) if self.side(right) != "pair":
                return self._product(left, right, "/")
            case Map(op="neg", args=(arg,)):
                return self._product(arg, const(-1.0))
            case Map(op="+" | "-" as op, args=(left, right)):
                other = right if op == "+" else pointwise("*", right, const(-1.0))
                pairs = self.of(left), self.of(other)
                made = tuple(joined(*sides) for sides in zip(*pairs, strict=True))
                return made[0], made[1]
            case Map(op="**", args=(left, Const(value=2 | 2.0))):
                return self._product(left, left)
            case Reduce(op="sum", arg=arg, axes=axes, dims=(), where=None):
                return self._summed(arg, axes)
        raise _Unfit("its score does not factor into a part of the query and one of the key", node)

    def _product(self, left: Node, right: Node, op: str = "*") -> tuple[Node, Node]:
        """A product of two parts, or a division by one that is no pair."""
        for one, other in ((right, left), (left, right)):
            side = self.side(one)
            if side != "pair":
                query, key = self.of(other)
                factor = real(_plain(one))
                if side == "query":
                    return pointwise(op, query, factor), key
                return query, pointwise(op, key, factor)
        (a, c), (b, d) = self.of(left), self.of(right)
        return _crossed(a, b), _crossed(c, d)

    def _summed(self, arg: Node, axes: tuple[Axis, ...]) -> tuple[Node, Node]:
        """A sum over axes of static size: they become features."""
        if {self.query, self.joint} & set(axes) or any(axis.size is None for axis in axes):
            raise _Unfit("its score is a sum over tokens", arg)
        query, key = self.of(arg)
        for axis in axes:
            query, key = _as_feature(query, axis), _as_feature(key, axis)
        return query, key


def _vector(node: Node) -> Node:
    """A number as a vector of one."""
    if len(node.type.dims) == 1:
        return node
    if node.type.dims:
        raise _Unfit("its score has feature dims", node)
    return pointwise("*", node, fill(1.0, frozenset(), (sizes.constant(1),)))


def _as_feature(node: Node, axis: Axis) -> Node:
    assert axis.size is not None
    width = axis.size * node.type.dims[0]
    if axis not in node.type.axes:
        node = pointwise("*", node, fill(1.0, frozenset({axis}), ()))
    axes = node.type.axes - {axis}
    moved = AxisToDim(Type(Kind.REAL, axes, (axis.size, *node.type.dims)), node, axis)
    return Reshape(Type(Kind.REAL, axes, (width,)), moved)


def joined(left: Node, right: Node) -> Node:
    width = left.type.dims[0] + right.type.dims[0]
    _check_width(width, left)
    return ConcatDims(Type(Kind.REAL, left.type.axes | right.type.axes, (width,)), (left, right))


def _crossed(left: Node, right: Node) -> Node:
    (a,), (b,) = left.type.dims, right.type.dims
    _check_width(a * b, left)
    axes = left.type.axes | right.type.axes
    product = Contract(Type(Kind.REAL, axes, (a, b)), left, right, (), ())
    return Reshape(Type(Kind.REAL, axes, (a * b,)), product)


def _check_width(width: sizes.Size, node: Node) -> None:
    if width.value > MOST_FEATURES:
        raise _Unfit(f"its score has {width.value} features when taken apart", node)
