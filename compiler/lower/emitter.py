"""The emitter: core values as fx nodes, with their axes, and the layout that they share.

Every emitted array keeps its index axes sorted by rank, then its feature dims. So operands are aligned by inserting dims of size 1, never by moving data.
"""

from __future__ import annotations

import operator
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from ...dsl.core import Axis, Index, Kind, Node, Type
from ...dsl.typed import TypedSpec
from .. import torch_ops as ops
from ..program import OFFSETS, Program


@dataclass(frozen=True)
class Value:
    """An emitted array: fx node (or a plain number), its axes by rank, how many dims follow.

    wide   it came from an int, so it is float32 even where the module is half precision
    """

    node: Any
    axes: tuple[Axis, ...] = ()
    dims: int = 0
    wide: bool = False

    @property
    def is_number(self) -> bool:
        """Whether it is a plain number, without a node."""
        return not isinstance(self.node, fx.Node)


class NotLowered(Exception):
    """A node that this lowering has no form for."""

    def __init__(self, node: Node, why: str) -> None:
        self.node, self.why = node, why
        super().__init__(why)


def by_rank(axes: Iterable[Axis]) -> tuple[Axis, ...]:
    """Axes in layout order."""
    return tuple(sorted(set(axes), key=lambda axis: (axis.rank, axis.name)))


class Retracer(fx.Tracer):
    """Traces the code of a step again when its module is unpickled; our operations stay whole."""

    def __init__(self) -> None:
        whole = tuple(item for item in vars(ops).values() if callable(item))
        super().__init__(autowrap_functions=whole)


class Emitter(ABC):
    """Builds one fx graph."""

    def __init__(self, program: Program, names: dict[Node, str]) -> None:
        self.program = program
        self.spec: TypedSpec = program.spec
        self.graph = fx.Graph(tracer_cls=Retracer)
        self.names = names
        self.values: dict[Node, Value] = {}
        self.sizes: dict[str, Any] = {}
        self.inputs: dict[str, fx.Node] = {}
        self.likes: list[fx.Node] = []
        self.real_likes: list[fx.Node] = []
        self.submodules: dict[str, nn.Module] = {}
        self.hint = ""

    # -- nodes ------------------------------------------------------------------------------

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """A call of a function, named after the binding that is being emitted."""
        name = self._name(getattr(function, "__name__", "value"))
        return self.graph.create_node("call_function", function, args, kwargs, name=name)

    def method(self, name: str, node: Any, *args: Any) -> fx.Node:
        """A call of a tensor method."""
        return self.graph.create_node("call_method", name, (node, *args), name=self._name(name))

    def module(self, target: str, *args: Any, **kwargs: Any) -> fx.Node:
        """A call of a submodule."""
        name = self._name(target.replace(".", "_"))
        return self.graph.create_node("call_module", target, args, kwargs, name=name)

    def parameter(self, target: str) -> fx.Node:
        """A parameter or buffer of the module."""
        key = f"={target}"
        if key not in self.inputs:
            self.inputs[key] = self.graph.create_node(
                "get_attr", target, name=_identifier(target.replace(".", "_"))
            )
        return self.inputs[key]

    def _name(self, fallback: str) -> str:
        return _identifier(self.hint or fallback)

    def submodule(self, kind: str, module: nn.Module) -> str:
        """Keep a module that the graph calls; the name is that of this way of calling alone."""
        signature = self.program.signature
        told = (sorted(signature.given), *list(vars(signature).values())[1:])
        name = f"{kind}_{len(self.submodules)}_{zlib.crc32(repr(told).encode()):08x}"
        self.submodules[name] = module
        return name

    # -- sizes and places -------------------------------------------------------------------

    def know(self, axes: Sequence[Axis], node: fx.Node) -> None:
        """Remember from which tensor the size of each axis can be read."""
        for place, axis in enumerate(axes):
            if axis.role in ("batch", "head", "group", "token", "distance"):
                self.sizes.setdefault(axis.base, (node, place))

    def size(self, axis: Axis) -> Any:
        """The size of an axis: a number, or an fx node that reads it from a tensor."""
        if axis.role == "user" or (axis.role == "token" and axis.size is not None):
            assert axis.size is not None
            return axis.size.value
        base = axis.base
        found = self.sizes.get(base)
        if isinstance(found, tuple):
            node, place = found
            found = self.graph.create_node(
                "call_method", "size", (node, place), name=f"size_{_identifier(base)}"
            )
            self.sizes[base] = found
        if found is not None:
            return found
        if axis.size is not None:
            return axis.size.value
        if base == "context" and "context" not in self.program.signature.given:
            return self.size(self.spec.sets["x"].axis)
        token_set = self.spec.sets.get(base)
        if token_set is not None and token_set.count is not None and base not in ("x", "context"):
            value = self.lower(token_set.count)
            self.sizes[base] = value.node
            return value.node
        raise NotLowered(_leaf(axis), f"nothing in the call has axis `{axis}`")

    def whole_size(self, axis: Axis) -> Any:
        """The size of an axis in the whole call, where a graph sees a part of it."""
        return self.size(axis)

    def logical(self, axes: Sequence[Axis]) -> Sequence[Axis]:
        """The axes that the spec has, without those of a way of computing."""
        return axes

    @abstractmethod
    def lower(self, node: Node) -> Value:
        """The value of a node, by the lowering."""

    def like(self) -> fx.Node:
        """A tensor on the device of the call."""
        if not self.likes:
            self.likes.append(self.real_like())
        return self.likes[0]

    def real_like(self) -> fx.Node:
        """A tensor of the module's real dtype."""
        if self.real_likes:
            return self.real_likes[0]
        names = [*self.spec.weights, *(f"{name}.weight" for name in self.spec.owners)]
        if not names:
            return self.like() if self.likes else self.parameter("_like")
        return self.parameter(names[0])

    def offset(self, axis: Axis) -> Any:
        """Where positions along an axis begin: 0, or what the call gives."""
        given = self.program.signature.given
        if axis.role == "head":
            name = "head_start"
        elif axis.base == "context":
            name = "k_start"
            if name not in given and "context" not in given:
                name = "q_start"  # keys that are the queries' own tokens share their positions
        else:
            name = "q_start"
        assert name in OFFSETS
        return self.inputs[name] if name in given else 0

    def is_per_example(self, axis: Axis) -> bool:
        """Whether positions along an axis differ from example to example."""
        if axis.role == "head":
            return False
        given = self.program.signature.given
        own = axis.base != "context" or "context" in given or "k_start" in given
        name = "k_start" if axis.base == "context" and own else "q_start"
        return f"{name} per example" in given

    def position(self, axis: Axis) -> Value:
        """Global positions along x, context or h."""
        start = self.offset(axis)
        if not self.is_per_example(axis):
            node = self.call(ops.positions, self.like(), self.size(axis), start)
            return Value(node, (axis,))
        node = self.call(ops.token_positions, self.like(), self.size(axis), start)
        return Value(node, by_rank((self.spec.axes["b"], axis)))

    def index(self, axis: Axis) -> Value:
        """Places 0 .. size-1 along an axis."""
        return Value(self.call(ops.positions, self.like(), self.size(axis)), (axis,))

    # -- layout -----------------------------------------------------------------------------

    def align(self, value: Value, axes: Sequence[Axis], dims: int | None = None) -> Any:
        """The array with a dim of size 1 for each axis (and feature dim) that it lacks."""
        if value.is_number:
            return value.node
        dims = value.dims if dims is None else dims
        index: list[Any] = [slice(None) if axis in value.axes else None for axis in axes]
        if dims and not value.dims:
            index += [None] * dims
        elif dims:
            index += [slice(None)] * value.dims
        while index and index[0] is None:
            index.pop(0)
        if all(item is not None for item in index):
            return value.node
        return self.call(operator.getitem, value.node, tuple(index))

    def full(self, value: Value, axes: Sequence[Axis], dims: int | None = None) -> Any:
        """The array with every axis in place, also leading ones of size 1."""
        dims = value.dims if dims is None else dims
        node = self.tensor(value)
        index: list[Any] = [slice(None) if axis in value.axes else None for axis in axes]
        index += [slice(None)] * value.dims
        index += [None] * (dims - value.dims)
        if all(item is not None for item in index):
            return node
        return self.call(operator.getitem, node, tuple(index))

    def tensor(self, value: Value) -> Any:
        """The value as a tensor, where it is a plain number."""
        if not isinstance(value.node, fx.Node) or not (value.axes or value.dims):
            return self.call(ops.scalar, value.node, self.real_like())
        return value.node

    def expand(self, value: Value, axes: Sequence[Axis]) -> Any:
        """The array broadcast to all of some axes."""
        node = self.full(value, axes)
        if all(axis in value.axes for axis in axes):
            return node
        sizes = [-1 if axis in value.axes else self.size(axis) for axis in axes]
        return self.method("expand", node, *sizes, *([-1] * value.dims))

    def arrange(self, node: Any, axes: Sequence[Axis], dims: int, wide: bool = False) -> Value:
        """A value from a node whose axes stand in another order."""
        wanted = by_rank(axes)
        order = [list(axes).index(axis) for axis in wanted]
        if order != sorted(order):
            node = self.method("permute", node, *order, *range(len(axes), len(axes) + dims))
        return Value(node, wanted, dims, wide)

    def renamed(self, value: Value, old: Axis, new: Axis) -> Value:
        """The value with one axis under another name."""
        axes = [new if axis == old else axis for axis in value.axes]
        return self.arrange(value.node, axes, value.dims, value.wide)

    def narrowed(self, value: Value) -> Any:
        """A real in the dtype of the module's parameters."""
        if value.wide and not value.is_number:
            return self.call(ops.narrow, value.node, self.real_like())
        return value.node


def drop_unused(graph: fx.Graph) -> None:
    """Nodes that nothing reads are erased; arguments stay."""
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)


def _identifier(text: str) -> str:
    name = re.sub(r"[^0-9a-zA-Z_]", "_", text)
    return name if name and not name[0].isdigit() else f"_{name}"


def _leaf(axis: Axis) -> Node:
    return Index(Type(Kind.INT, frozenset({axis}), (), axis), axis)
