"""Limits of models: blocks that add nothing, stacks of one."""

from __future__ import annotations

from .limit import Limit
from .selected import renamed

SMALL = {"d_model": 8, "heads": 2}
MEMORY = ((2, 5, 8), (1, 9, 6))


def without(*maps: str) -> dict[str, float]:
    """Linear maps to nothing."""
    return {f"{name}.{kind}": 0.0 for name in maps for kind in ("weight", "bias")}


LIMITS = (
    Limit(
        "block",
        SMALL,
        "attnc: 1\nname: added\nextends: softmax\nproject:\n"
        "  q: linear(near, to=[h, d_head])\n  k: linear(near, to=[h, d_head])[j]\n"
        "  v: linear(near, to=[h, d_value])[j]\ncontext: same\n"
        'let: {near: "layer_norm(x, as=norm_1)"}\nout: x + super\n',
        SMALL,
        "without the second half adds attention",
        put=without("ff_2"),
        weights=renamed(*((f"attended.{name}", name) for name in ("q", "k", "v", "out"))),
    ),
    Limit(
        "decoder_block",
        SMALL,
        "block",
        SMALL | {"attention": "causal_softmax"},
        "without the memory is a block",
        put=without("given.out"),
        weights=renamed(("own", "attended"), ("norm_3", "norm_2")),
        shapes=MEMORY,
    ),
    Limit(
        "encoder",
        SMALL | {"layers": 1, "norm": "post"},
        "block",
        SMALL | {"norm": "post"},
        "of one layer is a block",
        weights=lambda w: {name.removeprefix("body.0."): value for name, value in w.items()},
    ),
    Limit(
        "decoder",
        SMALL | {"layers": 1, "norm": "post"},
        "decoder_block",
        SMALL | {"norm": "post"},
        "of one layer is a block",
        weights=lambda w: {name.removeprefix("body.0."): value for name, value in w.items()},
        shapes=MEMORY,
    ),
)
