"""Diagnostics: one mistake each, with its code, its place and what to do about it.

`Report` collects the diagnostics of a file; `SpecError` carries them to the caller. Rendering lives in `render.py`, the text of each code in `mistakes.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .source import Span

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Note:
    """A second place that belongs to a mistake, such as a declaration."""

    span: Span
    label: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake: code (`ATT201`), message (what), span (where), help (how to mend it)."""

    code: str
    message: str
    span: Span
    help: str = ""
    notes: tuple[Note, ...] = ()
    severity: Severity = "error"


class SpecError(Exception):
    """The spec is at fault; holds every diagnostic found."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        self.diagnostics = diagnostics
        super().__init__(diagnostics)

    def __str__(self) -> str:
        from .render import render_full

        return "\n\n".join(render_full(diagnostic) for diagnostic in self.diagnostics)


@dataclass(slots=True)
class Report:
    """Collects diagnostics; each span and code once."""

    diagnostics: list[Diagnostic] = field(default_factory=list)
    seen: set[tuple[str, int, int, str]] = field(default_factory=set)

    def add(self, diagnostic: Diagnostic) -> None:
        key = (
            diagnostic.code,
            diagnostic.span.start,
            diagnostic.span.end,
            diagnostic.span.source.name,
        )
        if key not in self.seen:
            self.seen.add(key)
            self.diagnostics.append(diagnostic)

    def error(
        self, code: str, message: str, span: Span, help: str = "", notes: tuple[Note, ...] = ()
    ) -> None:
        self.add(Diagnostic(code, message, span, help, notes))

    def warning(
        self, code: str, message: str, span: Span, help: str = "", notes: tuple[Note, ...] = ()
    ) -> None:
        self.add(Diagnostic(code, message, span, help, notes, "warning"))

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        found = [item for item in self.diagnostics if item.severity == "error"]
        return tuple(sorted(found, key=lambda item: (item.span.source.name, item.span.start)))

    def raise_errors(self) -> None:
        """Raise what was found, if anything was."""
        if self.errors:
            raise SpecError(self.errors)
