"""Whether an attend fits a fused kernel; without torch."""

from __future__ import annotations

from dataclasses import replace

from ...dsl.core import (
    Arg,
    AtDistance,
    Attend,
    Axis,
    ConcatDims,
    Const,
    Contract,
    Index,
    Kind,
    KvHead,
    Length,
    Map,
    Node,
    Param,
    Position,
    Read,
    ReadDim,
    Reduce,
)
from ...dsl.intervals import bounds
from ..dropping import key_places, row_bits
from ..normalizer import may_be_absent
from ..one_hot import place_of
from ..program import Program
from .match import Classes, Domain, Dropped, Leaf, Match, computed
from .refusal import Refusal, whole_rows
from .weights import Weights, weights_of

#: operators that kernels compute
OPERATORS = frozenset(
    "neg + - * / // % ** < <= > >= == != not and or where min max clip exp expm1 log log1p sqrt abs "
    "sign floor ceil round tanh sigmoid relu leaky_relu gelu silu elu softplus sin cos erf safe_div "
    "ceil_div real int detach as_ref".split()
)


#: axes of a result beside its queries; groups of heads where nothing differs by head
ROLES = ("batch", "head", "group", "user")
#: numbers of a matrix that all pairs share: its gradient is summed for each lane, in the second cache
LARGEST_LAYER = 4096


class _Unfit(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.reason)


def match(node: Attend, program: Program, parts: frozenset[str]) -> Match | Refusal:
    """What the kernel of an attend is made of, or why it has none."""
    refusal = whole_rows(node, program, parts - {"lse"}, drops=True)
    if refusal is not None:
        return refusal
    weights = weights_of(node)
    if isinstance(weights, Refusal):
        return weights
    rows = []
    for row, with_lse in weights.rows:
        made = match(row, program, frozenset({"lse"} if with_lse else ()))
        if isinstance(made, Refusal):
            return made
        rows.append((row, made))
    try:
        return _Matcher(weights, program).matched("lse" in parts, tuple(rows))
    except _Unfit as unfit:
        return unfit.refusal


class _Matcher:
    """Collects the leaves and terms of one attend."""

    def __init__(self, weights: Weights, program: Program) -> None:
        self.weights, self.spec = weights, program.spec
        self.node = node = weights.node
        self.rate = node.dropout if program.signature.training else 0.0
        (self.source,) = node.sources
        (self.key,) = self.source.axes
        self.query = node.query
        self.leaves: dict[Node, Leaf] = {}
        self.terms: dict[Node, None] = {}
        self.entries: dict[Node, None] = {}
        self.layers: dict[Contract, None] = {}
        self.unbounded: dict[ReadDim, None] = {}
        #: numbers of pairs, and of pairs and features, that are known
        self.seen: set[tuple[Node, bool]] = set()
        #: what stands for sums over a row
        self.totals: set[Param] = set()

    def matched(self, with_lse: bool, rows: tuple[tuple[Attend, Match], ...]) -> Match:
        if self.query not in self.node.type.axes:
            raise _Unfit(Refusal("all its queries are alike", self.node))
        if any(axis.role not in ROLES for axis in self._apart(self.node)):
            raise _Unfit(Refusal("its result has axes of other tokens", self.node))
        # apart from the score's leaves, which may be the same array; a number is a vector of one
        given_value, classes = self._value()
        value = self._leaf(given_value, given_value)
        value = replace(self.leaves.pop(value.node), width=max(value.width, 1))
        if value.domain != "key" or value.node.type.kind is not Kind.REAL:
            raise _Unfit(Refusal("its values differ by pair", self.source.value))
        score, weight, prior = self.weights.score, self.weights.weight, self.weights.prior
        divisor = self.weights.divisor
        is_softmax = weight is None and prior is None and score is self.source.score
        if with_lse and not is_softmax:  # `split_lse` sees to it that there is none in fused calls
            reason = "its lse is read, of weights that are no softmax of its scores"
            raise _Unfit(Refusal(reason, self.node))
        mask = self.source.mask
        if isinstance(mask, Const):
            mask = None if mask.value else mask
        given = self.source.score if may_be_absent(self.source.score) else None
        multiplied = None if prior is None else prior.node
        place = None if classes is None else classes.place
        sums = () if divisor is None else divisor.sums
        made = (score if weight is None else weight, given, mask, multiplied, place)
        for item in (*made, *(item for _, item in sums)):
            if item is not None:
                self._scalar(item)
        if divisor is not None:
            self.totals = {leaf for leaf, _ in sums}
            self._scalar(divisor.node)
        dropped = None
        if self.rate:
            dropped = Dropped(row_bits(self.node), key_places(self.node), self.rate)
            self._leaf(dropped.rows, dropped.rows)
            self._leaf(dropped.keys, dropped.keys)
        return Match(
            self.node,
            self.query,
            self.key,
            score,
            given,
            mask,
            weight,
            value,
            (value, *self.leaves.values()),
            tuple(self.terms),
            tuple(self.entries),
            tuple(self.layers),
            prior,
            divisor,
            rows,
            dropped,
            with_lse,
            classes,
            tuple(self.unbounded),
        )

    def _value(self) -> tuple[Node, Classes | None]:
        """The values by key, and the classes of pairs that are joined to them."""
        match self.source.value:
            case ConcatDims(args=(value, hot)) if (place := place_of(hot)) is not None:
                return value, Classes(place, hot.type.dims[0].value)
            case value:
                return value, None

    def _scalar(self, node: Node, feature: bool = False) -> None:
        """Collect what a number of a pair (of a pair and a feature) is made of."""
        if node.type.dims and not feature:
            raise _Unfit(Refusal("a vector is made for every pair", node))
        if (node, feature) in self.seen:
            return
        self.seen.add((node, feature))
        if feature and node.type.kind is Kind.REAL and _is_made_of_sums(node):
            self._scalar(node)
            self.entries[node] = None
            return
        match node:
            case Const():
                return
            case Param() if node in self.totals:
                return
            case Arg() | Param() | Position() | Index() | Length() | Read(index=KvHead()):
                self._leaf(node, node)
            case Map(op="**") if node.type.kind is Kind.INT and not isinstance(node.args[1], Const):
                raise _Unfit(Refusal("an int is raised to a power that differs by pair", node))
            case Map(op="detach", args=(Reduce(op="max" | "min") as extreme,)) if not feature:
                self._term(extreme)
            case Map(op=op) if op in OPERATORS:
                for arg in node.args:
                    self._scalar(arg, feature)
            case ReadDim() | Read():
                self._table(node)
                if feature:
                    self.entries[node] = None
            case AtDistance(arg=arg):
                self._scalar(arg, feature)
            case Contract() | Reduce(op="sum") if not feature:
                self._term(node)
            case Reduce():
                raise _Unfit(Refusal(f"a `{node.op}` is taken for every pair", node))
            case Contract(left_dims=(1,), right_dims=(0,)) if isinstance(node.left, Arg | Param):
                self._layer(node)
            case _:
                raise _Unfit(Refusal(f"`{type(node).__name__}` has no form in a kernel", node))

    def _term(self, node: Contract | Reduce) -> None:
        """A sum over one feature dim."""
        if isinstance(node, Contract):
            sides = ((node.left, node.left_dims), (node.right, node.right_dims))
            if any(len(side.type.dims) != 1 or dims != (0,) for side, dims in sides):
                raise _Unfit(
                    Refusal("a product of more than vectors is taken for every pair", node)
                )
            for side, _ in sides:
                self._scalar(side, feature=True)
        else:
            plain = node.op in ("sum", "max", "min") and not node.axes and node.where is None
            if not plain or len(node.arg.type.dims) != 1 or node.arg.type.kind is not Kind.REAL:
                raise _Unfit(Refusal(f"a `{node.op}` is taken for every pair", node))
            self._scalar(node.arg, feature=True)
        self.terms[node] = None

    def _layer(self, node: Contract) -> None:
        """A matrix that all pairs of a head share, times a vector of each pair."""
        if len(node.right.type.dims) != 1 or self._leaf(node.left, node.left).domain != "head":
            raise _Unfit(Refusal("a product of more than vectors is taken for every pair", node))
        if self.leaves[node.left].width > LARGEST_LAYER:
            raise _Unfit(Refusal("a product with a large matrix is taken for every pair", node))
        self._scalar(node.right, feature=True)
        self.layers[node] = None

    def _table(self, node: ReadDim | Read) -> None:
        arg = node.arg
        if not isinstance(arg, Arg) or node.type.dims or node.type.kind is not Kind.REAL:
            raise _Unfit(Refusal("what it reads by pairs is no table of numbers", node))
        along = {node.axis} if isinstance(node, Read) else set()
        if along & {self.query, self.key} or arg.type.dims[1:]:
            raise _Unfit(Refusal("tokens are read at places that differ by pair", node))
        self._leaf(arg, node, frozenset(along))
        self._scalar(node.index)
        if isinstance(node, ReadDim) and bounds(node.index, self.spec)[1] >= arg.type.dims[0].value:
            self.unbounded[node] = None

    def _leaf(self, node: Node, at: Node, along: frozenset[Axis] = frozenset()) -> Leaf:
        """An array that is read, itself or as a table at a place; `along` is the axis of a table."""
        if node in self.leaves:
            if self.leaves[node].table != (at is not node):
                raise _Unfit(Refusal("a table is read as a vector too", at))
            return self.leaves[node]
        axes = node.type.axes
        between = {axis for axis in axes if axis.role == "distance"}
        known = self._apart(self.node) | along | between
        if any(axis.role not in ("batch", "head", "group") for axis in self._apart(node) - known):
            raise _Unfit(Refusal("an array has an axis that the result has not", at))
        dims = [dim.value for dim in node.type.dims]
        width = 1
        for size in dims:
            width *= size
        is_table = at is not node
        row, key = self.query in axes, self.key in axes
        domain: Domain = "pair" if row and key else "row" if row else "key" if key else "head"
        if between:
            domain = "apart"
        if domain == "pair" and (dims or is_table):
            raise _Unfit(Refusal("vectors are read for every pair", at))
        if domain == "apart" and (row or key or is_table or node.type.kind is not Kind.REAL):
            raise _Unfit(Refusal("what it reads by distance are no vectors of reals", at))
        if is_table and isinstance(at, Read):
            if at.axis.size is None:
                raise _Unfit(Refusal("tokens are read at places that differ by pair", at))
            width = at.axis.size.value
        axis = next(iter(along), None)
        made = Leaf(node, domain, width if dims or is_table else 0, is_table, axis)
        self.leaves[node] = made
        return made

    def _apart(self, node: Node) -> frozenset[Axis]:
        return node.type.axes - {self.query, self.key}


def _is_made_of_sums(node: Node) -> bool:
    """Whether something is a number of a pair, a sum over features or made of one."""
    sums = (Contract, Reduce)
    return not node.type.dims and any(isinstance(item, sums) for item in computed(node))
