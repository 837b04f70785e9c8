"""Backwards that go over some heads at a time give the gradients of those that take all at once."""

from __future__ import annotations

from pathlib import Path

import attnc
import fuzz.campaign
import pytest
import torch
from attnc.runtime.kernels import rounds
from compilers import needs_compiler
from torch import Tensor

HEADER = "attnc: 1\nname: own\nextends: softmax\n"
#: arrays that heads share, by query, by key and by neither; beside groups of heads, and further axes
SPECS = {
    "keys of all heads": HEADER + 'project: {k: "linear(context, to=[d_head])"}\n',
    "queries of all heads": HEADER + "weights: {u: {shape: [h, d_head]}}\n"
    'project: {q: "linear(x, to=[d_head])"}\nscore: dot(u, tanh(q + k))\n',
    "groups": HEADER + "dims: {kv_heads: 2}\nweights: {u: {shape: [d_head]}}\n"
    "score: dot(u, tanh(q + k))\n",
    "weights": HEADER + "normalize: relu(s) / (1 + sum(relu(s), over=j))\n"
    'project: {k: "linear(context, to=[d_head])", bias: "linear(x, to=[1])"}\n'
    "score: dot(q, k) + bias[0]\n",
    "further axes": HEADER + "axes: {f: 3}\n"
    'project: {k: "linear(context, to=[f])", q: "linear(x, to=[d_head])", v: "linear(context, to=[h, d_value])"}\n'
    'let: {shared: "linear(context, to=[d_head])"}\nscore: dot(q, shared) + k\n'
    "out: linear(concat(sum(heads, over=f), over=h))\n",
}


def gradients(module: attnc.Module, x: Tensor) -> dict[str, Tensor]:
    module.zero_grad()
    x = x.clone().requires_grad_()
    module(x).square().sum().backward()
    found = {name: item.grad for name, item in module.named_parameters()} | {"x": x.grad}
    return {name: grad for name, grad in found.items() if grad is not None}


@needs_compiler
@pytest.mark.parametrize("text", SPECS.values(), ids=SPECS)
def test_rounds_add_up_to_the_same(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATTNC_CXX", str(fuzz.campaign.HASTY))
    monkeypatch.setenv("ATTNC_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    x = torch.randn(2, 70, 24)
    expected = gradients(module_of(text), x)
    monkeypatch.setattr(rounds, "MOST", 0)
    counts = []

    def counted(run: object, *rest: object) -> object:
        counts.append(rest[-2:])
        return in_rounds(run, *rest)  # type: ignore[arg-type]

    in_rounds = rounds.in_rounds
    monkeypatch.setattr("attnc.runtime.kernels.launch.in_rounds", counted)
    found = gradients(module_of(text), x)
    assert [most < heads for heads, most in counts] == [True]  # type: ignore[operator]
    assert found.keys() == expected.keys()
    size = max(float(grad.abs().max()) for grad in expected.values())
    for name, grad in expected.items():  # some are 0 but for rounding
        torch.testing.assert_close(found[name], grad, rtol=1e-4, atol=2e-6 * size, msg=name)


def module_of(text: str) -> attnc.Module:
    module = attnc.compile(attnc.loads(text), d_model=24, heads=4, lowering="cpu")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.4)
    return module
