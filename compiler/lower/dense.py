"""The dense lowering: every core node as plain torch operations.

Any dtype, any device, any order of derivative, exportable. Attends form their whole score array; other lowerings replace an attend by one node and leave the rest as it is here.
"""

from __future__ import annotations

import math
import operator
import zlib
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from ...dsl.core import (
    Arg,
    Attend,
    Axis,
    AxisToDim,
    Choose,
    ConcatDims,
    Const,
    Contract,
    DimToAxis,
    Draw,
    Dropout,
    Eye,
    Fill,
    Index,
    Kind,
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
    Scores,
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
)
from ...dsl.intervals import bounds
from ...dsl.operators import POINTWISE
from .. import torch_ops as ops
from ..program import Program
from . import attend as attends
from . import recur as recurrences
from . import sdpa
from .emitter import Emitter, NotLowered, Value, by_rank

_INFIX: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": ops.power,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "and": operator.and_,
    "or": operator.or_,
    "neg": operator.neg,
    "not": torch.logical_not,
    "min": ops.minimum,
    "max": ops.maximum,
    "clip": ops.clip,
    "floor_divide": ops.floor_divide,
}


def function_of(op: str) -> Callable[..., Any]:
    """The torch meaning of a pointwise operator, from its row."""
    if op in _INFIX:
        return _INFIX[op]
    name = POINTWISE[op].torch
    if "." not in name:
        own: dict[str, Callable[..., Any]] = {
            "safe_divide": ops.safe_divide,
            "ceil_divide": ops.ceil_divide,
            "softplus": ops.softplus,
            "integer": ops.integer,
            "detach": ops.detach,
        }
        return own[name]
    found: Any = torch
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    function: Callable[..., Any] = found
    return function


def key_of(name: str) -> int:
    """A number for the name of a draw, the same everywhere."""
    return zlib.crc32(name.encode()) * 0x9E3779B1 + 1


class Dense(Emitter):
    """Lowers nodes one by one, remembering each."""

    def __init__(self, program: Program, names: dict[Node, str]) -> None:
        super().__init__(program, names)
        #: values that hold only inside one normaliser, innermost last
        self.local: list[dict[Node, Value]] = []
        #: presence of the pairs of each joint axis, inside its normaliser
        self.present: dict[Axis, Value] = {}
        #: lowerings chosen for single attends
        self.chosen: dict[Node, Callable[[Dense, Attend], Value]] = {}
        #: the carries, inside the step of a loop
        self.carries: dict[str, Value] = {}

    def prepare_inner(self, outer: Dense) -> None:
        """Know what the graph around knows, for the step of a loop."""
        self.chosen = outer.chosen

    def real_like(self) -> fx.Node:
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
        if self.local and _uses_scores(node):
            self.local[-1][node] = value
        else:
            self.values[node] = value

    def _lower(self, node: Node) -> Value:
        handler = _HANDLERS.get(type(node))
        if handler is None:
            raise NotLowered(node, f"`{type(node).__name__}` has no dense form")
        return handler(self, node)


def _uses_scores(node: Node) -> bool:
    """Whether a node belongs to a normaliser, outside of which it means nothing."""
    from ...dsl.core import operands

    stack, seen = [node], set()
    while stack:
        item = stack.pop()
        if isinstance(item, Scores):
            return True
        if id(item) in seen or isinstance(item, Attend | Part):
            continue
        seen.add(id(item))
        stack.extend(operands(item))
    return False


def _direct(node: Node) -> tuple[Node, ...]:
    """Operands to lower first, to keep recursion shallow; attends and loops do their own."""
    from ...dsl.core import operands

    if isinstance(node, Attend | Part | Recur | Reduce | Read):
        return ()
    return tuple(operands(node))


# -- leaves ---------------------------------------------------------------------------------


def _const(e: Dense, node: Const) -> Value:
    return Value(node.value)


def _param(e: Dense, node: Param) -> Value:
    axes = node.type.ordered
    if node.role == "carry":
        return e.carries[node.name]
    if node.role in ("weight", "buffer", "random"):
        value = e.parameter(node.name)
        declared = (e.spec.weights.get(node.name) or e.spec.states[node.name]).axes
        e.know(declared, value)
        return e.arrange(value, declared, len(node.type.dims))
    given = e.program.signature.given
    if node.name == "context" and "context" not in given:
        x = e.lower(Param(_with_axis(node, e), "x", "stream"))
        return e.renamed(x, e.spec.sets["x"].axis, e.spec.sets["context"].axis)
    if node.name not in e.inputs:
        raise NotLowered(node, f"the call does not give `{node.name}`")
    return Value(e.inputs[node.name], axes, len(node.type.dims))


def _with_axis(node: Param, e: Dense) -> Any:
    from ...dsl.core import Type

    axes = (node.type.axes - {e.spec.sets["context"].axis}) | {e.spec.sets["x"].axis}
    return Type(node.type.kind, axes, node.type.dims)


def _arg(e: Dense, node: Arg) -> Value:
    return e.lower(node.value)


def _index(e: Dense, node: Index) -> Value:
    return e.index(node.axis)


def _position(e: Dense, node: Position) -> Value:
    return e.position(node.axis)


def _length(e: Dense, node: Length) -> Value:
    return Value(e.size(node.axis))


def _valid(e: Dense, node: Valid) -> Value:
    name = "valid"
    if node.axis.base == "context" and "context_valid" in e.inputs:
        name = "context_valid"
    return Value(e.inputs[name], node.type.ordered)


def _fill(e: Dense, node: Fill) -> Value:
    shape = [e.size(axis) for axis in node.type.ordered]
    shape += [dim.value for dim in node.type.dims]
    made = e.call(ops.filled, e.real_like(), tuple(shape), node.value)
    return Value(made, node.type.ordered, len(node.type.dims))


def _range(e: Dense, node: Range) -> Value:
    return Value(e.call(ops.positions, e.like(), node.type.dims[0].value), (), 1)


def _eye(e: Dense, node: Eye) -> Value:
    return Value(e.call(ops.identity_matrix, e.real_like(), node.type.dims[0].value), (), 2)


# -- pointwise ------------------------------------------------------------------------------


def _map(e: Dense, node: Map) -> Value:
    softmax = _as_softmax(e, node)
    if softmax is not None:
        return softmax
    args = [e.lower(arg) for arg in node.args]
    axes = by_rank(axis for arg in args for axis in arg.axes)
    dims = max(arg.dims for arg in args)
    wide = any(arg.wide for arg in args)
    if node.op == "as_ref":
        return args[0]
    if node.op == "real":
        made: Any = args[0].node
        if args[0].is_number and not isinstance(made, fx.Node):
            return Value(float(made))
        return Value(e.call(ops.as_real, made, e.real_like()), axes, dims, True)
    nodes = [e.align(arg, axes, dims) for arg in args]
    if all(not isinstance(item, fx.Node) for item in nodes):
        return Value(function_of(node.op)(*nodes))
    is_scalar = not axes and not dims
    if is_scalar and POINTWISE[node.op].rule == "real":
        nodes = [e.call(ops.scalar, nodes[0], e.real_like()), *nodes[1:]]
    if node.op == "where":
        nodes = [*nodes[:1], *_branches(e, nodes[1:])]
        if is_scalar:
            nodes[0] = e.call(ops.scalar, nodes[0], e.real_like())
    return Value(e.call(function_of(node.op), *nodes), axes, dims, wide)


def _branches(e: Dense, nodes: list[Any]) -> list[Any]:
    """Branches of a where: two plain numbers become tensors."""
    if any(isinstance(item, fx.Node) for item in nodes):
        return nodes
    return [e.call(ops.scalar, item, e.real_like()) for item in nodes]


def _as_softmax(e: Dense, node: Map) -> Value | None:
    """safe_div(exp(a - max a), sum exp(a - max a)) over one axis is torch's softmax."""
    found = softmax_argument(node)
    if found is None:
        return None
    arg, axis = found
    value = e.lower(arg)
    if axis not in value.axes:
        return None
    present = e.present.get(axis)
    place = value.axes.index(axis) - len(value.axes) - value.dims
    mask = None
    if present is not None:
        mask = e.full(present, value.axes)
    elif may_be_absent(arg):
        mask = e.call(ops.is_there, value.node, None)
    return Value(e.call(ops.softmax, value.node, mask, place), value.axes, value.dims, value.wide)


def softmax_argument(node: Node) -> tuple[Node, Axis] | None:
    """What a node is the softmax of, and over which axis."""
    if not isinstance(node, Map) or node.op != "safe_div":
        return None
    top, bottom = node.args
    if not isinstance(bottom, Reduce) or bottom.op != "sum" or bottom.arg is not top:
        return None
    if len(bottom.axes) != 1 or bottom.dims or bottom.where is not None:
        return None
    if not isinstance(top, Map) or top.op != "exp":
        return None
    inner = top.args[0]
    if not isinstance(inner, Map) or inner.op != "-":
        return None
    arg, largest = inner.args
    right = (
        isinstance(largest, Reduce)
        and largest.op == "max"
        and largest.arg is arg
        and largest.axes == bottom.axes
        and largest.where is None
    )
    return (arg, bottom.axes[0]) if right else None


def may_be_absent(node: Node) -> bool:
    """Whether a score can be -inf: from a logarithm, an lse, a max, an input or a stream."""
    from ...dsl.core import walk

    for item in walk(node):
        if (
            isinstance(item, Param)
            and item.role in ("input", "stream", "argument")
            and (
                item.type.kind is Kind.REAL
                and item.name not in ("x", "context")
                and not item.type.dims
            )
        ):
            return True
        if isinstance(item, Const | Fill) and item.value in (math.inf, -math.inf):
            return True
        if isinstance(item, Map) and item.op in ("log", "log1p", "exp"):
            return True
        if isinstance(item, Map) and item.op == "/" and not isinstance(item.args[1], Const):
            return True
        if isinstance(item, Part) and item.part != "weights":
            return True
        if isinstance(item, Reduce) and item.op in ("max", "min", "logsumexp"):
            return True
    return False


# -- contractions ---------------------------------------------------------------------------


def einsum(
    e: Dense,
    left: Value,
    right: Value,
    left_dims: tuple[int, ...],
    right_dims: tuple[int, ...],
    drop: tuple[Axis, ...] = (),
) -> Value:
    """Sum of products over pairs of dims and over axes to drop."""
    letters: dict[Any, str] = {}

    def letter(key: Any) -> str:
        return letters.setdefault(
            key, "bhijklmnopqrstuvwxyzacdefgABCDEFGHIJKLMNOPQRSTUVWXYZ"[len(letters)]
        )

    axes = by_rank(axis for value in (left, right) for axis in value.axes)
    for axis in axes:
        letter(axis)
    pairs = {("r", b): ("l", a) for a, b in zip(left_dims, right_dims, strict=True)}
    left_keys = [("l", n) for n in range(left.dims)]
    right_keys = [pairs.get(("r", n), ("r", n)) for n in range(right.dims)]
    kept = [key for key in left_keys if key[1] not in left_dims]
    kept += [key for key in right_keys if key[0] == "r"]
    a = "".join(letter(axis) for axis in left.axes) + "".join(letter(key) for key in left_keys)
    b = "".join(letter(axis) for axis in right.axes) + "".join(letter(key) for key in right_keys)
    out_axes = tuple(axis for axis in axes if axis not in drop)
    out = "".join(letter(axis) for axis in out_axes) + "".join(letter(key) for key in kept)
    nodes = [e.tensor(left), e.tensor(right)]
    if left.wide != right.wide:
        both = e.call(ops.same_dtype, *nodes)
        nodes = [e.call(operator.getitem, both, 0), e.call(operator.getitem, both, 1)]
    made = e.call(torch.einsum, f"{a},{b}->{out}", *nodes)
    return Value(made, out_axes, len(kept), left.wide or right.wide)


def _contract(e: Dense, node: Contract) -> Value:
    return einsum(e, e.lower(node.left), e.lower(node.right), node.left_dims, node.right_dims)


def _linear(e: Dense, node: Linear) -> Value:
    arg = e.lower(node.arg)
    tensor = e.narrowed(Value(e.tensor(arg), arg.axes, arg.dims, arg.wide))
    if arg.dims > 1:
        tensor = e.method("flatten", tensor, -arg.dims)
    made = e.module(node.name, tensor)
    axes = (*arg.axes, *node.to_axes)
    sizes = [axis.size.value for axis in node.to_axes if axis.size is not None]
    sizes += [dim.value for dim in node.to_dims]
    if len(sizes) != 1:
        sizes = [-1, *sizes[1:]] if sizes else []
        made = e.method("unflatten", made, -1, sizes) if sizes else e.method("squeeze", made, -1)
    value = e.arrange(made, axes, len(node.to_dims))
    e.know(value.axes, value.node)
    return value


def _norm(e: Dense, node: Norm) -> Value:
    arg = e.lower(node.arg)
    shape = [dim.value for dim in node.type.dims]
    if node.affine:
        return Value(e.module(node.name, e.narrowed(arg)), arg.axes, arg.dims)
    if node.op == "layer":
        made = e.call(torch.nn.functional.layer_norm, arg.node, shape, None, None, node.eps)
    else:
        made = e.call(torch.nn.functional.rms_norm, arg.node, shape, None, node.eps)
    return Value(made, arg.axes, arg.dims, arg.wide)


# -- reading --------------------------------------------------------------------------------


def _plain_index(node: Node) -> Axis | None:
    """The axis of an index that reads every token at its own place."""
    while isinstance(node, Map) and node.op == "as_ref":
        node = node.args[0]
    return node.axis if isinstance(node, Index) else None


def _read(e: Dense, node: Read) -> Value:
    arg = e.lower(node.arg)
    if node.axis not in arg.axes:
        return arg
    renamed = _plain_index(node.index)
    if renamed is not None and renamed not in arg.axes:
        return e.renamed(arg, node.axis, renamed)
    if isinstance(node.index, KvHead):
        return _read_heads(e, node, arg, node.index)
    index = e.lower(node.index)
    signed = bounds(node.index, e.spec)[0] < 0
    return read_at(e, arg, node.axis, index, signed)


def _read_heads(e: Dense, node: Read, arg: Value, index: KvHead) -> Value:
    heads, groups = index.axis, node.axis
    if sdpa.same_size(heads, groups):
        return e.renamed(arg, groups, heads)
    place = arg.axes.index(groups)
    made = e.call(ops.expand_heads, arg.node, e.size(heads), place)
    axes = [heads if axis == groups else axis for axis in arg.axes]
    return e.arrange(made, axes, arg.dims, arg.wide)


def read_at(e: Dense, arg: Value, axis: Axis, index: Value, signed: bool) -> Value:
    """arg along an axis read at an index with axes of its own."""
    if arg.axes == (axis,):
        made = e.call(ops.take, arg.node, e.tensor(index), signed)
        return Value(made, index.axes, arg.dims, arg.wide)
    rest = tuple(item for item in arg.axes if item != axis)
    fresh = tuple(item for item in index.axes if item not in rest)
    common = tuple(item for item in rest if item in index.axes)
    order = (*rest, axis)
    moved = _ordered(e, arg, order)
    at = _ordered(e, index, (*common, *fresh))
    at = _flattened(e, at, len(common), len(fresh))
    slots = [slice(None) if item in common else None for item in rest] + [slice(None)]
    slots += [None] * arg.dims
    if any(item is None for item in slots):
        at = e.call(operator.getitem, at, tuple(slots))
    made = e.call(ops.take_along, moved, at, len(rest), signed)
    made = _unflattened(e, made, len(rest), fresh)
    return e.arrange(made, (*rest, *fresh), arg.dims, arg.wide)


def _ordered(e: Dense, value: Value, axes: tuple[Axis, ...]) -> Any:
    """The tensor with its axes in a given order, dims last."""
    node = e.tensor(value)
    order = [value.axes.index(axis) for axis in axes]
    if order == sorted(order):
        return node
    return e.method("permute", node, *order, *range(len(axes), len(axes) + value.dims))


def _flattened(e: Dense, node: Any, start: int, count: int) -> Any:
    if count == 1:
        return node
    if count == 0:
        return e.method("unsqueeze", node, start)
    return e.method("flatten", node, start, start + count - 1)


def _unflattened(e: Dense, node: Any, place: int, axes: tuple[Axis, ...]) -> Any:
    if len(axes) == 1:
        return node
    if not axes:
        return e.method("squeeze", node, place)
    return e.method("unflatten", node, place, tuple(e.size(axis) for axis in axes))


def _read_dim(e: Dense, node: ReadDim) -> Value:
    arg, index = e.lower(node.arg), e.lower(node.index)
    if not arg.axes:
        made = e.call(ops.take, arg.node, e.tensor(index), False)
        return Value(made, index.axes, index.dims + arg.dims - 1, arg.wide)
    fresh = tuple(item for item in index.axes if item not in arg.axes)
    common = tuple(item for item in arg.axes if item in index.axes)
    at = _ordered(e, index, (*common, *fresh))
    count = len(fresh) + index.dims
    at = _flattened(e, at, len(common), count)
    slots = [slice(None) if item in common else None for item in arg.axes] + [slice(None)]
    slots += [None] * (arg.dims - 1)
    if any(item is None for item in slots):
        at = e.call(operator.getitem, at, tuple(slots))
    place = len(arg.axes)
    made = e.call(ops.take_along, arg.node, at, place, False)
    if count == 0:
        made = e.method("squeeze", made, place)
    elif count > 1:
        sizes = [e.size(axis) for axis in fresh] + [dim.value for dim in node.index.type.dims]
        made = e.method("unflatten", made, place, tuple(sizes))
    return e.arrange(made, (*arg.axes, *fresh), index.dims + arg.dims - 1, arg.wide)


# -- reductions -----------------------------------------------------------------------------


def _reduce(e: Dense, node: Reduce) -> Value:
    product = _sum_of_products(e, node)
    if product is not None:
        return product
    arg = e.lower(node.arg)
    where = None if node.where is None else e.lower(node.where)
    if e.local and _uses_scores(node):
        for axis in node.axes:
            if axis in e.present:
                where = _both(e, where, e.present[axis])
    axes = by_rank((*arg.axes, *(where.axes if where else ()), *node.axes))
    value = e.expand(arg, axes) if set(axes) != set(arg.axes) else e.tensor(arg)
    mask = None if where is None else e.full(where, axes, arg.dims)
    drop = [axes.index(axis) for axis in node.axes] + [len(axes) + dim for dim in node.dims]
    drop = [place - len(axes) - arg.dims for place in drop]
    made = _reduction(e, node, value, mask, drop)
    kept = tuple(axis for axis in axes if axis not in node.axes)
    wide = arg.wide and node.type.kind is Kind.REAL
    return Value(made, kept, arg.dims - len(node.dims), wide)


def _both(e: Dense, left: Value | None, right: Value) -> Value:
    if left is None:
        return right
    axes = by_rank((*left.axes, *right.axes))
    both = e.call(operator.and_, e.align(left, axes), e.align(right, axes))
    return Value(both, axes)


def _reduction(e: Dense, node: Reduce, value: Any, mask: Any, drop: list[int]) -> Any:
    op = node.op
    if op in ("any", "all", "count"):
        if mask is not None:
            if op == "all":
                mask = e.call(torch.logical_not, mask)
            value = e.call(operator.or_ if op == "all" else operator.and_, value, mask)
        functions: dict[str, Callable[..., Any]] = {
            "any": ops.any_of,
            "all": ops.all_of,
            "count": torch.sum,
        }
        return e.call(functions[op], value, drop)
    if op == "max":
        return e.call(ops.masked_max, value, mask, drop)
    if op == "min":
        return e.call(ops.masked_min, value, mask, drop)
    if op == "logsumexp":
        return e.call(ops.masked_logsumexp, value, mask, drop)
    if mask is not None:
        masked = ops.masked_sum if op == "sum" else ops.masked_mean
        return e.call(masked, value, mask, drop)
    return e.call(torch.sum if op == "sum" else torch.mean, value, drop)


def _sum_of_products(e: Dense, node: Reduce) -> Value | None:
    """sum(a * b, over=axis) of reals is a contraction; the product is never formed."""
    inner = node.arg
    simple = node.op == "sum" and node.where is None and not node.dims
    if not simple or not isinstance(inner, Map) or inner.op != "*":
        return None
    if inner.type.kind is not Kind.REAL or any(axis in e.present for axis in node.axes):
        return None
    left, right = e.lower(inner.args[0]), e.lower(inner.args[1])
    if left.is_number or right.is_number or left.dims != right.dims:
        return None
    shared = all(axis in left.axes and axis in right.axes for axis in node.axes)
    if not shared or left.dims:
        return None
    return einsum(e, left, right, (), (), node.axes)


def _scan(e: Dense, node: Scan) -> Value:
    arg = e.lower(node.arg)
    axes = by_rank((*arg.axes, node.axis))
    place = axes.index(node.axis) - len(axes) - arg.dims
    made = e.call(ops.running_sum, e.expand(arg, axes), place, node.reverse, node.exclusive)
    return Value(made, axes, arg.dims, arg.wide)


def _stencil(e: Dense, node: Stencil) -> Value:
    arg, kernel = e.lower(node.arg), e.lower(node.kernel)
    taps = len(node.axes)
    if node.channels is not None:
        rest = tuple(a for a in arg.axes if a not in node.axes and a != node.channels)
        moved = _ordered(e, arg, (*rest, node.channels, *node.axes))
        made = e.call(ops.channel_stencil, moved, kernel.node, node.starts)
        return e.arrange(made, (*rest, node.channels, *node.axes), 0, arg.wide)
    rest = by_rank(axis for axis in (*arg.axes, *kernel.axes) if axis not in node.axes)
    moved = e.full(arg, by_rank((*rest, *node.axes)))
    order = by_rank((*rest, *node.axes))
    full = Value(moved, order, arg.dims, arg.wide)
    value = _ordered(e, full, (*rest, *node.axes))
    if arg.dims:
        places = range(len(rest), len(rest) + taps)
        dims = range(len(rest) + taps, len(rest) + taps + arg.dims)
        value = e.method("permute", value, *range(len(rest)), *dims, *places)
    weight = e.full(kernel, rest)
    if arg.dims:
        slots = [slice(None)] * len(rest) + [None] * arg.dims + [slice(None)] * taps
        weight = e.call(operator.getitem, weight, tuple(slots))
    made = e.call(ops.stencil, value, weight, node.starts)
    if arg.dims:
        places = range(len(rest) + arg.dims, len(rest) + arg.dims + taps)
        dims = range(len(rest), len(rest) + arg.dims)
        made = e.method("permute", made, *range(len(rest)), *places, *dims)
    return e.arrange(made, (*rest, *node.axes), arg.dims, arg.wide)


def _simplex(e: Dense, node: Simplex) -> Value:
    arg, alpha = e.lower(node.arg), e.lower(node.alpha)
    axes = by_rank((*arg.axes, *alpha.axes))
    present = e.present.get(node.axis)
    mask = None if present is None else e.full(present, axes)
    value = e.full(arg, axes)
    place = axes.index(node.axis) - len(axes) - arg.dims
    made = e.call(ops.entmax, value, mask, e.align(alpha, axes), place)
    return Value(made, axes, arg.dims, arg.wide)


# -- order ----------------------------------------------------------------------------------


def _competitors(
    e: Dense, arg: Node, where: Node | None, axis: Axis
) -> tuple[Any, Any, tuple[Axis, ...], int]:
    value = e.lower(arg)
    mask = None if where is None else e.lower(where)
    axes = by_rank((*value.axes, *(mask.axes if mask else ()), axis))
    dims = value.dims
    there = None if mask is None else e.full(mask, axes, dims)
    return e.expand(value, axes), there, axes, dims


def _top(e: Dense, node: Top) -> Value:
    value, mask, axes, dims = _competitors(e, node.arg, node.where, node.axis)
    assert node.made.size is not None
    made = e.call(ops.top, value, node.made.size.value, axes.index(node.axis), mask)
    return e.arrange(made, [node.made if a == node.axis else a for a in axes], dims)


def _choose(e: Dense, node: Choose) -> Value:
    smallest = node.op == "argmin"
    if node.axis is None:
        arg = e.lower(node.arg)
        made = e.call(ops.choose, arg.node, -1, None, smallest)
        return Value(made, arg.axes, 0)
    value, mask, axes, dims = _competitors(e, node.arg, node.where, node.axis)
    place = axes.index(node.axis) - len(axes) - dims
    made = e.call(ops.choose, value, place, mask, smallest)
    return Value(made, tuple(a for a in axes if a != node.axis), dims)


def _sort(e: Dense, node: Sort) -> Value:
    keys = [e.lower(key) for key in node.keys]
    axes = by_rank(axis for key in keys for axis in (*key.axes, *node.axes))
    rest = tuple(axis for axis in axes if axis not in node.axes)
    flat = []
    for key in keys:
        spread = Value(e.expand(key, axes), axes)
        moved = _ordered(e, spread, (*rest, *node.axes))
        flat.append(_flattened(e, moved, len(rest), len(node.axes)))
    made = e.call(ops.sort_order, flat)
    return e.arrange(made, (*rest, node.made), 0)


def _rank(e: Dense, node: Rank) -> Value:
    sort = node.sort
    assert isinstance(sort, Sort)
    order = e.lower(sort)
    rest = tuple(axis for axis in order.axes if axis != sort.made)
    moved = _ordered(e, order, (*rest, sort.made))
    made = e.call(ops.inverse_order, moved)
    made = _unflattened(e, made, len(rest), sort.axes)
    return e.arrange(made, (*rest, *sort.axes), 0)


def _segment(e: Dense, node: Segment) -> Value:
    arg, label = e.lower(node.arg), e.lower(node.label)
    made_axis = node.label.type.ref
    assert made_axis is not None
    axes = by_rank((*arg.axes, *label.axes, *node.axes))
    rest = tuple(axis for axis in axes if axis not in node.axes)
    value = Value(e.expand(Value(e.tensor(arg), arg.axes, arg.dims), axes), axes, arg.dims)
    place = Value(e.expand(label, axes), axes)
    mode = "mean" if node.op == "mean" else "add"
    moved = _ordered(e, value, (*rest, *node.axes))
    at = _ordered(e, place, (*rest, *node.axes))
    made = e.call(
        ops.scatter_along, moved, at, len(rest), len(node.axes), e.size(made_axis), mode, 0.0
    )
    return e.arrange(made, (*rest, made_axis), arg.dims, arg.wide)


def _scatter(e: Dense, node: Scatter) -> Value:
    arg = e.lower(node.arg)
    places = [e.lower(target) for target in node.targets]
    axes = by_rank((*arg.axes, *(a for place in places for a in place.axes), *node.source_axes))
    rest = tuple(axis for axis in axes if axis not in node.source_axes)
    sizes = [e.size(axis) for axis in node.axes]
    flat: Any = None
    there: Any = None
    for place, size in zip(places, sizes, strict=True):
        item = e.expand(place, axes)
        absent = e.call(operator.ge, item, 0)
        there = absent if there is None else e.call(operator.and_, there, absent)
        flat = (
            item if flat is None else e.call(operator.add, e.call(operator.mul, flat, size), item)
        )
    index = Value(e.call(torch.where, there, flat, -1), axes)
    value = Value(e.expand(arg, axes), axes, arg.dims)
    moved = _ordered(e, value, (*rest, *node.source_axes))
    at = _ordered(e, index, (*rest, *node.source_axes))
    total: Any = sizes[0]
    for size in sizes[1:]:
        total = e.call(operator.mul, total, size)
    made = e.call(
        ops.scatter_along, moved, at, len(rest), len(node.source_axes), total, node.mode, node.eps
    )
    made = _unflattened(e, made, len(rest), node.axes)
    return e.arrange(made, (*rest, *node.axes), arg.dims, arg.wide)


# -- shape ----------------------------------------------------------------------------------


def _concat(e: Dense, node: ConcatDims) -> Value:
    args = [e.lower(arg) for arg in node.args]
    axes = by_rank(axis for arg in args for axis in arg.axes)
    dims = max(arg.dims for arg in args)
    made = e.call(torch.cat, [e.expand(arg, axes) for arg in args], -dims)
    return Value(made, axes, dims, any(arg.wide for arg in args))


def _axis_to_dim(e: Dense, node: AxisToDim) -> Value:
    arg = e.lower(node.arg)
    if node.axis not in arg.axes:
        arg = Value(
            e.expand(arg, by_rank((*arg.axes, node.axis))),
            by_rank((*arg.axes, node.axis)),
            arg.dims,
            arg.wide,
        )
    rest = tuple(axis for axis in arg.axes if axis != node.axis)
    moved = _ordered(e, arg, (*rest, node.axis))
    return Value(moved, rest, arg.dims + 1, arg.wide)


def _dim_to_axis(e: Dense, node: DimToAxis) -> Value:
    arg = e.lower(node.arg)
    return e.arrange(e.tensor(arg), (*arg.axes, node.axis), arg.dims - 1, arg.wide)


def _reshape(e: Dense, node: Reshape) -> Value:
    arg = e.lower(node.arg)
    made = e.tensor(arg)
    if arg.dims > 1:
        made = e.method("flatten", made, -arg.dims)
    if len(node.type.dims) > 1:
        made = e.method("unflatten", made, -1, [dim.value for dim in node.type.dims])
    return Value(made, arg.axes, len(node.type.dims), arg.wide)


def _transpose(e: Dense, node: Transpose) -> Value:
    arg = e.lower(node.arg)
    return Value(e.method("transpose", arg.node, -1, -2), arg.axes, arg.dims, arg.wide)


def _stack_axis(e: Dense, node: StackAxis) -> Value:
    args = [e.lower(arg) for arg in node.args]
    axes = by_rank(axis for arg in args for axis in arg.axes)
    dims = max(arg.dims for arg in args)
    made = e.call(torch.stack, [e.expand(arg, axes) for arg in args], len(axes))
    return e.arrange(made, (*axes, node.axis), dims, any(arg.wide for arg in args))


def _split(e: Dense, node: Split) -> Value:
    arg = e.lower(node.arg)
    assert node.member.size is not None
    if node.axis not in arg.axes:
        full = by_rank((*arg.axes, node.axis))
        arg = Value(e.expand(arg, full), full, arg.dims, arg.wide)
    place = arg.axes.index(node.axis)
    made = e.call(
        ops.split_windows, arg.node, place, e.size(node.made), node.member.size.value, node.stride
    )
    axes = [*arg.axes[:place], node.made, node.member, *arg.axes[place + 1 :]]
    return e.arrange(made, axes, arg.dims, arg.wide)


# -- random, loops, specs -------------------------------------------------------------------


def places_of(e: Dense, axes: tuple[Axis, ...], dims: tuple[int, ...]) -> list[Any]:
    """The logical index of every element, one broadcasting tensor per axis and dim."""
    found = []
    order = axes
    for axis in axes:
        value = e.position(axis) if _is_stream(axis) else e.index(axis)
        found.append(e.full(value, order, len(dims)))
    for n, size in enumerate(dims):
        slots = [None] * (len(axes) + len(dims))
        place = e.call(ops.positions, e.like(), size)
        index: list[Any] = list(slots)
        index[len(axes) + n] = slice(None)
        found.append(e.call(operator.getitem, place, tuple(index)))
    return found


def _is_stream(axis: Axis) -> bool:
    return axis.role == "head" or axis.base in ("x", "context")


def _dropout(e: Dense, node: Dropout) -> Value:
    arg = e.lower(node.arg)
    if not e.program.signature.training:
        return arg
    dims = tuple(dim.value for dim in node.type.dims)
    kept = e.call(
        ops.keep, e.inputs["call"], key_of(node.name), node.rate, places_of(e, arg.axes, dims)
    )
    return Value(e.call(ops.drop, arg.node, kept, node.rate), arg.axes, arg.dims, arg.wide)


def _draw(e: Dense, node: Draw) -> Value:
    axes = node.type.ordered
    dims = tuple(dim.value for dim in node.type.dims)
    if node.name in e.inputs:
        return Value(e.inputs[node.name], axes, len(dims))
    seed = e.inputs["call"] if node.per_call else e.inputs["seed"]
    places = places_of(e, axes, dims)
    made = e.call(ops.draw, seed, key_of(node.name), node.dist, places, e.real_like())
    return Value(made, axes, len(dims), True)


def _use(e: Dense, node: Use) -> Value:
    key = (node.name, node.args)
    calls: dict[Any, Any] = e.__dict__.setdefault("calls", {})
    if key not in calls:
        kwargs: dict[str, Any] = {}
        sub = e.spec.uses[node.name]
        for name, arg in zip(node.keys, node.args, strict=True):
            value = e.lower(arg)
            kwargs[name] = _in_order(e, value, name, sub)
        kwargs.update(_passed_on(e, node))
        calls[key] = e.module(node.name, **kwargs)
    made = calls[key]
    sub = e.spec.uses[node.name]
    if len(sub.outputs) > 1:
        made = e.call(operator.getitem, made, node.output)
    return Value(made, node.type.ordered, len(node.type.dims))


def _in_order(e: Dense, value: Value, name: str, sub: Any) -> Any:
    """An argument of a used spec; a stream has every axis of its type, the batch's at least."""
    if name in sub.streams:
        axes = by_rank((e.spec.axes["b"], *value.axes))
        value = Value(e.expand(value, axes), axes, value.dims, value.wide)
    return e.narrowed(Value(e.tensor(value), value.axes, value.dims, value.wide))


def _passed_on(e: Dense, node: Use) -> dict[str, Any]:
    """Validity and positions of the caller's tokens, for the tokens of the used spec."""
    given = e.program.signature.given
    bases = {key: _base(arg) for key, arg in zip(node.keys, node.args, strict=True)}
    x = bases.get("x", "x")
    found: dict[str, Any] = {}
    valid = {"x": "valid", "context": "context_valid"}
    start = {"x": "q_start", "context": "k_start"}
    for key, suffixes in (("x", ("valid", "q_start")), ("context", ("context_valid", "k_start"))):
        base = bases.get(key) if key != "x" else x
        if base is None:
            continue
        for table, name in ((valid, suffixes[0]), (start, suffixes[1])):
            source = table.get(base)
            if source is not None and source in given:
                found[name] = e.inputs[source]
    if "head_start" in given:
        found["head_start"] = e.inputs["head_start"]
    return found


def _base(node: Node) -> str | None:
    tokens = node.type.tokens
    return tokens[0].base if tokens else None


def _tree(e: Dense, node: Tree) -> Value:
    leaves = e.size(node.leaves)
    if node.which == "count":
        return Value(e.call(ops.tree_count, leaves, node.fanout, node.levels))
    if node.which == "node":
        level, place = (e.lower(arg) for arg in node.args)
        axes = by_rank((*level.axes, *place.axes))
        made = e.call(
            ops.tree_node,
            e.align(level, axes),
            e.align(place, axes),
            leaves,
            node.fanout,
            node.levels,
        )
        return Value(made, axes)
    made = e.call(ops.tree_field, e.like(), node.which, leaves, node.fanout, node.levels)
    return Value(made, (node.axis,))


_HANDLERS: dict[type, Callable[..., Value]] = {
    Arg: _arg,
    Const: _const,
    Param: _param,
    Index: _index,
    Position: _position,
    Length: _length,
    Valid: _valid,
    Fill: _fill,
    Range: _range,
    Eye: _eye,
    Map: _map,
    Contract: _contract,
    Linear: _linear,
    Norm: _norm,
    Read: _read,
    ReadDim: _read_dim,
    Reduce: _reduce,
    Scan: _scan,
    Stencil: _stencil,
    Simplex: _simplex,
    Top: _top,
    Choose: _choose,
    Sort: _sort,
    Rank: _rank,
    Segment: _segment,
    Scatter: _scatter,
    ConcatDims: _concat,
    AxisToDim: _axis_to_dim,
    DimToAxis: _dim_to_axis,
    Reshape: _reshape,
    Transpose: _transpose,
    StackAxis: _stack_axis,
    Split: _split,
    Dropout: _dropout,
    Draw: _draw,
    Tree: _tree,
    Use: _use,
    Attend: attends.attend,
    Part: attends.part,
    Recur: recurrences.recur,
}
