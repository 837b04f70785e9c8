"""The core: typed expression graphs over arrays with named axes.

Elaboration turns syntax into these nodes: names are resolved, macros expanded, folds over a static count unrolled, implicit reads and group-to-head reads made explicit.
The typed spec, the sequence IR and the pair IR are all made of them; the oracle evaluates them directly.

Nodes are immutable and interned: two nodes of the same structure are the same object, so `is` decides equality and a graph never holds an expression twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Literal
from weakref import WeakValueDictionary

from .sizes import Size


class Kind(Enum):
    """What an array holds. An int that meets a real becomes a real."""

    BOOL = "bool"
    INT = "int"
    REAL = "real"


Role = Literal["batch", "head", "group", "user", "token", "joint", "distance"]


@dataclass(frozen=True, slots=True)
class Axis:
    """A named index axis.

    role   batch `b`, head `h`, group `g` (key/value heads), user axes, token sets, the joint
           key axis of an attend with several sources, and how far a query and a key are apart
    rank   layout order: arrays keep their axes sorted by rank, feature dims last
    size   static size, or None where only the call knows it (b and token sets)
    base   the token set whose tokens the axis runs over (`order` for the key axis `order'`)
    """

    name: str
    role: Role
    rank: int
    size: Size | None = None
    base: str = ""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Type:
    """`real{b, h, x}[d_head]`: kind, a set of index axes, a list of feature dims.

    ref is the axis an int points into, when it remembers one.
    """

    kind: Kind
    axes: frozenset[Axis] = frozenset()
    dims: tuple[Size, ...] = ()
    ref: Axis | None = None

    @property
    def ordered(self) -> tuple[Axis, ...]:
        """The axes in layout order."""
        return tuple(sorted(self.axes, key=lambda axis: (axis.rank, axis.name)))

    @property
    def tokens(self) -> tuple[Axis, ...]:
        """The token axes in layout order."""
        return tuple(axis for axis in self.ordered if axis.role in ("token", "joint"))

    def __str__(self) -> str:
        text = self.kind.value if self.ref is None else f"ref({self.ref})"
        if self.axes:
            text += "{" + ", ".join(str(axis) for axis in self.ordered) + "}"
        if self.dims:
            text += "[" + ", ".join(str(dim) for dim in self.dims) + "]"
        return text


class _Interned(type):
    """Constructor of nodes: an equal node that is alive is returned instead of a new one."""

    pool: ClassVar[WeakValueDictionary[Any, Any]] = WeakValueDictionary()

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        node = super().__call__(*args, **kwargs)
        key = (cls, *(_key(getattr(node, f.name)) for f in dataclasses.fields(node)))
        return _Interned.pool.setdefault(key, node)


def _key(value: Any) -> Any:
    if isinstance(value, Node):
        return ("node", id(value))
    if isinstance(value, tuple):
        return tuple(_key(item) for item in value)
    if dataclasses.is_dataclass(value) and _holds_nodes(value):
        return tuple(_key(getattr(value, f.name)) for f in dataclasses.fields(value))
    return (type(value), value)  # 1, 1.0 and True are three constants


def _holds_nodes(value: Any) -> bool:
    return isinstance(value, AttendSource)


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Node(metaclass=_Interned):
    """Base of every core node: an array of some type."""

    type: Type

    def __copy__(self) -> Node:
        return self

    def __deepcopy__(self, memo: object) -> Node:
        return self


@dataclass(frozen=True, eq=False, slots=True)
class Const(Node):
    """A number or truth value, the same everywhere. name: the dim that it came from."""

    value: bool | int | float
    name: str = ""


ParamRole = Literal["weight", "buffer", "random", "input", "stream", "argument", "carry"]


@dataclass(frozen=True, eq=False, slots=True)
class Param(Node):
    """A named array from outside: weight, buffer, frozen draw, input, stream, carried value.

    `argument` is a binding of `project` that the caller computes (`entry="qkv"`).
    """

    name: str
    role: ParamRole


@dataclass(frozen=True, eq=False, slots=True)
class Draw(Node):
    """Random numbers by counter from (seed, name, call, logical index), computed, never stored.

    per_call: drawn anew in each call; otherwise the same in every call.
    """

    name: str
    dist: str
    per_call: bool


@dataclass(frozen=True, eq=False, slots=True)
class Index(Node):
    """The place along an axis: 0 .. size-1; a ref to the axis."""

    axis: Axis


@dataclass(frozen=True, eq=False, slots=True)
class Position(Node):
    """The global position along x, context or h: the place plus q_start, k_start, head_start."""

    axis: Axis


@dataclass(frozen=True, eq=False, slots=True)
class Length(Node):
    """The size of the axis of x or context, padding included."""

    axis: Axis


@dataclass(frozen=True, eq=False, slots=True)
class Valid(Node):
    """Which tokens of x or context are there (False: padding)."""

    axis: Axis


@dataclass(frozen=True, eq=False, slots=True)
class KvHead(Node):
    """ref(g){h}: the key/value head of each head, h // (heads / kv_heads)."""

    axis: Axis


@dataclass(frozen=True, eq=False, slots=True)
class Fill(Node):
    """A constant array of its type's axes and dims, every element `value`."""

    value: bool | int | float


@dataclass(frozen=True, eq=False, slots=True)
class Range(Node):
    """int[n]: 0 .. n-1 along one feature dim."""


@dataclass(frozen=True, eq=False, slots=True)
class Eye(Node):
    """real[n, n]: the identity matrix."""


@dataclass(frozen=True, eq=False, slots=True)
class Map(Node):
    """A pointwise operator (a row of `operators.POINTWISE`); axes by union, dims equal or []."""

    op: str
    args: tuple[Node, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Contract(Node):
    """Sum of products over pairs of feature dims; `dot`, `@`, and with no pairs `outer`.

    left_dims[n] of left meets right_dims[n] of right; the dims left over follow in order.
    """

    left: Node
    right: Node
    left_dims: tuple[int, ...]
    right_dims: tuple[int, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Linear(Node):
    """weight @ flatten(arg) + bias, unflattened to the axes and dims of `to`.

    name       parameters `name.weight` (product of to, product of dims of arg), `name.bias`
    to_axes    index axes made, outermost first; to_dims: feature dims made
    """

    arg: Node
    name: str
    to_axes: tuple[Axis, ...]
    to_dims: tuple[Size, ...]
    bias: bool


@dataclass(frozen=True, eq=False, slots=True)
class Norm(Node):
    """Normalisation over all feature dims: `layer` or `rms`; weights `name.weight`, `name.bias`."""

    arg: Node
    op: Literal["layer", "rms"]
    name: str
    affine: bool
    eps: float


@dataclass(frozen=True, eq=False, slots=True)
class Read(Node):
    """arg with `axis` replaced by the axes of index (a ref into it); -1 reads 0."""

    arg: Node
    axis: Axis
    index: Node


@dataclass(frozen=True, eq=False, slots=True)
class ReadDim(Node):
    """arg with its first feature dim read at a plain int; dims of the index take its place."""

    arg: Node
    index: Node


ReduceOp = Literal["sum", "mean", "max", "min", "any", "all", "logsumexp", "count"]


@dataclass(frozen=True, eq=False, slots=True)
class Reduce(Node):
    """Reduction over index axes and feature dims, of what `where` lets in.

    An empty sum, mean or count is 0, an empty max or logsumexp -inf, an empty min +inf.
    """

    op: ReduceOp
    arg: Node
    axes: tuple[Axis, ...]
    dims: tuple[int, ...]
    where: Node | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Scan(Node):
    """Cumulative sum along an axis, inclusive unless said; reverse runs from the end."""

    arg: Node
    axis: Axis
    reverse: bool
    exclusive: bool


@dataclass(frozen=True, eq=False, slots=True)
class Stencil(Node):
    """out[.., p] = sum over taps t of kernel[.., t] * arg[.., p + starts + t], zero outside.

    kernel is {..}[taps, ..] with one tap dim per axis; with `channels`, its first feature dim
    is contracted with that axis of arg (heads as channels) and its own index axis is the result's.
    """

    arg: Node
    kernel: Node
    axes: tuple[Axis, ...]
    starts: tuple[int, ...]
    channels: Axis | None


@dataclass(frozen=True, eq=False, slots=True)
class Top(Node):
    """Refs to the n largest entries along `axis` (largest first, ties to the first), -1 if fewer.

    `made` is the new axis of size n; `where` says who competes.
    """

    arg: Node
    axis: Axis
    made: Axis
    where: Node | None


@dataclass(frozen=True, eq=False, slots=True)
class Choose(Node):
    """argmax or argmin along an index axis (a ref) or, with axis None, the only feature dim.

    Ties go to the first; an empty choice is -1.
    """

    op: Literal["argmax", "argmin"]
    arg: Node
    axis: Axis | None
    where: Node | None


@dataclass(frozen=True, eq=False, slots=True)
class Sort(Node):
    """Stable ascending order of the tokens of `axes` (flattened, outermost first) by keys.

    The first key is the most significant. Result: int{.., made}, the flat place of each token.
    """

    keys: tuple[Node, ...]
    axes: tuple[Axis, ...]
    made: Axis


@dataclass(frozen=True, eq=False, slots=True)
class Rank(Node):
    """The place that each token took in a sort: int over the axes that were sorted."""

    sort: Node


@dataclass(frozen=True, eq=False, slots=True)
class Segment(Node):
    """sum, mean or count of arg over `axes`, by the ref `label` into the result's new axis."""

    op: Literal["sum", "mean", "count"]
    arg: Node
    label: Node
    axes: tuple[Axis, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Scatter(Node):
    """arg over `axis` sent to tokens of `axes`, one ref per axis (-1 goes nowhere).

    Where several arrive: `add` sums, `mean` divides the sum by count + eps, `set` takes the last;
    where none arrives: 0.
    """

    arg: Node
    source_axes: tuple[Axis, ...]
    axes: tuple[Axis, ...]
    targets: tuple[Node, ...]
    mode: Literal["set", "add", "mean"]
    eps: float


@dataclass(frozen=True, eq=False, slots=True)
class ConcatDims(Node):
    """Concatenation along the first feature dim; index axes by union."""

    args: tuple[Node, ...]


@dataclass(frozen=True, eq=False, slots=True)
class AxisToDim(Node):
    """Index axis `axis` becomes the first feature dim (size: the axis')."""

    arg: Node
    axis: Axis


@dataclass(frozen=True, eq=False, slots=True)
class DimToAxis(Node):
    """The first feature dim becomes index axis `axis`."""

    arg: Node
    axis: Axis


@dataclass(frozen=True, eq=False, slots=True)
class Reshape(Node):
    """Row-major reshape of all feature dims to those of the type."""

    arg: Node


@dataclass(frozen=True, eq=False, slots=True)
class Transpose(Node):
    """The last two feature dims exchanged."""

    arg: Node


@dataclass(frozen=True, eq=False, slots=True)
class StackAxis(Node):
    """args[n] at place n of a new index axis `axis`."""

    args: tuple[Node, ...]
    axis: Axis


@dataclass(frozen=True, eq=False, slots=True)
class Split(Node):
    """Members of windows: out[.., set = n, member = m] = arg[.., axis = n * stride + m], 0 outside."""

    arg: Node
    axis: Axis
    made: Axis
    member: Axis
    stride: int


@dataclass(frozen=True, eq=False, slots=True)
class Tree(Node):
    """A field of a hierarchy over tokens, or with `args` the ref to node (level, place).

    which   `level`, `index`, `first`, `last` over the axis of the tree; `count`; or `node`
    """

    which: Literal["level", "index", "first", "last", "count", "node"]
    axis: Axis
    leaves: Axis
    fanout: int
    levels: int
    args: tuple[Node, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Simplex(Node):
    """Projection of each row along `axis` onto the simplex: alpha-entmax; alpha 2 is sparsemax."""

    arg: Node
    axis: Axis
    alpha: Node


@dataclass(frozen=True, eq=False, slots=True)
class Dropout(Node):
    """Elements zeroed with probability `rate` and the rest scaled by 1/(1-rate), in training."""

    arg: Node
    name: str
    rate: float


@dataclass(frozen=True, slots=True)
class AttendSource:
    """One key set of an attend.

    axes    the axes that are reduced: the key axis, or the edge axes of a list
    mask    bool or None (all), already conjoined with the validity of the keys
    at      the ref to the key set when visibility is a list (-1 is absent), else None
    score   real or int; value real, with the dims of the result
    """

    axes: tuple[Axis, ...]
    mask: Node | None
    at: Node | None
    score: Node
    value: Node


@dataclass(frozen=True, eq=False, slots=True)
class Attend(Node):
    """o[i] = sum over sources, over visible j, of weight(i, j) * value(i, j).

    normalize is an expression over the leaf `Scores`, whose key axis is `joint`: the only key
    axis where there is one source with a mask, else an axis of role `joint` that runs over the
    keys of all sources one after the other. A pair whose mask is False, whose ref is -1 or whose
    score is -inf is not there; reductions over `joint` run over what is there.
    name keys the dropout draws.
    """

    query: Axis
    sources: tuple[AttendSource, ...]
    joint: Axis
    normalize: Node
    dropout: float
    name: str


@dataclass(frozen=True, eq=False, slots=True)
class Arg(Node):
    """A sequence-level array where the pair loop reads it: what hoisting leaves of `value`.

    Inside the fields of an attend only Args stand for what does not depend on both query and key.
    """

    value: Node


@dataclass(frozen=True, eq=False, slots=True)
class Distances(Node):
    """How far queries are behind keys: one number for all pairs of a difference.

    Of N queries and M keys, query n and key m have place N - 1 - n + m of `axis`, which has N + M.
    query, key: what counts their tokens, positions or indices.
    """

    axis: Axis
    query: Node
    key: Node


@dataclass(frozen=True, eq=False, slots=True)
class AtDistance(Node):
    """arg with `axis`, of the distances of queries and keys, replaced by these two."""

    arg: Node
    axis: Axis
    query: Axis
    key: Axis


@dataclass(frozen=True, eq=False, slots=True)
class Scores(Node):
    """The scores of the attend around, in its normalize."""


@dataclass(frozen=True, eq=False, slots=True)
class Part(Node):
    """A result of an attend beside its value: `lse`, `weights` or `scores`.

    weights and scores have the key axis (axes of the only source); pairs that are not there have
    weight 0 and score -inf.
    """

    attend: Node
    part: Literal["lse", "weights", "scores"]


@dataclass(frozen=True, eq=False, slots=True)
class Recur(Node):
    """A loop over token axis `axis` in order; the result is yield number `which`.

    Bodies are typed with the axis present: at each token the carries (Param, role carry, named in
    `names`) hold their present value and every other field is read at that token.
    With which = -1 - n the result is the final value of carry n, without the axis.
    """

    axis: Axis
    names: tuple[str, ...]
    inits: tuple[Node, ...]
    nexts: tuple[Node, ...]
    yields: tuple[Node, ...]
    which: int


@dataclass(frozen=True, eq=False, slots=True)
class Use(Node):
    """Output `output` of the spec instance `name` (a submodule) for named arguments.

    keys are `x`, `context`, inputs and streams of that spec; token axes of the instance's x and
    context are those of the arguments.
    """

    name: str
    keys: tuple[str, ...]
    args: tuple[Node, ...]
    output: str


def operands(node: Node) -> Iterator[Node]:
    """The nodes that a node is made of, in field order."""
    for name in _fields(type(node)):
        yield from _nodes(getattr(node, name))


def _nodes(value: Any) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _nodes(item)
    elif isinstance(value, AttendSource):
        for name in ("mask", "at", "score", "value"):
            yield from _nodes(getattr(value, name))


_FIELDS: dict[type, tuple[str, ...]] = {}


def _fields(cls: type) -> tuple[str, ...]:
    if cls not in _FIELDS:
        _FIELDS[cls] = tuple(f.name for f in dataclasses.fields(cls) if f.name != "type")
    return _FIELDS[cls]


def map_operands(node: Node, rewrite: Callable[[Node], Node]) -> Node:
    """The node with each operand rewritten; the same object when nothing changed."""
    changes = {}
    for name in _fields(type(node)):
        old = getattr(node, name)
        new = _map(old, rewrite)
        if new is not old:
            changes[name] = new
    return dataclasses.replace(node, **changes) if changes else node


def _map(value: Any, rewrite: Callable[[Node], Node]) -> Any:
    if isinstance(value, Node):
        return rewrite(value)
    if isinstance(value, tuple):
        items = tuple(_map(item, rewrite) for item in value)
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else items
    if isinstance(value, AttendSource):
        names = ("mask", "at", "score", "value")
        new = {name: _map(getattr(value, name), rewrite) for name in names}
        if all(new[name] is getattr(value, name) for name in names):
            return value
        return dataclasses.replace(value, **new)
    return value


def walk(*roots: Node) -> Iterator[Node]:
    """Every node below the roots once, operands before users."""
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(list(operands(node))))


def down_to(is_end: Callable[[Node], bool], *roots: Node) -> Iterator[Node]:
    """Every node at or below the roots once, users before operands; ends are not looked into."""
    stack, seen = [*roots], set[Node]()
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            yield node
            if not is_end(node):
                stack.extend(operands(node))


def is_given(node: Node) -> bool:
    """Whether a node stands for an array that is made outside of the pairs of an attend."""
    return isinstance(node, Arg)


def depends_on(node: Node, found: Callable[[Node], bool]) -> bool:
    """Whether any node at or below satisfies the predicate."""
    return any(found(item) for item in walk(node))
