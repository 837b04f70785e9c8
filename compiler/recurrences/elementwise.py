"""Carries that are linear element by element, or the largest of what came so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...dsl.core import Const, Kind, Map, Node, Param
from ...dsl.elaborate.typing import const, pointwise
from .forms import Elementwise, carry_in

ONE = const(1.0)


@dataclass(frozen=True)
class _Affine:
    """scale * h + shift; None stands for 1 and for 0."""

    scale: Node | None
    shift: Node | None


def elementwise(
    name: str, bodies: Mapping[str, Node], yields: tuple[Node, ...], others: frozenset[str]
) -> Elementwise | None:
    body = bodies[name]
    own = frozenset({name})
    found_in = (carry_in(item, own) for item in (*bodies.values(), *yields))
    carry = next((item for item in found_in if item is not None), None)
    if carry is None or carry_in(body, others) or body.type.kind is not Kind.REAL:
        return None
    found = _affine(body, carry, {})
    if found is not None:
        return Elementwise(name, carry, found.scale, found.shift or const(0.0))
    top = _largest(body, carry)
    if top is None or top.shift is None:
        return None
    return Elementwise(name, carry, top.scale, top.shift, largest=True)


def _largest(node: Node, carry: Param) -> _Affine | None:
    """node as max(scale + carry, shift), or None; scale None: 0, shift None: -inf."""
    if node is carry:
        return _Affine(None, None)
    if not isinstance(node, Map) or carry_in(node, frozenset({carry.name})) is None:
        return None
    if node.op not in ("+", "-", "max") or len(node.args) != 2:
        return None
    left, right = node.args
    if node.op != "-" and carry_in(left, frozenset({carry.name})) is None:
        left, right = right, left
    found = _largest(left, carry)
    if found is None or carry_in(right, frozenset({carry.name})) is not None:
        return None
    if node.op == "max":
        shift = right if found.shift is None else pointwise("max", found.shift, right)
        return _Affine(found.scale, shift)
    scale = pointwise(node.op, found.scale or const(0.0), right)
    return _Affine(scale, None if found.shift is None else pointwise(node.op, found.shift, right))


def _affine(node: Node, carry: Param, memo: dict[Node, _Affine | None]) -> _Affine | None:
    """node as scale * carry + shift, or None."""
    if node not in memo:
        memo[node] = _affine_of(node, carry, memo)
    return memo[node]


def _affine_of(node: Node, carry: Param, memo: dict[Node, _Affine | None]) -> _Affine | None:
    if node is carry:
        return _Affine(None, None)
    if carry_in(node, frozenset({carry.name})) is None:
        return _Affine(const(0.0), node)
    if not isinstance(node, Map):
        return None
    if node.op == "where":
        return _affine_where(node, carry, memo)
    args = [_affine(arg, carry, memo) for arg in node.args]
    if any(arg is None for arg in args):
        return None
    match node.op, args:
        case "neg", [_Affine() as one]:
            return _scaled_affine(one, const(-1.0))
        case "+", [_Affine() as left, _Affine() as right]:
            return _added_affine(left, right)
        case "-", [_Affine() as left, _Affine() as right]:
            return _added_affine(left, _scaled_affine(right, const(-1.0)))
        case "*", [_Affine() as left, _Affine() as right]:
            if _is_zero(left.scale) and left.shift is not None:
                return _scaled_affine(right, left.shift)
            if _is_zero(right.scale) and right.shift is not None:
                return _scaled_affine(left, right.shift)
        case "/", [_Affine() as left, _Affine() as right] if _is_zero(right.scale):
            return _scaled_affine(left, pointwise("/", ONE, right.shift or const(0.0)))
    return None


def _affine_where(node: Map, carry: Param, memo: dict[Node, _Affine | None]) -> _Affine | None:
    test, *branches = node.args
    if carry_in(test, frozenset({carry.name})) is not None:
        return None
    left, right = (_affine(branch, carry, memo) for branch in branches)
    if left is None or right is None:
        return None
    scale = pointwise("where", test, left.scale or ONE, right.scale or ONE)
    nothing = const(0.0)
    return _Affine(scale, pointwise("where", test, left.shift or nothing, right.shift or nothing))


def _is_zero(node: Node | None) -> bool:
    return isinstance(node, Const) and node.value == 0


def _scaled_affine(item: _Affine, factor: Node) -> _Affine:
    shift = None if item.shift is None else pointwise("*", item.shift, factor)
    if _is_zero(item.scale):
        return _Affine(item.scale, shift)
    return _Affine(factor if item.scale is None else pointwise("*", item.scale, factor), shift)


def _added_affine(left: _Affine, right: _Affine) -> _Affine:
    if left.shift is None or right.shift is None:
        shift = left.shift or right.shift
    else:
        shift = pointwise("+", left.shift, right.shift)
    if _is_zero(left.scale):
        return _Affine(right.scale, shift)
    if _is_zero(right.scale):
        return _Affine(left.scale, shift)
    return _Affine(pointwise("+", left.scale or ONE, right.scale or ONE), shift)
