"""Calls: the functions on arrays that are not pointwise, one small function each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from .. import syntax
from ..core import (
    Axis,
    AxisToDim,
    Choose,
    ConcatDims,
    Contract,
    DimToAxis,
    Draw,
    Dropout,
    Eye,
    Kind,
    Linear,
    Node,
    Norm,
    Param,
    Range,
    Reduce,
    Reshape,
    Scan,
    Segment,
    Simplex,
    Sort,
    Stencil,
    TokenSet,
    Top,
    Transpose,
    Type,
)
from ..operators import POINTWISE, SYMBOLS
from ..shapes import closest
from ..sizes import Size, constant
from ..syntax import Expr
from .expressions import as_node, elaborate, node_of, nodes_of
from .typing import TypeMistake, const, fill, integer, pointwise, real, union, with_heads
from .values import Env, Token, Value

if TYPE_CHECKING:
    from .spec import Elaborator


@dataclass(frozen=True)
class Arguments:
    """The arguments of a call, checked against the names that the function takes."""

    e: Elaborator
    call: syntax.Call
    env: Env
    args: tuple[Expr, ...]
    keywords: dict[str, Expr]

    def node(self, place: int) -> Node:
        return node_of(self.e, self.args[place], self.env)

    def get(self, name: str) -> Expr | None:
        return self.keywords.get(name)

    def flag(self, name: str, default: bool) -> bool:
        expr = self.get(name)
        if expr is None:
            return default
        value = self.e.static(expr, self.env)
        if not isinstance(value, bool):
            raise self.e.fail("ATT511", f"`{name}` is true or false", expr.span, self.env)
        return value

    def number(self, name: str, default: float) -> float:
        expr = self.get(name)
        return default if expr is None else self.e.static_number(expr, self.env)

    def whole(self, name: str, default: int) -> int:
        expr = self.get(name)
        return default if expr is None else self.e.size(expr, self.env).value

    def where(self) -> Node | None:
        expr = self.get("where")
        if expr is None:
            return None
        node = node_of(self.e, expr, self.env)
        if node.type.kind is not Kind.BOOL:
            raise self.e.fail("ATT501", f"`where` is a bool, not {node.type}", expr.span, self.env)
        return node

    def word(self, name: str, default: str, known: tuple[str, ...]) -> str:
        expr = self.get(name)
        if expr is None:
            return default
        if isinstance(expr, syntax.Name) and expr.name in known:
            return expr.name
        raise self.e.fail("ATT511", f"`{name}` is one of {', '.join(known)}", expr.span, self.env)


@dataclass(frozen=True)
class Function:
    """A function: how it is called (for messages), how many arguments, what it does."""

    usage: str
    least: int
    most: int | None
    keywords: tuple[str, ...]
    apply: Callable[[Arguments], Value]
    meaning: str
    required: tuple[str, ...] = ()


def call(e: Elaborator, expr: syntax.Call, env: Env) -> Value:
    """A call of a function that is no macro."""
    name = expr.function.name
    function = FUNCTIONS.get(name)
    if function is None:
        known = (*FUNCTIONS, *e.macros)
        hint = closest(name, known)
        if name in e.names():
            raise e.fail(
                "ATT410",
                f"`{name}` is not a function",
                expr.function.span,
                env,
                "read it with [..]",
            )
        raise e.fail(
            "ATT410",
            f"unknown function `{name}`",
            expr.function.span,
            env,
            f"did you mean `{hint}`?" if hint else "`attnc list --operators` shows them all",
        )
    keywords: dict[str, Expr] = {}
    for key, value in expr.keywords:
        if key.name not in function.keywords:
            hint = closest(key.name, function.keywords)
            raise e.fail(
                "ATT411",
                f"`{name}` takes no `{key.name}`",
                key.span,
                env,
                f"did you mean `{hint}`?" if hint else f"usage: {function.usage}",
            )
        if key.name in keywords:
            raise e.fail("ATT411", f"`{key.name}` is given twice", key.span, env)
        keywords[key.name] = value
    many = function.most is not None and len(expr.args) > function.most
    few = len(expr.args) < function.least or any(key not in keywords for key in function.required)
    if many or few:
        raise e.fail(
            "ATT412",
            f"`{name}` has too {'many' if many else 'few'} arguments",
            expr.span,
            env,
            f"usage: {function.usage}",
        )
    return function.apply(Arguments(e, expr, env, expr.args, keywords))


# -- pointwise ------------------------------------------------------------------------------


def _pointwise(name: str) -> Callable[[Arguments], Value]:
    row = POINTWISE[name]

    def apply(a: Arguments) -> Value:
        nodes = nodes_of(a.e, a.args, a.env)
        if row.keywords and len(nodes) < (row.most or 0):
            for key, default in row.keywords:
                nodes += (const(a.number(key, default)),)
        if name in ("min", "max") and len(nodes) > 2:
            return reduce(lambda left, right: pointwise(name, left, right), nodes)
        return pointwise(name, *nodes)

    return apply


def _where(a: Arguments) -> Value:
    condition = a.node(0)
    if hasattr(condition, "value") and condition.type.kind is Kind.BOOL and not condition.type.axes:
        chosen = a.args[1] if getattr(condition, "value", False) else a.args[2]
        return node_of(a.e, chosen, a.env)
    yes, no = nodes_of(a.e, a.args[1:], a.env)
    return pointwise("where", condition, yes, no)


# -- contractions ---------------------------------------------------------------------------


def contract(left: Node, right: Node, pairs: tuple[tuple[int, int], ...]) -> Node:
    """Sum of products over pairs of feature dims."""
    left, right = with_heads((real(left), real(right)))
    for a, b in pairs:
        if left.type.dims[a] != right.type.dims[b]:
            raise TypeMistake(
                "ATT502",
                f"cannot contract [{left.type.dims[a]}] with [{right.type.dims[b]}]",
                f"the operands are {left.type} and {right.type}",
            )
    left_dims = tuple(a for a, _ in pairs)
    right_dims = tuple(b for _, b in pairs)
    dims = tuple(d for n, d in enumerate(left.type.dims) if n not in left_dims)
    dims += tuple(d for n, d in enumerate(right.type.dims) if n not in right_dims)
    return Contract(Type(Kind.REAL, union((left, right)), dims), left, right, left_dims, right_dims)


def dot(left: Node, right: Node) -> Node:
    """All feature dims of two operands, which must be equal."""
    if not left.type.dims or not right.type.dims:
        bare = right if left.type.dims else left
        raise TypeMistake("ATT502", f"`dot` contracts feature dims; {bare.type} has none")
    if len(left.type.dims) != len(right.type.dims):
        raise TypeMistake(
            "ATT502",
            f"`dot` contracts all feature dims: {left.type} and {right.type} differ",
            "the operands must have the same feature dims, at least one",
        )
    return contract(left, right, tuple((n, n) for n in range(len(left.type.dims))))


def matmul(left: Node, right: Node) -> Node:
    """Last feature dim of the left with the first of the right."""
    if not left.type.dims or not right.type.dims:
        raise TypeMistake(
            "ATT502", f"`@` contracts a feature dim of each operand: {left.type} and {right.type}"
        )
    return contract(left, right, ((len(left.type.dims) - 1, 0),))


def _linear(a: Arguments) -> Value:
    arg = real(a.node(0))
    if not arg.type.dims:
        raise TypeMistake("ATT502", f"`linear` contracts feature dims; {arg.type} has none")
    to = a.get("to")
    items = to.items if isinstance(to, syntax.List) else (to,) if to is not None else ()
    axes, dims = a.e.shape(items, a.env) if items else ((), (a.e.dim("d_model"),))
    name = _weight_name(a)
    bias = a.flag("bias", True)
    result = Type(Kind.REAL, arg.type.axes | set(axes), dims)
    if set(axes) & arg.type.axes:
        raise TypeMistake("ATT502", f"`linear` makes axis {axes[0]}, which its argument has")
    node = Linear(result, arg, name, axes, dims, bias)
    init = a.get("init")
    a.e.own_weight(name, node, "linear" if init is None else a.e.init_text(init, a.env), a)
    return node


def _weight_name(a: Arguments) -> str:
    given = a.get("as")
    if given is None:
        return a.env.owner
    if not isinstance(given, syntax.Name):
        raise a.e.fail("ATT511", "`as` is a name", given.span, a.env)
    return given.name


def _norm(kind: str, eps: float) -> Callable[[Arguments], Value]:
    def apply(a: Arguments) -> Value:
        arg = real(a.node(0))
        if not arg.type.dims:
            raise TypeMistake("ATT502", f"`{kind}_norm` normalises feature dims; there are none")
        affine = a.flag("affine", True)
        name = _weight_name(a) if affine else ""
        op = "layer" if kind == "layer" else "rms"
        node = Norm(arg.type, arg, op, name, affine, a.number("eps", eps))  # type: ignore[arg-type]
        if affine:
            a.e.own_weight(name, node, "ones", a)
        return node

    return apply


def _outer(a: Arguments) -> Value:
    left, right = nodes_of(a.e, a.args, a.env)
    return contract(left, right, ())


# -- reductions -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Over:
    """What a reduction runs over: index axes, feature dims, and windows of tokens."""

    axes: tuple[Axis, ...]
    dims: tuple[int, ...]
    windows: TokenSet | None


def over(a: Arguments, arg: Node) -> Over:
    """The target of `over=`: axes, token sets, named dims, `first`, `last`, sets of windows."""
    expr = a.get("over")
    if expr is None:
        return Over((), tuple(range(len(arg.type.dims))), None)
    items = expr.items if isinstance(expr, syntax.List) else (expr,)
    axes: list[Axis] = []
    dims: list[int] = []
    windows: TokenSet | None = None
    for item in items:
        found = a.e.axes_of(item, a.env, arg)
        if isinstance(found, TokenSet):
            windows = found
        elif isinstance(found, int):
            dims.append(found)
        else:
            axes.extend(axis for axis in found if axis not in axes)
    for axis in axes:
        if axis not in arg.type.axes and not (a.get("where") or axis.role == "joint"):
            raise a.e.fail(
                "ATT505",
                f"{arg.type} has no axis `{axis}`",
                expr.span,
                a.env,
                "a reduction runs over an axis or feature dim of its argument",
            )
    return Over(tuple(axes), tuple(dims), windows)


def _reduce(op: str) -> Callable[[Arguments], Value]:
    def apply(a: Arguments) -> Value:
        if op in ("max", "min") and len(a.args) > 1:
            return _pointwise(op)(a)
        arg = a.node(0)
        where = a.where()
        target = over(a, arg)
        if target.windows is not None:
            from .tokens import reduce_windows

            return reduce_windows(a.e, op, arg, target.windows, where)
        if not target.axes and not target.dims:
            raise TypeMistake("ATT505", f"`{op}` has nothing to run over: {arg.type}")
        return reduced(op, arg, target.axes, target.dims, where)

    return apply


def reduced(
    op: str, arg: Node, axes: tuple[Axis, ...], dims: tuple[int, ...], where: Node | None
) -> Node:
    """A reduction, typed."""
    kind = arg.type.kind
    if op in ("any", "all", "count"):
        if kind is not Kind.BOOL:
            raise TypeMistake("ATT501", f"`{op}` takes a bool, not {arg.type}")
    elif kind is Kind.BOOL:
        raise TypeMistake("ATT501", f"`{op}` takes numbers, not a bool", "use int(..) or count")
    if op in ("mean", "logsumexp"):
        arg = real(arg)
    if where is not None:
        arg, where = with_heads((arg, where))
    out = {"any": Kind.BOOL, "all": Kind.BOOL, "count": Kind.INT}.get(op, arg.type.kind)
    everything = arg.type.axes | (where.type.axes if where is not None else frozenset())
    kept = tuple(d for n, d in enumerate(arg.type.dims) if n not in dims)
    result = Type(out, everything - set(axes), kept)
    return Reduce(result, op, arg, axes, dims, where)  # type: ignore[arg-type]


def _cumsum(a: Arguments) -> Value:
    arg = a.node(0)
    target = over(a, arg)
    if len(target.axes) != 1:
        raise TypeMistake("ATT505", "`cumsum` runs over one axis")
    return Scan(
        Type(arg.type.kind, arg.type.axes, arg.type.dims),
        arg,
        target.axes[0],
        a.flag("reverse", False),
        a.flag("exclusive", False),
    )


def _simplex(default: float) -> Callable[[Arguments], Value]:
    def apply(a: Arguments) -> Value:
        arg = real(a.node(0))
        target = over(a, arg)
        if len(target.axes) != 1:
            raise TypeMistake("ATT505", "a normaliser runs over one axis")
        alpha = a.get("alpha")
        power = const(default) if alpha is None else real(node_of(a.e, alpha, a.env))
        result = Type(Kind.REAL, union((arg, power)), arg.type.dims)
        return Simplex(result, arg, target.axes[0], power)

    return apply


def _stencil(a: Arguments) -> Value:
    arg, kernel = (real(node) for node in nodes_of(a.e, a.args, a.env))
    target = over(a, arg)
    starts_expr = a.get("from")
    assert starts_expr is not None
    items = starts_expr.items if isinstance(starts_expr, syntax.List) else (starts_expr,)
    starts = tuple(a.e.size(item, a.env).value for item in items)
    if len(starts) != len(target.axes):
        raise TypeMistake("ATT502", "`from` has one offset for each axis of `over`")
    return stencil(arg, kernel, target.axes, starts)


def stencil(arg: Node, kernel: Node, axes: tuple[Axis, ...], starts: tuple[int, ...]) -> Node:
    """A stencil, typed: with one more kernel dim than axes, the first contracts the heads."""
    taps = len(kernel.type.dims)
    channels: Axis | None = None
    if taps == len(axes) + 1:
        channels = next((axis for axis in arg.type.ordered if axis.role == "head"), None)
        if channels is None or channels.size != kernel.type.dims[0]:
            raise TypeMistake("ATT502", "the first kernel dim contracts the heads of the argument")
    elif taps != len(axes):
        raise TypeMistake("ATT502", f"a kernel over {len(axes)} axes has {len(axes)} tap dims")
    if channels is None:
        arg, kernel = with_heads((arg, kernel))
    result = Type(Kind.REAL, union((arg, kernel)), arg.type.dims)
    return Stencil(result, arg, kernel, axes, starts, channels)


def _convolve(a: Arguments) -> Value:
    arg, kernel = (real(node) for node in nodes_of(a.e, a.args, a.env))
    tokens = arg.type.tokens
    if a.get("over") is not None:
        axes = over(a, arg).axes
    elif len(tokens) == 1:
        axes = tokens
    else:
        raise TypeMistake("ATT505", "say over which axis: `over=`")
    left, right = a.whole("left", 0), a.whole("right", 0)
    if len(kernel.type.dims) != 1 or kernel.type.dims[0].value != left + right + 1:
        raise TypeMistake(
            "ATT502", f"the kernel has {kernel.type.dims}; left + right + 1 is {left + right + 1}"
        )
    return stencil(arg, kernel, axes, (-left,))


# -- order ----------------------------------------------------------------------------------


def _top(a: Arguments) -> Value:
    arg = a.node(0)
    made = a.e.user_axis(a.args[1], a.env)
    target = over(a, arg)
    if len(target.axes) != 1:
        raise TypeMistake("ATT505", "`top` chooses along one axis")
    where = a.where()
    if where is not None:
        arg, where = with_heads((arg, where))
    axis = target.axes[0]
    axes = (union((arg,) if where is None else (arg, where)) - {axis}) | {made}
    ref = a.e.base_axis(axis)
    return Top(Type(Kind.INT, axes, arg.type.dims, ref), arg, axis, made, where)


def _choose(op: str) -> Callable[[Arguments], Value]:
    def apply(a: Arguments) -> Value:
        arg = a.node(0)
        where = a.where()
        target = over(a, arg)
        if a.get("over") is None:
            if len(arg.type.dims) != 1:
                raise TypeMistake("ATT505", f"`{op}` without `over` needs one feature dim")
            result = Type(Kind.INT, arg.type.axes)
            return Choose(result, op, arg, None, where)  # type: ignore[arg-type]
        if len(target.axes) != 1:
            raise TypeMistake("ATT505", f"`{op}` chooses along one axis")
        axis = target.axes[0]
        axes = union((arg,) if where is None else (arg, where)) - {axis}
        result = Type(Kind.INT, axes, arg.type.dims, a.e.base_axis(axis))
        return Choose(result, op, arg, axis, where)  # type: ignore[arg-type]

    return apply


def _rank(a: Arguments) -> Value:
    token_set = a.e.set_of(a.args[0], a.env)
    sort = a.e.sorts.get(token_set.name)
    if sort is None:
        raise a.e.fail("ATT516", "`rank` takes a sorted set", a.args[0].span, a.env)
    assert isinstance(sort, Sort)
    from ..core import Rank

    axes = (sort.type.axes - {sort.made}) | set(sort.axes)
    return Rank(Type(Kind.INT, axes, (), a.e.base_axis(sort.made)), sort)


def _segment(op: str) -> Callable[[Arguments], Value]:
    def apply(a: Arguments) -> Value:
        places = 1 if op == "count" else 2
        if len(a.args) != places:
            raise TypeMistake("ATT412", f"`segment_{op}` takes {places} argument(s) and over=")
        label = node_of(a.e, a.args[-1], a.env)
        arg = const(1) if op == "count" else a.node(0)
        if label.type.ref is None:
            raise TypeMistake("ATT506", "a segment label is a ref", "token(set, place) makes one")
        made = label.type.ref
        if a.get("over") is not None:
            axes = over(a, label if op == "count" else pointwise_probe(arg, label)).axes
        else:
            axes = label.type.tokens or tuple(
                axis for axis in label.type.ordered if axis.role in ("head", "user")
            )
        if op != "count":
            arg = real(arg) if op == "mean" else arg
        everything = union((arg, label))
        result = Type(
            Kind.INT if op == "count" else arg.type.kind,
            (everything - set(axes)) | {made},
            arg.type.dims,
        )
        return Segment(result, op, arg, label, axes)  # type: ignore[arg-type]

    return apply


def pointwise_probe(left: Node, right: Node) -> Node:
    """A node with the axes of both, to look up what `over=` names."""
    return fill(0, union((left, right)), left.type.dims)


# -- shape ----------------------------------------------------------------------------------


def _concat(a: Arguments) -> Value:
    if a.get("over") is not None:
        if len(a.args) != 1:
            raise TypeMistake("ATT412", "`concat(e, over=axis)` takes one argument")
        return merge(a, a.node(0))
    nodes = with_heads(nodes_of(a.e, a.args, a.env))
    if any(not node.type.dims for node in nodes):
        raise TypeMistake("ATT502", "`concat` joins feature dims; an argument has none")
    rest = nodes[0].type.dims[1:]
    if any(node.type.dims[1:] != rest for node in nodes):
        raise TypeMistake("ATT502", "all dims but the first must agree in `concat`")
    if any(node.type.kind is Kind.REAL for node in nodes):
        nodes = tuple(real(node) for node in nodes)
    first = reduce(lambda left, right: left + right, (node.type.dims[0] for node in nodes))
    return ConcatDims(Type(nodes[0].type.kind, union(nodes), (first, *rest)), nodes)


def merge(a: Arguments, arg: Node) -> Node:
    """Index axes join the feature dims, the last named outermost, all flattened to one."""
    for axis in over(a, arg).axes:
        arg = axis_to_dim(arg, axis)
    total = reduce(lambda left, right: left * right, arg.type.dims, constant(1))
    return arg if len(arg.type.dims) == 1 else reshape(arg, (total,))


def axis_to_dim(arg: Node, axis: Axis) -> Node:
    """An index axis of static size becomes the first feature dim."""
    if axis.size is None:
        raise TypeMistake("ATT505", f"axis `{axis}` has no static size")
    dims = (axis.size, *arg.type.dims)
    return AxisToDim(Type(arg.type.kind, arg.type.axes - {axis}, dims), arg, axis)


def reshape(arg: Node, dims: tuple[Size, ...]) -> Node:
    """Feature dims reshaped."""
    return Reshape(Type(arg.type.kind, arg.type.axes, dims), arg)


def _matrix(a: Arguments) -> Value:
    arg = a.node(0)
    for item in reversed(a.args[1:]):
        found = a.e.axes_of(item, a.env, arg)
        if not isinstance(found, tuple):
            raise TypeMistake("ATT505", "`matrix` moves index axes")
        for axis in reversed(found):
            arg = axis_to_dim(arg, axis)
    return arg


def _unmatrix(a: Arguments) -> Value:
    arg = a.node(0)
    for item in a.args[1:]:
        found = a.e.axes_of(item, a.env, None)
        if not isinstance(found, tuple):
            raise TypeMistake("ATT505", "`unmatrix` makes index axes")
        for axis in found:
            if not arg.type.dims or arg.type.dims[0] != axis.size:
                raise TypeMistake(
                    "ATT502", f"the first dim of {arg.type} has not the size of axis `{axis}`"
                )
            result = Type(arg.type.kind, arg.type.axes | {axis}, arg.type.dims[1:])
            arg = DimToAxis(result, arg, axis)
    return arg


def _transpose(a: Arguments) -> Value:
    arg = a.node(0)
    if len(arg.type.dims) < 2:
        raise TypeMistake("ATT502", f"`transpose` exchanges two feature dims: {arg.type}")
    *rest, first, second = arg.type.dims
    return Transpose(Type(arg.type.kind, arg.type.axes, (*rest, second, first)), arg)


def _roll(a: Arguments) -> Value:
    """roll(e, n)[p] = e[(p - n) % size]: a read of the first dim."""
    from .expressions import _read_plain

    arg = a.node(0)
    shift = integer(node_of(a.e, a.args[1], a.env))
    if not arg.type.dims:
        raise TypeMistake("ATT502", "`roll` turns the first feature dim; there is none")
    size = arg.type.dims[0]
    place = pointwise("%", pointwise("-", range_node(size), shift), a.e.size_const(size))
    return _read_plain(a.e, arg, place, a.args[1], a.env)


def range_node(size: Size) -> Node:
    """0 .. size-1 along a feature dim."""
    return Range(Type(Kind.INT, frozenset(), (size,)))


def _range(a: Arguments) -> Value:
    return range_node(a.e.count(a.args[0], a.env))


def _eye(a: Arguments) -> Value:
    size = a.e.count(a.args[0], a.env)
    return Eye(Type(Kind.REAL, frozenset(), (size, size)))


def _filled(value: float) -> Callable[[Arguments], Value]:
    def apply(a: Arguments) -> Value:
        axes, dims = a.e.shape(a.args, a.env)
        return fill(value, frozenset(axes), dims)

    return apply


def _dropout(a: Arguments) -> Value:
    arg = real(a.node(0))
    rate = a.e.static_number(a.args[1], a.env)
    if not 0 <= rate < 1:
        raise a.e.fail("ATT307", "a dropout rate is in [0, 1)", a.args[1].span, a.env)
    return arg if rate == 0 else Dropout(arg.type, arg, a.e.draw_name(a), rate)


def _sum_of(name: str) -> Callable[[Arguments], Value]:
    """Values of a token set that are read at a token: pos, slot, time, start."""

    def apply(a: Arguments) -> Value:
        from .tokens import token_field

        return token_field(a, name)

    return apply


def _tokens(name: str) -> Callable[[Arguments], Value]:
    def apply(a: Arguments) -> Value:
        from . import tokens

        result: Value = getattr(tokens, name)(a)
        return result

    return apply


def _pair(least: int, usage: str, apply: Callable[[Arguments], Value], meaning: str) -> Function:
    return Function(usage, least, least, (), apply, meaning)


_REDUCTIONS = {
    "sum": "sum",
    "mean": "mean",
    "max": "largest",
    "min": "smallest",
    "any": "whether any holds",
    "all": "whether all hold",
    "logsumexp": "log of the sum of exponentials",
    "count": "how many hold",
}


def _table() -> dict[str, Function]:
    table: dict[str, Function] = {}
    for name, row in POINTWISE.items():
        if name not in SYMBOLS:
            usage = f"{name}({', '.join('abc'[: row.least])})"
            keywords = tuple(key for key, _ in row.keywords)
            table[name] = Function(
                usage, row.least, row.most, keywords, _pointwise(name), row.meaning
            )
    table["where"] = Function("where(c, a, b)", 3, 3, (), _where, "a where c holds, else b")
    for name, meaning in _REDUCTIONS.items():
        most = None if name in ("max", "min") else 1
        table[name] = Function(
            f"{name}(e, over=axis, where=p)",
            1,
            most,
            ("over", "where"),
            _reduce(name),
            f"{meaning}, over axes or dims" + ("; or pointwise" if most is None else ""),
        )
    table.update(_ARRAYS)
    return table


_ARRAYS: dict[str, Function] = {
    "dot": _pair(
        2,
        "dot(a, b)",
        lambda a: dot(*nodes_of(a.e, a.args, a.env)),
        "contracts all feature dims, which must be equal",
    ),
    "outer": _pair(2, "outer(a, b)", _outer, "products of the dims of a with the dims of b"),
    "linear": Function(
        "linear(e, to=[h, d], bias=true, init=.., as=name)",
        1,
        1,
        ("to", "bias", "init", "as"),
        _linear,
        "learned linear map of all feature dims",
    ),
    "layer_norm": Function(
        "layer_norm(e, affine=true, eps=1e-5)",
        1,
        1,
        ("affine", "eps", "as"),
        _norm("layer", 1e-5),
        "(e - mean) / sqrt(variance + eps) over feature dims",
    ),
    "rms_norm": Function(
        "rms_norm(e, affine=true, eps=1e-6)",
        1,
        1,
        ("affine", "eps", "as"),
        _norm("rms", 1e-6),
        "e / sqrt(mean square + eps) over feature dims",
    ),
    "cumsum": Function(
        "cumsum(e, over=axis, reverse=false, exclusive=false)",
        1,
        1,
        ("over", "reverse", "exclusive"),
        _cumsum,
        "running sum along an axis",
        ("over",),
    ),
    "sparsemax": Function(
        "sparsemax(s, over=j)",
        1,
        1,
        ("over",),
        _simplex(2.0),
        "projection on the simplex",
        ("over",),
    ),
    "entmax": Function(
        "entmax(s, over=j, alpha=1.5)",
        1,
        1,
        ("over", "alpha"),
        _simplex(1.5),
        "Tsallis alpha-entropy regularised projection on the simplex",
        ("over",),
    ),
    "stencil": Function(
        "stencil(e, kernel, over=[axes], from=[offsets])",
        2,
        2,
        ("over", "from"),
        _stencil,
        "convolution over axes; one more kernel dim mixes heads",
        ("over", "from"),
    ),
    "convolve": Function(
        "convolve(e, kernel, left=l, right=r)",
        2,
        2,
        ("left", "right", "over"),
        _convolve,
        "depthwise convolution over tokens",
    ),
    "top": Function(
        "top(e, n, over=axis, where=p)",
        2,
        2,
        ("over", "where"),
        _top,
        "refs to the n largest, largest first",
        ("over",),
    ),
    "argmax": Function(
        "argmax(e, over=axis)", 1, 1, ("over", "where"), _choose("argmax"), "ref to the largest"
    ),
    "argmin": Function(
        "argmin(e, over=axis)", 1, 1, ("over", "where"), _choose("argmin"), "ref to the smallest"
    ),
    "rank": _pair(1, "rank(sorted)", _rank, "the place that each token took in a sort"),
    "segment_sum": Function(
        "segment_sum(e, label, over=axes)", 2, 2, ("over",), _segment("sum"), "sum by label"
    ),
    "segment_mean": Function(
        "segment_mean(e, label, over=axes)", 2, 2, ("over",), _segment("mean"), "mean by label"
    ),
    "segment_count": Function(
        "segment_count(label, over=axes)", 1, 1, ("over",), _segment("count"), "how many per label"
    ),
    "concat": Function(
        "concat(a, b, ..) or concat(e, over=axis)",
        1,
        None,
        ("over",),
        _concat,
        "joins first feature dims, or an index axis into the dims",
    ),
    "matrix": Function(
        "matrix(e, axis, ..)", 2, None, (), _matrix, "index axes become the first feature dims"
    ),
    "unmatrix": Function(
        "unmatrix(e, axis, ..)", 2, None, (), _unmatrix, "first feature dims become index axes"
    ),
    "transpose": _pair(1, "transpose(e)", _transpose, "exchanges the last two feature dims"),
    "roll": _pair(2, "roll(e, n)", _roll, "turns the first feature dim by n places"),
    "range": _pair(1, "range(n)", _range, "0 .. n-1 along a feature dim"),
    "eye": _pair(1, "eye(n)", _eye, "identity matrix"),
    "zeros": Function("zeros(axes, dims)", 0, None, (), _filled(0.0), "array of zeros"),
    "ones": Function("ones(axes, dims)", 0, None, (), _filled(1.0), "array of ones"),
    "dropout": _pair(2, "dropout(e, rate)", _dropout, "elements zeroed at random in training"),
    "slot": _pair(1, "slot(i)", _sum_of("slot"), "place of a token in its set"),
    "pos": _pair(1, "pos(i)", _sum_of("pos"), "ref to the source token"),
    "time": _pair(1, "time(i)", _sum_of("time"), "latest source token that a token needs"),
    "start": _pair(1, "start(i)", _sum_of("start"), "earliest source token"),
    "token": _pair(2, "token(set, place)", _tokens("token"), "ref to the token at a place"),
    "node": _pair(3, "node(tree, level, place)", _tokens("tree_node"), "ref to a tree node"),
    "length": _pair(1, "length(set)", _tokens("length"), "how many tokens are there"),
    "split": _pair(
        3, "split(e, windows, axis)", _tokens("split"), "members of each window along an axis"
    ),
    "scatter": Function(
        "scatter(e, onto=set, by=set, at=refs, eps=0)",
        1,
        1,
        ("onto", "by", "at", "eps"),
        _tokens("scatter"),
        "sends values over chosen tokens back to where they came from",
        ("onto",),
    ),
    "windows": Function(
        "windows(set, size=n, stride=m)",
        1,
        1,
        ("size", "stride"),
        _tokens("windows"),
        "a token per window",
        ("size", "stride"),
    ),
    "blocks": Function(
        "blocks(set, size=n)", 1, 1, ("size",), _tokens("blocks"), "a token per block", ("size",)
    ),
    "segments": Function(
        "segments(set, count=n)", 1, 1, ("count",), _tokens("segments"), "n blocks", ("count",)
    ),
    "take": _pair(2, "take(set, refs)", _tokens("take"), "chosen tokens"),
    "sort": Function("sort(set, by=[keys])", 1, 1, ("by",), _tokens("sort"), "sorted", ("by",)),
    "cross": _pair(2, "cross(a, b)", _tokens("cross"), "pairs of tokens"),
    "slots": _pair(1, "slots(n)", _tokens("slots"), "n places without position"),
    "hierarchy": Function(
        "hierarchy(set, fanout=2, levels=n)",
        1,
        1,
        ("fanout", "levels"),
        _tokens("hierarchy"),
        "a tree over the tokens",
        ("fanout", "levels"),
    ),
}

FUNCTIONS: dict[str, Function] = _table()

__all__ = [
    "FUNCTIONS",
    "Arguments",
    "Draw",
    "Param",
    "Token",
    "as_node",
    "call",
    "elaborate",
]
