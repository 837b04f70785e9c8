"""Which lowering each attend and each loop of a program takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...dsl.core import Attend, Axis, Recur, walk
from .. import recurrences
from ..labels import labels_of
from ..program import Program, parts_read
from . import factored, flex, fused, rows, sdpa
from .refusal import Refusal

#: the lowerings of attends besides the dense form, in the order in which `auto` takes them
MATCHERS: tuple[tuple[str, Callable[[Attend, Program, frozenset[str]], Any]], ...] = (
    ("linear", factored.match),
    ("cpu", fused.match),
    ("sdpa", sdpa.match),
    ("tiled", rows.match),
    ("flex", flex.match),
)
#: those that it never takes
BY_NAME = frozenset({"flex"})


#: a fixed number of keys, or of queries to share what is packed of keys, below which a kernel
#: gains nothing; of so few queries tiles gain nothing either: they are less than a block
FEW = 32


@dataclass(frozen=True)
class Choice:
    """The lowering of one attend or loop, and why the others were not taken.

    refusals      lowerings that do not fit
    passed_over   lowerings that fit, and why `auto` takes none of them
    found         how it fits, as its lowering wants it; None for what fits everything
    """

    name: str
    lowering: str
    refusals: tuple[tuple[str, Refusal], ...]
    passed_over: tuple[tuple[str, str], ...]
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
    passed_over: list[tuple[str, str]] = []
    for name, match in MATCHERS:
        if asked == "auto" and name in BY_NAME:
            continue
        found = Refusal("it stands inside a loop", node) if in_loop else match(node, program, parts)
        if isinstance(found, Refusal):
            refusals.append((name, found))
            continue
        reason = _unsuited(name, found, node, program) if asked == "auto" else ""
        if reason:
            passed_over.append((name, reason))
        elif asked in (name, "auto"):
            return Choice(node.name, name, tuple(refusals), tuple(passed_over), node, found)
    return Choice(node.name, "dense", tuple(refusals), tuple(passed_over), node)


def _unsuited(lowering: str, found: Any, node: Attend, program: Program) -> str:
    """Why `auto` passes over a lowering that fits; nothing where it takes it."""
    long = program.signature.long
    if lowering in ("cpu", "tiled") and not found.differs_by_query:
        return "all queries share their weights, which the plain form makes once"
    if lowering == "cpu":
        if not program.signature.fused:
            return "a kernel is not worth its making for so few pairs"
        if _is_few(node.query) or _is_few(found.key):
            return "its queries or keys are of a fixed number, and few"
        if long and any(labels_of(found.mask, found.query, found.key).keys):
            return "sorted by labels, tokens leave fewer blocks to tiles"
    if lowering == "sdpa" and long and not sdpa.is_streamed(found, program):
        return "with a mask or a bias it forms all pairs, which are many here"
    if lowering == "tiled":
        if not long:
            return "the pairs are few enough to be formed at once"
        if _is_few(node.query):
            return "its queries are of a fixed number, less than a block"
    return ""


def _is_few(axis: Axis) -> bool:
    """Whether an axis has a fixed number of tokens, and a small one."""
    return axis.size is not None and axis.size.value < FEW


def _of_loop(node: Recur, program: Program, asked: str) -> Choice:
    """Loops that are linear are advanced in chunks, unless the plain form is asked for."""
    found = None if asked == "dense" else recurrences.solve(node, program.spec)
    name = node.names[0].rpartition(".")[0]
    return Choice(name, "loop" if found is None else "chunked", (), (), node, found)
