"""References of SAC: a recurrent network draws the edges that attention runs along."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from .case import SELF, Arrays, Case
from .pieces import dot_scores, linear, masked_softmax, output, positions, qkv


def drawn_edges(
    weights: Arrays, x: Tensor, luck: Tensor, reach: int, causal: bool, start: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Edges (B, N, edges) of one walk, and the log-probability of each.

    i, f, o, u = W [x_last; s]; c <- sigmoid(i + 1) c + sigmoid(f) tanh(u); s <- sigmoid(o) tanh(c)
    score_j = W_a s . (W_c x_j + r[j - i]); the edge is argmax of score + Gumbel noise.
    """
    batch, length, width = x.shape
    size = weights["ask"].shape[0]
    state = torch.zeros(batch, size, dtype=x.dtype) if start is None else start.expand(batch, -1)
    cell, last = torch.zeros(batch, size, dtype=x.dtype), torch.zeros(batch, width, dtype=x.dtype)
    candidate = linear(weights, "candidate", x)
    picks, sure = [], []
    for i in range(length):
        gap = (torch.arange(length) - i).clamp(-reach, reach) + reach
        for e in range(luck.shape[-1]):
            gate = torch.einsum("gsk,bk->gbs", weights["lstm"], torch.cat([last, state], -1))
            cell = (gate[0] + 1).sigmoid() * cell + gate[1].sigmoid() * gate[2].tanh()
            state = gate[3].sigmoid() * cell.tanh()
            ask = state @ weights["ask"].T
            scores = ((candidate + weights["far"][gap]) @ ask[..., None])[..., 0]
            if causal:
                scores = scores[:, : i + 1]
            count = scores.shape[1]
            pick = (scores.detach() + luck[i, :count, e]).argmax(-1)
            last = x[torch.arange(batch), pick]
            picks.append(pick)
            sure.append(scores.log_softmax(-1)[torch.arange(batch), pick])
    made = [torch.stack(part, -1).unflatten(-1, (length, -1)) for part in (picks, sure)]
    return made[0], made[1]


def sac(weights: Arrays, inputs: Arrays, reach: int, form: str) -> Tensor:
    """Softmax over the tokens that i is linked to, itself among them."""
    x = inputs["x"]
    q, k, v = qkv(weights, inputs, 2)
    i, j = positions(x.shape[1], x.shape[1])
    seen = (i == j).expand(x.shape[0], 2, -1, -1).clone()
    for h in range(2):
        luck = inputs["luck"][h] if form == "heads" else inputs["luck"]
        start = weights["start"][h] if form == "heads" else None
        edges, _ = drawn_edges(weights, x, luck, reach, form == "causal", start)
        seen[:, h].scatter_(-1, edges, True)
    return output(weights, masked_softmax(dot_scores(q, k), seen) @ v)


def luck(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Gumbel noise for two edges of every token."""
    uniform = torch.rand(length, length, 2, generator=generator, dtype=torch.float64)
    return {"luck": -(-uniform.log()).log()}


def luck_of_heads(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Gumbel noise for two edges of every token and head."""
    uniform = torch.rand(2, length, length, 2, generator=generator, dtype=torch.float64)
    return {"luck": -(-uniform.log()).log()}


DIMS: dict[str, object] = {"d_model": 8, "heads": 2, "edges": 2, "reach": 2, "d_state": 4}

CASES = (
    Case("sac", DIMS, lambda w, a: sac(w, a, 2, "shared"), SELF, inject=luck),
    Case("sac_heads", DIMS, lambda w, a: sac(w, a, 2, "heads"), SELF, inject=luck_of_heads),
    Case("sac_causal", DIMS, lambda w, a: sac(w, a, 2, "causal"), SELF, inject=luck),
)
