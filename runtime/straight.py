"""Calls whose graph is one kernel, made without the graph: what short calls take is mostly Python."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from ..compiler import torch_ops
from .kernels.attend import FusedAttend

#: functions of torch's arrays that read of some arguments only where they are and what they hold
_LIKE = {torch_ops.positions: 0, torch_ops.as_real: 1}
#: numbers of arrays that are kept for a call
KEPT = 1 << 14


class _Differs(Exception):
    """A node depends on the numbers that a call gives."""


def straight(
    module: nn.Module, graph: fx.Graph, given: Mapping[str, Any]
) -> Callable[..., Any] | None:
    """A function of a module and what it is given that makes what a graph does; None where that is not one kernel.

    It is right for calls of the same shapes, strides and dtypes where nothing wants gradients. What the
    kernel is given beside is made once: positions, and what follows from them.
    """
    (end,) = (node for node in graph.nodes if node.op == "output")
    node: Any = end.args[0]
    if not _is_call(node, operator.getitem) or node.args[1] != 0:
        return None
    call = node.args[0]
    step = module.get_submodule(call.target) if call.op == "call_module" else None
    if not isinstance(step, FusedAttend) or not step.kernel.is_placed:
        return None
    known = _Known(given, {})
    names = list(given)
    sizes, *arrays = call.args
    try:
        sizes = [known.value(item) for item in sizes]
        found = [
            names.index(item.name) if item.op == "placeholder" else known.value(item)
            for item in arrays
        ]
    except _Differs:
        return None
    if sum(item.numel() for item in found if isinstance(item, Tensor)) > KEPT:
        return None
    held = [given[names[item]] if isinstance(item, int) else item for item in found]
    ready = step.launcher.ready(sizes, held)
    if step.kernel.has_lse or ready.dtype is not held[0].dtype:
        return None

    def made(module: Any, *args: Tensor) -> Any:
        if step._forward_hooks or step._forward_pre_hooks:
            return step(sizes, *_filled(found, args))[0]
        return ready.made(_filled(found, args), False)[0]

    return made


def _filled(found: list[Any], args: tuple[Tensor, ...]) -> list[Tensor]:
    return [args[item] if type(item) is int else item for item in found]


def _is_call(node: Any, function: Any) -> bool:
    return isinstance(node, fx.Node) and node.op == "call_function" and node.target is function


@dataclass(frozen=True)
class _Known:
    """What of a graph follows from the kind of its arguments."""

    given: Mapping[str, Any]
    values: dict[fx.Node, Any]

    def value(self, item: Any) -> Any:
        if not isinstance(item, fx.Node):
            return item
        if item not in self.values:
            self.values[item] = self._made(item)
        return self.values[item]

    def _made(self, node: fx.Node) -> Any:
        args: list[Any] = list(node.args)
        if node.op == "call_method" and node.target == "size":
            return self.given[args[0].name].size(args[1])
        function: Any = node.target
        if node.op != "call_function":
            raise _Differs
        like = _LIKE.get(function, -1)
        return function(
            *(
                self.given[arg.name]
                if place == like and arg.op == "placeholder"
                else fx.map_arg(arg, self.value)
                for place, arg in enumerate(args)
            ),
            **fx.map_arg(node.kwargs, self.value),
        )
