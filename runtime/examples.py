"""Example calls: random arguments that fit a module at a length, for pictures and measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from ..dsl.core import Axis, Kind, Type

if TYPE_CHECKING:
    from .module import Module


#: tokens of a stream that has tokens of its own, such as the global ones of a long input
OWN = 64


def example(
    module: Module,
    length: int,
    context: int | None = None,
    *,
    batch: int = 1,
    seed: int = 0,
    optional: bool = False,
) -> dict[str, Tensor]:
    """Everything that a call of a module must give, by name; with `optional`, all inputs.

    Reals are normal, ints uniform in their declared range (0 and 1 without one), bools fair.
    `context` is the length of the keys where the call gives them: as many as queries unless told.
    A stream with tokens of its own has at most OWN of them, however long the input.
    """
    spec = module.spec
    lengths = {name: min(length, OWN) for name in spec.streams}
    lengths["context"] = length if context is None else context
    generator = torch.Generator().manual_seed(seed)

    def made(kind: Type, bounds: tuple[int, int] | None = None) -> Tensor:
        sizes = [_size(axis, lengths.get(axis.name, length), batch) for axis in kind.ordered]
        return _random((*sizes, *(dim.value for dim in kind.dims)), kind.kind, bounds, generator)

    width = int(spec.dims.get("d_model", 1))
    call: dict[str, Tensor] = {}
    if "x" in module.argument_names:
        call["x"] = torch.randn(batch, length, width, generator=generator)
    if spec.memory and "context" in module.argument_names:
        call["context"] = torch.randn(batch, lengths["context"], width, generator=generator)
    for info in spec.inputs.values():
        if optional or info.default is None:
            call[info.name] = made(info.type, info.bounds)
    for stream in spec.streams.values():
        if stream.first is None:
            call[stream.name] = made(stream.type)
    return call


def inputs_of(module: Module, length: int, seed: int = 0) -> dict[str, Tensor]:
    """The inputs that a call of so many tokens must give besides tokens; none over pairs.

    Reals are normal, ints uniform in their declared range (0 and 1 without one), bools fair.
    """
    found: dict[str, Tensor] = {}
    for info in module.spec.inputs.values():
        if info.default is None and len(info.type.tokens) < 2:
            sizes = [_size(axis, length, 1) for axis in info.type.ordered]
            shape = (*sizes, *(dim.value for dim in info.type.dims))
            generator = torch.Generator().manual_seed(seed)
            found[info.name] = _random(shape, info.type.kind, info.bounds, generator)
    return found


def _size(axis: Axis, length: int, batch: int) -> int:
    """An axis of no fixed size is as long as its tokens."""
    if axis.role == "batch":
        return batch
    return length if axis.size is None else axis.size.value


def _random(
    shape: tuple[int, ...], kind: Kind, bounds: tuple[int, int] | None, generator: Generator
) -> Tensor:
    if kind is Kind.REAL:
        return torch.randn(shape, generator=generator)
    low, high = bounds or (0, 1)
    made = torch.randint(int(low), int(high) + 1, shape, generator=generator)
    return made.bool() if kind is Kind.BOOL else made
