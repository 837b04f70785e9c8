"""The parameters, buffers and layers of a compiled spec: declared, shared, drawn, and grouped for optimisers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..dsl.core import Linear, Node, Norm
from . import initial

if TYPE_CHECKING:
    from .module import Module


def declare(module: Module, nodes: Iterable[Node]) -> None:
    """Register what some nodes read: weights, learned maps and norms, and states."""
    spec = module.spec
    for info in spec.weights.values():
        if info.name in module._params:
            tensor = torch.empty(initial.shape_of(info))
            module.register_parameter(info.name, nn.Parameter(tensor))
    owners = {node.name: node for node in nodes if isinstance(node, Linear | Norm) and node.name}
    for name, node in owners.items():
        put(module, name, _layer(node))
    for state in spec.states.values():
        if state.name in module._params or state.name in spec.updates:
            tensor = (
                initial.draw(state, module.options.seed, f"{module._path}{state.name}")
                if state.random
                else torch.empty(initial.shape_of(state))
            )
            if not state.random:
                initial.fill(tensor, state.init, len(state.axes))
            module.register_buffer(state.name, tensor)


def put(module: nn.Module, path: str, inner: nn.Module) -> None:
    """Add a module under a path, whose other parts are made where they lack."""
    *outer, last = path.split(".")
    place = module
    for name in outer:
        if name not in dict(place.named_children()):
            place.add_module(name, nn.Module())
        place = place.get_submodule(name)
    place.add_module(last, inner)


def tie(modules: Iterable[Module]) -> None:
    """Weights with `shared: model` are one array in every instance of their spec."""
    first: dict[tuple[str, str], nn.Parameter] = {}
    for module in modules:
        for info in module.spec.weights.values():
            if info.shared and info.name in module._params:
                own = module.get_parameter(info.name)
                kept = first.setdefault((module.spec.name, info.name), own)
                module.register_parameter(info.name, kept)


@torch.no_grad()
def reset(module: Module) -> None:
    """Draw new starting values; those that copy others come last."""
    copies: list[tuple[Tensor, str]] = []
    for info in module.spec.weights.values():
        if info.name in module._params:
            _reset(module.get_parameter(info.name), info.init, len(info.axes), copies)
    for name, (node, init) in module.spec.owners.items():
        if isinstance(node, Linear) and name in dict(module.named_modules()):
            _reset_linear(module.get_submodule(name), init, copies)
    for target, source in copies:
        target.copy_(module.get_parameter(source))


def _reset(target: Tensor, init: str | float, axes: int, copies: list[tuple[Tensor, str]]) -> None:
    if isinstance(init, str) and init.startswith("="):
        copies.append((target, init[1:]))
    else:
        initial.fill(target, init, axes)


def _reset_linear(layer: nn.Module, init: str | float, copies: list[tuple[Tensor, str]]) -> None:
    weight, bias = layer.get_parameter("weight"), getattr(layer, "bias", None)
    if isinstance(init, str) and init.startswith("="):
        copies.append((weight, f"{init[1:]}.weight"))
        if bias is not None:
            copies.append((bias, f"{init[1:]}.bias"))
        return
    initial.fill(weight, "xavier" if init == "linear" else init, 0)
    if bias is not None:
        nn.init.zeros_(bias)


def decay_groups(module: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Groups for an optimiser: arrays of two dims and more decay, unless their spec says otherwise."""
    with_decay: list[nn.Parameter] = []
    without: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        plain = parameter.dim() >= 2 and not _is_exempt(module, name)
        (with_decay if plain else without).append(parameter)
    return [
        {"params": with_decay, "weight_decay": decay},
        {"params": without, "weight_decay": 0.0},
    ]


def _is_exempt(module: nn.Module, name: str) -> bool:
    """Whether the spec of a parameter keeps it from decay; layers have none."""
    path, _, last = name.rpartition(".")
    spec = getattr(module.get_submodule(path), "spec", None)
    info = None if spec is None else spec.weights.get(last)
    return info is not None and not info.decay


def _layer(node: Linear | Norm) -> nn.Module:
    if isinstance(node, Norm):
        shape = [dim.value for dim in node.type.dims]
        if node.op == "layer":
            return nn.LayerNorm(shape, node.eps)
        return nn.RMSNorm(shape, node.eps)
    inner = 1
    for dim in node.arg.type.dims:
        inner *= dim.value
    outer = 1
    for axis in node.to_axes:
        assert axis.size is not None
        outer *= axis.size.value
    for dim in node.to_dims:
        outer *= dim.value
    return nn.Linear(inner, outer, node.bias)
