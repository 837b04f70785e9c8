"""A failing spec made small: every part is left out or replaced by what is in it, while it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from attnc.dsl.diagnostics import Report
from attnc.dsl.parser import parse_text
from attnc.dsl.printer import format_expression
from attnc.dsl.syntax import Binary, Call, Compare, Expr, Logic, Read, Unary, children

from .specs import Drawn, Part

SECONDS = 240.0
SHORTER = (1, 2, 3, 8, 17, 25, 49, 65, 129)


def minimised(item: Drawn, fails: Callable[[Drawn], bool], seconds: float = SECONDS) -> Drawn:
    """The smallest spec found that fails as well."""
    end = time.monotonic() + seconds
    tried: set[str] = set()
    found = True
    while found:
        found = False
        for smaller in smaller_specs(item):
            if time.monotonic() > end:
                return item
            if repr(smaller) in tried:
                continue
            tried.add(repr(smaller))
            if fails(smaller):
                item, found = smaller, True
                break
    return item


def smaller_specs(item: Drawn) -> Iterator[Drawn]:
    """Specs that differ in one thing, the most telling first."""
    if len(item.parts) > 1:
        yield from (replace(item, parts=(part,)) for part in item.parts)
    yield from (replace(item, batch=n, starts={}) for n in (1,) if n < item.batch)
    if item.starts:
        yield replace(item, starts={})
    if item.padded:
        yield replace(item, padded=False)
    yield from _shorter(item)
    yield from _narrower(item)
    for place, part in enumerate(item.parts):
        for other in _simpler(part):
            yield replace(item, parts=(*item.parts[:place], other, *item.parts[place + 1 :]))


def _shorter(item: Drawn) -> Iterator[Drawn]:
    if not item.apart:
        lengths = (n for n in SHORTER if n < item.queries)
        yield from (replace(item, queries=n, keys=n) for n in lengths)
        return
    yield from (replace(item, queries=n) for n in SHORTER if n < item.queries)
    yield from (replace(item, keys=n) for n in SHORTER if n < item.keys)


def _narrower(item: Drawn) -> Iterator[Drawn]:
    dims = item.dims
    plain = {"heads": 1, "kv_heads": 1}
    for smaller in (plain, {"d_head": 1}, {"d_value": 1}, {"d_head": 4}, {"d_value": 4}):
        changed = {**dims, **smaller}
        changed["d_model"] = changed["heads"] * changed["d_value"]
        if any(changed[name] < dims[name] for name in smaller):
            yield replace(item, dims=changed)


def _simpler(part: Part) -> Iterator[Part]:
    if part.lse:
        yield replace(part, lse=False)
    if part.value != "v":
        yield replace(part, value="v")
    if part.mask != "true":
        yield replace(part, mask="true")
    for normalize in ("softmax(s, j)", "s"):
        if part.normalize not in ("softmax(s, j)", "s"):
            yield replace(part, normalize=normalize)
    yield from (replace(part, mask=text) for text in simpler_texts(part.mask))
    yield from (replace(part, score=text) for text in simpler_texts(part.score))
    yield from (replace(part, normalize=text) for text in simpler_texts(part.normalize))


def simpler_texts(text: str) -> Iterator[str]:
    """An expression with one of its operands in its place, outermost first."""
    expr = parse_text(text, None, Report())
    if expr is not None:
        yield from (format_expression(found) for found in _simpler_expressions(expr))


def _simpler_expressions(expr: Expr) -> Iterator[Expr]:
    below = children(expr)
    yield from below
    for place, child in enumerate(below):
        for other in _simpler_expressions(child):
            yield _with(expr, (*below[:place], other, *below[place + 1 :]))


def _with(expr: Expr, below: tuple[Expr, ...]) -> Expr:
    """An expression of the same kind with other operands."""
    match expr:
        case Unary():
            return replace(expr, operand=below[0])
        case Binary():
            return replace(expr, left=below[0], right=below[1])
        case Logic() | Compare():
            return replace(expr, operands=below)
        case Call():
            count = len(expr.args)
            names = (name for name, _ in expr.keywords)
            keywords = tuple(zip(names, below[count:], strict=True))
            return replace(expr, args=below[:count], keywords=keywords)
        case Read():
            return replace(expr, operand=below[0], indices=below[1:])
    return expr
