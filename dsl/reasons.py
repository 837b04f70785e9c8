"""Why an operator is in the language although one built-in spec or none uses it so far.

A test holds the table to the library: an operator that fewer than two specs use has a line here, and no line outlives its need.
"""

from __future__ import annotations

_ELEMENTARY = "an elementary function that a score or a gate may be made of"

REASONS: dict[str, str] = {
    "!=": "completes the comparisons",
    "all": "completes `any`; as a bare name it is the mask that hides nothing",
    "expm1": _ELEMENTARY,
    "round": "completes `floor` and `ceil`",
    "erf": _ELEMENTARY,
    "sparsemax": "a projection, which no finite expression in `exp` and sums gives",
    "entmax": "the family of projections between softmax and sparsemax, with a learned alpha",
    "argmin": "completes `argmax`: the nearest centre",
    "rank": "the inverse of `sort`",
    "roll": "cyclic shifts of a feature dim, for products of features",
    "pos": "from a chosen token back to the one it was chosen from",
    "start": "the earliest source of a derived token, beside `time`, the latest",
    "node": "refs into a hierarchy",
    "sort": "buckets: tokens in the order of a key",
    "softmax_with_sink": "a sink is a term of the denominator, which every softmax may have",
    "sink_peak": "the shared maximum of `softmax_with_sink`",
    "squash": "the non-linearity of capsules, whatever routes them",
    "lerp": "a table read between its rows",
    "hierarchy": "the tree over the tokens: spans of doubling length",
}
