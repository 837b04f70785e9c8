"""Corners where a kernel once was something else than its dense form: numbers that are none, shapes, tables."""

from __future__ import annotations

import math
from pathlib import Path

import attnc
import pytest
import torch
from compilers import forget_loaded, needs_compiler, script
from torch import Tensor

pytestmark = needs_compiler
INF, NAN = math.inf, math.nan
TOKENS = 130


def spec(text: str) -> attnc.Spec:
    return attnc.loads("attnc: 1\nname: corner\n" + text)


def core(text: str, lowering: str, width: int = 16, heads: int = 1) -> attnc.Module:
    found = attnc.compile(
        spec(text), entry="qkv", lowering=lowering, d_model=heads * width, heads=heads
    )
    assert isinstance(found, attnc.Module)
    return found


def arrays(*shape: int, count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def both(text: str, x: Tensor, start: Tensor | None = None, **dims: int) -> list[list[Tensor]]:
    """The result and the gradients of all parameters, by kernel and densely in float64."""
    found = []
    for lowering, dtype in (("cpu", torch.float32), ("dense", torch.float64)):
        torch.manual_seed(0)
        module = attnc.compile(spec(text), lowering=lowering, **dims).to(dtype)
        made = module(x.to(dtype), **({} if start is None else {"k_start": start}))
        ways = torch.linspace(-1, 1, made.numel(), dtype=dtype).reshape(made.shape)
        grads = torch.autograd.grad((made * ways).sum(), list(module.parameters()))
        found.append([made.detach(), *grads])
    return found


def assert_same(found: list[list[Tensor]]) -> None:
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=1e-3, atol=1e-3)


# -- numbers that are none ------------------------------------------------------------------

#: a mask, runs of values and how many tokens have each
MASKS = {
    "an infinity and no number": ("a[i] <= a[j]", ((-INF, 64), (NAN, 66))),
    "some and no number": ("a[i] <= a[j]", ((-INF, 24), (1, 40), (NAN, 66))),
    "the larger of one and none": ("max(a[i], a[j]) > 0", ((1, 64), (NAN, 66))),
    "clipped by none": ("clip(a[i], a[j], 1) > 0.5", ((1, 64), (NAN, 30), (3, 36))),
    "0 times infinity": ("a[j] * a[i] < 5", ((0, 64), (INF, 66))),
    "0 times what overflows": ("exp(a[j]) * a[i] < 5", ((0, 64), (100, 66))),
    "infinity less infinity": ("a[j] - a[i] < 5", ((-INF, 64), (0, 66))),
    "what is not equal": ("a[j] != a[i]", ((NAN, 64), (0, 66))),
}


@pytest.mark.parametrize("mask", MASKS)
def test_blocks_of_what_is_no_number_are_looked_into(mask: str) -> None:
    text, runs = MASKS[mask]
    a = torch.cat([torch.full((count,), float(value)) for value, count in runs])[None]
    inputs = (
        f'extends: softmax\ncontext: same\ninputs: {{a: {{type: real, over: x}}}}\nmask: "{text}"\n'
    )
    call = (*arrays(1, 1, TOKENS, 16), a)
    torch.testing.assert_close(core(inputs, "cpu")(*call), core(inputs, "dense")(*call))


def test_blocks_of_ints_that_begin_again_are_looked_into() -> None:
    a = torch.zeros(1, TOKENS, dtype=torch.int64)
    a[0, :40], a[0, 80:] = -(2**63), 2**63 - 1
    text = "extends: softmax\ncontext: same\ninputs: {a: {type: int, over: x}}\nmask: a[i] - a[j] <= 3\n"
    call = (*arrays(1, 1, TOKENS, 16), a)
    torch.testing.assert_close(core(text, "cpu")(*call), core(text, "dense")(*call))


@pytest.mark.parametrize("normalize", ["tanh(s)", "relu(s - mean(s, over=j))"])
def test_a_score_that_is_no_number_is_seen_in_the_result(normalize: str) -> None:
    text = f'extends: softmax\ncontext: same\ninputs: {{a: {{type: real, over: x}}}}\nscore: super + a[j]\nnormalize: "{normalize}"\n'
    a = torch.zeros(1, TOKENS)
    a[0, 7] = NAN
    assert core(text, "cpu")(*arrays(1, 1, TOKENS, 16), a).isnan().all()


@pytest.mark.parametrize("bias", ["sqrt(real(i - j + 45))", "1 / real(i - j + 45)"])
def test_distances_that_no_pair_has_have_no_gradient(bias: str) -> None:
    text = f"extends: softmax\ncontext: same\nweights: {{slope: {{shape: [h], init: 0.1}}}}\nscore: super + slope * {bias}\n"
    x = torch.randn(1, 45, 8, generator=torch.Generator().manual_seed(1))
    found = both(text, x, d_model=8, heads=2)
    assert_same(found)
    assert all(item.isfinite().all() for item in found[0])


def test_numbers_are_read_with_their_sign() -> None:
    text = (
        "extends: softmax\ncontext: same\ninputs: {a: {type: real, over: x}}\nscore: super + a[j]\n"
    )
    a = torch.randn(1, TOKENS, dtype=torch.complex64).conj().imag
    assert a.is_neg()
    module, call = core(text, "cpu"), arrays(1, 1, TOKENS, 16)
    for given in (a.clone(), a, a.clone(), a):
        torch.testing.assert_close(module(*call, given), core(text, "dense")(*call, a))


def test_sums_of_small_sigmoids_are_small() -> None:
    text = "extends: softmax\ncontext: same\nscore: log(sum(sigmoid(q + k)))\n"
    query, key, value = arrays(1, 1, TOKENS, 16)
    call = 3 * query - 25, 3 * key - 25, value
    exact = core(text, "dense").double()(*(item.double() for item in call))
    torch.testing.assert_close(core(text, "cpu")(*call).double(), exact, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("width", [3, 16, 17, 80])
def test_scores_less_a_sum_of_their_row_are_exact(width: int) -> None:
    """A row of one key has the score that is its own mean, in all kernels of a call to the last bit."""
    less = "relu(s - mean(s, over=j))"
    text = f"extends: [softmax, causal]\nnormalize: safe_div({less}, sum({less}, over=j))\n"
    query, key, value = arrays(1, 4, TOKENS, width)
    module = core(text, "cpu", width, 4)
    for wants in (False, True):
        for length in (1, TOKENS):
            call = [item[:, :, :length] for item in (query.requires_grad_(wants), key, value)]
            assert not module(*call)[:, :, 0].any()


def test_weights_of_whole_numbers() -> None:
    text = """context: same
project:
  v: linear(context, to=[h, d_value])
let:
  y: {attend: {score: "i * j", value: v, normalize: s}}
out: linear(concat(y, over=h)) / 1000
"""
    x = torch.randn(1, 40, 8, generator=torch.Generator().manual_seed(1))
    assert_same(both(text, x, d_model=8, heads=2))


# -- shapes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["-0.1 * abs(i - j)", "dot(q, k)", "sum(k) - abs(i - j)"])
@pytest.mark.parametrize("normalize", ["softmax(s, j)", "s"])
def test_lse_has_the_axes_of_scores(score: str, normalize: str) -> None:
    text = f"""context: same
weights: {{along: {{shape: [d_model]}}}}
project:
  q: linear(x, to=[d_head])
  k: linear(context, to=[d_head])
  v: linear(context, to=[h, d_value])
let:
  y: {{attend: {{score: "{score}", value: v, normalize: "{normalize}"}}}}
out: along * y.lse + linear(concat(y, over=h))
"""
    x = torch.randn(3, 70, 8, generator=torch.Generator().manual_seed(1))
    found = both(text, x, d_model=8, heads=2)
    assert found[0][0].shape == (3, 70, 8)
    assert_same(found)


def test_lse_of_positions_by_example() -> None:
    text = """extends: softmax
context: same
weights: {grid: {shape: [9]}}
project:
  v: linear(context, to=[h, d_value])
let:
  y: {attend: {score: "grid[min(abs(i - j), 8)]", value: v, normalize: s}}
out: linear(concat(y * y.lse, over=h))
"""
    x = torch.randn(2, 70, 8, generator=torch.Generator().manual_seed(1))
    start = torch.tensor([0, 2])
    assert_same(both(text, x, start, d_model=8, heads=2))


def test_arrays_that_all_examples_share_have_the_sum_of_gradients() -> None:
    found = []
    for lowering in ("cpu", "dense"):
        query, key, value = arrays(3, 2, 40, 16)
        leaves = [query, key[:1].clone(), value[:1].clone()]
        made = core("extends: causal_softmax\n", lowering, heads=2)(
            *(item.requires_grad_() for item in leaves)
        )
        found.append([made, *torch.autograd.grad(made.square().sum(), leaves)])
    assert_same(found)


def test_layers_too_large_for_the_stack() -> None:
    names = [f"w{n}" for n in range(3)]
    score = "q + k"
    for name in names:
        score = f"relu({name} @ ({score}))"
    weights = "".join(f"  {name}: {{shape: [d_head, d_head]}}\n" for name in names)
    text = f"extends: softmax\ncontext: same\nweights:\n{weights}  u: {{shape: [d_head]}}\nscore: dot(u, {score})\n"
    x = torch.randn(1, 20, 32, generator=torch.Generator().manual_seed(1))
    assert_same(both(text, x, d_model=32, heads=1))


# -- tables ---------------------------------------------------------------------------------

TABLE = "extends: softmax\ncontext: same\nweights: {t: {shape: [h, 64]}}\nscore: super + t[abs(i - j)]\n"


@pytest.mark.parametrize("wants", [False, True])
@pytest.mark.parametrize("lowering", ["cpu", "auto", "tiled", "dense"])
def test_a_table_is_not_read_beyond_its_end(lowering: str, wants: bool) -> None:
    module = core(TABLE, lowering)
    for length in (64, 65, 64, 200, 64):
        call = [item.requires_grad_(wants) for item in arrays(1, 1, length, 16)]
        if length == 64:
            torch.testing.assert_close(module(*call), core(TABLE, "dense")(*call))
        else:
            with pytest.raises((IndexError, RuntimeError), match="out of"):
                module(*call)


def test_a_table_read_by_values_is_not_read_beyond_its_end() -> None:
    text = TABLE.replace("[h, 64]", "[64, d_value]").replace("score: super +", "value: v +")
    for lowering in ("auto", "dense"):
        module = core(text, lowering)
        module(*arrays(1, 1, 64, 16))
        with pytest.raises((IndexError, RuntimeError), match="out of"):
            module(*arrays(1, 1, 65, 16))


# -- builds and dtypes ----------------------------------------------------------------------


def test_a_core_under_autocast_gives_its_dtype_at_any_length() -> None:
    module = core("extends: causal_softmax\n", "auto", heads=4)
    for length in (16, TOKENS, TOKENS):
        call = [item.requires_grad_() for item in arrays(1, 4, length, 16)]
        with torch.autocast("cpu", torch.bfloat16):
            made = module(*call)
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            assert module(*call).dtype is torch.bfloat16
        assert made.dtype is torch.bfloat16
        made.sum().backward()
        assert call[0].grad is not None
        assert call[0].grad.dtype is torch.float32
        assert module(*call).dtype is torch.float32


def test_without_a_backward_a_call_takes_another_form(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module whose forward alone can be built would fail in every step."""
    module, call = core("extends: softmax\n", "auto"), arrays(1, 1, 300, 16)
    with torch.no_grad():
        module(*call)
    monkeypatch.setenv("ATTNC_DISABLE_JIT", "1")
    forget_loaded(monkeypatch)
    wanted = [item.requires_grad_() for item in call]
    with pytest.warns(UserWarning, match="without fused kernels"):
        made = module(*wanted)
    made.sum().backward()
    torch.testing.assert_close(made, core("extends: softmax\n", "dense")(*wanted))


def test_where_nothing_can_be_written_auto_takes_another_form(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = script(tmp_path / "full-c++", 'case "$1" in --version) echo full 1;; *) exit 1;; esac')
    monkeypatch.setenv("ATTNC_CXX", str(full))

    def refused(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("attnc.runtime.kernels.cache.build", refused)
    call = arrays(1, 1, 300, 16)
    with pytest.warns(UserWarning, match="without fused kernels: there is no place"):
        made = core("extends: softmax\n", "auto")(*call)
    torch.testing.assert_close(made, core("extends: softmax\n", "dense")(*call))
