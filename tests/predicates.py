"""Random predicates over pairs, as nodes, with the arrays that they read; and all their pairs."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import torch
from attnc.compiler.sparsity import Instruction, MaskProgram
from attnc.compiler.sparsity.translate import mask_program, names_of
from attnc.dsl.core import Arg, Axis, Const, Index, Kind, Map, Node, Param, Position, Reduce, Type
from attnc.dsl.elaborate.typing import const, pointwise, real
from attnc.dsl.sizes import constant
from torch import Tensor

BATCH = Axis("b", "batch", 0)
HEADS = Axis("h", "head", 1)
EDGE = Axis("e", "user", 2, constant(3), "e")
QUERY = Axis("x", "token", 5, None, "x")
KEY = Axis("context", "token", 6, None, "context")
AXES = (BATCH, HEADS, EDGE, QUERY, KEY)
WIDTH = {BATCH: 2, HEADS: 3, EDGE: 3}


@dataclass
class Drawn:
    """A program, the arrays of its inputs, and the value of the predicate over AXES."""

    program: MaskProgram
    values: list[Tensor]
    sizes: dict[Axis, int]
    seen: Tensor


@dataclass
class Predicates:
    """Draws predicates over `sizes`.

    data   whether labels, flags and spans may be read, heads and examples included
    """

    rng: random.Random
    sizes: dict[Axis, int]
    data: bool
    starts: dict[Axis, int] = field(default_factory=dict)
    own: dict[Node, Tensor] = field(default_factory=dict)

    def size(self) -> int:
        return self.rng.choice([1, 2, 3, 4, 5, 7, 8, 16, 24])

    def array(self, kind: Kind, *axes: Axis) -> Node:
        """A new input over some axes."""
        node = Param(Type(kind, frozenset(axes)), f"input{len(self.own)}", "input")
        shape = [self.sizes[axis] for axis in AXES if axis in axes]
        if kind is Kind.BOOL:
            value = torch.rand(shape) < self.rng.choice([0.05, 0.5, 0.95])
        elif kind is Kind.REAL:
            value = torch.rand(shape) * self.rng.choice([3.0, 30.0])
        else:
            value = torch.randint(self.rng.choice([2, 5, 40]), shape)
            if self.rng.random() < 0.6 and shape:
                value = value.sort(-1)[0]
            value += self.rng.choice([0, 0, 0, -20, 2**53, 2**61])
        self.own[node] = value
        return node

    def token(self, axis: Axis) -> Node:
        """The position or place of a token."""
        kind = Type(Kind.INT, frozenset({axis}))
        return Index(kind, axis) if self.rng.random() < 0.15 else Position(kind, axis)

    def of_token(self, axis: Axis) -> Node:
        """A whole number that one token says, sometimes by head, example or edge."""
        size, other = const(self.size()), const(self.size())
        place = self.token(axis)
        forms = [
            place,
            pointwise("%", place, size),
            pointwise("//", place, size),
            pointwise("%", pointwise("//", pointwise("+", place, other), size), const(2)),
            pointwise("*", place, const(self.rng.choice([-1, 2, 3]))),
            pointwise("min", place, other),
            pointwise("abs", pointwise("-", place, other)),
        ]
        if self.data:
            lead = self.rng.choice([(), (), (BATCH,), (HEADS,), (BATCH, HEADS)])
            head = Index(Type(Kind.INT, frozenset({HEADS})), HEADS)
            label = self.array(Kind.INT, *lead, axis)
            forms += [label, label, pointwise("%", label, size)]
            forms.append(pointwise("%", place, pointwise("+", head, size)))
        made = self.rng.choice(forms)
        return Arg(made.type, made) if self.rng.random() < 0.5 else made

    def difference(self) -> Node:
        op = self.rng.choice(["-", "-", "-", "+"])
        pair = [self.token(QUERY), self.token(KEY)]
        self.rng.shuffle(pair)
        factors = [const(self.rng.choice([1, 1, 1, 1, 2, 3])) for _ in pair]
        pair = [
            pointwise("*", a, f) if f.value != 1 else a for a, f in zip(pair, factors, strict=True)
        ]
        return pointwise(op, *pair)

    def number(self) -> Node:
        """A whole number that a pair says."""
        size = const(self.size())
        found = self.difference()
        forms = [
            found,
            found,
            pointwise("%", found, size),
            pointwise("//", found, size),
            pointwise("abs", found),
            pointwise("+", self.of_token(QUERY), self.of_token(KEY)),
            pointwise("-", self.of_token(QUERY), self.of_token(KEY)),
            pointwise("max", self.of_token(QUERY), self.of_token(KEY)),
        ]
        return self.rng.choice(forms)

    def comparison(self) -> Node:
        op = self.rng.choice(["<", "<=", ">", ">=", "==", "!="])
        pick = self.rng.random()
        if pick < 0.4:
            limit = const(self.rng.randint(-30, 40))
            return pointwise(op, self.number(), limit)
        if pick < 0.6:
            return pointwise(op, self.of_token(QUERY), self.of_token(KEY))
        if pick < 0.7:
            axis = self.rng.choice([QUERY, KEY])
            return pointwise(op, self.of_token(axis), const(self.size()))
        if pick < 0.8:
            return self.over_edges(op)
        if not self.data or pick < 0.9:
            left, right = self.token(QUERY), self.token(KEY)
            size = const(self.size())
            return pointwise("==", pointwise("%", left, size), pointwise("%", right, size))
        if pick < 0.95:
            return self.array(Kind.BOOL, self.rng.choice([QUERY, KEY]))
        span = self.array(Kind.REAL, self.rng.choice([HEADS, QUERY]))
        return pointwise(op, real(self.difference()), span)

    def over_edges(self, op: str) -> Node:
        """Whether something holds at some, or at all, of a few places."""
        edge = Index(Type(Kind.INT, frozenset({EDGE})), EDGE)
        if self.data and self.rng.random() < 0.5:
            label = self.array(Kind.INT, HEADS, EDGE, QUERY)
            inner = pointwise("==", label, pointwise("//", self.token(KEY), const(self.size())))
        else:
            inner = pointwise(op, self.difference(), pointwise("*", edge, const(self.size())))
        kind = Type(Kind.BOOL, inner.type.axes - {EDGE})
        return Reduce(kind, self.rng.choice(["any", "any", "all"]), inner, (EDGE,), ())

    def mask(self, depth: int) -> Node:
        if depth == 0 or self.rng.random() < 0.2:
            return self.comparison()
        match self.rng.randrange(8):
            case 0 | 1 | 2 | 3:
                return pointwise("and", self.mask(depth - 1), self.mask(depth - 1))
            case 4 | 5:
                return pointwise("or", self.mask(depth - 1), self.mask(depth - 1))
            case 6:
                return pointwise("not", self.mask(depth - 1))
        return pointwise("where", self.comparison(), self.mask(depth - 1), self.mask(depth - 1))


def drawn(seed: int, data: bool = True, depth: int = 3) -> Drawn:
    """The predicate of a seed, over fewer than 97 queries and keys."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    sizes = {QUERY: rng.randint(1, 96), KEY: rng.randint(1, 96), **WIDTH}
    made = Predicates(rng, sizes, data)
    if rng.random() < 0.3:
        made.starts = {QUERY: rng.choice([5, 1000]), KEY: rng.choice([0, 7])}
    mask = made.mask(depth)
    numbers: dict[Node, int] = {}

    def leaf(node: Node) -> Instruction | None:
        if isinstance(node, Const):
            return None
        is_array = isinstance(node, Param | Position | Index)
        is_hoisted = isinstance(node, Arg)
        if not (is_array or is_hoisted):
            return None
        return Instruction("input", (numbers.setdefault(node, len(numbers)),))

    steps, conjuncts, diagonals = mask_program(mask, QUERY, KEY, leaf)
    axes = tuple(names_of(node.type.ordered, QUERY, KEY) for node in numbers)
    program = MaskProgram(steps, conjuncts, diagonals, axes)
    values = [squeezed(on_pairs(node, made), node) for node in numbers]
    return Drawn(program, values, sizes, on_pairs(mask, made))


def squeezed(value: Tensor, node: Node) -> Tensor:
    """An array over AXES without those that a node lacks."""
    return value.flatten().view([value.size(AXES.index(axis)) for axis in node.type.ordered])


FUNCTIONS = {
    "+": torch.add,
    "-": torch.sub,
    "*": torch.mul,
    "//": torch.floor_divide,
    "%": torch.remainder,
    "min": torch.minimum,
    "max": torch.maximum,
    "abs": torch.abs,
    "<": torch.lt,
    "<=": torch.le,
    ">": torch.gt,
    ">=": torch.ge,
    "==": torch.eq,
    "!=": torch.ne,
    "and": torch.logical_and,
    "or": torch.logical_or,
    "not": torch.logical_not,
    "where": torch.where,
}


def on_pairs(node: Node, given: Predicates) -> Tensor:
    """The value of a node at every place of AXES, of size 1 along those that it lacks."""
    match node:
        case Const(value=value):
            return torch.tensor(value).view([1] * len(AXES))
        case Arg(value=value):
            return on_pairs(value, given)
        case Position(axis=axis) | Index(axis=axis):
            start = given.starts.get(axis, 0) if isinstance(node, Position) else 0
            return laid_out(torch.arange(given.sizes[axis]) + start, (axis,), given)
        case Param():
            return laid_out(given.own[node], node.type.ordered, given)
        case Reduce(op=op, arg=arg, axes=axes):
            found = on_pairs(arg, given)
            dim = AXES.index(axes[0])
            return found.any(dim, True) if op == "any" else found.all(dim, True)
        case Map(op="real", args=args):
            return on_pairs(args[0], given).float()
        case Map(op=op, args=args):
            return FUNCTIONS[op](*(on_pairs(arg, given) for arg in args))
    raise AssertionError(node)


def laid_out(value: Tensor, axes: tuple[Axis, ...], given: Predicates) -> Tensor:
    return value.view([given.sizes[axis] if axis in axes else 1 for axis in AXES])
