"""Random attends in tiles and of their own choice: as the dense form, and that as the oracle."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import attnc
import pytest
import torch
from attnc.runtime import lengths
from attnc.runtime.module import LoweringRefused, Module, Options
from attnc.runtime.oracle import evaluate
from masks import Masks
from torch import Tensor

WIDE = torch.float64
#: specs in the usual run and in the long one; attends of each
NORMAL, MANY, ATTENDS = 32, 1000, 4
FIELDS = ("label", "flag")
LENGTHS = (1, 2, 3, 7, 13, 17, 33)


@pytest.fixture(autouse=True)
def long_calls(small_tiles: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few tokens count as many, and go in tiles of every kind."""
    monkeypatch.setattr(lengths, "MANY", 1)
    monkeypatch.setattr(lengths, "LONG", 1)


# -- random specs ---------------------------------------------------------------------------

HEADER = """attnc: 1
name: drawn
context: {context}
dims: {{n_heads: {{is: heads}}}}
axes: {{e: 3}}
inputs:
  label: {{type: int, over: x, default: 0}}
  flag: {{type: bool, over: x, default: true}}
weights:
  u: {{shape: [h, d_head]}}
  mk: {{shape: [h, mem, d_head]}}
  mv: {{shape: [h, mem, d_head]}}
  ke: {{shape: [h, e, d_head]}}
tokens:
  mem: slots(2)
  rows: blocks(context, size=3)
  runs: windows(context, size=3, stride=2)
  grid: cross(rows, e)
  few: take(x, places)
  sorted: sort(context, by=[chosen, context])
project:
  q: linear(x, to=[h, d_head])
  k: linear(context, to=[g, d_head])
  v: linear(context, to=[g, d_head])
let:
  part: detach(sum(q))
  chosen: argmax(detach(q))
  best: top(detach(dot(q, k)), e, over=context)
  places: top(part, e, over=x)
  k_rows: mean(k, over=rows)
  v_rows: mean(v, over=rows)
  k_runs: mean(k, over=runs)
  v_runs: mean(v, over=runs)
  k_grid: k_rows * ke
  v_grid: v_rows + ke
"""
SCORES = (
    "dot({q}, {k}) / sqrt(d_head)",
    "dot({q}, {k}) * 0.3 - 0.1 * real(abs(i - j))",
    "dot(u, tanh({q} + {k}))",
    "-dot({q} - {k}, {q} - {k})",
    "log(1 + exp(dot({q}, {k})))",
    "dot({q}, {k}) + real(i % 3) * h",
)
NORMALIZERS = (
    *["softmax(s, j)"] * 6,
    "s",
    "sigmoid(s)",
    "relu(s) / 4",
    "sparsemax(s, over=j)",
    "entmax(s, over=j, alpha=1.5)",
    "renormalize(sigmoid(s), j, eps=1e-3)",
    "safe_div(exp(s), 1 + sum(exp(s), over=j))",
    "exp(s - max(s, over=j))",
    "softmax(s, j) - 0.1 * mean(s, over=j)",
    "where(s > mean(s, over=j), s, 0)",
)
KEYS = {
    "context": ("k", "v"),
    "rows": ("k_rows", "v_rows"),
    "runs": ("k_runs", "v_runs"),
    "grid": ("k_grid", "v_grid"),
}


@dataclass
class Drawn:
    """A random spec, how it is compiled, and how it is called."""

    text: str
    dims: dict[str, Any]
    inputs: dict[str, Tensor]
    call: dict[str, Any] = field(default_factory=dict)


def drawn(seed: int) -> Drawn:
    """The spec, sizes and arguments of a seed."""
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    apart = rng.random() < 0.2
    heads = rng.choice([1, 2, 4])
    dims = {"d_model": 4 * heads, "heads": heads, "kv_heads": rng.choice([1, heads])}
    batch, length = rng.choice([1, 2]), rng.choice(LENGTHS)
    size = (batch, length)
    inputs = {"x": torch.randn(*size, dims["d_model"], generator=generator, dtype=WIDE)}
    call: dict[str, Any] = {}
    if apart:
        shape = (batch, rng.choice(LENGTHS), dims["d_model"])
        inputs["context"] = torch.randn(shape, generator=generator, dtype=WIDE)
    else:
        if rng.random() < 0.8:
            call["label"] = torch.randint(3, size, generator=generator).sort(1)[0]
            if rng.random() < 0.3:
                call["label"] = call["label"][:, torch.randperm(length, generator=generator)]
            if rng.random() < 0.1:
                call["label"] += 2**60
        call["flag"] = torch.rand(size, generator=generator) < rng.choice([0.1, 0.5, 1.0])
    if rng.random() < 0.3:
        ends = torch.randint(0, length + 1, (batch, 1), generator=generator)
        call["valid"] = torch.arange(length) < ends
    if rng.random() < 0.2:
        call["q_start"] = rng.choice([5, torch.arange(batch) * 3 + 1])
    if rng.random() < 0.1:
        call["k_start"] = rng.choice([2, torch.arange(batch)])
    results = [f"y{n}" for n in range(ATTENDS)]
    attends = "".join(_attend(rng, apart, name) for name in results)
    call = {n: a for n, a in call.items() if n not in FIELDS or f"{n}[" in attends}
    text = HEADER.format(context="memory" if apart else "same") + attends
    text += "".join(f"  {name}_x: {_on_x(name, attends)}\n" for name in results)
    text += f"out: linear(concat({', '.join(f'{name}_x' for name in results)}))\n"
    return Drawn(text, dims, inputs, call)


def _attend(rng: random.Random, apart: bool, name: str) -> str:
    score, normalize = rng.choice(SCORES), rng.choice(NORMALIZERS)
    kind = rng.choice(["one", "one", "one", "one", "several", "list", "few", "sorted"])
    queries, q = ("few", "q[pos(i)]") if kind == "few" else ("x", "q")
    lines = [f"queries: {queries}", f'normalize: "{normalize}"']
    masks = Masks(rng, not apart)
    if kind in ("one", "few", "list"):
        keys = rng.choice(list(KEYS)) if kind == "one" else "context"
        masks.tables = keys == "context" and kind != "few" and not apart
        k, v = KEYS[keys]
        lines += [f"keys: {keys}", f'score: "{score.format(q=q, k=k)}"', f"value: {v}"]
        if kind == "list":
            lines.append(f'at: "{_list(rng)}"')
        if rng.random() < 0.9:
            lines.append(f'mask: "{masks.mask(3)}"')
    elif kind == "sorted":
        masks.tables = False
        score = score.format(q=q, k="k[pos(j)]")
        lines += ["keys: sorted", f'score: "{score}"', "value: v[pos(j)]"]
        lines.append(f'mask: "{masks.mask(3)}"')
    else:
        lines.append("sources:")
        for keys in rng.sample(["mem", "context", "context", "rows", "runs", "grid", "list"], 2):
            lines.append("  - " + _source(rng, keys, apart))
    indented = "\n".join(f"      {line}" for line in lines)
    return f"  {name}:\n    attend:\n{indented}\n"


def _on_x(name: str, attends: str) -> str:
    """The result of an attend for every token, its heads joined."""
    own = attends.split(f"  {name}:")[1]
    few = own.split("queries: ")[1].startswith("few")
    return f"concat(scatter({name}, onto=x), over=h)" if few else f"concat({name}, over=h)"


def _list(rng: random.Random) -> str:
    shift = rng.randint(-2, 5)
    return rng.choice(["best", f"token(context, slot(x) + {shift} - e)", "token(context, 2 * e)"])


def _source(rng: random.Random, keys: str, apart: bool) -> str:
    score = rng.choice(SCORES[:1] + SCORES[2:4])
    if keys == "mem":
        return f'{{keys: mem, score: "{score.format(q="q", k="mk")}", value: mv}}'
    listed = keys == "list"
    keys = "context" if listed else keys
    mask = Masks(rng, keys == "context" and not apart).mask(2)
    k, v = KEYS[keys]
    at = f', at: "{_list(rng)}"' if listed else ""
    return f'{{keys: {keys}{at}, mask: "{mask}", score: "{score.format(q="q", k=k)}", value: {v}}}'


def filled(made: Module) -> Module:
    """The module in float64, with the same weights for every lowering."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return made.double().eval()


def fitting(plain: Module) -> Module:
    """The spec in tiles; where these do not fit all of it, in what does."""
    made = Module(plain.spec, Options("tiled"))
    try:
        made.prepare()
    except LoweringRefused:
        made = Module(plain.spec)
    return filled(made)


def derivatives(result: Tensor, leaves: list[Tensor], twice: bool) -> list[Tensor]:
    """First gradients of all leaves, and the second of the first."""
    found = torch.autograd.grad(
        result.square().sum(), leaves, create_graph=twice, allow_unused=True, materialize_grads=True
    )
    if twice and any(item.requires_grad for item in found):
        total = torch.stack([item.square().sum() for item in found]).sum()
        found += torch.autograd.grad(total, leaves[:1], materialize_grads=True)
    return list(found)


def compare(seed: int) -> None:
    item = drawn(seed)
    inputs = {name: value.requires_grad_() for name, value in item.inputs.items()}
    plain = filled(attnc.compile(attnc.loads(item.text), lowering="dense", **item.dims))
    wanted = plain(**inputs, **item.call)
    if seed % 4 == 0:
        given = {name: value.detach() for name, value in item.inputs.items()}
        given |= {name: item.call[name] for name in FIELDS if name in item.call}
        options = {name: value for name, value in item.call.items() if name not in FIELDS}
        true = evaluate(plain.spec, dict(plain.state_dict()), given, **options)
        torch.testing.assert_close(wanted, true["x"], rtol=1e-8, atol=1e-8)
    twice = seed % 5 == 0
    theirs = derivatives(wanted, [*inputs.values(), *plain.parameters()], twice)
    made = fitting(plain)
    result = made(**inputs, **item.call)
    torch.testing.assert_close(result, wanted, rtol=1e-8, atol=1e-8)
    taken = (item for way in made._compiled.values() for item in way.lowered.choices)
    if twice and any(item.lowering == "sdpa" for item in taken):
        return  # torch's function has no second derivatives
    ours = derivatives(result, [*inputs.values(), *made.parameters()], twice)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


#: 347: keys over a product whose mask reduces over one of its axes, beside keys over the other
@pytest.mark.parametrize("seed", [*range(NORMAL), 347])
def test_random_attends_agree(seed: int) -> None:
    compare(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(NORMAL, MANY))
def test_many_random_attends_agree(seed: int) -> None:
    compare(seed)
