"""Figures of the compiler: sdpa against torch's own call, time to compile, time to check.

    python benchmarks/lowerings.py

Ratios within one process, interleaved, medians; two threads. Prints one line per figure.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import attnc
import torch
from torch.nn.functional import scaled_dot_product_attention

REPEATS = 15


def interleaved(*runs: Callable[[], object]) -> list[float]:
    """Median seconds of each run, all run in turns."""
    times: list[list[float]] = [[] for _ in runs]
    for repeat in range(REPEATS + 2):
        for place, run in enumerate(runs):
            start = time.perf_counter()
            run()
            if repeat >= 2:
                times[place].append(time.perf_counter() - start)
    return [statistics.median(item) for item in times]


def sdpa_ratio(spec: str, causal: bool) -> None:
    """The attention core of a spec against the function that it lowers to."""
    core = attnc.compile(spec, d_model=512, heads=8, entry="qkv")
    q, k, v = (torch.randn(1, 8, 2048, 64) for _ in range(3))
    with torch.no_grad():
        ours, theirs = interleaved(
            lambda: core(q, k, v),
            lambda: scaled_dot_product_attention(q, k, v, is_causal=causal),
        )
    print(f"{spec}: {ours * 1e3:.1f} ms, torch {theirs * 1e3:.1f} ms, ratio {ours / theirs:.3f}")


def compile_times() -> None:
    """Seconds to read, check, type and lower every library spec."""
    times = {}
    for name in attnc.library():
        start = time.perf_counter()
        attnc.compile(name)
        times[name] = time.perf_counter() - start
    slowest = max(times, key=times.__getitem__)
    print(
        f"compile: median {statistics.median(times.values()):.3f} s, {slowest} {times[slowest]:.3f} s"
    )


def check_times() -> None:
    """Seconds of `attnc check` as a process, over the library."""
    times = []
    for name in attnc.library():
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "attnc", "check", name], check=True, capture_output=True
        )
        times.append(time.perf_counter() - start)
    print(f"attnc check: median {statistics.median(times):.3f} s, most {max(times):.3f} s")


if __name__ == "__main__":
    torch.set_num_threads(2)
    sdpa_ratio("softmax", causal=False)
    sdpa_ratio("causal_softmax", causal=True)
    compile_times()
    check_times()
