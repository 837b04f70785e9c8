"""Programs -> text: one line per value with its type, attends and loops as indented blocks.

    %q : real{b, h, x}[d_head] = linear(x, q)
    %heads : real{b, h, x}[d_value] = attend x -> context
        score
            %2 : real{b, h, x, context} = contract(%q, %k, [0], [0])
            yield %2
        value %v

Values are named after the binding they are where they are one; constants and parameters stand where they are used. Inside a block stand the values that only it needs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from ..dsl.core import (
    Attend,
    AttendSource,
    Axis,
    Const,
    Index,
    KvHead,
    Length,
    Map,
    Node,
    Param,
    Position,
    Recur,
    Scores,
    Use,
    Valid,
    operands,
    walk,
)
from ..dsl.sizes import Size
from .program import Program

INDENT = "    "
_LEAVES = (Const, Param, Index, Position, Length, Valid, KvHead, Scores)
_WORDS = {"Map": "", "AxisToDim": "axis_to_dim", "DimToAxis": "dim_to_axis"}


def print_program(program: Program) -> str:
    """The text of a program: its arguments, every value, and what it yields."""
    printer = _Printer(_names(program))
    lines = [f"program {program.spec.name}{_signature(program)}"]
    for root in program.roots.values():
        lines += printer.block([root], 1)
    for name, root in program.roots.items():
        lines.append(f"{INDENT}yield {name} = {printer.reference(root)}")
    return "\n".join(lines) + "\n"


def _signature(program: Program) -> str:
    """The axes and dims that the text mentions, at their present sizes."""
    sizes = [f"{name}={value}" for name, value in program.spec.dims.items()]
    given = [f"given {name}" for name in sorted(program.signature.given)]
    return f" ({', '.join([*sizes, *given])})"


def _names(program: Program) -> dict[Node, str]:
    """Names of bindings; attends, loops and learned maps that passes have changed keep theirs."""
    found: dict[Node, str] = {}
    taken: set[str] = set()
    for name, node in program.spec.bindings.items():
        if node not in found and not isinstance(node, _LEAVES):
            found[node] = name
            taken.add(name)
    live = list(walk(*program.roots.values()))
    taken = {name for node, name in found.items() if node in set(live)}
    for node in live:
        name = getattr(node, "name", "")
        if node not in found and name and not isinstance(node, _LEAVES) and name not in taken:
            found[node] = name
            taken.add(name)
    return found


class _Printer:
    """Numbers values as they come; a block sees what stands before it, and keeps its own."""

    def __init__(self, names: dict[Node, str]) -> None:
        self.names = names
        self.shown: set[Node] = set()
        self.count = 0

    def block(self, roots: list[Node], depth: int) -> list[str]:
        """The lines that define the roots and what they need, as far as not yet shown."""
        lines: list[str] = []
        for root in roots:
            for node in _outside(root, self.shown):
                if node not in self.shown and not isinstance(node, _LEAVES):
                    self.shown.add(node)
                    lines += self._lines(node, depth)
        return lines

    def inner(self, root: Node, depth: int) -> list[str]:
        """The lines of a block of its own, ending with what it yields."""
        kept = set(self.shown)
        lines = self.block([root], depth)
        self.shown = kept
        return [*lines, f"{INDENT * depth}yield {self.reference(root)}"]

    def reference(self, node: Node) -> str:
        """How a value is called where it is used."""
        match node:
            case Const():
                return node.name or str(node.value).lower()
            case Param():
                return node.name
            case Index() | Position() | Length() | Valid() | KvHead():
                return f"{_word(node)}({node.axis})"
            case Scores():
                return "scores"
        if node not in self.names:
            self.names[node] = str(self.count)
            self.count += 1
        return f"%{self.names[node]}"

    def _lines(self, node: Node, depth: int) -> list[str]:
        head = f"{INDENT * depth}{self.reference(node)} : {node.type} = "
        match node:
            case Attend():
                return [head + self._attend_head(node), *self._attend(node, depth + 1)]
            case Recur():
                return [head + f"recur {node.axis}", *self._recur(node, depth + 1)]
            case Use():
                given = [
                    f"{key}={self.reference(arg)}"
                    for key, arg in zip(node.keys, node.args, strict=True)
                ]
                return [head + f"use {node.name}({', '.join(given)}).{node.output}"]
            case _:
                return [head + self._operation(node)]

    def _operation(self, node: Node) -> str:
        if isinstance(node, Map) and not node.op[0].isalpha() and len(node.args) == 2:
            return f"{self.reference(node.args[0])} {node.op} {self.reference(node.args[1])}"
        if isinstance(node, Map):
            return f"{node.op}({', '.join(self.reference(arg) for arg in node.args)})"
        fields = [f.name for f in dataclasses.fields(node) if f.name != "type"]
        shown = [(name, getattr(node, name)) for name in fields]
        parts = [self._field(name, value) for name, value in shown if value not in (None, (), "")]
        return f"{_word(node)}({', '.join(parts)})"

    def _field(self, name: str, value: Any) -> str:
        text = self._value(value)
        plain = isinstance(value, Node) or (isinstance(value, tuple) and text.startswith("%"))
        return text if plain and name != "where" else f"{name}={text}"

    def _value(self, value: Any) -> str:
        if isinstance(value, Node):
            return self.reference(value)
        if isinstance(value, tuple):
            inner = ", ".join(self._value(item) for item in value)
            nodes = bool(value) and all(isinstance(item, Node) for item in value)
            return inner if nodes else f"[{inner}]"
        if isinstance(value, Axis | Size | str):
            return str(value)
        return str(value).lower()

    def _attend_head(self, node: Attend) -> str:
        keys = ", ".join("*".join(str(axis) for axis in item.axes) for item in node.sources)
        joint = "" if len(node.sources) == 1 else f" (together {node.joint})"
        dropout = f", dropout {node.dropout}" if node.dropout else ""
        return f"attend {node.query} -> {keys}{joint}{dropout}"

    def _attend(self, node: Attend, depth: int) -> list[str]:
        lines: list[str] = []
        for number, source in enumerate(node.sources):
            if len(node.sources) > 1:
                lines.append(f"{INDENT * depth}source {number}")
            lines += self._source(source, depth + (len(node.sources) > 1))
        return [*lines, *self._part("normalize", node.normalize, depth)]

    def _source(self, source: AttendSource, depth: int) -> list[str]:
        lines: list[str] = []
        for name in ("mask", "at", "score", "value"):
            found = getattr(source, name)
            if found is not None:
                lines += self._part(name, found, depth)
        return lines

    def _part(self, name: str, node: Node, depth: int) -> list[str]:
        if isinstance(node, _LEAVES) or node in self.shown:
            return [f"{INDENT * depth}{name} {self.reference(node)}"]
        return [f"{INDENT * depth}{name}", *self.inner(node, depth + 1)]

    def _recur(self, node: Recur, depth: int) -> list[str]:
        pad = INDENT * depth
        lines = [
            f"{pad}carry {name} = {self.reference(init)}"
            for name, init in zip(node.names, node.inits, strict=True)
        ]
        kept = set(self.shown)
        lines += self.block([*node.nexts, *node.yields], depth)
        self.shown = kept
        for name, value in zip(node.names, node.nexts, strict=True):
            lines.append(f"{pad}next {name} = {self.reference(value)}")
        yields = ", ".join(self.reference(item) for item in node.yields)
        which = f"yield {node.which}" if node.which >= 0 else f"last {node.names[-1 - node.which]}"
        return [*lines, f"{pad}yields {yields}", f"{pad}result is {which}"]


def _word(node: Node) -> str:
    """`axis_to_dim` of AxisToDim."""
    name = type(node).__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _outside(root: Node, shown: set[Node]) -> Iterator[Node]:
    """The nodes below a root that do not belong inside a block, operands first."""
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif node not in seen and node not in shown:
            seen.add(node)
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(list(_needed(node))))


def _needed(node: Node) -> Iterator[Node]:
    """What must stand before a node: of a block, only what does not belong inside it."""
    if isinstance(node, Attend):
        inside = _pair_nodes(node)
    elif isinstance(node, Recur):
        inside = _step_nodes(node)
    else:
        yield from operands(node)
        return
    for item in (node, *inside):
        yield from (child for child in operands(item) if child not in inside)


def _pair_nodes(attend: Attend) -> dict[Node, None]:
    """The nodes of the fields that vary over pairs, or over the scores."""
    keys = {axis for source in attend.sources for axis in source.axes} | {attend.joint}
    found: dict[Node, None] = {}
    for source in attend.sources:
        for field in (source.mask, source.at, source.score, source.value):
            for item in walk(field) if field is not None else ():
                axes = item.type.axes
                if attend.query in axes and axes & keys:
                    found[item] = None
    for item in walk(attend.normalize):
        if isinstance(item, Scores) or any(child in found for child in operands(item)):
            found[item] = None
    return found


def _step_nodes(node: Recur) -> dict[Node, None]:
    """The nodes of the bodies of a loop that depend on what is carried."""
    found: dict[Node, None] = {}
    for item in walk(*node.nexts, *node.yields):
        carried = isinstance(item, Param) and item.role == "carry" and item.name in node.names
        if carried or any(child in found for child in operands(item)):
            found[item] = None
    return found
