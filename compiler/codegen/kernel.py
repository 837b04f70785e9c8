"""The C++ of an attend's kernels, forward and backward.

    forward   for each group of queries: scores of the keys that it may see, 256 at a time, their
              weights by an online softmax, and the sum of the values
    backward  for each stretch of keys, and each group of queries: the weights again, from lse, and
              the cotangents of everything that the score reads

The formulas are those of the pair IR; the layout is that of the templates in `cpp`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..matching.match import Match
from .backward import Backward
from .forward import Forward


@dataclass(frozen=True)
class Sources:
    """The text of the kernels, to which the call adds what it decides.

    Both want `#define TYPE_k` for each real leaf: float, bf16 or fp16, as it is stored.
    `backward` wants `#define WANT_k` for each leaf: whether it is differentiated.
    """

    forward: str
    backward: str


def sources(match: Match) -> Sources:
    """The kernels of an attend."""
    return Sources(Forward(match).text(), Backward(match).text())


def kept_of_rows(match: Match) -> int:
    """How many numbers of each row the forward keeps for the backward.

    Of a softmax its lse, its largest score and 1 / its sum; of weights that are divided 1 / what by,
    whether one key has them all, and the sums over the row.
    """
    if match.weight is None:
        return 3
    return 0 if match.divisor is None else 2 + len(match.divisor.sums)
