"""The tiled lowering: the dense form of a few queries and the keys that they may see, in turns.

The pair loop of an attend becomes the graph of a tile, in which every array over queries or keys has a block axis besides.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from ...dsl.core import (
    AtDistance,
    Attend,
    AttendSource,
    Axis,
    Kind,
    Linear,
    Node,
    Norm,
    Param,
    Part,
    Read,
    Type,
    map_operands,
)
from ...dsl.elaborate.typing import pointwise
from ..labels import labels_of
from ..matching.rows import (
    Match,
    arguments,
    edges,
    inside,
    is_outside,
    keys_of,
    orders_keys,
    shares_keys,
    tiled_sources,
)
from ..sparsity import Instruction, MaskProgram
from ..sparsity.translate import mask_program, names_of
from ..tiling import Input, Layout, TiledAttend
from . import attend
from .dense import Dense
from .emitter import Value, by_rank, drop_unused

BLOCK = Axis("block#", "token", 9, None, "block#")


def emit(e: Dense, node: Attend, found: Match) -> Value:
    """The result of an attend in tiles; its lse is kept for those who read it."""
    with_lse = found.with_lse
    tile = _Tile(e, node)
    masked = tile.emitted(with_lse, masked=True)
    open_tile = _Tile(e, node)
    unmasked = open_tile.emitted(with_lse, masked=False)
    assert list(tile.given) == list(open_tile.given)
    masks = [(node.sources[place].mask, axis) for place, axis in tile.sources.items()]
    layout = Layout(
        node.query.name,
        _names(tuple(tile.sources.values())),
        BLOCK.name,
        tuple(tile.input(key) for key in tile.given),
        tuple(_names(value.axes) for value in tile.results),
        tuple(_mask_program(mask, axis, tile) for mask, axis in masks),
        _orders(tile),
        _listed(node),
        _names(_beside(node)),
        _distances(node),
        _width(node),
        not (orders_keys(node) or shares_keys(node)),
        len(tile.sources) == len(node.sources),
    )
    name = e.submodule("tiles", TiledAttend(layout, masked, unmasked))
    made = e.module(name, *(value.node for value in tile.given.values()))
    values = []
    for place, value in enumerate(tile.results):
        item = e.call(operator.getitem, made, place) if with_lse else made
        axes = tuple(axis for axis in value.axes if axis != BLOCK)
        values.append(Value(item, axes, value.dims, value.wide))
    if with_lse:
        e.lse[node] = values[1]
    return values[0]


def _orders(tile: _Tile) -> tuple[tuple[int, ...], ...]:
    """By which arguments queries, and the keys of each source, are sorted."""
    numbers = {key: place for place, key in enumerate(tile.given)}
    return tuple(tuple(numbers[label] for label in labels) for labels in tile.labels)


def _beside(node: Attend) -> tuple[Axis, ...]:
    """Other axes over tokens that are met inside, as where the best keys are picked."""
    known = {node.query, *keys_of(node)}
    found = {
        axis
        for item in inside(node)
        for axis in item.type.axes
        if axis.role == "token" and axis.size is None and axis not in known
    }
    return by_rank(found)


def _distances(node: Attend) -> tuple[tuple[str, str], ...]:
    """The axes of distances of queries and keys, each with that of its keys."""
    found = {item.axis: item.key for item in inside(node) if isinstance(item, AtDistance)}
    return tuple((axis.name, key.name) for axis, key in found.items())


def _width(node: Attend) -> int:
    """How many numbers the pair loop holds for a pair, of features or along other axes.

    What is gathered from lists is counted by `_listed`.
    """
    known = {*node.type.axes, *keys_of(node)}
    lists = edges(node)
    widths = [1]
    for item in inside(node):
        if lists & item.type.axes:
            continue
        axes = [axis.size.value for axis in item.type.axes - known if axis.size is not None]
        widths.append(math.prod(axes) * math.prod(dim.value for dim in item.type.dims))
    return max(widths)


def _listed(node: Attend) -> int:
    """How many numbers a query gathers from its lists, each counted as a pair; and its fixed keys."""
    total = 0
    for source in node.sources:
        fixed = [axis.size.value for axis in source.axes if axis.size is not None]
        if source.at is not None:
            width = math.prod(dim.value for dim in source.value.type.dims)
            total += math.prod(fixed) * max(1, width)
        elif len(fixed) == len(source.axes):
            total += math.prod(fixed)
    return total


def _names(axes: tuple[Axis, ...]) -> tuple[str, ...]:
    return tuple(axis.name for axis in axes)


def _mask_program(mask: Node | None, key: Axis, tile: _Tile) -> tuple[MaskProgram, tuple[int, ...]]:
    """A mask as a program, and which arguments of the tile it reads."""
    numbers = {item: place for place, item in enumerate(tile.given)}
    places: dict[int, int] = {}

    def leaf(item: Node) -> Instruction | None:
        value = tile.values.get(item)
        if item in numbers:
            place = numbers[item]
            return Instruction("input", (places.setdefault(place, len(places)),))
        if value is not None and value.is_number:
            return Instruction("const", (value.node,))
        return None

    steps, conjuncts, diagonals = mask_program(mask, tile.node.query, key, leaf)
    given = list(tile.given.values())
    axes = tuple(names_of(given[place].axes, tile.node.query, key) for place in places)
    return MaskProgram(steps, conjuncts, diagonals, axes), tuple(places)


class _Tile(Dense):
    """Builds the graph of a tile: arguments from outside, and the dense form of the pairs.

    given     the arguments in order: a node, or the name of something else from outside
    sources   those whose keys may be left out, and their key axes
    """

    def __init__(self, outer: Dense, node: Attend) -> None:
        super().__init__(outer.program, {})
        self.outer, self.node = outer, node
        self.given: dict[Node | str, Value] = {}
        self.results: list[Value] = []
        self.places: dict[Axis, tuple[fx.Node, int]] = {}
        self.named: dict[str, Value] = {}
        #: arguments of which every tile gets all, and what they stand for
        self.wholes: dict[Node, Param] = {}
        self.whole_inputs: set[Node | str] = set()
        self.sources = tiled_sources(node)
        self.tiled = {node.query, *self.sources.values()}
        found = [labels_of(node.sources[n].mask, node.query, a) for n, a in self.sources.items()]
        of_queries = found[0].queries if len(found) == 1 else ()
        self.labels = (of_queries, *(labels.keys for labels in found))

    def within(self, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
        """The axes of an argument inside a tile."""
        apart = any(axis.role == "distance" for axis in axes)
        return by_rank((*axes, BLOCK)) if apart or self.tiled & set(axes) else axes

    def input(self, key: Node | str) -> Input:
        """How an argument goes into a tile."""
        axes = self.given[key].axes
        if key in self.whole_inputs:
            return Input(("",) * len(axes), ("",) * len(axes), _names(axes))
        return Input(_names(axes), _names(self.within(axes)), _names(axes))

    def emitted(self, with_lse: bool, masked: bool) -> fx.GraphModule:
        """The graph; without the masks where these let everything in."""
        there = {n: self._there(axis) if masked else None for n, axis in self.sources.items()}
        if "call" in self.outer.inputs:
            self.inputs["call"] = self._argument("call", Value(self.outer.inputs["call"])).node
        labels = [label for labels in self.labels for label in labels]
        for item in dict.fromkeys((*arguments(self.node), *labels)):
            value = self.outer.lower(item)
            if not value.is_number:
                value = self._argument(item, value)
                if value.axes or value.dims:
                    self.likes.append(value.node)
                    if item.type.kind is Kind.REAL and not value.wide:
                        self.real_likes.append(value.node)
            self.values[item] = value
        # masks too, where they are left out: both graphs have the same arguments
        sources = [self._with_whole_reads(source) for source in self.node.sources]
        for place, leaf in there.items():
            mask = sources[place].mask
            if leaf is not None and mask is not None:
                leaf = pointwise("and", mask, leaf)
            sources[place] = replace(sources[place], mask=leaf)
        node = replace(self.node, sources=tuple(sources))
        found = [attend.lowered(self, node).result]
        if with_lse:
            kind = Type(Kind.REAL, node.type.axes)
            found.append(attend.part(self, Part(kind, node, "lse")))
        outs = []
        for value in found:
            axes = by_rank((*value.axes, node.query, BLOCK))
            self.results.append(replace(value, axes=axes))
            outs.append(self.expand(value, axes))
        self.graph.output(tuple(outs))
        drop_unused(self.graph)
        return fx.GraphModule(torch.nn.Module(), self.graph)

    def _there(self, axis: Axis) -> Node:
        """Which keys of a source a tile really has."""
        leaf = Param(Type(Kind.BOOL, frozenset({axis})), f"there {axis}", "carry")
        placeholder = self.graph.placeholder(f"there_{len(self.values)}")
        self.values[leaf] = Value(placeholder, by_rank((BLOCK, axis)))
        return leaf

    def _with_whole_reads(self, source: AttendSource) -> AttendSource:
        """What is read by refs is read from all tokens, not from those of the tile."""
        done: dict[Node, Node] = {}

        def rewritten(node: Node) -> Node:
            if node not in done:
                made = node
                if not is_outside(node, self.node.query, keys_of(self.node)):
                    made = map_operands(node, rewritten)
                    if isinstance(made, Read) and made.axis in self.tiled:
                        made = replace(made, arg=self._whole(made.arg))
                done[node] = made
            return done[node]

        at = source.at if source.at is None else rewritten(source.at)
        mask = None if source.mask is None else rewritten(source.mask)
        score, value = rewritten(source.score), rewritten(source.value)
        return replace(source, at=at, mask=mask, score=score, value=value)

    def _whole(self, node: Node) -> Node:
        if node not in self.wholes:
            leaf = Param(node.type, f"whole {len(self.wholes)}", "carry")
            self.wholes[node] = leaf
            value = self.outer.lower(node)
            self.given[leaf] = value
            placeholder = self.graph.placeholder(f"given_{len(self.given)}")
            self.values[leaf] = Value(placeholder, value.axes, value.dims, value.wide)
            self.whole_inputs.add(leaf)
        return self.wholes[node]

    def _argument(self, key: Node | str, value: Value) -> Value:
        """Something from outside, as an argument of the tile."""
        self.given[key] = value
        axes = self.within(value.axes)
        placeholder = self.graph.placeholder(f"given_{len(self.given)}")
        for place, axis in enumerate(axes):
            self.places.setdefault(axis, (placeholder, place))
        return Value(placeholder, axes, value.dims, value.wide)

    # -- what the graph around answers ------------------------------------------------------

    def size(self, axis: Axis) -> Any:
        """The size of an axis inside a tile."""
        if axis in self.places:
            node, place = self.places[axis]
            return self.method("size", node, place)
        if axis in self.tiled:
            self.index(axis)
            return self.size(axis)
        return super().size(axis) if axis.size is not None else self.whole_size(axis)

    def whole_size(self, axis: Axis) -> Any:
        """The size of an axis around the tiles."""
        found = self.outer.size(axis)
        if not isinstance(found, fx.Node):
            return found
        return self._named(f"size of {axis}", lambda: Value(found)).node

    def logical(self, axes: Sequence[Axis]) -> Sequence[Axis]:
        """The axes without that of the blocks."""
        return [axis for axis in axes if axis != BLOCK]

    def position(self, axis: Axis) -> Value:
        """Global positions of the tokens of a tile."""
        return self._named(f"position of {axis}", lambda: self.outer.position(axis))

    def index(self, axis: Axis) -> Value:
        """Places of the tokens of a tile."""
        return self._named(f"index of {axis}", lambda: self.outer.index(axis))

    def _named(self, key: str, made: Callable[[], Value]) -> Value:
        if key not in self.named:
            self.named[key] = self._argument(key, made())
        return self.named[key]

    def parameter(self, target: str) -> fx.Node:
        """A parameter of the module around."""
        made = self._named(f"={target}", lambda: Value(self.outer.parameter(target)))
        node: fx.Node = made.node
        return node

    def module(self, target: str, *args: Any, **kwargs: Any) -> fx.Node:
        """A learned map or norm of the module around."""
        owner = self.spec.owners[target][0]
        weight = self.parameter(f"{target}.weight")
        if isinstance(owner, Linear):
            bias = self.parameter(f"{target}.bias") if owner.bias else None
            return self.call(torch.nn.functional.linear, args[0], weight, bias)
        assert isinstance(owner, Norm)
        shape = [dim.value for dim in owner.type.dims]
        if owner.op == "rms":
            return self.call(torch.nn.functional.rms_norm, args[0], shape, weight, owner.eps)
        bias = self.parameter(f"{target}.bias")
        return self.call(torch.nn.functional.layer_norm, args[0], shape, weight, bias, owner.eps)
