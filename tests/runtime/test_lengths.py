"""Which calls are worth a kernel: by pairs, heads, examples and features."""

from __future__ import annotations

import attnc
import pytest
import torch
from attnc.runtime import lengths
from attnc.runtime.kernels.isa import and_below, detected
from attnc.runtime.lengths import Work


@pytest.mark.parametrize(
    ("work", "examples", "queries", "keys", "fused"),
    [
        (Work(1, 1, False), 1, 111, 111, True),
        (Work(1, 1, False), 1, 110, 110, False),
        (Work(8, 1, False), 1, 40, 40, True),
        (Work(8, 1, False), 1, 39, 39, False),
        (Work(8, 1, False), 8, 24, 24, True),
        (Work(8, 1, False), 9, 23, 23, False),
        (Work(8, 1, True), 1, 8, 192, True),
        (Work(8, 1, True), 1, 8, 191, False),
        (Work(8, 1, True), 1, 1, 1536, True),
        (Work(8, 1, True), 1, 1, 1535, False),
        (Work(8, 1, False, core=True), 1, 16, 16, True),
        (Work(8, 1, False, core=True), 1, 15, 17, False),
        (Work(8, 1, True, core=True), 1, 1, 256, True),
        (Work(8, 1, True), 1, 4096, 23, False),
        (Work(8, 1, False), 1, 4096, 23, True),
        (Work(1, 64, True), 1, 32, 32, True),
        (Work(1, 64, True), 1, 1, 1023, False),
    ],
)
def test_kernels_are_for_many_numbers(
    work: Work, examples: int, queries: int, keys: int, fused: bool
) -> None:
    assert work.is_fused(examples, queries, keys) is fused


def test_with_gradients_for_more() -> None:
    assert not Work(8, 1, False).is_fused(4, 47, 47, gradients=True)
    assert Work(8, 1, False).is_fused(4, 48, 48, gradients=True)
    assert Work(8, 1, True).is_fused(1, 24, 256, gradients=True)
    assert not Work(8, 1, True).is_fused(1, 23, 2048, gradients=True)
    assert not Work(1, 1, False).is_fused(1, 181, 181, gradients=True)
    assert Work(1, 1, False).is_fused(1, 182, 182, gradients=True)


@pytest.mark.parametrize(("isa", "least"), [("portable", 46), ("avx2", 46), ("", 16)])
def test_narrow_vectors_take_more(isa: str, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    has = {item.name for item in and_below(detected())}
    if isa not in has and (isa or "avx512" not in has):
        pytest.skip("this machine has not those")
    monkeypatch.setenv("ATTNC_ISA", isa)
    module = attnc.compile("softmax", entry="qkv", d_model=64, heads=8)
    assert isinstance(module, attnc.Module)
    assert module._work.is_fused(1, least, least)
    assert not module._work.is_fused(1, least - 1, least - 1)


@pytest.mark.parametrize(
    ("name", "x", "context", "fused"),
    [
        ("cross_attention", (1, 20, 32), (1, 5000, 32), False),
        ("cross_attention", (1, 200, 32), (1, 200, 32), True),
        ("causal_softmax", (30, 70, 32), None, True),
        ("causal_softmax", (1, 50, 32), None, False),
        ("additive", (1, 60, 32), None, True),
    ],
)
def test_calls_take_them(
    name: str,
    x: tuple[int, ...],
    context: tuple[int, ...] | None,
    fused: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lengths, "_is_narrow", lambda: False)
    module = attnc.compile(name, d_model=32, heads=2).eval()
    given = {} if context is None else {"context": torch.randn(context)}
    module(torch.randn(x), **given)
    met = [key.fused for key in module._compiled]
    assert (True in met) is fused


def test_the_core_counts_its_own_heads_queries_and_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lengths, "_is_narrow", lambda: False)
    module = attnc.compile("softmax", entry="qkv", d_model=32, heads=2)
    few, many = torch.randn(1, 2, 20, 16), torch.randn(1, 2, 5000, 16)
    module(few, many[:, :, :51], many[:, :, :51])
    module(few.clone().requires_grad_(), many, many)
    assert not any(key.fused for key in module._compiled)
    module(few, many, many)
    assert any(key.fused for key in module._compiled)
