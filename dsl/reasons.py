"""Why an operator is in the language although one built-in spec or none uses it so far.

A test holds the table to the library: an operator that fewer than two specs use has a line here, and no line outlives its need.
"""

from __future__ import annotations

_ELEMENTARY = "an elementary function that a score or a gate may be made of"
_ORDER = "completes the comparisons"
_MATRIX = "linear algebra on feature dims: landmark and low-rank forms are products of matrices"

REASONS: dict[str, str] = {
    "!=": _ORDER,
    "all": "completes `any`; as a bare name it is the mask that hides nothing",
    ">=": _ORDER,
    "not": "completes `and` and `or`: masks are closed under all three",
    "expm1": _ELEMENTARY,
    "log1p": _ELEMENTARY,
    "sign": _ELEMENTARY,
    "ceil": "completes `floor`",
    "round": "completes `floor` and `ceil`",
    "leaky_relu": _ELEMENTARY,
    "silu": _ELEMENTARY,
    "elu": _ELEMENTARY,
    "erf": _ELEMENTARY,
    "ceil_div": "how many blocks cover a length",
    "logsumexp": "normalisation in the log domain, over any axis",
    "count": "the reduction of a bool to a number",
    "outer": "the only product of feature dims: nothing multiplies dims silently",
    "rms_norm": "the other usual normalisation of a stream",
    "cumsum": "running sums: contextual positions, forgetting gates, stick-breaking, prefix means",
    "sparsemax": "a projection, which no finite expression in `exp` and sums gives",
    "entmax": "the family of projections between softmax and sparsemax, with a learned alpha",
    "stencil": "convolution over pairs: score maps that see their neighbours",
    "convolve": "convolution over tokens: short filters beside or before attention",
    "argmin": "completes `argmax`: the nearest centre",
    "rank": "the inverse of `sort`",
    "segment_sum": "sums by label, as `segment_mean` and `segment_count`: groups, clusters, blocks",
    "matrix": _MATRIX,
    "unmatrix": _MATRIX,
    "transpose": _MATRIX,
    "eye": _MATRIX,
    "roll": "cyclic shifts of a feature dim, for products of features",
    "ones": "completes `zeros`",
    "pos": "from a chosen token back to the one it was chosen from",
    "start": "the earliest source of a derived token, beside `time`, the latest",
    "node": "refs into a hierarchy",
    "segments": "landmarks: a fixed number of blocks, whatever the length",
    "take": "chosen tokens as a set of their own",
    "sort": "buckets: tokens in the order of a key",
    "softmax_with_sink": "a sink is a term of the denominator, which every softmax may have",
    "sink_peak": "the shared maximum of `softmax_with_sink`",
    "squash": "the non-linearity of capsules, whatever routes them",
    "unit": "vectors of length one: cosine scores, shared queries and keys",
    "lerp": "a table read between its rows",
    "hierarchy": "the tree over the tokens: spans of doubling length",
}
