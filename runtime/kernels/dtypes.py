"""The texts of a kernel for the dtypes of a call: each combination that is met is built once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from ...compiler.codegen.kernel import Sources
from ...compiler.codegen.layout import Argument

#: the dtypes of reals that kernels read and write, by their names in C++
TYPES = {torch.float32: "float", torch.bfloat16: "bf16", torch.float16: "fp16"}


def kept(array: Tensor) -> torch.dtype:
    """The dtype in which an array of reals is read; of the values, in which the result is written."""
    return array.dtype if array.dtype in TYPES else torch.float32


def of_result(values: Tensor) -> torch.dtype:
    """That of the result: of the values, and under autocast what torch's own products give."""
    if torch.is_autocast_enabled("cpu") and values.dtype is not torch.float64:
        return torch.get_autocast_dtype("cpu")
    return values.dtype


def types(arguments: Sequence[Argument], arrays: Sequence[Tensor] | None) -> tuple[str, ...]:
    """The C++ types of real arrays, float32 where there are none; empty for the others."""
    if arrays is None:
        return tuple("float" if item.real else "" for item in arguments)
    pairs = zip(arguments, arrays, strict=True)
    return tuple(TYPES[kept(array)] if item.real else "" for item, array in pairs)


@cache
def forward(sources: Sources, names: tuple[str, ...]) -> str:
    """The text of the forward: the same object each time, by which a library is found fast."""
    return _named(names) + sources.forward


@cache
def backward(sources: Sources, names: tuple[str, ...], wanted: tuple[bool, ...]) -> str:
    """The text of the backward, for the leaves that are wanted."""
    told = "".join(f"#define WANT_{place} {int(want)}\n" for place, want in enumerate(wanted))
    return _named(names) + told + sources.backward


def _named(names: tuple[str, ...]) -> str:
    return "".join(f"#define TYPE_{place} {name}\n" for place, name in enumerate(names) if name)
