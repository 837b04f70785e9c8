"""Limits of random feature attention: features of nothing, gates that are open or shut."""

from __future__ import annotations

from references.case import CROSS, combined

from .limit import Limit

SMALL = {"d_model": 16, "heads": 2}
FEATURES = {**SMALL, "features": 24}
NOTHING = {"q.weight": 0.0, "q.bias": 0.0, "k.weight": 0.0, "k.bias": 0.0}

SHORT_KEYS = """
attnc: 1
name: short_keys
extends: softmax
score: (dot(0 * q, k) - dot(k, k) / 2) / sqrt(d_head)
"""

ITSELF = """
attnc: 1
name: itself
extends: softmax
context: same
mask: i == j
"""

LIMITS = (
    Limit(
        "favor", SMALL, "softmax", SMALL, "vectors of zero equal the mean", NOTHING, shapes=CROSS
    ),
    Limit(
        "favor_plus",
        SMALL,
        SHORT_KEYS,
        SMALL,
        "no directions leave the lengths of keys",
        {"directions": 0.0},
        shapes=CROSS,
    ),
    Limit(
        "favor_plus",
        {**SMALL, "kernel": "relu"},
        "softmax",
        SMALL,
        "relu features of zero equal the mean",
        {"directions": 0.0},
        lambda w: {**w, "q.weight": w["q.weight"] * 0, "q.bias": w["q.bias"] * 0},
    ),
    Limit(
        "random_feature_attention",
        FEATURES,
        "softmax",
        SMALL,
        "features of zero equal the mean",
        {"sigma": 0.0},
        lambda w: {**w, "q.weight": w["q.weight"] * 0, "q.bias": w["q.bias"] * 0},
        CROSS,
    ),
    Limit(
        "gated_random_feature_attention",
        FEATURES,
        combined("random_feature_attention", "causal"),
        FEATURES,
        "a gate that keeps all equals no gate",
        {"gate.weight": 0.0, "gate.bias": 25.0},
        tolerance=1e-8,
    ),
    Limit(
        "gated_random_feature_attention",
        FEATURES,
        ITSELF,
        SMALL,
        "a gate that keeps nothing sees only the present",
        {"gate.weight": 0.0, "gate.bias": -80.0},
    ),
)
