"""Limits of specs with tokens of their own: hubs beside a full window, one place to read from."""

from __future__ import annotations

import torch
from references.case import CROSS, Arrays, normal
from torch import Generator

from .limit import Limit
from .selected import renamed

SMALL = {"d_model": 8, "heads": 2}
SILENT = {"q.weight": 0.0, "q.bias": 0.0}


def of(part: str) -> dict[str, float]:
    """Queries of nothing, in a part of a spec."""
    return {f"{part}.{name}": value for name, value in SILENT.items()}


def no_hubs(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """A stream of global tokens without any."""
    return {"glob": normal(generator, batch, 0, 8)}


def hubs(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Three global tokens."""
    return {"glob": normal(generator, batch, 3, 8)}


def nothing_else(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """The other spec has no such input."""
    return {}


def for_both_streams(found: Arrays) -> Arrays:
    """Weights that two streams share as weights of each, and labels of nothing."""
    pairs = (
        *(("q", f"q_{a}") for a in "lg"),
        *((name, f"{name}_{pair}") for name in "kv" for pair in ("ll", "lg", "gg", "gl")),
        *(("out", f"out_{a}") for a in "lg"),
    )
    made = dict(found)
    for here, there in pairs:
        for part in ("weight", "bias"):
            made[f"{there}.{part}"] = found[f"{here}.{part}"]
    return {**made, "label": torch.zeros(2, 27, 4, dtype=torch.float64)}


RING_OF_ALL = """attnc: 1
name: star_of_all
extends: star_transformer
let:
  k_x: key(tip)
  v_x: value(tip)
  satellite:
    attend:
      sources:
        - {keys: x, score: "scaled(q[i], k_x[j])", value: "v_x[j]"}
        - {keys: self, score: "scaled(q, k_own)", value: v_own}
        - {keys: hub, score: "scaled(q, k_hub)", value: v_hub}
"""
ONE_POINT = """attnc: 1
name: one_point
context: same
weights: {point: {shape: [d_model], init: normal}}
let:
  seen: mean(linear(x, to=[d_model], as=v_1), over=x)
  packed: point + linear(seen, as=out_1)
out: x + linear(linear(packed, to=[d_model], as=v_2), as=out_2)
"""
MEAN_OF_FED = """attnc: 1
name: mean_of_fed
extends: pma
let:
  seen: mean(linear(fed, to=[d_model], as=v), over=x)
  made: pooled + linear(seen, as=all)
"""
ONE_LATENT = """attnc: 1
name: one_latent
extends: perceiver
let:
  gathered: linear(mean(linear(inputs_read, to=[d_model], as=v_1), over=context), as=out_1)
  told: linear(linear(sum(latent_read, over=latent), to=[d_model], as=v_2), as=out_2)
"""
ONE_SLOT = """attnc: 1
name: one_slot
let:
  packed: mean(linear(context, to=[d_model], as=c_p), over=context)
out: 0 * x + linear(linear(packed, to=[d_model], as=c), as=out)
"""
ONE_CAUSAL_SLOT = """attnc: 1
name: one_causal_slot
extends: luna_causal
let:
  o:
    attend: {mask: causal, score: "sum(omega, over=mem) / (i + 1)", normalize: s, value: c}
"""
CAUSAL_SINKS = "attnc: 1\nname: causal_sinks\nextends: [sinks, causal]\n"


def composed(found: Arrays) -> Arrays:
    """Two linear maps in a row as one."""
    made = {**found, "sink": torch.zeros(2, dtype=torch.float64)}
    for name in "kv":
        made[f"{name}.weight"] = found[f"{name}_c.weight"] @ found[f"{name}.weight"]
        made[f"{name}.bias"] = found[f"{name}_c.bias"]
    return made


LIMITS = (
    Limit(
        "etc",
        SMALL | {"radius": 20},
        "softmax",
        SMALL,
        "a radius of everything without global tokens equals full",
        put={"label": 0.0},
        weights=renamed(("q_l", "q"), ("k_ll", "k"), ("v_ll", "v"), ("out_l", "out")),
        inputs=no_hubs,
        other=nothing_else,
    ),
    Limit(
        "bigbird_etc",
        SMALL | {"block": 20, "picks": 1, "extra": 3},
        "etc",
        SMALL | {"radius": 20},
        "one block equals etc with a radius of everything",
        weights=for_both_streams,
        inputs=hubs,
    ),
    Limit(
        "star_transformer",
        SMALL,
        RING_OF_ALL,
        SMALL,
        "in a ring of three each sees all",
        shapes=((2, 3, None),),
    ),
    Limit(
        "isab",
        SMALL | {"points": 1, "norm": "none"},
        ONE_POINT,
        SMALL,
        "one point that asks for nothing tells the mean to all",
        put=of("packed")
        | {
            f"{part}.ff.{kind}": 0.0
            for part in ("packed", "unpacked")
            for kind in ("weight", "bias")
        },
        weights=lambda w: {
            **renamed(
                ("packed.v", "v_1"),
                ("packed.out", "out_1"),
                ("unpacked.v", "v_2"),
                ("unpacked.out", "out_2"),
            )(w),
            "point": w["point"][0],
        },
    ),
    Limit(
        "pma",
        SMALL | {"seeds": 2, "norm": "none"},
        MEAN_OF_FED,
        SMALL | {"seeds": 2, "norm": "none"},
        "seeds that ask for nothing pool by the mean",
        put=of("made") | {"made.ff.weight": 0.0, "made.ff.bias": 0.0},
        weights=renamed(("made.v", "v"), ("made.out", "all")),
    ),
    Limit(
        "perceiver",
        SMALL | {"latents": 1, "layers": 0},
        ONE_LATENT,
        SMALL | {"latents": 1, "layers": 0},
        "one latent that asks for nothing tells the mean to all",
        put=of("gathered"),
        weights=renamed(
            ("gathered.v", "v_1"),
            ("gathered.out", "out_1"),
            ("told.v", "v_2"),
            ("told.out", "out_2"),
        ),
        shapes=CROSS,
    ),
    Limit(
        "luna",
        SMALL | {"packed": 1},
        ONE_SLOT,
        SMALL,
        "one place that asks for nothing tells the mean to all",
        put={"q_p.weight": 0.0, "q_p.bias": 0.0},
        shapes=CROSS,
    ),
    Limit(
        "luna_causal",
        SMALL | {"packed": 1},
        ONE_CAUSAL_SLOT,
        SMALL | {"packed": 1},
        "one place is read with weight one",
    ),
    Limit(
        "memory_compressed",
        SMALL | {"ratio": 1},
        CAUSAL_SINKS,
        SMALL,
        "a ratio of one is causal attention with a sink",
        put={"null_k": 0.0, "null_v": 0.0},
        weights=composed,
    ),
)
