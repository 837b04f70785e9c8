"""Times of the generated CPU kernels: additive scores against torch.compile and against dot products.

    python benchmarks/cpu.py [--json] [--threads 2]

One process, all runs in turns, medians. The formula is compiled by torch as it stands, all pairs and
features at once; the dot product is torch's own fused attention over as many tokens.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import attnc
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

HEADS, WIDTH = 8, 64


class Row(NamedTuple):
    """Milliseconds, and how many times longer the others take."""

    name: str
    tokens: int
    ours: float
    compiled: float
    sdpa: float

    def as_json(self) -> dict[str, object]:
        ratios = {"faster": self.compiled / self.ours, "of_sdpa": self.ours / self.sdpa}
        return {**self._asdict(), **ratios}

    def __str__(self) -> str:
        return (
            f"{self.name} N={self.tokens}: {self.ours:.2f} ms, torch.compile {self.compiled:.1f} ms "
            f"({self.compiled / self.ours:.1f}x), SDPA of a dot product {self.sdpa:.2f} ms "
            f"(ratio {self.ours / self.sdpa:.2f})"
        )


def interleaved(repeats: int, *runs: Callable[[], object]) -> list[float]:
    """Median milliseconds of each run, all run in turns."""
    times: list[list[float]] = [[] for _ in runs]
    for repeat in range(repeats + 2):
        for place, run in enumerate(runs):
            start = time.perf_counter()
            run()
            if repeat >= 2:
                times[place].append((time.perf_counter() - start) * 1e3)
    return [statistics.median(item) for item in times]


def formula(q: Tensor, k: Tensor, v: Tensor, u: Tensor) -> Tensor:
    """Additive attention as it is written."""
    score = (torch.tanh(q[:, :, :, None] + k[:, :, None]) * u[:, None, None]).sum(-1)
    return score.softmax(-1) @ v


def additive(tokens: int, backward: bool, repeats: int) -> Row:
    """Forward, or forward and backward, at one length."""
    core = attnc.compile(
        "additive", d_model=HEADS * WIDTH, heads=HEADS, entry="qkv", lowering="cpu"
    )
    u = dict(core.named_parameters())["u"].detach().clone().requires_grad_(backward)
    q, k, v = (torch.randn(1, HEADS, tokens, WIDTH, requires_grad=backward) for _ in range(3))
    compiled = torch.compile(formula)

    def run(made: Callable[[], Tensor]) -> Callable[[], object]:
        def step() -> None:
            with torch.set_grad_enabled(backward):
                out = made()
                if backward:
                    out.sum().backward()

        return step

    runs = (
        run(lambda: core(q, k, v)),
        run(lambda: compiled(q, k, v, u)),
        run(lambda: scaled_dot_product_attention(q, k, v)),
    )
    name = "additive forward and backward" if backward else "additive forward"
    return Row(name, tokens, *interleaved(repeats, *runs))


def main() -> None:
    """All rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    rows = [additive(512, False, 15), additive(2048, False, 5), additive(1024, True, 5)]
    if chosen.json:
        print(json.dumps([row.as_json() for row in rows], indent=2))
    else:
        print(*rows, sep="\n")


if __name__ == "__main__":
    main()
