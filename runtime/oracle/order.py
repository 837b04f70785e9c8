"""Order and address: top, argmax, sort, rank, segments and scatter."""

from __future__ import annotations

import torch
from torch import Tensor

from ...dsl.core import Axis, Choose, Rank, Scatter, Segment, Sort, Top
from .reductions import there
from .scope import Scope
from .values import Value, aligned, both, expanded, laid_out, masked, unflattened, union


def _competitors(scope: Scope, node: Top | Choose) -> tuple[Value, Tensor]:
    """The candidates over every axis that matters, and which of them compete: -inf does not."""
    arg = scope.value(node.arg)
    where = None if node.where is None else masked(scope.value(node.where), False)
    axes = () if node.axis is None else (node.axis,)
    keep = both((where, there(scope, arg, axes))) or Value(torch.tensor(True))
    values = scope.full(Value(arg.tensor, arg.axes), (*axes, *keep.axes))
    mask = aligned(keep, values.axes, values.rank).expand(values.tensor.shape)
    if values.tensor.is_floating_point():
        mask = mask & (values.tensor != -torch.inf)
    return values, mask


def _ranked(values: Tensor, mask: Tensor, largest: bool) -> Tensor:
    """The places along the last dimension, best first, ties to the first; -1 after the last.

    Two stable sorts: by value, then those that compete before those that do not.
    """
    order = torch.argsort(values, stable=True, dim=-1, descending=largest)
    later = torch.argsort((~mask).gather(-1, order).long(), stable=True, dim=-1)
    order = order.gather(-1, later)
    return torch.where(mask.gather(-1, order), order, -1)


def _first(places: Tensor, count: int) -> Tensor:
    """The first `count`, filled up with -1."""
    missing = torch.full((*places.shape[:-1], count), -1)
    return torch.cat([places, missing], -1)[..., :count]


def top(scope: Scope, node: Top) -> Value:
    """Refs to the largest, largest first."""
    values, mask = _competitors(scope, node)
    place = values.axes.index(node.axis)
    ranked = _ranked(values.tensor.movedim(place, -1), mask.movedim(place, -1), True)
    rest = tuple(axis for axis in values.axes if axis != node.axis)
    refs = _first(ranked, scope.size(node.made))
    return laid_out(refs.movedim(-1, len(rest)), (*rest, node.made))


def choose(scope: Scope, node: Choose) -> Value:
    """The first place of the largest or smallest; -1 where nothing competes."""
    values, mask = _competitors(scope, node)
    place = len(values.axes) if node.axis is None else values.axes.index(node.axis)
    largest = node.op == "argmax"
    ranked = _ranked(values.tensor.movedim(place, -1), mask.movedim(place, -1), largest)
    axes = tuple(axis for axis in values.axes if axis != node.axis)
    return Value(_first(ranked, 1)[..., 0], axes)


def sort(scope: Scope, node: Sort) -> Value:
    """The flat place of each token in sorted order; stable sorts, least significant key first."""
    keys = [masked(scope.value(key)) for key in node.keys]
    rest = tuple(axis for axis in union(keys) if axis not in node.axes)
    flat = [_flat(scope, key, rest, node.axes) for key in keys]
    order = torch.arange(flat[0].shape[-1]).expand(flat[0].shape)
    for key in reversed(flat):
        order = order.gather(-1, torch.argsort(key.gather(-1, order), stable=True, dim=-1))
    return laid_out(order, (*rest, node.made))


def _flat(scope: Scope, value: Value, rest: tuple[Axis, ...], axes: tuple[Axis, ...]) -> Tensor:
    """(rest.., dims.., all of axes in one): the tensor with `axes` flattened, outermost first."""
    tensor = expanded(value, (*rest, *axes), scope.size)
    places = range(len(rest), len(rest) + len(axes))
    return tensor.movedim(list(places), list(range(-len(axes), 0))).flatten(-len(axes))


def rank(scope: Scope, node: Rank) -> Value:
    """The inverse of a sort, over the axes that were sorted."""
    assert isinstance(node.sort, Sort)
    made, axes = node.sort.made, node.sort.axes
    order = scope.value(node.sort)
    rest = tuple(axis for axis in order.axes if axis != made)
    places = aligned(order, (*rest, made)).argsort(-1)
    sizes = [scope.size(axis) for axis in axes]
    return laid_out(unflattened(places, len(rest), sizes), (*rest, *axes))


def segment(scope: Scope, node: Segment) -> Value:
    """Sums by label: each token of `axes` adds to the place that its label names, if any."""
    arg, label = masked(scope.value(node.arg)), masked(scope.value(node.label), -1)
    made = node.label.type.ref
    assert made is not None
    rest = tuple(axis for axis in union((arg, label)) if axis not in node.axes)
    labels = _flat(scope, label, rest, node.axes)
    hits = labels[..., None, :] == torch.arange(scope.size(made))[:, None]
    counts = hits.sum(-1)
    if node.op == "count":
        return laid_out(counts, (*rest, made))
    sums = _gathered_sums(_flat(scope, arg, rest, node.axes), hits, len(rest))
    if node.op == "mean":
        sums = sums / counts.clamp(min=1).reshape([*counts.shape, *[1] * arg.rank])
    return laid_out(sums, (*rest, made))


def _gathered_sums(values: Tensor, hits: Tensor, count: int) -> Tensor:
    """(rest.., dims.., tokens) and (rest.., places, tokens) -> (rest.., places, dims..)."""
    rank = values.dim() - count - 1
    hits = hits.reshape([*hits.shape[:-1], *[1] * rank, hits.shape[-1]])
    return torch.where(hits, values.unsqueeze(count), 0).sum(-1)


def scatter(scope: Scope, node: Scatter) -> Value:
    """Values sent to the tokens that refs name; 0 where none arrives."""
    arg = masked(scope.value(node.arg))
    targets = [masked(scope.value(target), -1) for target in node.targets]
    rest = tuple(axis for axis in union((arg, *targets)) if axis not in node.source_axes)
    sizes = [scope.size(axis) for axis in node.axes]
    goal, known = torch.tensor(0), torch.tensor(True)
    for target, size in zip(targets, sizes, strict=True):
        place = _flat(scope, target, rest, node.source_axes)
        known = known & (place >= 0) & (place < size)
        goal = goal * size + place
    total = torch.Size(sizes).numel()
    hits = known[..., None, :] & (goal[..., None, :] == torch.arange(total)[:, None])
    values = _flat(scope, arg, rest, node.source_axes)
    if node.mode == "set":
        hits = _last_only(hits)
    result = _gathered_sums(values, hits, len(rest))
    if node.mode == "mean":
        counts = hits.sum(-1).double()
        divisor = torch.where(counts > 0, counts + node.eps, 1.0)
        result = result / divisor.reshape([*divisor.shape, *[1] * arg.rank])
    return laid_out(unflattened(result, len(rest), sizes), (*rest, *node.axes))


def _last_only(hits: Tensor) -> Tensor:
    """Of several tokens that arrive at one place, the last."""
    number = torch.where(hits, torch.arange(1, hits.shape[-1] + 1), 0)
    bottom = number.new_zeros((*number.shape[:-1], 1))
    return hits & (number == torch.cat([number, bottom], -1).amax(-1, keepdim=True))
