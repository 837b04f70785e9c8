"""Who sees the future, and how far back and ahead: facts about time over visible pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core import Node
from ..substitution import number, place, pointwise
from .asking import PROVED, TOO_DEEP, Answer, Asker, all_of
from .pairs import Pairs

FAR = 2**20


@dataclass(frozen=True, slots=True)
class Reach:
    """How far pairs reach.

    most    the greatest distance, where there is one; reached: a pair is that far apart
    whole   every token on that side is seen
    answer  whether there is a bound
    """

    answer: Answer
    most: int | None = None
    reached: bool = False
    whole: bool = False


def causal(asker: Asker, sources: Sequence[Pairs]) -> Answer:
    """Whether every visible key is known when the query is."""
    return all_of(_causal(asker, pairs) for pairs in sources)


def _causal(asker: Asker, pairs: Pairs) -> Answer:
    if pairs.always:
        return PROVED
    if pairs.now is None:
        return Answer("unknown", reason=f"tokens of `{pairs.query.name}` have no time")
    if pairs.known is None:
        names = ", ".join(axis.name for axis in pairs.keys)
        return Answer("unknown", reason=f"tokens of `{names}` are known only at the end")
    return asker.ask(
        pairs.guards, pointwise("<=", pairs.known, pairs.now), pairs.axes, pairs.is_counted
    )


def look_back(asker: Asker, sources: Sequence[Pairs]) -> Reach:
    """The most that a visible key begins before the query."""
    return _furthest([_reach(asker, pairs, back=True) for pairs in sources])


def look_ahead(asker: Asker, sources: Sequence[Pairs]) -> Reach:
    """The most that a visible key ends after the query."""
    return _furthest([_reach(asker, pairs, back=False) for pairs in sources])


def _reach(asker: Asker, pairs: Pairs, back: bool) -> Reach:
    if pairs.always:
        return Reach(PROVED, 0, True)
    token = pairs.first if back else pairs.known
    if pairs.now is None or token is None:
        return Reach(Answer("unknown", reason="the tokens have no time"))
    ends = (pairs.now, token) if back else (token, pairs.now)
    distance = pointwise("-", *ends)
    try:
        most = asker.prover.upper_bound(pairs.guards, distance)
    except RecursionError:
        return Reach(Answer("unknown", reason=TOO_DEEP))
    if most is not None:
        most = max(most, 0)
        return Reach(PROVED, most, most == 0 or _is_reached(asker, pairs, distance, most))
    return _unbounded(asker, pairs, distance, back)


def _is_reached(asker: Asker, pairs: Pairs, distance: Node, most: int) -> bool:
    nearer = pointwise("<", distance, number(most))
    return asker.ask(pairs.guards, nearer, pairs.axes, pairs.is_counted).verdict == "refuted"


def _unbounded(asker: Asker, pairs: Pairs, distance: Node, back: bool) -> Reach:
    """No bound was found: whether there is none, or it is not known."""
    if pairs.is_square:
        query, key = place(pairs.query), place(pairs.keys[0])
        side = pointwise("<=", key, query) if back else pointwise("<=", query, key)
        if asker.ask([*pairs.tokens, side], pairs.there, pairs.axes, pairs.is_counted):
            return Reach(PROVED, whole=True)
    far = asker.ask(
        pairs.guards, pointwise("<", distance, number(FAR)), pairs.axes, pairs.is_counted
    )
    if far.verdict == "refuted":
        return Reach(far)
    if far.verdict == "proved":  # some bound below it, which was not found
        return Reach(PROVED, FAR - 1)
    return Reach(far)


def _furthest(found: list[Reach]) -> Reach:
    """The one that reaches furthest, or the first that is not known."""
    for reach in found:
        if not reach.answer:
            return reach
    for reach in found:
        if reach.whole:
            return reach
    return max(
        found, key=lambda reach: (reach.most or 0, reach.reached), default=Reach(PROVED, 0, True)
    )
