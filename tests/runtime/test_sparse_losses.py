"""Losses of specs that choose keys: what trains the choice, against the equation."""

from __future__ import annotations

import attnc
import torch
from references.chosen_keys import indexed
from references.edges import drawn_edges, luck
from references.pieces import dot_scores, positions, qkv


def test_the_walk_of_sac_learns_from_the_reward() -> None:
    dims = {"d_model": 8, "heads": 2, "edges": 2, "reach": 2, "d_state": 4, "decay": 0.9}
    module = attnc.compile("sac", **dims).double().train()
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(3, 5, 8, generator=generator, dtype=torch.float64)
    reward = torch.randn(3, generator=generator, dtype=torch.float64)
    module.get_buffer("baseline").fill_(0.3)
    drawn = luck(generator, 3, 5, None)
    module(x, reward=reward, inject=drawn)
    weights = dict(module.named_parameters())
    _, sure = drawn_edges(weights, x, drawn["luck"], 2, False, None)
    wanted = ((0.3 - reward) * sure.sum((1, 2))).mean()
    torch.testing.assert_close(module.losses(), wanted)
    ours = torch.autograd.grad(module.losses(), module.get_parameter("ask"))
    theirs = torch.autograd.grad(wanted, module.get_parameter("ask"))
    torch.testing.assert_close(ours, theirs)
    module.after_step()
    torch.testing.assert_close(module.get_buffer("baseline"), 0.9 * 0.3 + 0.1 * reward.mean())


def test_the_indexer_of_dsa_learns_from_the_attention() -> None:
    module = (
        attnc.compile("dsa", d_model=8, heads=2, heads_index=2, d_index=3, picks=4).double().train()
    )
    x = torch.randn(2, 7, 8, dtype=torch.float64, requires_grad=True)
    module(x)
    weights = dict(module.named_parameters())
    merit = indexed(weights, x.detach())
    i, j = positions(7, 7)
    past = merit.masked_fill(j > i, -torch.inf)
    order = past.detach().argsort(dim=-1, descending=True)[..., :4]
    seen = torch.zeros_like(merit, dtype=torch.bool).scatter(-1, order, True) & (j <= i)
    q, k, _ = qkv(weights, {"x": x}, 2)
    share = dot_scores(q, k).masked_fill(~seen[:, None], -torch.inf).softmax(-1).mean(1).detach()
    guess = merit.masked_fill(~seen, -torch.inf).log_softmax(-1).masked_fill(~seen, 0)
    wanted = (torch.xlogy(share, share) - share * guess).sum(-1).mean()
    torch.testing.assert_close(module.losses(), wanted)
    (found,) = torch.autograd.grad(module.losses(), x, allow_unused=True, retain_graph=True)
    assert found is None or not found.any()
    ours = torch.autograd.grad(module.losses(), module.get_parameter("w_i.weight"))
    theirs = torch.autograd.grad(wanted, module.get_parameter("w_i.weight"))
    torch.testing.assert_close(ours, theirs)
