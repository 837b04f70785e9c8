"""Who sees whom, as far as places alone decide it: small pictures in text. Knows no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...dsl.api import check
from ...dsl.core import (
    Attend,
    Axis,
    Const,
    Draw,
    Index,
    Length,
    Map,
    Node,
    Param,
    Position,
    Reduce,
    Valid,
    walk,
)
from ...dsl.document import Document
from ...dsl.elaborate.mentions import names_in
from ...dsl.evaluation import Assignment, evaluate
from ...dsl.predicates import Translator
from ...dsl.shapes import Decoded, Table
from ...dsl.syntax import Name, Number
from ...dsl.typed import TypedSpec
from ._fits import own_attends

LENGTH = 16
#: a size that shows its structure within `LENGTH` tokens
SMALL = 4
_ORDER = ("and", "<=")

Mask = tuple[tuple[bool, ...], ...]


class Opaque(Exception):
    """The mask depends on more than places and heads."""


class Places(Assignment):
    """Tokens at known places of an unpadded sequence; all else raises `Opaque`."""

    def opaque(self, node: Node) -> int:
        if isinstance(node, Valid):
            return 1
        if isinstance(node, Length) or _counts(node):
            return LENGTH
        raise Opaque


def _counts(node: Node) -> bool:
    """Whether a node is the number of tokens of a set: a sum over what is there, of constants."""
    if not (isinstance(node, Reduce) and node.op == "sum" and len(node.axes) == 1):
        return False
    return not any(isinstance(item, Param | Draw | Position | Index) for item in walk(node.arg))


@dataclass(frozen=True)
class Seen:
    """Who sees whom in one attend.

    masks   name of a head, empty where all are alike -> mask; none where more than places decides
    sizes   dims that the picture was drawn at, where those of the spec would not show
    words   what needs no picture: `every key`, `every key up to the query`
    """

    masks: dict[str, Mask]
    sizes: dict[str, int]
    words: str = ""


def seen(name: str, document: Document, spec: TypedSpec) -> dict[str, Seen]:
    """What the attends of a library spec see, by their names."""
    plain = {node.name: _seen(node, spec) for node in own_attends(spec)}
    sizes = _small_sizes(document, spec)
    if not sizes or not any(item.masks and not item.words for item in plain.values()):
        return plain
    checked = check(name=name, dims=sizes)
    if checked.spec is None or checked.report.errors:
        return plain
    return {
        node.name: _seen(node, checked.spec, _named(document, node.name, sizes))
        for node in own_attends(checked.spec)
    }


def _seen(node: Attend, spec: TypedSpec, sizes: dict[str, int] | None = None) -> Seen:
    masks = dict(_by_head(node, spec))
    mask = node.sources[0].mask
    words = _words([] if mask is None else list(walk(mask))) if masks else ""
    return Seen(masks, sizes or {}, words)


def _named(document: Document, attend: str, sizes: dict[str, int]) -> dict[str, int]:
    """Those of some dims that the mask of an attend mentions, be it through macros."""
    found: set[str] = set()
    waiting = list(_mask_of(document, attend))
    while waiting:
        for name in names_in(waiting.pop()):
            if name not in found:
                found.add(name)
                places = (document.sections.get("macros", {}), document.bindings)
                waiting += [place[name].value for place in places if name in place]
    return {name: value for name, value in sizes.items() if name in found}


def _mask_of(document: Document, attend: str) -> Iterator[Decoded]:
    """The mask of an attend as written, with what `super` stands for."""
    defined = document.fields.get("mask") if attend == "heads" else document.bindings.get(attend)
    while defined is not None:
        value = defined.value
        block = value.get("attend") if isinstance(value, Table) else None
        mask = block.get("mask") if isinstance(block, Table) else value
        if mask is not None:
            yield mask
        defined = defined.before


def _words(parts: list[Node]) -> str:
    """What a mask lets through that is nothing but validity and order."""
    if any(
        isinstance(item, Const) or (isinstance(item, Map) and item.op not in _ORDER)
        for item in parts
    ):
        return ""
    orders = [item for item in parts if isinstance(item, Map) and item.op == "<="]
    return "every key up to the query" if orders else "every key"


def _small_sizes(document: Document, spec: TypedSpec) -> dict[str, int]:
    """Small values of the whole numbers that the spec declares and that are large."""
    found: dict[str, int] = {}
    for name, defined in document.sections.get("dims", {}).items():
        table = defined.value
        if isinstance(table, Table) and isinstance(table.get("default"), Number):
            value = spec.dims.get(name)
            if type(value) is int and value > SMALL:
                found[name] = _small(value, table.get("multiple_of"), found)
    return found


def _small(value: int, factor: object, found: dict[str, int]) -> int:
    """4, or 2 for a size below 16, but a multiple of a factor: twice another size if it is one."""
    small = SMALL if value >= LENGTH else SMALL // 2
    if isinstance(factor, Name):
        return 2 * found.get(factor.name, SMALL)
    if isinstance(factor, Number) and isinstance(factor.value, int):
        return -(-small // factor.value) * factor.value
    return small


def _by_head(node: Attend, spec: TypedSpec) -> Iterator[tuple[str, Mask]]:
    """The masks of the first and of the last head, once if they are equal."""
    source = node.sources[0]
    square = source.axes in ((spec.sets["context"].axis,), (node.query,))
    whole = len(node.sources) == 1 and source.at is None and square
    if not whole or node.query != spec.sets["x"].axis:
        return
    try:
        heads = [_mask(source.mask, node.query, source.axes[0], head, spec) for head in (0, -1)]
    except (Opaque, ZeroDivisionError, KeyError):
        return
    if heads[0] == heads[1]:
        yield "", heads[0]
        return
    yield "first head", heads[0]
    yield "last head", heads[1]


def _mask(mask: Node | None, query: Axis, key: Axis, head: int, spec: TypedSpec) -> Mask:
    if mask is None:
        return _square(lambda i, j: True)
    translator = Translator()
    axis = spec.axes["h"]
    number = head % axis.size.value if axis.size is not None else 0

    def sees(i: int, j: int) -> bool:
        places = {translator.token(query): i, translator.token(key): j}
        places[translator.token(axis)] = number
        return bool(evaluate(mask, Places(translator, places, {})))

    return _square(sees)


def _square(sees: Callable[[int, int], bool]) -> Mask:
    return tuple(tuple(sees(i, j) for j in range(LENGTH)) for i in range(LENGTH))


def picture(mask: Mask) -> list[str]:
    """Two rows of a mask per line, as half blocks."""
    signs = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): "·"}
    return [
        "".join(signs[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(mask[::2], mask[1::2], strict=True)
    ]
