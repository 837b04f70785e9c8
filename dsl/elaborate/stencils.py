"""Stencils: a kernel moved along axes, and the convolution over tokens."""

from __future__ import annotations

from .. import syntax
from ..core import Axis, Const, Kind, Map, Node, Stencil, Type
from .arguments import Arguments
from .reductions import over, there
from .typing import TypeMistake, const, pointwise, real, union, with_heads
from .values import Value


def stencil_of(a: Arguments) -> Value:
    """A kernel over the axes of `over`, which begins at the offsets of `from`."""
    arg, kernel = (real(node) for node in a.nodes())
    target = over(a, arg)
    starts_expr = a.get("from")
    assert starts_expr is not None
    items = starts_expr.items if isinstance(starts_expr, syntax.List) else (starts_expr,)
    starts = tuple(a.e.size(item, a.env).value for item in items)
    if len(starts) != len(target.axes):
        raise TypeMistake("ATT502", "`from` has one offset for each axis of `over`")
    return stencil(_padded(a, arg, target.axes), kernel, target.axes, starts)


def _padded(a: Arguments, arg: Node, axes: tuple[Axis, ...]) -> Node:
    """The argument with 0 where a token is padding, as beyond the ends.

    A guard that stands there already comes first: what it hides is not asked for its padding.
    """
    guard: Node | None = None
    zero = arg.args[2] if isinstance(arg, Map) and arg.op == "where" else None
    if isinstance(arg, Map) and isinstance(zero, Const) and zero.value == 0:
        guard, arg = arg.args[0], arg.args[1]
    present = there(a, axes, guard)
    return arg if present is None else pointwise("where", present, arg, const(0.0))


def convolve(a: Arguments) -> Value:
    """A depthwise convolution over tokens, from `left` places before to `right` after."""
    arg, kernel = (real(node) for node in a.nodes())
    tokens = arg.type.tokens
    if a.get("over") is not None:
        axes = over(a, arg).axes
    elif len(tokens) == 1:
        axes = tokens
    else:
        raise TypeMistake("ATT505", "say over which axis: `over=`")
    left, right = a.whole("left", 0), a.whole("right", 0)
    if len(kernel.type.dims) != 1 or kernel.type.dims[0].value != left + right + 1:
        raise TypeMistake(
            "ATT502", f"the kernel has {kernel.type.dims}; left + right + 1 is {left + right + 1}"
        )
    return stencil(_padded(a, arg, axes), kernel, axes, (-left,))


def stencil(arg: Node, kernel: Node, axes: tuple[Axis, ...], starts: tuple[int, ...]) -> Node:
    """A stencil, typed: with one more kernel dim than axes, the first contracts the heads."""
    taps = len(kernel.type.dims)
    channels: Axis | None = None
    if taps == len(axes) + 1:
        channels = next((axis for axis in arg.type.ordered if axis.role == "head"), None)
        if channels is None or channels.size != kernel.type.dims[0]:
            raise TypeMistake("ATT502", "the first kernel dim contracts the heads of the argument")
    elif taps != len(axes):
        raise TypeMistake("ATT502", f"a kernel over {len(axes)} axes has {len(axes)} tap dims")
    if channels is None:
        arg, kernel = with_heads((arg, kernel))
    result = Type(Kind.REAL, union((arg, kernel)), arg.type.dims)
    return Stencil(result, arg, kernel, axes, starts, channels)
