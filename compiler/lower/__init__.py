"""Lowering: a program becomes one fx graph, each attend by the lowering chosen for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from ...dsl.core import Attend, Axis, Draw, Dropout, Node, Param, Recur, Tree, walk
from ..matching.choice import Choice, choose
from ..program import OFFSETS, VALIDITY, Program
from . import factored, flex, fused, sdpa, tiled
from .dense import Dense, Kernels
from .emitter import NotLowered, Value, by_rank, drop_unused

#: what emits an attend as its lowering found it to fit
EMITTERS: dict[str, Callable[[Dense, Attend, Any], Value]] = {
    "sdpa": sdpa.emit,
    "linear": factored.emit,
    "cpu": fused.emit,
    "tiled": tiled.emit,
    "flex": flex.emit,
}


@dataclass
class Lowered:
    """A graph, the submodules that it needs (steps of loops), and what was chosen."""

    graph: fx.Graph
    submodules: dict[str, nn.Module]
    choices: tuple[Choice, ...]
    arguments: tuple[str, ...] = field(default=())


def arguments(program: Program) -> tuple[str, ...]:
    """The names of the graph's inputs, in order."""
    spec, signature = program.spec, program.signature
    used = set(_used_params(program))
    names: list[str] = [
        name
        for name in ("x", "context")
        if name in used and (name == "x" or name in signature.given)
    ]
    if signature.core:
        names = [name for name in spec.project if name in used] + names
    side = (*spec.inputs, *spec.streams)
    names += [n for n in side if n in used and (n in signature.given or n in spec.inputs)]
    names += [n[len("inject:") :] for n in sorted(signature.given) if n.startswith("inject:")]
    names += [n for n in (*VALIDITY, *OFFSETS) if n in signature.given]
    drawn = [node for node in walk(*program.roots.values()) if isinstance(node, Draw)]
    if any(node.per_call for node in drawn) or (signature.training and _drops(program)):
        names.append("call")
    if any(not node.per_call for node in drawn):
        names.append("seed")
    if "step" in used:
        names.append("step")
    return tuple(dict.fromkeys(names))


def _drops(program: Program) -> bool:
    """Whether anything is dropped at random."""
    nodes = walk(*program.roots.values())
    return any(isinstance(n, Dropout) or (isinstance(n, Attend) and n.dropout > 0) for n in nodes)


def _used_params(program: Program) -> Iterator[str]:
    nodes = list(walk(*program.roots.values()))
    params = [node for node in nodes if isinstance(node, Param)]
    for node in params:
        yield node.name
        if node.name == "context" and "context" not in program.signature.given:
            yield "x"
    sized = {axis.base for node in params for axis in node.type.axes}
    needed = {axis.base for node in nodes for axis in node.type.axes}
    needed |= {node.leaves.base for node in nodes if isinstance(node, Tree)}
    if not program.signature.core:
        missing = needed - sized
        yield from (name for name in ("x", "context") if name in missing)
        if "x" not in sized and {"b", "context"} & missing:
            yield "x"


def lower(program: Program, asked: str, kernels: Kernels | None = None) -> Lowered:
    """The fx graph of a program; `asked` is `auto` or the name of a lowering.

    `kernels` makes modules of the text of fused kernels, and of the dense form of the same attends.
    """
    names = {node: name for name, node in program.spec.bindings.items()}
    emitter = Dense(program, names, kernels)
    placeholders(emitter, program)
    choices = choose(program, asked)
    _take(emitter, choices)
    with deep():
        outs = {name: _output(emitter, name, node) for name, node in program.roots.items()}
    emitter.graph.output(outs["x"] if tuple(outs) == ("x",) else outs)
    drop_unused(emitter.graph)
    used = {node.target for node in emitter.graph.nodes if node.op in ("get_attr", "call_module")}
    submodules = {name: item for name, item in emitter.submodules.items() if name in used}
    return Lowered(emitter.graph, submodules, choices, arguments(program))


def placeholders(e: Dense, program: Program) -> None:
    """The arguments of a call as nodes, with the sizes and dtypes that they tell."""
    spec = program.spec
    batch = spec.axes["b"]
    for name in arguments(program):
        node = e.graph.placeholder(name)
        e.inputs[name] = node
        layout: tuple[Axis, ...] = ()
        real = False
        if name in ("x", "context"):
            layout, real = (batch, spec.sets[name].axis), True
        elif name in spec.inputs:
            layout, real = (
                spec.inputs[name].type.ordered,
                spec.inputs[name].type.kind.value == "real",
            )
        elif name in spec.streams:
            layout, real = spec.streams[name].type.ordered, True
        elif program.signature.core and name in spec.project:
            layout, real = _argument_layout(program, name), True
        elif name == "valid":
            layout = (batch, spec.sets["x"].axis)
        elif name == "context_valid":
            layout = (batch, spec.sets["context"].axis)
        elif name in spec.bindings:
            layout = spec.bindings[name].type.ordered
        if layout:
            e.know(layout, node)
            e.likes.append(node)
            if real:
                e.real_likes.append(node)


def _argument_layout(program: Program, name: str) -> tuple[Axis, ...]:
    return program.spec.bindings[name].type.ordered if name in program.spec.bindings else ()


def _output(e: Dense, name: str, node: Node) -> Any:
    e.hint = name if name != "x" else "result"
    value = e.lower(node)
    axes = by_rank(node.type.axes)
    stream = e.spec.streams.get(name)
    if stream is not None:
        axes = by_rank((*axes, *stream.type.axes))
    if set(axes) != set(value.axes):
        return e.expand(value, axes)
    tensor = Value(e.tensor(value), value.axes, value.dims, value.wide)
    return tensor.node if node.type.kind.value != "real" else e.narrowed(tensor)


def attends_of(program: Program) -> list[Attend]:
    """Every attend of a program, operands first."""
    return [node for node in walk(*program.roots.values()) if isinstance(node, Attend)]


def _take(e: Dense, choices: tuple[Choice, ...]) -> None:
    """Have each attend and loop emitted as it was chosen."""
    for choice in choices:
        if isinstance(choice.node, Recur) and choice.found is not None:
            e.linear_loops[choice.node.names] = choice.found
        elif isinstance(choice.node, Attend) and choice.lowering in EMITTERS:
            e.chosen[choice.node] = _emitter(choice.node, choice)


def _emitter(node: Attend, choice: Choice) -> Callable[[Dense], Value]:
    return lambda e: EMITTERS[choice.lowering](e, node, choice.found)


@contextmanager
def deep() -> Iterator[None]:
    """Room for the recursion over deep graphs."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 20_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


__all__ = [
    "Choice",
    "Lowered",
    "NotLowered",
    "arguments",
    "attends_of",
    "deep",
    "lower",
    "placeholders",
]
