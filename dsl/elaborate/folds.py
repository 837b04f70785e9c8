"""Folds: rounds that are unrolled, and loops over tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .. import syntax
from ..core import (
    Axis,
    Kind,
    Node,
    Param,
    Recur,
    StackAxis,
    Type,
)
from ..shapes import Entry, Scalar, Table
from ..source import Span
from ..syntax import Expr
from .expressions import node_of
from .fields import expression, local_scope
from .typing import const, real, union
from .values import Bundle, Env

if TYPE_CHECKING:
    from .spec import Elaborator

INT, BOOL, REAL = Kind.INT, Kind.BOOL, Kind.REAL


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
    over = expression(fields, "over")
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
