"""Arithmetic with the rules of the language, of arrays and of Python's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def as_real(value: Any, like: Tensor | None) -> Any:
    """An int or bool as a real, float32 at least, float64 where the module is."""
    if not isinstance(value, Tensor):
        return torch.sym_float(value)
    dtype = torch.float32 if like is None else torch.promote_types(like.dtype, torch.float32)
    return value.to(dtype)


def narrow(value: Tensor, like: Tensor) -> Tensor:
    """A real in the dtype of the module's parameters."""
    return value.to(like.dtype)


def same_dtype(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Two reals in the wider of their dtypes."""
    dtype = torch.promote_types(left.dtype, right.dtype)
    return left.to(dtype), right.to(dtype)


def scalar(value: Any, like: Tensor) -> Tensor:
    """A number as a tensor without dims."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, bool):
        return torch.full((), value, dtype=torch.bool, device=like.device)
    if isinstance(value, int | torch.SymInt):
        size: Any = value
        return torch.full((), size, dtype=torch.int64, device=like.device)
    dtype = torch.promote_types(like.dtype, torch.float32) if like.is_floating_point() else None
    return torch.full((), value, dtype=dtype, device=like.device)


def floor_divide(left: Any, right: Any) -> Any:
    """floor(a / b), for ints too; of ints 0 where b is 0. Gradients through it are 0."""
    if isinstance(right, Tensor) and not right.is_floating_point():
        zero = right == 0
        return torch.where(zero, 0, _floored(left, torch.where(zero, 1, right)))
    return left * 0 if isinstance(right, int) and right == 0 else _floored(left, right)


def _floored(left: Any, right: Any) -> Any:
    """floor(a / b) by the function of torch that has a derivative."""
    if not isinstance(left, Tensor) and not isinstance(right, Tensor):
        return left // right
    left = left if isinstance(left, Tensor) else scalar(left, right)
    return torch.div(left, right, rounding_mode="floor")


def modulo(left: Any, right: Any) -> Any:
    """a - b * floor(a / b), for ints too; of ints a where b is 0."""
    if isinstance(right, Tensor) and not right.is_floating_point():
        zero = right == 0
        return torch.where(zero, left, left % torch.where(zero, 1, right))
    if isinstance(right, Tensor):  # of a number by an array torch has no derivative
        left = scalar(left, right)
    return left if isinstance(right, int) and right == 0 else left % right


def ceil_divide(left: Any, right: Any) -> Any:
    """ceil(a / b)."""
    return -floor_divide(-left, right)


def leaky_relu(value: Any, slope: Any) -> Tensor:
    """a where it is positive, else slope * a; the slope may be an array."""
    if not isinstance(slope, Tensor):
        return torch.nn.functional.leaky_relu(value, slope)
    value = scalar(value, slope)
    return torch.where(value > 0, value, slope * value)


def power(base: Any, exponent: Any) -> Any:
    """a to the power b; a small whole exponent is repeated multiplication."""
    if not isinstance(exponent, Tensor) and exponent == 2:
        return base * base
    return base**exponent


def maximum(left: Any, right: Any) -> Any:
    """The larger of two, tensors or numbers."""
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return torch.maximum(left, right)
    if isinstance(left, Tensor):
        return _at_least(left, right)
    if isinstance(right, Tensor):
        return _at_least(right, left)
    if isinstance(left, int) and isinstance(right, int):  # torch 2.11 traces no other for numbers
        return max(left, right)
    return torch.sym_max(left, right)


def _at_least(value: Tensor, low: Any) -> Tensor:
    """The larger of two, the second a number.

    Places that are clamped to 0 or 1 and then divided, as by a view, are none for inductor: it asks for
    the range of its loop's variable where it knows of none, `vr must not be None` (torch 2.11 to 2.13).
    """
    if torch.compiler.is_compiling() and not value.is_floating_point():
        return torch.where(value > low, value, low)
    return value.clamp(min=low)


def minimum(left: Any, right: Any) -> Any:
    """The smaller of two, tensors or numbers."""
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return torch.minimum(left, right)
    if isinstance(left, Tensor):
        return left.clamp(max=right)
    if isinstance(right, Tensor):
        return right.clamp(max=left)
    if isinstance(left, int) and isinstance(right, int):
        return min(left, right)
    return torch.sym_min(left, right)


def clip(value: Any, low: Any, high: Any) -> Any:
    """min(max(a, lo), hi)."""
    return minimum(maximum(value, low), high)


def safe_divide(left: Any, right: Any) -> Any:
    """a / b, and 0 with gradient 0 where b is 0."""
    if isinstance(right, int | float | torch.SymInt | torch.SymFloat):
        return left * 0 if right == 0 else left / right
    zero = right == 0
    return torch.where(zero, 0.0, left / torch.where(zero, 1.0, right))


def integer(value: Any) -> Any:
    """A number as an int, towards zero."""
    return value.to(torch.int64) if isinstance(value, Tensor) else int(value)


def detach(value: Any) -> Any:
    """The value without its gradient."""
    return value.detach() if isinstance(value, Tensor) else value


def softplus(value: Tensor) -> Tensor:
    """log(1 + exp(a)), exact for all a (torch's own is linear above 20)."""
    return torch.logaddexp(value, torch.zeros_like(value))


def filled(like: Tensor, shape: Sequence[int], value: float | int | bool) -> Tensor:
    """A constant array: bool, int64, or the real dtype of like."""
    if isinstance(value, bool):
        return torch.full(tuple(shape), value, dtype=torch.bool, device=like.device)
    dtype = torch.int64 if isinstance(value, int) else like.dtype
    return torch.full(tuple(shape), value, dtype=dtype, device=like.device)


def identity_matrix(like: Tensor, size: int) -> Tensor:
    """The identity matrix."""
    return torch.eye(size, dtype=like.dtype, device=like.device)
