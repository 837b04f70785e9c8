"""Three-valued evaluation of masks: on the smallest and largest value that inputs take in a block.

Sound for every mask: a truth value is called sure, or impossible, only where it is at every pair of the block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from .program import Instruction

#: beyond this float64 rounds whole numbers
LARGEST = 2.0**53 - 1
#: how many times the precision of a real, and how much at least, one step of arithmetic may be off
ULPS, LEAST = 16, 1e-30

#: smallest and largest value by block, as float64; truth values are 0 and 1
Interval: TypeAlias = tuple[Tensor, Tensor]


def apply(
    step: Instruction, args: Sequence[Interval], dims: Mapping[str, int], eps: float
) -> Interval:
    """The interval of a step (no input), from those of its operands.

    dims   where the axes of `exists` and `forall` stand, counted from the end
    eps    the relative precision of reals in the call
    """
    if step.op == "const":
        value = torch.tensor(float(step.args[0]), dtype=torch.float64)
        return exact((value, value))
    if step.op in ("exists", "forall"):
        return _reduced(step, args[0], dims)
    rule = _RULES.get(step.op)
    if rule is None:
        return unknown(step.op)
    found = rule(*args)
    if step.op in _TRUTH:
        return found
    return exact(_rounded(found, eps) if step.rounds and step.op not in _COPIES else found)


def exact(found: Interval) -> Interval:
    """The interval, or everything where float64 does not tell ints from their neighbours."""
    low, high = found
    inside = (low >= -LARGEST) & (high <= LARGEST)
    if bool(inside.all()):
        return found
    return low.where(inside, -math.inf), high.where(inside, math.inf)


def _rounded(found: Interval, eps: float) -> Interval:
    """The interval with room for what arithmetic of the call's precision makes of it."""
    low, high = found
    room = ULPS * eps
    return low - room * low.abs() - LEAST, high + room * high.abs() + LEAST


def _reduced(step: Instruction, found: Interval, dims: Mapping[str, int]) -> Interval:
    low, high = found
    for name in step.args[1:]:
        if name not in dims or low.dim() < -dims[name]:
            continue
        dim = dims[name]
        if step.op == "exists":
            low, high = low.amax(dim, keepdim=True), high.amax(dim, keepdim=True)
        else:
            low, high = low.amin(dim, keepdim=True), high.amin(dim, keepdim=True)
    return low, high


def unknown(op: str) -> Interval:
    """Any truth value, or any number."""
    if op in (*_TRUTH, "some"):
        return torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    infinite = torch.tensor(math.inf, dtype=torch.float64)
    return -infinite, infinite


#: operators whose result is one of their operands, or a whole number
_COPIES = frozenset(
    "min max clip where abs neg relu sign floor ceil round as_ref detach real".split()
)
_TRUTH = ("<", "<=", ">", ">=", "==", "!=", "and", "or", "not")


def _truth(surely: Tensor, maybe: Tensor) -> Interval:
    return surely.double(), maybe.double()


def _multiply(a: Interval, b: Interval) -> Interval:
    products = [(x * y).nan_to_num(0.0, math.inf, -math.inf) for x in a for y in b]
    low, high = products[0], products[0]
    for item in products[1:]:
        low, high = torch.minimum(low, item), torch.maximum(high, item)
    return low, high


def _quotient(a: Tensor, b: Tensor) -> Tensor:
    """floor(a / b) for b > 0, exactly: near large whole quotients a / b rounds to them."""
    found = torch.floor(a / b)
    found = found - (found * b > a).double()
    return found + ((found + 1) * b <= a).double()


def _divide(a: Interval, b: Interval) -> Interval:
    """a / b for b > 0; everything else may be anything."""
    positive = (b[0] > 0) & b[1].isfinite() & a[0].isfinite() & a[1].isfinite()
    bottom = tuple(torch.where(positive, item, 1.0) for item in b)
    quotients = [x / y for x in a for y in bottom]
    low, high = _least(quotients), _most(quotients)
    inf = torch.tensor(math.inf, dtype=torch.float64)
    return torch.where(positive, low, -inf), torch.where(positive, high, inf)


def _ceil_divide(a: Interval, b: Interval) -> Interval:
    low, high = _floor_divide((-a[1], -a[0]), b)
    return -high, -low


def _floor_divide(a: Interval, b: Interval) -> Interval:
    (low, high), (c, d) = a, b
    positive = (c == d) & (c > 0)
    inf = torch.tensor(math.inf, dtype=torch.float64)
    safe = torch.where(positive, c, 1.0)
    below, above = _quotient(low, safe), _quotient(high, safe)
    return torch.where(positive, below, -inf), torch.where(positive, above, inf)


def _modulo(a: Interval, b: Interval, step: float = 0.0) -> Interval:
    """step: 1 for whole numbers, whose remainder stays that much below the divisor."""
    (low, high), (c, d) = a, b
    positive = (c == d) & (c > 0)
    size = torch.where(positive, c, 1.0)
    base = _quotient(low, size)
    once = positive & (base == _quotient(high, size)) & low.isfinite()
    inf = torch.tensor(math.inf, dtype=torch.float64)
    least = torch.where(once, low - size * base, 0.0)
    most = torch.where(once, high - size * base, size - step)
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


def _as_real(a: Interval) -> Interval:
    """The number as float32 has it, or as it is: which of them the module decides."""
    low, high = a
    return torch.minimum(low, low.float().double()), torch.maximum(high, high.float().double())


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
    "real": _as_real,
    "/": _divide,
    "ceil_div": _ceil_divide,
    "relu": _monotone(torch.relu),
    "sign": _monotone(torch.sign),
    "exp": _monotone(torch.exp),
    "expm1": _monotone(torch.expm1),
    "tanh": _monotone(torch.tanh),
    "sigmoid": _monotone(torch.sigmoid),
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
