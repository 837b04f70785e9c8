"""What the text of a kernel is put together from: headers, templates, memory, conditions."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from ...dsl.core import Read, ReadDim
from .expressions import Code
from .leaves import Held, padded

PLACE = Path(__file__).parent / "cpp"
#: what every kernel needs, and what some do
HEADERS = (
    "vectors.hpp",
    "halves.hpp",
    "products.hpp",
    "spans.hpp",
    "frame.hpp",
    "bf16x2.hpp",
)
MORE_HEADERS = ("fractions.hpp", "layers.hpp")


def if_wanted(item: Held, lines: list[str]) -> list[str]:
    """Lines that are there where the gradient of a leaf is wanted."""
    return if_any_wanted([item], lines)


def if_any_wanted(items: Iterable[Held], lines: list[str]) -> list[str]:
    """Lines that are there where the gradient of one of some leaves is wanted."""
    wanted = " || ".join(f"WANT_{item.place}" for item in items)
    return [f"#if {wanted}", *lines, "#endif"] if wanted else []


def scattered(item: Held, node: Read | ReadDim, place: str, part: str) -> str:
    """Add the cotangents of WIDTH pairs to those of a table, where a node read it."""
    k, width = item.place, item.width
    match item.leaf.domain:
        case "row":
            start = f"scatter(grad_{k} + (first + r) * {padded(width)}"
        case "key":
            start = f"scatter_by_key(keys_{k} + n * {width} * LANES + c * WIDTH"
        case _:
            start = f"scatter(grad_{k}"
    absent = "true" if isinstance(node, Read) else "false"
    return f"{start}, {place}, {part}, {width}, {absent});"


def spans_pack(item: Held, size: str) -> str:
    """Memory for the extremes of all stretches of tokens, and of blocks of them."""
    return f"const Pack<Span> s{item.place}(a{item.place}.slots(B, H), {size});"


def spans_pointer(item: Held) -> str:
    """Those of a head."""
    k = item.place
    return f"const Span* const spans_{k} = s{k}.of(a{k}.slot(b, h, H));"


def apart_pack(item: Held) -> str:
    """Memory for what is read by distance: feature by feature, those of one query side by side."""
    return _APART_PACK.format(k=item.place, width=item.width)


def apart_fill(item: Held) -> str:
    """Put it there; before a barrier."""
    return _APART_FILL.format(k=item.place, width=item.width)


def apart_pointer(item: Held) -> str:
    """That of a head, at the first query and the first key."""
    k = item.place
    return f"const float* const x{k} = p{k}.of(a{k}.slot(b, h, H)) + FRONT + N - 1;"


_APART_PACK = """const long size_{k} = apart_size(N, M);
const Pack<float> p{k}(a{k}.slots(B, H), {width} * size_{k});"""
_APART_FILL = """#pragma omp for nowait
for (long u = 0; u < a{k}.slots(B, H) * (size_{k} / WIDTH); ++u) {{
  const long slot = u / (size_{k} / WIDTH), place = u % (size_{k} / WIDTH) * WIDTH;
  by_place(p{k}.of(slot), size_{k}, a{k}.of_slot(slot, H), a{k}.by_key, {width}, place, N + M);
}}"""


def lines_of(texts: Iterable[str]) -> Code:
    """What is not empty, line by line."""
    return Code("\n".join(text for text in texts if text))


def extremes(item: Held, at: str, first: str, count: str) -> str:
    """The extremes of some tokens of an array that starts somewhere."""
    apart = f"a{item.place}.by_{item.leaf.domain}"
    return f"over({at} + {first} * {apart}, {apart}, {count})"


def all_extremes(items: Iterable[Held], stretch: str, count: str) -> Code:
    """Those of all stretches of tokens that the mask reads, and of blocks of them; before a barrier."""
    found = [item for item in items if item.in_mask]
    filled = (
        _EXTREMES.format(
            k=item.place,
            extremes=extremes(item, f"a{item.place}.of_slot(slot, H)", f"n * {stretch}", count),
        )
        for item in found
    )
    united = (_UNITED.format(k=item.place) for item in found)
    return lines_of((*filled, *(["#pragma omp barrier"] if found else []), *united))


_EXTREMES = """#pragma omp for nowait
for (long u = 0; u < a{k}.slots(B, H) * levels.stretches; ++u) {{
  const long slot = u / levels.stretches, n = u % levels.stretches;
  s{k}.of(slot)[n] = {extremes};
}}"""
_UNITED = """#pragma omp for nowait
for (long slot = 0; slot < a{k}.slots(B, H); ++slot) unite(s{k}.of(slot), levels);"""


def room(name: str, packed: str, size: str) -> str:
    """Memory of a thread under a name."""
    floats = f"({size}) * (long)sizeof({packed}) / 4"
    return f"Room {name}_room({floats});\n{packed}* const {name} = ({packed}*){name}_room.at;"


def row_room(item: Held) -> str:
    """Memory for the numbers of a group of queries."""
    width = item.padded if item.is_vector else 1
    return room(f"x{item.place}", item.packed, f"GROUP * {width}")


def term_room(name: str) -> str:
    """Memory for a term, of a group of queries and a batch of tiles."""
    return room(name, "float", "GROUP * LD")


@cache
def header(name: str) -> Code:
    """The text of a header."""
    return Code((PLACE / name).read_text("utf-8"))


def prelude(*more: str) -> Code:
    """The headers, in one text: what is built stands in one file. `more` are those of some kernels."""
    return Code("\n".join(header(name) for name in (*HEADERS, *more)))


@cache
def environment() -> jinja2.Environment:
    """The templates."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(PLACE),
        undefined=jinja2.StrictUndefined,
        finalize=_ours,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )


def _ours(value: Any) -> Any:
    """Templates take numbers and text of ours, never a string from a spec."""
    if isinstance(value, Code | int | jinja2.Undefined):
        return value
    raise TypeError(f"a template was given {type(value).__name__}")
