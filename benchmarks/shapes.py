"""CPU kernels over many shapes: against torch's own, and what `auto` takes against the best lowering.

    python benchmarks/shapes.py [--json] [--threads 1] [--only dot]
    ATTNC_ISA=avx2 python benchmarks/shapes.py

One process, all runs of a shape in turns of random order, medians; of one thread its own seconds of CPU, else those of
the clock. `ratio`: how many times as long the rival takes as `auto`. `best`: how many times as long the
best of our lowerings and the rival takes: below 0.95 `auto` chose badly.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import attnc
import torch
from attnc.runtime.module import LoweringRefused
from cpu import formula
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

REPEATS = 9
#: pairs beyond which the dense form is not run
MOST = 1 << 26
#: a call is repeated until it has taken so many seconds
LEAST = 0.02
Run = Callable[[], Tensor]


@dataclass(frozen=True)
class Shape:
    """Heads of queries and of keys and values, tokens of both, numbers of a head, dtype, pass."""

    queries: int = 1024
    keys: int = 1024
    width: int = 64
    heads: int = 8
    kv_heads: int = 8
    dtype: torch.dtype = torch.float32
    backward: bool = False

    @property
    def pairs(self) -> int:
        return self.heads * self.queries * self.keys

    def arrays(self) -> list[Tensor]:
        """Queries, keys and values."""
        sizes = ((self.heads, self.queries), *2 * ((self.kv_heads, self.keys),))
        return [
            torch.randn(1, *size, self.width, dtype=self.dtype, requires_grad=self.backward)
            for size in sizes
        ]

    def __str__(self) -> str:
        heads = f"{self.heads}" if self.heads == self.kv_heads else f"{self.heads}/{self.kv_heads}"
        dtype = str(self.dtype).removeprefix("torch.")
        passes = "both" if self.backward else "forward"
        return f"{self.queries} x {self.keys}, {heads} of {self.width}, {dtype}, {passes}"


def square(tokens: int, **others: Any) -> Shape:
    """As many queries as keys."""
    return Shape(tokens, tokens, **others)


WIDTHS = (32, 40, 48, 64, 80, 96, 100, 128, 160)
LENGTHS = (17, 64, 100, 128, 200, 256, 384, 513, 777, 1000, 2047)
CROSSED = ((1, 1000), (16, 2048), (100, 3000), (511, 2049), (2048, 512), (3000, 77))


def plain() -> Iterator[Shape]:
    """Shapes that every kind is run with."""
    for width in WIDTHS:
        yield Shape(width=width)
    for tokens in LENGTHS:
        yield square(tokens)
    for width in (32, 80, 128):
        yield square(777, width=width, backward=True)
    for tokens in (64, 200, 513):
        yield square(tokens, backward=True)


def halves() -> Iterator[Shape]:
    """The same with bfloat16."""
    for width in WIDTHS:
        yield Shape(width=width, dtype=torch.bfloat16)
    for tokens in LENGTHS:
        yield square(tokens, dtype=torch.bfloat16)
    yield square(777, dtype=torch.bfloat16, backward=True)


def crossed() -> Iterator[Shape]:
    """Other numbers of keys than of queries."""
    for queries, keys in CROSSED:
        yield Shape(queries, keys)
    yield Shape(300, 1001, backward=True)


def grouped() -> Iterator[Shape]:
    """Heads that share keys."""
    for kv_heads in (1, 2, 4):
        for tokens in (128, 513, 1024):
            yield square(tokens, kv_heads=kv_heads)
        yield square(777, kv_heads=kv_heads, backward=True)


def few() -> Iterator[Shape]:
    """Some, of what takes long."""
    for width in (32, 48, 96, 160):
        yield square(512, width=width)
    for tokens in (64, 129, 301):
        yield square(tokens)
    yield square(301, backward=True)


@dataclass(frozen=True)
class Kind:
    """A library spec, its shapes, and another way to the same result.

    needed   what the table of benchmarks/cpu.py asks for
    """

    spec: str
    shapes: Callable[[], Iterator[Shape]]
    rival: Callable[..., Tensor]
    needed: float
    halves: bool = False


def additive(module: attnc.Module) -> Callable[..., Tensor]:
    """The formula by torch.compile, with the weights of a module."""
    torch.compiler.reset()
    u = dict(module.named_parameters())["u"].detach().clone()
    return partial(_additive, torch.compile(formula, dynamic=False), u)


def _additive(
    compiled: Callable[..., Tensor], u: Tensor, q: Tensor, k: Tensor, v: Tensor
) -> Tensor:
    return compiled(q, k, v, u)


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return sdpa(q, k, v, is_causal=True)


def shared(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return sdpa(q, k, v, enable_gqa=True)


KINDS = {
    "dot": Kind("softmax", plain, sdpa, 2.1),
    "dot, halves": Kind("softmax", halves, sdpa, 3.7),
    "causal": Kind("causal_softmax", plain, causal, 1.8),
    "cross": Kind("cross_attention", crossed, sdpa, 2.1),
    "grouped": Kind("grouped_query", grouped, shared, 2.1),
    "additive": Kind("additive", few, formula, 20.0),
}


def modules(kind: Kind, shape: Shape) -> dict[str, attnc.Module]:
    """The core of a spec by each lowering that it has."""
    dims: dict[str, Any] = {"d_model": shape.heads * shape.width, "heads": shape.heads}
    if shape.kv_heads != shape.heads:
        dims["kv_heads"] = shape.kv_heads
    found = {}
    for lowering in ("auto", "cpu", "sdpa", "tiled", "dense"):
        if lowering == "dense" and shape.pairs * (shape.width if kind.needed > 5 else 1) > MOST:
            continue
        try:
            found[lowering] = attnc.compile(kind.spec, entry="qkv", lowering=lowering, **dims)
        except LoweringRefused:
            continue
    return found


def measured(name: str, kind: Kind, shape: Shape, clock: Callable[[], float]) -> dict[str, Any]:
    """Median milliseconds of all ways of a shape, run in turns."""
    torch.manual_seed(0)
    arrays = shape.arrays()
    ways: dict[str, Run] = {
        lowering: partial(module, *arrays) for lowering, module in modules(kind, shape).items()
    }
    rival = kind.rival
    if rival is formula:
        rival = additive(modules(kind, shape)["auto"])
    ways["rival"] = partial(rival, *arrays)
    steps = {way: partial(_step, run, shape.backward) for way, run in ways.items()}
    counts = {way: _calls(step, clock) for way, step in steps.items()}
    times: dict[str, list[float]] = {way: [] for way in ways}
    order = random.Random(0)
    for _ in range(REPEATS):
        # what ran before leaves its arrays in the caches, and its holes in the heap
        for way in order.sample(list(steps), len(steps)):
            step = steps[way]
            start = clock()
            for _ in range(counts[way]):
                step()
            times[way].append((clock() - start) / counts[way] * 1e3)
    found = {way: statistics.median(taken) for way, taken in times.items()}
    ours = found["auto"]
    best = min(found, key=found.__getitem__)
    return {
        "kind": name,
        "shape": str(shape),
        "ms": found,
        "ratio": found["rival"] / ours,
        "best": found[best] / ours,
        "by": best,
        "needed": kind.needed,
    }


def _calls(step: Callable[[], None], clock: Callable[[], float]) -> int:
    """How many calls take long enough to be measured; what is built at first is built."""
    step()
    step()
    start = clock()
    step()
    return max(1, int(LEAST / max(clock() - start, 1e-6)))


def _step(run: Run, backward: bool) -> None:
    with torch.set_grad_enabled(backward):
        out = run()
        if backward:
            out.sum().backward()


def table(found: list[dict[str, Any]]) -> Table:
    """The figures, a row each."""
    shown = Table("kind", "shape", "auto", "rival", "ratio", "best", "by")
    for item in found:
        times = [f"{item['ms'][way]:.3f} ms" for way in ("auto", "rival")]
        shown.add_row(
            item["kind"],
            item["shape"],
            *times,
            f"{item['ratio']:.2f}",
            f"{item['best']:.2f}",
            item["by"],
        )
    return shown


def summary(found: list[dict[str, Any]]) -> Iterator[str]:
    """For each kind the median ratio, in parts of what the table asks for, and the worst choice."""
    for name in dict.fromkeys(item["kind"] for item in found):
        rows = [item for item in found if item["kind"] == name]
        middle = statistics.median(item["ratio"] for item in rows)
        worst = min(rows, key=lambda item: float(item["best"]))
        share = middle / rows[0]["needed"]
        yield (
            f"{name}: median {middle:.2f}, {share:.0%} of {rows[0]['needed']}; worst choice "
            f"{worst['best']:.2f} of {worst['by']} at {worst['shape']}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=list(KINDS))
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    clock = time.process_time if chosen.threads == 1 else time.perf_counter
    kinds = {chosen.only: KINDS[chosen.only]} if chosen.only else KINDS
    found = [
        measured(name, kind, shape, clock)
        for name, kind in kinds.items()
        for shape in kind.shapes()
    ]
    if chosen.json:
        print(json.dumps(found, indent=1))
        return
    Console(width=120).print(table(found))
    print("\n".join(summary(found)))


if __name__ == "__main__":
    main()
