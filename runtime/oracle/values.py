"""Arrays with named axes: a tensor, the axes of its leading dimensions, and which elements are there.

Axes are sorted by rank, feature dims follow, so that two arrays are aligned by inserting dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...dsl.core import Axis, Kind

DTYPES = {Kind.BOOL: torch.bool, Kind.INT: torch.int64, Kind.REAL: torch.float64}

FAR = 2**62
"""What stands for infinity among ints: an empty max is -FAR, an empty min FAR."""

Sizes = Callable[[Axis], int]


@dataclass(frozen=True, slots=True)
class Value:
    """tensor (axes.., dims..).

    there   in the normalizer of an attend: which of the pairs exist (bools over index axes), None
            where all do; what the tensor holds for the others means nothing
    """

    tensor: Tensor
    axes: tuple[Axis, ...] = ()
    there: Value | None = None

    @property
    def rank(self) -> int:
        """The number of feature dims."""
        return self.tensor.dim() - len(self.axes)

    @property
    def dims(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape[len(self.axes) :])


def in_order(axes: Iterable[Axis]) -> tuple[Axis, ...]:
    """Distinct axes in layout order."""
    return tuple(sorted(set(axes), key=lambda axis: (axis.rank, axis.name)))


def union(values: Iterable[Value]) -> tuple[Axis, ...]:
    """The axes of several arrays together, in layout order."""
    return in_order(axis for value in values for axis in value.axes)


def laid_out(tensor: Tensor, axes: Sequence[Axis], there: Value | None = None) -> Value:
    """An array whose leading dimensions are `axes`, in any order."""
    target = in_order(axes)
    places = [axes.index(axis) for axis in target]
    return Value(tensor.permute([*places, *range(len(axes), tensor.dim())]), target, there)


def aligned(value: Value, axes: Sequence[Axis], rank: int | None = None) -> Tensor:
    """The tensor with one dimension per axis of `axes`, in their order; size 1 where it has none.

    rank   the number of feature dims: an array without any gets that many of size 1
    """
    present = [value.axes.index(axis) for axis in axes if axis in value.axes]
    assert len(present) == len(value.axes), f"{value.axes} does not fit {axes}"
    tensor = value.tensor.permute([*present, *range(len(value.axes), value.tensor.dim())])
    for place, axis in enumerate(axes):
        if axis not in value.axes:
            tensor = tensor.unsqueeze(place)
    if rank is not None and not value.rank:
        tensor = tensor.reshape([*tensor.shape, *[1] * rank])
    return tensor


def expanded(value: Value, axes: Sequence[Axis], size: Sizes) -> Tensor:
    """The tensor with every axis of `axes`, in their order, at its full size."""
    return aligned(value, axes).expand([*[size(axis) for axis in axes], *value.dims])


def unflattened(tensor: Tensor, place: int, sizes: Sequence[int]) -> Tensor:
    """The tensor with one dimension cut into several, the first outermost."""
    return tensor.reshape([*tensor.shape[:place], *sizes, *tensor.shape[place + 1 :]])


def both(values: Iterable[Value | None]) -> Value | None:
    """The conjunction of bools without feature dims; None stands for true."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    axes = union(known)
    tensor = aligned(known[0], axes)
    for value in known[1:]:
        tensor = tensor & aligned(value, axes)
    return Value(tensor, axes)


def any_over(value: Value, axes: Iterable[Axis]) -> Value:
    """Whether a bool holds at some place along those of `axes` that it has."""
    gone = set(axes)
    places = [n for n, axis in enumerate(value.axes) if axis in gone]
    kept = tuple(axis for axis in value.axes if axis not in gone)
    return Value(value.tensor.any(places), kept) if places else value


def masked(value: Value, fill: float = 0) -> Value:
    """The array with `fill` for the pairs that are not there."""
    if value.there is None:
        return value
    axes = union((value, value.there))
    keep = aligned(value.there, axes, value.rank)
    tensor = aligned(value, axes)
    return Value(torch.where(keep, tensor, _filled(tensor, fill)), axes, value.there)


def _filled(like: Tensor, fill: float) -> Tensor:
    return torch.tensor(fill, dtype=like.dtype)


def select(value: Value, axis: Axis, place: int) -> Value:
    """The array at one place along an axis, if it has the axis."""
    if axis not in value.axes:
        return value
    tensor = value.tensor.select(value.axes.index(axis), place)
    there = None if value.there is None else select(value.there, axis, place)
    return Value(tensor, tuple(item for item in value.axes if item != axis), there)


def renamed(value: Value, names: Callable[[Axis], Axis]) -> Value:
    """The array over other axes of the same sizes."""
    return laid_out(value.tensor, [names(axis) for axis in value.axes])


def gathered(value: Value, axis: Axis, index: Value) -> Value:
    """The array with `axis` replaced by the axes of index; 0 where the index is out of range."""
    rest = tuple(item for item in value.axes if item != axis)
    axes = in_order((*rest, *index.axes))
    tensor = aligned(value, (*rest, axis))
    size = tensor.shape[len(rest)]
    nowhere = tensor.new_zeros((*tensor.shape[: len(rest)], 1, *value.dims))
    tensor = torch.cat([tensor, nowhere], len(rest))
    place = aligned(index, axes)
    place = torch.where((place >= 0) & (place < size), place, size)
    result = tensor[(*_places(value, rest, axes), place)]
    there = None if value.there is None else _gathered_there(value.there, axis, index)
    return Value(result, axes, there)


def _gathered_there(there: Value, axis: Axis, index: Value) -> Value:
    return gathered(there, axis, index) if axis in there.axes else there


def _places(value: Value, rest: Sequence[Axis], axes: Sequence[Axis]) -> list[Tensor]:
    """For each axis of rest its places 0 .. size-1, shaped to lie along that axis of `axes`."""
    sizes = dict(zip(value.axes, value.tensor.shape, strict=False))
    return [along(torch.arange(sizes[axis]), axes.index(axis), len(axes)) for axis in rest]


def along(vector: Tensor, place: int, count: int) -> Tensor:
    """A vector as an array of `count` dimensions, all of size 1 but the one at `place`."""
    return vector.reshape([-1 if n == place else 1 for n in range(count)])


def gathered_dim(value: Value, index: Value) -> Value:
    """The array read in its first feature dim; the dims of index take the place of that dim."""
    axes = union((value, index))
    place = aligned(index, axes)
    size = value.dims[0]
    if bool(((place < 0) | (place >= size)).any()):
        raise IndexError(f"an index into a feature dim of size {size} is out of range")
    count = len(axes) + index.rank
    places = [
        along(torch.arange(length), axes.index(axis), count)
        for axis, length in zip(value.axes, value.tensor.shape, strict=False)
    ]
    return Value(value.tensor[(*places, place)], axes)


def contracted(left: Value, right: Value, pairs: Sequence[tuple[int, int]]) -> Value:
    """Sum of products over pairs of feature dims; the dims left over follow in order."""
    axes = union((left, right))
    label = {axis: n for n, axis in enumerate(axes)}
    dims_left = [len(axes) + n for n in range(left.rank)]
    dims_right = [len(axes) + left.rank + n for n in range(right.rank)]
    for a, b in pairs:
        dims_right[b] = dims_left[a]
    summed = {dims_left[a] for a, _ in pairs}
    kept = [n for n in (*dims_left, *dims_right) if n not in summed]
    tensor = torch.einsum(
        left.tensor,
        [*(label[axis] for axis in left.axes), *dims_left],
        right.tensor,
        [*(label[axis] for axis in right.axes), *dims_right],
        [*range(len(axes)), *kept],
    )
    return Value(tensor, axes)
