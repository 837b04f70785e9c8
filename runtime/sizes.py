"""Whether the arrays of a call have as many examples, heads, tokens and features as they should."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..dsl.core import Type, TypedSpec

#: the axes of what every spec takes
_TOKENS = {
    "x": ("b", "x"),
    "context": ("b", "context"),
    "valid": ("b", "x"),
    "context_valid": ("b", "context"),
}


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
    """The sizes of what a call may give, each against those before it: heads of a core, tokens, inputs, streams."""

    def __init__(self, spec: TypedSpec, heads: Collection[str]) -> None:
        self._layouts = tuple(_layouts(spec, heads))
        h, g = (spec.axes[name].size for name in ("h", "g"))
        self._share = 1 if h is None or g is None else h.value // g.value
        self._own_context = not spec.memory and not heads

    def mistake(self, given: Mapping[str, Any]) -> str:
        """What is wrong with a call, in words; empty if nothing is."""
        found: dict[str, tuple[int, str]] = {}
        for layout in self._layouts:
            value = given.get(layout.name)
            if isinstance(value, Tensor):
                told = f"`{layout.name}` is {layout.text}; this has shape {tuple(value.shape)}"
                wrong = _mistake(layout, value, found)
                if wrong is not None:
                    return told + wrong
            elif layout.name == "context" and self._own_context and "x" in found:
                found["context"] = found["x"]
        return self._of_groups(found)

    def _of_groups(self, found: Mapping[str, tuple[int, str]]) -> str:
        """Each group has as many heads as in the spec, also where a call has some of the heads."""
        if "h" not in found or "g" not in found:
            return ""
        (heads, of_heads), (groups, of_groups) = found["h"], found["g"]
        if heads == groups * self._share:
            return ""
        per_group = f"{self._share} head{'s'[: self._share != 1]} for each group of `{of_groups}`"
        return f"`{of_heads}` has {heads} heads: it is {per_group}, which has {groups}"


def _mistake(layout: _Layout, value: Tensor, found: dict[str, tuple[int, str]]) -> str | None:
    """What is wrong with an array, whose sizes count for those after it; None if nothing is."""
    if layout.dims and value.dim() != len(layout.axes) + len(layout.dims):
        return ""
    for axis, size in zip(layout.axes, value.shape, strict=False):
        count, owner = found.setdefault(axis, (size, layout.name))
        if size != count and not (axis == "b" and size == 1):
            return f", and `{owner}` has {count} along {axis}"
    for place, size in layout.known:
        if value.shape[place] != size:
            return f", and the spec has {size} there"
    return None


def _layouts(spec: TypedSpec, heads: Collection[str]) -> Iterator[_Layout]:
    for name in heads:
        yield _of_type(name, spec.bindings[name].type)
    for name, axes in _TOKENS.items():
        yield _Layout(name, axes)
    for info in spec.inputs.values():
        yield _of_type(info.name, info.type)
    for stream in spec.streams.values():
        yield _of_type(stream.name, stream.type)


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
