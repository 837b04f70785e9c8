"""Calls whose graph is one kernel, made without the graph: what short calls take is mostly Python."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, fx, nn
from torch.nn.modules.module import _has_any_global_hook

from ..compiler import torch_ops
from .kernels.attend import FusedAttend
from .kernels.launch import BeyondTable

#: functions of torch's arrays that read of some arguments only where they are and what they hold
_LIKE = {torch_ops.positions: 0, torch_ops.as_real: 1}
#: numbers of all arrays that are kept for a layout
MOST_NUMBERS = 1 << 14


class _Differs(Exception):
    """A node depends on the numbers that a call gives."""


def straight(
    module: nn.Module, graph: fx.Graph, given: Mapping[str, Any]
) -> Callable[..., Any] | None:
    """A function of a module and what it is given that makes what a graph does; None where that is not one kernel.

    It is right for calls of the same shapes, strides and dtypes where nothing wants gradients. What the
    kernel is given beside is made once: positions, and what follows from them.

    given   the arguments of the graph, in its order
    """
    call = _kernel_call(graph)
    step = None if call is None else module.get_submodule(call.target)
    if not isinstance(step, FusedAttend) or not step.kernel.is_placed or step.kernel.has_lse:
        return None
    known = _Known(graph, given)
    try:
        sizes = known.value(call.args[0])
        kept, order = known.arrays(call.args[1:])
    except _Differs:
        return None
    arrays = _in_order((*given.values(), *kept), order)
    ready = step.launcher.ready(sizes, arrays)
    if ready.dtype is not arrays[0].dtype or sum(item.numel() for item in kept) > MOST_NUMBERS:
        return None

    def called(_: Any, *args: Tensor) -> Any:
        arrays = _in_order((*args, *kept), order)
        if step._forward_hooks or step._forward_pre_hooks or _has_any_global_hook():
            return step(sizes, *arrays)[0]
        try:
            return ready.made(arrays, False)[0]
        except BeyondTable:
            return step(sizes, *arrays)[0]

    return called


def _in_order(arrays: tuple[Tensor, ...], order: list[int]) -> list[Tensor]:
    return [arrays[place] for place in order]


def _kernel_call(graph: fx.Graph) -> Any:
    """The call of a module whose first result is that of the graph; None if that is something else."""
    (end,) = (node for node in graph.nodes if node.op == "output")
    made: Any = end.args[0]
    if not isinstance(made, fx.Node) or made.target is not operator.getitem or made.args[1] != 0:
        return None
    call: Any = made.args[0]
    return call if call.op == "call_module" else None


class _Known:
    """What of a graph follows from the kind of its arguments."""

    def __init__(self, graph: fx.Graph, given: Mapping[str, Any]) -> None:
        own = [node for node in graph.nodes if node.op == "placeholder"]
        self.given = dict(zip(own, given.values(), strict=True))
        self.values: dict[fx.Node, Any] = {}

    def arrays(self, nodes: Any) -> tuple[list[Tensor], list[int]]:
        """What some nodes are beside the arguments; the places of all among the arguments and these."""
        own, kept, order = list(self.given), list[Tensor](), []
        for node in nodes:
            if node in self.given:
                order.append(own.index(node))
                continue
            value = self.value(node)
            if not isinstance(value, Tensor):
                raise _Differs
            order.append(len(own) + len(kept))
            kept.append(value)
        return kept, order

    def value(self, item: Any) -> Any:
        """What a node, or a list of nodes, is."""
        if isinstance(item, list | tuple):
            return [self.value(one) for one in item]
        if not isinstance(item, fx.Node):
            return item
        if item not in self.values:
            self.values[item] = self._made(item)
        return self.values[item]

    def _made(self, node: fx.Node) -> Any:
        args: list[Any] = list(node.args)
        if node.op == "call_method" and node.target == "size" and args[0] in self.given:
            return self.given[args[0]].size(args[1])
        function: Any = node.target
        if node.op != "call_function":
            raise _Differs
        like = _LIKE.get(function, -1)
        return function(
            *(
                self.given[arg]
                if place == like and arg in self.given
                else fx.map_arg(arg, self.value)
                for place, arg in enumerate(args)
            ),
            **fx.map_arg(node.kwargs, self.value),
        )
