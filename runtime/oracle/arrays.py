"""The nodes that make, read, combine and reshape arrays."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from ...dsl.core import (
    Arg,
    AtDistance,
    Axis,
    AxisToDim,
    ConcatDims,
    Const,
    Contract,
    DimToAxis,
    Distances,
    Draw,
    Dropout,
    Eye,
    Fill,
    Index,
    KvHead,
    Length,
    Linear,
    Map,
    Node,
    Norm,
    Param,
    Position,
    Range,
    Read,
    ReadDim,
    Reshape,
    Scores,
    Split,
    StackAxis,
    Stencil,
    Transpose,
    Tree,
    Valid,
)
from . import pointwise
from .environment import BATCH, OracleError, positions
from .scope import Normalizing, Scope, Step
from .trees import tree_field
from .values import (
    DTYPES,
    Value,
    aligned,
    any_over,
    both,
    contracted,
    expanded,
    gathered,
    gathered_dim,
    laid_out,
    masked,
    select,
    unflattened,
    union,
)

# -- sources --------------------------------------------------------------------------------


def arg(scope: Scope, node: Arg) -> Value:
    """What a pair reads of a sequence value: the value."""
    return scope.value(node.value)


def const(scope: Scope, node: Const) -> Value:
    """A number."""
    return Value(torch.tensor(node.value, dtype=DTYPES[node.type.kind]))


def param(scope: Scope, node: Param) -> Value:
    """An array from outside, or what stands in for an input or stream that is absent."""
    if isinstance(scope, Step) and node.name in scope.carries:
        return scope.carries[node.name]
    if node.role in ("weight", "buffer", "random"):
        return scope.env.stored(node)
    value = scope.env.given(node)
    return _default(scope, node) if value is None else value


def _default(scope: Scope, node: Param) -> Value:
    spec = scope.env.spec
    first: Node | None = None
    if node.name in spec.inputs:
        first = spec.inputs[node.name].default
    elif node.name in spec.streams:
        first = spec.streams[node.name].first
    if first is None:
        raise OracleError(f"the {node.role} `{node.name}` of `{spec.name}` is not given")
    return scope.conformed(scope.value(first), node)


def draw(scope: Scope, node: Draw) -> Value:
    """Random numbers, injected."""
    return scope.env.drawn(node.name, node.type.ordered, node.type, "the draws")


def index(scope: Scope, node: Index) -> Value:
    """0 .. size-1 along an axis."""
    return Value(torch.arange(scope.size(node.axis)), (node.axis,))


def position(scope: Scope, node: Position) -> Value:
    """Global positions."""
    return positions(scope.env.start(node.axis), node.axis, scope.size(node.axis))


def distances(scope: Scope, node: Distances) -> Value:
    """How far queries are behind keys: place N - 1 - n + m for query n and key m."""
    rows, keys = (scope.value(end).tensor for end in (node.query, node.key))
    scope.env.sizes[node.axis.base] = len(rows) + len(keys)
    nearest = int(rows[:1].sum() - keys[:1].sum()) + len(rows) - 1
    return Value(nearest - torch.arange(len(rows) + len(keys)), (node.axis,))


def at_distance(scope: Scope, node: AtDistance) -> Value:
    """arg read at the distance of each pair."""
    arg = scope.full(scope.value(node.arg), (node.axis,))
    queries, keys = scope.size(node.query), scope.size(node.key)
    places = torch.arange(queries).flip(0)[:, None] + torch.arange(keys)
    return gathered(arg, node.axis, laid_out(places, (node.query, node.key)))


def length(scope: Scope, node: Length) -> Value:
    """The size of an axis."""
    return Value(torch.tensor(scope.size(node.axis)))


def valid(scope: Scope, node: Valid) -> Value:
    """Which tokens are there."""
    given = scope.env.validity(node.axis)
    if given is None:
        return scope.full(Value(torch.tensor(True)), (BATCH, node.axis))
    return Value(given.bool(), (BATCH, node.axis))


def kv_head(scope: Scope, node: KvHead) -> Value:
    """h // (heads / kv_heads)."""
    assert node.type.ref is not None
    heads, groups = scope.size(node.axis), scope.size(node.type.ref)
    return Value(torch.arange(heads) // (heads // groups), (node.axis,))


def fill(scope: Scope, node: Fill) -> Value:
    """A constant array."""
    return scope.conformed(Value(torch.tensor(node.value, dtype=DTYPES[node.type.kind])), node)


def range_(scope: Scope, node: Range) -> Value:
    """0 .. n-1 along a feature dim."""
    return Value(torch.arange(node.type.dims[0].value))


def eye(scope: Scope, node: Eye) -> Value:
    """The identity matrix."""
    return Value(torch.eye(node.type.dims[0].value, dtype=torch.float64))


def scores(scope: Scope, node: Scores) -> Value:
    """The scores of the attend around."""
    inner = scope
    while isinstance(inner, Step):
        inner = inner.outer
    assert isinstance(inner, Normalizing)
    return inner.scores


# -- products -------------------------------------------------------------------------------


def map_(scope: Scope, node: Map) -> Value:
    """A pointwise operator."""
    values = [scope.value(arg) for arg in node.args]
    axes, rank = union(values), max(value.rank for value in values)
    result = pointwise.apply(node.op, [aligned(value, axes, rank) for value in values])
    return Value(result, axes, both(value.there for value in values))


def contract(scope: Scope, node: Contract) -> Value:
    """Sum of products over pairs of feature dims; what is not there counts 0."""
    left, right = masked(scope.value(node.left)), masked(scope.value(node.right))
    pairs = tuple(zip(node.left_dims, node.right_dims, strict=True))
    result = contracted(left, right, pairs)
    return Value(result.tensor, result.axes, both((left.there, right.there)))


def linear(scope: Scope, node: Linear) -> Value:
    """weight @ flatten(arg) + bias, unflattened."""
    arg = masked(scope.value(node.arg))
    count = len(arg.axes)
    weight = scope.env.weight(f"{node.name}.weight").double()
    result = arg.tensor.flatten(count) @ weight.mT
    if node.bias:
        result = result + scope.env.weight(f"{node.name}.bias").double()
    sizes = [axis.size.value for axis in node.to_axes if axis.size is not None]
    result = unflattened(result, count, [*sizes, *[dim.value for dim in node.to_dims]])
    return laid_out(result, (*arg.axes, *node.to_axes), arg.there)


def norm(scope: Scope, node: Norm) -> Value:
    """Layer or root mean square normalisation over all feature dims."""
    arg = masked(scope.value(node.arg))
    dims = list(range(len(arg.axes), arg.tensor.dim()))
    centred = arg.tensor
    if node.op == "layer":
        centred = centred - centred.mean(dims, keepdim=True)
    result = centred / torch.sqrt(centred.square().mean(dims, keepdim=True) + node.eps)
    if node.affine:
        result = result * scope.env.weight(f"{node.name}.weight").double().reshape(arg.dims)
        if node.op == "layer":
            result = result + scope.env.weight(f"{node.name}.bias").double().reshape(arg.dims)
    return Value(result, arg.axes, arg.there)


def dropout(scope: Scope, node: Dropout) -> Value:
    """The identity, but in training the injected mask (True: kept)."""
    arg = scope.value(node.arg)
    if not scope.env.training or node.rate == 0:
        return arg
    keep = scope.env.drawn(node.name, node.type.ordered, node.type, "the mask of what is kept")
    axes = union((arg, keep))
    tensor = aligned(arg, axes) * aligned(keep, axes) / (1 - node.rate)
    return Value(tensor, axes, arg.there)


# -- reading --------------------------------------------------------------------------------


def read(scope: Scope, node: Read) -> Value:
    """arg read along an axis at a ref; a ref to no place reads 0."""
    arg, place = scope.value(node.arg), masked(scope.value(node.index), -1)
    return gathered(scope.full(arg, (node.axis,)), node.axis, place)


def read_dim(scope: Scope, node: ReadDim) -> Value:
    """arg read in its first feature dim at an int."""
    arg, place = masked(scope.value(node.arg)), masked(scope.value(node.index))
    result = gathered_dim(arg, place)
    return Value(result.tensor, result.axes, both((arg.there, place.there)))


def split(scope: Scope, node: Split) -> Value:
    """The members of windows; 0 beyond the last token."""
    starts = torch.arange(scope.size(node.made)) * node.stride
    places = starts[:, None] + torch.arange(scope.size(node.member))
    arg = scope.full(masked(scope.value(node.arg)), (node.axis,))
    return gathered(arg, node.axis, laid_out(places, (node.made, node.member)))


def stencil(scope: Scope, node: Stencil) -> Value:
    """The sum over taps (and channels) of a kernel element times arg, shifted."""
    arg = scope.full(masked(scope.value(node.arg)), node.axes)
    kernel = scope.value(node.kernel)
    if node.channels is None:
        return _taps(scope, node, arg, kernel)
    parts = []
    for channel in range(kernel.dims[0]):
        of_channel = Value(kernel.tensor.select(len(kernel.axes), channel), kernel.axes)
        parts.append(_taps(scope, node, select(arg, node.channels, channel), of_channel))
    return Value(sum((p.tensor for p in parts[1:]), parts[0].tensor), parts[0].axes)


def _taps(scope: Scope, node: Stencil, arg: Value, kernel: Value) -> Value:
    axes = union((arg, kernel))
    total = torch.zeros((), dtype=torch.float64)
    for taps in itertools.product(*(range(size) for size in kernel.dims)):
        shifted = arg
        for axis, start, tap in zip(node.axes, node.starts, taps, strict=True):
            shifted = _shifted(scope, shifted, axis, start + tap)
        factor = Value(_element(kernel, taps), kernel.axes)
        total = total + aligned(factor, axes, arg.rank) * aligned(shifted, axes)
    return Value(total, axes)


def _element(kernel: Value, taps: tuple[int, ...]) -> Tensor:
    tensor = kernel.tensor
    for tap in taps:
        tensor = tensor.select(len(kernel.axes), tap)
    return tensor


def _shifted(scope: Scope, value: Value, axis: Axis, offset: int) -> Value:
    """out[p] = value[p + offset], zero outside."""
    places = Value(torch.arange(scope.size(axis)) + offset, (axis,))
    return gathered(value, axis, places)


# -- shape ----------------------------------------------------------------------------------


def concat_dims(scope: Scope, node: ConcatDims) -> Value:
    """Concatenation along the first feature dim."""
    values = [masked(scope.value(arg)) for arg in node.args]
    axes = union(values)
    tensors = [expanded(value, axes, scope.size) for value in values]
    return Value(torch.cat(tensors, len(axes)), axes, both(value.there for value in values))


def axis_to_dim(scope: Scope, node: AxisToDim) -> Value:
    """An index axis becomes the first feature dim; a pair is there if it is for one place."""
    arg = scope.full(masked(scope.value(node.arg)), (node.axis,))
    place = arg.axes.index(node.axis)
    rest = tuple(axis for axis in arg.axes if axis != node.axis)
    there = None if arg.there is None else any_over(arg.there, (node.axis,))
    return Value(arg.tensor.movedim(place, len(rest)), rest, there)


def dim_to_axis(scope: Scope, node: DimToAxis) -> Value:
    """The first feature dim becomes an index axis."""
    arg = masked(scope.value(node.arg))
    return laid_out(arg.tensor, (*arg.axes, node.axis), arg.there)


def reshape(scope: Scope, node: Reshape) -> Value:
    """Row-major reshape of the feature dims."""
    arg = masked(scope.value(node.arg))
    dims = [dim.value for dim in node.type.dims]
    assert math.prod(dims) == math.prod(arg.dims)
    return Value(
        arg.tensor.reshape([*arg.tensor.shape[: len(arg.axes)], *dims]), arg.axes, arg.there
    )


def transpose(scope: Scope, node: Transpose) -> Value:
    """The last two feature dims exchanged."""
    arg = masked(scope.value(node.arg))
    return Value(arg.tensor.transpose(-1, -2), arg.axes, arg.there)


def stack_axis(scope: Scope, node: StackAxis) -> Value:
    """Arrays at the places of a new axis."""
    values = [masked(scope.value(arg)) for arg in node.args]
    axes = union(values)
    tensors: list[Tensor] = [expanded(value, axes, scope.size) for value in values]
    there = both(value.there for value in values)
    return laid_out(torch.stack(tensors, len(axes)), (*axes, node.axis), there)


def tree(scope: Scope, node: Tree) -> Value:
    """A field of a hierarchy, or the ref to a node."""
    values = [scope.value(arg) for arg in node.args]
    axes = union(values)
    args = [aligned(value, axes) for value in values]
    result = tree_field(node.which, scope.size(node.leaves), node.fanout, node.levels, args)
    return Value(result, (node.axis,) if result.dim() and not args else axes)
