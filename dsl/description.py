"""Typed specs -> the lines of `attnc show --stage spec`: everything that elaboration decided."""

from __future__ import annotations

from collections.abc import Iterator

from .core import Axis, Node
from .typed import StateInfo, TokenSet, TypedSpec, WeightInfo

INDENT = "  "


def describe(spec: TypedSpec) -> str:
    """A typed spec as text: sizes, axes, token sets, arrays, and the type of every binding."""
    head = f"spec {spec.name}" + (f" ({', '.join(spec.entries)})" if spec.entries else "")
    lines = [head]
    for title, rows in _sections(spec):
        if rows:
            lines += [title, *_aligned(rows)]
    return "\n".join(lines) + "\n"


def _sections(spec: TypedSpec) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    yield "dims", [(name, str(value).lower()) for name, value in spec.dims.items()]
    yield "axes", [(axis.name, axis.role, size_of(axis)) for axis in spec.axes.values()]
    yield "token sets", [_token_set(name, item) for name, item in spec.sets.items()]
    yield "weights", [array(info) for info in spec.weights.values()]
    yield "learned maps", [(n, maps(node), str(init)) for n, (node, init) in spec.owners.items()]
    yield "buffers and draws", [array(info) for info in spec.states.values()]
    yield (
        "inputs",
        [(info.name, str(info.type), default_of(info.default)) for info in spec.inputs.values()],
    )
    yield "streams", [(info.name, str(info.type)) for info in spec.streams.values()]
    yield "bindings", [_binding(spec, name, node) for name, node in spec.bindings.items()]
    yield "uses", [(name, sub.name) for name, sub in spec.uses.items()]
    yield "outputs", [(name, str(node.type)) for name, node in spec.outputs.items()]
    yield "losses", [(name, str(loss.value.type)) for name, loss in spec.losses.items()]
    yield "updates", [(name, str(node.type)) for name, node in spec.updates.items()]


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    count = max(len(row) for row in rows)
    filled = [row + ("",) * (count - len(row)) for row in rows]
    widths = [max(len(row[n]) for row in filled) for n in range(count)]
    for row in filled:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield (INDENT + "  ".join(cells)).rstrip()


def size_of(axis: Axis) -> str:
    """`heads = 8`, or that only the call knows."""
    if axis.size is None:
        return "known by the call"
    text = str(axis.size)
    return text if text == str(axis.size.value) else f"{text} = {axis.size.value}"


def _token_set(name: str, item: TokenSet) -> tuple[str, ...]:
    axes = " * ".join(axis.name for axis in item.axes)
    made = f"from {item.source}" if item.source and item.source != name else "given"
    return name, f"axes {axes}", made


def array(info: WeightInfo | StateInfo) -> tuple[str, str, str]:
    """Name, shape as written and at present sizes, and how it starts."""
    named = ", ".join([*(axis.name for axis in info.axes), *map(str, info.dims)])
    sizes = [axis.size.value for axis in info.axes if axis.size is not None]
    numbers = ", ".join(map(str, [*sizes, *(dim.value for dim in info.dims)]))
    return info.name, f"[{named}] = ({numbers})", f"init {info.init}"


def maps(node: Node) -> str:
    """`[d_model] -> {h}[d_head]` of a linear or a norm."""
    arg = getattr(node, "arg", None)
    before = "" if not isinstance(arg, Node) else f"[{', '.join(map(str, arg.type.dims))}]"
    axes = ", ".join(axis.name for axis in getattr(node, "to_axes", ()))
    after = f"[{', '.join(map(str, getattr(node, 'to_dims', node.type.dims)))}]"
    return f"{before} -> {'{' + axes + '}' if axes else ''}{after}"


def default_of(node: Node | None) -> str:
    """`default false`, or that the call must give it."""
    if node is None:
        return "required"
    return f"default {str(getattr(node, 'value', 'computed')).lower()}"


def _binding(spec: TypedSpec, name: str, node: Node) -> tuple[str, ...]:
    return name, str(node.type), type(node).__name__.lower()
