"""Whether the arrays of a call have as many examples, heads, tokens and features as they should."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..dsl.core import Type
from ..dsl.typed import TypedSpec
from .errors import ArgumentMistake

#: the axes of what every spec takes
_TOKENS = {"x": ("b", "x"), "context": ("b", "context")}
_VALIDITY = {"valid": ("b", "x"), "context_valid": ("b", "context")}


@dataclass(frozen=True)
class _Layout:
    """The axes of an array, then its features; those of a known size by their place from the end."""

    name: str
    axes: tuple[str, ...]
    dims: tuple[str, ...] = ()
    known: tuple[tuple[int, int], ...] = ()

    @property
    def text(self) -> str:
        return f"({', '.join((*self.axes, *self.dims))})"


class Sizes:
    """The sizes of what a call may give, each against those before it.

    Heads of a core come first, then tokens, inputs, streams, and what tells padding.
    """

    def __init__(self, spec: TypedSpec, heads: Collection[str]) -> None:
        self._layouts = tuple(_layouts(spec, heads))
        h, g = (spec.axes[name].size for name in ("h", "g"))
        self._share = 1 if h is None or g is None else h.value // g.value
        self._own_context = not spec.memory and not heads

    def check(self, given: Mapping[str, Any]) -> None:
        """Compare the arrays of a call.

        Raises:
            ArgumentMistake: one has other sizes than it should.
        """
        found: dict[str, tuple[int, str]] = {}
        for layout in self._layouts:
            value = given.get(layout.name)
            if isinstance(value, Tensor):
                _compare(layout, value, found)
            elif layout.name == "context" and self._own_context and "x" in found:
                found["context"] = found["x"]
        if "h" in found and "g" in found:
            self._compare_groups(found["h"], found["g"])

    def _compare_groups(self, heads: tuple[int, str], groups: tuple[int, str]) -> None:
        """A call has whole groups of heads, or an even part of one."""
        (count, owner), (number, of_groups) = heads, groups
        is_part = number == 1 and count > 0 and self._share % count == 0
        if count != number * self._share and not is_part:
            raise ArgumentMistake(
                f"`{owner}` has {count} heads and `{of_groups}` {number} groups of them; "
                f"the spec has {self._share} for each group"
            )


def _compare(layout: _Layout, value: Tensor, found: dict[str, tuple[int, str]]) -> None:
    """Compare an array, whose sizes count for those after it."""
    told = f"`{layout.name}` is {layout.text}; this has shape {tuple(value.shape)}"
    if value.dim() != len(layout.axes) + len(layout.dims):
        raise ArgumentMistake(told)
    for axis, size in zip(layout.axes, value.shape, strict=False):  # dims follow
        count, owner = found.setdefault(axis, (size, layout.name))
        if size != count and not (axis == "b" and size == 1):
            raise ArgumentMistake(f"{told}, and `{owner}` has {count} along {axis}")
    for place, size in layout.known:
        if value.shape[place] != size:
            raise ArgumentMistake(f"{told}, and the spec has {size} there")


def _layouts(spec: TypedSpec, heads: Collection[str]) -> Iterator[_Layout]:
    for name in heads:
        yield _of_type(name, spec.bindings[name].type)
    for name, axes in _TOKENS.items():
        yield _Layout(name, axes, ("d_model",))
    for info in spec.inputs.values():
        yield _of_type(info.name, info.type)
    for stream in spec.streams.values():
        yield _of_type(stream.name, stream.type)
    for name, axes in _VALIDITY.items():
        yield _Layout(name, axes)


def _of_type(name: str, type_: Type) -> _Layout:
    axes, dims = type_.ordered, type_.dims
    sizes = [axis.size if axis.role == "user" else None for axis in axes]
    places = enumerate((*sizes, *dims), start=-len(axes) - len(dims))
    return _Layout(
        name,
        tuple(axis.name for axis in axes),
        tuple(str(dim) for dim in dims),
        tuple((place, size.value) for place, size in places if size is not None),
    )
