"""What each pointwise operator means, in float64, with gradients that are never NaN by accident.

A gradient of exactly 0 stays 0 through every operator, whatever the derivative: what a `where` did not
take and what a reduction left out has no influence, even where its derivative is infinite or NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...dsl.operators import POINTWISE
from .values import FAR

Function = Callable[..., Tensor]


def _subtract(a: Tensor, b: Tensor) -> Tensor:
    """a - b, where -inf minus anything stays -inf: what is not there cannot come back as NaN."""
    if not a.is_floating_point():
        return a - b
    return torch.where(a == -torch.inf, a, a - b)


def _floor_divide(a: Tensor, b: Tensor) -> Tensor:
    """floor(a / b); an int divided by 0 is 0."""
    if b.is_floating_point():
        return torch.floor(a / b)
    quotient = torch.div(a, torch.where(b == 0, 1, b), rounding_mode="floor")
    return torch.where(b == 0, 0, quotient)


def _ceil_divide(a: Tensor, b: Tensor) -> Tensor:
    return torch.ceil(a / b) if b.is_floating_point() else -_floor_divide(-a, b)


def _remainder(a: Tensor, b: Tensor) -> Tensor:
    """a - b * floor(a / b); of an int and 0 it is a."""
    return a - b * _floor_divide(a, b)


def _power(a: Tensor, b: Tensor) -> Tensor:
    """a ** b; an int to a negative int is rounded towards 0."""
    if a.is_floating_point():
        return torch.pow(a, b)
    whole = torch.pow(a, b.clamp(min=0))
    sign = torch.where(b % 2 == 0, 1, a)
    return torch.where(b >= 0, whole, torch.where(a.abs() == 1, sign, 0))


def _safe_divide(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(b == 0, 0.0, a / torch.where(b == 0, 1.0, b))


def _leaky_relu(a: Tensor, slope: Tensor) -> Tensor:
    return torch.where(a > 0, a, slope * a)


def _elu(a: Tensor) -> Tensor:
    return torch.where(a > 0, a, torch.expm1(a.clamp(max=0)))


def _silu(a: Tensor) -> Tensor:
    return a * torch.sigmoid(a)


def _gelu(a: Tensor) -> Tensor:
    return a * (1 + torch.erf(a / 2**0.5)) / 2


def _softplus(a: Tensor) -> Tensor:
    return torch.logaddexp(a, torch.zeros_like(a))


def _integer(a: Tensor) -> Tensor:
    """Towards zero; NaN is 0, and what is beyond the ints is FAR."""
    if not a.is_floating_point():
        return a.long()
    bound = float(FAR)
    return torch.nan_to_num(a.detach(), 0.0, bound, -bound).clamp(-bound, bound).long()


def _real(a: Tensor) -> Tensor:
    return a.double()


def _identity(a: Tensor) -> Tensor:
    return a


FUNCTIONS: dict[str, Function] = {
    "neg": torch.neg,
    "+": torch.add,
    "-": _subtract,
    "*": torch.mul,
    "/": torch.div,
    "//": _floor_divide,
    "%": _remainder,
    "**": _power,
    "<": torch.lt,
    "<=": torch.le,
    ">": torch.gt,
    ">=": torch.ge,
    "==": torch.eq,
    "!=": torch.ne,
    "not": torch.logical_not,
    "and": torch.logical_and,
    "or": torch.logical_or,
    "where": torch.where,
    "min": torch.minimum,
    "max": torch.maximum,
    "clip": torch.clamp,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": torch.log,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "sign": torch.sign,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "leaky_relu": _leaky_relu,
    "gelu": _gelu,
    "silu": _silu,
    "elu": _elu,
    "softplus": _softplus,
    "sin": torch.sin,
    "cos": torch.cos,
    "erf": torch.erf,
    "safe_div": _safe_divide,
    "ceil_div": _ceil_divide,
    "real": _real,
    "int": _integer,
    "detach": torch.detach,
    "as_ref": _identity,
}


def apply(name: str, args: list[Tensor]) -> Tensor:
    """An operator of arguments that broadcast."""
    if POINTWISE[name].rule in ("real", "divide"):
        args = [arg.double() for arg in args]
    for _, default in POINTWISE[name].keywords[len(args) - POINTWISE[name].least :]:
        args = [*args, torch.tensor(default, dtype=torch.float64)]
    wide = list(torch.broadcast_tensors(*args))
    result = FUNCTIONS[name](*wide)
    if result.requires_grad:
        _keep_zeros(result, wide)
    return result


def _keep_zeros(result: Tensor, args: list[Tensor]) -> None:
    """Where the gradient of the result is 0, that of each argument is 0."""
    silent: dict[str, Tensor] = {}

    def look(gradient: Tensor | None) -> None:  # None: no gradient, in a double backward
        silent.clear()
        if gradient is not None:
            silent["places"] = gradient == 0

    def cut(gradient: Tensor | None) -> Tensor | None:
        if gradient is None or "places" not in silent:
            return gradient
        return torch.where(silent["places"], 0.0, gradient)

    result.register_hook(look)
    for arg in args:
        if arg.requires_grad and arg is not result:
            arg.register_hook(cut)
