"""Counterexamples in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .asking import Example
from .pairs import Pairs

_LENGTHS = {"x": "n", "context": "m"}


def names_of(sources: Iterable[Pairs]) -> dict[str, str]:
    """The query and key axes by the names that they have in masks."""
    found: dict[str, str] = {}
    for pairs in sources:
        if pairs.at is None and len(pairs.keys) == 1:
            found.setdefault(pairs.keys[0].name, "j")
        found[pairs.query.name] = "i"
    return found


def in_words(example: Example, names: Mapping[str, str], told: str) -> str:
    """`i = 0 sees j = 1, at n = 2, h = 3 and glob[0] = 1`."""
    tokens, rest = {"i": "i", "j": ""}, []
    for axis, at in example.places.items():
        name = names.get(axis, axis)
        if name in tokens:
            tokens[name] = f"{name} = {at}"
        else:
            rest.append(f"{axis} = {at}")
    tokens["j"] = tokens["j"] or "a key"
    lengths = [f"{_LENGTHS.get(axis, axis)} = {size}" for axis, size in example.lengths.items()]
    cells = [f"{name} = {str(value).lower()}" for name, value in example.inputs.items()]
    where = [*lengths, *rest, *cells]
    return told.format(**tokens) + (f", where {listed(where)}" if where else "")


def listed(words: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
