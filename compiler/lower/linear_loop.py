"""Linear loops over all tokens at once: what `recurrences.solve` found, as calls of `scans`."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from ...dsl.core import Axis, Map, Node, Recur
from .. import scans
from ..decays import logarithm
from ..recurrences import Elementwise, MatrixState, Solution
from .emitter import Value, by_rank

if TYPE_CHECKING:
    from .dense import Dense

Axes = tuple[Axis, ...]


def linear_loop(
    e: Dense, node: Recur, found: Solution
) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """Final carries and yields of a linear loop."""
    finals: dict[str, Value] = {}
    for step in found.steps:
        init = e.lower(node.inits[node.names.index(step.name)])
        if isinstance(step, Elementwise):
            finals[step.name] = _elementwise(e, node.axis, step, init)
        else:
            finals[step.name] = _matrix(e, node.axis, step, init)
    yields = []
    for item in found.yields:
        value = e.lower(item)
        axes = by_rank((*value.axes, node.axis))
        yields.append(Value(e.expand(value, axes), axes, value.dims, value.wide))
    return tuple(finals[name] for name in node.names), tuple(yields)


def _elementwise(e: Dense, axis: Axis, step: Elementwise, init: Value) -> Value:
    value = e.lower(step.value)
    decay = None if step.decay is None else e.lower(step.decay)
    items = [init, value] if decay is None else [init, value, decay]
    axes = by_rank((*(a for item in items for a in item.axes), axis))
    dims = max(item.dims for item in items)
    wide = any(item.wide for item in items)
    place = axes.index(axis)
    sequences = [
        None if item is None else sequence(e, item, axes, axis, dims) for item in (decay, value)
    ]
    first = _first(e, init, axes, axis, dims)
    made = e.call(scans.scan, *sequences, first, place, step.largest)
    e.values[step.carry] = Value(e.call(operator.getitem, made, 0), axes, dims, wide)
    last = e.method("squeeze", e.call(operator.getitem, made, 1), place)
    return Value(last, axes[:place] + axes[place + 1 :], dims, wide)


def _matrix(e: Dense, axis: Axis, step: MatrixState, init: Value) -> Value:
    bases = [None if base is None else e.lower(base) for base, _ in step.writes]
    keys = [e.lower(key) for _, key in step.writes]
    reads = [e.lower(vector) for _, vector in step.reads]
    feeds = [e.lower(factor) for _, _, factor in step.feeds]
    decays = [_logarithm(e, item) for item in step.decays]
    features = [_logarithm(e, item) for item in step.feature_decays]
    given = [item for item in bases if item is not None]
    items = [init, *given, *keys, *reads, *feeds, *decays, *features]
    rest = by_rank(a for item in items for a in item.axes if a != axis)
    axes = (*rest, axis)  # the scan wants the tokens last

    def all_of(values: list[Value], dims: int) -> list[Any]:
        return [sequence(e, value, axes, axis, dims) for value in values]

    width = step.rank - 1
    rows = [None if base is None else sequence(e, base, axes, axis, width) for base in bases]
    if step.rank == 1:
        rows = [None if row is None else e.method("unsqueeze", row, -1) for row in rows]
    first = e.expand(Value(e.tensor(init), init.axes, init.dims), rest)
    if step.rank == 1:
        first = e.method("unsqueeze", first, -2)
    elif step.key_dim == 0:
        first = e.method("transpose", first, -1, -2)
    made = e.call(
        scans.matrix_scan,
        first,
        all_of(decays, 0),
        all_of(features, 1),
        list(zip(rows, all_of(keys, 1), strict=True)),
        all_of(reads, 1),
        [(r, s, c) for (r, s, _), c in zip(step.feeds, all_of(feeds, 0), strict=True)],
    )
    read = e.call(operator.getitem, made, 0)
    for place, (leaf, _) in enumerate(step.reads):
        seen = e.call(operator.getitem, read, place)
        if step.rank == 1:
            seen = e.method("squeeze", seen, -1)
        e.values[leaf] = e.arrange(seen, axes, width, wide=True)
    last = e.call(operator.getitem, made, 1)
    if step.rank == 1:
        last = e.method("squeeze", last, -2)
    elif step.key_dim == 0:
        last = e.method("transpose", last, -1, -2)
    return Value(last, rest, step.rank, wide=True)


def sequence(e: Dense, value: Value, axes: Axes, axis: Axis, dims: int) -> Any:
    """The array with its axes in the order of `axes`, size 1 for what it lacks, all tokens there."""
    there = tuple(item for item in axes if item in value.axes)
    order = [value.axes.index(item) for item in there]
    node = e.tensor(value)
    if order != sorted(order):
        node = e.method("permute", node, *order, *range(len(order), len(order) + value.dims))
    node = e.full(Value(node, there, value.dims), axes, dims)
    if axis in value.axes:
        return node
    sizes = [e.size(axis) if item == axis else -1 for item in axes]
    return e.method("expand", node, *sizes, *([-1] * dims))


def _first(e: Dense, init: Value, axes: Axes, axis: Axis, dims: int) -> Any:
    """The first state over all other axes, with size 1 along the tokens."""
    rest = tuple(item for item in axes if item != axis)
    full = Value(e.expand(Value(e.tensor(init), init.axes, init.dims), rest), rest, init.dims)
    return e.full(full, axes, dims)


def _logarithm(e: Dense, decay: Node) -> Value:
    """The logarithm of a decay: what stands under its exponential, if that is how it is written."""
    if isinstance(decay, Map) and decay.op == "exp":
        return e.lower(decay.args[0])
    value = e.lower(decay)
    made = e.call(logarithm, e.tensor(value))
    return Value(made, value.axes, value.dims, value.wide)
