"""What is best of a matrix of a pair, of nothing, and of ints: as the dense form says."""

from __future__ import annotations

import attnc
import pytest
import torch
from attnc import LoweringRefused
from compilers import needs_compiler
from torch import Tensor

pytestmark = needs_compiler

SPEC = """
attnc: 1
name: best
extends: softmax
context: same
project:
  q: linear(x, to=[h, 4])
  k: linear(context, to=[g, 4])
  v: linear(context, to=[g, d_value])
  rows_of_q: linear(x, to=[h, 2, 4])
  rows_of_k: linear(context, to=[g, 3, 4])
score: "{score}"
"""
SHAPES = {
    "q": (2, 9, 4),
    "k": (2, 9, 4),
    "v": (2, 9, 8),
    "rows_of_q": (2, 9, 2, 4),
    "rows_of_k": (2, 9, 3, 4),
}


def compiled(score: str, lowering: str) -> attnc.Module:
    spec = attnc.loads(SPEC.format(score=score))
    found = attnc.compile(spec, entry="qkv", d_model=16, heads=2, lowering=lowering)
    assert isinstance(found, attnc.Module)
    return found


def whole_numbers(module: attnc.Module, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """What a module takes; of many pairs the largest numbers are the same."""
    generator = torch.Generator().manual_seed(1)
    made = {n: torch.randint(-2, 3, (1, *s), generator=generator) for n, s in SHAPES.items()}
    return [made[name].to(dtype) for name in module.argument_names]


@pytest.mark.parametrize(
    "score",
    [
        "max(outer(q, k))",
        "min(relu(outer(q, k)))",
        "max(rows_of_q @ transpose(rows_of_k))",
        "max(outer(q, k), where=outer(k, q) > 0)",
        "max(max(outer(q, k), over=last), over=last)",
        "max(rows_of_q @ k, over=last)",
        "logsumexp(outer(q, k))",
    ],
)
def test_what_is_best_alike_shares_a_gradient(score: str) -> None:
    score = f"dot(q, k) / 8 + {score} / 3"
    results = []
    for lowering, dtype in (("cpu", torch.float32), ("dense", torch.float64)):
        module = compiled(score, lowering)
        leaves = [leaf.requires_grad_() for leaf in whole_numbers(module, dtype)]
        made = module(*leaves)
        by = torch.linspace(-1, 1, made.numel(), dtype=dtype).view_as(made)
        results.append([made, *torch.autograd.grad((made * by).sum(), leaves)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize(
    "score",
    [
        "real(where(min(where(q > k, 1, 2), over=last, where=k > 100) > 5, 1, 0)) * real(j % 3)",
        "real(sum((i + j) % int(q > k), over=last) % 7)",
        "real(max(i * j + int(q > k), over=last))",
    ],
)
def test_ints_that_reals_do_not_hold_have_no_kernel(score: str) -> None:
    with pytest.raises(LoweringRefused, match="for every pair"):
        compiled(score, "cpu").prepare()
    auto, dense = (compiled(score, lowering) for lowering in ("auto", "dense"))
    leaves = whole_numbers(dense)
    torch.testing.assert_close(auto(*leaves), dense(*leaves))


@pytest.mark.parametrize(
    "score",
    [
        "real(argmax(q, where=q > 1)) * real(j)",
        "real(argmin(q * k))",
        "real(argmin(rows_of_k @ q))",
    ],
)
def test_the_best_of_what_is_let_in(score: str) -> None:
    kernel, dense = (compiled(score, lowering) for lowering in ("cpu", "dense"))
    made = kernel(*whole_numbers(kernel, torch.float32))
    expected = dense(*whole_numbers(dense))
    torch.testing.assert_close(made.double(), expected, atol=1e-5, rtol=1e-5)
