"""The dense lowering: every core node as plain torch operations.

Any dtype, any device, any order of derivative, exportable. Attends form their whole score array; other lowerings replace an attend by one node and leave the rest as it is here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import fx, nn

from ...dsl.core import (
    Arg,
    AtDistance,
    Attend,
    Axis,
    AxisToDim,
    Choose,
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
    Part,
    Position,
    Range,
    Rank,
    Read,
    ReadDim,
    Recur,
    Reduce,
    Reshape,
    Scan,
    Scatter,
    Segment,
    Simplex,
    Sort,
    Split,
    StackAxis,
    Stencil,
    Top,
    Transpose,
    Tree,
    Use,
    Valid,
    operands,
)
from ..codegen.layout import Kernel
from ..normalizer import uses_scores
from ..program import Program
from ..recurrences import Solution
from . import (
    attend,
    contractions,
    draws,
    leaves,
    ordering,
    pointwise,
    reading,
    recur,
    reductions,
    scattering,
    shaping,
    stencils,
    uses,
)
from .emitter import Emitter, NotLowered, Value

Kernels: TypeAlias = Callable[[Kernel, fx.GraphModule], nn.Module]


class Dense(Emitter):
    """Lowers nodes one by one, remembering each."""

    def __init__(
        self, program: Program, names: dict[Node, str], kernels: Kernels | None = None
    ) -> None:
        super().__init__(program, names)
        #: what makes a module of a kernel's text and of the dense form of the same attend
        self.kernels = kernels
        #: values that hold only inside one normaliser, innermost last
        self.local: list[dict[Node, Value]] = []
        #: presence of the pairs of each joint axis, inside its normaliser
        self.present: dict[Axis, Value] = {}
        #: lowerings chosen for single attends
        self.chosen: dict[Node, Callable[[Dense], Value]] = {}
        #: the carries, inside the step of a loop
        self.carries: dict[str, Value] = {}
        #: calls of used specs, parts of attends, results of loops: each emitted once
        self.calls: dict[object, fx.Node] = {}
        self.attends: dict[Attend, attend.Lowered] = {}
        #: log-sum-exp of attends that another lowering computes
        self.lse: dict[Attend, Value] = {}
        self.loops: dict[object, recur.Results] = {}
        #: loops that are advanced over all tokens at once, by the names of their carries
        self.linear_loops: dict[tuple[str, ...], Solution] = {}

    def prepare_inner(self, outer: Dense) -> None:
        """Know what the graph around knows, for the step of a loop."""
        self.chosen, self.linear_loops = outer.chosen, outer.linear_loops

    def real_like(self) -> fx.Node:
        """A tensor of the module's real dtype; inside the step of a loop, a carry."""
        if not self.carries:
            return super().real_like()
        node: fx.Node = next(iter(self.carries.values())).node
        return node

    def lower(self, node: Node) -> Value:
        """The value of a node."""
        for scope in reversed(self.local):
            if node in scope:
                return scope[node]
        found = self.values.get(node)
        if found is not None:
            return found
        before, self.hint = self.hint, self.names.get(node, "")
        for child in _direct(node):
            self.hint = self.names.get(child, "")
            self.lower(child)
        self.hint = self.names.get(node, "")
        value = self._lower(node)
        self.hint = before
        self.remember(node, value)
        return value

    def remember(self, node: Node, value: Value) -> None:
        """Keep a value for later uses, in the scope in which it holds."""
        if self.local and uses_scores(node):
            self.local[-1][node] = value
        else:
            self.values[node] = value

    def _lower(self, node: Node) -> Value:
        handler = _HANDLERS.get(type(node))
        if handler is None:
            raise NotLowered(node, f"`{type(node).__name__}` has no dense form")
        return handler(self, node)


def _direct(node: Node) -> tuple[Node, ...]:
    """Operands to lower first, to keep recursion shallow; attends and loops do their own."""
    if isinstance(node, Attend | Part | Read | Recur | Reduce | Use):
        return ()
    return tuple(operands(node))


_HANDLERS: dict[type, Callable[..., Value]] = {
    Arg: leaves.arg,
    Const: leaves.const,
    Param: leaves.param,
    Index: leaves.index,
    Position: leaves.position,
    KvHead: leaves.kv_head,
    Length: leaves.length,
    Distances: leaves.distances,
    AtDistance: reading.at_distance,
    Valid: leaves.valid,
    Fill: leaves.fill,
    Range: leaves.range_dim,
    Eye: leaves.eye,
    Tree: leaves.tree,
    Map: pointwise.pointwise,
    Contract: contractions.contract,
    Linear: contractions.linear,
    Norm: contractions.norm,
    Read: reading.read,
    ReadDim: reading.read_dim,
    Reduce: reductions.reduce,
    Scan: reductions.scan,
    Simplex: reductions.simplex,
    Stencil: stencils.stencil,
    Top: ordering.top,
    Choose: ordering.choose,
    Sort: ordering.sort,
    Rank: ordering.rank,
    Segment: scattering.segment,
    Scatter: scattering.scatter,
    ConcatDims: shaping.concat,
    AxisToDim: shaping.axis_to_dim,
    DimToAxis: shaping.dim_to_axis,
    Reshape: shaping.reshape,
    Transpose: shaping.transpose,
    StackAxis: shaping.stack_axis,
    Split: shaping.split,
    Dropout: draws.dropout,
    Draw: draws.draw,
    Use: uses.use,
    Attend: attend.attend,
    Part: attend.part,
    Recur: recur.recur,
}
