"""Keys that a query names: candidates for one that it always sees.

Itself and the one before, the first and the last, and where a comparison of the mask is just met:
of j // 64 == i // 64 that is the key 64 * (i // 64), of j >= i - 5 the key i - 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product

from ..affine import Atom, Linear
from ..core import Axis, Node
from ..predicates import AtMost, Both, Either, Equal, Formula, Translator
from ..prover import Prover
from ..substitution import number, place, pointwise
from .pairs import Pairs

MOST_FORMS = 64
MOST_PLACES = 8


def named_keys(prover: Prover, pairs: Pairs) -> Iterator[tuple[Node, ...]]:
    """Keys that the query names, one place for each axis."""
    if any(axis.size is None and axis not in pairs.ranges for axis in pairs.keys):
        return
    edges = _edges(prover.translator, pairs) if pairs.at is None else {}
    yield from product(*(_places(pairs, axis, edges.get(axis, [])) for axis in pairs.keys))


def _places(pairs: Pairs, axis: Axis, edges: list[Node]) -> list[Node]:
    if axis.size is not None:
        return [number(n) for n in range(min(axis.size.value, MOST_PLACES))]
    own = [place(pairs.query)] if pairs.is_square else []
    last = pointwise("-", pairs.ranges[axis], number(1))
    before = [pointwise("-", item, number(1)) for item in own]
    return list(dict.fromkeys([*own, number(0), *edges, *before, last]))


def _edges(translator: Translator, pairs: Pairs) -> dict[Axis, list[Node]]:
    """The places of keys at which a comparison in the mask is just met."""
    found: dict[Axis, list[Node]] = {axis: [] for axis in pairs.keys}
    translator.steps = 0
    formula = translator.formula(pairs.there, True)
    translator.alive.append(pairs.there)
    for form in islice(_forms(formula), MOST_FORMS):
        for axis in pairs.keys:
            found[axis] += _solutions(translator, form, axis, pairs.keys)
    return found


def _forms(formula: Formula) -> Iterator[Linear]:
    todo = [formula]
    while todo:
        match todo.pop(0):
            case AtMost(form=form) | Equal(form=form):
                yield form
            case Both(parts=parts) | Either(parts=parts):
                todo.extend(parts)


def _solutions(
    translator: Translator, form: Linear, axis: Axis, keys: Sequence[Axis]
) -> Iterator[Node]:
    """a * key + rest = 0 or a * (key // c) + rest = 0, solved for the key and rounded down."""
    for atom, factor in form.terms.items():
        times = _times(translator, atom, translator.token(axis))
        if times is None:
            continue
        rest = Linear({a: c for a, c in form.terms.items() if a is not atom}, form.constant)
        solved = written(translator, rest.times(-1 if factor > 0 else 1))
        if solved is None or solved.type.axes & set(keys):
            continue
        if abs(factor) > 1:
            solved = pointwise("//", solved, number(abs(factor)))
        yield solved if times == 1 else pointwise("*", solved, number(times))


def _times(translator: Translator, atom: Atom, token: Atom) -> int | None:
    """1 where an unknown is the token, c where it is token // c."""
    if atom is token:
        return 1
    for key, known in translator.atoms.items():
        if known is atom and isinstance(key, tuple) and key[0] == "quotient":
            _, terms, constant, divisor = key
            if terms == frozenset({(token, 1)}) and constant == 0:
                return int(divisor)
    return None


def written(translator: Translator, form: Linear) -> Node | None:
    """A linear form as a node; None where an unknown of it stands for nothing that can be written."""
    total: Node = number(form.constant)
    for atom, factor in form.terms.items():
        part = _written_atom(translator, atom)
        if part is None:
            return None
        total = pointwise("+", total, pointwise("*", part, number(factor)))
    return total


def _written_atom(translator: Translator, atom: Atom) -> Node | None:
    if atom in translator.opaque:
        return translator.opaque[atom]
    for key, known in translator.atoms.items():
        if known is not atom:
            continue
        if isinstance(key, Axis):
            return place(key)
        if isinstance(key, tuple) and key[0] == "quotient":
            inner = written(translator, Linear(dict(key[1]), key[2]))
            return None if inner is None else pointwise("//", inner, number(key[3]))
    return None
