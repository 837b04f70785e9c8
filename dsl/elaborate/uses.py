"""Specs in specs: one instance, and stacks of layers with the streams between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .. import syntax
from ..attributes import ATTRIBUTES
from ..core import Axis, Node, Type, Use
from ..shapes import Items, Scalar, Table, closest
from ..source import Span
from ..syntax import Expr
from ..typed import TypedSpec
from .expressions import as_node, node_of
from .fields import expression
from .values import Bundle, Env, Value

if TYPE_CHECKING:
    from .spec import Elaborator


MOST_LAYERS = 256


def use(e: Elaborator, table: Table, env: Env, span: Span) -> Value:
    """A spec applied to streams and inputs by name."""
    fields = dict(table.entries)
    spec_name = fields.pop("spec").value
    given = fields.pop("with", None)
    assert isinstance(spec_name, Scalar)
    sub = e.subspec(spec_name, given.value if given else None, env)
    args = {
        name: node_of(e, entry.value, env)  # type: ignore[arg-type]
        for name, entry in fields.items()
    }
    return instance(e, sub, env.owner, args, env, span)


def instance(
    e: Elaborator, sub: TypedSpec, name: str, args: dict[str, Node], env: Env, span: Span
) -> Value:
    """One instance of a spec as a submodule; streams that are not given bubble up."""
    known = {"x", "context", *sub.inputs, *sub.streams}
    for key in args:
        if key not in known:
            raise e.fail(
                "ATT411",
                f"`{sub.name}` takes no `{key}`",
                span,
                env,
                f"it takes {', '.join(sorted(known))}",
            )
    for info in sub.inputs.values():
        if info.name not in args and info.default is None:
            raise e.fail("ATT412", f"`{sub.name}` needs the input `{info.name}`", span, env)
    if name.split(".")[0] in ATTRIBUTES:
        help = "modules have an attribute of that name; name the binding otherwise"
        raise e.fail("ATT308", f"`{name}` cannot name a spec inside", span, env, help)
    if name in e.spec.uses and e.spec.uses[name] is not sub:
        raise e.fail("ATT309", f"two specs are used under the name `{name}`", span, env)
    e.spec.uses[name] = sub
    bubbling = [stream for stream in sub.streams if stream not in args]
    for stream in bubbling:
        treatment = sub.streams[stream].block
        if treatment != "none" and not e.muted_streams:
            raise e.fail(
                "ATT313",
                f"`{sub.name}` wants its stream `{stream}` treated by the block (`block: {treatment}`)",
                span,
                env,
                f"give `{stream}: ..` in `use`, and say under `{stream}:` in `out` what becomes of it",
            )
        value = e.stream_value(stream, _outer_type(sub.streams[stream].type, sub, args, e))
        if value is not None:
            args[stream] = value
    keys = tuple(args)
    nodes = tuple(args.values())
    members = {}
    for output, node in sub.outputs.items():
        inner = sub.streams[output].type if output in sub.streams else node.type
        if output == "x" and [d.value for d in inner.dims] == [e.dim("d_model").value]:
            inner = Type(inner.kind, inner.axes, (e.dim("d_model"),))
        result = _outer_type(inner, sub, args, e)
        members[output] = Use(result, name, keys, nodes, output)
        e.spec.spans.setdefault(members[output], span)
    for stream in sub.streams:
        if stream in bubbling and stream in members:
            e.pass_on(stream, members[stream])
    if set(members) == {"x"}:
        return members["x"]
    return Bundle(members, members.get("x"))


def _outer_type(inner: Type, sub: TypedSpec, args: Mapping[str, Node], e: Elaborator) -> Type:
    """A type of the used spec, over the token axes of the arguments."""
    x_axis, context_axis = sub.sets["x"].axis, sub.sets["context"].axis
    x = args.get("x")
    mapping: dict[Axis, Axis] = {}
    outer_x = _token_axis(x) or e.sets["x"].axis
    mapping[x_axis] = outer_x
    outer = _token_axis(args.get("context"))
    if outer is None:
        outer = e.primed(outer_x) if outer_x != e.sets["x"].axis else e.sets["context"].axis
    mapping[context_axis] = e.primed(outer) if outer == outer_x else outer
    for name, info in sub.streams.items():
        given = args.get(name)
        inside = [axis for axis in info.type.tokens if axis not in mapping]
        outside = [axis for axis in given.type.tokens if axis != outer_x] if given else []
        mapping.update(zip(inside, outside, strict=False))
    axes = frozenset(mapping.get(axis, axis) for axis in inner.axes)
    return Type(inner.kind, axes, inner.dims)


def _token_axis(node: Node | None) -> Axis | None:
    tokens = () if node is None else node.type.tokens
    return tokens[0] if tokens else None


def stack(e: Elaborator, table: Table, env: Env, span: Span) -> Bundle:
    """Layers one after another; the carry is x and every stream of the specs in it."""
    fields = dict(table.entries)
    layers = fields.pop("layers").value
    x_entry = fields.pop("x")
    shared_entry = fields.pop("shared", None)
    shared = shared_entry is not None and getattr(shared_entry.value, "value", False) is True
    assert isinstance(layers, Items)
    x = node_of(e, x_entry.value, env)  # type: ignore[arg-type]
    extras = {
        name: node_of(e, entry.value, env)  # type: ignore[arg-type]
        for name, entry in fields.items()
    }
    subs = _layers(e, layers, env, span)
    known = {"context", *(name for sub in subs for name in (*sub.inputs, *sub.streams))}
    for name, entry in fields.items():
        if name not in known:
            hint = closest(name, tuple(known))
            raise e.fail(
                "ATT411",
                f"no layer takes `{name}`",
                entry.name_span,
                env,
                f"did you mean `{hint}`?" if hint else f"they take {', '.join(sorted(known))}",
            )
    carried = {name: node for name, node in extras.items() if name != "context"}
    for place, sub in enumerate(subs):
        args = {"x": x}
        args.update({k: v for k, v in extras.items() if k == "context" or k in sub.inputs})
        args.update({k: v for k, v in carried.items() if k in sub.streams})
        e.muted_streams = True
        try:
            name = env.owner if shared else f"{env.owner}.{place}"
            value = instance(e, sub, name, args, env, span)
        finally:
            e.muted_streams = False
        if isinstance(value, Bundle):
            carried.update({k: v for k, v in value.members.items() if k != "x"})
        x = as_node(e, value, syntax.Name("x", span=span), env)
    return Bundle({"x": x, **carried}, x)


def _times(e: Elaborator, expr: Expr, env: Env) -> int:
    """How many layers of a kind; none at all is possible, as in `layers - 1` of one layer."""
    times = e.size(expr, env).value
    if times < 0:
        raise e.fail("ATT307", f"a layer stands 0 times or more, not {times}", expr.span, env)
    return times


def _layers(e: Elaborator, items: Items, env: Env, span: Span) -> list[TypedSpec]:
    found: list[TypedSpec] = []
    for item in items.items:
        if not isinstance(item, Table):
            continue
        times_expr = expression(item.entries, "times")
        times = 1 if times_expr is None else _times(e, times_expr, env)
        nested = item.get("layers")
        if isinstance(nested, Items):
            inner = _layers(e, nested, env, span)
        else:
            name = item.get("use")
            if not isinstance(name, Scalar):
                raise e.fail("ATT303", "a layer needs `use` or `layers`", item.span, env)
            inner = [e.subspec(name, item.get("with"), env)]
        if len(found) + len(inner) * times > MOST_LAYERS:
            raise e.fail("ATT307", f"a stack has at most {MOST_LAYERS} layers", item.span, env)
        found.extend(inner * times)
    return found
