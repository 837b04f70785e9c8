"""What the library says of itself: one row per spec, one per operator. Knows no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...dsl import api, syntax
from ...dsl.document import Document
from ...dsl.elaborate.calls import FUNCTIONS
from ...dsl.elaborate.mentions import all_parts
from ...dsl.library import family, library_paths, prelude_path
from ...dsl.reasons import REASONS
from ...dsl.shapes import Decoded
from ._fits import lowerings


@dataclass(frozen=True)
class Row:
    """One spec of the library.

    declared, derived   causal contract; cost: asymptotic, as its file says
    lowerings   those that `auto` takes in short calls, then those of long ones
    """

    name: str
    entries: tuple[str, ...]
    family: str
    doc: str
    declared: str
    derived: str
    cost: str
    lowerings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "entries": list(self.entries), "lowerings": list(self.lowerings)}


def row(name: str) -> Row:
    """The row of a library spec."""
    checked = api.check(name=name)
    checked.report.raise_errors()
    assert checked.spec is not None
    assert checked.document is not None
    assert checked.judgement is not None
    spec, document = checked.spec, checked.document
    declared = document.text("causality")
    return Row(
        name=name,
        entries=spec.entries,
        family=family(name),
        doc=spec.doc,
        declared=declared,
        derived=checked.judgement.derived,
        cost=cost(document.source.text),
        lowerings=lowerings(spec),
    )


def header(text: str) -> str:
    """The comment at the head of a file, without its signs."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line[1:].removeprefix(" "))
    return "\n".join(line for line in lines if not line.startswith("yaml-language-server"))


def cost(text: str) -> str:
    """What the header says after `Cost:`, up to the end of its sentence or line."""
    match = re.search(r"Cost: *(.+(?:\n.+)*)", header(text))
    found = " ".join(match[1].split()) if match else ""
    return re.split(r"\.(?:\s|$)", found)[0]


# -- operators ------------------------------------------------------------------------------


@dataclass(frozen=True)
class OperatorRow:
    """An operator, function or prelude macro: how it is written, what it means, who uses it."""

    name: str
    kind: str
    usage: str
    meaning: str
    specs: tuple[str, ...]
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "specs": list(self.specs)}


def operators() -> list[OperatorRow]:
    """Every operator that an expression may use."""
    used = _uses()
    return [
        OperatorRow(
            name, kind, usage, meaning, tuple(sorted(used.get(name, ()))), REASONS.get(name, "")
        )
        for name, kind, usage, meaning in _operators()
    ]


def _operators() -> Iterator[tuple[str, str, str, str]]:
    from ...dsl.operators import POINTWISE, SYMBOLS

    for name in POINTWISE:
        if name in SYMBOLS and name not in ("neg", "as_ref"):
            usage = f"{name} a" if name == "not" else f"a {name} b"
            yield name, "operator", usage, POINTWISE[name].meaning
    yield "@", "operator", "a @ b", "matrix product of the last and the first feature dim"
    for name, function in FUNCTIONS.items():
        kind = "pointwise" if name in POINTWISE else "function"
        yield name, kind, function.usage, function.meaning
    yield from _macros()


def _macros() -> Iterator[tuple[str, str, str, str]]:
    from ...dsl.printer import format_expression

    for name, defined in _prelude().sections["macros"].items():
        value = defined.value
        meaning = format_expression(value) if isinstance(value, syntax.Syntax) else ""
        yield name, "macro", defined.name, meaning


def _prelude() -> Document:
    document = api.check(path=prelude_path()).document
    assert document is not None
    return document


def _uses() -> dict[str, set[str]]:
    """Operator -> names of the library specs whose own file uses it, through macros too."""
    macros = {
        name: set(_operators_in(defined.value))
        for name, defined in _prelude().sections["macros"].items()
    }
    used: dict[str, set[str]] = {}
    for name, path in library_paths().items():
        for operator in _with_macros(_used_in(path), macros):
            used.setdefault(operator, set()).add(name)
    return used


def _with_macros(names: set[str], macros: dict[str, set[str]]) -> set[str]:
    """Names, and what the macros among them are made of."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(macros.get(name, ()))
    return found


def _used_in(path: Path) -> set[str]:
    from ...dsl.diagnostics import Report
    from ...dsl.document import Loader

    layer = Loader(Report()).layer_of(path)
    return set() if layer is None else set(_operators_in(layer.table))


def _operators_in(value: Decoded) -> Iterator[str]:
    for part in all_parts(value):
        match part:
            case syntax.Unary() | syntax.Binary() | syntax.Logic():
                yield part.op
            case syntax.Compare():
                yield from part.ops
            case syntax.Call():
                yield part.function.name
            case syntax.Name() if part.name not in FUNCTIONS:  # a binding of that name is no use
                yield part.name
            case _:
                pass
