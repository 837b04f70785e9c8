"""Loops over tokens whose next state is linear in the present one, taken apart.

    next w: f * w + beta * outer(v - w @ k, k)        reads  y0 = w @ k
                                                      decay  f
                                                      writes (beta * v - beta * y0) (x) k

`solve` finds, carry by carry, what `compiler.scans` needs to advance it over all tokens at once; a carry that is known at every token is an ordinary sequence for those after it. Any other loop is left to run token by token.
"""

from __future__ import annotations

from ...dsl.core import Node, Recur
from ...dsl.typed import TypedSpec
from .elementwise import elementwise
from .forms import Elementwise, MatrixState, Solution
from .matrix import Solved, matrix


def solve(node: Recur, spec: TypedSpec) -> Solution | None:
    """How a loop can be advanced over all tokens at once; None where it is not linear."""
    bodies: dict[str, Node] = dict(zip(node.names, node.nexts, strict=True))
    yields = node.yields
    steps: list[Elementwise | MatrixState] = []
    waiting = list(node.names)
    while waiting:
        for name in waiting:
            others = frozenset(waiting) - {name}
            found = matrix(node, name, bodies, yields, others, spec) or elementwise(
                name, bodies, yields, others
            )
            if found is not None:
                break
        else:
            return None
        waiting.remove(name)
        del bodies[name]
        if isinstance(found, Solved):
            bodies = {key: found.rewritten(body) for key, body in bodies.items()}
            yields = tuple(found.rewritten(item) for item in yields)
            steps.append(found.step)
        else:
            steps.append(found)
    return Solution(tuple(steps), yields)


__all__ = ["Elementwise", "MatrixState", "Solution", "solve"]
