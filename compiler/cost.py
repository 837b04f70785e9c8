"""Programs -> predicted cost: operations and bytes of the dense form, at given lengths.

Counted over the graph after all passes: each value costs what its operator's row says per element, contractions two operations per product. Integers and truth values are not counted as floating-point operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..dsl.core import (
    Attend,
    Axis,
    Const,
    Contract,
    Distances,
    Index,
    Kind,
    KvHead,
    Length,
    Linear,
    Map,
    Node,
    Norm,
    Param,
    Position,
    Recur,
    Reduce,
    Scan,
    Scores,
    Simplex,
    Sort,
    Stencil,
    Top,
    Use,
    Valid,
    operands,
    walk,
)
from ..dsl.operators import POINTWISE
from ..dsl.typed import TypedSpec, WeightInfo
from .passes import run_passes
from .program import Program, Signature

ITEM_SIZES = {Kind.REAL: 4, Kind.INT: 8, Kind.BOOL: 1}
_LEAVES = (Const, Param, Index, Position, Length, Valid, KvHead, Scores)


@dataclass(frozen=True)
class Array:
    """An intermediate array: what it is called, its type, and its bytes for one example."""

    name: str
    type: str
    bytes: int


@dataclass(frozen=True)
class Cost:
    """What one example costs in the forward pass of the dense form, in float32.

    flops         floating-point operations
    parts         of which by kind: projections, scores, weighted sums, ...
    parameters    learned numbers, inner specs included; weight_bytes: as float32
    largest       the largest intermediate array
    """

    flops: int
    parts: dict[str, int]
    parameters: int
    weight_bytes: int
    largest: Array | None


@dataclass
class _Count:
    """Sums over the nodes of one program."""

    spec: TypedSpec
    lengths: dict[str, int]
    parts: dict[str, int] = field(default_factory=dict)
    largest: Array | None = None

    def add(self, part: str, flops: float) -> None:
        self.parts[part] = self.parts.get(part, 0) + int(flops)

    def size(self, axis: Axis) -> int:
        """How many places an axis has."""
        if axis.role == "batch":
            return 1
        if axis.size is not None:
            return axis.size.value
        for name in (axis.name, axis.base):
            if name in self.lengths:
                return self.lengths[name]
        return self._derived(axis)

    def _derived(self, axis: Axis) -> int:
        """The size of a derived token set, from its count; a joint axis has all keys."""
        for token_set in self.spec.sets.values():
            names = {item.name for item in token_set.axes}
            if len(token_set.axes) == 1 and names & {axis.name, axis.base}:
                name = axis.base or axis.name
                self.lengths[name] = self.lengths["x"]  # where only the call knows it
                self.lengths[name] = self._number(token_set.count)
                return self.lengths[name]
        return self.lengths["context"]

    def _number(self, node: Node | None) -> int:
        found = None if node is None else evaluate(node, self.size)
        return max(1, int(found)) if found is not None else self.lengths["x"]

    def elements(self, node: Node) -> int:
        dims = math.prod(dim.value for dim in node.type.dims)
        return dims * math.prod(self.size(axis) for axis in node.type.axes)


def predict(spec: TypedSpec, length: int, context: int | None = None) -> Cost:
    """The cost of one example of `length` tokens, with `context` tokens to attend to."""
    lengths = {"x": length, "context": length if context is None else context}
    count = _Count(spec, lengths)
    _walk(count, run_passes(Program(spec, Signature(), dict(spec.outputs))))
    total = sum(math.prod(shape) for _, shape in parameters(spec))
    return Cost(sum(count.parts.values()), count.parts, total, 4 * total, count.largest)


def _walk(count: _Count, program: Program) -> None:
    nodes = list(walk(*program.roots.values()))
    repeats = _repeats(count, nodes)
    names = {node: name for name, node in program.spec.bindings.items()}
    for node in nodes:
        if isinstance(node, Distances):
            ends = node.query.type.axes | node.key.type.axes
            count.lengths[node.axis.name] = sum(map(count.size, ends))
        if isinstance(node, Use):
            _use(count, node)
        elif not isinstance(node, _LEAVES) and type(node).__name__ != "Arg":
            _node(count, node, repeats.get(node, 1))
            _measure(count, node, names.get(node, ""))


def _repeats(count: _Count, nodes: list[Node]) -> dict[Node, int]:
    """How often what a loop carries is computed: once per token, where the type does not say so."""
    found: dict[Node, int] = {}
    for loop in nodes:
        if not isinstance(loop, Recur):
            continue
        inside: set[Node] = set()
        for node in walk(*loop.nexts, *loop.yields):
            carried = isinstance(node, Param) and node.role == "carry"
            if carried or any(child in inside for child in operands(node)):
                inside.add(node)
                if loop.axis not in node.type.axes:
                    found[node] = count.size(loop.axis)
    return found


def _measure(count: _Count, node: Node, name: str) -> None:
    size = count.elements(node) * ITEM_SIZES[node.type.kind]
    if count.largest is None or size > count.largest.bytes:
        shown = name or getattr(node, "op", "") or type(node).__name__.lower()
        count.largest = Array(str(shown), str(node.type), size)


def _use(count: _Count, node: Use) -> None:
    """An inner spec, at the lengths of what it is given; results of one call are counted once."""
    key = f"{node.name}({','.join(str(id(arg)) for arg in node.args)})"
    if key in count.lengths:
        return
    count.lengths[key] = 0
    sub = count.spec.uses[node.name]
    given = dict(zip(node.keys, node.args, strict=True))
    x = _length(count, given.get("x"))
    inner = _Count(sub, {"x": x, "context": _length(count, given.get("context"), x)})
    _walk(inner, run_passes(Program(sub, Signature(), dict(sub.outputs))))
    for part, flops in inner.parts.items():
        count.add(part, flops)
    if inner.largest and (count.largest is None or inner.largest.bytes > count.largest.bytes):
        name = f"{node.name}.{inner.largest.name}"
        count.largest = Array(name, inner.largest.type, inner.largest.bytes)


def _length(count: _Count, arg: Node | None, default: int | None = None) -> int:
    tokens = () if arg is None else arg.type.tokens
    if tokens:
        return count.size(tokens[0])
    return count.lengths["x"] if default is None else default


def _node(count: _Count, node: Node, times: int) -> None:
    size = count.elements(node) * times
    match node:
        case Map():
            if node.type.kind is Kind.REAL:
                count.add("pointwise", size * POINTWISE[node.op].cost)
        case Contract():
            inner = math.prod(node.left.type.dims[n].value for n in node.left_dims)
            count.add("contractions", 2 * size * inner)
        case Linear():
            inner = math.prod(dim.value for dim in node.arg.type.dims)
            count.add("projections", size * (2 * inner + node.bias))
        case Attend():
            count.add("weighted sums", _weighted(count, node))
        case Norm():
            count.add("norms", 8 * size)
        case Reduce() if node.arg.type.kind is Kind.REAL:
            cost = 20 if node.op == "logsumexp" else 1
            count.add("reductions", cost * times * count.elements(node.arg))
        case Scan():
            count.add("reductions", size)
        case Stencil():
            taps = math.prod(dim.value for dim in node.kernel.type.dims[: len(node.axes)])
            channels = 1 if node.channels is None else count.size(node.channels)
            count.add("contractions", 2 * size * taps * channels)
        case Top() | Sort() | Simplex():
            count.add("sorting", _sorting(count, node))
        case _:
            pass


def _weighted(count: _Count, node: Attend) -> int:
    """Two operations per pair and feature of the value."""
    keys = sum(math.prod(count.size(axis) for axis in source.axes) for source in node.sources)
    return 2 * count.elements(node) * keys


def _sorting(count: _Count, node: Top | Sort | Simplex) -> int:
    arg = node.keys[0] if isinstance(node, Sort) else node.arg
    size = count.elements(arg)
    return int(size * max(1.0, math.log2(max(size, 2))))


# -- numbers known at given lengths ---------------------------------------------------------


def evaluate(node: Node, size: Callable[[Axis], int]) -> float | None:
    """The value of a scalar made of constants and lengths, None where it is made of more."""
    if isinstance(node, Const):
        return float(node.value)
    if isinstance(node, Length):
        return float(size(node.axis))
    if not isinstance(node, Map):
        return None
    args = [evaluate(arg, size) for arg in node.args]
    known = [arg for arg in args if arg is not None]
    return _apply(node.op, known) if len(known) == len(args) else None


def _apply(op: str, args: list[float]) -> float | None:
    match op, args:
        case "+", [a, b]:
            return a + b
        case "-", [a, b]:
            return a - b
        case "*", [a, b]:
            return a * b
        case "//", [a, b] if b:
            return a // b
        case "ceil_div", [a, b] if b:
            return -(-a // b)
        case "%", [a, b] if b:
            return a % b
        case "min", [a, b]:
            return min(a, b)
        case "max", [a, b]:
            return max(a, b)
        case "neg", [a]:
            return -a
        case (("real" | "int"), [a]):
            return a
        case _:
            return None


# -- parameters -----------------------------------------------------------------------------


def parameters(spec: TypedSpec) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every learned array, as the compiled module has them."""
    nodes = list(walk(*_roots(spec)))
    used = {node.name for node in nodes if isinstance(node, Param)}
    for info in spec.weights.values():
        if info.name in used:
            yield info.name, _shape(info)
    layers = {n.name: n for n in nodes if isinstance(n, Linear | Norm) and n.name}
    for name, node in layers.items():
        yield from ((f"{name}.{part}", shape) for part, shape in _layer(node))
    for name, sub in spec.uses.items():
        yield from ((f"{name}.{inner}", shape) for inner, shape in parameters(sub))


def _roots(spec: TypedSpec) -> Iterator[Node]:
    yield from spec.outputs.values()
    yield from spec.updates.values()
    yield from (loss.value for loss in spec.losses.values())
    yield from (item.first for item in spec.streams.values() if item.first is not None)


def _shape(info: WeightInfo) -> tuple[int, ...]:
    sizes = [axis.size for axis in info.axes]
    return tuple(size.value for size in (*sizes, *info.dims) if size is not None)


def _layer(node: Linear | Norm) -> Iterator[tuple[str, tuple[int, ...]]]:
    if isinstance(node, Norm):
        shape = tuple(dim.value for dim in node.type.dims)
        yield "weight", shape
        if node.op == "layer":
            yield "bias", shape
        return
    inner = math.prod(dim.value for dim in node.arg.type.dims)
    sizes = [axis.size.value for axis in node.to_axes if axis.size is not None]
    outer = math.prod([*sizes, *(dim.value for dim in node.to_dims)])
    yield "weight", (outer, inner)
    if node.bias:
        yield "bias", (outer,)
