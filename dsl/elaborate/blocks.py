"""Blocks: attend, iterate, recur, use and stack, from their fields to core nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .. import syntax
from ..attributes import ATTRIBUTES
from ..core import (
    Attend,
    AttendSource,
    Axis,
    Index,
    Kind,
    Node,
    Param,
    Recur,
    Scores,
    StackAxis,
    TokenSet,
    Type,
    TypedSpec,
    Use,
)
from ..shapes import Broken, Decoded, Entry, Items, Null, Scalar, Table, closest
from ..source import Span
from ..syntax import Expr
from .expressions import as_node, node_of
from .reading import at_token
from .typing import TypeMistake, common_dims, const, pointwise, real, union, with_heads
from .values import Bundle, Env, Poisoned, Thunk, Token, Value

if TYPE_CHECKING:
    from .spec import Elaborator

INT, BOOL, REAL = Kind.INT, Kind.BOOL, Kind.REAL
MOST_LAYERS = 256


def block(e: Elaborator, table: Table, env: Env) -> Value:
    """The value of a binding that is a block."""
    entry = next(iter(table.entries.values()))
    if not isinstance(entry.value, Table) or (entry.name != "attend" and entry.value.is_broken):
        raise Poisoned
    build: dict[str, Callable[[Elaborator, Table, Env, Span], Value]] = {
        "attend": attend,
        "iterate": iterate,
        "recur": recur,
        "use": use,
        "stack": stack,
    }
    e.tick(entry.name_span, env)
    try:
        with e.deeper(entry.name_span, env):
            return build[entry.name](e, entry.value, env, entry.name_span)
    except TypeMistake as mistake:
        raise e.fail(mistake.code, mistake.message, entry.name_span, env, mistake.help) from None


def local_scope(e: Elaborator, lets: Decoded | None, env: Env) -> Env:
    """The scope with the bindings of a local `let`, which may use each other."""
    if isinstance(lets, Broken):
        raise Poisoned
    if not isinstance(lets, Table):
        return env
    names: dict[str, Value | Thunk] = {}
    inner = env.bind({})
    inner = replace(inner, locals={**env.locals})
    for entry in lets.entries.values():
        if e.is_reserved(entry.name, entry.name_span):
            continue
        if isinstance(entry.value, Null):
            e.fail(
                "ATT408",
                f"there is no `{entry.name}` to remove",
                entry.name_span,
                env,
                "null takes away what an extended spec defines",
            )
        if not isinstance(entry.value, Scalar | Items):
            names[entry.name] = Thunk(entry.value, inner)
    inner.locals.update(names)  # type: ignore[attr-defined]
    return inner


def _expr(fields: Mapping[str, Entry], name: str) -> Expr | None:
    entry = fields.get(name)
    if entry is not None and isinstance(entry.value, Broken):
        raise Poisoned
    return entry.value if entry is not None and isinstance(entry.value, syntax.Syntax) else None


# -- attend ---------------------------------------------------------------------------------


def attend(e: Elaborator, table: Table, env: Env, span: Span) -> Node:
    """o[i] = sum over sources and visible j of weight * value; the five lines of an attend."""
    fields = table.entries
    queries = _expr(fields, "queries")
    query = e.sets["x"] if queries is None else e.set_of(queries, env)
    if len(query.axes) != 1:
        raise e.fail("ATT516", f"`{query.name}` has two axes; queries have one", span, env)
    scope = replace(env, query=query, key=None, key_ref=None)
    sources_field = fields.get("sources")
    if sources_field is not None and isinstance(sources_field.value, Items):
        tables = [item for item in sources_field.value.items if isinstance(item, Table)]
        if not tables:
            help = "add one: `- {keys: .., score: .., value: ..}`"
            raise e.fail("ATT303", "an attend needs a source", sources_field.name_span, env, help)
        lets = [fields["let"].value] if "let" in fields else []
        _check_beside_sources(e, fields, env)
    else:
        tables, lets = [table], []
    prior = _expr(fields, "prior")
    tables = tables if prior is None else [_with_prior(item, prior) for item in tables]
    sources = []
    poisoned = False
    for item in tables:
        try:
            sources.append(_source(e, item, scope, query, lets, span))
        except Poisoned:
            poisoned = True
    if poisoned or not sources:
        raise Poisoned
    return _weighted(e, fields, sources, scope, query, span)


def _check_beside_sources(e: Elaborator, fields: Mapping[str, Entry], env: Env) -> None:
    """What each source says for itself is not said beside them."""
    for name in ("keys", "at", "mask", "score", "value"):
        if name in fields:
            raise e.fail(
                "ATT301",
                f"`{name}` stands beside `sources`, where nothing reads it",
                fields[name].name_span,
                env,
                "write it in each source",
            )


def _with_prior(table: Table, prior: Expr) -> Table:
    """A source with the prior added to its score."""
    entry = table.entries.get("score")
    if entry is None or not isinstance(entry.value, syntax.Syntax):
        return table
    total = syntax.Binary("+", entry.value, prior, span=entry.value.span)
    return replace(table, entries={**table.entries, "score": replace(entry, value=total)})


def _source(
    e: Elaborator, table: Table, env: Env, query: TokenSet, lets: list[Decoded], span: Span
) -> tuple[AttendSource, Env]:
    fields = table.entries
    keys = _expr(fields, "keys")
    key = e.sets["context"] if keys is None else e.set_of(keys, env)
    at_expr = _expr(fields, "at")
    at: Node | None = None
    if at_expr is not None:
        scope, axes, at = _listed(e, at_expr, key, query, env)
    else:
        key, axes = _distinct(e, key, query)
        ref = Index(Type(INT, frozenset({axes[-1]}), (), e.base_axis(axes[-1])), axes[-1])
        scope = replace(env, key=key, key_ref=ref, key_axes=axes)
    for extra in (*lets, fields["let"].value if "let" in fields else None):
        scope = local_scope(e, extra, scope)
    for lacking in ("score", "value"):
        if lacking not in fields and not e.document.is_whole:
            raise Poisoned
        if lacking not in fields:
            help = f"add `{lacking}: ...`"
            raise e.fail("ATT303", f"an attend needs `{lacking}`", span, env, help)
    nodes: dict[str, Node] = {}
    for name in ("mask", "score", "value"):
        try:
            expr = _expr(fields, name)
            if expr is not None:
                nodes[name] = node_of(e, expr, scope)
                _check_field(e, name, nodes[name], expr, scope)
        except Poisoned:
            nodes.setdefault(name, const(0))
            nodes["poisoned"] = const(0)
    if "poisoned" in nodes:
        raise Poisoned
    mask = _with_validity(nodes.get("mask"), key, query, scope)
    present = {"score": real(nodes["score"]), "value": real(nodes["value"])}
    if mask is not None:
        present["mask"] = mask
    if at is not None:
        present["at"] = at
    aligned = dict(zip(present, with_heads(tuple(present.values())), strict=True))
    source = AttendSource(
        axes=axes,
        mask=aligned.get("mask"),
        at=aligned.get("at"),
        score=aligned["score"],
        value=aligned["value"],
    )
    return source, scope


def _check_field(e: Elaborator, name: str, node: Node, expr: Expr, env: Env) -> None:
    if name == "mask":
        if node.type.kind is not BOOL:
            raise e.fail(
                "ATT503",
                f"a mask is a bool, true where attention is allowed; this is {node.type}",
                expr.span,
                env,
                "a number that is added belongs in `score` or `prior`",
            )
        if node.type.dims:
            raise e.fail("ATT502", f"a mask has no feature dims: {node.type}", expr.span, env)
    if name == "score":
        if node.type.kind is BOOL:
            raise e.fail("ATT501", f"a score is a number; this is {node.type}", expr.span, env)
        if node.type.dims:
            raise e.fail(
                "ATT502",
                f"a score has no feature dims: {node.type}",
                expr.span,
                env,
                "contract them with dot(..) or sum(..)",
            )
        if not node.type.axes:
            e.report.warning(
                "ATT520",
                "this score depends on nothing, so every visible key has the same weight",
                expr.span,
                "score is an expression in the query and key, such as dot(q, k) / sqrt(d_head)",
            )


def _listed(
    e: Elaborator, expr: Expr, key: TokenSet, query: TokenSet, env: Env
) -> tuple[Env, tuple[Axis, ...], Node]:
    at = node_of(e, expr, env)
    if at.type.ref is None or at.type.ref != key.axis:
        raise e.fail(
            "ATT506",
            f"`at` is a list of refs into `{key.name}`; this is {at.type}",
            expr.span,
            env,
            f"token({key.name}, place) makes a ref of an int",
        )
    edges = tuple(
        axis for axis in at.type.ordered if axis.role == "user" and axis not in query.over
    )
    if not edges:
        raise e.fail("ATT505", f"`at` has no edge axis: {at.type}", expr.span, env)
    scope = replace(env, key=key, key_ref=at, key_axes=edges, listed=True)
    return scope, edges, at


def _distinct(e: Elaborator, key: TokenSet, query: TokenSet) -> tuple[TokenSet, tuple[Axis, ...]]:
    """The key axes, renamed where queries and keys are the same set."""
    if query.axis not in key.axes:
        return key, key.axes
    return key, tuple(e.primed(axis) if axis == query.axis else axis for axis in key.axes)


def _with_validity(mask: Node | None, key: TokenSet, query: TokenSet, env: Env) -> Node | None:
    parts = [] if mask is None else [mask]
    if key.valid is not None:
        assert env.key_ref is not None
        valid = key.valid
        if len(key.axes) == 1:
            valid = at_token(valid, Token(key, env.key_ref))
        parts.append(valid)
    if query.valid is not None:
        parts.append(query.valid)
    result: Node | None = None
    for part in parts:
        result = part if result is None else pointwise("and", result, part)
    return result


def _weighted(
    e: Elaborator,
    fields: Mapping[str, Entry],
    sources: list[tuple[AttendSource, Env]],
    env: Env,
    query: TokenSet,
    span: Span,
) -> Node:
    parts = tuple(source for source, _ in sources)
    single = len(parts) == 1 and parts[0].at is None and len(parts[0].axes) == 1
    joint = parts[0].axes[0] if single else Axis("j", "joint", 9000)
    keys = {axis for source in parts for axis in source.axes}
    axes = union(n for s in parts for n in (s.mask, s.at, s.score) if n is not None)
    scores_axes = (axes - keys) | {joint}
    scores = Scores(Type(REAL, scores_axes))
    scope = sources[0][1] if single else replace(env, key=None)
    scope = replace(scope.bind({"s": scores}), joint=joint)
    normalize = _expr(fields, "normalize") or e.default_normalize()
    weights = real(node_of(e, normalize, scope))
    if joint not in weights.type.axes:
        raise e.fail(
            "ATT505",
            f"`normalize` gives one weight per key; this is {weights.type}",
            normalize.span,
            env,
            "the keys of `s` must stay; softmax(s, j) is the usual one",
        )
    if weights.type.dims:
        raise e.fail("ATT502", f"weights have no feature dims: {weights.type}", normalize.span, env)
    try:
        dims = common_dims(source.value for source in parts)
    except TypeMistake as mistake:
        help = "the values of all sources have the same feature dims"
        raise e.fail("ATT502", mistake.message, span, env, help) from None
    values, weights = _align_heads(parts, weights)
    parts = values
    everything = union((weights, *(source.value for source in parts)))
    rate_expr = _expr(fields, "dropout")
    rate = 0.0 if rate_expr is None else e.static_number(rate_expr, env)
    if not 0 <= rate < 1:
        assert rate_expr is not None
        raise e.fail("ATT307", "a dropout rate is in [0, 1)", rate_expr.span, env)
    result = Type(REAL, everything - keys - {joint}, dims)
    node = Attend(result, query.axis, parts, joint, weights, rate, env.owner)
    e.spec.spans.setdefault(node, span)
    return node


def _align_heads(
    parts: tuple[AttendSource, ...], weights: Node
) -> tuple[tuple[AttendSource, ...], Node]:
    """Group axes read at the kv_head of h, wherever h appears in any field."""
    nodes = [weights]
    for source in parts:
        nodes += [source.score, source.value]
        nodes += [item for item in (source.mask, source.at) if item is not None]
    head = any(axis.role == "head" for axis in union(nodes))
    if not head:
        return parts, weights
    probe = next(n for n in nodes if any(axis.role == "head" for axis in n.type.axes))
    aligned = []
    for source in parts:
        fixed = {
            name: None if item is None else with_heads((item, probe))[0]
            for name, item in (
                ("mask", source.mask),
                ("at", source.at),
                ("score", source.score),
                ("value", source.value),
            )
        }
        aligned.append(replace(source, **fixed))  # type: ignore[arg-type]
    return tuple(aligned), weights


# -- folds ----------------------------------------------------------------------------------


def _table(e: Elaborator, fields: Mapping[str, Entry], name: str) -> dict[str, Expr]:
    entry = fields.get(name)
    if entry is None or not isinstance(entry.value, Table):
        return {}
    for item in entry.value.entries.values():
        e.is_reserved(item.name, item.name_span)
    return {
        item.name: item.value
        for item in entry.value.entries.values()
        if isinstance(item.value, syntax.Syntax)
    }


def _check_carry(
    e: Elaborator, carry: Mapping[str, Expr], following: Mapping[str, Expr], env: Env
) -> None:
    for name, expr in following.items():
        if name not in carry:
            raise e.fail("ATT509", f"`next` sets `{name}`, which is not carried", expr.span, env)
    for name, expr in carry.items():
        if name not in following:
            raise e.fail(
                "ATT509", f"`next` does not set `{name}`", expr.span, env, f"add `{name}: {name}`"
            )


def iterate(e: Elaborator, table: Table, env: Env, span: Span) -> Bundle:
    """A static number of rounds, unrolled; yields gain the step axis."""
    fields = table.entries
    step = fields["step"].value
    assert isinstance(step, Scalar)
    axis = e.axes.get(str(step.value))
    if axis is None or axis.size is None:
        raise e.fail("ATT505", f"`step` is a declared axis; `{step.value}` is none", step.span, env)
    carry, following, yields = (_table(e, fields, name) for name in ("carry", "next", "yield"))
    _check_carry(e, carry, following, env)
    if axis.name in carry:
        raise e.fail("ATT309", f"`{axis.name}` is the step and cannot be carried", step.span, env)
    scope = replace(env, folded=True)
    state = {name: node_of(e, expr, scope) for name, expr in carry.items()}
    rounds: dict[str, list[Node]] = {name: [] for name in yields}
    for place in range(axis.size.value):
        e.tick(span, env)
        here = scope.bind({**state, axis.name: const(place)})
        here = local_scope(e, fields["let"].value if "let" in fields else None, here)
        fresh = {}
        for name, expr in following.items():
            fresh[name] = _same_type(e, name, state[name], node_of(e, expr, here), expr, env)
        for name, expr in yields.items():
            rounds[name].append(node_of(e, expr, here))
        state = fresh
    members: dict[str, Node] = dict(state)
    for name, nodes in rounds.items():
        members[name] = stack_nodes(nodes, axis)
    return Bundle(members, next(iter(state.values())) if len(state) == 1 else None)


def stack_nodes(nodes: list[Node], axis: Axis) -> Node:
    """Nodes of one type at the places of a new axis."""
    first = nodes[0].type
    return StackAxis(
        Type(first.kind, union(nodes) | {axis}, first.dims, first.ref), tuple(nodes), axis
    )


def _same_type(e: Elaborator, name: str, old: Node, new: Node, expr: Expr, env: Env) -> Node:
    if new.type.kind is INT and old.type.kind is REAL:
        new = real(new)
    if new.type.kind is not old.type.kind or new.type.dims != old.type.dims:
        raise e.fail(
            "ATT509",
            f"`{name}` is carried as {old.type} but becomes {new.type}",
            expr.span,
            env,
            "`next` has the kind and feature dims of the carry",
        )
    return new


def recur(e: Elaborator, table: Table, env: Env, span: Span) -> Bundle:
    """A loop over the tokens of a set in time order; the carry is the decode state."""
    fields = table.entries
    over = _expr(fields, "over")
    assert over is not None
    axis = e.set_of(over, env).axis
    carry, following, yields = (_table(e, fields, name) for name in ("carry", "next", "yield"))
    _check_carry(e, carry, following, env)
    inits = {name: node_of(e, expr, env) for name, expr in carry.items()}
    if any(axis in node.type.axes for node in inits.values()):
        raise e.fail("ATT509", f"a carry begins without axis `{axis}`", span, env)
    states = {
        name: Param(
            Type(node.type.kind, node.type.axes | {axis}, node.type.dims),
            f"{env.owner}.{name}",
            "carry",
        )
        for name, node in inits.items()
    }
    for _ in range(3):
        here = local_scope(
            e,
            fields["let"].value if "let" in fields else None,
            replace(env.bind(states), folded=True),
        )
        nexts = {
            name: _same_type(e, name, states[name], node_of(e, expr, here), expr, env)
            for name, expr in following.items()
        }
        grown = union((*nexts.values(), *states.values()))
        if all(states[name].type.axes >= nexts[name].type.axes for name in nexts):
            break
        states = {
            name: Param(
                Type(
                    s.type.kind,
                    s.type.axes | nexts[name].type.axes | (grown & s.type.axes),
                    s.type.dims,
                ),
                s.name,
                "carry",
            )
            for name, s in states.items()
        }
    outs = {name: node_of(e, expr, here) for name, expr in yields.items()}
    names = tuple(states[name].name for name in carry)
    bodies = (
        names,
        tuple(inits.values()),
        tuple(nexts[name] for name in carry),
        tuple(outs.values()),
    )
    members: dict[str, Node] = {}
    for place, name in enumerate(carry):
        last = Type(states[name].type.kind, states[name].type.axes - {axis}, states[name].type.dims)
        members[name] = Recur(last, axis, *bodies, -1 - place)
    for place, (name, node) in enumerate(outs.items()):
        out = Type(node.type.kind, node.type.axes | {axis}, node.type.dims)
        members[name] = Recur(out, axis, *bodies, place)
    return Bundle(members, members[next(iter(outs))] if len(outs) == 1 else None)


# -- specs in specs -------------------------------------------------------------------------


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
        times_expr = _expr(item.entries, "times")
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
