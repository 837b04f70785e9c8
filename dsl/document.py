"""Documents: the declarations of a spec after inheritance, each with its origin.

`load_document` reads a file and everything that it extends, in order, and applies one after the other. A definition remembers the one that it replaced, which is what `super` means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import reader, sections
from .diagnostics import Report
from .library import find, library_paths, prelude_path
from .shapes import Broken, Decoded, Decoder, Items, Null, Scalar, Table, closest
from .source import Source, Span

MODIFIED = "softmax"
HEADER = ("name", "doc", "causality", "context", "batch")
EXPRESSIONS = (*sections.EXPRESSION_SECTIONS, "out", "sources")


@dataclass(frozen=True)
class Defined:
    """A definition: its value, where its name stands, and what it replaced."""

    name: str
    value: Decoded
    span: Span
    section: str
    before: Defined | None = None


@dataclass
class Document:
    """One spec after inheritance.

    sections   map sections (`dims`, `weights`, ...): name -> definition
    bindings   project, tokens and let, one scope
    fields     top-level attend fields and `out`
    is_whole   whether every section and extended spec was there; if not, names may be missing
    """

    source: Source
    path: Path | None = None
    header: dict[str, Scalar] = field(default_factory=dict)
    entries: tuple[str, ...] = ()
    cite: tuple[str, ...] = ()
    sections: dict[str, dict[str, Defined]] = field(default_factory=dict)
    bindings: dict[str, Defined] = field(default_factory=dict)
    fields: dict[str, Defined] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    is_whole: bool = True

    def text(self, key: str) -> str:
        found = self.header.get(key)
        return "" if found is None else str(found.value)

    @property
    def folder(self) -> Path | None:
        return None if self.path is None else self.path.parent


@dataclass(frozen=True)
class Layer:
    """One file's own content, before inheritance."""

    source: Source
    path: Path | None
    table: Table
    is_whole: bool = True


@dataclass
class Loader:
    """Reads files once; reports to one report."""

    report: Report
    layers: dict[str, Layer | None] = field(default_factory=dict)

    def read(self, source: Source, path: Path | None) -> Layer | None:
        """The content of one text, checked against the shape of a spec."""
        root = reader.read(source, self.report)
        if root is None:
            return None
        decoder = Decoder(self.report, sections.NAMED)
        table = decoder.decode(root, sections.SPEC, "a spec")
        if not isinstance(table, Table):
            return None
        self._check_version(table)
        return Layer(source, path, table)

    def _check_version(self, table: Table) -> None:
        version = table.get("attnc")
        if isinstance(version, Scalar) and version.value != sections.VERSION:
            self.report.error(
                "ATT306",
                f"version {version.value} of the language is not supported",
                version.span,
                f"this attnc reads version {sections.VERSION}: write `attnc: {sections.VERSION}`",
            )

    def layer_of(self, path: Path) -> Layer | None:
        key = str(path)
        if key not in self.layers:
            source = reader.read_source(path, self.report)
            self.layers[key] = None if source is None else self.read(source, path)
        return self.layers[key]

    def line(self, layer: Layer, above: tuple[str, ...] = ()) -> Iterator[Layer]:
        """The layer after everything that it extends, bases first; repeats are the caller's."""
        extends = layer.table.get("extends")
        here = str(layer.path or layer.source.name)
        for item in extends.items if isinstance(extends, Items) else ():
            if not isinstance(item, Scalar):
                continue
            parent = self._parent(str(item.value), layer, item.span, (*above, here))
            if parent is not None:
                yield from self.line(parent, (*above, here))
            else:
                layer = replace(layer, is_whole=False)
        yield layer

    def _parent(self, name: str, layer: Layer, span: Span, above: tuple[str, ...]) -> Layer | None:
        path = find(name, None if layer.path is None else layer.path.parent)
        if path is not None and str(path) == str(layer.path):
            path = library_paths().get(name, path)  # softmax.yaml of a user extending the library's
        if path is None:
            hint = closest(name, tuple(library_paths()))
            self.report.error(
                "ATT402",
                f"there is no spec `{name}`",
                span,
                f"did you mean `{hint}`?" if hint else "`attnc list` shows the library",
            )
            return None
        if str(path) in above:
            since = above[above.index(str(path)) :]
            ring = " -> ".join((*(Path(item).stem for item in since), name))
            message = f"`{name}` extends itself: {ring}"
            self.report.error("ATT403", message, span, "remove it from extends")
            return None
        return self.layer_of(path)


def load_document(loader: Loader, source: Source | None, path: Path | None) -> Document | None:
    """The document of a text or a file, or None where it could not be read at all."""
    if source is not None:
        own = loader.read(source, path)
    else:
        assert path is not None
        own = loader.layer_of(path)
    prelude = loader.layer_of(prelude_path())
    if own is None or prelude is None:
        return None
    document = Document(own.source, own.path)
    seen: set[str] = set()
    line = list(loader.line(own))
    for layer in (prelude, *_implied_base(line, loader), *line):
        key = str(layer.path or layer.source.name)
        if key in seen:
            continue
        seen.add(key)
        is_own = layer.source is own.source
        if not is_own and layer is not prelude:
            document.parents += (Path(key).stem,)
        document.is_whole = document.is_whole and layer.is_whole
        _apply(layer, document, loader.report, own=is_own)
    return document


def _implied_base(line: list[Layer], loader: Loader) -> tuple[Layer, ...]:
    """Specs without any `out` are modifiers: by themselves they modify `softmax`."""
    if any(layer.table.get("out") is not None for layer in line):
        return ()
    base = loader.layer_of(library_paths()[MODIFIED])
    return () if base is None else (base,)


def _apply(layer: Layer, document: Document, report: Report, own: bool) -> None:
    if own:
        document.entries = document.cite = ()
        for key in ("name", "doc"):
            document.header.pop(key, None)
    for entry in layer.table.entries.values():
        if entry.name in HEADER:
            if isinstance(entry.value, Scalar):
                document.header[entry.name] = entry.value
            elif isinstance(entry.value, Null):
                document.header.pop(entry.name, None)
        elif entry.name == "cite" and isinstance(entry.value, Items):
            document.cite = _texts(entry.value)
        elif entry.name == "entry" and isinstance(entry.value, Items):
            document.entries = _texts(entry.value) if own else ()
        elif entry.name not in EXPRESSIONS and isinstance(entry.value, Broken):
            document.is_whole = False
        elif entry.name in sections.BINDING_SECTIONS and isinstance(entry.value, Table):
            _merge(document.bindings, entry.value, entry.name, report)
        elif entry.name in sections.MAP_SECTIONS and isinstance(entry.value, Table):
            known = document.sections.setdefault(entry.name, {})
            _merge(known, entry.value, entry.name, report)
        elif entry.name in EXPRESSIONS:
            _define(document.fields, entry.name, entry.value, entry.name_span, entry.name, report)


def _texts(items: Items) -> tuple[str, ...]:
    return tuple(str(item.value) for item in items.items if isinstance(item, Scalar))


def _merge(known: dict[str, Defined], table: Table, section: str, report: Report) -> None:
    for entry in table.entries.values():
        name = entry.name.split("(")[0] if section == "macros" else entry.name
        _define(known, name, entry.value, entry.name_span, section, report, entry.name)


def _define(
    known: dict[str, Defined],
    name: str,
    value: Decoded,
    span: Span,
    section: str,
    report: Report,
    written: str = "",
) -> None:
    before = known.get(name)
    if isinstance(value, Null):
        if before is None:
            report.error(
                "ATT408",
                f"there is no `{name}` to remove",
                span,
                "null takes away what an extended spec defines",
            )
        known.pop(name, None)
        return
    known[name] = Defined(written or name, value, span, section, before)
