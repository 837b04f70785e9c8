"""The peak of what a run allocates, by torch and inside of kernels, above what was there before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import torch
from torch.autograd.profiler import profile

from ..kernels.usage import watched


def peak_bytes(run: Callable[[], None], device: torch.device) -> int:
    """The most memory that a run holds at once, beyond what was held when it began."""
    if device.type == "cuda":
        return _on_cuda(run, device)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler tells of itself otherwise
    with watched() as of_kernels, profile(profile_memory=True) as profiled:
        run()
    assert profiled.kineto_results is not None
    events = (e for e in profiled.kineto_results.events() if e.name() == "[memory]")
    return highest([*((event.start_ns(), event.nbytes()) for event in events), *of_kernels])


def highest(changes: Iterable[tuple[int, int]]) -> int:
    """The highest level that changes, each with its time, lead to from 0."""
    level = most = 0
    for _, change in sorted(changes, key=lambda item: item[0]):
        level += change
        most = max(most, level)
    return most


def _on_cuda(run: Callable[[], None], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
