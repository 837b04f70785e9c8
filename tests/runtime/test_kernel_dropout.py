"""Dropout in kernels: the pairs that the dense form drops, in blocks, again, and in derivatives."""

from __future__ import annotations

import attnc
import pytest
import torch
from compilers import needs_compiler
from torch import Tensor
from torch.utils.checkpoint import checkpoint

TOKENS, HEADS = 90, 2


def core(base: str, lowering: str = "cpu", rate: float = 0.3) -> attnc.Module:
    text = f"attnc: 1\nname: own\nextends: {base}\ndropout: {rate}\n"
    module = attnc.compile(
        attnc.loads(text), entry="qkv", lowering=lowering, d_model=10, heads=HEADS
    )
    generator = torch.Generator().manual_seed(0)
    for weight in module.parameters():
        weight.data.copy_(torch.randn(weight.shape, generator=generator))
    return module.train()


def arrays() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (2, HEADS, TOKENS, 5)
    return [torch.randn(shape, generator=generator, requires_grad=True) for _ in range(3)]


def made(module: attnc.Module, **call: object) -> list[Tensor]:
    """The result, and the gradients of arguments and weights."""
    given = arrays()
    out = module(*given, **call)
    (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum().backward()
    return [out, *(item.grad for item in (*given, *module.parameters()) if item.grad is not None)]


@needs_compiler
@pytest.mark.parametrize("base", ["causal_softmax", "t5_bias", "sigmoid", "additive"])
def test_the_same_pairs_are_dropped_as_densely(base: str) -> None:
    kernel = made(core(base), call_seed=7)
    dense = made(core(base, "dense"), call_seed=7)
    for ours, other in zip(kernel, dense, strict=True):
        torch.testing.assert_close(ours, other, rtol=2e-5, atol=2e-5)
    assert not torch.equal(kernel[0], made(core(base), call_seed=8)[0])
    assert torch.equal(kernel[0], made(core(base), call_seed=7)[0])


@needs_compiler
def test_blocks_of_queries_drop_what_the_whole_drops() -> None:
    module, given = core("causal_softmax"), arrays()
    whole = module(*given, call_seed=7)
    query, key, value = given
    last = module(query[:, :, 40:], key, value, call_seed=7, q_start=40, k_start=0)
    torch.testing.assert_close(last, whole[:, :, 40:])


@needs_compiler
def test_checkpoints_replay_it() -> None:
    module = core("softmax")

    def grads(through_checkpoint: bool) -> list[Tensor]:
        given = arrays()
        torch.manual_seed(5)
        if through_checkpoint:
            out = checkpoint(module, *given, use_reentrant=False)
        else:
            out = module(*given)
        return list(torch.autograd.grad(out.square().sum(), given))

    for ours, other in zip(grads(True), grads(False), strict=True):
        assert torch.equal(ours, other)


@needs_compiler
def test_second_derivatives_drop_the_same() -> None:
    def second(lowering: str) -> Tensor:
        given = arrays()
        out = core("softmax", lowering)(*given, call_seed=3)
        (grad,) = torch.autograd.grad(out.square().sum(), given[0], create_graph=True)
        (found,) = torch.autograd.grad(grad.square().sum(), given[1])
        return found

    torch.testing.assert_close(second("cpu"), second("dense"), rtol=1e-4, atol=1e-4)


@needs_compiler
def test_a_rate_of_nothing_in_evaluation() -> None:
    module, given = core("softmax").eval(), arrays()
    torch.testing.assert_close(module(*given), core("softmax", rate=0.0)(*given))
