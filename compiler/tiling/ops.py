"""Tiles as one operator of torch, for what records operators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .attend import TiledAttend

#: the attends of this process by their content: operators cannot hold a module
KNOWN: dict[str, TiledAttend] = {}


def called(owner: TiledAttend, args: Sequence[Any]) -> tuple[Tensor, ...]:
    """The results of an attend as one operator."""
    places = [n for n, item in enumerate(args) if isinstance(item, Tensor)]
    arrays = [args[n] for n in places]
    numbers = [item for item in args if not isinstance(item, Tensor)]
    kind = arrays[0].device.type
    autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    return tuple(tiled(arrays, numbers, places, owner.key, autocast))


def _joined(arrays: Sequence[Tensor], numbers: Sequence[int], places: Sequence[int]) -> list[Any]:
    """The arguments in their order."""
    by_place = dict(zip(places, arrays, strict=True))
    others = iter(numbers)
    count = len(arrays) + len(numbers)
    return [by_place[n] if n in by_place else next(others) for n in range(count)]


@contextmanager
def _computing(like: Tensor, autocast: torch.dtype | None) -> Iterator[None]:
    """As in the call that was recorded; with torch's tape, which is off inside operators."""
    keys = torch._C.DispatchKey
    own = (keys.AutogradFunctionality, keys.AutogradOther, keys.AutogradNestedTensor)
    kind = like.device.type
    with ExitStack() as stack:
        for key in (*own, keys.ADInplaceOrView):
            stack.enter_context(torch._C._SetExcludeDispatchKeyGuard(key, False))
        stack.enter_context(torch.autocast(kind, dtype=autocast, enabled=autocast is not None))
        yield


@torch.library.custom_op("attnc::tiled", mutates_args=())
def tiled(
    arrays: list[Tensor],
    numbers: list[int],
    places: list[int],
    key: str,
    autocast: torch.dtype | None,
) -> list[Tensor]:
    """The results of an attend in tiles."""
    args = _joined([item.detach() for item in arrays], numbers, places)
    with torch.no_grad(), _computing(arrays[0], autocast):
        made = KNOWN[key].in_tiles(args)
    return [item.contiguous() for item in made]


@tiled.register_fake
def _(
    arrays: list[Tensor],
    numbers: list[int],
    places: list[int],
    key: str,
    autocast: torch.dtype | None,
) -> list[Tensor]:
    with torch.no_grad(), _computing(arrays[0], autocast):
        made = KNOWN[key].whole(_joined(arrays, numbers, places))
    return [item.new_empty(item.shape) for item in made]


@torch.library.custom_op("attnc::tiled_back", mutates_args=())
def tiled_back(
    grads: list[Tensor],
    arrays: list[Tensor],
    numbers: list[int],
    places: list[int],
    wanted: list[bool],
    key: str,
    autocast: torch.dtype | None,
) -> list[Tensor]:
    """The gradients of the arrays that are wanted, of tiles that are computed again."""
    args = _joined([item.detach() for item in arrays], numbers, places)
    chosen = [n for n, want in zip(places, wanted, strict=True) if want]
    with _computing(arrays[0], autocast):
        return KNOWN[key].gradients(args, chosen, grads)


@tiled_back.register_fake
def _(
    grads: list[Tensor],
    arrays: list[Tensor],
    numbers: list[int],
    places: list[int],
    wanted: list[bool],
    key: str,
    autocast: torch.dtype | None,
) -> list[Tensor]:
    return [item.new_empty(item.shape) for item, want in zip(arrays, wanted, strict=True) if want]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    arrays, ctx.numbers, ctx.places, ctx.key, ctx.autocast = inputs
    ctx.save_for_backward(*arrays)


def _backward(ctx: Any, grads: list[Tensor]) -> Any:
    arrays, wanted = list(ctx.saved_tensors), list(ctx.needs_input_grad[0])
    if torch.is_grad_enabled():
        args = _joined([item.view_as(item) for item in arrays], ctx.numbers, ctx.places)
        inputs = [args[n] for n, want in zip(ctx.places, wanted, strict=True) if want]
        with _computing(arrays[0], ctx.autocast):
            made = KNOWN[ctx.key].whole(args)
        given = torch.autograd.grad(made, inputs, grads, create_graph=True, allow_unused=True)
        found = iter(given)
    else:
        found = iter(
            tiled_back(grads, arrays, ctx.numbers, ctx.places, wanted, ctx.key, ctx.autocast)
        )
    back = [next(found) if want else None for want in wanted]
    return back, None if ctx.numbers else [], None, None, None  # torch takes an empty list apart


tiled.register_autograd(_backward, setup_context=_keep)
