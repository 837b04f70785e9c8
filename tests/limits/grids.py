"""Limits of family grids: a block as large as the image is full attention."""

from __future__ import annotations

from .limit import Limit
from .selected import renamed

SMALL = {"d_model": 8, "heads": 2}
COSINES = """attnc: 1
name: cosines
extends: softmax
weights: {heat: {shape: [h], init: zeros}}
score: dot(unit(q, eps=1e-12), unit(k, eps=1e-12)) * min(exp(heat), 100)
"""

LIMITS = (
    Limit(
        "image_local_1d",
        SMALL | {"block": 4, "halo": 20},
        "causal_softmax",
        SMALL,
        "a halo of everything equals causal",
    ),
    Limit(
        "image_local_1d_unmasked",
        SMALL | {"block": 20, "halo": 0},
        "softmax",
        SMALL,
        "one block equals full",
    ),
    Limit(
        "image_local_2d",
        SMALL | {"rows": 2, "cols": 2, "width": 4, "above": 8, "beside": 4},
        "causal_softmax",
        SMALL,
        "a flange of everything equals causal",
    ),
    Limit(
        "image_local_2d_unmasked",
        SMALL | {"rows": 4, "cols": 4, "width": 4, "above": 0, "beside": 0},
        "softmax",
        SMALL,
        "one block equals full",
    ),
    Limit(
        "axial",
        SMALL | {"width": 20},
        "softmax",
        SMALL,
        "one row equals full",
        put={"out_c.weight": 0.0, "out_c.bias": 0.0},
        weights=renamed(("q_r", "q"), ("k_r", "k"), ("v_r", "v"), ("out_r", "out")),
    ),
    Limit(
        "axial",
        SMALL | {"width": 1},
        "softmax",
        SMALL,
        "one column equals full",
        put={"out_r.weight": 0.0, "out_r.bias": 0.0},
        weights=renamed(("q_c", "q"), ("k_c", "k"), ("v_c", "v"), ("out_c", "out")),
    ),
    Limit(
        "axial_causal",
        SMALL | {"width": 20},
        "causal_softmax",
        SMALL,
        "one row equals causal",
        weights=renamed(("q_i", "q"), ("k_i", "k"), ("v_i", "v")),
    ),
    Limit(
        "neighborhood",
        SMALL | {"size": 20},
        "softmax",
        SMALL,
        "a window of everything equals full",
        put={"bias": 0.0},
    ),
    Limit(
        "neighborhood_2d",
        SMALL | {"size": 5, "width": 4},
        "softmax",
        SMALL,
        "a window of everything equals full",
        put={"bias": 0.0},
    ),
    Limit(
        "swin",
        SMALL | {"size": 4, "height": 4, "width": 4},
        "softmax",
        SMALL,
        "one window equals full",
        put={"bias": 0.0},
        shapes=((2, 16, None),),
    ),
    Limit(
        "swin_v2",
        SMALL | {"size": 4, "height": 4, "width": 4, "d_bias": 6},
        COSINES,
        SMALL,
        "one window without a bias is attention by cosines",
        put={"bias_2.weight": 0.0},
        shapes=((2, 16, None),),
    ),
)
