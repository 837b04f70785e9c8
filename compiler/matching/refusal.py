"""Why a lowering does not take an attend."""

from __future__ import annotations

from dataclasses import dataclass

from ...dsl.core import Attend, Node
from ..program import Program


@dataclass(frozen=True)
class Refusal:
    """Why an attend does not fit, at which node, and the smallest edit that would let it."""

    reason: str
    node: Node | None = None
    edit: str = ""


def whole_rows(
    node: Attend, program: Program, parts: frozenset[str], *, drops: bool = False
) -> Refusal | None:
    """What keeps an attend from being computed without its weights: they are needed one by one.

    drops   whether weights can be dropped one by one
    """
    if len(node.sources) != 1 or node.sources[0].at is not None:
        return Refusal("it has several sources or a list of keys", node, "one source with a mask")
    if node.sources[0].axes != (node.joint,):
        return Refusal("its keys have two axes", node)
    if parts:
        names = ", ".join(sorted(parts))
        return Refusal(f"its {names} are read", node, f"do not read .{names}")
    if node.dropout and program.signature.training and not drops:
        return Refusal("its weights are dropped one by one, by counter", node, "dropout: 0")
    return None
