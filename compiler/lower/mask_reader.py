"""What the mask of an attend reads, collected into a program over positions, labels, flags, learned spans."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import fx

from ...dsl.core import (
    Attend,
    AttendSource,
    Const,
    Draw,
    Index,
    Map,
    Node,
    Param,
    Position,
    Reduce,
    Use,
    walk,
)
from ..sparsity import Instruction, MaskProgram
from ..sparsity.inputs import MaskInputs
from ..sparsity.translate import mask_program, names_of
from .emitter import NotLowered

if TYPE_CHECKING:
    from .dense import Dense


class MaskReader:
    """Collects what the masks of one attend read, each value once; known: None for everything."""

    def __init__(self, emitter: Dense, known: frozenset[str] | None) -> None:
        self.emitter, self.known = emitter, known
        self.outputs: list[Any] = []

    def output(self, value: Any) -> int:
        """The place of a value among the outputs."""
        for place, item in enumerate(self.outputs):
            if item is value:
                return place
        self.outputs.append(value)
        return len(self.outputs) - 1

    def of_source(self, attend: Attend, source: AttendSource) -> MaskInputs:
        """The mask of a source over its inputs."""
        key = source.axes[-1]
        if source.at is not None and source.at.type.ref is not None:
            key = source.at.type.ref
        queries, keys = (self.output(self.emitter.size(axis)) for axis in (attend.query, key))
        if source.at is not None or len(source.axes) != 1:
            sizes = [axis.size.value if axis.size is not None else 1 for axis in source.axes]
            return MaskInputs(None, (), queries, keys, math.prod(sizes))
        # by its axes too: one value may be read along two
        places: dict[tuple[int | tuple[int, int], tuple[str, ...]], int] = {}
        content: dict[str, None] = {}
        read: list[Node] = []

        def leaf(node: Node) -> Instruction | None:
            if isinstance(node, Const):
                return None
            if {attend.query, key} <= node.type.axes:
                is_formula = isinstance(node, Map | Reduce)
                content.update(dict.fromkeys(() if is_formula else _content(node, self.known)))
                return None
            if isinstance(node, Position | Index) and node.axis in (attend.query, key):
                counter = self.counter(node)
                if counter is not None:
                    counted = counter, names_of((node.axis,), attend.query, key)
                    return Instruction("input", (places.setdefault(counted, len(places)),))
            hidden = list(_content(node, self.known))
            content.update(dict.fromkeys(hidden))
            read.append(node)
            value = None if hidden else self.lowered(node)
            if value is None:
                return Instruction("some" if node.type.kind.value == "bool" else "any", ())
            if value.is_number and not isinstance(value.node, fx.Node):
                return Instruction("const", (value.node,))
            known = self.output(value.node), names_of(value.axes, attend.query, key)
            return Instruction("input", (places.setdefault(known, len(places)),))

        steps, conjuncts, diagonals = mask_program(source.mask, attend.query, key, leaf)
        made = MaskProgram(steps, conjuncts, diagonals, tuple(axes for _, axes in places))
        plain = not any(isinstance(item, Param | Draw | Use) for item in walk(*read))
        return MaskInputs(
            made, tuple(place for place, _ in places), queries, keys, 0, tuple(content), plain
        )

    def counter(self, node: Position | Index) -> tuple[int, int] | None:
        """Start and size of what counts tokens, or None where the call lists positions."""
        if isinstance(node, Position) and self.emitter.is_per_example(node.axis):
            return None
        start = self.emitter.offset(node.axis) if isinstance(node, Position) else 0
        return self.output(start), self.output(self.emitter.size(node.axis))

    def lowered(self, node: Node) -> Any:
        """The value of a node, or None where it has none outside of the pairs."""
        try:
            return self.emitter.lower(node)
        except NotLowered:
            return None


def _content(node: Node, known: frozenset[str] | None) -> Iterator[str]:
    """What a value needs of the tokens themselves, and of chance, where that is not known."""
    if known is None:
        return
    for item in walk(node):
        if isinstance(item, Param) and item.role in ("stream", "argument", "carry"):
            if item.name not in known and not (item.name == "context" and "x" in known):
                yield item.name
        elif isinstance(item, Use) or (isinstance(item, Draw) and item.per_call):
            yield item.name
