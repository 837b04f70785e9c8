"""Which lowering each attend and each loop of a program takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...dsl.core import Attend, Axis, Recur, walk
from .. import recurrences
from ..labels import labels_of
from ..program import Program, parts_read
from . import factored, fused, rows, sdpa
from .refusal import Refusal

#: the lowerings of attends besides the dense form, in the order in which `auto` takes them
MATCHERS: tuple[tuple[str, Callable[[Attend, Program, frozenset[str]], Any]], ...] = (
    ("linear", factored.match),
    ("cpu", fused.match),
    ("sdpa", sdpa.match),
    ("tiled", rows.match),
)


#: a fixed number of keys, or of queries to share what is packed of keys, below which a kernel
#: gains nothing; of so few queries tiles gain nothing either: they are less than a block
FEW = 32


@dataclass(frozen=True)
class Choice:
    """The lowering of one attend or loop, and why the others were not taken.

    found   how it fits, as its lowering wants it; None for what fits everything
    """

    name: str
    lowering: str
    refusals: tuple[tuple[str, Refusal], ...]
    node: Attend | Recur
    found: Any = None


def choose(program: Program, asked: str) -> tuple[Choice, ...]:
    """The choice of every attend, then of every loop; `asked` is `auto` or a lowering's name."""
    nodes = list(walk(*program.roots.values()))
    loops = {node.names: node for node in nodes if isinstance(node, Recur)}
    inside = set(walk(*(n for loop in loops.values() for n in (*loop.nexts, *loop.yields))))
    parts = parts_read(program)
    attends = (node for node in nodes if isinstance(node, Attend))
    return (
        *(
            _of_attend(node, program, asked, parts.get(node, frozenset()), node in inside)
            for node in attends
        ),
        *(_of_loop(node, program, asked) for node in loops.values()),
    )


def _of_attend(
    node: Attend, program: Program, asked: str, parts: frozenset[str], in_loop: bool
) -> Choice:
    refusals: list[tuple[str, Refusal]] = []
    for name, match in MATCHERS:
        found = Refusal("it stands inside a loop", node) if in_loop else match(node, program, parts)
        if isinstance(found, Refusal):
            refusals.append((name, found))
        elif name == asked or (asked == "auto" and _suits(name, found, node, program)):
            return Choice(node.name, name, tuple(refusals), node, found)
    return Choice(node.name, "dense", tuple(refusals), node)


def _suits(lowering: str, found: Any, node: Attend, program: Program) -> bool:
    """Whether `auto` takes a lowering that fits: of many pairs none that forms them all."""
    long = program.signature.long
    if lowering == "cpu":
        few = _is_few(node.query) or _is_few(found.key)
        scattered = long and any(labels_of(found.mask, found.query, found.key).keys)
        # weights that all queries share the plain form makes once
        return program.signature.fused and found.differs_by_query and not scattered and not few
    if lowering == "sdpa":
        return not long or sdpa.is_streamed(found, program)
    return lowering != "tiled" or (long and not _is_few(node.query))


def _is_few(axis: Axis) -> bool:
    """Whether an axis has a fixed number of tokens, and a small one."""
    return axis.size is not None and axis.size.value < FEW


def _of_loop(node: Recur, program: Program, asked: str) -> Choice:
    """Loops that are linear are advanced in chunks, unless the plain form is asked for."""
    found = None if asked == "dense" else recurrences.solve(node, program.spec)
    name = node.names[0].rpartition(".")[0]
    return Choice(name, "loop" if found is None else "chunked", (), node, found)
