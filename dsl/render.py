"""Diagnostics -> text, with the line at fault and carets under it; also one-line and JSON forms.

Plain text without dependencies. The command line adds colour through a `style` callback, which is
given each piece and the role it plays.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import Any, Literal, TypeAlias

from .diagnostics import Diagnostic, Note
from .source import Span

MAX_COLUMNS = 100
TAB_WIDTH = 4

Role = Literal["location", "error", "warning", "message", "note", "gutter", "caret", "help"]
Style: TypeAlias = Callable[[str, Role], str]


def render_full(diagnostic: Diagnostic, style: Style | None = None) -> str:
    """The diagnostic with its excerpt, its notes with theirs, and the help.

    mha.yaml:2:12: error[ATT401]: unknown name `kk`
       2 | score: q * kk
         |            ^^
      = help: did you mean `k`?
    """
    paint = style or _plain
    lines = [_headline(diagnostic, paint), *_excerpt(diagnostic.span, "^", paint)]
    for note in diagnostic.notes:
        lines += _note(note, paint)
    if diagnostic.help:
        lines.append(f"  = {paint('help', 'help')}: {_visible(diagnostic.help)}")
    return "\n".join(lines)


def render_concise(diagnostic: Diagnostic, style: Style | None = None) -> str:
    """The diagnostic on one line, as editors and grep expect it."""
    return _headline(diagnostic, style or _plain)


def render_github(diagnostic: Diagnostic) -> str:
    """A workflow command, which GitHub shows beside the line."""
    place = to_json(diagnostic)
    start, end = place["location"], place["end_location"]
    properties = {
        "title": diagnostic.code,
        "file": place["file"],
        "line": start["line"],
        "col": start["column"],
        "endLine": end["line"],
        "endColumn": end["column"],
    }
    shown = ",".join(f"{key}={_escaped(str(value), ',:')}" for key, value in properties.items())
    text = "; ".join(filter(None, [diagnostic.message, diagnostic.help]))
    return f"::{diagnostic.severity} {shown}::{_escaped(text)}"


def to_json(diagnostic: Diagnostic) -> dict[str, Any]:
    """The diagnostic as JSON values; lines and columns count from 1, ends are exclusive."""
    return {
        "code": diagnostic.code,
        "message": diagnostic.message,
        "severity": diagnostic.severity,
        **_place(diagnostic.span),
        "help": diagnostic.help,
        "notes": [{"label": note.label, **_place(note.span)} for note in diagnostic.notes],
    }


def _place(span: Span) -> dict[str, Any]:
    line, column = span.source.line_column(span.start)
    end_line, end_column = span.source.line_column(span.end)
    return {
        "file": span.source.name,
        "location": {"line": line, "column": column},
        "end_location": {"line": end_line, "column": end_column},
    }


def _plain(text: str, role: Role) -> str:
    return text


def _location(span: Span) -> str:
    line, column = span.source.line_column(span.start)
    return f"{_visible(span.source.name)}:{line}:{column}"


def _headline(diagnostic: Diagnostic, paint: Style) -> str:
    where = paint(_location(diagnostic.span), "location")
    what = paint(f"{diagnostic.severity}[{diagnostic.code}]", diagnostic.severity)
    return f"{where}: {what}: {paint(_visible(diagnostic.message), 'message')}"


def _note(note: Note, paint: Style) -> list[str]:
    where = paint(_location(note.span), "location")
    headline = f"{where}: {paint('note', 'note')}: {_visible(note.label)}"
    return [headline, *_excerpt(note.span, "-", paint)]


def _excerpt(span: Span, mark: str, paint: Style) -> list[str]:
    """The first line of the span, and marks under what of it belongs to the span."""
    if not span.source.text:
        return []
    line, column = span.source.line_column(span.start)
    text = span.source.line_text(line)
    start = min(column - 1, len(text))
    end = min(max(start + span.end - span.start, start + 1), max(len(text.rstrip()), start + 1))
    shown, left, width = _window(text, start, end)
    gutter = f"{line:>4} | "
    blank = f"{'|':>{len(gutter) - 1}} "
    marks = paint(mark * width, "caret")
    return [
        (paint(gutter, "gutter") + shown).rstrip(),
        paint(blank, "gutter") + " " * left + marks,
    ]


def _window(text: str, start: int, end: int) -> tuple[str, int, int]:
    """What to show of a line, the column at which the marks begin, and how many they are."""
    cells = _cells(text)
    edges = [0, *accumulate(_width(cell) for cell in cells)]
    first, last = _shown(edges, start)
    head = "…" if first else ""
    tail = "…" if last < len(cells) else ""
    left = edges[start] - edges[first] + len(head)
    width = edges[min(end, last)] - edges[start]
    return head + "".join(cells[first:last]) + tail, left, max(width, 1)


def _shown(edges: list[int], start: int) -> tuple[int, int]:
    """The range of characters to show, given their edges in columns and where the marks begin."""
    total = edges[-1]
    if total <= MAX_COLUMNS:
        return 0, len(edges) - 1
    # Marks begin at the middle or before it; a column is kept for each sign of what is left out.
    first = bisect_left(
        edges, max(0, min(edges[start] - MAX_COLUMNS // 2, total - MAX_COLUMNS + 1))
    )
    room = MAX_COLUMNS - (first > 0)
    if total - edges[first] <= room:
        return first, len(edges) - 1
    return first, bisect_right(edges, edges[first] + room - 1) - 1


def _cells(text: str) -> list[str]:
    """Each character as it is shown: tabs as spaces, what is invisible by its number."""
    cells, column = [], 0
    for char in text:
        cell = " " * (TAB_WIDTH - column % TAB_WIDTH) if char == "\t" else _visible(char)
        column += _width(cell)
        cells.append(cell)
    return cells


def _visible(text: str) -> str:
    """The text without characters that move, hide or reorder others."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _is_visible(char) else f"<U+{ord(char):04X}>" for char in text)


def _is_visible(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _width(cell: str) -> int:
    """Columns on a terminal: two for East Asian wide characters, none for combining ones."""
    if cell.isascii():
        return len(cell)
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in cell
    )


def _escaped(text: str, also: str = "") -> str:
    """Percent-escapes as GitHub's runner undoes them; what else is invisible by its number."""
    return "".join(
        f"%{ord(char):02X}" if char in "%\r\n" + also else _visible(char) for char in text
    )
