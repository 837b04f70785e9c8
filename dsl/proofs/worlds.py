"""Predicates at given lengths, tokens and inputs, exactly: what makes a refutation a refutation.

A world says every int and truth value that a predicate may ask for. What is computed from reals
(choices, sorts, comparisons of scores) is in no world: whether it can be so is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ..affine import Atom
from ..core import (
    Axis,
    Choose,
    Const,
    Fill,
    Kind,
    Length,
    Map,
    Node,
    Param,
    Position,
    Read,
    Recur,
    Reduce,
    Sort,
    Top,
    Tree,
    walk,
)
from ..evaluation import Assignment, evaluate
from ..predicates import Translator
from ..typed import InputInfo

Cell: TypeAlias = tuple[str, tuple[tuple[str, int], ...]]


class NotInWorld(Exception):
    """A value was needed that follows from more than lengths, tokens and inputs."""

    def __init__(self, node: Node) -> None:
        super().__init__(type(node).__name__)
        self.node = node


class Contradiction(Exception):
    """Two values were assumed for one element of an input."""


@dataclass(frozen=True, slots=True)
class World(Assignment):
    """Lengths by token set, tokens, and inputs by element; other elements are as by default.

    inputs  what is known of the inputs that may be asked for
    cells   the elements of inputs that were assumed, or asked for
    turned  truth values that are not assumed are the opposite of their default
    """

    lengths: Mapping[Axis, int] = field(default_factory=dict)
    inputs: Mapping[str, InputInfo] = field(default_factory=dict)
    cells: dict[Cell, int] = field(default_factory=dict)
    turned: bool = False

    def opaque(self, node: Node) -> int:
        match node:
            case Length(axis=axis) if axis in self.lengths:
                return self.lengths[axis]
            case Read():
                index = evaluate(node.index, self)
                if index < 0 or index >= self._size(node.axis):
                    return 0
                return evaluate(node.arg, self.moved(node.axis, index))
            case Param(role="input", name=name) if name in self.inputs:
                return self._of_input(node)
            case _:
                raise NotInWorld(node)

    def _size(self, axis: Axis) -> int:
        """How many tokens an axis has, so that reads beyond it are 0."""
        if axis.size is not None:
            return axis.size.value
        root = axis.base or axis.name
        sizes = {length.name: size for length, size in self.lengths.items()}
        if root not in ("x", "context"):
            return 2**62
        return sizes.get(root, sizes.get("x", 0))

    def _of_input(self, node: Param) -> int:
        """The element; one that was not assumed is from now on what it usually is."""
        return self.cells.setdefault(self.cell(node), self._usual(node))

    def _usual(self, node: Param) -> int:
        """What an element is where nothing is assumed of it."""
        info = self.inputs[node.name]
        usual = int(info.default.value) if isinstance(info.default, Const | Fill) else None
        if node.type.kind is Kind.BOOL:
            return int(bool(usual) is not self.turned)
        if usual is not None:
            return usual
        low, high = info.bounds or (0, 0)
        return min(max(0, low), high)

    def cell(self, node: Param) -> Cell:
        """The element of an input that is read here."""
        if node.type.dims or node.type.kind is Kind.REAL:
            raise NotInWorld(node)
        places = ((axis.base or axis.name, self.token(axis)) for axis in node.type.axes)
        return node.name, tuple(sorted(places))

    def moved(self, axis: Axis, index: int) -> World:
        """The world seen from another token."""
        return replace(self, model={**self.model, self.translator.token(axis): index}, known={})

    def assume(self, node: Node, value: int) -> None:
        """Take an opaque expression to have a value; what is no element of an input is left out.

        Raises:
            Contradiction: it was taken to have another one.
        """
        try:
            world, foot = self._followed(node)
            cell = world.cell(foot)
        except NotInWorld:
            return
        if not self._is_legal(foot.name, value) or self.cells.setdefault(cell, value) != value:
            raise Contradiction

    def _followed(self, node: Node) -> tuple[World, Param]:
        """The input at the foot of reads, and the world at the place that they name."""
        world = self
        while isinstance(node, Read):
            index = evaluate(node.index, world)
            if index < 0 or index >= world._size(node.axis):
                raise NotInWorld(node)
            world, node = world.moved(node.axis, index), node.arg
        if not isinstance(node, Param) or node.name not in self.inputs:
            raise NotInWorld(node)
        return world, node

    def _is_legal(self, name: str, value: int) -> bool:
        bounds = self.inputs[name].bounds
        return bounds is None or bounds[0] <= value <= bounds[1]

    @property
    def is_legal(self) -> bool:
        """Whether the elements of inputs are values that these may have."""
        return all(self._is_legal(name, value) for (name, _), value in self.cells.items())


def holds(nodes: Iterable[Node], world: World) -> bool:
    """Whether all predicates hold in a world."""
    return all(evaluate(node, world) for node in nodes)


def world_at(
    translator: Translator,
    places: Mapping[Axis, int],
    lengths: Mapping[Axis, int],
    inputs: Mapping[str, InputInfo],
    turned: bool = False,
) -> World:
    """The world of some tokens where nothing is assumed of inputs."""
    model: dict[Atom, int] = {translator.token(axis): place for axis, place in places.items()}
    return World(translator, model, {}, lengths=lengths, inputs=inputs, turned=turned)


def world_of(
    found: Assignment, lengths: Mapping[Axis, int], inputs: Mapping[str, InputInfo]
) -> World:
    """The world that the prover assumed.

    Raises:
        Contradiction: there is none.
    """
    translator = found.translator
    world = World(translator, found.model, {}, lengths=lengths, inputs=inputs)
    for atom, node in translator.opaque.items():
        if atom in found.model and not isinstance(node, Length):
            world.assume(node, found.model[atom])
    for key, truth in found.truths.items():
        world.assume(translator.literals[key], int(truth))
    return replace(world, known={})


def why_not(node: Node) -> str:
    """Why the value of an expression is not known, in words."""
    match node:
        case Top() | Choose():
            return "it depends on which tokens the data choose"
        case Sort():
            return "it depends on the order that the data give"
        case Read(arg=arg):
            return why_not(arg)
        case Map() if any(arg.type.kind is Kind.REAL for arg in (node, *node.args)):
            return "it depends on real numbers"
        case Param(name=name):
            return f"it depends on `{name}`"
        case Position():
            return "it depends on positions that are not known"
        case Reduce() | Recur() | Tree():
            inner = (item for item in walk(node) if item is not node)
            chosen = next((item for item in inner if isinstance(item, Top | Choose | Sort)), None)
            return "it depends on data" if chosen is None else why_not(chosen)
        case _:
            return "it depends on data"
