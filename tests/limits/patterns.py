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
)
