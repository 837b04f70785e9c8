"""Limits of specs with fewer keys: as many landmarks or slots as tokens is full attention."""

from __future__ import annotations

import torch
from references.case import Arrays
from torch import Tensor

from .limit import Limit
from .selected import renamed

SMALL = {"d_model": 8, "heads": 2}

RESIDUAL = "attnc: 1\nname: residual\nextends: softmax\nout: x + super\n"


def identity(e: Tensor) -> Tensor:
    """The projection along the sequence that changes nothing."""
    return torch.eye(e.shape[-1], dtype=e.dtype).expand_as(e)


def halved(found: Arrays) -> Arrays:
    """Half of the heads, and planes of which a single cluster makes nothing."""
    drawn = {"planes": torch.zeros(63, 4), "shift": torch.zeros(63)}
    return {**found, **drawn, "out.weight": found["out.weight"] / 2}


LIMITS = (
    Limit(
        "nystrom",
        SMALL | {"m": 8, "rounds": 20},
        "softmax",
        SMALL,
        "every token its own landmark equals full",
        put={"kernel": 0.0},
        shapes=((2, 8, None),),
        tolerance=1e-7,
    ),
    Limit(
        "nystrom_code",
        SMALL | {"m": 8, "rounds": 24},
        "softmax",
        SMALL,
        "every token its own landmark equals full",
        put={"kernel": 0.0},
        shapes=((2, 8, None),),
        tolerance=1e-7,
    ),
    Limit(
        "csalr",
        SMALL | {"m": 1},
        "clustered",
        SMALL | {"clusters": 1},
        "one landmark is half of one cluster",
        weights=halved,
    ),
    Limit(
        "linformer",
        SMALL | {"rank": 8, "length_max": 8},
        "softmax",
        SMALL,
        "identity projections equal full",
        put={"e_own": identity, "f_own": identity},
        shapes=((2, 8, None), (1, 5, 8)),
    ),
    Limit(
        "lowrank_band",
        SMALL | {"width": 20, "join": "sum"},
        "softmax",
        SMALL,
        "a band of everything beside nothing equals full",
        put={"v_l.weight": 0.0, "v_l.bias": 0.0},
        weights=renamed(("q_b", "q"), ("k_b", "k"), ("v_b", "v")),
    ),
    Limit(
        "mab",
        SMALL | {"norm": "none"},
        RESIDUAL,
        SMALL,
        "without norms and feed-forward equals attention with a residual",
        put={"ff.weight": 0.0, "ff.bias": 0.0},
        shapes=((2, 8, None), (1, 7, 11)),
    ),
    Limit(
        "poolingformer",
        SMALL | {"near": 20},
        "softmax",
        SMALL,
        "a window of everything and no second level equals full",
        put={"v_2.weight": 0.0, "v_2.bias": 0.0},
    ),
)
