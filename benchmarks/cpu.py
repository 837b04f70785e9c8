"""Times of the generated CPU kernels against torch's own, and against torch.compile of the formula.

    python benchmarks/cpu.py [--json] [--threads 2] [--only additive]

One process, all runs of a row in turns, medians. One example, 8 heads of 64. `needed` is what we hold
ourselves to: how many times as long the other takes, at least.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import attnc
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import linear
from torch.nn.functional import scaled_dot_product_attention as sdpa

HEADS, WIDTH = 8, 64
Step = Callable[[], Tensor]
#: lengths of rows against FlexAttention
LONG = (2048, 4096)
#: lengths, whether with the backward, and what is needed: of bfloat16, and of networks of pairs
HALVES = ((512, False, 3.7), (2048, False, 3.7), (4096, False, 3.7), (2048, True, 2.4))
NETWORKS = ((512, False, 2.5), (1024, False, 5.0), (2048, False, 5.0), (1024, True, 8.0))
#: features that networks of pairs read of a query, and of a key
DOWN = 16


@dataclass(frozen=True)
class Row:
    """Our kernel and one other way to the same result.

    needed   how many times as long the other takes, at least
    """

    name: str
    tokens: int
    backward: bool
    ours: Step
    rival: str
    other: Step
    needed: float

    def measured(self, repeats: int) -> dict[str, Any]:
        """Median milliseconds of both, run in turns."""
        steps = [self._step(self.ours), self._step(self.other)]
        times: list[list[float]] = [[], []]
        for repeat in range(repeats + 2):
            for place, step in enumerate(steps):
                start = time.perf_counter()
                step()
                if repeat >= 2:
                    times[place].append((time.perf_counter() - start) * 1e3)
        ours, other = map(statistics.median, times)
        found = {"name": self.name, "tokens": self.tokens, "backward": self.backward}
        found |= {"ours_ms": ours, "rival": self.rival, "rival_ms": other}
        return found | {"ratio": other / ours, "needed": self.needed}

    def _step(self, made: Step) -> Callable[[], None]:
        def step() -> None:
            with torch.set_grad_enabled(self.backward):
                out = made()
                if self.backward:
                    out.sum().backward()

        return step


def core(name: str, **dims: Any) -> attnc.Module:
    """The attention core of a library spec, by kernels."""
    sizes = {"d_model": HEADS * WIDTH, "heads": HEADS, **dims}
    return attnc.compile(name, entry="qkv", lowering="cpu", **sizes)


def heads(tokens: int, backward: bool, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Queries, keys and values."""
    shape = (1, HEADS, tokens, WIDTH)
    return [torch.randn(shape, dtype=dtype, requires_grad=backward) for _ in range(3)]


def dots() -> Iterator[Row]:
    """Softmax of dot products against torch's fused attention."""
    full, causal = core("softmax"), core("causal_softmax")
    for tokens in (512, 2048, 4096):
        q = heads(tokens, False)
        yield Row("dot", tokens, False, partial(full, *q), "SDPA", partial(sdpa, *q), 2.1)
    for tokens, backward, needed in HALVES:
        q = heads(tokens, backward, torch.bfloat16)
        run, other = partial(full, *q), partial(sdpa, *q)
        yield Row("dot, bfloat16", tokens, backward, run, "SDPA", other, needed)
    q = heads(2048, True)
    yield Row("dot", 2048, True, partial(full, *q), "SDPA", partial(sdpa, *q), 1.8)
    other = partial(sdpa, *q, is_causal=True)
    yield Row("dot, causal", 2048, True, partial(causal, *q), "SDPA", other, 1.8)


def flexible() -> Iterator[Row]:
    """Scores and masks that FlexAttention takes on the CPU, forward."""
    flex = torch.compile(flex_attention)
    slopes = torch.tensor([2.0 ** -(head + 1) for head in range(HEADS)])
    document = torch.arange(max(LONG)) // 256
    packed = core("documents")
    forms: dict[str, tuple[Any, Any, Any]] = {
        "ALiBi": (core("alibi"), lambda s, b, h, i, j: s - slopes[h] * (i - j).abs(), None),
        "soft-cap": (core("soft_cap"), lambda s, b, h, i, j: 50 * torch.tanh(s / 50), None),
        "window 256": (
            core("sliding_window", left=256, right=256),
            None,
            lambda b, h, i, j: (i - j).abs() <= 256,
        ),
        "documents of 256": (
            lambda *q: packed(*q, document[None, : q[0].size(2)]),
            None,
            lambda b, h, i, j: document[i] == document[j],
        ),
    }
    for tokens in LONG:
        q = heads(tokens, False)
        for name, (ours, score, mask) in forms.items():
            blocks = None if mask is None else create_block_mask(mask, 1, 1, tokens, tokens, "cpu")
            other = partial(flex, *q, score_mod=score, block_mask=blocks)
            yield Row(name, tokens, False, partial(ours, *q), "FlexAttention", other, 2.0)


def learned() -> Iterator[Row]:
    """A learned bias by distance, against torch's attention with the bias of all pairs."""
    ours = core("t5_bias")
    q = heads(2048, True)
    table = torch.randn(HEADS, 4095, requires_grad=True)
    place = torch.arange(2048)[:, None] - torch.arange(2048) + 2047

    def other() -> Tensor:
        return sdpa(*q, attn_mask=table[:, place][None])

    yield Row("learned bias", 2048, True, partial(ours, *q), "SDPA with a bias", other, 3.0)


def formula(q: Tensor, k: Tensor, v: Tensor, u: Tensor) -> Tensor:
    """Additive attention as it is written."""
    score = (torch.tanh(q[:, :, :, None] + k[:, :, None]) * u[:, None, None]).sum(-1)
    return score.softmax(-1) @ v


def additive() -> Iterator[Row]:
    """Additive scores against the formula by torch.compile, and against torch's dot products."""
    ours, compiled = core("additive"), torch.compile(formula)
    for tokens, backward, needed in ((512, False, 20), (2048, False, 22), (1024, True, 25)):
        u = dict(ours.named_parameters())["u"].detach().clone().requires_grad_(backward)
        q = heads(tokens, backward)
        run, other = partial(ours, *q), partial(compiled, *q, u)
        yield Row("additive", tokens, backward, run, "torch.compile", other, needed)
        if not backward:
            yield Row("additive", tokens, False, run, "SDPA of dots", partial(sdpa, *q), 1 / 1.1)


def network(q: Tensor, k: Tensor, v: Tensor, *maps: Tensor) -> Tensor:
    """Scores by a network of every pair as it is written: relu between maps, each a matrix and a bias."""
    size = (*q.shape[:3], k.size(2), -1)
    made = torch.cat([q[:, :, :, None].expand(size), k[:, :, None].expand(size)], -1)
    *hidden, (last, shift) = zip(maps[::2], maps[1::2], strict=True)
    for matrix, bias in hidden:
        made = linear(made, matrix, bias).relu()
    return (made @ last.flatten() + shift).softmax(-1) @ v


def neural() -> Iterator[Row]:
    """Small networks of pairs against the formula by torch.compile."""
    forms = {
        "neural": core("neural_attention", d_down=DOWN, d_hidden=DOWN),
        "neural, code": core("neural_attention_code", d_down=DOWN),
    }
    for name, ours in forms.items():
        compiled = torch.compile(network)
        for tokens, backward, needed in NETWORKS:
            q, k, v = heads(tokens, backward)
            q, k = (item[..., :DOWN].detach().requires_grad_(backward) for item in (q, k))
            maps = [item.detach().clone().requires_grad_(backward) for item in ours.parameters()]
            run, other = partial(ours, v, q, k), partial(compiled, q, k, v, *maps)
            yield Row(name, tokens, backward, run, "torch.compile", other, needed)


FAMILIES = {
    "dots": dots,
    "flexible": flexible,
    "learned": learned,
    "additive": additive,
    "neural": neural,
}


def table(found: list[dict[str, Any]]) -> Table:
    """The figures, a row each."""
    shown = Table("kernel", "tokens", "pass", "ours", "other", "its time", "ratio", "needed")
    for item in found:
        passed = "both" if item["backward"] else "forward"
        times = [f"{item['ours_ms']:.2f} ms", item["rival"], f"{item['rival_ms']:.2f} ms"]
        ratios = [f"{item['ratio']:.2f}", f"{item['needed']:.2f}"]
        shown.add_row(item["name"], str(item["tokens"]), passed, *times, *ratios)
    return shown


def main() -> None:
    """All rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", choices=list(FAMILIES))
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    families = [FAMILIES[chosen.only]] if chosen.only else FAMILIES.values()
    found = [row.measured(chosen.repeats) for family in families for row in family()]
    print(json.dumps(found, indent=1)) if chosen.json else Console(width=120).print(table(found))


if __name__ == "__main__":
    main()
