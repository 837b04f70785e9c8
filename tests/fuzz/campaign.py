"""Many seeds over some processes, each chunk with a kernel cache that nobody needs later."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from .compare import Verdict, judged, verdicts
from .minimise import minimised
from .specs import Drawn, drawn

#: specs whose kernels are built as one
CHUNK = 25
HASTY = Path(__file__).with_name("hasty")


def campaign(seeds: Sequence[int], lowering: str, jobs: int) -> Iterator[Verdict]:
    """The verdicts of all seeds, in order."""
    os.environ.setdefault("ATTNC_CXX", str(HASTY))
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    spawned = get_context("spawn")
    with ProcessPoolExecutor(jobs, spawned, max_tasks_per_child=20) as pool:
        for found in pool.map(partial(_verdicts, lowering), chunks):
            yield from found


def _verdicts(lowering: str, seeds: Sequence[int]) -> list[Verdict]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="attnc-fuzz-") as folder:
        os.environ["ATTNC_CACHE_DIR"] = folder
        return verdicts(seeds, lowering)


def smallest(seed: int, lowering: str) -> tuple[Drawn, Verdict]:
    """The smallest spec that fails as that of a seed does, and how."""

    def verdict(item: Drawn) -> Verdict:
        return judged([item], lowering)[0]

    def kind(item: Drawn) -> str:
        return verdict(item).failed.partition(":")[0]

    item = drawn(seed)
    wanted = kind(item)
    small = minimised(item, lambda other: kind(other) == wanted) if wanted else item
    return small, verdict(small)
