"""Sums that kernels rewrite, at extreme inputs: in float32 as accurate as the plain formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attnc
import pytest
import torch
from accuracy import Errors
from attnc.runtime.kernels import attend
from torch import Tensor

HEADS, QUERIES, KEYS = 2, 70, 130
NAMES = ("out", "q", "k", "v", "u")
Score = Callable[[Tensor, Tensor, Tensor], Tensor]


def of(function: Callable[[Tensor], Tensor], q: Tensor, k: Tensor, u: Tensor) -> Tensor:
    """sum_d u_d function(q_d + k_d)."""
    return (function(q[:, :, :, None] + k[:, :, None]) * u[:, None, None]).sum(-1)


SCORES: dict[str, Score] = {
    "dot(u, tanh(q + k))": lambda q, k, u: of(torch.tanh, q, k, u),
    "dot(u, tanh(q - 2 * k))": lambda q, k, u: of(torch.tanh, q, -2 * k, u),
    "dot(sigmoid(k - q), u)": lambda q, k, u: of(torch.sigmoid, -q, k, u),
    "sum(u * tanh(k / 2 + q))": lambda q, k, u: of(torch.tanh, q, k / 2, u),
    "sum(tanh(q + k)) + 0.1 * sum(u)": lambda q, k, u: (
        of(torch.tanh, q, k, torch.ones_like(u)) + 0.1 * u.sum(-1)[:, None, None]
    ),
    "dot(u, relu(q + k))": lambda q, k, u: of(torch.relu, q, k, u),
    "0.1 * sum((q - k) ** 2) - sum(u)": lambda q, k, u: (
        0.1 * ((q[:, :, :, None] - k[:, :, None]) ** 2).sum(-1) - u.sum(-1)[:, None, None]
    ),
}
ADDITIVE = "dot(u, tanh(q + k))"
SIGMOID = "dot(sigmoid(k - q), u)"


class Softmax(torch.autograd.Function):
    """softmax(s) v, with the gradient of fused kernels: ds = w (dw - out . dout)."""

    @staticmethod
    def forward(ctx: Any, score: Tensor, values: Tensor) -> Tensor:
        weights = score.softmax(-1)
        out = weights @ values
        ctx.save_for_backward(weights, values, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        weights, values, out = ctx.saved_tensors
        delta = (grad * out).sum(-1, keepdim=True)
        return weights * (grad @ values.mT - delta), weights.mT @ grad


def module(score: str, width: int) -> attnc.Attention:
    text = f"attnc: 1\nname: own\nextends: softmax\nweights: {{u: {{shape: [h, d_head]}}}}\nscore: {score}\n"
    sizes = {"d_model": HEADS * width, "heads": HEADS, "entry": "qkv"}
    return attnc.compile(attnc.loads(text), lowering="cpu", **sizes)


def run(made: Callable[..., Tensor], arrays: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """The result and the gradients of all arrays."""
    leaves = [array.to(dtype).requires_grad_() for array in arrays]
    out = made(*leaves)
    generator = torch.Generator().manual_seed(3)
    cotangent = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(dtype)
    grads = torch.autograd.grad(out, leaves, cotangent, allow_unused=True)
    found = zip(leaves, grads, strict=True)
    return [out.detach(), *(torch.zeros_like(a) if g is None else g for a, g in found)]


def ours(core: attnc.Attention) -> Callable[..., Tensor]:
    return lambda q, k, v, u: torch.func.functional_call(core, {"u": u}, (q, k, v))


def plain(score: Score) -> Callable[..., Tensor]:
    def made(q: Tensor, k: Tensor, v: Tensor, u: Tensor) -> Tensor:
        found: Tensor = Softmax.apply(score(q, k, u), v)  # type: ignore[no-untyped-call]
        return found

    return made


def drawn(seed: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(1, HEADS, QUERIES, width, generator=generator)
    k = torch.randn(1, HEADS, KEYS, width, generator=generator)
    v = torch.randn(1, HEADS, KEYS, width, generator=generator)
    return q, k, v, torch.randn(HEADS, width, generator=generator)


#: how arrays that are drawn with deviation 1 are changed
INPUTS: dict[str, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]] = {
    **{
        f"scale {s}": (lambda q, k, u, s=s: (q * s, k * s, u))
        for s in (1e-40, 1e-3, 0.1, 0.3, 0.6, 1.0, 3.0, 10.0, 30.0, 100.0)
    },
    "opposites": lambda q, k, u: (q + 100, k - 100, u),
    "opposites by feature": lambda q, k, u: (q + (r := 200 * u[:, None]), k - r, u),
    "far opposites": lambda q, k, u: (0.1 * q - 1e4, 0.1 * k + 1e4, u),
    "keys of two kinds": lambda q, k, u: (q, k + 50 * (torch.arange(KEYS) % 2)[:, None], u),
    "queries of all sizes": lambda q, k, u: (q * torch.logspace(-3, 2, QUERIES)[:, None], k, u),
    "keys of all sizes": lambda q, k, u: (q, k * torch.logspace(-3, 2, KEYS)[:, None], u),
    "saturated": lambda q, k, u: (q + 15, k + 15, u),
    "saturated below": lambda q, k, u: (q - 15, k - 15, u),
    "beyond products": lambda q, k, u: (2 * q + 11, 2 * k + 11, u),
    "one side large": lambda q, k, u: (20 * q, 1e-3 * k, u),
    "weights of 0": lambda q, k, u: (q, k, u * 0),
    "some weights of 0": lambda q, k, u: (q, k, u * (u > 0)),
    "weights of all sizes": lambda q, k, u: (q, k, u * torch.logspace(-30, 0, u.shape[-1])),
    "small weights": lambda q, k, u: (q, k, u * 1e-38),
    "large weights": lambda q, k, u: (q, k, u * 30),
}


def check(score: str, width: int, inputs: str, draws: int = 3, factor: float = 2.0) -> None:
    core = module(score, width)
    errors = {name: Errors() for name in NAMES}
    for draw in range(draws):
        q, k, v, u = drawn(draw, width)
        q, k, u = INPUTS[inputs](q, k, u)
        arrays = (q, k, v, u)
        exact = run(plain(SCORES[score]), arrays, torch.float64)
        single = run(plain(SCORES[score]), arrays, torch.float32)
        found = run(ours(core), arrays, torch.float32)
        for name, *values in zip(NAMES, exact, single, found, strict=True):
            errors[name].add(*values)
    for name, item in errors.items():
        item.check(name, factor, 8.0)


@pytest.mark.parametrize("inputs", INPUTS)
def test_additive_scores(inputs: str) -> None:
    check(ADDITIVE, 64, inputs)


@pytest.mark.parametrize("inputs", INPUTS)
def test_sums_of_sigmoids(inputs: str) -> None:
    check(SIGMOID, 20, inputs)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    "width", [9, *(pytest.param(width, marks=pytest.mark.slow) for width in (1, 33))]
)
def test_other_sums(score: str, width: int) -> None:
    # where no sum is long, or weights of 1 are exact, the formula itself hardly rounds
    check(score, width, "scale 1.0", 12, 2.3)


@pytest.mark.parametrize("isa", ["portable", "avx2"])
@pytest.mark.parametrize("inputs", ["scale 0.1", "scale 1.0", "scale 10.0", "opposites"])
def test_fewer_instructions(isa: str, inputs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNC_ISA", isa)
    check(ADDITIVE, 64, inputs)


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, 3e38])
@pytest.mark.parametrize("where", ["q", "k"])
@pytest.mark.parametrize("score", [ADDITIVE, SIGMOID])
def test_what_is_no_number_is_as_in_the_formula(score: str, where: str, value: float) -> None:
    q, k, v, u = drawn(0, 20)
    {"q": q[0, 0, 3], "k": k[0, 0, 5]}[where][4] = value
    made = ours(module(score, 20))(q, k, v, u)
    wanted = plain(SCORES[score])(q, k, v, u)
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_rules_are_found_by_their_form() -> None:
    for score, rule in ((ADDITIVE, "Sums<true, 20, GROUP>"), (SIGMOID, "Sums<false, 20, GROUP>")):
        core = module(score, 20)
        core(*drawn(0, 20)[:3])
        kernels = [item for item in core.modules() if isinstance(item, attend.FusedAttend)]
        assert kernels
        assert all(rule in item.kernel.sources.forward for item in kernels)
        assert all(rule in item.kernel.sources.backward for item in kernels)
