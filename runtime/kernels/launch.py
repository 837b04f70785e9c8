"""Running the kernels of an attend: arrays of torch in, results and gradients out."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ...compiler.codegen.layout import Argument, Kernel, Learner
from . import dtypes
from . import heads as of_heads
from .errors import KernelMissing, NoCompiler
from .library import Function, Library
from .loading import load

#: pointers to arrays, their strides, results, sizes
_ARGUMENTS = (ctypes.c_void_p,) * 4
#: rows and keys that the arrays of gradients are a multiple of; a multiple of what kernels take
ROWS, KEYS = 48, 64
VECTOR = 16
#: who may want gradients together
_LEARNERS: tuple[tuple[Learner, ...], ...] = (
    ("weights",),
    ("weights", "tokens"),
    ("weights", "tokens", "inputs"),
)


def forward(
    kernel: Kernel, sizes: Sequence[int], arrays: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """What the kernel makes, whose heads are those of `sizes` times the places of its fixed axes.

    Shapes:
        results              (batch, heads, queries, width)
        what is kept of rows (numbers, batch, heads, queries), of a softmax lse first
    """
    sizes = batch, heads, queries, _ = of_heads.whole(kernel, sizes)
    held = _all_held(arrays, kernel, heads)
    out = torch.empty((batch, heads, queries, width_of(kernel)), dtype=dtypes.kept(arrays[0]))
    stats = torch.empty((kernel.kept, batch, heads, queries))
    if 0 in sizes:  # no pairs: nothing is read, arrays without numbers have no place
        out.zero_()
        stats.zero_()
        stats[:1] = -torch.inf
        return out, stats
    made = out, *stats.unbind()
    _call(attend(kernel, held), held, kernel, sizes, made, (torch.get_num_threads(),))
    return out, stats


def width_of(kernel: Kernel) -> int:
    """How many numbers the result has for a query."""
    return math.prod(kernel.dims)


def backward(
    kernel: Kernel,
    sizes: Sequence[int],
    arrays: Sequence[Tensor],
    made: tuple[Tensor, Tensor],
    grads_of_made: tuple[Tensor | None, Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """The gradients of the arrays that are wanted, from those of the results and of lse."""
    sizes = batch, heads, _, keys = of_heads.whole(kernel, sizes)
    held = _all_held(arrays, kernel, heads)
    (out, stats), (out_grad, lse_grad) = made, grads_of_made
    if out_grad is None:
        out_grad = torch.zeros_like(out)
    extra: list[Tensor | None] = [out_grad]
    if kernel.kept:
        extra += [out, lse_grad, *stats]
    threads = torch.get_num_threads()
    units = max(1, batch * heads)
    stretches = 1 if units >= threads else -(-2 * threads // units)
    stretches = max(1, min(stretches, -(-keys // KEYS)))
    wanted = tuple(want and item.real for want, item in zip(wanted, kernel.arguments, strict=True))
    types = dtypes.types(kernel.arguments, held)
    library, made_for = _attend_back(kernel, types, wanted) if 0 not in sizes else (None, wanted)
    grads = [
        _room(item, sizes, stretches) if is_made else None
        for item, is_made in zip(kernel.arguments, made_for, strict=True)
    ]
    if library is not None:
        function = library.function("attend_back", *_ARGUMENTS)
        _call(function, [*held, *extra], kernel, sizes, grads, (threads, stretches))
    parts = of_heads.parts(kernel, heads)
    return [
        _gradient(grad, item, sizes, array.shape, parts).to(array.dtype)
        if want and grad is not None
        else None
        for want, grad, item, array in zip(wanted, grads, kernel.arguments, arrays, strict=True)
    ]


def _attend_back(
    kernel: Kernel, types: tuple[str, ...], wanted: tuple[bool, ...]
) -> tuple[Library, tuple[bool, ...]]:
    """The backward for the arrays that are wanted, or for more where only that can be had."""
    try:
        return load(dtypes.backward(kernel.sources, types, wanted), name=kernel.name), wanted
    except (KernelMissing, NoCompiler):
        most = _learning(kernel, _LEARNERS[-1])
        if wanted == most or any(want > has for want, has in zip(wanted, most, strict=True)):
            raise
    return load(dtypes.backward(kernel.sources, types, most), name=kernel.name), most


def texts(kernel: Kernel) -> Iterator[tuple[str, str]]:
    """The sources to have ready for calls of a kernel in float32, each as `forward` or `backward`.

    The backward is there for weights alone, for tokens too, and for all that a call can want.
    """
    types = dtypes.types(kernel.arguments, None)
    yield "forward", dtypes.forward(kernel.sources, types)
    for wanted in dict.fromkeys(_learning(kernel, learners) for learners in _LEARNERS):
        if any(wanted):
            yield "backward", dtypes.backward(kernel.sources, types, wanted)


def _learning(kernel: Kernel, learners: Sequence[Learner]) -> tuple[bool, ...]:
    return tuple(item.learns in learners for item in kernel.arguments)


def attend(kernel: Kernel, arrays: Sequence[Tensor] | None = None) -> Function:
    """The forward as a C function, for arrays as kernels read them; without any for float32."""
    types = dtypes.types(kernel.arguments, arrays)
    source = dtypes.forward(kernel.sources, types)
    return load(source, name=kernel.name).function("attend", *_ARGUMENTS)


def _call(
    function: Any,
    arrays: Sequence[Tensor | None],
    kernel: Kernel,
    sizes: Sequence[int],
    made: Sequence[Tensor | None],
    more: Sequence[int],
) -> None:
    """Run a kernel on the memory of some arrays."""
    data = (ctypes.c_void_p * len(arrays))(*map(_pointer, arrays))
    results = (ctypes.c_void_p * len(made))(*map(_pointer, made))
    strides = [
        number
        for array, item in zip(arrays, kernel.arguments, strict=False)
        if array is not None
        for number in _strides(array, item, sizes[1])
    ]
    steps = (ctypes.c_int64 * len(strides))(*strides)
    numbers = (*sizes, *more)
    function(data, steps, results, (ctypes.c_int64 * len(numbers))(*numbers))


def _pointer(array: Tensor | None) -> int | None:
    return None if array is None else array.data_ptr()


def _all_held(arrays: Sequence[Tensor], kernel: Kernel, heads: int) -> list[Tensor]:
    parts = of_heads.parts(kernel, heads)
    return [_held(array, item, parts) for array, item in zip(arrays, kernel.arguments, strict=True)]


def _held(array: Tensor, item: Argument, heads: Sequence[int]) -> Tensor:
    """An array as kernels read it, also bfloat16, float16, int64 or bool, the numbers of a token side by side."""
    if item.real:
        if array.dtype not in dtypes.TYPES:
            array = array.float()
    elif array.dtype is not torch.bool:
        array = array.long()
    if item.along >= 0:
        array = array.movedim(item.along, -1)
    if item.has_fixed:
        array = of_heads.joined(array, item, heads)
    if item.domain == "pair":
        dense = array.stride(item.held[3]) == 1
    else:
        dense = item.width == 0 or array.stride()[item.dims :] == _packed(array.shape[item.dims :])
    return array if dense else array.contiguous()


def _packed(shape: Sequence[int]) -> tuple[int, ...]:
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step)
        step *= size
    return tuple(reversed(steps))


def _strides(array: Tensor, item: Argument, heads: int) -> tuple[int, ...]:
    """Apart by example, head, query and key; and how many heads share an array."""
    sizes, apart, places = array.shape, array.stride(), item.held
    steps = [apart[place] if place >= 0 and sizes[place] > 1 else 0 for place in places]
    return (*steps, max(1, heads // sizes[places[1]]) if steps[1] else 1)


def results(
    kernel: Kernel, out: Tensor, stats: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """The result and lse in their axes, from what the kernel made."""
    result = _placed(out, kernel, kernel.dims).to(dtype)
    lse = _placed(stats[0, ..., None], kernel, ()) if kernel.softmax else None
    return result, lse


def cotangents(
    kernel: Kernel, out: Tensor, result: Tensor | None, lse: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of the result and of lse as a kernel reads them."""
    return (
        None if result is None else _unplaced(result, kernel.result, out.shape).to(out.dtype),
        None if lse is None else _unplaced(lse, kernel.result, (*out.shape[:-1], 1)).float(),
    )


def _placed(array: Tensor, kernel: Kernel, dims: Sequence[int]) -> Tensor:
    """(batch, heads, queries, width) in the axes and dims of the result."""
    places = kernel.result
    array = of_heads.divided(array, None, of_heads.parts(kernel, array.shape[1]))
    order = sorted((place, n) for n, place in enumerate(places) if place >= 0)
    lacking = [n for n, place in enumerate(places) if place < 0]
    moved = array.permute(*lacking, *(n for _, n in order), len(places))
    for _ in lacking:
        moved = moved.squeeze(0)
    return moved.reshape(*moved.shape[:-1], *dims)


def _unplaced(array: Tensor, places: Sequence[int], shape: Sequence[int]) -> Tensor:
    """A gradient of the result as (batch, heads, queries, width), packed."""
    count = sum(place >= 0 for place in places)
    flat = array.reshape(*array.shape[:count], shape[-1])
    order = [place for place in places if place >= 0]
    return flat.permute(*order, count).reshape(*shape).contiguous()


def _room(item: Argument, sizes: Sequence[int], stretches: int) -> Tensor:
    """Where a kernel adds up the cotangents of an array."""
    batch, heads, queries, keys = sizes
    rows, columns = -(-queries // ROWS) * ROWS, -(-keys // KEYS) * KEYS
    width = -(-item.width // VECTOR) * VECTOR if item.width else 1
    match item.domain:
        case "key":
            shape: tuple[int, ...] = (batch, heads, columns, width)
        case "row":
            shape = (stretches, batch, heads, rows, width)
        case "pair":
            shape = (batch, heads, queries, columns)
        case _:
            shape = (stretches, batch, heads, max(item.width, 1))
    return torch.zeros(shape, dtype=torch.float32)


def _gradient(
    grad: Tensor,
    item: Argument,
    sizes: Sequence[int],
    shape: Sequence[int],
    heads: Sequence[int],
) -> Tensor:
    """What a kernel added up, as the gradient of an array of some shape."""
    *_, queries, keys = sizes
    width = max(item.width, 1)
    match item.domain:
        case "key":
            grad = grad[:, :, :keys, :width].unsqueeze(2)
        case "row":
            grad = grad.sum(0)[:, :, :queries, :width].unsqueeze(3)
        case "pair":
            grad = grad[..., :keys].unsqueeze(-1)
        case _:
            grad = grad.sum(0)[:, :, None, None, :]
    # now (batch, heads, queries or 1, keys or 1, width)
    groups = shape[item.axes[1]] if item.axes[1] >= 0 else None
    grad = of_heads.divided(grad, groups, heads)
    places = item.places
    lacking = [n for n, place in enumerate(places) if place < 0]
    grad = grad.sum(lacking) if lacking else grad
    kept = [place for place in places if place >= 0]
    grad = grad.permute(*(kept.index(place) for place in sorted(kept)), -1)
    if item.along >= 0:
        grad = grad.movedim(-1, item.along)
    return grad.reshape(shape)
