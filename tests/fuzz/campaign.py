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
#: chunks that a process takes in its life, in which it forgets no library that it has loaded
TASKS = 20
HASTY = Path(__file__).with_name("hasty")


def campaign(
    seeds: Sequence[int], lowerings: Sequence[str], jobs: int, inductor: int = 0
) -> Iterator[Verdict]:
    """The verdicts of all seeds, in order; the first `inductor` of them through inductor, too."""
    os.environ.setdefault("ATTNC_CXX", str(HASTY))
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    judge = partial(_verdicts, lowerings, min(seeds, default=0) + inductor)
    # processes are made anew by hand: with `max_tasks_per_child` a pool may wait for ever
    # (https://github.com/python/cpython/issues/115634)
    for start in range(0, len(chunks), jobs * TASKS):
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            for found in pool.map(judge, chunks[start : start + jobs * TASKS]):
                yield from found


def _verdicts(lowerings: Sequence[str], inductor: int, seeds: Sequence[int]) -> list[Verdict]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="attnc-fuzz-") as folder:
        os.environ["ATTNC_CACHE_DIR"] = folder
        return verdicts(seeds, lowerings, inductor)


def smallest(seed: int, lowerings: Sequence[str], inductor: bool = False) -> tuple[Drawn, Verdict]:
    """The smallest spec that fails as that of a seed does, and how."""

    def verdict(item: Drawn) -> Verdict:
        return judged([item], lowerings, seed + 1 if inductor else 0)[0]

    item = drawn(seed)
    wanted = verdict(item).kind
    small = minimised(item, lambda other: verdict(other).kind == wanted) if wanted else item
    return small, verdict(small)
