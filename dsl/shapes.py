"""Shapes: what a YAML value may look like. One description serves the loader and the JSON Schema.

`decode` checks a node against a shape and yields plain data with spans; every mistake goes to the report and decoding goes on.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TypeAlias

from . import reader
from .diagnostics import Report
from .parser import parse_expression
from .source import Span
from .syntax import Expr

NAME = re.compile(r"[a-z][a-z0-9_]*")
SIGNATURE = re.compile(r"[a-z][a-z0-9_]*(\(.*\))?")
NOT_NAMES = ("true", "false", "null", "and", "or", "not")  # they mean something in expressions


@dataclass(frozen=True)
class Expression:
    """The text of any scalar, read as an expression."""

    doc: str = ""


@dataclass(frozen=True)
class Text:
    """Any scalar, as text."""

    doc: str = ""


@dataclass(frozen=True)
class Identifier:
    """A name: a lower-case letter, then lower-case letters, digits and underscores."""

    doc: str = ""


@dataclass(frozen=True)
class Number:
    """An int or a real; whole: only an int."""

    doc: str = ""
    whole: bool = False


@dataclass(frozen=True)
class Flag:
    """`true` or `false`."""

    doc: str = ""


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    values: tuple[str, ...]
    doc: str = ""


@dataclass(frozen=True)
class ListOf:
    """A list; `single` lets one item stand alone."""

    item: Shape
    single: bool = False
    doc: str = ""


@dataclass(frozen=True)
class MapOf:
    """Names to values. removable: null takes an inherited name away; signatures: macro heads."""

    value: Shape
    removable: bool = True
    signatures: bool = False
    doc: str = ""


@dataclass(frozen=True)
class Record:
    """Fixed fields; `rest` is the shape of any other name; is_choice: exactly one field."""

    fields: dict[str, Shape]
    required: tuple[str, ...] = ()
    rest: Shape | None = None
    removable: tuple[str, ...] = ()
    doc: str = ""
    is_choice: bool = False


@dataclass(frozen=True)
class Either:
    """A scalar shape, or a mapping shape, or a list shape, told apart by the YAML node."""

    scalar: Shape | None = None
    mapping: Shape | None = None
    sequence: Shape | None = None
    doc: str = ""


@dataclass(frozen=True)
class Lazy:
    """A shape by name, for shapes that contain themselves."""

    name: str
    doc: str = ""


Shape: TypeAlias = (
    Expression
    | Text
    | Identifier
    | Number
    | Flag
    | Choice
    | ListOf
    | MapOf
    | Record
    | Either
    | Lazy
)


@dataclass(frozen=True)
class Scalar:
    """A decoded text, number, flag, choice or name."""

    value: str | int | float | bool
    span: Span


@dataclass(frozen=True)
class Null:
    """An explicit null: what was inherited under this name goes."""

    span: Span


@dataclass(frozen=True)
class Broken:
    """What could not be decoded; its mistake has been reported, and its users keep quiet."""

    span: Span


@dataclass(frozen=True)
class Items:
    """A decoded list."""

    items: tuple[Decoded, ...]
    span: Span


@dataclass(frozen=True)
class Entry:
    """A decoded value under a name."""

    name: str
    name_span: Span
    value: Decoded


@dataclass(frozen=True)
class Table:
    """A decoded mapping, in the order written."""

    entries: dict[str, Entry]
    span: Span

    def get(self, name: str) -> Decoded | None:
        entry = self.entries.get(name)
        return None if entry is None else entry.value

    @property
    def is_broken(self) -> bool:
        """Whether an entry that was written, or is required, could not be decoded."""
        return any(isinstance(entry.value, Broken) for entry in self.entries.values())


Decoded: TypeAlias = Expr | Scalar | Null | Broken | Items | Table


@dataclass
class Decoder:
    """Checks nodes against shapes; `named` resolves `Lazy` shapes."""

    report: Report
    named: dict[str, Shape] = field(default_factory=dict)

    def decode(self, node: reader.Node, shape: Shape, what: str) -> Decoded | None:
        """The data of a node, or None where a mistake was reported."""
        match shape:
            case Lazy():
                return self.decode(node, self.named[shape.name], what)
            case Either():
                return self._either(node, shape, what)
            case ListOf():
                return self._list(node, shape, what)
            case MapOf():
                return self._map(node, shape, what)
            case Record():
                return self._record(node, shape, what)
            case _:
                return self._scalar(node, shape, what)

    def _either(self, node: reader.Node, shape: Either, what: str) -> Decoded | None:
        if isinstance(node, reader.Scalar):
            chosen = shape.scalar
        elif isinstance(node, reader.Mapping):
            chosen = shape.mapping
        else:
            chosen = shape.sequence
        if chosen is None:
            return self._wrong(node, what, _wanted(shape))
        return self.decode(node, chosen, what)

    def _list(self, node: reader.Node, shape: ListOf, what: str) -> Decoded | None:
        if isinstance(node, reader.Sequence):
            items = [self.decode(item, shape.item, what) for item in node.items]
            whole = tuple(item for item in items if item is not None)
            return Items(whole, node.span) if len(whole) == len(items) else None
        if shape.single:
            item = self.decode(node, shape.item, what)
            return None if item is None else Items((item,), node.span)
        return self._wrong(node, what, _wanted(shape))

    def _map(self, node: reader.Node, shape: MapOf, what: str) -> Decoded | None:
        if not isinstance(node, reader.Mapping):
            return self._wrong(node, what, _wanted(shape))
        entries: dict[str, Entry] = {}
        for key, value in node.entries:
            if not is_name(key.value, SIGNATURE if shape.signatures else NAME):
                self._bad_name(key, value, what)
                continue
            decoded: Decoded | None
            if shape.removable and _removes(value):
                decoded = Null(value.span)
            else:
                decoded = self.decode(value, shape.value, f"`{key.value}` in {what}")
            entries[key.value] = Entry(key.value, key.span, decoded or Broken(value.span))
        return Table(entries, node.span)

    def _record(self, node: reader.Node, shape: Record, what: str) -> Decoded | None:
        if not isinstance(node, reader.Mapping):
            return self._wrong(node, what, _wanted(shape))
        entries: dict[str, Entry] = {}
        for key, value in node.entries:
            inner = shape.fields.get(key.value) or shape.rest
            if inner is None:
                self._unknown_key(key, value, shape, what)
                continue
            if key.value not in shape.fields and not is_name(key.value):
                self._bad_name(key, value, what)
                continue
            decoded: Decoded | None
            if key.value in shape.removable and _removes(value):
                decoded = Null(value.span)
            else:
                decoded = self.decode(value, inner, f"`{key.value}`")
            entries[key.value] = Entry(key.value, key.span, decoded or Broken(value.span))
        if shape.is_choice and len(node.entries) != 1:
            return self._no_choice(node, shape, what)
        if shape.is_choice and not entries:
            return None
        self._add_lacking(shape, entries, node, what)
        return Table(entries, node.span)

    def _no_choice(self, node: reader.Mapping, shape: Record, what: str) -> Decoded | None:
        *first, last = shape.fields
        self.report.error(
            "ATT302",
            f"{what} has one key: {', '.join(first)} or {last}",
            node.entries[1][0].span if node.entries else head_of(node),
            "give each block a name of its own",
        )
        return None

    def _add_lacking(
        self, shape: Record, entries: dict[str, Entry], node: reader.Mapping, what: str
    ) -> None:
        """Report the required keys that are not there, and mark their places as broken."""
        lacking = [name for name in shape.required if name not in entries]
        if not lacking:
            return
        head = Span(node.span.source, node.span.start, node.span.start)
        keys = " and ".join(f"`{name}`" for name in lacking)
        lines = " and ".join(f"`{name}: ...`" for name in lacking)
        noun = "keys" if len(lacking) > 1 else "key"
        self.report.error("ATT303", f"{what} lacks the {noun} {keys}", head, f"add {lines}")
        entries.update({name: Entry(name, head, Broken(head)) for name in lacking})

    def _scalar(self, node: reader.Node, shape: Shape, what: str) -> Decoded | None:
        if not isinstance(node, reader.Scalar):
            if isinstance(shape, Expression):
                return self._not_an_expression(node, what)
            return self._wrong(node, what, _wanted(shape))
        match shape:
            case Expression():
                if reader.is_null(node):
                    help = "write one, such as `true` or `dot(q, k)`"
                    self.report.error("ATT201", "an expression is missing here", node.span, help)
                    return None
                return parse_expression(node, self.report)
            case Text():
                return Scalar(node.value, node.span)
            case Identifier():
                if is_name(node.value):
                    return Scalar(node.value, node.span)
            case Flag():
                flag = reader.as_bool(node)
                if flag is not None:
                    return Scalar(flag, node.span)
            case Number():
                number = reader.as_int(node)
                real = None if shape.whole or number is not None else reader.as_float(node)
                found = number if number is not None else real
                if found is not None:
                    return Scalar(found, node.span)
            case Choice():
                if node.value in shape.values:
                    return Scalar(node.value, node.span)
                hint = closest(node.value, shape.values)
                self.report.error(
                    "ATT304",
                    f"{what} is one of {', '.join(shape.values)}; not `{node.value}`",
                    node.span,
                    f"did you mean `{hint}`?" if hint else "",
                )
                return None
            case _:
                pass
        return self._wrong(node, what, _wanted(shape))

    def _wrong(self, node: reader.Node, what: str, wanted: str) -> Decoded | None:
        message = f"{what} is {wanted}; this is {_is(node)}"
        self.report.error("ATT302", message, head_of(node), _cure(node, wanted))
        return None

    def _not_an_expression(self, node: reader.Node, what: str) -> Decoded | None:
        self.report.error(
            "ATT302",
            f"{what} is an expression; this is {_is(node)}",
            head_of(node),
            "an expression that begins with `[` or `{` must be quoted",
        )
        return None

    def _cut(self, key: reader.Scalar, value: reader.Node) -> bool:
        """Whether a key is the rest of an expression that YAML cut at a comma."""
        cut = reader.is_null(value) and re.search(r"[()\[\]\"]", key.value) is not None
        if cut and key.style == "plain":
            self.report.error(
                "ATT123",
                f"`{_shown(key.value)}` is cut off from what is before it",
                key.span,
                "inside `{...}` and `[...]` quote an expression that has a comma or a bracket",
            )
            return True
        return False

    def _bad_name(self, key: reader.Scalar, value: reader.Node, what: str) -> None:
        if self._cut(key, value):
            return
        self.report.error(
            "ATT305",
            f"`{_shown(key.value)}` cannot be a name in {what}",
            key.span,
            "`true`, `false`, `null`, `and`, `or` and `not` have a meaning of their own"
            if key.value in NOT_NAMES
            else "names are lower-case letters, digits and underscores, and begin with a letter",
        )

    def _unknown_key(
        self, key: reader.Scalar, value: reader.Node, shape: Record, what: str
    ) -> None:
        if self._cut(key, value):
            return
        hint = closest(key.value, tuple(shape.fields))
        help = f"did you mean `{hint}`?" if hint else f"{what} takes {', '.join(shape.fields)}"
        self.report.error("ATT301", f"unknown key `{_shown(key.value)}` in {what}", key.span, help)


def _removes(node: reader.Node) -> bool:
    """Whether a value is a written `null`; a key with nothing behind it is a slip."""
    return reader.is_null(node) and node.span.end > node.span.start


def is_name(text: str, pattern: re.Pattern[str] = NAME) -> bool:
    """Whether a text can name something."""
    return text not in NOT_NAMES and pattern.fullmatch(text) is not None


def head_of(node: reader.Node) -> Span:
    """The span of a scalar, or the first character of a collection."""
    if isinstance(node, reader.Scalar):
        return node.span
    return Span(node.span.source, node.span.start, min(node.span.start + 1, node.span.end))


def closest(name: str, known: tuple[str, ...]) -> str:
    """The known name that is nearest in spelling, or ''."""
    found = difflib.get_close_matches(name[:60], known, n=1, cutoff=0.6)
    return found[0] if found else ""


def _shown(text: str) -> str:
    return text if len(text) <= 40 else text[:40] + "..."


def _is(node: reader.Node) -> str:
    if isinstance(node, reader.Mapping):
        return "a mapping"
    if isinstance(node, reader.Sequence):
        return "a list"
    if reader.is_null(node):
        return "empty"
    quoted = "" if node.style == "plain" else "the text "
    return f"{quoted}`{_shown(node.value)}`"


def _cure(node: reader.Node, wanted: str) -> str:
    if isinstance(node, reader.Scalar) and node.style in ("single", "double"):
        plain = reader.Scalar(node.value, "plain", node.span, node.content)
        is_flag = wanted == "`true` or `false`" and reader.as_bool(plain) is not None
        if is_flag or ("number" in wanted and reader.as_float(plain) is not None):
            return "leave the quotes away"
    if wanted == "a list" and isinstance(node, reader.Scalar) and not reader.is_null(node):
        return f"put it in brackets: `[{_shown(node.value)}]`"
    if wanted == "a mapping":
        return "write `key: value` lines, one for each"
    if wanted.startswith("a name"):
        return "names are lower-case letters, digits and underscores, and begin with a letter"
    return ""


def _wanted(shape: Shape) -> str:
    match shape:
        case Expression():
            return "an expression"
        case Text():
            return "a text"
        case Identifier():
            return "a name"
        case Number():
            return "a whole number" if shape.whole else "a number"
        case Flag():
            return "`true` or `false`"
        case Choice():
            return " or ".join(f"`{value}`" for value in shape.values)
        case ListOf():
            return "a list"
        case MapOf() | Record():
            return "a mapping"
        case Either():
            inner = [item for item in (shape.scalar, shape.sequence, shape.mapping) if item]
            return " or ".join(dict.fromkeys(_wanted(item) for item in inner))
        case Lazy():
            return shape.name
