"""Random specs whose attends have kernels, of sizes on and beside the edges of blocks."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from masks import Masks
from torch import Tensor

from .numbers import Numbers

WIDE = torch.float64
#: groups have 24 and 48 queries, tiles of keys 8, 16, 64, batches of tiles 128 and 256
LENGTHS = (1, 2, 3, 7, 15, 16, 17, 23, 24, 25, 31, 47, 48, 49, 63, 64, 65, 97, 127, 128, 129)
LONG = (191, 193, 200, 255, 256, 257, 300)
#: without a divisor in common with the number of pairs of operations
STRIDE = 1009
WIDTHS = (1, 2, 3, 4, 5, 8, 12, 15, 16, 17, 20, 32, 33)
MOST_NUMBERS = 4_000_000
NORMALIZERS = (
    *["softmax(s, j)"] * 10,
    "softmax(2 * s, j)",
    "softmax(tanh(s) * 3, j)",
    "softmax(-abs(s), j)",
    "softmax(relu(s) + 0.1 * s, j)",
    "sigmoid(by_key) * softmax(s, j)",
    "(by_head - real(i - j) / 9) * softmax(2 * s, j)",
    "renormalize(clip(1 - real(abs(i - j)) / 30, 0, 1) * softmax(s, j), j, eps=1e-3)",
    "renormalize(exp(-abs(by_head * (i - j)) / 9) * softmax(s, j), j)",
    "s",
    "sigmoid(s)",
    "relu(s) / 4",
    "relu(s) ** 2",
    "tanh(s)",
    "exp(min(s, 2))",
    "exp(-abs(s))",
    "softplus(s)",
    "s * sigmoid(s)",
    "clip(s, 0, 1)",
    "where(s > 0, s, 0.1)",
    "abs(s) + 1",
    "renormalize(s ** 2, j, eps=1e-2)",
    "renormalize(sigmoid(by_key) * exp(min(s, 2)), j)",
    # smaller exponentials may have a sum whose reciprocal is no number
    "exp(-min(abs(s), 60)) / sum(exp(-min(abs(s), 60)), over=j)",
    "s / max(sum(abs(s), over=j), by_head ** 2 + 0.5)",
    "s / sqrt(sum(s ** 2, over=j) + by_query ** 2 + 0.1)",
    "relu(s) / (1 + sum(s, over=j) ** 2 + sum(softplus(s), over=j, where=s > 0))",
    "relu(s - mean(s, over=j) / 2)",
    "renormalize(softplus(s - mean(s, over=j) / 2), j, eps=1e-3)",
    "s * tanh(sum(s, over=j))",
    "tanh(s) * softmax(s, j)",
    "softmax(softmax(s, j) + by_key, j)",
)
#: what makes vectors of how far a query and a key are apart, once for each distance
BY_DISTANCE = (
    "dot(q, cos(c * (i - j) / 9)) / d_head",
    "dot(u * exp(-abs(i - j) / 9 * by_head ** 2), k) / d_head",
    "dot(u, tanh(q + k + sin(c * (i - j) / 9))) / d_head",
    "sum(silu(k * cos(u * (j - i) / 9))) / d_head",
    "dot(of_second, tanh(of_second * (i - j) / 9))",
    "dot(of_second, relu(second @ cos(first @ (c * (i - j) / 9))))",
    "sum(linear(sinusoid(i - j, 8, 100), to=[h, 3], as=apart) * q2)",
)
HEADER = """attnc: 1
name: drawn
context: {context}
dims: {{wide: 9}}
axes: {{e: 3}}
inputs:
  label: {{type: int, over: x, default: 0}}
  flag: {{type: bool, over: x, default: true}}
  age: {{type: real, over: x}}
  pair_bias: {{type: real, over: [x, context]}}
  pair_flag: {{type: bool, over: [x, context]}}
  pair_count: {{type: int, over: [x, context]}}
  jitter: {{type: real, over: x, dims: [{result}]}}
weights:
  u: {{shape: [h, d_head]}}
  c: {{shape: [d_head]}}
  by_head: {{shape: [h]}}
  along: {{shape: [d_value]}}
  sharp: {{shape: []}}
  rel: {{shape: [h, wide]}}
  flat: {{shape: [wide]}}
  grid: {{shape: [h, 4, wide]}}
  first: {{shape: [5, d_head]}}
  second: {{shape: [3, 5]}}
  joined: {{shape: [4, 6]}}
  of_second: {{shape: [3]}}
  slots_of: {{shape: [h, mem]}}
  by_e: {{shape: [h, e]}}
  of_place: {{shape: [wide, d_value]}}
tokens:
  mem: slots(4)
project:
  q: linear(x, to=[{q}])
  k: linear(context, to=[{k}])
  v: linear(context, to=[{v}])
  q2: linear(x, to=[h, 3])
  k2: linear(context, to=[{g}, 3])
  rows_of_q: linear(x, to=[h, 2, 3])
  rows_of_k: linear(context, to=[{g}, 4, 3])
  by_query: linear(x, to=[h])
  by_key: linear(context, to=[{g}])
let:
  part: detach(by_query)
  chosen: argmax(detach(q2))
  best: token(context, slot(x) * (e + 1) // 2 - 1)
"""
INPUTS = ("label", "flag", "age", "pair_bias", "pair_flag", "pair_count", "jitter")


@dataclass(frozen=True)
class Part:
    """The fields of one attend, as text; lse: whether its lse is read."""

    score: str
    mask: str
    normalize: str
    lse: bool = False
    value: str = "v"

    @property
    def has_softmax(self) -> bool:
        return "softmax(" in self.normalize

    def text(self, name: str, noise: float = 0.0) -> str:
        lines = [f'score: "{self.score}"', f"value: {self.value}", f'normalize: "{self.normalize}"']
        if self.mask != "true":
            lines.append(f'mask: "{self.mask}"')
        body = "".join(f"      {line}\n" for line in lines)
        more = f"  {name}_lse: max({name}.lse, -50) / 9\n" if self.lse else ""
        if noise and self.has_softmax:
            there = f"where({name}.lse > -1e9, {name}.lse, 0)"
            more += f"  {name}_noise: {there} * jitter * {noise}\n"
        return f"  {name}:\n    attend:\n{body}{more}"

    def result(self, name: str, noise: float = 0.0) -> str:
        made = f"{name} * along" if self.value == "by_key" else name
        if noise and self.has_softmax:
            made += f" + {name}_noise"
        return f"{made} + by_head + {name}_lse" if self.lse else f"{made} + by_head"


@dataclass(frozen=True)
class Drawn:
    """A random spec, the sizes it is compiled for, and what it is called with.

    starts   q_start and the like, as numbers or by example
    noise    how much of its lse is added to each softmax, times the input `jitter` of its queries
    """

    seed: int
    parts: tuple[Part, ...]
    apart: bool
    batch: int
    queries: int
    keys: int
    dims: dict[str, int]
    shared: dict[str, str]
    starts: dict[str, Any] = field(default_factory=dict)
    padded: bool = False
    noise: float = 0.0

    @property
    def text(self) -> str:
        """The spec, with what it uses of the header alone."""
        attends = "".join(part.text(f"y{n}", self.noise) for n, part in enumerate(self.parts))
        results = " + ".join(
            f"concat({part.result(f'y{n}', self.noise)}, over=h)"
            for n, part in enumerate(self.parts)
        )
        context = "memory" if self.apart else "same"
        header = HEADER.format(context=context, result=self.result, **self.shared)
        lines = [line for line in header.splitlines() if not _is_unread(line, attends)]
        kept = "\n".join(lines).replace("\ninputs:\nweights:", "\nweights:")
        return f"{kept}\n{attends}out: {results}\n"

    @property
    def result(self) -> str:
        """The dim of an attend's features."""
        return "d_head" if self.parts[0].value == "k" else "d_value"

    def numbers(self) -> int:
        """How many numbers of pairs and features there are."""
        pairs = self.batch * self.dims["heads"] * self.queries * self.keys
        return pairs * (self.dims["d_head"] + 4)

    def call(self) -> dict[str, Any]:
        """The arguments; reals in float64."""
        text = self.text
        generator = torch.Generator().manual_seed(self.seed)
        rng = random.Random(self.seed)
        size = (self.batch, self.queries)
        pairs = (self.batch, self.queries, self.keys)
        made: dict[str, Any] = {"x": _normal(generator, *size, self.dims["d_model"])}
        if self.apart:
            made["context"] = _normal(generator, self.batch, self.keys, self.dims["d_model"])
        label = torch.randint(3, size, generator=generator)
        if rng.random() < 0.7:
            label = label.sort(1)[0]
        if rng.random() < 0.1:
            label += 2**60
        inputs: dict[str, Tensor] = {
            "label": label,
            "flag": torch.rand(size, generator=generator) < rng.choice([0.1, 0.5, 1.0]),
            "age": _normal(generator, *size),
            "pair_bias": _normal(generator, *pairs),
            "pair_flag": torch.rand(pairs, generator=generator) < rng.choice([0.02, 0.5, 0.98]),
            "pair_count": torch.randint(-2, 3, pairs, generator=generator),
            "jitter": torch.ones((*size, self.dims[self.result]), dtype=WIDE),
        }
        made |= {name: value for name, value in inputs.items() if f"  {name}: {{" in text}
        if self.padded:
            ends = torch.randint(0, self.queries + 1, (self.batch, 1), generator=generator)
            made["valid"] = torch.arange(self.queries) < ends
            if self.apart:
                ends = torch.randint(0, self.keys + 1, (self.batch, 1), generator=generator)
                made["context_valid"] = torch.arange(self.keys) < ends
        for name, start in self.starts.items():
            made[name] = torch.tensor(start) if isinstance(start, list) else start
        return made


def _is_unread(line: str, attends: str) -> bool:
    """Whether a line of the header declares an input that no attend reads."""
    name = line.strip().partition(":")[0]
    return name in INPUTS and not re.search(rf"\b{name}\b", attends)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=WIDE)


def drawn(seed: int) -> Drawn:
    """The spec, sizes and arguments of a seed."""
    rng = random.Random(seed)
    apart = rng.random() < 0.4
    heads = rng.choice([1, 2, 2, 3, 4])
    kv_heads = rng.choice([n for n in (1, 2, 3, 4) if heads % n == 0])
    d_head, d_value = rng.choice(WIDTHS), rng.choice(WIDTHS)
    lengths = LENGTHS if rng.random() < 0.85 else LONG
    queries, keys = rng.choice(lengths), rng.choice(LENGTHS)
    if not apart:
        keys = queries
    dims = {
        "d_model": heads * d_value,
        "heads": heads,
        "kv_heads": kv_heads,
        "d_head": d_head,
        "d_value": d_value,
    }
    shared = {
        "q": rng.choice(["h, d_head"] * 5 + ["d_head"]),
        "k": rng.choice(["g, d_head"] * 4 + ["h, d_head", "d_head"]),
        "v": rng.choice(["g, d_value"] * 4 + ["h, d_value", "d_value"]),
        "g": rng.choice(["h", "g"]),
    }
    if shared["q"] == "d_head":  # else the result may have groups, but no heads
        shared["v"] = "h, d_value"
    starts: dict[str, Any] = {}
    batch = rng.choice([1, 2, 3])
    if rng.random() < 0.2:
        starts["q_start"] = rng.choice([5, [3 * n + 1 for n in range(batch)]])
    if rng.random() < 0.1:
        starts["k_start"] = rng.choice([2, [2 * n for n in range(batch)]])
    if rng.random() < 0.05:
        starts["head_start"] = 3
    values = ["v", "v", "v", "v", "tanh(v)", "by_key", "k" if d_head == d_value else "v"]
    values.append(f"v + of_place[{Numbers(rng, not apart).place('wide')}]")
    value = rng.choice(values)
    parts = [_part(rng, seed, apart, value) for _ in range(rng.choice([1, 1, 1, 2]))]
    more = random.Random(f"by distance {seed}")
    if more.random() < 0.1:
        parts[0] = replace(parts[0], score=f"{parts[0].score} + {more.choice(BY_DISTANCE)}")
    more = random.Random(f"of features {seed}")
    if more.random() < 0.2:
        term = Numbers(more, not apart).of_features()
        parts[0] = replace(parts[0], score=f"{parts[0].score} + {term}")
    made = Drawn(
        seed,
        tuple(parts),
        apart,
        batch,
        queries,
        keys,
        dims,
        shared,
        starts,
        rng.random() < 0.3,
    )
    while made.numbers() > MOST_NUMBERS:
        made = replace(made, queries=max(1, made.queries * 2 // 3), keys=max(1, made.keys * 2 // 3))
    return made


def _part(rng: random.Random, seed: int, apart: bool, value: str) -> Part:
    masks = Masks(rng, tables=not apart)
    pick = rng.random()
    mask = "true" if pick < 0.2 else masks.mask(rng.choice([0, 1, 2, 3]))
    if pick > 0.85:
        more = rng.choice(["pair_flag", "pair_count > 0", "pair_count == i % 3"])
        mask = f"({mask}) {rng.choice(['and', 'or'])} {more}"
    normalize = rng.choice(NORMALIZERS)
    numbers = Numbers(rng, not apart)
    # consecutive seeds take operations far apart, and any PAIRS even ones in a row take all pairs
    score = numbers.score() if seed % 2 else numbers.pair(seed // 2 * STRIDE)
    return Part(score, mask, normalize, rng.random() < 0.3, value)
