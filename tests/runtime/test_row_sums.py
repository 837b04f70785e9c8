"""Weights that read sums over their row, in kernels: against float64, and in every kind of call."""

from __future__ import annotations

import attnc
import fuzz.campaign
import pytest
import torch
from attnc.compiler.lower import attends_of
from attnc.compiler.matching.fused import match
from attnc.compiler.matching.match import Match
from attnc.compiler.matching.refusal import Refusal
from attnc.compiler.passes import run_passes
from attnc.compiler.program import Program, Signature
from attnc.dsl import api
from attnc.dsl.source import Source
from attnc.runtime.module import LoweringRefused
from compilers import needs_compiler
from torch import Tensor

#: divided in the kernel: by a plain sum, with an eps, a guard, a prior of tokens, several sums
DIVIDED = {
    "of signed scores": "s / (sum(s, over=j) ** 2 + 1)",
    "with eps": "renormalize(s ** 2, j, eps=1e-3)",
    "at least": "s / max(sum(abs(s), over=j), 0.5)",
    "with a prior": "renormalize(sigmoid(prior) * exp(min(s, 3)), j)",
    "of several": "relu(s) / sqrt(sum(s ** 2, over=j) + sum(s ** 4, over=j) + gate ** 2 + 0.1)",
    "of some": "relu(s) / (1 + sum(s, over=j, where=s > 0))",
    "without a guard": "exp(-abs(s)) / sum(exp(-abs(s)), over=j)",
}
#: of attends of their own: means, sums inside of functions, softmaxes
READ = {
    "of a mean": "relu(s - mean(s, over=j))",
    "times a sum": "s * tanh(sum(s, over=j))",
    "of a softmax": "softmax(s, j) ** 2",
    "of a softmax of others": "softmax(2 * s, j) ** 2",
    "times a softmax": "tanh(s) * softmax(s, j)",
    "of a softmax of softmaxes": "softmax(3 * softmax(s, j), j)",
    "of deviations": "renormalize(exp(-((s - mean(s, over=j)) ** 2)), j, eps=1e-3)",
}
HEADER = """attnc: 1
name: own
extends: softmax
context: same
project:
  q: linear(x, to=[h, d_head], bias=false)
  k: linear(context, to=[g, d_head], bias=false)
  v: linear(context, to=[g, d_value], bias=false)
  prior: linear(context, to=[h], bias=false)
  gate: linear(x, to=[h], bias=false)
out: linear(concat(heads, over=h), bias=false)
"""


@pytest.fixture(autouse=True)
def hasty_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels built fast."""
    monkeypatch.setenv("ATTNC_CXX", str(fuzz.campaign.HASTY))


def text(normalize: str, more: str = "") -> str:
    return f'{HEADER}{more}normalize: "{normalize}"\n'


def compiled(normalize: str, lowering: str, more: str = "") -> attnc.Module:
    spec = attnc.loads(text(normalize, more))
    module = attnc.compile(spec, lowering=lowering, d_model=12, heads=2)
    generator = torch.Generator().manual_seed(0)
    for weight in module.parameters():
        weight.data.copy_(torch.randn(weight.shape, generator=generator) * 0.5)
    return module


def tokens(length: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    made = torch.randn((2, length, 12), generator=generator, dtype=torch.float64)
    return made.to(dtype).requires_grad_()


def with_gradients(module: attnc.Module, x: Tensor, **call: object) -> list[Tensor]:
    out = module(x, **call)
    ways = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    weights = list(module.parameters())
    grads = torch.autograd.grad(
        (out * ways).sum(), [x, *weights], allow_unused=True, materialize_grads=True
    )
    return [out.detach(), *grads]


def agree(made: list[Tensor], exact: list[Tensor]) -> None:
    for ours, truth in zip(made, exact, strict=True):
        scale = float(truth.abs().max().clamp(min=1e-3))
        torch.testing.assert_close(ours.double() / scale, truth / scale, rtol=0, atol=6e-5)


def matched(normalize: str, parts: frozenset[str] = frozenset()) -> Match | Refusal:
    spec = api.check(source=Source("own", text(normalize)), dims={"d_model": 12, "heads": 2}).spec
    assert spec is not None
    program = run_passes(Program(spec, Signature(fused=True), spec.outputs))
    (attend,) = attends_of(program)
    return match(attend, program, parts)


@pytest.mark.parametrize("normalize", DIVIDED.values(), ids=DIVIDED)
def test_a_kernel_sums_what_it_divides_by(normalize: str) -> None:
    found = matched(normalize)
    assert isinstance(found, Match)
    assert found.divisor is not None
    assert not found.rows


@pytest.mark.parametrize("normalize", READ.values(), ids=READ)
def test_other_sums_are_read_of_other_kernels(normalize: str) -> None:
    found = matched(normalize)
    assert isinstance(found, Match)
    assert found.rows


@pytest.mark.parametrize("normalize", [*DIVIDED.values(), *READ.values(), "softmax(2 * s, j)"])
def test_only_a_softmax_of_the_scores_has_their_lse(normalize: str) -> None:
    assert isinstance(matched("softmax(s, j)", frozenset({"lse"})), Match)
    found = matched(normalize, frozenset({"lse"}))
    assert isinstance(found, Refusal)
    assert found.reason == "its lse is read, of weights that are no softmax of its scores"


@pytest.mark.parametrize("normalize", ["s / (1 + max(abs(s), over=j))", "sparsemax(s, over=j)"])
def test_what_orders_a_row_has_no_kernel(normalize: str) -> None:
    with pytest.raises(LoweringRefused, match="weights depend on all scores of a row"):
        compiled(normalize, "cpu").prepare()


@needs_compiler
@pytest.mark.parametrize("normalize", [*DIVIDED.values(), *READ.values()])
@pytest.mark.parametrize(
    "mask",
    [
        pytest.param("i % 3 == 1 and j > 20", id="rows without keys"),
        pytest.param("j <= i", id="causal", marks=pytest.mark.slow),
    ],
)
def test_kernels_agree_with_float64(normalize: str, mask: str) -> None:
    mask = f"mask: {mask}\n"
    exact = with_gradients(compiled(normalize, "dense", mask).double(), tokens(70, torch.float64))
    made = with_gradients(compiled(normalize, "cpu", mask), tokens(70))
    agree(made, exact)
    assert not made[0].isnan().any()


@needs_compiler
def test_rows_longer_than_a_batch_of_tiles() -> None:
    normalize = DIVIDED["with a prior"]
    exact = with_gradients(compiled(normalize, "dense").double(), tokens(600, torch.float64))
    agree(with_gradients(compiled(normalize, "cpu"), tokens(600)), exact)


@needs_compiler
def test_a_sum_of_nothing_gives_no_weights() -> None:
    normalize = "renormalize(relu(s - 100), j)"
    for item in with_gradients(compiled(normalize, "cpu"), tokens(40)):
        assert torch.equal(item, torch.zeros_like(item))


@needs_compiler
def test_the_only_key_of_a_row_has_a_score_without_gradient() -> None:
    normalize, mask = "renormalize(1e-4 * exp(-abs(s)), j)", "mask: i == j\n"
    module, x = compiled(normalize, "cpu", mask), tokens(40)
    weights = [module.get_parameter(f"{name}.weight") for name in "qk"]
    for grad in torch.autograd.grad(module(x).square().sum(), weights):
        assert torch.equal(grad, torch.zeros_like(grad))


@needs_compiler
@pytest.mark.parametrize("normalize", [DIVIDED["with a prior"], READ["of a mean"]])
def test_weights_are_dropped_after_they_are_summed(normalize: str) -> None:
    more = "dropout: 0.3\n"
    modules = (compiled(normalize, lowering, more).train() for lowering in ("cpu", "dense"))
    ours, theirs = (with_gradients(module, tokens(70), call_seed=7) for module in modules)
    for made, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(made, other, rtol=1e-4, atol=1e-4)


@needs_compiler
@pytest.mark.parametrize(
    "normalize",
    [DIVIDED["of several"], READ["of a softmax"], READ["of a softmax of others"]],
)
def test_second_derivatives(normalize: str) -> None:
    def second(lowering: str, dtype: torch.dtype) -> Tensor:
        module, x = compiled(normalize, lowering).to(dtype), tokens(30, dtype)
        (grad,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
        (found,) = torch.autograd.grad(grad.square().sum(), x)
        return found

    agree([second("cpu", torch.float32)], [second("dense", torch.float64)])


@needs_compiler
@pytest.mark.parametrize("normalize", [DIVIDED["at least"], READ["times a sum"]])
def test_bfloat16(normalize: str) -> None:
    x = tokens(70)
    exact = compiled(normalize, "dense").double()(x.double())
    made, plain = (
        compiled(normalize, lowering).bfloat16()(x.bfloat16()).double()
        for lowering in ("cpu", "dense")
    )
    assert (made - exact).square().mean() <= 1.5 * (plain - exact).square().mean()
