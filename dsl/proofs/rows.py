"""No empty row: every query sees a key.

    for all n, i:  there is a j with  0 <= j < n  and  mask(i, j)

Proved by witnesses: keys named by the query, of which one is seen from every query. Refuted by a
row in which every key was tried. What both leave open goes to the SMT solver, with its quantifiers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import islice

from ..core import Axis, Length, Node, walk
from ..substitution import number, place, pointwise, substitute
from .asking import PROVED, TOO_DEEP, Answer, Asker
from .empty_rows import empty_row, is_empty
from .pairs import Pairs
from .unpadded import FALSE, TRUE, both, either, in_range, is_arithmetic
from .witnesses import named_keys
from .worlds import NotInWorld, World

MOST_WITNESSES, FEW_WITNESSES = 24, 2
MOST_TOGETHER = 6
MOST_KEYS = 4096


def no_empty_row(asker: Asker, sources: Sequence[Pairs]) -> Answer:
    """Whether every query sees a key in one of the sources."""
    try:
        if _has_witness(asker, sources):
            return PROVED
    except RecursionError:
        return Answer("unknown", reason=TOO_DEEP)
    answer = empty_row(asker, sources)
    return answer if answer.verdict == "refuted" else _by_solver(asker, sources, answer)


def _has_witness(asker: Asker, sources: Sequence[Pairs]) -> bool:
    """Whether a key that the query names is always seen, or always one of several."""
    found: list[Node] = []
    tokens = _of_query(sources)
    for pairs in sources:
        most = MOST_WITNESSES if is_arithmetic(pairs.there) else FEW_WITNESSES
        for keys in islice(named_keys(asker.prover, pairs), most):
            seen = _seen(pairs, keys)
            if seen is TRUE or asker.proves(tokens, seen):
                return True
            if seen is not FALSE and most == MOST_WITNESSES:
                found.append(seen)
    together = reduce(either, found[:MOST_TOGETHER], FALSE)
    return len(found) > 1 and asker.proves(tokens, together)


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


def _by_solver(asker: Asker, sources: Sequence[Pairs], before: Answer) -> Answer:
    """What z3 says where the prover says nothing; a row that it finds is tried key by key."""
    known = all(is_arithmetic(pairs.there) and pairs.is_counted for pairs in sources)
    if asker.solver is None or not known:
        return before
    absent = [(pairs.keys, reduce(both, _of_keys(pairs), pairs.there)) for pairs in sources]
    guards = _of_query(sources)
    verdict, found = asker.solver.decide_empty(guards, absent, asker.prover.translator)
    if verdict == "proved":
        return PROVED
    if found is None:
        return before
    row = asker.world(found)
    try:
        refuted = is_empty(sources, row) if row.is_legal and _is_small(row) else None
    except (NotInWorld, ArithmeticError, RecursionError):
        return before
    return before if refuted is None else refuted


def _is_small(row: World) -> bool:
    """Whether every key of a row can be tried."""
    return all(length <= MOST_KEYS for length in row.lengths.values())


def _of_keys(pairs: Pairs) -> list[Node]:
    """That the keys are tokens, those that are not negative."""
    return [
        pointwise("<", place(axis), pairs.ranges[axis])
        for axis in pairs.keys
        if axis in pairs.ranges
    ]
