"""Means over seeds with 95 % intervals by Student's t, and differences paired by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# The 97.5 % quantile of Student's t by degrees of freedom, 1 .. 30.
_QUANTILES = tuple(
    float(text)
    for text in (
        "12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262 2.228 2.201 2.179 2.160 2.145 2.131 "
        "2.120 2.110 2.101 2.093 2.086 2.080 2.074 2.069 2.064 2.060 2.056 2.052 2.048 2.045 2.042"
    ).split()
)


@dataclass(frozen=True)
class Estimate:
    """A mean and the half width of its 95 % interval; None for one value, which has none."""

    mean: float
    half: float | None

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.half is not None and abs(self.mean) > self.half

    def show(self, digits: int = 3, signed: bool = False) -> str:
        """`2.310 ± 0.042`."""
        sign = "+" if signed else ""
        text = f"{self.mean:{sign}.{digits}f}"
        return text if self.half is None else f"{text} ± {self.half:.{digits}f}"


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of independent values, and t * s / sqrt(n)."""
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Estimate(mean, None)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    return Estimate(mean, student(count - 1) * spread / math.sqrt(count))


def paired(values: Sequence[float], against: Sequence[float]) -> Estimate:
    """The mean of the differences, by place: the same seed gives both the same batches."""
    return estimate([one - other for one, other in zip(values, against, strict=True)])


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t: a table, then the first terms of its expansion."""
    if freedom <= len(_QUANTILES):
        return _QUANTILES[freedom - 1]
    normal = 1.959964
    return normal + (normal**3 + normal) / (4 * freedom)
