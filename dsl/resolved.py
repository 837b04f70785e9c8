"""Documents -> the text of one spec without `extends`, each line with where it comes from.

What is printed is a spec again: checking it gives what the document gives.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from . import sections, syntax
from .document import Defined, Document
from .library import PRELUDE
from .printer import format_expression
from .shapes import Decoded, Items, Scalar, Table
from .source import Span

INDENT = "  "
_HEADER = ("name", "doc", "causality", "context", "batch")
_ATTEND = (*sections.ATTEND_FIELDS, *sections.ROW_FIELDS)


@dataclass(frozen=True)
class Line:
    """One line and the places that it comes from: its own first, then what `super` was."""

    text: str
    origins: tuple[Span, ...] = ()


def resolved(document: Document) -> list[Line]:
    """The lines of the spec that a document amounts to."""
    lines = [Line(f"attnc: {sections.VERSION}"), *_header(document)]
    for name in sections.MAP_SECTIONS:
        if name != "macros":
            lines += _section(name, document.sections.get(name, {}))
    lines += _section("macros", _own_macros(document))
    for name in sections.BINDING_SECTIONS:
        chosen = {key: item for key, item in document.bindings.items() if item.section == name}
        lines += _section(name, chosen)
    for name in (*_ATTEND, "out"):
        if name in document.fields:
            lines += _defined(name, document.fields[name], 0)
    return lines


def _header(document: Document) -> Iterator[Line]:
    for key in _HEADER:
        found = document.header.get(key)
        if found is not None:
            yield Line(f"{key}: {_plain(str(found.value))}", (found.span,))
    if document.entries:
        yield Line(f"entry: [{', '.join(document.entries)}]")
    if document.cite:
        yield Line(f"cite: [{', '.join(json.dumps(item) for item in document.cite)}]")


def _own_macros(document: Document) -> dict[str, Defined]:
    """The macros beside those that every spec sees anyway."""
    macros = document.sections.get("macros", {})
    own = f"{PRELUDE}.yaml"
    return {name: item for name, item in macros.items() if not item.span.source.name.endswith(own)}


def _section(name: str, table: dict[str, Defined]) -> Iterator[Line]:
    if table:
        yield Line(f"{name}:")
    for defined in table.values():
        yield from _defined(defined.name, defined, 1)


def _defined(name: str, defined: Defined, depth: int) -> Iterator[Line]:
    value, origins = written_out(defined)
    yield from _lines(name, value, origins, depth)


def written_out(defined: Defined) -> tuple[Decoded, tuple[Span, ...]]:
    """The value with `super` written out, and the places of all that went into it."""
    value, before = defined.value, defined.before
    if before is None or not _uses_super(value):
        return value, (defined.span,)
    inner, origins = written_out(before)
    if isinstance(inner, Table):
        inner = inner.get("x") or inner
    return _with_super(value, inner), (defined.span, *origins)


def _uses_super(value: Decoded) -> bool:
    if isinstance(value, Table):
        entry = value.get("x")
        return entry is not None and _uses_super(entry)
    if not isinstance(value, syntax.Syntax):
        return False
    return value != syntax.substitute(value, "super", syntax.Bool(True, span=value.span))


def _with_super(value: Decoded, inner: Decoded) -> Decoded:
    if isinstance(value, Table):
        entries = dict(value.entries)
        entry = entries["x"]
        entries["x"] = type(entry)(entry.name, entry.name_span, _with_super(entry.value, inner))
        return Table(entries, value.span)
    if isinstance(value, syntax.Syntax) and isinstance(inner, syntax.Syntax):
        return syntax.substitute(value, "super", inner)
    return value


def _lines(name: str, value: Decoded, origins: tuple[Span, ...], depth: int) -> Iterator[Line]:
    pad = INDENT * depth
    if isinstance(value, Table) and value.entries:
        yield Line(f"{pad}{name}:", origins)
        for entry in value.entries.values():
            yield from _lines(entry.name, entry.value, (entry.name_span,), depth + 1)
    elif isinstance(value, Items) and any(isinstance(item, Table) for item in value.items):
        yield Line(f"{pad}{name}:", origins)
        for item in value.items:
            yield from _item(item, depth + 1)
    else:
        yield Line(f"{pad}{name}: {_inline(value)}", origins)


def _item(item: Decoded, depth: int) -> Iterator[Line]:
    """A mapping in a list: its first line after the dash."""
    if not isinstance(item, Table):
        yield Line(f"{INDENT * depth}- {_inline(item)}")
        return
    first = True
    for entry in item.entries.values():
        for line in _lines(entry.name, entry.value, (entry.name_span,), depth + 1):
            text = line.text
            if first:
                text = f"{INDENT * depth}- {text[len(INDENT) * (depth + 1) :]}"
                first = False
            yield Line(text, line.origins)


def _inline(value: Decoded) -> str:
    if isinstance(value, Items):
        return f"[{', '.join(_quoted(item) for item in value.items)}]"
    if isinstance(value, Table):
        return "{}"
    return _plain(_bare(value))


def _quoted(value: Decoded) -> str:
    """A value inside `[...]`, where YAML takes commas and brackets for its own."""
    text = _bare(value)
    return text if text.replace("_", "").isalnum() or _is_number(text) else json.dumps(text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _bare(value: Decoded) -> str:
    if isinstance(value, Scalar):
        return str(value.value).lower() if isinstance(value.value, bool) else str(value.value)
    if isinstance(value, syntax.Syntax):
        return format_expression(value)
    return "null"


def _plain(text: str) -> str:
    """A text as a plain scalar where YAML would read it as meant, else in quotes."""
    special = not text or text[0] in "[]{}\"'&*!|>%@`#,?:" or text.startswith(("- ", "? "))
    if special or ": " in text or " #" in text or text.endswith(":"):
        return json.dumps(text, ensure_ascii=False)
    return text
