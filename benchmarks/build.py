"""Seconds until the first result of a spec whose kernels nobody has built, and of one that finds them on disk.

    python benchmarks/build.py [--json] [--repeats 3] [SPEC ...]

Each run is a process of its own with a cache of its own: the first call of the core, forward and backward, less
what a second call takes. Medians. FlexAttention beside it is compiled for its forward alone, as it has no backward
on a CPU; it too finds nothing of its own on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

from rich.console import Console
from rich.progress import track
from rich.table import Table

HEADS, TOKENS, WIDTH = 8, 64, 64
SPECS = ("softmax", "causal", "alibi", "additive")
FLEX = "FlexAttention"
#: asked of a pair of kernels: seconds to build it, and to find it on disk
COLD, WARM = 3.0, 0.03


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("specs", nargs="*", default=SPECS, metavar="SPEC")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--first-call", metavar="SPEC", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.first_call:
        print(first_call(asked.first_call))
        return
    names = [*asked.specs, FLEX]
    console = Console(stderr=True)
    rows = [measured(name, asked.repeats) for name in track(names, console=console)]
    if asked.json:
        print(json.dumps(rows, indent=2))
    else:
        show(rows)


def measured(name: str, repeats: int) -> dict[str, str | float]:
    """Median seconds of first calls without anything on disk, and of those that come after them."""
    cold, warm = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            for seconds in (cold, warm):
                seconds.append(in_new_process(name, folder))
    return {"name": name, "cold_s": statistics.median(cold), "warm_s": statistics.median(warm)}


def in_new_process(name: str, folder: str) -> float:
    caches = {"ATTNC_CACHE_DIR": f"{folder}/attnc", "TORCHINDUCTOR_CACHE_DIR": f"{folder}/torch"}
    done = subprocess.run(
        [sys.executable, __file__, "--first-call", name],
        env={**os.environ, **caches},
        stdout=subprocess.PIPE,
        check=True,
    )
    return float(done.stdout)


def first_call(name: str) -> float:
    """What a first call takes beyond a second one; Python's own compilation of a spec is not counted."""
    step = flex() if name == FLEX else core(name)
    return timed(step) - timed(step)


def timed(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def core(name: str) -> Callable[[], object]:
    import attnc
    import torch

    module = attnc.compile(name, entry="qkv", d_model=HEADS * WIDTH, heads=HEADS, lowering="cpu")
    module.prepare()
    arrays = [torch.randn(1, HEADS, TOKENS, WIDTH, requires_grad=True) for _ in range(3)]
    return lambda: module(*arrays).sum().backward()


def flex() -> Callable[[], object]:
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    arrays = [torch.randn(1, HEADS, TOKENS, WIDTH) for _ in range(3)]
    return partial(torch.compile(flex_attention), *arrays)


def show(rows: list[dict[str, str | float]]) -> None:
    table = Table(title="Seconds until the first result")
    table.add_column("spec")
    for column in ("nothing on disk", "on disk"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(str(row["name"]), f"{row['cold_s']:.2f}", f"{row['warm_s']:.3f}")
    Console().print(table)
    Console().print(f"Asked of kernels: {COLD:.0f} s, and {WARM} s from disk.")


if __name__ == "__main__":
    main()
