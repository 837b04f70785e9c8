"""Checking and elaborating specs: the front door of the language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .causality import Judgement, check_contract
from .diagnostics import Diagnostic, Report
from .document import Document, Loader, load_document
from .elaborate.spec import Choices, Elaborator
from .library import find, library_paths
from .shapes import closest
from .source import Source, Span
from .typed import TypedSpec


@dataclass
class Checked:
    """What checking found: the typed spec, the causality derived for it, and every diagnostic.

    spec is None where it could not be typed; a broken contract is an error beside a typed spec.
    """

    document: Document | None
    spec: TypedSpec | None
    report: Report = field(default_factory=Report)
    judgement: Judgement | None = None

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return tuple(self.report.diagnostics)


def check(
    *,
    name: str | None = None,
    path: Path | None = None,
    source: Source | None = None,
    dims: Mapping[str, bool | int | float | str] | None = None,
    qkv: bool = False,
) -> Checked:
    """Read, elaborate and judge a spec given by library name, by path or as a text."""
    report = Report()
    loader = Loader(report)
    if name is not None:
        path = find(name, None)
        if path is None:
            return Checked(None, None, _unknown(name, report))
    document = load_document(loader, source, path)
    if document is None:
        return Checked(None, None, report)
    spec, judgement = None, None
    try:
        found = Elaborator(document, loader, Choices(dims or {}), qkv).run()
        if not report.errors:
            spec = found
            judgement = None if qkv else check_contract(spec, report, memory_given=spec.memory)
    except RecursionError:  # limits stand before it, but the caller's own stack counts, too
        report.error("ATT409", "the spec is nested too deeply", Span(document.source, 0, 0))
    return Checked(document, spec, report, judgement)


def _unknown(name: str, report: Report) -> Report:
    hint = closest(name, tuple(library_paths()))
    span = Span(Source(name, ""), 0, 0)
    report.error(
        "ATT402",
        f"there is no spec `{name}`",
        span,
        f"did you mean `{hint}`?" if hint else "`attnc list` shows the library",
    )
    return report
