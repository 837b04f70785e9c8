"""Running the kernels of an attend: arrays of torch in, results and gradients out."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...compiler.codegen.layout import Kernel, Learner
from . import dtypes, usage
from . import heads as of_heads
from .arrays import KEYS, all_held, check, gradient, packed, room, strides, width_of
from .errors import KernelMissing, NoCompiler
from .library import Library
from .loading import begin, load
from .rounds import at_once, in_rounds, is_shared

Call = Callable[..., Any]
#: pointers to arrays, their strides, results, sizes: each packed in bytes
ARGUMENTS = (ctypes.c_void_p,) * 4
#: who may want gradients together
_LEARNERS: tuple[tuple[Learner, ...], ...] = (
    ("weights",),
    ("weights", "tokens"),
    ("weights", "tokens", "inputs"),
)
#: calls of different shapes that a launcher remembers
_MOST = 256


class BeyondTable(IndexError):
    """Where a table is read, the length alone bounds, and in this call not below its size."""


class Launcher:
    """The kernels of one attend.

    What a call needs beside the numbers (the library, shapes, strides) depends on the layout of its
    arrays and is kept by it: to find it out takes longer than some tokens do. So a change of the
    environment counts for layouts that were not met before.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._calls: dict[Any, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Launcher, (self.kernel,)

    def forward(
        self,
        sizes: Sequence[int],
        arrays: Sequence[Tensor],
        is_kept: bool = True,
        wanted: Sequence[bool] | None = (),
    ) -> tuple[Tensor, Tensor | None]:
        """What the kernel makes; its heads are those of `sizes` times the places of its fixed axes.

        Shapes:
            results              (batch, heads, queries, width)
            what is kept of rows (numbers, batch, heads, queries), of a softmax lse first
        Options:
            is_kept   whether that is made, too: for a backward, and for lse
            wanted    the arrays whose gradients a backward makes, if one follows; None where that is not known
        """
        return self.ready(sizes, arrays, wanted).made(arrays, is_kept)

    def ready(
        self, sizes: Sequence[int], arrays: Sequence[Tensor], wanted: Sequence[bool] | None = ()
    ) -> Forward:
        """The forward of a layout of arrays; a backward for what is wanted is there, too."""
        told = (None,) if wanted is None else wanted
        layout = load, torch.get_num_threads(), *sizes, *told, *map(_layout, arrays)
        call: Forward | None = self._calls.get(layout)
        if call is None:
            call = self._remember(layout, _forward(self.kernel, sizes, arrays, wanted))
        return call

    def backward(
        self,
        sizes: Sequence[int],
        arrays: Sequence[Tensor],
        made: tuple[Tensor, Tensor],
        grads_of_made: tuple[Tensor | None, Tensor | None],
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        """The gradients of the arrays that are wanted, from those of the results and of lse."""
        layout = "back", load, torch.get_num_threads(), *sizes, *wanted, *map(_layout, arrays)
        call: _Backward | None = self._calls.get(layout)
        if call is None:
            call = self._remember(layout, _backward(self.kernel, sizes, arrays, wanted))
        return call.made(self.kernel, arrays, made, grads_of_made)

    def _remember(self, layout: Any, call: Any) -> Any:
        if len(self._calls) >= _MOST:
            self._calls.clear()
        self._calls[layout] = call
        return call


def _layout(array: Tensor) -> tuple[Any, ...]:
    return array.shape, array.stride(), array.dtype, array.is_neg()


@dataclass(frozen=True, slots=True)
class Forward:
    """A call of a forward but for the memory of its arrays.

    function   None where there are no pairs
    as_is      whether arrays are read as they are given
    sizes      of the kernel
    like       an array that lies as the result does, if there is one
    """

    kernel: Kernel
    function: Call | None
    as_is: bool
    sizes: tuple[int, int, int, int]
    strides: bytes
    numbers: bytes
    shape: tuple[int, ...]
    dtype: torch.dtype
    like: int | None

    def made(self, arrays: Sequence[Tensor], is_kept: bool = True) -> tuple[Tensor, Tensor | None]:
        kernel = self.kernel
        if self.like is None:
            out = torch.empty(self.shape, dtype=self.dtype, device="cpu")
        else:  # takes half as long
            out = torch.empty_like(arrays[self.like])
        batch, heads, queries, _ = self.sizes
        stats = None
        if is_kept:
            kept = (kernel.kept, batch, heads, queries)
            stats = torch.empty(kept, dtype=torch.float32, device="cpu")
        if self.function is None:  # nothing is read, arrays without numbers have no place
            out.zero_()
            if stats is not None:
                stats.zero_()
                stats[:1] = -torch.inf
            return out, stats
        held = arrays if self.as_is else all_held(arrays, kernel, heads)
        places = [out.data_ptr(), *(0,) * kernel.kept]
        if stats is not None:
            first, step = stats.data_ptr(), 4 * batch * heads * queries
            places[1:] = [first + n * step for n in range(kernel.kept)]
        made = self.function(_pointers(held), self.strides, _addresses(places), self.numbers)
        if made is False:
            raise BeyondTable(
                f"the kernel `{kernel.name}` may read a table beyond its end in a call of {queries} "
                f"queries and {self.sizes[3]} keys"
            )
        return out, stats


def _forward(
    kernel: Kernel,
    sizes: Sequence[int],
    arrays: Sequence[Tensor],
    wanted: Sequence[bool] | None,
) -> Forward:
    check(arrays, kernel, sizes)
    sizes = batch, heads, queries, _ = of_heads.whole(kernel, sizes)
    held = all_held(arrays, kernel, heads)
    shape, dtype = (batch, heads, queries, width_of(kernel)), dtypes.kept(arrays[0])
    is_last = wanted is not None and not any(wanted)
    return Forward(
        kernel=kernel,
        function=None if 0 in sizes else _with_backward(kernel, held, wanted or ()),
        as_is=_are_same(held, arrays),
        sizes=sizes,
        strides=_strides(kernel, held, heads),
        numbers=_numbers(*sizes, torch.get_num_threads(), is_last),
        shape=shape,
        dtype=dtype,
        like=next((n for n, array in enumerate(arrays) if _is_like(array, shape, dtype)), None),
    )


def _with_backward(kernel: Kernel, held: Sequence[Tensor], wanted: Sequence[bool]) -> Call:
    """The forward. A backward that is wanted is built beside it, and is looked for now: a module can
    still take another form of the call."""
    wanted = _real(kernel, wanted) if wanted else ()
    if not any(wanted):
        return attend(kernel, held)
    types = dtypes.types(kernel.arguments, held)
    begin(dtypes.backward(kernel.sources, types, wanted), name=kernel.name)
    call = attend(kernel, held)
    _attend_back(kernel, types, wanted)
    return call


def _is_like(array: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> bool:
    return array.shape == shape and array.dtype is dtype and array.stride() == packed(shape)


@dataclass(frozen=True, slots=True)
class _Backward:
    """A call of a backward but for the memory of its arrays.

    rooms     where cotangents are added up, by array; None where they are not
    wanted    which of these are asked for
    at_once   how many heads at a time
    """

    function: Call | None
    as_is: bool
    sizes: tuple[int, int, int, int]
    strides: bytes
    numbers: tuple[int, ...]
    rooms: tuple[tuple[int, ...] | None, ...]
    wanted: tuple[bool, ...]
    at_once: int

    def made(
        self,
        kernel: Kernel,
        arrays: Sequence[Tensor],
        made: tuple[Tensor, Tensor],
        grads_of_made: tuple[Tensor | None, Tensor | None],
    ) -> list[Tensor | None]:
        heads = self.sizes[1]
        held = arrays if self.as_is else all_held(arrays, kernel, heads)
        (out, stats), (out_grad, lse_grad) = made, grads_of_made
        extra: list[Tensor | None] = [torch.zeros_like(out) if out_grad is None else out_grad]
        if kernel.kept:
            extra += [out, lse_grad, *stats]
        parts = of_heads.parts(kernel, heads)
        shared = parts
        if self.at_once < heads:
            rounds = kernel.arguments, held, extra, self.rooms, heads, self.at_once
            grads = in_rounds(self._run, *rounds)
            shared = (1,) * len(parts)
        else:
            grads = [
                None if shape is None else torch.zeros(shape, dtype=torch.float32, device="cpu")
                for shape in self.rooms
            ]
            self._run([*held, *extra], grads, heads)
        items = zip(self.wanted, grads, kernel.arguments, arrays, strict=True)
        return [
            gradient(grad, item, self.sizes, array.shape, shared if is_shared(item) else parts).to(
                array.dtype
            )
            if want and grad is not None
            else None
            for want, grad, item, array in items
        ]

    def _run(
        self, arrays: Sequence[Tensor | None], grads: Sequence[Tensor | None], heads: int
    ) -> None:
        if self.function is None:
            return
        batch, _, *more = self.numbers
        self.function(
            _pointers(arrays), self.strides, _pointers(grads), _numbers(batch, heads, *more)
        )


def _backward(
    kernel: Kernel, sizes: Sequence[int], arrays: Sequence[Tensor], wanted: Sequence[bool]
) -> _Backward:
    sizes = batch, heads, _, keys = of_heads.whole(kernel, sizes)
    held = all_held(arrays, kernel, heads)
    threads = torch.get_num_threads()
    units = max(1, batch * heads)
    stretches = 1 if units >= threads else -(-2 * threads // units)
    stretches = max(1, min(stretches, -(-keys // KEYS)))
    wanted = _real(kernel, wanted)
    types = dtypes.types(kernel.arguments, held)
    library, made_for = _attend_back(kernel, types, wanted) if 0 not in sizes else (None, wanted)
    rooms = tuple(
        room(item, sizes, stretches) if is_made else None
        for item, is_made in zip(kernel.arguments, made_for, strict=True)
    )
    return _Backward(
        function=None if library is None else _call(library, "attend_back"),
        as_is=_are_same(held, arrays),
        sizes=sizes,
        strides=_strides(kernel, held, heads),
        numbers=(*sizes, threads, stretches),
        rooms=rooms,
        wanted=wanted,
        at_once=at_once(kernel.arguments, held, rooms, heads, threads),
    )


def _real(kernel: Kernel, wanted: Sequence[bool]) -> tuple[bool, ...]:
    """What is wanted among arrays of reals: the others have no gradients."""
    return tuple(want and item.real for want, item in zip(wanted, kernel.arguments, strict=True))


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


def texts(kernel: Kernel, types: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The sources to have ready for calls of a kernel, each as `forward` or `backward`.

    The backward is there for weights alone, for tokens too, and for all that a call can want.
    """
    yield "forward", dtypes.forward(kernel.sources, types)
    for wanted in dict.fromkeys(_learning(kernel, learners) for learners in _LEARNERS):
        if any(wanted):
            yield "backward", dtypes.backward(kernel.sources, types, wanted)


def _learning(kernel: Kernel, learners: Sequence[Learner]) -> tuple[bool, ...]:
    return tuple(item.learns in learners for item in kernel.arguments)


def attend(kernel: Kernel, arrays: Sequence[Tensor] | None = None) -> Call:
    """The forward, for arrays as kernels read them; without any for float32."""
    types = dtypes.types(kernel.arguments, arrays)
    source = dtypes.forward(kernel.sources, types)
    return _call(load(source, name=kernel.name), "attend", ctypes.c_bool)


def _call(library: Library, name: str, result: Any = None) -> Call:
    return partial(usage.run, library, library.function(name, *ARGUMENTS, result=result))


def _are_same(held: Sequence[Tensor], arrays: Sequence[Tensor]) -> bool:
    return all(ours is given for ours, given in zip(held, arrays, strict=True))


def _strides(kernel: Kernel, held: Sequence[Tensor], heads: int) -> bytes:
    pairs = zip(held, kernel.arguments, strict=True)
    return _numbers(*(step for array, item in pairs for step in strides(array, item, heads)))


def _numbers(*numbers: int) -> bytes:
    return struct.pack(f"{len(numbers)}q", *numbers)


def _pointers(arrays: Sequence[Tensor | None]) -> bytes:
    return _addresses([0 if array is None else array.data_ptr() for array in arrays])


def _addresses(places: Sequence[int]) -> bytes:
    return struct.pack(f"{len(places)}P", *places)
