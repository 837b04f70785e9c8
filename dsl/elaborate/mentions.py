"""Which names an expression mentions, and the order of the bindings that follows."""

from __future__ import annotations

from collections.abc import Iterator

from .. import syntax
from ..document import Defined, Document
from ..shapes import Decoded, Items, Table
from ..syntax import Expr


def in_order(document: Document) -> Iterator[str]:
    """The bindings, those that others mention first: a long chain must not nest."""
    bindings = document.bindings
    macros = document.sections.get("macros", {})
    seen: set[str] = set()
    stack: list[tuple[str, Defined, bool]] = [
        (name, defined, False) for name, defined in reversed(bindings.items())
    ]
    while stack:
        name, defined, is_ready = stack.pop()
        if is_ready and defined.section != "macros":
            yield name
        if is_ready or name in seen:
            continue
        seen.add(name)
        stack.append((name, defined, True))
        for other in names_in(defined.value):
            found = bindings.get(other) or macros.get(other)
            if found is not None and other not in seen:
                stack.append((other, found, False))


def names_in(value: Decoded) -> Iterator[str]:
    """Every name in an expression, list or table."""
    return (part.name for part in all_parts(value) if isinstance(part, syntax.Name))


def all_parts(value: Decoded) -> Iterator[Expr]:
    """Every expression in decoded data, and all its parts."""
    if isinstance(value, Table):
        for entry in value.entries.values():
            yield from all_parts(entry.value)
    elif isinstance(value, Items):
        for item in value.items:
            yield from all_parts(item)
    elif isinstance(value, syntax.Syntax):
        yield from parts_of(value)


def parts_of(expr: Expr) -> Iterator[Expr]:
    """An expression and all its parts, left to right; functions of calls are names, too."""
    stack: list[Expr] = [expr]
    while stack:
        item = stack.pop()
        yield item
        stack.extend(reversed(syntax.children(item)))
        if isinstance(item, syntax.Call):
            stack.append(item.function)
