"""Events of the YAML parser -> nodes, within limits.

Aliases share the node they name and are counted as if written out; depth is held on a stack of our
own, so that no text can make Python recurse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from .diagnostics import Note, Report
from .nodes import Mapping, Node, Scalar, ScalarStyle, Sequence
from .source import Source, Span

MAX_DEPTH = 64
MAX_NODES = 10_000


def compose(source: Source, report: Report) -> Node | None:
    """The root node, None in an empty file.

    Raises:
        Stop: reading cannot go on, and why has been reported.
        yaml.YAMLError: the text is not YAML.
    """
    return _Composer(source, report).compose()


class Stop(Exception):
    """Reading cannot go on; what is wrong has been reported."""


@dataclass(slots=True)
class _Measured:
    """A node, how many nodes it holds with its aliases expanded, and how deep it goes."""

    node: Node
    size: int
    height: int


@dataclass(slots=True)
class _Frame:
    """A collection whose end has not been met."""

    event: Any
    start: int
    items: list[Node] = field(default_factory=list)
    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)
    key: Scalar | None = None
    is_key_next: bool = True
    end: int = 0
    size: int = 1
    height: int = 1


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STYLES: dict[str, ScalarStyle] = {
    "'": "single",
    '"': "double",
    "|": "literal",
    ">": "folded",
}
# What may stand between the start of a scalar's event and its text: its properties.
_PROPERTIES = re.compile(r"(?:[&!][^\s,\[\]{}]*(?:\s|(?<=\s)#[^\n]*)*)*")
_TAG = re.compile(r"(?:&\S*(?:\s|(?<=\s)#[^\n]*)+)?(![^\s,\[\]{}]*)")
_BLOCK_HEADER = re.compile(r"[|>][^\n]*(?:\n|\Z)")


class _Composer:
    """Turns events into nodes with a stack of its own, counting as it goes."""

    def __init__(self, source: Source, report: Report) -> None:
        self.source = source
        self.report = report
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[_Measured | None, Span]] = {}
        self.nodes = 0
        self.root: Node | None = None
        self.documents = 0

    def compose(self) -> Node | None:
        """The root node, None in an empty file."""
        for event in _events(self.source.text):
            match event:
                case yaml.DocumentStartEvent():
                    self.start_document(event)
                case yaml.ScalarEvent():
                    self.add_scalar(event)
                case yaml.AliasEvent():
                    self.add_alias(event)
                case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                    self.open(event)
                case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                    self.close(event)
        return self.root

    def span(self, event: Any) -> Span:
        return Span(self.source, event.start_mark.index, event.end_mark.index)

    def start_document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            self.stop(
                "ATT110",
                "a second document begins here",
                self.span(event),
                "one file holds one spec; move this one to a file of its own",
            )

    def stop(self, code: str, message: str, span: Span, help: str, *notes: Note) -> NoReturn:
        self.report.error(code, message, span, help, notes)
        raise Stop

    def count(self, size: int, height: int, span: Span) -> None:
        """Hold the limits, before a node of this size goes in."""
        self.nodes += size
        if self.nodes > MAX_NODES:
            self.stop(
                "ATT114",
                f"more than {MAX_NODES:,} values, counting what aliases repeat",
                span,
                "a spec this large is a mistake or an attack; use macros, not aliases",
            )
        if len(self.stack) + height > MAX_DEPTH:
            self.stop(
                "ATT113",
                f"nested more than {MAX_DEPTH} deep",
                span,
                "take inner parts out into bindings under `let`",
            )

    def add_scalar(self, event: Any) -> None:
        self.check_tag(event)
        self.count(1, 1, self.span(event))
        scalar = _scalar(event, self.source)
        self.declare(event, _Measured(scalar, 1, 1))
        self.place(_Measured(scalar, 1, 1), event.end_mark.index)

    def add_alias(self, event: Any) -> None:
        span = self.span(event)
        measured, place = self.anchors.get(event.anchor, (None, None))
        if place is None:
            self.stop("ATT116", f"no anchor `&{event.anchor}` before this", span, _ALIAS_HELP)
        if measured is None:
            note = Note(place, "the value that would contain itself")
            self.stop("ATT115", f"`*{event.anchor}` contains itself", span, "write it out", note)
        if self.wants_key():
            self.reject_key(span, "an alias")
        self.count(measured.size, measured.height, span)
        self.place(measured, span.end)

    def open(self, event: Any) -> None:
        self.check_tag(event)
        span = Span(self.source, event.start_mark.index, event.start_mark.index + 1)
        if self.wants_key():
            self.reject_key(span, "a list or mapping")
        self.count(1, 1, span)
        self.declare(event, None)
        self.stack.append(_Frame(event, _skip_properties(event, self.source)))

    def close(self, event: Any) -> None:
        frame = self.stack.pop()
        # A block ends where its last value does, not where the next key begins.
        end = event.end_mark.index if frame.event.flow_style else max(frame.end, frame.start)
        span = Span(self.source, frame.start, end)
        node: Node
        if isinstance(event, yaml.MappingEndEvent):
            node = Mapping(tuple(frame.entries.values()), span)
        else:
            node = Sequence(tuple(frame.items), span)
        measured = _Measured(node, frame.size, frame.height)
        if frame.event.anchor is not None:
            self.anchors[frame.event.anchor] = (measured, self.span(frame.event))
        self.place(measured, end)

    def declare(self, event: Any, measured: _Measured | None) -> None:
        """Remember an anchor; without a node while its collection is still open."""
        if event.anchor is None:
            return
        start = event.start_mark.index
        span = Span(self.source, start, start + 1 + len(event.anchor))
        if event.anchor in self.anchors:
            note = Note(self.anchors[event.anchor][1], "first here")
            message = f"the anchor `&{event.anchor}` is used twice"
            self.report.error("ATT117", message, span, "give each its own name", (note,))
        self.anchors[event.anchor] = (measured, span)

    def check_tag(self, event: Any) -> None:
        if event.tag is None:
            return
        match = _TAG.match(self.source.text, event.start_mark.index)
        start, end = match.span(1) if match else (event.start_mark.index, event.end_mark.index)
        self.report.error(
            "ATT119",
            "tags are not part of the language",
            Span(self.source, start, end),
            "delete the tag; quote an expression that begins with `!`, or write `not`",
        )

    def wants_key(self) -> bool:
        if not self.stack:
            return False
        frame = self.stack[-1]
        return isinstance(frame.event, yaml.MappingStartEvent) and frame.is_key_next

    def reject_key(self, span: Span, what: str) -> NoReturn:
        self.stop(
            "ATT121",
            f"a key must be a name, this is {what}",
            span,
            "write the key out; quote an expression that begins with a bracket or `*`",
        )

    def place(self, measured: _Measured, end: int) -> None:
        """Put a finished node where it belongs: key, value, item or root."""
        if not self.stack:
            self.root = measured.node
            return
        frame = self.stack[-1]
        frame.end = end
        frame.size += measured.size
        frame.height = max(frame.height, 1 + measured.height)
        if isinstance(frame.event, yaml.SequenceStartEvent):
            frame.items.append(measured.node)
        elif frame.is_key_next:
            frame.key = self.checked_key(measured.node, frame)
            frame.is_key_next = False
        else:
            if frame.key is not None:
                frame.entries[frame.key.value] = (frame.key, measured.node)
            frame.is_key_next = True

    def checked_key(self, node: Node, frame: _Frame) -> Scalar | None:
        """The key, or None when its entry is to be left out."""
        assert isinstance(node, Scalar)  # reject_key has stopped at all others
        if node.value == "<<" and node.style == "plain":
            help = "write the keys out, or inherit with `extends`"
            self.report.error("ATT118", "`<<` does not merge here", node.span, help)
        elif not node.value.strip():
            help = "write a name before the `:`"
            self.report.error("ATT122", "this key is empty", node.span, help)
        elif node.value in frame.entries:
            first = frame.entries[node.value][0]
            note = Note(first.span, "first here")
            message = f"the key `{node.value}` stands twice"
            self.report.error("ATT120", message, node.span, "keep one of them", (note,))
        else:
            return node
        return None


_ALIAS_HELP = "quote an expression that begins with `*`; an alias needs its `&name` first"


def _events(text: str) -> Iterator[Any]:
    return iter(yaml.parse(text, Loader=_LOADER))


def _skip_properties(event: Any, source: Source) -> int:
    """Where the node itself begins, after `&anchor` and `!tag`."""
    start, end = event.start_mark.index, event.end_mark.index
    if event.anchor is None and event.tag is None:
        return int(start)
    match = _PROPERTIES.match(source.text, start)
    return match.end() if match else int(end)


def _scalar(event: Any, source: Source) -> Scalar:
    style = _STYLES.get(event.style or "", "plain")
    end = event.end_mark.index
    start = min(_skip_properties(event, source), end)
    if style == "plain":
        span = content = Span(source, start, end)
    elif style in ("single", "double"):
        span, content = Span(source, start, end), Span(source, start + 1, end - 1)
    else:
        span, content = _block_spans(source, start, end)
    return Scalar(event.value, style, span, content)


def _block_spans(source: Source, start: int, end: int) -> tuple[Span, Span]:
    """The span of a block scalar, and of its lines below the `|` or `>` header."""
    end = start + len(source.text[start:end].rstrip())
    header = _BLOCK_HEADER.match(source.text, start, end)
    inside = header.end() if header else end
    return Span(source, start, end), Span(source, inside, end)
