"""Specs used in specs: one call of a submodule, which its outputs share."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from ...dsl.core import Node, Param, Use
from ...dsl.typed import TypedSpec
from .emitter import Value, by_rank

if TYPE_CHECKING:
    from .dense import Dense


def use(e: Dense, node: Use) -> Value:
    """One output of a used spec; the call itself is emitted once."""
    key = (node.name, node.args)
    if key not in e.calls:
        kwargs: dict[str, Any] = {}
        sub = e.spec.uses[node.name]
        for name, arg in zip(node.keys, node.args, strict=True):
            if not _is_absent(e, arg):
                kwargs[name] = _in_order(e, e.lower(arg), name, sub)
        kwargs.update(_passed_on(e, node))
        e.calls[key] = e.module(node.name, **kwargs)
    made: Any = e.calls[key]
    sub = e.spec.uses[node.name]
    if len(sub.outputs) > 1:
        made = e.call(operator.getitem, made, node.output)
    return Value(made, node.type.ordered, len(node.type.dims))


def _is_absent(e: Dense, arg: Node) -> bool:
    """A stream that the call does not give: the spec inside begins it by itself."""
    return isinstance(arg, Param) and arg.role == "stream" and arg.name not in _streams_given(e)


def _streams_given(e: Dense) -> set[str]:
    begun = {info.name for info in e.spec.streams.values() if info.first is not None}
    return {*e.inputs, *begun, "x", "context"}


def _in_order(e: Dense, value: Value, name: str, sub: TypedSpec) -> Any:
    """An argument of a used spec; tokens have every axis of their type, the batch's at least."""
    if name in ("x", "context") or name in sub.streams:
        axes = by_rank((e.spec.axes["b"], *value.axes))
        value = Value(e.expand(value, axes), axes, value.dims, value.wide)
    return e.narrowed(Value(e.tensor(value), value.axes, value.dims, value.wide))


def _passed_on(e: Dense, node: Use) -> dict[str, Any]:
    """Validity and positions of the caller's tokens, for the tokens of the used spec."""
    given = e.program.signature.given
    bases = {key: _base(arg) for key, arg in zip(node.keys, node.args, strict=True)}
    x = bases.get("x", "x")
    found: dict[str, Any] = {}
    valid = {"x": "valid", "context": "context_valid"}
    start = {"x": "q_start", "context": "k_start"}
    for key, suffixes in (("x", ("valid", "q_start")), ("context", ("context_valid", "k_start"))):
        base = bases.get(key) if key != "x" else x
        if base is None:
            continue
        if base == "context" and "context" not in given:
            base = "x"
        for table, name in ((valid, suffixes[0]), (start, suffixes[1])):
            source = table.get(base)
            if source is not None and source in given:
                found[name] = e.inputs[source]
    if "head_start" in given:
        found["head_start"] = e.inputs["head_start"]
    return found


def _base(node: Node) -> str | None:
    tokens = node.type.tokens
    return tokens[0].base if tokens else None
