"""Reference of BP-Transformer: a tree of spans over the tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from .case import Arrays, Case
from .pieces import (
    linear,
    merge_heads,
    project,
)


def tree_counts(length: int, levels: int) -> list[int]:
    """Nodes per level, up to one root: each level has half as many as the one below, rounded up."""
    counts = [length]
    while len(counts) < levels and counts[-1] > 1:
        counts.append(-(-counts[-1] // 2))
    return counts


def tree_edges(
    length: int, k_near: int, levels: int, clip: int, left_only: bool
) -> list[tuple[int, int, int]]:
    """(query node, key node, edge type) of the binary partition, by the published walk."""
    counts = tree_counts(length, levels)
    begin = [sum(counts[:level]) for level in range(len(counts))]
    edges = []

    def add(leaf: int, level: int, place: int, kind: int, at: int) -> None:
        if 0 <= place < counts[level]:
            label = (2 * k_near + 1) * min(at, clip) + kind
            edges.append((leaf, begin[level] + place, label))

    for level in range(len(counts)):
        for place in range(counts[level]):
            span = begin[level] + place
            label = (2 * k_near + 1) * min(level, clip)
            under = range(place * 2**level, min((place + 1) * 2**level, length))
            edges += [(span, leaf, label) for leaf in under]
            edges += [(span, span, label)] if level else []
    for leaf in range(length):
        left, right, skip_left, skip_right = leaf - 1, leaf + 1, False, False
        for level in range(len(counts)):
            for near in range(k_near):
                if not left_only and right < counts[level]:
                    if skip_right:
                        add(leaf, level - 1, 2 * right + 1, 2 * near + 2, level)
                    else:
                        add(leaf, level, right, 2 * near + 2, level)
                    skip_right = False
                right += 1
                if left >= 0:
                    if skip_left:
                        add(leaf, level - 1, 2 * left, 2 * near + 1, level)
                    else:
                        add(leaf, level, left, 2 * near + 1, level)
                    skip_left = False
                left -= 1
            skip_left |= left % 2 == 0
            skip_right |= right % 2 == 1
            left, right = left // 2, right // 2
    return edges


def bp_transformer(
    weights: Arrays,
    inputs: Arrays,
    heads: int,
    k_near: int,
    levels: int,
    clip: int,
    left_only: bool = False,
) -> dict[str, Tensor]:
    """o_u = sum_e A_e v_e, A = softmax over the edges e of u of q_u . (k_e + a_type(e)) / sqrt(d)."""
    x = inputs["x"]
    length = x.shape[1]
    total = sum(tree_counts(length, levels))
    spans = x.new_zeros(x.shape[0], total - length, x.shape[2])
    nodes = inputs.get("nodes", torch.cat([x, spans], 1))
    q, k, v = (project(weights, name, nodes, heads) for name in ("q", "k", "v"))
    edges = tree_edges(length, k_near, levels, clip, left_only)
    rows = []
    for node in range(total):
        keys = [edge[1] for edge in edges if edge[0] == node]
        kinds = [edge[2] for edge in edges if edge[0] == node]
        near = k[:, :, keys] + weights["label"][kinds]
        scores = (q[:, :, node, None] * near).sum(-1) / q.shape[-1] ** 0.5
        rows.append((scores.softmax(-1)[..., None] * v[:, :, keys]).sum(2))
    return {"nodes": linear(weights, "out_nodes", merge_heads(torch.stack(rows, 2)))}


SMALL: dict[str, object] = {"d_model": 8, "heads": 2}
ODD = ((2, 8, None), (1, 5, None), (2, 11, None))
TREE = SMALL | {"k_near": 1, "levels": 5, "level_clip": 2}

CASES = (
    Case("bp_transformer", TREE, lambda w, a: bp_transformer(w, a, 2, 1, 5, 2), ODD),
    Case(
        "bp_transformer",
        TREE | {"k_near": 2},
        lambda w, a: bp_transformer(w, a, 2, 2, 5, 2),
        label="two_near",
    ),
    Case(
        "bp_transformer",
        TREE | {"sides": "left"},
        lambda w, a: bp_transformer(w, a, 2, 1, 5, 2, left_only=True),
        label="left",
    ),
)
