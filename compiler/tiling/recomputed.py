"""The backward pass of tiles, which computes each of them again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .layout import Tile
from .parts import give_back, of_tile

if TYPE_CHECKING:
    from .attend import TiledAttend


class Recomputed(torch.autograd.Function):
    """Tiles one after the other; the backward computes each again."""

    @staticmethod
    def forward(ctx: Any, owner: TiledAttend, tiles: list[Tile], *args: Any) -> tuple[Tensor, ...]:
        places = [n for n, item in enumerate(args) if isinstance(item, Tensor)]
        ctx.save_for_backward(*(args[n] for n in places))
        ctx.owner, ctx.tiles, ctx.places = owner, tiles, places
        ctx.others = [None if n in places else item for n, item in enumerate(args)]
        kind = args[places[0]].device.type
        ctx.autocast = (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
        return owner.filled(tiles, args)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        args = list(ctx.others)
        for place, item in zip(ctx.places, ctx.saved_tensors, strict=True):
            args[place] = item
        wanted = [n for n in range(len(args)) if ctx.needs_input_grad[n + 2]]
        kind, enabled, dtype = ctx.autocast
        with torch.autocast(kind, dtype=dtype, enabled=enabled):
            batched = any(map(torch._C._functorch.is_legacy_batchedtensor, grads))
            if torch.is_grad_enabled() or batched:
                found = _differentiable(ctx.owner, ctx.tiles, args, wanted, grads)
            else:
                found = _accumulated(ctx.owner, ctx.tiles, args, wanted, grads)
        by_place = dict(zip(wanted, found, strict=True))
        return None, None, *(by_place.get(n) for n in range(len(args)))


def _differentiable(
    owner: TiledAttend,
    tiles: list[Tile],
    args: list[Any],
    wanted: list[int],
    grads: Sequence[Tensor],
) -> Sequence[Tensor | None]:
    """Gradients that can be differentiated again, or are asked for in batches; holds all tiles.

    Of aliases: one argument may be computed from another, which is no business of the tiles.
    """
    with torch.enable_grad():
        args = [item.view_as(item) if isinstance(item, Tensor) else item for item in args]
        made = owner.assembled(tiles, [owner.run(tile, args) for tile in tiles], args)
    inputs = [args[n] for n in wanted]
    return torch.autograd.grad(made, inputs, grads, create_graph=True, allow_unused=True)


def _accumulated(
    owner: TiledAttend,
    tiles: list[Tile],
    args: list[Any],
    wanted: list[int],
    grads: Sequence[Tensor],
) -> list[Tensor]:
    """Gradients added up tile by tile."""
    totals = [torch.zeros_like(args[n]) for n in wanted]
    accumulate(owner, tiles, args, dict(zip(wanted, totals, strict=True)), grads)
    return totals


def accumulate(
    owner: TiledAttend,
    tiles: list[Tile],
    args: Sequence[Any],
    totals: dict[int, Tensor],
    grads: Sequence[Tensor],
) -> None:
    """Add the gradients of some arguments to totals, tile by tile."""
    layout = owner.layout
    for tile in tiles:
        taken = [
            item.detach() if isinstance(item, Tensor) else item for item in owner.taken(tile, args)
        ]
        leaves = [taken[n].requires_grad_() for n in totals]
        with torch.enable_grad():
            made = owner.computed(tile, taken)
        outer = [
            of_tile(grad, axes, layout, tile)
            for grad, axes in zip(grads, layout.results, strict=True)
        ]
        pairs = [(item, grad) for item, grad in zip(made, outer, strict=True) if item.requires_grad]
        if not pairs:
            continue
        found = torch.autograd.grad(
            [item for item, _ in pairs], leaves, [grad for _, grad in pairs], allow_unused=True
        )
        for (n, total), grad in zip(totals.items(), found, strict=True):
            if grad is not None:
                give_back(total, grad, layout.inputs[n], layout, tile)
