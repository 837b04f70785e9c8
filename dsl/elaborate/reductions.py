"""Reductions over axes, feature dims and windows of tokens, and what else runs along an axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import syntax
from ..core import Axis, Kind, Node, Reduce, Scan, Segment, Simplex, Type, Valid
from ..typed import TokenSet
from .arguments import Arguments
from .expressions import node_of
from .pointwise import function_of
from .tokens import index, members
from .typing import TypeMistake, as_ref, const, fill, pointwise, real, union, with_heads
from .values import Value

if TYPE_CHECKING:
    from .spec import Elaborator


@dataclass(frozen=True)
class Over:
    """What a reduction runs over: index axes, feature dims, and windows of tokens."""

    axes: tuple[Axis, ...]
    dims: tuple[int, ...]
    windows: TokenSet | None


def over(a: Arguments, arg: Node) -> Over:
    """The target of `over=`: axes, token sets, named dims, `first`, `last`, sets of windows."""
    expr = a.get("over")
    if expr is None:
        return Over((), tuple(range(len(arg.type.dims))), None)
    items = expr.items if isinstance(expr, syntax.List) else (expr,)
    axes: list[Axis] = []
    dims: list[int] = []
    windows: TokenSet | None = None
    for item in items:
        found = a.e.axes_of(item, a.env, arg)
        if isinstance(found, TokenSet):
            windows = found
        elif isinstance(found, int):
            dims.append(found)
        else:
            axes.extend(axis for axis in found if axis not in axes)
    for axis in axes:
        if axis not in arg.type.axes and not (a.get("where") or axis.role == "joint"):
            raise a.e.fail(
                "ATT505",
                f"{arg.type} has no axis `{axis}`",
                expr.span,
                a.env,
                "a reduction runs over an axis or feature dim of its argument",
            )
    return Over(tuple(axes), tuple(dims), windows)


def reduction(op: str) -> Callable[[Arguments], Value]:
    """A reduction; of windows, one result per window; max and min of several operands are pointwise."""

    def apply(a: Arguments) -> Value:
        if op in ("max", "min") and len(a.args) > 1:
            return function_of(op)(a)
        arg = a.node(0)
        where = a.where()
        target = over(a, arg)
        if target.windows is not None:
            return reduce_windows(a.e, op, arg, target.windows, where)
        if not target.axes and not target.dims:
            raise TypeMistake("ATT505", f"`{op}` has nothing to run over: {arg.type}")
        return reduced(op, arg, target.axes, target.dims, there(a, target.axes, where))

    return apply


def there(a: Arguments, axes: tuple[Axis, ...], where: Node | None) -> Node | None:
    """`where`, and of tokens only those that are there: padding takes part in nothing.

    Inside an attend the mask says the same of its keys.
    """
    for axis in axes:
        own = axis.role == "token" and axis.name == axis.base and axis not in a.env.key_axes
        token_set = a.e.set_of_axis(axis) if own else None
        if token_set is not None and token_set.valid is not None:
            valid = token_set.valid
            where = valid if where is None else pointwise("and", where, valid)
    return where


def reduced(
    op: str, arg: Node, axes: tuple[Axis, ...], dims: tuple[int, ...], where: Node | None
) -> Node:
    """A reduction, typed."""
    kind = arg.type.kind
    if op in ("any", "all", "count"):
        if kind is not Kind.BOOL:
            raise TypeMistake("ATT501", f"`{op}` takes a bool, not {arg.type}")
    elif kind is Kind.BOOL:
        raise TypeMistake("ATT501", f"`{op}` takes numbers, not a bool", "use int(..) or count")
    if op in ("mean", "logsumexp"):
        arg = real(arg)
    if where is not None:
        arg, where = with_heads((arg, where))
    out = {"any": Kind.BOOL, "all": Kind.BOOL, "count": Kind.INT}.get(op, arg.type.kind)
    everything = arg.type.axes | (where.type.axes if where is not None else frozenset())
    kept = tuple(d for n, d in enumerate(arg.type.dims) if n not in dims)
    result = Type(out, everything - set(axes), kept)
    return Reduce(result, op, arg, axes, dims, where)  # type: ignore[arg-type]


def reduce_windows(
    e: Elaborator, op: str, arg: Node, token_set: TokenSet, where: Node | None
) -> Node:
    """A reduction of the members of each window."""
    source = e.sets[token_set.source]
    if token_set.unknown:
        return _reduce_segments(e, op, arg, token_set)
    member = e.member_axis(token_set)
    there = Valid(Type(Kind.BOOL, frozenset({e.batch, source.axis})), source.axis)
    inside: Node = members(e, source.valid or there, token_set, member)
    if where is not None:
        inside = pointwise("and", inside, members(e, where, token_set, member))
    return reduced(op, members(e, arg, token_set, member), (member,), (), inside)


def _reduce_segments(e: Elaborator, op: str, arg: Node, token_set: TokenSet) -> Node:
    if op not in ("sum", "mean"):
        raise TypeMistake("ATT505", f"`{op}` over segments: only sum and mean")
    source = e.sets[token_set.source]
    assert source.count is not None
    assert token_set.axis.size is not None
    width = pointwise("ceil_div", source.count, const(token_set.axis.size.value))
    place = pointwise("//", index(source.axis), width)
    if source.valid is not None:
        place = pointwise("where", source.valid, place, const(-1))
    label = as_ref(place, token_set.axis)
    axes = (arg.type.axes - {source.axis}) | {token_set.axis}
    result = Type(Kind.REAL, axes, arg.type.dims)
    return Segment(result, op, real(arg), label, (source.axis,))  # type: ignore[arg-type]


def cumsum(a: Arguments) -> Value:
    """The running sum along an axis."""
    arg = a.node(0)
    target = over(a, arg)
    if len(target.axes) != 1:
        raise TypeMistake("ATT505", "`cumsum` runs over one axis")
    return Scan(
        Type(arg.type.kind, arg.type.axes, arg.type.dims),
        arg,
        target.axes[0],
        a.flag("reverse", False),
        a.flag("exclusive", False),
    )


def simplex(default: float) -> Callable[[Arguments], Value]:
    """Sparsemax and entmax, by their default alpha."""

    def apply(a: Arguments) -> Value:
        arg = real(a.node(0))
        target = over(a, arg)
        if len(target.axes) != 1:
            raise TypeMistake("ATT505", "a normaliser runs over one axis")
        alpha = a.get("alpha")
        power = const(default) if alpha is None else real(node_of(a.e, alpha, a.env))
        result = Type(Kind.REAL, union((arg, power)), arg.type.dims)
        return Simplex(result, arg, target.axes[0], power)

    return apply


def segment(op: str) -> Callable[[Arguments], Value]:
    """Sums, means or counts by label; the labels become an axis."""

    def apply(a: Arguments) -> Value:
        places = 1 if op == "count" else 2
        if len(a.args) != places:
            raise TypeMistake("ATT412", f"`segment_{op}` takes {places} argument(s) and over=")
        label = node_of(a.e, a.args[-1], a.env)
        arg = const(1) if op == "count" else a.node(0)
        if label.type.ref is None:
            raise TypeMistake("ATT506", "a segment label is a ref", "token(set, place) makes one")
        made = label.type.ref
        if a.get("over") is not None:
            axes = over(a, label if op == "count" else _probe(arg, label)).axes
        else:
            axes = label.type.tokens or tuple(
                axis for axis in label.type.ordered if axis.role in ("head", "user")
            )
        present = there(a, axes, None)
        if present is not None:  # what is not there has no label
            label = as_ref(pointwise("where", present, label, const(-1)), made)
        if op != "count":
            arg = real(arg) if op == "mean" else arg
        everything = union((arg, label))
        result = Type(
            Kind.INT if op == "count" else arg.type.kind,
            (everything - set(axes)) | {made},
            arg.type.dims,
        )
        return Segment(result, op, arg, label, axes)  # type: ignore[arg-type]

    return apply


def _probe(left: Node, right: Node) -> Node:
    """A node with the axes of both, to look up what `over=` names."""
    return fill(0, union((left, right)), left.type.dims)
