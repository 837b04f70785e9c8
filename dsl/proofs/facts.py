"""What holds of the attends of a spec, for every length: each fact proved, refuted or unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..core import Attend
from ..prover import Verdict
from ..typed import TypedSpec
from .asking import TOO_DEEP, Answer, Asker, Example
from .closed_form import ClosedForm
from .counting import NotCounted, free_axes, is_all_of_memory, pairs_at
from .cuts import CutForm, cut_form, has_number
from .holders import FlagForm, LabelForm, held_form
from .order import Reach, causal, look_ahead, look_back
from .pairs import Reader, located
from .relations import symmetric
from .repetition import closed_form
from .rows import no_empty_row
from .solver import Solver
from .words import in_words, names_of


@dataclass(frozen=True, slots=True)
class Fact:
    """A statement about an attend.

    value  the number that it is about, where it is one
    """

    name: str
    verdict: Verdict
    words: str
    example: Example | None = None
    value: int | None = None

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"fact": self.name, "verdict": self.verdict, "words": self.words}
        if self.value is not None:
            found["value"] = self.value
        if self.example is not None:
            found["counterexample"] = {
                "lengths": dict(self.example.lengths),
                "tokens": dict(self.example.places),
                "inputs": dict(self.example.inputs),
            }
        return found


@dataclass(frozen=True, slots=True)
class AttendFacts:
    """The facts of one attend."""

    attend: str
    query: str
    keys: tuple[str, ...]
    facts: tuple[Fact, ...]

    def to_json(self) -> dict[str, Any]:
        facts = [fact.to_json() for fact in self.facts]
        return {"attend": self.attend, "query": self.query, "keys": self.keys, "facts": facts}


class _Seen:
    """The pairs of one attend, and who answers questions about them."""

    def __init__(self, spec: TypedSpec, attend: Attend, solver: Solver | None) -> None:
        self.asker = Asker(spec.inputs, solver)
        self.sources = Reader(spec, self.asker.prover).pairs(attend)
        self.names = names_of(self.sources)

    @cached_property
    def back(self) -> Reach:
        return look_back(self.asker, self.sources)

    @cached_property
    def ahead(self) -> Reach:
        return look_ahead(self.asker, self.sources)

    @cached_property
    def form(self) -> ClosedForm:
        """The number of pairs.

        Raises:
            NotCounted: there is no closed form.
        """
        return closed_form(self.asker, self.sources, (self.back, self.ahead))

    @cached_property
    def given(self) -> CutForm | FlagForm | LabelForm:
        """The number of pairs by what an input holds.

        Raises:
            NotCounted: there is no closed form.
        """
        if len(self.sources) != 1:
            raise NotCounted("there are several sources")
        (pairs,) = self.sources
        if has_number(pairs.there):
            return cut_form(self.asker, pairs)
        return held_form(self.asker, pairs)

    def fact(self, name: str, answer: Answer, proved: str, refuted: str) -> Fact:
        """An answer in words; `{i}` and `{j}` in those of a refutation are its tokens."""
        if answer.example is not None:
            told = in_words(answer.example, self.names, refuted)
            return Fact(name, "refuted", told, answer.example)
        return Fact(name, answer.verdict, proved if answer else answer.reason)


def facts_of(
    spec: TypedSpec,
    attend: str | None = None,
    length: int | None = None,
    solver: Solver | None = None,
) -> list[AttendFacts]:
    """The facts of every attend, or of one; with a length also the pairs at it."""
    found = []
    for name, (owner, node) in located(spec).items():
        if attend in (None, name):
            seen = _Seen(owner, node, solver)
            keys = tuple(axis.name for pairs in seen.sources for axis in pairs.keys)
            found.append(AttendFacts(name, node.query.name, keys, tuple(_facts(seen, length))))
    return found


def brief_facts(spec: TypedSpec) -> dict[str, tuple[Fact, ...]]:
    """By attend what is quick to say: order, empty rows and reach."""
    found: dict[str, tuple[Fact, ...]] = {}
    for name, (owner, node) in located(spec).items():
        seen = _Seen(owner, node, None)
        found[name] = (
            _told("causal", seen, _causal),
            _told("no empty row", seen, _rows),
            _told("look-back", seen, _look_back),
        )
    return found


def brief_words(facts: Sequence[Fact]) -> str:
    """Brief facts in a line: `causal, no empty row, at most 128 tokens back`."""
    found = []
    for fact in facts:
        if fact.verdict == "unknown":
            found.append(f"{fact.name} unknown")
        elif fact.name != "look-back":
            found.append(fact.name if fact.verdict == "proved" else _BROKEN[fact.name])
        elif fact.example is not None:
            found.append("no bound on the past")
        else:
            found.append(fact.words.removeprefix("none: "))
    return ", ".join(found)


_BROKEN = {"causal": "not causal", "no empty row": "rows may be empty"}


def _facts(seen: _Seen, length: int | None) -> Iterator[Fact]:
    yield _told("causal", seen, _causal)
    yield _told("no empty row", seen, _rows)
    yield _told("look-back", seen, _look_back)
    yield _told("look-ahead", seen, _look_ahead)
    if len(seen.sources) == 1 and seen.sources[0].is_square:
        yield _told("symmetric", seen, _symmetric)
    yield _told("pairs", seen, _pairs)
    if length is not None:
        yield _told("pairs", seen, lambda seen: _pairs_at(seen, length))


def _told(name: str, seen: _Seen, say: Callable[[_Seen], Fact]) -> Fact:
    try:
        return say(seen)
    except RecursionError:
        return Fact(name, "unknown", TOO_DEEP)


def _causal(seen: _Seen) -> Fact:
    answer = causal(seen.asker, seen.sources)
    return seen.fact("causal", answer, "no key is later than its query", "{i} sees {j}")


def _rows(seen: _Seen) -> Fact:
    answer = no_empty_row(seen.asker, seen.sources)
    return seen.fact("no empty row", answer, "every query sees a key", "{i} sees no key")


def _symmetric(seen: _Seen) -> Fact:
    answer = symmetric(seen.asker, seen.sources)
    proved = "who is seen sees, too"
    return seen.fact("symmetric", answer, proved, "{i} sees {j}, which does not see it")


def _look_back(seen: _Seen) -> Fact:
    return _reach(seen, "look-back", seen.back)


def _look_ahead(seen: _Seen) -> Fact:
    return _reach(seen, "look-ahead", seen.ahead)


def _reach(seen: _Seen, name: str, reach: Reach) -> Fact:
    """Whether there is a bound, and which."""
    side, away = ("past", "back") if name == "look-back" else ("future", "ahead")
    if reach.whole:
        return Fact(name, "refuted", f"none: all of the {side} is seen")
    if reach.most is not None and reach.answer:
        tokens = "1 token" if reach.most == 1 else f"{reach.most:,} tokens"
        words = f"at most {tokens} {away}" if reach.most else f"nothing is seen of the {side}"
        words += "" if reach.reached else ", perhaps less"
        return Fact(name, "proved", words, value=reach.most)
    return seen.fact(name, reach.answer, "", "over a million tokens: {i} sees {j}")


def _pairs(seen: _Seen) -> Fact:
    if is_all_of_memory(seen.sources):
        return Fact("pairs", "proved", "n*m")
    try:
        return Fact("pairs", "proved", f"{seen.form}{_of_heads(seen)}")
    except NotCounted as reason:
        return _pairs_given(seen, "pairs", None) or Fact("pairs", "unknown", str(reason))


def _pairs_given(seen: _Seen, name: str, length: int | None) -> Fact | None:
    """How many pairs there are by what an input holds; None where that is not known."""
    try:
        return Fact(name, "proved", f"{seen.given.told(length)}{_of_heads(seen)}")
    except NotCounted:
        return None


def _pairs_at(seen: _Seen, length: int) -> Fact:
    memory = any(pairs.has_memory for pairs in seen.sources)
    name = f"pairs at n = m = {length:,}" if memory else f"pairs at n = {length:,}"
    try:
        count = seen.form.at(length)
    except NotCounted:
        try:
            count = pairs_at(seen.sources, length)
        except NotCounted as reason:
            return _pairs_given(seen, name, length) or Fact(name, "unknown", str(reason))
    return Fact(name, "proved", f"{count:,}{_of_heads(seen)}", value=count)


def _of_heads(seen: _Seen) -> str:
    """Which numbers are sums over heads."""
    free = free_axes(seen.sources)
    sizes = [f"{axis.size.value} {axis.name}" for axis in free if axis.size is not None]
    return f", all {' and '.join(sizes)} together" if sizes else ""
