"""Kernels of scores and masks by distance: places in a row, by example, and in no order."""

from __future__ import annotations

import attnc
import pytest
import torch
from attnc.compiler.codegen.distances import distances
from attnc.compiler.matching import fused
from compilers import needs_compiler
from torch import Tensor

TOKENS, HEADS = 150, 2
STARTS = {
    "in a row": 3,
    "by example": torch.tensor([3, 40]),
    "in no order": torch.randperm(TOKENS, generator=torch.Generator().manual_seed(1)).expand(2, -1),
}
#: specs, and how many parts of their score and mask are functions of a distance
SPECS = {"alibi": 1, "t5_bias": 1, "sliding_window": 1, "kerple": 1, "causal_softmax": 1}


def core(name: str, lowering: str) -> attnc.Module:
    torch.manual_seed(0)
    module = attnc.compile(name, entry="qkv", lowering=lowering, d_model=10, heads=HEADS)
    generator = torch.Generator().manual_seed(0)
    for weight in module.parameters():
        weight.data.copy_(torch.rand(weight.shape, generator=generator) + 0.1)
    return module


def made(module: attnc.Module, start: int | Tensor) -> list[Tensor]:
    """The result, and the gradients of arguments and weights."""
    generator = torch.Generator().manual_seed(0)
    arrays = [
        torch.randn(2, HEADS, TOKENS, 5, generator=generator, requires_grad=True) for _ in range(3)
    ]
    out = module(*arrays, q_start=start)
    (out * torch.randn(out.shape, generator=generator)).sum().backward()
    return [
        out,
        *(array.grad for array in (*arrays, *module.parameters()) if array.grad is not None),
    ]


@needs_compiler
@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("name", ["t5_bias", "sliding_window"])
def test_places_of_any_kind(name: str, start: int | Tensor) -> None:
    kernel, dense = (made(core(name, lowering), start) for lowering in ("cpu", "dense"))
    for ours, other in zip(kernel, dense, strict=True):
        torch.testing.assert_close(ours, other, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("name", "count"), SPECS.items())
def test_functions_of_distances_are_found(
    name: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []
    matched = fused.match

    def match(*args: object) -> object:
        made = matched(*args)  # type: ignore[arg-type]
        if isinstance(made, fused.Match):
            found.append(len(distances(made)))
        return made

    monkeypatch.setattr("attnc.compiler.matching.choice.MATCHERS", (("cpu", match),))
    core(name, "cpu").prepare()
    assert set(found) == {count}


#: where the last bit of a number of a pair decides: ties, that a fused multiply-add would break
TIES = (
    "real(int(floor(real(i - j) / 6 + 0.5)))",
    "real(real(i - j) * 0.1 >= real(j) * 0.3 - 0.5)",
    "floor(sharp * real(i - j) + 0.3 * real(i + j) + 0.5)",
    "round(real(i * j) / 7 - 0.5 * real(j)) + real(i * j) / 7",
)


@needs_compiler
@pytest.mark.parametrize("score", TIES)
def test_what_decides_a_jump_is_rounded_step_by_step(score: str) -> None:
    spec = attnc.loads(
        "attnc: 1\nname: ties\nextends: softmax\ncontext: same\n"
        f"weights: {{sharp: {{shape: [], init: 0.7}}}}\nscore: super + {score} / 50\n"
    )
    modules = [
        attnc.compile(spec, entry="qkv", lowering=lowering, d_model=10, heads=HEADS)
        for lowering in ("cpu", "dense")
    ]
    for ours, other in zip(*(made(module, 3) for module in modules), strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-4)
