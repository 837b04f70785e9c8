"""Attends that have a kernel once they are written otherwise: reductions, and arrays that are read in two ways.

The others, and those that have one as they are, stay: what is written out is more for other lowerings.
"""

from __future__ import annotations

from ...dsl.core import Attend, Node
from ..matching.fused import match
from ..matching.match import Match
from ..program import Program, parts_read, rewrite
from .hoist import hoisted
from .tables_apart import tables_apart
from .unroll import unrolled


def for_kernels(program: Program) -> Program:
    """Attends as kernels take them, in calls that take kernels."""
    if not program.signature.fused:
        return program
    parts = parts_read(program)

    def rule(node: Node) -> Node:
        if not isinstance(node, Attend):
            return node
        read = parts.get(node, frozenset())
        if isinstance(match(node, program, read), Match):
            return node
        made = tables_apart(hoisted(unrolled(node)))
        return made if isinstance(match(made, program, read), Match) else node

    return rewrite(program, rule)
