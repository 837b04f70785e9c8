"""Attend blocks: score, mask, normalize and value, from one or several key sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .. import syntax
from ..core import Attend, AttendSource, Axis, Index, Kind, Node, Scores, Type, map_operands, walk
from ..shapes import Decoded, Entry, Items, Table
from ..source import Span
from ..syntax import Expr
from ..typed import TokenSet
from .expressions import node_of
from .fields import expression, local_scope
from .reading import at_token
from .typing import TypeMistake, common_dims, const, pointwise, real, union, with_heads
from .values import Env, Poisoned, Token

if TYPE_CHECKING:
    from .spec import Elaborator

INT, BOOL, REAL = Kind.INT, Kind.BOOL, Kind.REAL


def attend(e: Elaborator, table: Table, env: Env, span: Span) -> Node:
    """o[i] = sum over sources and visible j of weight * value; the five lines of an attend."""
    fields = table.entries
    queries = expression(fields, "queries")
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
    prior = expression(fields, "prior")
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
    keys = expression(fields, "keys")
    key = e.sets["context"] if keys is None else e.set_of(keys, env)
    at_expr = expression(fields, "at")
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
            expr = expression(fields, name)
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
    normalize = expression(fields, "normalize") or e.default_normalize()
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
    rate_expr = expression(fields, "dropout")
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
    return tuple(aligned), _weights_by_head(weights, probe)


def _weights_by_head(weights: Node, probe: Node) -> Node:
    """A normaliser that has groups of its own, with what it reads by group read at the kv_head of h."""
    head = next(axis for axis in probe.type.axes if axis.role == "head")
    made: dict[Node, Node] = {}

    def by_head(node: Node) -> Node:
        axes = node.type.axes
        groups = {axis for axis in axes if axis.role == "group"}
        if not groups:
            return node
        if node not in made:
            if any(isinstance(item, Scores) for item in walk(node)):
                kind = replace(node.type, axes=axes - groups | {head})
                made[node] = replace(map_operands(node, by_head), type=kind)
            else:
                made[node] = with_heads((node, probe))[0]
        return made[node]

    return by_head(weights)
