"""Groups of queries that a mask cuts, and what threads share: packed keys, and the groups themselves."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import attnc
import fuzz.campaign
import pytest
import torch
from attnc.compiler.codegen.text import prelude
from attnc.runtime.kernels import load
from compilers import needs_compiler
from torch import Tensor

pytestmark = [needs_compiler, pytest.mark.usefixtures("home")]
HEADS, WIDTH, GROUP = 4, 16, 24
TOKENS = 4 * GROUP + 5
SPEC = """
attnc: 1
name: cut
extends: {base}
context: same
inputs: {{document: {{type: int, over: x}}}}
mask: "{mask}"
"""
PLACE = torch.arange(TOKENS)
#: as a spec says them, and of the documents of queries and keys
MASKS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "document[i] == document[j]": lambda left, right: left == right,
    "document[i] == document[j] and j <= i": lambda left, right: (
        (left == right) & (PLACE[:, None] >= PLACE)
    ),
    "document[i] != document[j]": lambda left, right: left != right,
}
QUEUE = """
extern "C" Queue* begun(long units, long threads) { return new Queue(units, threads); }
extern "C" void ended(Queue* queue) { delete queue; }
extern "C" void taken(Queue* queue, int* times) {
  long last = 0;
  for (long unit = 0; unit < last || queue->take(unit, last); ++unit) __atomic_fetch_add(&times[unit], 1, __ATOMIC_RELAXED);
}
"""


@pytest.fixture
def many_threads() -> Iterator[None]:
    """Afterwards there are as many as before."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def compiled(mask: str, base: str = "softmax", kv_heads: int = HEADS) -> attnc.Module:
    sizes = {"d_model": HEADS * WIDTH, "heads": HEADS, "kv_heads": kv_heads}
    source = attnc.loads(SPEC.format(base=base, mask=mask))
    return attnc.compile(source, entry="qkv", lowering="cpu", **sizes)


def arrays(
    examples: int, tokens: int, kv_heads: int = HEADS, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((examples, count, tokens, WIDTH) for count in (HEADS, kv_heads, kv_heads))
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def at_every_offset() -> Tensor:
    """Documents, of which one begins at each place of a group, and another some tokens later."""
    first = torch.arange(GROUP + 1)[:, None] + GROUP
    return (first <= PLACE).long() + (first + 31 <= PLACE)


def wanted(q: Tensor, k: Tensor, v: Tensor, seen: Tensor, base: str) -> Tensor:
    """In float64, by the formula; 0 where nothing is seen."""
    score = q.double() @ k.double().transpose(2, 3) / math.sqrt(WIDTH)
    if base == "sigmoid":
        weight = torch.sigmoid(score - math.log(TOKENS)).where(seen, 0)
    else:
        weight = score.where(seen, -torch.inf).softmax(3).nan_to_num(0)
    return weight @ v.double()


@pytest.mark.parametrize("isa", ["portable", "avx2", None])
@pytest.mark.parametrize("base", ["softmax", "sigmoid"])
@pytest.mark.parametrize("mask", MASKS)
def test_documents_begin_anywhere_in_a_group(
    mask: str, base: str, isa: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isa is not None:
        monkeypatch.setenv("ATTNC_ISA", isa)
    monkeypatch.setenv("ATTNC_CXX", str(fuzz.campaign.HASTY))
    document = at_every_offset()
    seen = MASKS[mask](document[:, None, :, None], document[:, None, None, :])
    module = compiled(mask, base)
    for dtype, error in ((torch.float32, 2e-6), (torch.bfloat16, 2e-2)):
        given = arrays(len(document), TOKENS, dtype=dtype)
        made = module(*given, document).double()
        torch.testing.assert_close(made, wanted(*given, seen, base), rtol=error, atol=error)


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kv_heads", [1, 2, HEADS])
def test_any_number_of_threads_makes_the_same(
    kv_heads: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packed by all threads, or by each what it reads, as it is done with more of them."""
    monkeypatch.setenv("ATTNC_CXX", f"{fuzz.campaign.HASTY} -DLATE=0")
    module = compiled("document[i] == document[j]", kv_heads=kv_heads)
    given = arrays(2, 700, kv_heads, dtype)
    document = torch.arange(700).expand(2, -1) // torch.tensor([[90], [250]])
    found = []
    for threads in (1, 2, 3, 5, 16):
        torch.set_num_threads(threads)
        found.append(module(*given, document))
    assert all(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize(("units", "threads"), [(0, 1), (1, 4), (7, 2), (1000, 1), (5000, 4)])
def test_each_unit_of_work_is_taken_once(units: int, threads: int) -> None:
    library = load(prelude() + QUEUE, name="queue")
    pointer, count = ctypes.c_void_p, ctypes.c_long
    begun = library.function("begun", count, count, result=pointer)
    taken = library.function("taken", pointer, pointer)
    times = torch.zeros(units, dtype=torch.int32)
    queue = begun(units, threads)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: taken(queue, times.data_ptr()), range(threads)))
    library.function("ended", pointer)(queue)
    assert times.eq(1).all()
