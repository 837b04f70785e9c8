"""Kernels of attends with fixed axes beside heads: against float64, and in every kind of call."""

from __future__ import annotations

import attnc
import fuzz.campaign
import pytest
import torch
from compilers import needs_compiler
from torch import Tensor

TOKENS = 50
HEADER = """attnc: 1
name: own
extends: softmax
context: same
dims: {d_head: {default: 5}, d_value: {default: 6}}
axes: {p: 3, r: 2}
weights: {mix: {shape: [h, p]}, slope: {shape: [p]}, near: {shape: [p, 5]}, drain: {shape: [h, p]}}
"""
#: what has which axes: groups of heads, places without heads, heads without places, and their order
ARRAYS = {
    "all": ("h, p, d_head", "g, p, d_head", "g, d_value"),
    "keys of places": ("h, p, d_head", "p, d_head", "g, d_value"),
    "queries of places": ("p, d_head", "h, d_head", "h, d_value"),
    "values of places": ("h, d_head", "g, d_head", "g, p, d_value"),
    "numbers of places": ("h, p, d_head", "g, p, d_head", "g, p"),
    "two axes": ("h, r, p, d_head", "p, d_head", "g, r, d_value"),
    "no heads": ("p, d_head", "p, d_head", "p, d_value"),
}
#: of weights that are summed over the places, and what else a spec says
WEIGHTS = {
    "a softmax": 'normalize: "sum(mix[h, p] * softmax(s, j), over=p)"',
    "a sink": 'normalize: "sum(mix[h, p] * softmax_with_sink(s, drain, j), over=p)"',
    "sums of rows": 'normalize: "mean(relu(s) / (1 + sum(abs(s), over=j)), over=p)"',
    "a mask of places": 'mask: "j <= i and i - j < 7 * (p + 1)"\n'
    'normalize: "sum(softmax(s, j), over=p)"',
    "biases of places": 'score: "super - slope * abs(i - j) + near[p][clip(j - i, -2, 2) + 2]"\n'
    'mask: "j <= i"\nnormalize: "sum(mix[h, p] * softmax(s, j), over=p)"',
    "a table along places": 'score: "super + slope[where(i - j < 5, p, argmax(slope, over=p))]"\n'
    'normalize: "sum(mix[h, p] * softmax(s, j), over=p)"',
    "positions of heads": 'score: "super - abs(i - j) / (h + p + 1)"\n'
    'normalize: "sum(softmax(s, j), over=p)"',
}


@pytest.fixture(autouse=True)
def hasty_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels built fast."""
    monkeypatch.setenv("ATTNC_CXX", str(fuzz.campaign.HASTY))


def text(arrays: str, more: str) -> str:
    q, k, v = (f"[{axes}]" for axes in ARRAYS[arrays])
    project = (
        f'project: {{q: "linear(x, to={q}, bias=false)", '
        f'k: "linear(context, to={k}, bias=false)", v: "linear(context, to={v})"}}\n'
    )
    return f"{HEADER}{project}{more}\n"


def apart(arrays: str) -> str:
    """A spec whose output reads the result at all places."""
    made = "heads"
    for axis in ("p", "r", "h"):
        if any(axis in axes.split(", ") for axes in ARRAYS[arrays]):
            made = f"concat({made}, over={axis})"
    return text(arrays, f'mask: "j <= i"\nout: "linear({made})"')


def compiled(source: str, lowering: str, **dims: int) -> attnc.Module:
    module = attnc.compile(
        attnc.loads(source), lowering=lowering, d_model=12, **{"heads": 4, "kv_heads": 2, **dims}
    )
    generator = torch.Generator().manual_seed(0)
    for weight in module.parameters():
        weight.data.copy_(torch.randn(weight.shape, generator=generator) * 0.5)
    return module


def tokens() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn((2, TOKENS, 12), generator=generator, dtype=torch.float64)


def with_gradients(module: attnc.Module, x: Tensor, **call: object) -> list[Tensor]:
    x = x.detach().requires_grad_()
    out = module(x, **call)
    ways = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    grads = torch.autograd.grad((out * ways).sum(), [x, *module.parameters()], allow_unused=True)
    return [out.detach(), *(grad for grad in grads if grad is not None)]


def agree(source: str, *, call: dict[str, object] | None = None, **dims: int) -> None:
    """The kernel says what the dense form says in float64."""
    kernel, dense = (compiled(source, lowering, **dims) for lowering in ("cpu", "dense"))
    ours = with_gradients(kernel, tokens().float(), **call or {})
    exact = with_gradients(dense.double(), tokens(), **call or {})
    assert len(ours) == len(exact)
    for made, truth in zip(ours, exact, strict=True):
        scale = float(truth.abs().max().clamp(min=1e-2))
        torch.testing.assert_close(made.double() / scale, truth / scale, rtol=0, atol=6e-5)


@needs_compiler
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_sums_over_places(weights: str) -> None:
    agree(text("all", weights))


@needs_compiler
@pytest.mark.parametrize("arrays", ARRAYS)
def test_arrays_that_lack_heads_or_places(arrays: str) -> None:
    agree(apart(arrays))


@needs_compiler
@pytest.mark.parametrize("heads", [(1, 1), (4, 4), (4, 1)])
def test_heads_and_groups(heads: tuple[int, int]) -> None:
    agree(text("all", WEIGHTS["a softmax"]), heads=heads[0], kv_heads=heads[1])


@needs_compiler
def test_positions_heads_and_padding_that_are_given() -> None:
    valid = torch.arange(TOKENS) < torch.tensor([[TOKENS], [TOKENS - 9]])
    call = {"q_start": 3, "head_start": 2, "valid": valid}
    agree(text("all", WEIGHTS["positions of heads"]), call=call)


@needs_compiler
def test_the_same_pairs_are_dropped_as_densely() -> None:
    source = apart("all") + "dropout: 0.3\n"
    kernel, dense = (compiled(source, lowering).train() for lowering in ("cpu", "dense"))
    made, other = (
        with_gradients(module, tokens().float(), call_seed=7) for module in (kernel, dense)
    )
    for ours, theirs in zip(made, other, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@needs_compiler
def test_second_derivatives() -> None:
    found = []
    for lowering, dtype in (("cpu", torch.float32), ("dense", torch.float64)):
        module = compiled(apart("two axes"), lowering).to(dtype)
        x = tokens().to(dtype).requires_grad_()
        (first,) = torch.autograd.grad(module(x).square().mean(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), x)[0].double())
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


@needs_compiler
def test_torch_compile_knows_the_shapes() -> None:
    module = compiled(text("all", WEIGHTS["a sink"]), "cpu")
    x = tokens().float()
    plain = with_gradients(module, x)
    made = torch.compile(module, backend="aot_eager", fullgraph=True)
    y = x.detach().requires_grad_()
    out = made(y)
    torch.testing.assert_close(out.detach(), plain[0])
    ways = torch.linspace(-1, 1, out.numel()).reshape(out.shape)
    (grad,) = torch.autograd.grad((out * ways).sum(), y)
    torch.testing.assert_close(grad, plain[1])


def test_weights_that_all_queries_share_are_made_once() -> None:
    assert attnc.compile("aft", form="simple").lowering_at(512) == {"heads": "dense"}
    assert attnc.compile("aft").lowering_at(512) == {"heads": "cpu"}
