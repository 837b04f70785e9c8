"""Limits of family patterns: a window that holds everything is no window."""

from __future__ import annotations

from .limit import Limit

SMALL = {"d_model": 16, "heads": 2}

LIMITS = (
    Limit(
        "sliding_window",
        {**SMALL, "left": 20, "right": 20},
        "softmax",
        SMALL,
        "window of the length equals full",
    ),
    Limit("block_local", {**SMALL, "block": 20}, "softmax", SMALL, "one block equals full"),
    Limit(
        "dilated",
        {**SMALL, "left": 20, "right": 20, "dilation": 1},
        "softmax",
        SMALL,
        "every tap of a window of the length equals full",
    ),
    Limit(
        "global_tokens", {**SMALL, "count": 20}, "softmax", SMALL, "all tokens global equals full"
    ),
    Limit("longformer", {**SMALL, "window": 40}, "softmax", SMALL, "a window of all equals full"),
    Limit(
        "random_blocks",
        {**SMALL, "block": 5, "picks": 3},
        "softmax",
        SMALL,
        "all blocks picked equals full",
    ),
    Limit(
        "sparse_strided",
        {**SMALL, "stride": 20},
        "causal_softmax",
        SMALL,
        "a long stride is causal",
    ),
    Limit(
        "sparse_strided",
        {**SMALL, "stride": 1, "form": "strided"},
        "causal_softmax",
        SMALL,
        "a stride of one is causal",
    ),
    Limit(
        "sparse_fixed",
        {**SMALL, "stride": 20, "form": "local"},
        "causal_softmax",
        SMALL,
        "one block is causal",
    ),
    Limit(
        "sparse_fixed",
        {**SMALL, "stride": 4, "summary_size": 4, "form": "summary"},
        "causal_softmax",
        SMALL,
        "a summary of every place is causal",
    ),
    Limit(
        "streaming", {**SMALL, "window": 20}, "causal_softmax", SMALL, "a window of all is causal"
    ),
    Limit(
        "streaming",
        {**SMALL, "first_tokens": 20, "window": 1},
        "causal_softmax",
        SMALL,
        "all tokens first is causal",
    ),
)
