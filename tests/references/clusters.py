"""References of specs that group queries by content: clusters and routing."""

from __future__ import annotations

import torch
from torch import Tensor

from .case import CROSS, Arrays, Case
from .pieces import (
    dot_scores,
    masked_softmax,
    output,
    positions,
    qkv,
)


def lloyd(codes: Tensor, clusters: int, rounds: int) -> Tensor:
    """Labels of the rows of a bool matrix by k-means in Hamming space; begins with even picks."""
    length = codes.shape[0]
    centres = codes[torch.arange(clusters) * length // clusters]
    for _ in range(rounds):
        label = (codes[:, None] != centres).sum(-1).argmin(-1)
        for c in range(clusters):
            if (label == c).any():
                centres[c] = codes[label == c].double().mean(0) > 0.5
    return (codes[:, None] != centres).sum(-1).argmin(-1)


def clustered(
    weights: Arrays, inputs: Arrays, clusters: int, rounds: int, top_keys: int | None
) -> Tensor:
    """A_c = softmax(mean of the queries in c . k / sqrt(d)); o_i = A_c(i) v.

    Improved: on the cluster's top keys T each query has weights of its own, of the same mass:
    o_i = A_c(T) softmax_T(q_i . k / sqrt(d)) v_T + sum over j not in T of A_cj v_j.
    """
    q, k, v = qkv(weights, inputs, 2)
    codes = (q.detach() @ weights["planes"].to(q.dtype).T + weights["shift"].to(q.dtype)) > 0
    rows = torch.zeros(*q.shape[:3], v.shape[-1], dtype=q.dtype)
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            label = lloyd(codes[b, h], clusters, rounds)
            for c in label.unique():
                members = (label == c).nonzero().flatten()
                shared = dot_scores(q[b, h, members].mean(0)[None], k[b, h]).softmax(-1)[0]
                if top_keys is None:
                    rows[b, h, members] = shared @ v[b, h]
                    continue
                best = shared.detach().argsort(descending=True)[:top_keys]
                rest = torch.ones_like(shared)
                rest[best] = 0
                own = dot_scores(q[b, h, members], k[b, h, best]).softmax(-1) @ v[b, h, best]
                rows[b, h, members] = shared[best].sum() * own + (shared * rest) @ v[b, h]
    return output(weights, rows)


def routing(
    weights: Arrays, inputs: Arrays, heads_local: int, clusters: int, window: int
) -> Tensor:
    """Local heads: 0 <= i - j <= window. Others: each centroid attends among its nearest tokens.

    A token gets the sum of its results over the centroids that took it, / (their number + 1e-5).
    """
    q, k, v = qkv(weights, inputs, 2)
    batch, heads, length, width = q.shape
    i, j = positions(length, length)
    local = masked_softmax(dot_scores(q, k), (j <= i) & (i - j <= window)) @ v

    def normed(u: Tensor) -> Tensor:
        return torch.nn.functional.layer_norm(u.detach(), (width,))

    near_q = torch.einsum("bhnd,hcd->bhcn", normed(q), weights["mu"])
    near_k = torch.einsum("bhnd,hcd->bhcn", normed(k), weights["mu"])
    routed = torch.zeros_like(local)
    for b in range(batch):
        for h in range(heads):
            total, count = torch.zeros_like(v[b, h]), torch.zeros(length, 1, dtype=q.dtype)
            for c in range(clusters):
                queries = near_q[b, h, c].argsort(descending=True)[:window]
                keys = near_k[b, h, c].argsort(descending=True)[:window]
                seen = keys[None, :] <= queries[:, None]
                scores = dot_scores(q[b, h, queries], k[b, h, keys])
                result = masked_softmax(scores, seen) @ v[b, h, keys]
                total = total.index_add(0, queries, result)
                count = count.index_add(0, queries, torch.ones(len(queries), 1, dtype=q.dtype))
            routed[b, h] = total / (count + 1e-5)
    by_head = (torch.arange(heads) < heads_local)[:, None, None]
    return output(weights, torch.where(by_head, local, routed))


SMALL: dict[str, object] = {"d_model": 8, "heads": 2}
GROUPS: dict[str, object] = {"clusters": 3, "bits": 7, "lloyd": 2}
ODD = ((2, 8, None), (1, 13, None), (1, 5, None))

CASES = (
    Case(
        "clustered_improved",
        SMALL | GROUPS | {"top_keys": 3},
        lambda w, a: clustered(w, a, 3, 2, 3),
        CROSS,
    ),
    Case(
        "clustered",
        SMALL | GROUPS,
        lambda w, a: clustered(w, a, 3, 2, None),
        CROSS,
    ),
    Case(
        "routing",
        SMALL | {"clusters": 3, "window": 4},
        lambda w, a: routing(w, a, 1, 3, 4),
        ODD,
    ),
)
