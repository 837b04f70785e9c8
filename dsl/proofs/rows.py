"""No empty row: every query sees a key.

    for all n, i:  there is a j with  0 <= j < n  and  mask(i, j)

Proved by witnesses: keys named by the query (itself, the one before, the first, the last, and those
at which a comparison of the mask is just met), of which one is seen from every query. Refuted by a
row in which every key was tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import islice, product

from ..affine import Atom, Linear
from ..core import Axis, Length, Node, walk
from ..evaluation import evaluate
from ..predicates import AtMost, Both, Either, Equal, Formula, Translator
from ..prover import Prover
from ..substitution import number, place, pointwise, substitute
from .asking import PROVED, Answer, Asker, Example, example_of, why_not
from .pairs import Pairs
from .unpadded import FALSE, TRUE, both, either, in_range
from .worlds import NotInWorld, World, world_at

MOST_WITNESSES = 24
MOST_TOGETHER = 6
MOST_FORMS = 64
MOST_PLACES = 8
MOST_TRIED = 6000
NONE_FOUND = "no key was found that is seen from every query"
LENGTHS = (1, 2, 3, 4, 5, 7, 12, 17, 33)


def no_empty_row(asker: Asker, sources: Sequence[Pairs]) -> Answer:
    """Whether every query sees a key in one of the sources."""
    try:
        answer = _by_witnesses(asker, sources)
    except RecursionError:
        return Answer("unknown", reason="the mask is nested too deeply")
    return answer or _empty_row(asker, sources)


def _by_witnesses(asker: Asker, sources: Sequence[Pairs]) -> Answer | None:
    found: list[Node] = []
    tokens = _of_query(sources)
    for pairs in sources:
        for keys in islice(_named_keys(asker.prover, pairs), MOST_WITNESSES):
            seen = _seen(pairs, keys)
            if seen is TRUE or asker.proves(tokens, seen):
                return PROVED
            if seen is not FALSE:
                found.append(seen)
    together = reduce(either, found[:MOST_TOGETHER], FALSE)
    if len(found) > 1 and asker.proves(tokens, together):
        return PROVED
    return None


def _of_query(sources: Sequence[Pairs]) -> list[Node]:
    """That the query is a token, and that memory has one."""
    query = sources[0].query
    known = [pointwise("<", place(query), count) for count in _counts(sources, query)]
    lengths = {node for pairs in sources for node in walk(*pairs.ranges.values())}
    return known + [
        pointwise("<", number(0), node)
        for node in sorted(lengths, key=str)
        if isinstance(node, Length)
    ]


def _counts(sources: Sequence[Pairs], axis: Axis) -> list[Node]:
    return list(dict.fromkeys(p.ranges[axis] for p in sources if axis in p.ranges))


def _seen(pairs: Pairs, keys: Sequence[Node]) -> Node:
    """That keys named by the query are tokens, and visible."""
    conditions: list[Node] = []
    there = pairs.there
    for axis, key in zip(pairs.keys, keys, strict=True):
        if axis in pairs.ranges:
            conditions.append(in_range(key, pairs.ranges[axis]))
        there = substitute(there, axis, key)
    return reduce(both, conditions, there)


# Witnesses


def _named_keys(prover: Prover, pairs: Pairs) -> Iterator[tuple[Node, ...]]:
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
    """a * key + rest = 0 or a * (key // c) + rest = 0, solved for the key, where a is 1 or -1."""
    for atom, factor in form.terms.items():
        times = _times(translator, atom, translator.token(axis))
        if times is None or factor not in (1, -1):
            continue
        rest = Linear({a: c for a, c in form.terms.items() if a is not atom}, form.constant)
        solved = written(translator, rest.times(-factor))
        if solved is not None and not solved.type.axes & set(keys):
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


# Empty rows


def _empty_row(asker: Asker, sources: Sequence[Pairs]) -> Answer:
    """A query all of whose keys were tried; truths of inputs are as by default, then the opposite."""
    tried = 0
    try:
        memories = (None, 1) if any(pairs.has_memory for pairs in sources) else (None,)
        for size, memory, turned in product(LENGTHS, memories, (False, True)):
            for row in _rows(asker, sources, size, memory, turned):
                tried += 1
                seen = False
                for pairs, world in _keys_of(sources, row):
                    tried += 1
                    seen = bool(evaluate(pairs.there, world))
                    if seen:
                        break
                if not seen:
                    return Answer("refuted", _example(sources, row))
                if tried > MOST_TRIED:
                    return Answer("unknown", reason=NONE_FOUND)
    except NotInWorld as missing:
        return Answer("unknown", reason=why_not(missing.node))
    except (ArithmeticError, RecursionError):
        pass
    return Answer("unknown", reason=NONE_FOUND)


def _rows(
    asker: Asker, sources: Sequence[Pairs], size: int, memory: int | None, turned: bool
) -> Iterator[World]:
    """Every query, head and so on, at a length of x; memory is as long, or of its own length."""
    keys = {axis for pairs in sources for axis in pairs.keys}
    axes = list(dict.fromkeys(axis for pairs in sources for axis in pairs.axes))
    axes = [axis for axis in axes if axis not in keys]
    lengths = {
        node.axis: size if memory is None or node is pairs.length else memory
        for pairs in sources
        for node in walk(pairs.there, *pairs.ranges.values())
        if isinstance(node, Length)
    }
    empty = world_at(asker.prover.translator, {}, lengths, asker.inputs)
    sizes = [_size(sources, axis, empty) for axis in axes]
    for places in product(*map(range, sizes)):
        found = dict(zip(axes, places, strict=True))
        yield world_at(asker.prover.translator, found, lengths, asker.inputs, turned)


def _keys_of(sources: Sequence[Pairs], row: World) -> Iterator[tuple[Pairs, World]]:
    for pairs in sources:
        sizes = [_size([pairs], axis, row) for axis in pairs.keys]
        for places in product(*map(range, sizes)):
            world = row
            for axis, at in zip(pairs.keys, places, strict=True):
                world = world.moved(axis, at)
            yield pairs, world


def _size(sources: Sequence[Pairs], axis: Axis, world: World) -> int:
    """How many tokens an axis has in a world."""
    if axis.size is not None:
        return axis.size.value
    counts = _counts(sources, axis)
    if not counts:
        raise NotInWorld(place(axis))
    return evaluate(counts[0], world)


def _example(sources: Sequence[Pairs], row: World) -> Example:
    axes = [axis for pairs in sources for axis in pairs.axes if axis not in pairs.keys]
    nodes = [pairs.there for pairs in sources]
    counted = [count for pairs in sources for count in pairs.ranges.values()]
    found = example_of(row, [sources[0].query], [place(sources[0].query), *counted])
    more = example_of(row, list(dict.fromkeys(axes)), nodes)
    return Example(found.lengths, {**found.places, **more.places}, more.inputs)
