"""Programs evaluated on values: at pairs, or along one line of pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from .. import torch_ops as ops
from ..torch_meanings import function_of
from .program import Instruction, operands

Evaluate = Callable[[int], Any]


class NoValue(Exception):
    """A mask reads something that its program does not hold."""


def evaluate(
    steps: Sequence[Instruction], inputs: Sequence[Any], dims: Mapping[str, int], real: torch.dtype
) -> Any:
    """The value of the last step.

    Shapes:
        inputs   broadcast against each other; dims says at which dim each axis of `exists` and
                 `forall` stands, counted from the end
    """
    last: dict[int, int] = {}
    for place, step in enumerate(steps):
        last.update(dict.fromkeys(operands(step), place))
    known: dict[int, Any] = {}
    for place, step in enumerate(steps):
        args = [known[n] for n in operands(step)]
        known[place] = applied(step, args, inputs, dims, real)
        for n in set(operands(step)):
            if last[n] == place:
                del known[n]
    return known[len(steps) - 1]


def applied(
    step: Instruction,
    args: list[Any],
    inputs: Sequence[Any],
    dims: Mapping[str, int],
    real: torch.dtype,
) -> Any:
    """The value of one step, from those of its operands."""
    match step.op:
        case "input":
            return inputs[step.args[0]]
        case "const":
            return torch.tensor(step.args[0])
        case "some" | "any":
            raise NoValue
        case "exists" | "forall":
            found = args[0]
            for name in step.args[1:]:
                if found.dim() >= -dims[name]:
                    reduce = found.any if step.op == "exists" else found.all
                    found = reduce(dims[name], keepdim=True)
            return found
        case "real":
            return args[0].to(torch.promote_types(real, torch.float32))
        case "as_ref":
            return args[0]
        case "whole %":
            return ops.modulo(*args)
    return function_of(step.op)(*args)
