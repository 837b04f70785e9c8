"""Which blocks of a mask are full, partial or empty, by interval arithmetic over blocks.

A mask is evaluated on the smallest and largest value that its inputs take in each block of queries and keys, instead of on the pairs. Sound for every mask: a block is called full or empty only where it is; what intervals cannot decide counts as partial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

EMPTY, PARTIAL, FULL = 0, 1, 2
#: beyond this float64 rounds whole numbers
LARGEST = 2.0**53 - 1

#: smallest and largest value by block, as float64 that broadcasts to (query blocks, key blocks)
Interval: TypeAlias = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Instruction:
    """One step: an operator over earlier results, `input` (args: its number), `const`, or `some`
    and `any`, a truth value and a number of which nothing is known.
    """

    op: str
    args: tuple[Any, ...]


#: a mask as steps, the last of which is its value
MaskProgram: TypeAlias = tuple[Instruction, ...]


def block_classes(mask: MaskProgram, inputs: Sequence[Interval], shape: tuple[int, int]) -> Tensor:
    """EMPTY, PARTIAL or FULL for every block; uint8 (query blocks, key blocks)."""
    known: list[Interval] = []
    for step in mask:
        if step.op == "const":
            value = torch.tensor(float(step.args[0]), dtype=torch.float64)
            known.append(_exact((value, value)))
        elif step.op == "input":
            known.append(_exact(inputs[step.args[0]]))
        else:
            rule = _RULES.get(step.op)
            args = [known[place] for place in step.args]
            found = rule(*args) if rule else _unknown(step.op)
            known.append(found if step.op in _TRUTH else _exact(found))
    low, high = known[-1]
    made = torch.where(low >= 1, FULL, torch.where(high <= 0, EMPTY, PARTIAL))
    return made.to(torch.uint8).expand(shape)


def _exact(found: Interval) -> Interval:
    """The interval, or everything where float64 does not tell ints from their neighbours."""
    low, high = found
    exact = (low >= -LARGEST) & (high <= LARGEST)
    return low.where(exact, -math.inf), high.where(exact, math.inf)


def extremes(value: Tensor, dim: int | None, size: int) -> Interval:
    """The smallest and largest value in each block of `size` along a dim, over all other dims."""
    value = value.detach().to("cpu", torch.float64)
    if value.isnan().any():
        return _unknown("")
    if dim is None:
        return value.amin(), value.amax()
    rows = value.movedim(dim, 0).flatten(1) if value.dim() > 1 else value[:, None]
    low, high = rows.amin(1), rows.amax(1)
    missing = -len(low) % size
    low = torch.nn.functional.pad(low, (0, missing), value=math.inf)
    high = torch.nn.functional.pad(high, (0, missing), value=-math.inf)
    return low.view(-1, size).amin(1), high.view(-1, size).amax(1)


def _unknown(op: str) -> Interval:
    if op in (*_TRUTH, "some"):
        return torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    infinite = torch.tensor(math.inf, dtype=torch.float64)
    return -infinite, infinite


_TRUTH = ("<", "<=", ">", ">=", "==", "!=", "and", "or", "not")


def _truth(surely: Tensor, maybe: Tensor) -> Interval:
    return surely.double(), maybe.double()


def _multiply(a: Interval, b: Interval) -> Interval:
    products = [(x * y).nan_to_num(0.0, math.inf, -math.inf) for x in a for y in b]
    low, high = products[0], products[0]
    for item in products[1:]:
        low, high = torch.minimum(low, item), torch.maximum(high, item)
    return low, high


def _floor_divide(a: Interval, b: Interval) -> Interval:
    (low, high), (c, d) = a, b
    positive = (c == d) & (c > 0)
    inf = torch.tensor(math.inf, dtype=torch.float64)
    safe = torch.where(positive, c, 1.0)
    below, above = torch.floor(low / safe), torch.floor(high / safe)
    return torch.where(positive, below, -inf), torch.where(positive, above, inf)


def _modulo(a: Interval, b: Interval, step: float = 0.0) -> Interval:
    """step: 1 for whole numbers, whose remainder stays that much below the divisor."""
    (low, high), (c, d) = a, b
    positive = (c == d) & (c > 0)
    size = torch.where(positive, c, 1.0)
    once = positive & (torch.floor(low / size) == torch.floor(high / size)) & low.isfinite()
    inf = torch.tensor(math.inf, dtype=torch.float64)
    least = torch.where(once, low - size * torch.floor(low / size), 0.0)
    most = torch.where(once, high - size * torch.floor(low / size), size - step)
    return torch.where(positive, least, -inf), torch.where(positive, most, inf)


def _where(test: Interval, yes: Interval, no: Interval) -> Interval:
    surely, never = test[0] >= 1, test[1] <= 0
    low = torch.where(surely, yes[0], torch.where(never, no[0], torch.minimum(yes[0], no[0])))
    high = torch.where(surely, yes[1], torch.where(never, no[1], torch.maximum(yes[1], no[1])))
    return low, high


def _equal(a: Interval, b: Interval) -> Interval:
    single = (a[0] == a[1]) & (b[0] == b[1]) & (a[0] == b[0])
    return _truth(single, (a[0] <= b[1]) & (b[0] <= a[1]))


def _not(a: Interval) -> Interval:
    return 1 - a[1], 1 - a[0]


def _abs(a: Interval) -> Interval:
    low, high = a
    nearest = torch.maximum(torch.maximum(low, -high), torch.zeros_like(low))
    return nearest, torch.maximum(low.abs(), high.abs())


def _monotone(apply: Callable[[Tensor], Tensor]) -> Callable[[Interval], Interval]:
    return lambda a: (apply(a[0]), apply(a[1]))


def _pairwise(
    apply: Callable[[Tensor, Tensor], Tensor],
) -> Callable[[Interval, Interval], Interval]:
    return lambda a, b: (apply(a[0], b[0]), apply(a[1], b[1]))


def _same(a: Interval) -> Interval:
    return a


_RULES: dict[str, Callable[..., Interval]] = {
    "+": _pairwise(torch.add),
    "-": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "neg": lambda a: (-a[1], -a[0]),
    "*": _multiply,
    "//": _floor_divide,
    "%": _modulo,
    "whole %": lambda a, b: _modulo(a, b, 1.0),
    "min": _pairwise(torch.minimum),
    "max": _pairwise(torch.maximum),
    "clip": lambda a, b, c: _pairwise(torch.minimum)(_pairwise(torch.maximum)(a, b), c),
    "abs": _abs,
    "where": _where,
    "<": lambda a, b: _truth(a[1] < b[0], a[0] < b[1]),
    "<=": lambda a, b: _truth(a[1] <= b[0], a[0] <= b[1]),
    ">": lambda a, b: _truth(a[0] > b[1], a[1] > b[0]),
    ">=": lambda a, b: _truth(a[0] >= b[1], a[1] >= b[0]),
    "==": _equal,
    "!=": lambda a, b: _not(_equal(a, b)),
    "and": lambda *a: (_least([i[0] for i in a]), _least([i[1] for i in a])),
    "or": lambda *a: (_most([i[0] for i in a]), _most([i[1] for i in a])),
    "not": _not,
    "real": _same,
    "as_ref": _same,
    "detach": _same,
    "int": _monotone(torch.trunc),
    "floor": _monotone(torch.floor),
    "ceil": _monotone(torch.ceil),
    "round": _monotone(torch.round),
}


def _least(items: Sequence[Tensor]) -> Tensor:
    total = items[0]
    for item in items[1:]:
        total = torch.minimum(total, item)
    return total


def _most(items: Sequence[Tensor]) -> Tensor:
    total = items[0]
    for item in items[1:]:
        total = torch.maximum(total, item)
    return total
