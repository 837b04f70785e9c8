"""Loops over tokens, and specs used in specs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ...dsl.core import Axis, Node, Recur, Type, Use
from ...dsl.typed import TypedSpec
from .environment import BATCH, Environment, Start, declared_types
from .scope import Scope, Step
from .values import DTYPES, Value, expanded, laid_out, masked, renamed


def recur(scope: Scope, node: Recur) -> Value:
    """Token by token: yields and next carries from the present carries."""
    key = (node.axis, node.names, node.inits, node.nexts, node.yields)
    if key not in scope.results:
        scope.results[key] = _run(scope, node)
    finals, rounds = scope.results[key]
    if node.which < 0:
        final: Value = finals[-1 - node.which]
        return scope.conformed(final, node)
    return _stacked(scope, node, [step[node.which] for step in rounds])


def _run(scope: Scope, node: Recur) -> tuple[list[Value], list[list[Value]]]:
    carries = [scope.value(init) for init in node.inits]
    rounds = []
    for place in range(scope.size(node.axis)):
        step = Step(scope, node.axis, place, dict(zip(node.names, carries, strict=True)))
        rounds.append([step.conformed(step.value(item), item) for item in node.yields])
        carries = [step.value(item) for item in node.nexts]
    return carries, rounds


def _stacked(scope: Scope, node: Recur, rounds: list[Value]) -> Value:
    if not rounds:
        empty = Value(torch.zeros((), dtype=DTYPES[node.type.kind]))
        return scope.conformed(empty, node)
    tensors = [item.tensor for item in rounds]
    axes = rounds[0].axes
    return scope.conformed(laid_out(torch.stack(tensors, len(axes)), (*axes, node.axis)), node)


def use(scope: Scope, node: Use) -> Value:
    """An output of a used spec, which is one more call."""
    spec, args = scope.env.spec.uses[node.name], dict(zip(node.keys, node.args, strict=True))
    outer = _outer_axes(scope, spec, args)
    key = (node.name, node.keys, node.args)
    if key not in scope.results:
        scope.results[key] = Scope(_call(scope, node.name, spec, args, outer), scope.evaluators)
    inner: Scope = scope.results[key]
    value = inner.value(spec.outputs[node.output])
    value = inner.conformed(value, spec.outputs[node.output])
    return renamed(value, lambda axis: outer.get(axis, axis))


def _outer_axes(scope: Scope, spec: TypedSpec, args: Mapping[str, Node]) -> dict[Axis, Axis]:
    """For the token axes x and context of the used spec, those of the arguments."""
    own = scope.env.spec.sets
    queries = _token_axis(args.get("x")) or own["x"].axis
    keys = _token_axis(args.get("context"))
    if keys is None:
        keys = own["context"].axis if queries == own["x"].axis else _primed(queries)
    return {
        spec.sets["x"].axis: queries,
        spec.sets["context"].axis: _primed(queries) if keys == queries else keys,
    }


def _token_axis(node: Node | None) -> Axis | None:
    return node.type.tokens[0] if node is not None and node.type.tokens else None


def _primed(axis: Axis) -> Axis:
    return replace(axis, name=f"{axis.name}'", rank=axis.rank + 1)


def _call(
    scope: Scope, name: str, spec: TypedSpec, args: Mapping[str, Node], outer: Mapping[Axis, Axis]
) -> Environment:
    env, path = scope.env, f"{name}."
    types = _input_types(spec, args)
    inputs = {key: _argument(scope, args[key], types[key], outer) for key in args}
    inner_x, inner_context = spec.sets["x"].axis, spec.sets["context"].axis
    queries, keys = outer[inner_x], outer[inner_context]
    sizes = {"b": scope.size(BATCH), "x": scope.size(queries)}
    context = "context" in args
    if context:
        sizes["context"] = scope.size(keys)
    return Environment(
        spec=spec,
        weights=env.weights,
        inputs=inputs,
        sizes=sizes,
        valid=_validity(scope, queries),
        context_valid=_validity(scope, keys) if context else None,
        q_start=_starts(scope, queries),
        k_start=_starts(scope, keys) if context else None,
        head_start=env.head_start,
        inject={k.removeprefix(path): v for k, v in env.inject.items() if k.startswith(path)},
        call_seed=env.call_seed,
        training=env.training,
        prefix=env.prefix + path,
    )


def _input_types(spec: TypedSpec, args: Mapping[str, Node]) -> dict[str, Type]:
    """The type that the used spec gives to each argument."""
    types = declared_types(spec)
    for key in ("x", "context"):
        if key in args and key not in types:
            axes = frozenset({BATCH, spec.sets[key].axis})
            types[key] = Type(args[key].type.kind, axes, args[key].type.dims)
    return types


def _argument(scope: Scope, node: Node, kind: Type, outer: Mapping[Axis, Axis]) -> Tensor:
    """An argument laid out as the used spec has it; its only token axis becomes the only one there."""
    inner = {there: here for here, there in outer.items()}
    if len(kind.tokens) == len(node.type.tokens) == 1:
        inner[node.type.tokens[0]] = kind.tokens[0]
    value = renamed(masked(scope.value(node)), lambda axis: inner.get(axis, axis))
    return expanded(value, kind.ordered, lambda axis: scope.size(outer.get(axis, axis)))


def _starts(scope: Scope, axis: Axis) -> Start:
    """Where the positions of the tokens of an axis begin, or what they are."""
    if axis.base in ("x", "context"):
        return scope.env.start(axis)
    token_set = scope.env.token_set(axis)
    if token_set is None or token_set.position is None:
        return 0
    return expanded(scope.value(token_set.position), (BATCH, token_set.axis), scope.size)


def _validity(scope: Scope, axis: Axis) -> Tensor | None:
    if axis.base in ("x", "context"):
        return scope.env.validity(axis)
    token_set = scope.env.token_set(axis)
    if token_set is None or token_set.valid is None:
        return None
    return expanded(scope.value(token_set.valid), (BATCH, token_set.axis), scope.size)
