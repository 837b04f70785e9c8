"""Reading fields: at the tokens of an attend, at refs through chains of choices, along dims."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..core import Axis, Index, Length, Node, Position, ReadDim, Type, walk
from ..intervals import bounds
from ..source import Span
from ..syntax import Expr
from ..typed import TokenSet
from .typing import as_ref, read, union, with_heads
from .values import Env, Poisoned, Token

if TYPE_CHECKING:
    from .spec import Elaborator


def position_of(e: Elaborator, token: Token, expr: Expr, env: Env) -> Node:
    """The position of a token; slots have none."""
    if token.set.position is None:
        raise e.fail(
            "ATT517",
            f"tokens of `{token.set.name}` have no position",
            expr.span,
            env,
            "use slot(..), the place in the set",
        )
    return at_token(token.set.position, token)


def at_token(field: Node, token: Token) -> Node:
    """A field over the set of a token, read at the token."""
    if len(token.set.axes) != 1 or token.set.axis not in field.type.axes:
        return field
    return read_axis(field, token.set.axis, token.ref)


def read_axis(field: Node, axis: Axis, ref: Node) -> Node:
    """read, where reading at the axis' own index is the field itself."""
    if isinstance(ref, Index) and ref.axis == axis:
        return field
    if isinstance(field, Index) and field.axis == axis:
        return ref
    arg, index = with_heads((field, ref)) if axis.role != "group" else (field, ref)
    return read(arg, axis, index)


def flat_sources(e: Elaborator, token_set: TokenSet) -> list[tuple[Axis, Node]]:
    """The refs to every axis that a set was chosen from, through chains of choices."""
    found: list[tuple[Axis, Node]] = []
    for axis, ref in token_set.sources:
        found.append((axis, ref))
        origin = e.set_of_axis(axis)
        if origin is not None:
            for deeper, inner in flat_sources(e, origin):
                found.append((deeper, read_axis(inner, axis, ref)))
    return found


def adapt(
    e: Elaborator, node: Node, env: Env, done: frozenset[Axis], span: Span, name: str
) -> Node:
    """A field as it is seen from a pair: read at i or j, unless an index has said where."""
    if env.query is None:
        return node
    for axis in node.type.tokens:
        if axis not in done:
            node = _adapt_axis(e, node, axis, env, span, name)
    return node


def _adapt_axis(e: Elaborator, node: Node, axis: Axis, env: Env, span: Span, name: str) -> Node:
    query, key = env.query, env.key
    assert query is not None
    own = axis in query.axes
    other = key is not None and axis in key.axes
    if key is None or (own and not other):
        own_source = dict(flat_sources(e, query)).get(axis)
        return node if own or own_source is None else read_axis(node, axis, own_source)
    assert env.key_ref is not None
    sides = [side for side, hit in (("i", own), ("j", other)) if hit]
    by_query = None if own else dict(flat_sources(e, query)).get(axis)
    by_key = None if other else dict(flat_sources(e, key)).get(axis)
    sides += ["i"] if by_query is not None else []
    sides += ["j"] if by_key is not None else []
    if len(sides) == 2 and not (other and not own and env.listed):
        raise e.fail(
            "ATT504",
            f"`{name}` can be read at the query or at the key",
            span,
            env,
            f"write `{name}[i]` or `{name}[j]`",
        )
    if other and env.listed:
        return read_axis(node, axis, env.key_ref)
    if by_query is not None:
        return read_axis(node, axis, by_query)
    if by_key is not None:
        return read_axis(node, axis, at_token(by_key, Token(key, env.key_ref)))
    return node


def reach(e: Elaborator, base: Node, axis: Axis, ref: Node) -> Node | None:
    """base read at a ref into `axis`, directly or through what the set was chosen from."""
    if axis in base.type.axes:
        return read_axis(base, axis, ref)
    x, context = e.sets["x"].axis, e.sets["context"].axis
    if e.spec.same_context and {axis, x, context} == {x, context}:
        twin = x if axis == context else context
        if twin in base.type.axes:
            return read_axis(base, twin, as_ref(ref, twin))
    origin = e.set_of_axis(axis)
    if origin is None:
        return None
    hit = False
    for source, inner in flat_sources(e, origin):
        if source in base.type.axes:
            base, hit = read_axis(base, source, read_axis(inner, axis, ref)), True
    return base if hit else None


def not_over(e: Elaborator, base: Node, token: Token, index: Expr, name: str, env: Env) -> Poisoned:
    """A field read at a token of a set that it is not over."""
    twins = {axis.name for axis in base.type.tokens} | {token.set.name}
    help = "an int reads the first feature dim: clip(i, 0, n - 1) makes one"
    if twins == {"x", "context"}:
        help = "declare `context: same` if the keys are the queries' own tokens"
    message = f"{base.type} is not over `{token.set.name}`"
    return e.fail("ATT506", message, index.span, env, help, e.declared((name,)))


def read_plain(e: Elaborator, base: Node, index: Node, expr: Expr, env: Env) -> Node:
    """base read at an int, which must stay inside its first feature dim."""
    if not base.type.dims:
        where = f"axis `{index.type.ref}`" if index.type.ref else "feature dim"
        raise e.fail(
            "ATT506",
            f"{base.type} has no {where} to read",
            expr.span,
            env,
            "an index is a ref into an axis of the field, or an int into its first feature dim",
        )
    low, high = bounds(index, e.spec)
    size = base.type.dims[0].value
    if low < 0 or (high >= size and not _bounded_by_length(index)):
        raise e.fail(
            "ATT507",
            f"the index may leave 0 .. {size - 1}: {_shown(low, high)}",
            expr.span,
            env,
            f"clip it: clip(.., 0, {size - 1})",
        )
    arg, ref = with_heads((base, index))
    dims = ref.type.dims + arg.type.dims[1:]
    return ReadDim(Type(arg.type.kind, union((arg, ref)), dims), arg, ref)


def _bounded_by_length(index: Node) -> bool:
    """Whether an index is only as large as the sequence, which is checked at run time."""
    return any(
        isinstance(node, Index | Position | Length) and _sizeless(node) for node in walk(index)
    )


def _sizeless(node: Node) -> bool:
    axis = getattr(node, "axis", None)
    return isinstance(axis, Axis) and axis.size is None


def _shown(low: float, high: float) -> str:
    if low == high:
        return f"it is {low:g}"
    if math.isinf(low):
        return "nothing bounds it" if math.isinf(high) else f"it is at most {high:g}"
    return f"it is at least {low:g}" if math.isinf(high) else f"it lies in {low:g} .. {high:g}"
