"""The flex lowering: an attend by FlexAttention, its score and its mask as functions of one pair."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from ...dsl.core import Attend, Axis, Const, Kind, Map, Node, Position, Read, ReadDim
from .. import torch_ops as ops
from ..flex_attend import FlexAttend
from ..matching.flex import Match
from ..torch_meanings import function_of
from .emitter import Value
from .mask_reader import MaskReader
from .sdpa import ungrouped

if TYPE_CHECKING:
    from .dense import Dense


def emit(e: Dense, node: Attend, found: Match) -> Value:
    """The call of FlexAttention."""
    reader = MaskReader(e, None)
    mask = reader.of_source(node, node.sources[0])
    score = _Score(e, node, found)
    made = score.graph_of(found.score)
    batch, head = e.spec.axes["b"], e.spec.axes["h"]
    has_heads = head in node.type.axes
    key, by_group = ungrouped(e, found.key)
    value, values_by_group = ungrouped(e, found.value)
    if not (by_group and values_by_group):
        key, value = e.lower(found.key), e.lower(found.value)
    group = e.spec.axes["g"] if by_group and values_by_group else head

    def four(item: Value, heads: Axis, tokens: Axis) -> Any:
        """(batch, heads, tokens, width); one head where there are none."""
        axes = (batch, heads, tokens) if has_heads else (batch, tokens)
        array = e.expand(Value(e.narrowed(item), item.axes, item.dims), axes)
        return array if has_heads else e.method("unsqueeze", array, 1)

    arrays = (
        four(e.lower(found.query), head, node.query),
        four(key, group, node.joint),
        four(value, group, node.joint),
    )
    step = FlexAttend(made, mask, len(reader.outputs))
    name = e.submodule("flex", step)
    result = e.module(name, *arrays, *reader.outputs, *score.arrays)
    if has_heads:
        return e.arrange(result, (batch, head, node.query), 1)
    return e.arrange(e.method("squeeze", result, 1), (batch, node.query), 1)


class _Score:
    """A score as a graph over (dot product, batch, head, query, key, arrays..), all of one pair."""

    def __init__(self, e: Dense, node: Attend, found: Match) -> None:
        self.e, self.found = e, found
        self.leaves = {leaf.node: leaf for leaf in found.arrays}
        self.graph = fx.Graph()
        self.dot, *places = map(self.graph.placeholder, ("dot", "b", "h", "i", "j"))
        axes = (e.spec.axes["b"], e.spec.axes["h"], node.query, node.joint)
        self.at: dict[Axis, Any] = dict(zip(axes, places, strict=True))
        #: what the graph reads, as nodes of the graph around
        self.arrays: list[Any] = []
        self.made: dict[Node, Any] = {}

    def graph_of(self, score: Node) -> fx.GraphModule | None:
        """None where the score is the product itself."""
        if score is self.found.dot:
            return None
        self.graph.output(self.value(score))
        return fx.GraphModule(torch.nn.Module(), self.graph, class_name="Score")

    def value(self, node: Node) -> Any:
        """A number of a pair: a node of the graph, or a plain number."""
        if node is self.found.dot:
            return self.dot
        if node not in self.made:
            self.made[node] = self._value(node)
        return self.made[node]

    def _value(self, node: Node) -> Any:
        match node:
            case Const():
                return node.value
            case Read() | ReadDim() if node.arg in self.leaves:
                return self._read(node)
            case Position() if not self.e.is_per_example(node.axis):
                start = self.e.offset(node.axis)
                place = self.at[node.axis]
                return place if start == 0 else self.call(operator.add, place, self.array(start))
            case _ if node in self.leaves:
                return self._entry(self.e.lower(node))
            case Map(op="as_ref" | "detach", args=(arg,)):
                return self.value(arg)
            case Map(op="real", args=(arg,)):
                made = self.value(arg)
                is_node = isinstance(made, fx.Node)
                return self.graph.call_method("float", (made,)) if is_node else float(made)
            case Map(op="where", args=(condition, *branches)):
                return self.call(torch.where, self.value(condition), *map(self.tensor, branches))
            case Map(op=op, args=args):
                made = [self.value(arg) for arg in args]
                if not any(isinstance(item, fx.Node) for item in made):
                    made[0] = self.tensor(args[0])
                return self.call(function_of(op), *made)
        raise AssertionError(f"`{type(node).__name__}` was matched as part of a score")

    def call(self, function: Any, *args: Any) -> fx.Node:
        return self.graph.call_function(function, args)

    def tensor(self, node: Node) -> Any:
        """A number as a tensor, where it is a plain one."""
        made = self.value(node)
        if isinstance(made, fx.Node):
            return made
        like = self.dot if node.type.kind is Kind.REAL else next(iter(self.at.values()))
        return self.call(torch.full_like, like, made)

    def array(self, value: Any) -> fx.Node:
        """Something of the graph around, as an input of this one."""
        self.arrays.append(value)
        return self.graph.placeholder(f"array_{len(self.arrays)}")

    def _entry(self, value: Value, index: Any = None, along: Axis | None = None) -> Any:
        """What an array holds for a pair; of a table, at an index along one axis or its feature dim."""
        if value.is_number:
            return value.node
        places = [index if axis == along else self.at[axis] for axis in value.axes]
        if index is not None and along is None:
            places.append(index)
        array = self.array(value.node)
        return self.call(operator.getitem, array, tuple(places)) if places else array

    def _read(self, node: Read | ReadDim) -> fx.Node:
        """A table at a place; 0 where it has none there."""
        table = self.e.lower(node.arg)
        along = node.axis if isinstance(node, Read) else None
        size = node.arg.type.dims[0] if along is None else along.size
        assert size is not None
        index = self.tensor(node.index)
        inside = self.call(ops.clip, index, 0, size.value - 1)
        read = self._entry(table, inside, along)
        zero = self.call(torch.zeros_like, read)
        return self.call(torch.where, self.call(operator.eq, index, inside), read, zero)
