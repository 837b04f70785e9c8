"""Limits of linear attention: loops equal sums over pairs, decays of 1 are none, one form another."""

from __future__ import annotations

import torch
from references.case import CROSS, SELF, Arrays, combined

from .limit import Limit

SMALL = {"d_model": 16, "heads": 2}
ONLY = {"d_model": 16}
FREE = {**SMALL, "max_length": 16, "rank": 3}
NEVER = -100.0  # the logarithm of a rate that is nothing


def spec(name: str, parents: str, text: str) -> str:
    return f"attnc: 1\nname: {name}\nextends: {parents}\n{text}"


def pairs(parent: str, score: str, value: str = "v[j]", result: str = "memory") -> str:
    """A spec whose loop is a sum over pairs."""
    loop = f'    attend: {{mask: causal, score: "{score}", normalize: s, value: "{value}"}}\n'
    return spec(f"{parent}_by_pairs", parent, f"let:\n  {result}:\n{loop}")


def of_mean(result: str, score: str = "0") -> str:
    """A spec that takes the mean of the past by an attend."""
    return f"let:\n  {result}:\n    attend: {{mask: causal, score: {score}, value: context}}\n"


def zero_queries(weights: Arrays) -> Arrays:
    """Uniform attention."""
    return {**weights, "q.weight": weights["q.weight"] * 0, "q.bias": weights["q.bias"] * 0}


def without_bias(weights: Arrays) -> Arrays:
    """Biases of nothing where a spec has none; rwkv4's r is the other's q."""
    named = {**weights, "q.weight": weights["r.weight"]}
    return named | {f"{n}.bias": torch.zeros_like(weights["mix_r"]) for n in ("q", "k", "v", "out")}


def one_decay(weights: Arrays) -> Arrays:
    """A decay that does not depend on the data."""
    return {
        **weights,
        "decay.weight": torch.zeros_like(weights["beta.weight"]),
        "dt_bias": weights["dt_bias"][:, 0],
    }


PARALLEL_RETENTION = pairs("retention", "dot(q[i], k[j]) * gamma ** (i - j)")
FIXED_GLA = spec(
    "fixed_gla",
    "gated_linear_attention",
    """let:
  memory:
    attend:
      mask: causal
      score: dot(q[i], k[j]) / sqrt(d_head) * 0.9375 ** (i - j)
      normalize: s
      value: v[j]
""",
)
PLAIN_GLA = pairs("gated_linear_attention", "dot(q[i], k[j]) / sqrt(d_head)")
SSD = spec(
    "ssd",
    "mamba2",
    """let:
  total: cumsum(-dt * exp(a_log), over=x)
  memory:
    attend:
      mask: causal
      score: dot(q[i], k[j]) * exp(total[i] - total[j])
      normalize: s
      value: dt[j] * v[j]
""",
)
BARE = "out: linear(concat(normed, over=h), bias=false)\nproject:\n  gate: null\n"
BARE_GDN = spec("bare_gdn", "gated_deltanet", BARE)
BARE_KDA = spec("bare_kda", "kda", BARE + "  shown: null\n")
KDA_BY_HEAD = spec(
    "kda_gated",
    "kda",
    "project:\n  shown: null\n  gate: silu(linear(x, to=[h, d_value], bias=false))\n",
)
BY_DELTANET = spec(
    "by_deltanet",
    "deltanet",
    """weights: {conv_q: null, conv_k: null, conv_v: null}
macros:
  phi(u): (elu(u) + 1) / (sum(elu(u) + 1) + 1e-6)
project:
  q: phi(linear(x, to=[h, d_head], bias=false))
  k: phi(linear(x, to=[h, d_head], bias=false))
  v: linear(x, to=[h, d_value], bias=false)
  beta: sigmoid(linear(x, to=[h], bias=false))
out: linear(concat(memory, over=h))
""",
)
RWKV4_BY_PAIRS = spec(
    "rwkv4_by_pairs",
    "rwkv4",
    """axes: {f: d_model}
macros:
  rate: unmatrix(d, f)
  past: unmatrix(k, f)[j] - (i - j - 1) * rate
  score_of: where(i == j, unmatrix(bonus, f) + unmatrix(k, f)[j], past)
let:
  read:
    attend: {mask: causal, score: score_of, value: "unmatrix(v, f)[j]"}
  held: matrix(read, f)
""",
)
POLYNOMIAL = spec(
    "polynomial",
    "based",
    'macros: {t: "dot(q, k) / sqrt(d_head)"}\nscore: 1 + t + t ** 2 / 2\n',
)
RELU = spec(
    "relu_kernel",
    "linear_transformer",
    "macros: {phi(u): relu(u)}\nnormalize: renormalize(s, j)\n",
)
MEAN = spec("mean_by_attend", "average_attention", of_mean("average"))
POOLED = spec("pooled", "fastformer", 'let:\n  queried: "mean(q, over=x)"\n')

LIMITS = (
    Limit("delta_rule", {**SMALL, "features": "elu"}, BY_DELTANET, SMALL, "the core of deltanet"),
    Limit("retention", SMALL, PARALLEL_RETENTION, SMALL, "equals its parallel form"),
    Limit(
        "gated_linear_attention",
        {**SMALL, "slowness": 1},
        FIXED_GLA,
        SMALL,
        "one fixed gate is retention",
        {"decay.weight": 0.0, "decay.bias": torch.tensor(15.0).log().item()},
        tolerance=1e-6,
    ),
    Limit(
        "gated_linear_attention",
        SMALL,
        PLAIN_GLA,
        SMALL,
        "open gates equal plain linear attention",
        {"decay.weight": 0.0, "decay.bias": 100.0},
    ),
    Limit(
        "mamba2",
        {"d_model": 8, "d_value": 4, "kv_heads": 2, "d_state": 6},
        SSD,
        {"d_model": 8, "d_value": 4, "kv_heads": 2, "d_state": 6},
        "equals its quadratic form",
    ),
    Limit(
        "mamba2",
        {"d_model": 8, "d_value": 8, "d_state": 6},
        pairs("mamba2", "dot(q[i], k[j])", "dt[j] * v[j]"),
        {"d_model": 8, "d_value": 8, "d_state": 6},
        "a rate of nothing equals plain linear attention",
        {"a_log": NEVER},
    ),
    Limit(BARE_GDN, SMALL, "deltanet", SMALL, "a decay of one equals deltanet", {"a_log": NEVER}),
    Limit(BARE_KDA, SMALL, "deltanet", SMALL, "decays of one equal deltanet", {"a_log": NEVER}),
    Limit(
        KDA_BY_HEAD,
        SMALL,
        "gated_deltanet",
        SMALL,
        "one decay per head equals gated deltanet",
        {"slow.weight": 0.0, "dt_bias": 0.3},
        one_decay,
    ),
    Limit("rwkv4", ONLY, "rwkv4", {**ONLY, "numerics": "plain"}, "equals the plain equation"),
    Limit("rwkv4", ONLY, RWKV4_BY_PAIRS, ONLY, "equals a softmax over pairs"),
    Limit(
        "rwkv4",
        ONLY,
        combined("aft", "causal"),
        {**FREE, "form": "simple"},
        "no decay and no shift equals AFT-simple",
        {"mix_r": 1.0, "mix_k": 1.0, "mix_v": 1.0, "decay": NEVER, "bonus": 0.0},
        without_bias,
    ),
    Limit(
        "rwkv6",
        {**SMALL, "rank_mix": 3, "rank_decay": 3},
        pairs("rwkv6", "dot(r[i], k[j])"),
        {**SMALL, "rank_mix": 3, "rank_decay": 3},
        "no decay and a bonus of one equals plain linear attention",
        {"base": NEVER, "bonus": 1.0},
    ),
    Limit(
        "rwkv7",
        {**SMALL, "rank_a": 3, "rank_gate": 3},
        pairs("rwkv7", "dot(r[i], k[j])"),
        {**SMALL, "rank_a": 3, "rank_gate": 3},
        "no decay and no removal equals plain linear attention",
        {"slow.weight": 0.0, "slow.bias": NEVER, "a.weight": 0.0, "a.bias": NEVER},
    ),
    Limit("based", {**SMALL, "d_head": 4}, POLYNOMIAL, {**SMALL, "d_head": 4}, "equals 1 + s + s2"),
    Limit(
        "hedgehog",
        SMALL,
        "softmax",
        SMALL,
        "maps of zero equal the mean",
        {"map_k": 0.0, "shift_k": 0.0},
        zero_queries,
        CROSS,
    ),
    Limit(
        "cosformer",
        {**SMALL, "reach": 10**9},
        RELU,
        SMALL,
        "a far reach equals ReLU features",
        shapes=CROSS,
        tolerance=1e-8,
    ),
    Limit("average_attention", ONLY, MEAN, ONLY, "equals an attend of equal scores", shapes=SELF),
    Limit(
        "aft",
        FREE,
        "aft",
        {**FREE, "form": "simple"},
        "no bias equals simple",
        {"row": 0.0},
        shapes=CROSS,
    ),
    Limit(
        "aft",
        {**FREE, "form": "local", "window": 16},
        "aft",
        FREE,
        "a wide window equals full",
        shapes=CROSS,
    ),
    Limit(
        "aft",
        {**FREE, "form": "conv"},
        "aft",
        {**FREE, "form": "simple"},
        "an empty table equals simple",
        {"table": 0.0},
        shapes=CROSS,
    ),
    Limit("fastformer", SMALL, POOLED, SMALL, "no query weights equal a mean", {"w_q": 0.0}),
)
