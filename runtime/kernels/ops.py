"""The kernels as operators of torch, for what records operators: torch.compile, fake tensors, counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from . import dtypes, heads
from .again import differentiable
from .arrays import results, width_of
from .launch import Launcher


@dataclass(frozen=True)
class Known:
    """The kernels of an attend, and its form in operations of torch."""

    launcher: Launcher
    dense: fx.GraphModule


#: the attends of this process by their content: operators cannot hold a module
KNOWN: dict[str, Known] = {}


@torch.library.custom_op("attnc::attend", mutates_args=())
def attend(arrays: list[Tensor], sizes: list[int], key: str) -> tuple[Tensor, Tensor]:
    """What the kernel of a key makes: results in the dtype of the values, and some numbers of each row."""
    with torch.no_grad():
        out, stats = KNOWN[key].launcher.forward(sizes, arrays, wanted=None)
    assert stats is not None
    return out, stats


@attend.register_fake
def _(arrays: list[Tensor], sizes: list[int], key: str) -> tuple[Tensor, Tensor]:
    kernel = KNOWN[key].launcher.kernel
    batch, count, queries, _keys = heads.whole(kernel, sizes)
    width, like = width_of(kernel), arrays[0]
    out = like.new_empty((batch, count, queries, width), dtype=dtypes.kept(like))
    shape = (kernel.kept, batch, count, queries)
    return out, like.new_empty(shape, dtype=torch.float32)


@torch.library.custom_op("attnc::attend_back", mutates_args=())
def attend_back(
    arrays: list[Tensor],
    out: Tensor,
    stats: Tensor,
    out_grad: Tensor | None,
    lse_grad: Tensor | None,
    sizes: list[int],
    wanted: list[bool],
    key: str,
) -> list[Tensor]:
    """The gradients of the arrays that are wanted."""
    launcher, made = KNOWN[key].launcher, (out, stats)
    out_grad, lse_grad = (g if g is None else g.contiguous() for g in (out_grad, lse_grad))
    with torch.no_grad():
        found = launcher.backward(sizes, arrays, made, (out_grad, lse_grad), wanted)
    return [grad.contiguous() for grad in found if grad is not None]


@attend_back.register_fake
def _(
    arrays: list[Tensor],
    out: Tensor,
    stats: Tensor,
    out_grad: Tensor | None,
    lse_grad: Tensor | None,
    sizes: list[int],
    wanted: list[bool],
    key: str,
) -> list[Tensor]:
    return [
        array.new_empty(array.shape) for array, want in zip(arrays, wanted, strict=True) if want
    ]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    arrays, ctx.sizes, ctx.key = inputs
    ctx.set_materialize_grads(False)
    ctx.count = len(arrays)
    ctx.save_for_backward(*arrays, *output)


def _backward(ctx: Any, out_grad: Tensor | None, stats_grad: Tensor | None) -> Any:
    kernel, dense = KNOWN[ctx.key].launcher.kernel, KNOWN[ctx.key].dense
    *arrays, out, stats = ctx.saved_tensors
    wanted = ctx.needs_input_grad[0]
    if torch.is_grad_enabled():
        out_grad = torch.zeros_like(out) if out_grad is None else out_grad
        stats_grad = torch.zeros_like(stats) if stats_grad is None else stats_grad
        grads = results(kernel, out_grad, stats_grad, arrays[0].dtype)
        return differentiable(dense, ctx.sizes, arrays, wanted, grads), None, None
    lse_grad = None if stats_grad is None or not kernel.softmax else stats_grad[0]
    found = iter(attend_back(arrays, out, stats, out_grad, lse_grad, ctx.sizes, wanted, ctx.key))
    return [next(found) if want else None for want in wanted], None, None


attend.register_autograd(_backward, setup_context=_keep)
