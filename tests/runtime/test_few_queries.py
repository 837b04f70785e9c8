"""Few queries read keys where they stand: the numbers are those of packed keys, whatever the layout."""

from __future__ import annotations

from collections.abc import Sequence

import attnc
import pytest
import torch
from compilers import needs_compiler
from torch import Tensor

pytestmark = needs_compiler

#: widths of whole registers of any machine, and others
WIDTHS = (16, 24, 32, 64, 80, 128, 160)


def made(
    name: str, queries: int, keys: int, width: int, dtype: torch.dtype, kv_heads: int = 4
) -> tuple[attnc.Module, attnc.Module, list[Tensor]]:
    """By kernels, by operations of torch in float64, and arrays of four heads."""
    generator = torch.Generator().manual_seed(queries + keys + width)
    options = {"kv_heads": kv_heads} if name == "grouped_query" else {}
    options |= {"d_model": 4 * width, "heads": 4, "entry": "qkv"}
    shapes = (4, queries), (kv_heads, keys), (kv_heads, keys)
    arrays = [
        torch.randn(2, *shape, width, generator=generator).to(dtype).movedim(2, 1).contiguous()
        for shape in shapes
    ]
    kernel, dense = (attnc.compile(name, lowering=way, **options) for way in ("cpu", "dense"))
    assert isinstance(kernel, attnc.Module)
    assert isinstance(dense, attnc.Module)
    return kernel, dense, [a.movedim(1, 2) for a in arrays]


def compare(kernel: attnc.Module, dense: attnc.Module, arrays: Sequence[Tensor]) -> None:
    """Of arrays as they are, and with their tokens side by side, under gradients and without."""
    expected = dense(*(a.double() for a in arrays))
    tolerance = 2e-6 if arrays[0].dtype is torch.float32 else 1e-2
    for layout in (list(arrays), [a.contiguous() for a in arrays]):
        with torch.no_grad():
            found = kernel(*layout)
        torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)
        leaves = [a.detach().clone().requires_grad_() for a in layout]
        torch.testing.assert_close(kernel(*leaves), found)


@pytest.mark.parametrize("width", WIDTHS)
def test_of_any_width(width: int) -> None:
    for queries, keys in ((1, 1), (1, 200), (3, 65), (7, 16), (8, 65)):
        compare(*made("softmax", queries, keys, width, torch.float32))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_of_halves(dtype: torch.dtype) -> None:
    for width in (16, 32, 64):
        for queries, keys in ((1, 1), (1, 131), (2, 64), (7, 33)):
            compare(*made("softmax", queries, keys, width, dtype))


@pytest.mark.parametrize("name", ["causal", "alibi", "sliding_window", "soft_cap"])
def test_of_masks_and_scores(name: str) -> None:
    for queries, keys in ((1, 1), (5, 5), (7, 7)):
        compare(*made(name, queries, keys, 32, torch.float32))


def test_of_heads_that_share_keys() -> None:
    for kv_heads in (1, 2):
        for queries, keys in ((1, 100), (2, 65), (4, 64)):
            compare(*made("grouped_query", queries, keys, 64, torch.float32, kv_heads))


def test_nothing_behind_the_last_key_is_read() -> None:
    kernel, _, (q, k, v) = made("softmax", 2, 70, 64, torch.float32)
    with torch.no_grad():
        expected = kernel(q, k, v)
        behind = [torch.full((2, 4, 200, 64), torch.nan) for _ in range(2)]
        for place, array in zip(behind, (k, v), strict=True):
            place[:, :, :70] = array
        assert torch.equal(kernel(q, *(place[:, :, :70] for place in behind)), expected)
