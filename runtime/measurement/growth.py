"""Exponents: how a claim and a measurement grow with the length, and whether they agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ...dsl.growth import growth
from ...dsl.typed import TypedSpec

#: lengths below it are left out of a fit: there, what does not depend on the length counts
FIT_FROM = 2048
TOLERANCE = 0.15

Verdict = Literal["ok", "more", "less", ""]


@dataclass(frozen=True)
class Exponent:
    """p of N**p, by least squares of logarithms; None where there are fewer than two lengths.

    claimed   of what the spec claims, over the same lengths, or over all where those are too few
    measured  over lengths from `FIT_FROM`; overall: over all of them
    """

    claimed: float | None
    measured: float | None
    overall: float | None

    @property
    def verdict(self) -> Verdict:
        """Whether the measurement grows as claimed, faster (`more`), or more slowly (`less`)."""
        if self.claimed is None or self.measured is None:
            return ""
        if abs(self.measured - self.claimed) <= TOLERANCE:
            return "ok"
        return "more" if self.measured > self.claimed else "less"

    def to_json(self) -> dict[str, float | str | None]:
        return {
            "claimed": self.claimed,
            "measured": self.measured,
            "over_all": self.overall,
            "verdict": self.verdict,
        }


def exponent(spec: TypedSpec, part: str, values: Mapping[int, float]) -> Exponent:
    """The exponents of `time` or `memory`, measured by length."""
    late = {length: value for length, value in values.items() if length >= FIT_FROM}
    lengths = late if len(late) > 1 else values
    claims = {length: growth(spec, part, length, length) for length in lengths}
    claimed = {length: claim for length, claim in claims.items() if claim is not None}
    return Exponent(slope(claimed), slope(late), slope(values))


def slope(values: Mapping[int, float]) -> float | None:
    """The slope of log value over log length."""
    points = [(math.log(n), math.log(value)) for n, value in values.items() if value > 0]
    if len(points) < 2:
        return None
    middle = sum(x for x, _ in points) / len(points)
    level = sum(y for _, y in points) / len(points)
    spread = sum((x - middle) ** 2 for x, _ in points)
    return sum((x - middle) * (y - level) for x, y in points) / spread
