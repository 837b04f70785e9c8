"""Corners of the language, each a few lines, compiled and compared with the oracle."""

from __future__ import annotations

import attnc
import pytest
import torch
from attnc.runtime.oracle import evaluate

CORNERS = {
    "functions of constants": (
        "score: super * sigmoid(0.5) + relu(-1.0) + log1p(0.3) + softplus(2.0)\n"
        "  + leaky_relu(-1.0, 0.2) + erf(0.1) + gelu(0.2) + silu(0.3) + elu(-0.4) + round(0.6)\n"
    ),
    "division of ints by zero": "score: super + real(j // (i % 3)) + real(j % (i % 3))\n",
    "a negative power of an int": "score: super + 2 ** -1 + (h + 1) ** -1\n",
    "a mask without the key axis": """
tokens: {mem: slots(4)}
weights: {w: {shape: [mem, d_head]}, u: {shape: [mem, d_value]}}
keys: mem
mask: i > 2
score: dot(q, w)
value: u
""",
    "a number as value": """
tokens: {mem: slots(4)}
weights: {w: {shape: [mem, d_head]}}
keys: mem
score: dot(q, w)
value: 1.0
out: x * sum(heads, over=h)
""",
    "blocks of blocks": """
tokens:
  small: blocks(context, size=2)
  large: blocks(small, size=2)
let:
  k_small: mean(k, over=small)
  k_large: mean(k_small, over=large)
  v_small: mean(v, over=small)
  v_large: mean(v_small, over=large)
keys: large
mask: causal
score: dot(q, k_large)
value: v_large
""",
    "a token beyond the end": "value: v + v[token(context, slot(j) + 1)]\n",
    "labels beyond the end": "value: v + segment_sum(v, token(context, slot(context) * 2))[j]\n",
    "whole windows": """
tokens:
  three: windows(context, size=3, stride=3)
let:
  kk: mean(k, over=three)
  vv: mean(v, over=three)
keys: three
score: dot(q, kk)
value: vv
""",
    "a prior in a block": """
let:
  y:
    attend:
      score: dot(q, k)
      prior: 0.1 * (i - j)
      value: v
out: linear(concat(y, over=h))
""",
    "a list of keys": """
axes: {n: 3}
let:
  best: top(sum(k, over=d_head), n, over=context)
  y:
    attend:
      at: best
      score: dot(q, k)
      value: v
out: linear(concat(y, over=h))
""",
    "the function all beside the mask all": "mask: all(h < 100, over=h)\n",
    "sources under one normaliser": """
tokens: {null_slot: slots(2)}
weights: {bias: {shape: [h, null_slot]}, empty: {shape: [null_slot, d_value]}}
let:
  y:
    attend:
      sources:
        - keys: context
          mask: j <= i
          score: dot(q, k)
          value: v
        - keys: null_slot
          score: bias
          value: empty
out: linear(concat(y, over=h))
""",
    "landmarks of a fixed number": """
tokens: {few: "segments(context, count=3)"}
let:
  kk: mean(k, over=few)
  vv: mean(v, over=few)
keys: few
score: dot(q, kk)
value: vv
""",
    "entmax with a learned power": """
weights: {power: {shape: [h], init: 0.5}}
normalize: entmax(s, over=j, alpha=1 + sigmoid(power))
""",
    "lse of an attend": """
let:
  y:
    attend:
      mask: j < i
      score: dot(q, k)
      value: v
out: linear(concat(y * sigmoid(max(y.lse, -9)), over=h))
""",
}


@pytest.mark.parametrize("name", CORNERS)
def test_corner(name: str) -> None:
    body = CORNERS[name]
    spec = attnc.loads(f"attnc: 1\nname: own\nextends: softmax\n{body}")
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, 7, 16, generator=generator, dtype=torch.float64)
    for lowering in ("auto", "dense"):
        module = attnc.compile(spec, d_model=16, heads=2, lowering=lowering).double().eval()
        weights = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        for given in ({}, {"valid": torch.tensor([[True] * 5 + [False] * 2, [True] * 7])}):
            wanted = evaluate(module.spec, weights, {"x": x}, **given)["x"]
            made = module(x, **given)
            torch.testing.assert_close(made, wanted.expand_as(made), rtol=1e-9, atol=1e-9)


def test_a_stream_begins_by_itself_inside_a_model() -> None:
    model = attnc.compile("encoder", d_model=16, heads=2, layers=2, attention="predictive")
    x = torch.randn(2, 5, 16)
    assert model(x) is not None


def test_layers_draw_their_own_random_planes() -> None:
    model = attnc.compile("encoder", d_model=16, heads=2, layers=2, attention="reformer")
    planes = [value for name, value in model.named_buffers() if name.endswith("planes")]
    assert len(planes) == 2
    assert not torch.equal(planes[0], planes[1])


def test_time_of_segments_is_the_end() -> None:
    spec = attnc.loads(
        "attnc: 1\nname: own\nextends: softmax\ntokens:\n  few: segments(context, count=3)\n"
        "let:\n  kk: mean(k, over=few)\n  vv: mean(v, over=few)\nkeys: few\nmask: causal\n"
        "score: dot(q, kk)\nvalue: vv\nout: linear(concat(heads, over=h), bias=false)\n"
    )
    module = attnc.compile(spec, d_model=16, heads=2)
    assert module(torch.randn(1, 6, 16)).abs().max() == 0
