"""Blocks of tiles, and blocks of blocks: what is passed over is hidden, and what is seen is found."""

from __future__ import annotations

import ctypes
import random
from functools import cache

import attnc
import fuzz.campaign
import pytest
import torch
from attnc.compiler.codegen.text import prelude
from attnc.runtime.kernels import load
from compilers import needs_compiler
from torch import Tensor

pytestmark = [needs_compiler, pytest.mark.usefixtures("home")]
#: the walk of a kernel over stretches of tokens of which those within some bounds are seen
WALK = """
extern "C" long visits(const Span* stretches, Span* room, long count, double low, double high, int64_t* kinds) {
  const Levels levels(count);
  std::copy(stretches, stretches + count, room);
  unite(room, levels);
  long asked = 0;
  const auto kind_at = [&](long n) {
    ++asked;
    return kind_of(smaller(at_most({low, low}, room[n]), at_most(room[n], {high, high})));
  };
  Walk walk(levels);
  for (long n; (n = walk.next(kind_at)) >= 0;) kinds[n] += walk.kind;
  return asked;
}
"""
VISITS = (*(ctypes.c_void_p,) * 2, ctypes.c_long, *(ctypes.c_double,) * 2, ctypes.c_void_p)
EMPTY, PARTIAL, FULL = range(3)

BATCH, HEADS, WIDTH = 2, 2, 4
SPEC = """
attnc: 1
name: long
extends: softmax
context: same
inputs:
  document: {{type: int, over: x}}
  flag: {{type: bool, over: x}}
  height: {{type: real, over: x}}
mask: "{mask}"
"""
#: hundreds of tiles of the fewest instructions, and some blocks of those of the most
TOKENS = 1090
MASKS = {
    "documents": "document[i] == document[j]",
    "documents, causal": "document[i] == document[j] and j <= i",
    "other documents": "document[i] != document[j]",
    "a window by head": "abs(i - j - 40 * h) <= 30",
    "a window by document": "abs(i - j) < 40 * document[i]",
    "stripes": "i // 100 % 3 == j // 70 % 3",
    "flags": "flag[j] or (i > j + 500 and not flag[i])",
    "heights": "height[j] > height[i] + 1",
    "nothing": "i + j > 100000",
    "all but a corner": "not (i < 30 and j > 1080)",
}


def visits(stretches: Tensor, low: float, high: float) -> tuple[list[int], int]:
    """The kind of each stretch as a walk finds it, EMPTY where it is passed over; how many it asks."""
    library = load(prelude() + WALK, name="visits")
    function = library.function("visits", *VISITS, result=ctypes.c_long)
    spans = torch.nn.functional.pad(stretches, (0, 1))  # and none of them is unsure
    room, kinds = torch.zeros(2 * len(stretches) + 20, 3).double(), torch.zeros(len(stretches))
    kinds = kinds.long()
    pointers = spans.data_ptr(), room.data_ptr()
    asked = function(*pointers, len(stretches), low, high, kinds.data_ptr())
    return kinds.tolist(), asked


def kinds_of(stretches: Tensor, low: float, high: float) -> list[int]:
    """What each stretch says of itself."""
    seen = (stretches[:, 1] >= low) & (stretches[:, 0] <= high)
    whole = (stretches[:, 0] >= low) & (stretches[:, 1] <= high)
    return (seen.long() + whole.long()).tolist()


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 255, 256, 257, 4095, 4100, 70000])
def test_a_walk_visits_what_is_seen(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    bottom = (torch.randn(count, generator=generator) > 2).cumsum(0)
    stretches = torch.stack((bottom, bottom + (torch.rand(count, generator=generator) > 0.9)), 1)
    stretches = stretches.double().contiguous()
    for low, high in ((0, 0), (1, 1), (1, 3), (2, 9), (-2, 5000), (5000, 6000), (4, 3)):
        found, _ = visits(stretches, low, high)
        assert found == kinds_of(stretches, low, high)


@pytest.mark.parametrize("count", [1000, 1_000_000])
def test_a_walk_asks_as_many_as_it_visits(count: int) -> None:
    bottom = torch.arange(count).double()
    stretches = torch.stack((bottom * 10, bottom * 10 + 9), 1).contiguous()
    middle = count * 5 + 3
    found, asked = visits(stretches, middle - 30, middle + 30)
    assert found.count(PARTIAL) == 2
    assert found.count(FULL) == 5
    assert asked < 200
    assert visits(stretches, 0, count * 10)[1] == visits(stretches, -2, -1)[1] == 1


def arrays(mask: str) -> dict[str, Tensor]:
    """What a mask reads: documents that begin and end anywhere, flags in long runs, heights that grow."""
    drawn = random.Random(5)
    cuts = torch.tensor([sorted(drawn.sample(range(1, TOKENS), 7)) for _ in range(BATCH)])
    place = torch.arange(TOKENS).expand(BATCH, -1).contiguous()
    document = torch.searchsorted(cuts, place, right=True)
    generator = torch.Generator().manual_seed(0)
    height = place / 200 + torch.rand(BATCH, TOKENS, generator=generator)
    found = {"document": document, "flag": document % 3 == 1, "height": height}
    return {name: array for name, array in found.items() if name in mask}


def results(mask: str, lowering: str) -> list[Tensor]:
    """The result, and the gradients of queries, keys and values."""
    source = attnc.loads(SPEC.format(mask=mask))
    sizes = {"d_model": HEADS * WIDTH, "heads": HEADS}
    module = attnc.compile(source, entry="qkv", lowering=lowering, **sizes)
    generator = torch.Generator().manual_seed(0)
    shape = (BATCH, HEADS, TOKENS, WIDTH)
    q, k, v = (torch.randn(shape, generator=generator, requires_grad=True) for _ in range(3))
    start = torch.tensor([0, 40])
    out = module(q, k, v, **arrays(mask), q_start=start)
    upstream = torch.randn(shape, generator=generator)
    return [out, *torch.autograd.grad(out, (q, k, v), upstream)]


@cache
def dense(mask: str) -> list[Tensor]:
    """The same by the dense form, once for kernels of all instructions."""
    return results(mask, "dense")


@pytest.mark.parametrize("isa", ["portable", None])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_long_masks(mask: str, isa: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if isa is not None:
        monkeypatch.setenv("ATTNC_ISA", isa)
    monkeypatch.setenv("ATTNC_CXX", str(fuzz.campaign.HASTY))
    for ours, other in zip(results(mask, "cpu"), dense(mask), strict=True):
        torch.testing.assert_close(ours, other, rtol=2e-5, atol=2e-5)
