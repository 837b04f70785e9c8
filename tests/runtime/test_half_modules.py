"""Whole modules in bfloat16: calls of any length give that dtype, and every parameter a gradient of it."""

from __future__ import annotations

from pathlib import Path

import attnc
import fuzz.campaign
import pytest
import torch
from attnc.runtime.examples import example
from compilers import needs_compiler

#: softmaxes over several sets of keys that are merged by their lse, and a loop that counts, in the usual run
USUAL = frozenset("bigbird_etc etc bp_transformer memory_compressed sac".split())


def marked(name: str) -> object:
    return pytest.param(name, marks=() if name in USUAL else pytest.mark.slow)


@pytest.mark.parametrize("name", [marked(name) for name in attnc.library()])
def test_a_module_in_bfloat16_learns(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATTNC_CXX", str(fuzz.campaign.HASTY))
    monkeypatch.setenv("ATTNC_CACHE_DIR", str(tmp_path))
    try:
        module = attnc.compile(name, d_model=32, heads=2).bfloat16()
    except attnc.SpecError:  # it has a number of heads of its own
        module = attnc.compile(name, d_model=32).bfloat16()
    for length in (48, 128, 1024):
        call = {
            name: value.bfloat16() if value.is_floating_point() else value
            for name, value in example(module, length).items()
        }
        made = module(**call)
        results = [*made.values()] if isinstance(made, dict) else [made]
        reals = [item for item in results if item.is_floating_point()]
        assert {item.dtype for item in reals} == {torch.bfloat16}
        assert all(item.isfinite().all() for item in reals)
        if not any(item.requires_grad for item in reals):
            continue
        sum(item.float().square().mean() for item in reals).backward()
        grads = [parameter.grad for parameter in module.parameters()]
        assert {grad.dtype for grad in grads if grad is not None} <= {torch.bfloat16}
        assert all(grad.isfinite().all() for grad in grads if grad is not None)


@needs_compiler
@pytest.mark.parametrize(
    "score",
    [
        "max(q * k, over=last)",
        "mean(q * k, over=last, where=q > k)",
        "dot(c, softmax(q * k, last))",
    ],
)
def test_what_kernels_write_out_has_second_derivatives_in_bfloat16(
    score: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATTNC_CXX", str(fuzz.campaign.HASTY))
    monkeypatch.setenv("ATTNC_CACHE_DIR", str(tmp_path))
    text = f"attnc: 1\nname: own\nextends: softmax\nweights: {{c: {{shape: [d_head]}}}}\nscore: {score}\n"
    module = attnc.compile(attnc.loads(text), d_model=16, heads=2, lowering="cpu").bfloat16()
    x = torch.randn(1, 60, 16, dtype=torch.bfloat16, requires_grad=True)
    total = module(x).float().square().sum()
    (slope,) = torch.autograd.grad(total, x, create_graph=True)
    slope.float().square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.abs().max() > 0
