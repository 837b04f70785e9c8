"""Corners where a lowering once went wrong: small specs against the oracle."""

from __future__ import annotations

import attnc
import pytest
import torch
from attnc.runtime.oracle import evaluate
from compilers import needs_compiler

HEAD = "attnc: 1\nname: corner\n"
LINEAR = (
    HEAD
    + """extends: softmax
context: same
normalize: s
score: dot(q, k)
out: sum(concat(heads, over=h)) * x
"""
)
CORNERS = {
    "a linear value without features": LINEAR + "value: sum(v)\n",
    "a linear value that is a position": LINEAR + "value: real(j)\n",
    "a linear value and its sum": LINEAR.replace("normalize: s\n", "") + "value: sum(v)\n"
    "normalize: s / (3 + sum(s, over=j))\n",
    "an lse by head of scores without heads": HEAD
    + """context: same
project:
  q: linear(x, to=[8])
  k: linear(context, to=[8])
  v: linear(context, to=[h, d_value])
let:
  y: {attend: {mask: h == 1, score: "dot(q, k)", normalize: "softmax(s, j)", value: v}}
out: linear(concat(y * max(y.lse, -50), over=h))
""",
    "a scale of 0": HEAD + "extends: causal_softmax\nscore: 0 * super\n",
    "a negative scale": HEAD + "extends: causal_softmax\nscore: -1 * super\n",
    "queries and keys without b": HEAD
    + """extends: softmax
context: same
weights:
  r1: {shape: [h, 8, 4]}
  r2: {shape: [h, 8, 4]}
score: dot(r1[clip(i, 0, 7)], r2[clip(j, 0, 7)])
""",
    "a list with places after the last token": HEAD
    + """context: same
axes: {w: 3}
let:
  y:
    attend: {at: "token(context, slot(x) + w - 1)", score: "dot(context[j], x)", value: context}
out: y
""",
    "a remainder by 1 that is stencilled": HEAD
    + 'let: {p: "convolve(real(i % 1 + 1), ones(3), left=2, right=0)"}\nout: x * p\n',
    "a remainder by 1 of features": HEAD + 'let: {p: "range(3) % 1"}\nout: x + sum(p + 1)\n',
    "a remainder by 1 in a list": HEAD
    + """context: same
axes: {e: 3}
let:
  y:
    attend: {at: "token(context, slot(x) % 1 + e)", score: "0.0 * i", value: context}
out: y
""",
    "entmax of no keys": HEAD
    + """context: same
tokens: {runs: "windows(context, size=9, stride=2)"}
project:
  q: linear(x, to=[h, d_head])
let:
  k: mean(context, over=runs)
  y:
    attend: {keys: runs, score: "sum(k) * sum(q)", value: k, normalize: "entmax(s, over=j)"}
out: linear(concat(y, over=h))
""",
    "a normaliser that reduces an axis of what is there": HEAD
    + """extends: softmax
context: same
axes: {u: 2}
weights: {mix: {shape: [u]}}
project:
  q: linear(x, to=[h, u, d_head])
mask: causal
score: log(1 + exp(dot(q, k)))
normalize: sum(mix * s, over=u)
""",
}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("corner", CORNERS)
def test_corners_agree_with_the_oracle(corner: str, padded: bool) -> None:
    module = attnc.compile(attnc.loads(CORNERS[corner]), d_model=8, heads=2).double().eval()
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    call = {}
    if padded:
        call["valid"] = torch.arange(7) < torch.tensor([[4], [7]])
    wanted = evaluate(module.spec, dict(module.state_dict()), {"x": x}, **call)["x"]
    torch.testing.assert_close(module(x=x, **call), wanted)


def test_a_loss_that_is_a_number_is_one() -> None:
    text = HEAD + "extends: softmax\ndims: {on: 0}\nlosses: {l: {value: 'where(on > 0, 1, 0)'}}\n"
    module = attnc.compile(attnc.loads(text), d_model=8, heads=2).train()
    module(x=torch.randn(2, 7, 8))
    assert module.losses() == 0


def test_the_core_takes_a_number_as_offset() -> None:
    module = attnc.compile(attnc.load("causal_softmax"), d_model=8, heads=2, entry="qkv")
    q = torch.randn(1, 2, 5, 4)
    torch.testing.assert_close(module(q, q, q, q_start=5), module(q, q, q))


def test_what_padding_holds_does_not_matter_to_linear_attention() -> None:
    text = (
        HEAD
        + """extends: softmax
score: dot(exp(q), exp(k))
normalize: safe_div(s, sum(s, over=j))
"""
    )
    module = attnc.compile(attnc.loads(text), d_model=8, heads=2)
    assert module.lowering == {"heads": "linear"}
    x, valid = torch.randn(2, 9, 8), torch.arange(9).expand(2, 9) < 6
    plain = module(x=x, valid=valid)
    x[:, 6:] *= 3000
    torch.testing.assert_close(module(x=x, valid=valid)[:, :6], plain[:, :6])


LOWERINGS = ["dense", "tiled", pytest.param("cpu", marks=needs_compiler)]
ROUNDED = {
    "floor": "real(i) // (1.0 + exp(c[h]))",
    "ceil": "ceil_div(dot(q, k), 1.0 + exp(c[h]))",
    "a number divided": "2.5 // (1.0 + exp(c[h]))",
}


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("quotient", ROUNDED.values(), ids=ROUNDED)
def test_no_gradient_goes_through_a_rounded_quotient(quotient: str, lowering: str) -> None:
    text = HEAD + "extends: softmax\nweights: {c: {shape: [h]}}\nscore: "
    x = torch.randn(2, 7, 8)
    results = []
    for rounded in (quotient, f"detach({quotient})"):
        spec = attnc.loads(f"{text}super + {rounded} + 0 * sum(c, over=h)\n")
        module = attnc.compile(spec, d_model=8, heads=2, lowering=lowering)
        if results:
            module.load_state_dict(results[0][0].state_dict())
        module(x=x).square().sum().backward()
        results.append((module, [weight.grad for weight in module.parameters()]))
    torch.testing.assert_close(results[0][1], results[1][1])


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("score", ["leaky_relu(super, c)", "super * leaky_relu(-0.5, c)"])
def test_the_slope_of_a_leaky_relu_is_learned(score: str, lowering: str) -> None:
    text = HEAD + "extends: softmax\nweights: {c: {shape: [h], init: 0.3}}\nscore: "
    plain = "where({0} > 0, {0}, c * {0})".format("super" if "(super" in score else "(-0.5)")
    same = plain if "(super" in score else f"super * {plain}"
    x = torch.randn(2, 7, 8)
    results = []
    for each in (score, same):
        module = attnc.compile(
            attnc.loads(f"{text}{each}\n"), d_model=8, heads=2, lowering=lowering
        )
        if results:
            module.load_state_dict(results[0][0].state_dict())
        made = module(x=x)
        made.square().sum().backward()
        results.append((module, [made, *(weight.grad for weight in module.parameters())]))
    torch.testing.assert_close(results[0][1], results[1][1])


@pytest.mark.parametrize("tokens", [0, 2])
def test_extremes_of_no_tokens_are_numbers(tokens: int) -> None:
    text = (
        HEAD
        + """context: memory
let:
  first: min(slot(context), over=context)
  last: max(slot(context), over=context)
  least: min(context, over=context)
out: "where(first > last, x, least * real(last - first))"
"""
    )
    module = attnc.compile(attnc.loads(text), d_model=8).double()
    inputs = {"x": torch.randn(2, 3, 8).double(), "context": torch.randn(2, tokens, 8).double()}
    wanted = evaluate(module.spec, {}, inputs)["x"]
    torch.testing.assert_close(module(**inputs), wanted)
    if tokens == 0:
        torch.testing.assert_close(wanted, inputs["x"])
