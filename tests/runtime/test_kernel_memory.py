"""What kernels pack, what they read in place, and the memory that calls hand to the next ones."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor

import attnc
import pytest
import torch
from attnc.compiler.codegen.text import prelude
from attnc.runtime.kernels import load
from compilers import needs_compiler
from torch import Tensor

pytestmark = [needs_compiler, pytest.mark.usefixtures("home")]
HEADS = 2
COLUMNS = """
extern "C" long lanes() { return LANES; }
extern "C" void pack(float* to, const float* from, long apart, long width, long key, long keys) {
  columns(to, from, apart, width, key, keys);
}
"""

LARGE = 'extern "C" void large(char* from, long size) { in_large_pages(from, size); }'


def attend(width: int) -> attnc.Module:
    sizes = {"d_model": HEADS * width, "heads": HEADS}
    return attnc.compile("causal_softmax", entry="qkv", lowering="cpu", **sizes)


def heads(tokens: int, width: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, HEADS, tokens, width, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("isa", ["portable", "avx2", None])
@pytest.mark.parametrize("width", [1, 3, 4, 16, 31, 40])
def test_columns_are_those_of_the_tokens(
    width: int, isa: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isa is not None:
        monkeypatch.setenv("ATTNC_ISA", isa)
    library = load(prelude() + COLUMNS, name="columns")
    lanes = library.function("lanes", result=ctypes.c_long)()
    pack = library.function("pack", *(ctypes.c_void_p,) * 2, *(ctypes.c_long,) * 4)
    for there in (1, 3, lanes // 2, lanes - 1, lanes):
        keys, apart = 5 + there, width + 2
        tokens = torch.randn(keys, apart)
        made = torch.full((width, lanes), torch.nan)
        pack(made.data_ptr(), tokens.data_ptr(), apart, width, 5, keys)
        wanted = torch.zeros(width, lanes)
        wanted[:, :there] = tokens[5:, :width].T
        assert torch.equal(made, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("width", [16, 17, 32])
def test_nothing_beyond_the_keys_is_read(width: int, dtype: torch.dtype) -> None:
    module = attend(width)
    for tokens in (33, 70, 129):
        plain = [array.to(dtype) for array in heads(tokens, width)]
        inside = [torch.full((1, HEADS, tokens + 64, width), torch.nan).to(dtype) for _ in plain]
        for array, room in zip(plain, inside, strict=True):
            room[:, :, :tokens] = array
        assert torch.equal(module(*(room[:, :, :tokens] for room in inside)), module(*plain))


def test_calls_at_once_have_memory_of_their_own() -> None:
    module = attend(32)
    calls = [heads(600 + 200 * seed, 32, seed) for seed in range(4)]
    wanted = [module(*call) for call in calls]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for made, alone in zip(
                pool.map(lambda call: module(*call), calls), wanted, strict=True
            ):
                assert torch.equal(made, alone)


def test_memory_is_what_it_was_in_large_pages() -> None:
    large = load(prelude() + LARGE, name="large").function("large", ctypes.c_void_p, ctypes.c_long)
    numbers = torch.arange(2_000_000)
    for first, size in ((0, 16_000_000), (3, 9_000_000), (4096, 2**21), (5, 100), (7, 0)):
        large(numbers.data_ptr() + first, size)
    assert torch.equal(numbers, torch.arange(2_000_000))
