"""The torch meaning of each pointwise operator."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch

from ..dsl.operators import COMPARISONS, POINTWISE
from . import torch_ops as ops

_INFIX: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": ops.floor_divide,
    "%": ops.modulo,
    "**": ops.power,
    **COMPARISONS,
    "and": operator.and_,
    "or": operator.or_,
    "neg": operator.neg,
    "not": torch.logical_not,
    "min": ops.minimum,
    "max": ops.maximum,
    "clip": ops.clip,
}


def function_of(op: str) -> Callable[..., Any]:
    """The torch meaning of a pointwise operator, from its row."""
    if op in _INFIX:
        return _INFIX[op]
    name = POINTWISE[op].torch
    if "." not in name:
        own: dict[str, Callable[..., Any]] = {
            "safe_divide": ops.safe_divide,
            "ceil_divide": ops.ceil_divide,
            "leaky_relu": ops.leaky_relu,
            "softplus": ops.softplus,
            "integer": ops.integer,
            "detach": ops.detach,
        }
        return own[name]
    found: Any = torch
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    function: Callable[..., Any] = found
    return function
