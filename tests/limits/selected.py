"""Limits of specs that choose keys: whoever chooses everything attends to everything."""

from __future__ import annotations

import torch
from references.case import Arrays
from torch import Generator, Tensor

from .limit import Limit

SMALL = {"d_model": 8, "heads": 2}


def renamed(*pairs: tuple[str, str]):  # type: ignore[no-untyped-def]
    """Weights under other names: (here, there) for the beginnings of names."""

    def weights(found: Arrays) -> Arrays:
        made = dict(found)
        for here, there in pairs:
            for name, value in found.items():
                if name.startswith(here + "."):
                    made[there + name[len(here) :]] = value
        return made

    return weights


def second_of_three(bias: Tensor) -> Tensor:
    """Gates that let the second of three branches through."""
    return torch.tensor([-1e3, 1e3, -1e3], dtype=bias.dtype).repeat(len(bias) // 3)


def every_edge(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Luck by which the edge number e of every token leads to token e."""
    certain = 1e6 * torch.eye(length, 13, dtype=torch.float64)
    return {"luck": certain.expand(length, -1, -1)}


def every_edge_of_heads(
    generator: Generator, batch: int, length: int, context: int | None
) -> Arrays:
    """The same luck for each head."""
    luck = every_edge(generator, batch, length, context)["luck"]
    return {"luck": luck.expand(2, -1, -1, -1)}


SHARED_CAUSAL = """attnc: 1
name: shared_causal
context: same
project:
  qk: linear(x, to=[h, d_head], bias=false)
  v: linear(x, to=[h, d_value], bias=false)
let: {key: unit(qk)}
mask: causal
score: where(i == j, -1e5, dot(qk[i], key[j]) / sqrt(d_head))
value: v[j]
out: linear(concat(heads, over=h))
"""

LIMITS = (
    Limit(
        "bp_transformer",
        SMALL | {"levels": 1, "k_near": 20},
        "softmax",
        SMALL,
        "one level that sees every leaf equals full",
        put={"label": 0.0},
        weights=renamed(("out_nodes", "out")),
    ),
    Limit(
        "clustered",
        SMALL | {"clusters": 8, "bits": 40, "lloyd": 2},
        "softmax",
        SMALL,
        "as many clusters as queries equals full",
        shapes=((2, 8, None), (1, 8, 11)),
    ),
    Limit(
        "clustered_improved",
        SMALL | {"clusters": 3, "bits": 5, "lloyd": 2, "top_keys": 16},
        "softmax",
        SMALL,
        "all keys on top equals full",
        shapes=((2, 8, None), (1, 7, 11)),
    ),
    Limit(
        "routing",
        SMALL | {"heads_local": 2, "window": 20, "clusters": 2},
        "causal_softmax",
        SMALL,
        "only local heads equals causal",
    ),
    Limit(
        "routing",
        SMALL | {"heads_local": 0, "window": 20, "clusters": 1},
        "causal_softmax",
        SMALL,
        "one cluster equals causal",
        tolerance=1e-4,
    ),
    Limit(
        "sinkhorn",
        SMALL | {"block": 8, "blocks_max": 2, "rounds": 2},
        "softmax",
        SMALL,
        "one block is its own permutation",
        shapes=((2, 8, None),),
    ),
    Limit(
        "nsa",
        SMALL | {"width": 4, "stride": 2, "block": 4, "picks": 5, "window": 2},
        "causal_softmax",
        SMALL,
        "all blocks picked equals causal",
        put={"gate.weight": 0.0, "gate.bias": second_of_three},
        weights=renamed(("k_s", "k"), ("v_s", "v")),
    ),
    Limit(
        "topk_attention",
        SMALL | {"top_keys": 16},
        "softmax",
        SMALL,
        "all keys on top equals full",
        shapes=((2, 8, None), (1, 7, 11)),
    ),
    Limit(
        "topk_causal",
        SMALL | {"top_keys": 16},
        "causal_softmax",
        SMALL,
        "all keys on top equals causal",
    ),
    Limit(
        "informer",
        SMALL | {"factor": 9, "picks": 16},
        "softmax",
        SMALL,
        "every query chosen equals full",
        shapes=((2, 8, None), (1, 7, 11)),
    ),
    Limit(
        "informer_causal",
        SMALL | {"factor": 9, "picks": 16},
        "causal_softmax",
        SMALL,
        "every query chosen equals causal",
    ),
    Limit(
        "bigbird",
        SMALL | {"block": 5, "picks": 1},
        "softmax",
        SMALL,
        "three blocks equal full",
    ),
    Limit(
        "moba",
        SMALL | {"block": 3, "picks": 5},
        "causal_softmax",
        SMALL,
        "all blocks picked equals causal",
    ),
    Limit("dsa", SMALL | {"picks": 16}, "causal_softmax", SMALL, "all keys picked equals causal"),
    Limit(
        "sac",
        SMALL | {"edges": 13},
        "softmax",
        SMALL,
        "edges to every token equal full",
        inject=every_edge,
    ),
    Limit(
        "sac_causal",
        SMALL | {"edges": 13},
        "causal_softmax",
        SMALL,
        "edges to every token equal causal",
        inject=every_edge,
    ),
    Limit(
        "sac_heads",
        SMALL | {"edges": 13},
        "softmax",
        SMALL,
        "edges to every token equal full",
        inject=every_edge_of_heads,
    ),
    Limit(
        "reformer",
        SMALL | {"rounds": 1, "buckets": 2, "chunk": 20},
        SHARED_CAUSAL,
        SMALL,
        "one bucket in one chunk is causal attention with shared queries and keys",
        put={"planes": 0.0},
    ),
    Limit(
        "sinkhorn_causal",
        SMALL | {"block": 20, "blocks_max": 2, "rounds": 2},
        "causal_softmax",
        SMALL,
        "one block equals causal",
    ),
)
