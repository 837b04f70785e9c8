"""The invariants of a program, checked after every pass; a breach is a bug of ours."""

from __future__ import annotations

from ...dsl.core import (
    Attend,
    Contract,
    Kind,
    Linear,
    Map,
    Node,
    Read,
    ReadDim,
    Reduce,
    Scan,
    Scores,
    operands,
    walk,
)
from ...dsl.operators import POINTWISE
from ..program import Program


class InvalidIR(Exception):
    """A pass left a program that breaks a rule: a bug in attnc, not in the spec."""

    def __init__(self, step: str, message: str) -> None:
        super().__init__(f"after {step}: {message}. This is a bug in attnc; please report it.")


def verify(program: Program, step: str) -> None:
    """Check every node of a program."""
    for node in walk(*program.roots.values()):
        message = _breach(node)
        if message:
            raise InvalidIR(step, f"{type(node).__name__} {message}")
    for root in program.roots.values():
        if any(isinstance(node, Scores) for node in _outside(root)):
            raise InvalidIR(step, "Scores outside an attend")


def _outside(root: Node) -> list[Node]:
    """The nodes below a root that are not inside a normaliser."""
    found: list[Node] = []
    stack, seen = [root], set()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        found.append(node)
        if isinstance(node, Attend):
            for source in node.sources:
                parts = (source.mask, source.at, source.score, source.value)
                stack.extend(item for item in parts if item is not None)
        else:
            stack.extend(operands(node))
    return found


def _breach(node: Node) -> str:
    match node:
        case Map():
            row = POINTWISE.get(node.op)
            if row is None:
                return f"has the unknown operator {node.op}"
            most = row.most if row.most is not None else len(node.args)
            return "" if row.least <= len(node.args) <= most else "has a wrong number of arguments"
        case Contract():
            pairs = zip(node.left_dims, node.right_dims, strict=True)
            same = all(
                node.left.type.dims[a].value == node.right.type.dims[b].value for a, b in pairs
            )
            return "" if same else "contracts dims of different size"
        case Linear():
            return "" if node.arg.type.dims else "has no dims to contract"
        case Read():
            return "" if node.index.type.kind is Kind.INT else "reads at no int"
        case ReadDim():
            return "" if node.arg.type.dims else "reads a dim of nothing"
        case Reduce():
            inside = all(0 <= dim < len(node.arg.type.dims) for dim in node.dims)
            return "" if inside else "reduces a dim that is not there"
        case Scan():
            return "" if node.axis in node.type.axes else "scans an axis that is not there"
        case Attend():
            return _attend_breach(node)
        case _:
            return ""


def _attend_breach(node: Attend) -> str:
    for source in node.sources:
        if source.mask is not None and source.mask.type.kind is not Kind.BOOL:
            return "has a mask that is not a bool"
        if source.score.type.dims:
            return "has a score with feature dims"
    if any(axis in node.type.axes for source in node.sources for axis in source.axes):
        return "keeps a key axis"
    return ""
