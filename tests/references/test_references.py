"""The references themselves, against PyTorch's own attention and layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

from . import CASES
from .attention import causal, multi_head
from .case import normal
from .models import block, decoder_block
from .normalizers import entmax
from .pieces import masked_softmax, merge_heads, qkv
from .positional import t5_bucket

WIDTH, HEADS = 16, 4


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def of_attention(module: nn.MultiheadAttention) -> dict[str, Tensor]:
    """The weights of a torch attention by our names."""
    names = ("q", "k", "v")
    weight, bias = module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3)
    found = {f"{name}.weight": w for name, w in zip(names, weight, strict=True)}
    found |= {f"{name}.bias": b for name, b in zip(names, bias, strict=True)}
    return found | {f"out.{name}": w for name, w in module.out_proj.named_parameters()}


def of_layer(module: nn.Module, attentions: dict[str, str]) -> dict[str, Tensor]:
    """The weights of a torch layer by our names."""
    found = {}
    for ours, theirs in attentions.items():
        inner = of_attention(module.get_submodule(theirs))
        found |= {f"{ours}.{name}": w for name, w in inner.items()}
    for name, w in module.named_parameters():
        part, kind = name.rsplit(".", 1)
        ours = part.replace("norm", "norm_").replace("linear", "ff_")
        found[f"{ours}.{kind}"] = w
    return found


def test_case_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))


def test_multi_head_is_that_of_torch() -> None:
    module = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dtype=torch.float64)
    x, context = normal(generator(), 2, 7, WIDTH), normal(generator(), 2, 5, WIDTH)
    expected, _ = module(x, context, context)
    found = multi_head(of_attention(module), {"x": x, "context": context}, HEADS)
    assert_close(found, expected)


def test_grouped_causal_is_that_of_torch() -> None:
    g = generator()
    weights = {
        f"{name}.weight": normal(g, rows, WIDTH)
        for name, rows in zip("qkv", (16, 8, 8), strict=True)
    }
    weights["out.weight"] = torch.eye(WIDTH, dtype=torch.float64)
    inputs = {"x": normal(g, 2, 9, WIDTH)}
    q, _, _ = qkv(weights, inputs, HEADS, 2)
    k, v = (
        (inputs["x"] @ weights[f"{name}.weight"].T).unflatten(-1, (2, 4)).transpose(1, 2)
        for name in "kv"
    )
    expected = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    assert_close(causal(weights, inputs, HEADS, 2), merge_heads(expected))


@pytest.mark.parametrize("pre", [True, False])
def test_block_is_that_of_torch(pre: bool) -> None:
    module = nn.TransformerEncoderLayer(
        WIDTH, 2, 24, 0.0, batch_first=True, norm_first=pre, dtype=torch.float64
    )
    weights = of_layer(module, {"attended": "self_attn"})
    x = normal(generator(), 2, 7, WIDTH)
    assert_close(block(weights, x, pre), module(x))


@pytest.mark.parametrize("pre", [True, False])
def test_decoder_block_is_that_of_torch(pre: bool) -> None:
    module = nn.TransformerDecoderLayer(
        WIDTH, 2, 24, 0.0, batch_first=True, norm_first=pre, dtype=torch.float64
    )
    weights = of_layer(module, {"own": "self_attn", "given": "multihead_attn"})
    x, context = normal(generator(), 2, 7, WIDTH), normal(generator(), 2, 5, WIDTH)
    future = nn.Transformer.generate_square_subsequent_mask(7, dtype=torch.float64)
    expected = module(x, context, tgt_mask=future)
    assert_close(decoder_block(weights, x, context, pre), expected)


def test_empty_row_is_zero_with_zero_gradient() -> None:
    scores = normal(generator(), 2, 3).requires_grad_()
    weights = masked_softmax(scores, torch.tensor([[True, False, True], [False] * 3]))
    (gradient,) = torch.autograd.grad(weights.square().sum(), scores)
    assert weights[1].tolist() == [0, 0, 0]
    assert gradient[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("alpha", [1.5, 2.0])
def test_entmax_is_the_maximiser(alpha: float) -> None:
    """p = argmax p . s + (1 - sum p^alpha) / (alpha (alpha - 1)) over the simplex: no p' does better."""
    g = generator()
    scores = normal(g, 50, 6)
    mask = torch.rand(50, 6, generator=g) < 0.8
    mask[:, 0] = True

    def gain(p: Tensor) -> Tensor:
        return (p * scores).sum(-1) - p.pow(alpha).sum(-1) / (alpha * (alpha - 1))

    best = entmax(scores, mask, alpha)
    assert_close(best.sum(-1), torch.ones(50, dtype=torch.float64))
    assert (best >= 0).all()
    for _ in range(20):
        other = masked_softmax(normal(g, 50, 6), mask)
        step = 0.99 * best + 0.01 * other
        assert (gain(best) >= gain(step)).all()


def test_t5_buckets_are_those_of_its_formula_in_float32() -> None:
    """HF T5Attention._relative_position_bucket with 32 buckets and distance 128."""
    for offset in range(-300, 301):
        for symmetric in (True, False):
            n = 16 if symmetric else 32
            start = n if symmetric and offset > 0 else 0
            away = abs(offset) if symmetric else max(-offset, 0)
            exact = n // 2
            ratio = torch.log(torch.tensor(max(away, 1) / exact)) / torch.log(
                torch.tensor(128 / exact)
            )
            far = min(exact + int(ratio * (n - exact)), n - 1)
            expected = start + (away if away < exact else far)
            assert t5_bucket(offset, symmetric, 32, 128) == expected, offset
