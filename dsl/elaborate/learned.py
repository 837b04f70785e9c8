"""Functions that own weights: linear maps and norms, named after the binding they stand in."""

from __future__ import annotations

from collections.abc import Callable

from .. import syntax
from ..attributes import ATTRIBUTES
from ..core import Kind, Linear, Node, Norm, Type
from .arguments import Arguments
from .typing import TypeMistake, real
from .values import Value


def linear(a: Arguments) -> Value:
    """A learned linear map of all feature dims, to the shape of `to`."""
    arg = real(a.node(0))
    if not arg.type.dims:
        raise TypeMistake("ATT502", f"`linear` contracts feature dims; {arg.type} has none")
    to = a.get("to")
    items = to.items if isinstance(to, syntax.List) else (to,) if to is not None else ()
    axes, dims = a.e.shape(items, a.env) if items else ((), (a.e.dim("d_model"),))
    name = _weight_name(a)
    bias = a.flag("bias", True)
    result = Type(Kind.REAL, arg.type.axes | set(axes), dims)
    if set(axes) & arg.type.axes:
        raise TypeMistake("ATT502", f"`linear` makes axis {axes[0]}, which its argument has")
    node = Linear(result, arg, name, axes, dims, bias)
    init, env = a.literal("init")
    own_weight(a, name, node, "linear" if init is None else a.e.init_text(init, env))
    return node


def norm(kind: str, eps: float) -> Callable[[Arguments], Value]:
    """A layer or root-mean-square norm with its default eps."""

    def apply(a: Arguments) -> Value:
        arg = real(a.node(0))
        if not arg.type.dims:
            raise TypeMistake("ATT502", f"`{kind}_norm` normalises feature dims; there are none")
        affine = a.flag("affine", True)
        name = _weight_name(a) if affine else ""
        op = "layer" if kind == "layer" else "rms"
        node = Norm(arg.type, arg, op, name, affine, a.number("eps", eps))  # type: ignore[arg-type]
        if affine:
            own_weight(a, name, node, "ones")
        return node

    return apply


def _weight_name(a: Arguments) -> str:
    given, env = a.literal("as")
    if given is None:
        return a.env.owner
    if not isinstance(given, syntax.Name):
        raise a.e.fail("ATT511", "`as` is a name", given.span, env)
    return given.name


def own_weight(a: Arguments, name: str, node: Linear | Norm, init: str | float) -> None:
    """Give parameters to a name; two different owners of one name are a mistake."""
    if name in ATTRIBUTES:
        help = "modules have an attribute of that name; name the binding otherwise, or say `as=`"
        raise a.e.fail("ATT308", f"`{name}` cannot name a learned map", a.call.span, a.env, help)
    owners = a.e.owners
    known = owners.get(name)
    if known is not None and known[0] is not node:
        explicit = a.get("as") is not None or a.env.folded
        if not explicit or _weight_shape(known[0]) != _weight_shape(node):
            raise a.e.fail(
                "ATT311",
                f"two learned maps are both named `{name}`",
                a.call.span,
                a.env,
                "give the second a name with `as=`; the same `as` shares the weights",
            )
    owners[name] = (node, init if known is None else known[1])


def _weight_shape(node: Node) -> object:
    if isinstance(node, Linear):
        total = [dim.value for dim in node.arg.type.dims]
        return (total, node.to_axes, node.to_dims, node.bias)
    return tuple(dim.value for dim in node.type.dims)
