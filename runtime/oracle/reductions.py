"""Reductions and running sums, over what is there; what is left out gets gradient 0."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...dsl.core import Axis, Reduce, Scan, Simplex
from .scope import Scope
from .simplex import entmax
from .values import FAR, Value, aligned, any_over, both, expanded, masked, union

Reduction = Callable[[Tensor, Tensor], Tensor]
"""(values, which of them count) -> one value; both have the reduced elements last."""


def _sum(values: Tensor, keep: Tensor) -> Tensor:
    return torch.where(keep, values, 0).sum(-1)


def _count(values: Tensor, keep: Tensor) -> Tensor:
    return (values & keep).sum(-1)


def _mean(values: Tensor, keep: Tensor) -> Tensor:
    return _sum(values, keep) / keep.sum(-1).clamp(min=1)


def _max(values: Tensor, keep: Tensor) -> Tensor:
    lowest = -torch.inf if values.is_floating_point() else -FAR
    bottom = values.new_full((*values.shape[:-1], 1), lowest)
    return torch.cat([torch.where(keep, values, lowest), bottom], -1).amax(-1)


def _min(values: Tensor, keep: Tensor) -> Tensor:
    return -_max(-values, keep)


def _any(values: Tensor, keep: Tensor) -> Tensor:
    return (values & keep).any(-1)


def _all(values: Tensor, keep: Tensor) -> Tensor:
    return (values | ~keep).all(-1)


def logsumexp(values: Tensor, keep: Tensor) -> Tensor:
    """log sum exp of the elements that count; -inf, with gradient 0, where none is above -inf."""
    keep = keep & (values != -torch.inf)
    peak = _max(values.detach(), keep)
    peak = torch.where(peak == -torch.inf, 0.0, peak)
    below = torch.where(keep, values, 0.0) - torch.where(keep, peak[..., None], 0.0)
    total = torch.where(keep, torch.exp(below), 0.0).sum(-1)
    empty = total == 0
    return torch.where(empty, -torch.inf, torch.log(torch.where(empty, 1.0, total)) + peak)


REDUCTIONS: dict[str, Reduction] = {
    "sum": _sum,
    "mean": _mean,
    "max": _max,
    "min": _min,
    "any": _any,
    "all": _all,
    "logsumexp": logsumexp,
    "count": _count,
}


def reduce(scope: Scope, node: Reduce) -> Value:
    """A reduction over index axes and feature dims of what `where` lets in and what is there."""
    arg = scope.value(node.arg)
    where = None if node.where is None else masked(scope.value(node.where), False)
    keep = both((where, there(scope, arg, node.axes)))
    kept_by = Value(torch.tensor(True)) if keep is None else keep
    wide = (*union((arg, kept_by)), *node.axes)
    values = scope.full(Value(arg.tensor, arg.axes), wide)
    mask = aligned(kept_by, values.axes, values.rank).expand(values.tensor.shape)
    axes = tuple(axis for axis in values.axes if axis not in node.axes)
    result = REDUCTIONS[node.op](_last(values, node), _last(Value(mask, values.axes), node))
    return Value(result, axes, _left(scope, arg.there, node.axes))


def there(scope: Scope, arg: Value, axes: tuple[Axis, ...]) -> Value | None:
    """Which elements a reduction over `axes` may see: in a normalizer, the pairs that exist."""
    if arg.there is None and scope.joint in axes:
        return scope.there
    return arg.there


def _left(scope: Scope, pairs: Value | None, axes: tuple[Axis, ...]) -> Value | None:
    """After a reduction over other axes than the keys, a pair is there if one was."""
    if pairs is None or scope.joint in axes:
        return None
    return any_over(pairs, axes)


def _last(value: Value, node: Reduce) -> Tensor:
    """The tensor with everything that is reduced flattened into its last dimension."""
    places = [value.axes.index(axis) for axis in node.axes]
    places += [len(value.axes) + dim for dim in node.dims]
    tensor = value.tensor.movedim(places, list(range(-len(places), 0)))
    return tensor.flatten(-len(places)) if places else tensor.unsqueeze(-1)


def scan(scope: Scope, node: Scan) -> Value:
    """A running sum; what is not there counts 0."""
    arg = masked(scope.value(node.arg))
    if arg.there is None and node.axis == scope.joint:
        arg = masked(Value(arg.tensor, arg.axes, scope.there))
    arg = scope.full(arg, (node.axis,))
    place = arg.axes.index(node.axis)
    tensor = arg.tensor.flip(place) if node.reverse else arg.tensor
    sums = tensor.cumsum(place)
    if node.exclusive:
        zero = torch.zeros_like(sums.narrow(place, 0, min(1, sums.shape[place])))
        sums = torch.cat([zero, sums], place).narrow(place, 0, sums.shape[place])
    return Value(sums.flip(place) if node.reverse else sums, arg.axes, arg.there)


def simplex(scope: Scope, node: Simplex) -> Value:
    """alpha-entmax along an axis."""
    arg, alpha = scope.value(node.arg), scope.value(node.alpha)
    pairs = there(scope, arg, (node.axis,))
    keep = Value(torch.tensor(True)) if pairs is None else pairs
    axes = scope.axes((*union((arg, alpha, keep)), node.axis))
    place = axes.index(node.axis)
    tensor = expanded(arg, axes, scope.size)
    alphas = aligned(alpha, axes, arg.rank).movedim(place, -1)
    mask = aligned(keep, axes, arg.rank).expand(tensor.shape).movedim(place, -1)
    result = entmax(tensor.movedim(place, -1), alphas, mask)
    return Value(result.movedim(-1, place), axes, pairs)
