"""Numbers of pairs as polynomials of the length, one for each remainder of it, and as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class Quadratic:
    """square * n^2 + slope * n + constant."""

    square: Fraction = ZERO
    slope: Fraction = ZERO
    constant: Fraction = ZERO

    @classmethod
    def through(cls, xs: Sequence[int], ys: Sequence[Fraction]) -> Quadratic:
        """The polynomial through three points, by divided differences."""
        first = (ys[1] - ys[0]) / (xs[1] - xs[0])
        second = (ys[2] - ys[1]) / (xs[2] - xs[1])
        square = (second - first) / (xs[2] - xs[0])
        slope = first - square * (xs[0] + xs[1])
        return cls(square, slope, ys[0] - square * xs[0] ** 2 - slope * xs[0])

    def at(self, n: int) -> Fraction:
        return self.square * n * n + self.slope * n + self.constant

    def plus(self, other: Quadratic) -> Quadratic:
        return Quadratic(
            self.square + other.square, self.slope + other.slope, self.constant + other.constant
        )


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """A number for every length n.

    parts   the polynomial by n % len(parts), which holds from n = start on
    before  the numbers at lengths below start
    """

    parts: tuple[Quadratic, ...]
    start: int
    before: tuple[int, ...]

    @property
    def period(self) -> int:
        return len(self.parts)

    def at(self, n: int) -> int:
        """The number at a length."""
        return self.before[n] if n < self.start else int(self.parts[n % self.period].at(n))

    def plus(self, other: ClosedForm) -> ClosedForm:
        """The sum of both at every length."""
        start = max(self.start, other.start)
        period = lcm(self.period, other.period)
        return ClosedForm(
            tuple(
                self.parts[n % self.period].plus(other.parts[n % other.period])
                for n in range(period)
            ),
            start,
            tuple(self.at(n) + other.at(n) for n in range(start)),
        )

    def __str__(self) -> str:
        """`(n^2 + n)/2`, or with r = n % period; and from which n on."""
        tail = f" for n >= {self.start}" if self.start > 1 else ""
        if self.period == 1:
            part = self.parts[0]
            return polynomial([(part.square, "n^2"), (part.slope, "n"), (part.constant, "")]) + tail
        terms = self._terms()
        if terms is None:
            return f"{self._leading()}, exactly by n % {self.period}{tail}"
        text = polynomial(terms)
        with_rest = any("r" in name for factor, name in terms if factor)
        return text + (f" with r = n % {self.period}" if with_rest else "") + tail

    def _terms(self) -> list[tuple[Fraction, str]] | None:
        """All parts as one polynomial in n and r; None where there is none of degree 2."""
        squares = {part.square for part in self.parts}
        slope = _in_rest([part.slope for part in self.parts])
        constant = _in_rest([part.constant for part in self.parts])
        if len(squares) > 1 or slope is None or constant is None or slope.square:
            return None
        return [
            (squares.pop(), "n^2"),
            (slope.slope, "n*r"),
            (slope.constant, "n"),
            (constant.square, "r^2"),
            (constant.slope, "r"),
            (constant.constant, ""),
        ]

    def _leading(self) -> str:
        """About how many: what all parts share."""
        square = self.parts[0].square
        slope = sum((part.slope for part in self.parts), ZERO) / self.period
        return "about " + polynomial([(square, "n^2"), (slope, "n")])


def _in_rest(values: Sequence[Fraction]) -> Quadratic | None:
    """Numbers by remainder r as a polynomial in r; None where it is none of degree 2."""
    if len(values) < 3:
        points = [*values, 2 * values[-1] - values[0]] if len(values) == 2 else [values[0]] * 3
    else:
        points = list(values[:3])
    found = Quadratic.through([0, 1, 2], points)
    fits = all(found.at(r) == value for r, value in enumerate(values))
    return found if fits else None


def polynomial(terms: Iterable[tuple[Fraction, str]]) -> str:
    """A polynomial over its common denominator: `(n^2 + n)/2`."""
    kept = [(factor, name) for factor, name in terms if factor]
    if not kept:
        return "0"
    below = lcm(*(factor.denominator for factor, _ in kept))
    parts: list[str] = []
    for factor, name in kept:
        whole = int(factor * below)
        size = f"{abs(whole)}*{name}" if name and abs(whole) != 1 else name or str(abs(whole))
        sign = ("-" if whole < 0 else "") if not parts else (" - " if whole < 0 else " + ")
        parts.append(sign + size)
    text = "".join(parts)
    if below == 1:
        return text
    return f"({text})/{below}" if len(kept) > 1 else f"{text}/{below}"
