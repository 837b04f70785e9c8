"""Block classes from predicates against `create_block_mask`, and at a million tokens; tiles against the dense form.

    python benchmarks/sparsity.py [--json] [--seconds 300]
    python benchmarks/sparsity.py --train softmax alibi        # a step at 65,536 tokens in tiles
    python benchmarks/sparsity.py --train all --lowering cpu   # of every spec, by its kernels
    python benchmarks/sparsity.py --train all --tiles 4        # its memory, from the largest tiles alone

Each figure is measured in a process of its own, after a call with fewer tokens: the seconds of the first and of the best later call, by how much the peak of memory rose, and the size of the result. Blocks are 128 x 128, one head, one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

MILLION = 1_000_000
#: rises of the peak below this, in bytes, are not told apart
LEAST = 1 << 18
LENGTH = 131_072
#: tokens of a call before the measurement, in which what is needed is compiled and loaded
WARM = 16_384
#: 256 tokens to both sides, as in `create_block_mask`'s own examples
WINDOW = {"left": 256, "right": 256}
#: random keys of each block of 64, drawn as places: the library's own form draws a table of all
#: pairs of blocks
BIGBIRD = """attnc: 1
name: drawn_bigbird
extends: softmax
context: same
axes: {p: 3}
tokens: {rows: "blocks(x, size=64)"}
random: {draw: {shape: [h, rows, p], dist: uniform}}
macros:
  last: (length(x) - 1) // 64
  ends(place): place == 0 or place == last
let: {places: "int(draw[token(rows, i // 64)] * real(last))"}
mask: ends(i // 64) or ends(j // 64) or abs(i // 64 - j // 64) <= 1 or any(places == j // 64, over=p)
"""
Case = tuple[str, int, dict[str, Any]]
OURS: dict[str, Case] = {
    "window 256": ("sliding_window", LENGTH, WINDOW),
    "window 256, 1M": ("sliding_window", MILLION, WINDOW),
    "causal, 1M": ("causal", MILLION, {}),
    "global and window, 1M": ("longformer", MILLION, {"window": 512}),
    "BigBird, 1M": (BIGBIRD, MILLION, {}),
}


def memory() -> int:
    """The largest memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measured(run: Callable[[], object], repeats: int) -> dict[str, float]:
    """Seconds of the first and of the best later call, and the rise of peak memory."""
    before, times = memory(), []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {"first": times[0], "seconds": min(times[1:] or times), "bytes": memory() - before}


def ours(name: str) -> dict[str, Any]:
    """Our block classes of a case."""
    import attnc
    import torch

    torch.set_num_threads(1)
    spec, length, dims = OURS[name]
    source = attnc.loads(spec) if "\n" in spec else spec
    module = attnc.compile(source, d_model=64, heads=1, **dims)
    inputs = {}
    if name.startswith("global"):
        inputs["glob"] = torch.arange(length)[None] < 64
    module.sparsity(WARM, **{key: value[:, :WARM] for key, value in inputs.items()})
    found: dict[str, Any] = {}

    def run() -> None:
        found.update(module.sparsity(length, **inputs))

    figures = measured(run, 5)
    attend = max(found.values(), key=lambda item: item.count["partial"])
    runs = attend.blocks
    arrays = (runs.row_start, runs.begin, runs.end, runs.undecided)
    kept = sum(item.nbytes for item in arrays)
    return {**figures, "kept": kept, "length": length, **attend.count}


def theirs(name: str) -> dict[str, Any]:
    """Torch's block mask of the window, compiled."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask

    torch.set_num_threads(1)

    def window(b: Any, h: Any, q: Any, kv: Any) -> Any:
        return (q - kv <= 256) & (kv - q <= 256)

    found: list[Any] = []

    def run() -> None:
        found[:] = [create_block_mask(window, 1, 1, LENGTH, LENGTH, device="cpu", _compile=True)]

    create_block_mask(window, 1, 1, WARM, WARM, device="cpu", _compile=True)
    figures = measured(run, 2)
    arrays = [item for item in found[0].as_tuple() if isinstance(item, torch.Tensor)]
    return {**figures, "kept": sum(item.nbytes for item in arrays), "length": LENGTH}


def causal(lowering: str) -> Any:
    """The causal core, one head of 64."""
    import attnc

    return attnc.compile("causal", entry="qkv", d_model=64, heads=1, lowering=lowering)


def heads_of(length: int) -> list[Any]:
    """Queries, keys and values of one head of 64."""
    import torch

    return [torch.randn(1, 1, length, 64, requires_grad=True) for _ in range(3)]


def step(module: Any, arrays: list[Any]) -> None:
    """Forward and backward."""
    module(*arrays).square().sum().backward()


def tiled(name: str) -> dict[str, Any]:
    """Tiles, forward and backward, and the memory above their inputs."""
    import torch

    torch.set_num_threads(1)
    module = causal("tiled")
    step(module, heads_of(2048))
    arrays = heads_of(WARM)
    return {**measured(lambda: step(module, arrays), 1), "length": WARM}


def beside_dense(name: str) -> dict[str, Any]:
    """Tiles and the dense form in turns: medians of CPU seconds."""
    import torch

    torch.set_num_threads(1)
    length = int(name.split()[-1])
    modules = {lowering: causal(lowering) for lowering in ("tiled", "dense")}
    arrays = heads_of(length)
    times: dict[str, list[float]] = {lowering: [] for lowering in modules}
    for _ in range(8):
        for lowering, module in modules.items():
            start = time.process_time()
            step(module, arrays)
            times[lowering].append(time.process_time() - start)
    first = times["tiled"][0]
    seconds = {lowering: sorted(found[1:])[3] for lowering, found in times.items()}
    faster = seconds["dense"] / seconds["tiled"]
    return {"first": first, "seconds": seconds["tiled"], "length": length, "faster": faster}


def trained(name: str, lowering: str, length: int, count: int) -> dict[str, Any]:
    """A training step of a whole spec: one head of 64, its own heads where it cannot have one, 256 words.

    Logits of more words would take more than the rest of a model.

    count   how many tiles of each attend are run, the largest; 0: all
    """
    import attnc
    import torch
    from attnc.runtime.examples import example

    torch.set_num_threads(1)
    if count:
        _take_largest(count)
    dims = {"d_model": 64, "heads": 1}
    try:
        module = attnc.compile(name, lowering=lowering, **dims)
    except attnc.SpecError:
        del dims["heads"]
        module = attnc.compile(name, lowering=lowering, **dims)
    if "vocab" in module.spec.dims:
        module = attnc.compile(name, lowering=lowering, vocab=256, **dims)
    call = example(module, length)
    return {**measured(lambda: _step_of(module(**call)), 0), "length": length}


def _take_largest(count: int) -> None:
    """Have attends run some of their tiles alone: one is held at a time, so the peak is that of all."""
    from attnc.compiler.tiling.attend import TiledAttend
    from attnc.compiler.tiling.layout import Span, Tile

    def pairs(tile: Tile) -> int:
        sizes = [
            item.size if isinstance(item, Span) else item.size(-1)
            for item in tile.keys
            if item is not None
        ]
        return tile.rows.numel() * sum(sizes)

    whole = TiledAttend.tiles

    def largest(self: TiledAttend, *call: Any) -> list[Tile]:
        found = whole(self, *call)
        return found if len(found) <= count else sorted(found, key=pairs)[-count:]

    TiledAttend.tiles = largest  # type: ignore[method-assign]


def _step_of(made: Any) -> None:
    first = next(iter(made.values())) if isinstance(made, dict) else made
    first.square().mean().backward()


CASES = {"create_block_mask, window 256": theirs, **dict.fromkeys(OURS, ours)}
CASES |= {"causal in tiles": tiled}
CASES |= {f"causal in tiles {n}": beside_dense for n in (1024, 2048, 4096)}


def in_process(name: str, seconds: float, *options: str) -> dict[str, Any]:
    """The figures of a case, from a process of its own; without any where it takes too long."""
    command = [sys.executable, __file__, "--case", name, *options]
    # large arrays that are freed go back to the system: holes in a heap are nothing that a step needs
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=seconds, text=True, check=True, env=settings
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {seconds:.0f} s"}
    except subprocess.CalledProcessError as error:
        return {"failed": f"exit {error.returncode}: {error.stderr.strip().splitlines()[-1:]}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(figures: dict[str, dict[str, Any]]) -> Table:
    """The figures, a row each."""
    shown = Table("mask", "tokens", "first call", "seconds", "peak", "kept", "full", "partial")
    for column in shown.columns[1:]:
        column.justify = "right"
    for name, item in figures.items():
        if "failed" in item:
            shown.add_row(name, "", "", item["failed"])
            continue
        sizes = [f"{item['length']:,}", f"{item['first']:.3f} s", f"{item['seconds']:.4f} s"]
        counts = [f"{item[key]:,}" if key in item else "" for key in ("full", "partial")]
        shown.add_row(name, *sizes, *_memory(item), *counts)
    return shown


def _memory(item: dict[str, Any]) -> list[str]:
    """The rise of peak memory, and the size of the result."""
    return [f"{item[key] / 2**20:.2f} MiB" if key in item else "" for key in ("bytes", "kept")]


def steps(chosen: argparse.Namespace) -> None:
    """Training steps, each told as soon as it is done."""
    import attnc

    names = attnc.library() if chosen.train == ["all"] else chosen.train
    options = ("--lowering", chosen.lowering, "--tokens", str(chosen.tokens))
    options += ("--tiles", str(chosen.tiles))
    figures = {}
    for name in names:
        figures[name] = in_process(name, chosen.seconds, *options)
        print(name, json.dumps(figures[name]), file=sys.stderr, flush=True)
    print(json.dumps(figures, indent=1)) if chosen.json else Console(width=120).print(
        table(figures)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=300, help="the most a case may take")
    parser.add_argument("--case", help="measure one case in this process")
    parser.add_argument(
        "--train", nargs="+", metavar="SPEC", help="training steps of specs instead"
    )
    parser.add_argument("--lowering", default="tiled", help="how the steps are taken")
    parser.add_argument("--tokens", type=int, default=65_536, help="tokens of a step")
    parser.add_argument(
        "--tiles", type=int, default=0, help="run so many tiles of each attend alone"
    )
    chosen = parser.parse_args()
    if chosen.case:
        case = CASES.get(chosen.case)
        if case is None:
            step = chosen.lowering, chosen.tokens, chosen.tiles
            found = trained(chosen.case, *step)
        else:
            found = case(chosen.case)
        print(json.dumps(found))
        return
    if chosen.train:
        steps(chosen)
        return
    figures = {name: in_process(name, chosen.seconds) for name in CASES}
    torch_figures, own = list(figures.values())[:2]
    if "failed" not in torch_figures and "failed" not in own:
        own["faster"] = torch_figures["seconds"] / own["seconds"]
        own["lower"] = torch_figures["bytes"] / max(LEAST, own["bytes"])
        own["smaller"] = torch_figures["kept"] / own["kept"]
    if chosen.json:
        print(json.dumps(figures, indent=1))
        return
    Console(width=120).print(table(figures))
    if "faster" in own:
        print(
            f"window 256: {own['faster']:.0f} times faster, peak at least {own['lower']:.0f} times lower, "
            f"result {own['smaller']:.0f} times smaller"
        )
    for name, item in figures.items():
        if name.startswith("causal in tiles ") and "faster" in item:
            print(f"{name}: {item['faster']:.2f} times as fast as the dense form")


if __name__ == "__main__":
    main()
