"""A call like one before is not looked at again, and takes what it would take if it were."""

from __future__ import annotations

from pathlib import Path

import attnc
import pytest
import torch
from attnc.runtime.kernels.attend import FusedAttend
from compilers import forget_loaded, needs_compiler
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def core(name: str = "causal") -> attnc.Module:
    found = attnc.compile(name, entry="qkv", d_model=64, heads=4)
    assert isinstance(found, attnc.Module)
    return found


def heads(length: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(length)
    return [torch.randn(2, 4, length, 16, generator=generator, dtype=dtype) for _ in range(3)]


def test_calls_of_other_lengths_dtypes_and_modes_find_their_own_graph() -> None:
    module = core()
    for _ in range(2):
        for length in (3, 200, 5, 200):
            for dtype in (torch.float32, torch.float64):
                arrays = heads(length, dtype)
                expected = scaled_dot_product_attention(*arrays, is_causal=True)
                for grad in (True, False):
                    with torch.set_grad_enabled(grad):
                        torch.testing.assert_close(module(*arrays), expected)
    assert len(module._functions) == 3 * 2 * 2


def test_a_wrong_call_is_refused_after_a_right_one() -> None:
    module = attnc.compile("softmax", d_model=8, heads=2)
    for _ in range(2):
        module(torch.randn(1, 4, 8))
    with pytest.raises(attnc.ArgumentMistake, match="width 9"):
        module(torch.randn(1, 4, 9))
    with pytest.raises(attnc.ArgumentMistake, match="positional"):
        module(*[torch.randn(1, 4, 8)] * 3)


def test_values_are_checked_in_every_call() -> None:
    module = attnc.compile("language_model", d_model=16, heads=2, layers=1, vocab=7)
    tokens = torch.tensor([[1, 2, 3]])
    for _ in range(2):
        module(tokens)
    with pytest.raises(attnc.ArgumentMistake, match="lies in"):
        module(tokens + 5)


def test_transformations_take_the_plain_form_after_a_kernel() -> None:
    module = core("alibi")
    arrays = heads(200)
    for _ in range(2):
        with torch.no_grad():
            module(*arrays)
    assert any(isinstance(item, FusedAttend) for item in module.modules())
    _, tangent = torch.func.jvp(module, tuple(arrays), tuple(arrays))
    wide = [array.double() for array in arrays]
    _, expected = torch.func.jvp(core("alibi"), tuple(wide), tuple(wide))
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(tangent.double(), expected, atol=1e-4, rtol=1e-4)


def test_parameters_that_become_doubles_leave_the_kernel() -> None:
    module = attnc.compile("alibi", d_model=16, heads=2)
    x = torch.randn(1, 300, 16)
    for _ in range(2):
        module(x)
    wide = {name: value.double() for name, value in module.named_parameters()}
    made = torch.func.functional_call(module, wide, (x.double(),))
    torch.testing.assert_close(made.float(), module(x), atol=1e-5, rtol=1e-5)


def test_dropout_is_drawn_anew_in_every_call() -> None:
    text = "attnc: 1\nname: own\nextends: softmax\ndropout: 0.5\n"
    module = attnc.compile(attnc.loads(text), d_model=8, heads=2).train()
    x = torch.randn(1, 16, 8)
    first, second = module(x), module(x)
    assert not torch.equal(first, second)
    module.eval()
    assert torch.equal(module(x), module(x))


@needs_compiler
def test_a_kernel_that_cannot_be_had_is_left_out_as_in_a_first_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module, arrays = core("alibi"), heads(200)
    with torch.no_grad():
        for _ in range(2):
            expected = module(*arrays)
        monkeypatch.setenv("ATTNC_DISABLE_JIT", "1")
        monkeypatch.setenv("ATTNC_CACHE_DIR", str(tmp_path))
        forget_loaded(monkeypatch)
        other = [array.transpose(1, 2).contiguous().transpose(1, 2) for array in arrays]
        with pytest.warns(UserWarning, match="without fused kernels"):
            made = module(*other)
    torch.testing.assert_close(made, expected)


@pytest.mark.parametrize("lowering", ["auto", "dense", pytest.param("cpu", marks=needs_compiler)])
def test_positions_may_differ_from_call_to_call(lowering: str) -> None:
    module = attnc.compile("causal", entry="qkv", d_model=64, heads=4, lowering=lowering)
    q, k, v = heads(90)
    whole = scaled_dot_product_attention(q, k, v, is_causal=True)
    for _ in range(2):
        for first in (0, 1, 40, 89):
            one = q[:, :, first : first + 1]
            made = module(one, k, v, q_start=first, k_start=0)
            torch.testing.assert_close(made, whole[:, :, first : first + 1])
            made = module(one, k, v, k_start=0, q_start=torch.tensor([first, first]))
            torch.testing.assert_close(made, whole[:, :, first : first + 1])
        torch.testing.assert_close(module(q, k=k, v=v), whole)
        torch.testing.assert_close(module(q, k, v, q_start=7), whole)


def test_inputs_by_name_are_those_of_the_call() -> None:
    module = attnc.compile("documents", entry="qkv", d_model=64, heads=4)
    q, k, v = heads(20)
    for labels in (torch.zeros(2, 20), torch.arange(40).reshape(2, 20) % 3):
        for _ in range(2):
            label = labels.long()
            mask = (label[:, :, None] == label[:, None])[:, None]
            expected = scaled_dot_product_attention(q, k, v, attn_mask=mask)
            torch.testing.assert_close(module(q, k, v, document=label), expected)
            torch.testing.assert_close(module(q, k, v, label), expected)
    with pytest.raises(attnc.ArgumentMistake, match="takes no argument `documents`"):
        module(q, k, v, documents=label)
    with pytest.raises(attnc.ArgumentMistake, match="given twice"):
        module(q, k, v, label, document=label)


def test_seeds_of_calls_are_not_remembered() -> None:
    spec = attnc.loads("attnc: 1\nname: dropped\nextends: softmax\ndropout: 0.5\n")
    module = attnc.compile(spec, d_model=16, heads=2).train()
    x = torch.randn(1, 9, 16)
    first, second = (module(x, call_seed=seed) for seed in (1, 2))
    assert not torch.equal(first, second)
    assert torch.equal(module(x, call_seed=1), first)
    assert not torch.equal(module(x), module(x))
