"""Resolve what a call does not give.

Before: `Valid(x)`, `Param(glob)`, `Param(prev)`
After:  `True`, the default of `glob`, the value of `prev` in the first layer
"""

from __future__ import annotations

from ...dsl.core import Node, Param, Valid
from ...dsl.elaborate.typing import const
from ..program import Program, rewrite


def specialise(program: Program) -> Program:
    """Arguments that the signature lacks replaced by what they default to."""
    given = program.signature.given
    spec = program.spec
    named = {f"inject:{name}": name for name in spec.bindings}
    injected = {spec.bindings[name]: name for key, name in named.items() if key in given}

    def rule(node: Node) -> Node:
        if isinstance(node, Valid) and not _has_validity(node, given):
            return const(True)
        if isinstance(node, Param) and node.name not in given:
            if node.role == "stream" and node.name in spec.streams:
                first = spec.streams[node.name].first
                return node if first is None else rewrite_first(first)
            if node.role == "input" and node.name in spec.inputs:
                default = spec.inputs[node.name].default
                return node if default is None else default
        return node

    def rewrite_first(first: Node) -> Node:
        inner = Program(spec, program.signature, {"first": first})
        return rewrite(inner, rule).roots["first"]

    program = rewrite(program, lambda node: _inject(node, injected))
    return rewrite(program, rule)


def _inject(node: Node, injected: dict[Node, str]) -> Node:
    name = injected.get(node)
    if name is None:
        return node
    return Param(node.type, name, "input")


def _has_validity(node: Valid, given: frozenset[str]) -> bool:
    if node.axis.base == "context":
        return "context_valid" in given or ("valid" in given and "context" not in given)
    return node.axis.base == "x" and "valid" in given
