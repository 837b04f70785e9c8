"""What depends on a pair through one number alone: the difference of its places, or their sum.

A value has a weight: how much it grows when query and key move on by one (for sums: the key back by one). Of weight 0 is what does not change, so a truth value of weight 0 is known from its values along one line of pairs.
"""

from __future__ import annotations

from ...dsl.core import Arg, Axis, Const, Index, Kind, Map, Node, Position, Reduce, walk

#: numbers beyond which sums of positions might not fit into 64 bits
LARGEST = 1 << 31


def is_invariant(node: Node, query: Axis, key: Axis, sign: int) -> bool:
    """Whether a truth value is the same at (i, j) and at (i + t, j + sign * t), for every t."""
    return _weight(node, query, key, sign, {}) == 0


def _weight(
    node: Node, query: Axis, key: Axis, sign: int, memo: dict[Node, int | None]
) -> int | None:
    """How much a value grows by a step; None where that is not the same everywhere."""
    if node not in memo:
        memo[node] = _found(node, query, key, sign, memo)
    return memo[node]


def _found(
    node: Node, query: Axis, key: Axis, sign: int, memo: dict[Node, int | None]
) -> int | None:
    if not {query, key} & node.type.axes:
        return 0 if _is_small(node) else None
    match node:
        case Arg(value=value):
            return _weight(value, query, key, sign, memo)
        case Position(axis=axis) | Index(axis=axis):
            return 1 if axis == query else sign
        case Reduce(op="any" | "all", arg=arg, where=None):
            return 0 if _weight(arg, query, key, sign, memo) == 0 else None
        case Map(op="==" | "!=", args=(left, right)) if _have_one_divisor(left, right):
            # a % m == b % m stays as it is when a and b grow alike
            grown = [_weight(_opened(a).args[0], query, key, sign, memo) for a in (left, right)]  # type: ignore[attr-defined]
            return 0 if grown[0] is not None and grown[0] == grown[1] else None
        case Map():
            weights = [_weight(arg, query, key, sign, memo) for arg in node.args]
            known = [weight for weight in weights if weight is not None]
            if len(known) == len(weights):
                found = _of_operator(node, known)
                return found if found is not None and abs(found) < LARGEST else None
            return None
    return None


def _is_small(node: Node) -> bool:
    """Whether every whole number in it is far from where 64 bits end."""
    numbers = (item.value for item in walk(node) if isinstance(item, Const))
    return all(isinstance(value, float) or abs(value) < LARGEST for value in numbers)


def _of_operator(node: Map, weights: list[int]) -> int | None:
    if node.type.kind is not Kind.REAL and all(a.type.kind is not Kind.REAL for a in node.args):
        match node.op, weights:
            case "+", [left, right]:
                return left + right
            case "-", [left, right]:
                return left - right
            case "neg", [weight]:
                return -weight
            case "*", [left, right]:
                return _product(node, left, right)
            case "as_ref" | "detach", [weight]:
                return weight
            case "min" | "max", [left, right] if left == right:
                return left
            case "where", [0, left, right] if left == right:
                return left
            case "<" | "<=" | ">" | ">=" | "==" | "!=", [left, right] if left == right:
                return 0
    return None if any(weights) else 0


def _product(node: Map, left: int, right: int) -> int | None:
    """A value times a fixed number grows that many times as much."""
    if not left and not right:
        return 0
    factor, weight = node.args[0], right
    if right == 0:
        factor, weight = node.args[1], left
    if isinstance(factor, Const) and type(factor.value) is int:
        return weight * factor.value
    return None


def _have_one_divisor(left: Node, right: Node) -> bool:
    """Whether both are remainders of whole numbers by the same number, the same for all tokens."""
    sides = [_opened(left), _opened(right)]
    divisors = [
        _opened(side.args[1])
        for side in sides
        if isinstance(side, Map) and side.op == "%" and side.type.kind is Kind.INT
    ]
    same = len(divisors) == 2 and divisors[0] is divisors[1]
    return same and not divisors[0].type.tokens


def _opened(node: Node) -> Node:
    while isinstance(node, Arg):
        node = node.value
    return node
