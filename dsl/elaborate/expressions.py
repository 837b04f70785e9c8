"""Expressions: from syntax to core nodes, name by name and operator by operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import syntax
from ..core import (
    Attend,
    Axis,
    Const,
    Index,
    Kind,
    KvHead,
    Node,
    Param,
    Part,
    Position,
    Scores,
    Type,
)
from ..intervals import bounds
from ..shapes import Broken, Null, Table
from ..syntax import Expr
from ..typed import TokenSet
from .contractions import matmul
from .reading import adapt, not_over, position_of, reach, read_plain
from .typing import TypeMistake, const, pointwise, union
from .values import Bundle, Env, Poisoned, Thunk, Token, Value, Word

if TYPE_CHECKING:
    from .spec import Elaborator

_SPELLING = {"+": "+", "-": "-", "*": "*", "/": "/", "//": "//", "%": "%", "**": "**"}


def elaborate(e: Elaborator, expr: Expr, env: Env, raw: bool = False) -> Value:
    """What an expression stands for. raw: the whole field that a name means, not its value here."""
    e.tick(expr.span, env)
    try:
        with e.deeper(expr.span, env):
            value = _elaborate(e, expr, env, raw)
    except TypeMistake as mistake:
        names = () if env.at is not None else operand_names(expr)
        notes = e.declared(name for name in names if name not in env.locals)
        raise e.fail(mistake.code, mistake.message, expr.span, env, mistake.help, notes) from None
    if isinstance(value, Node):
        e.spec.spans.setdefault(value, env.at or expr.span)
    return value


def operand_names(expr: Expr) -> list[str]:
    """The names that an operation applies to, in the order written; not those inside calls."""
    inner = expr.args if isinstance(expr, syntax.Call) else syntax.children(expr)
    return [name for child in inner for name in _names_of_operand(child)]


def _names_of_operand(expr: Expr) -> list[str]:
    match expr:
        case syntax.Name():
            return [expr.name]
        case syntax.Read():
            return _names_of_operand(expr.operand)
        case syntax.Binary() | syntax.Unary() | syntax.Logic():
            return operand_names(expr)
        case _:
            return []


def _elaborate(e: Elaborator, expr: Expr, env: Env, raw: bool) -> Value:
    match expr:
        case syntax.Number() | syntax.Bool():
            return const(expr.value)
        case syntax.Name():
            return _name(e, expr, env, raw)
        case syntax.Unary():
            return pointwise("neg" if expr.op == "-" else "not", node_of(e, expr.operand, env))
        case syntax.Binary() if expr.op == "@":
            return matmul(*nodes_of(e, (expr.left, expr.right), env))
        case syntax.Binary():
            return _binary(e, expr, env)
        case syntax.Logic():
            return _logic(e, expr, env)
        case syntax.Compare():
            return _compare(e, expr, env)
        case syntax.Call():
            return e.call(expr, env, raw)
        case syntax.Read():
            return _read(e, expr, env)
        case syntax.Member():
            return _member(e, expr, env, raw)
        case syntax.List():
            raise e.fail(
                "ATT514", "a list stands only where names or sizes are listed", expr.span, env
            )


def node_of(e: Elaborator, expr: Expr, env: Env) -> Node:
    """The array that an expression stands for, at the place of use."""
    return as_node(e, elaborate(e, expr, env), expr, env)


def as_node(e: Elaborator, value: Value, expr: Expr, env: Env) -> Node:
    """A value as an array; token sets and words are not arrays."""
    if isinstance(value, Node):
        return value
    if isinstance(value, Token):
        return position_of(e, value, expr, env)
    if isinstance(value, Bundle):
        if value.main is not None:
            return value.main
        names = ", ".join(f"`.{name}`" for name in value.members)
        raise e.fail("ATT515", f"this is a record; read one of {names}", expr.span, env)
    if isinstance(value, Word):
        raise e.fail(
            "ATT401",
            f"unknown name `{value.text}`",
            expr.span,
            env,
            "it is a choice of a `one_of` dim, which can only be compared",
        )
    raise e.fail(
        "ATT516",
        f"`{value.name}` is a token set, not an array",
        expr.span,
        env,
        "read a field over it, or use slot(..), pos(..), time(..)",
    )


def nodes_of(e: Elaborator, exprs: Sequence[Expr], env: Env) -> tuple[Node, ...]:
    """Several expressions; the mistakes of all of them are reported before giving up."""
    nodes: list[Node] = []
    poisoned = False
    for expr in exprs:
        try:
            nodes.append(node_of(e, expr, env))
        except Poisoned:
            poisoned = True
    if poisoned:
        raise Poisoned
    return tuple(nodes)


def _name(e: Elaborator, expr: syntax.Name, env: Env, raw: bool) -> Value:
    name = expr.name
    if name in env.locals:
        local = env.locals[name]
        if isinstance(local, Thunk):  # adapted in its own scope
            return force(e, local, raw, expr, env)
        value: Value = local
    elif name in e.macros and e.value(name, expr.span, env) is None:
        return e.expand(e.macros[name], expr, (), (), env, raw)
    else:
        value = lookup(e, expr, env)
    if raw or not isinstance(value, Node) or isinstance(value, Scores):
        return value
    if isinstance(value, Param) and value.role == "carry":
        return value
    return adapt(e, value, env, frozenset(), expr.span, name)


def lookup(e: Elaborator, expr: syntax.Name, env: Env) -> Value:
    """What a name that is no local and no macro means."""
    name = expr.name
    if name == "i":
        query = env.query or e.sets["x"]
        return Token(query, _index(query.axis))
    if name == "j":
        return _key_token(e, expr, env)
    found = e.value(name, expr.span, env)
    if found is not None:
        return found
    if name in e.axes:
        axis = e.axes[name]
        return _axis_value(e, axis)
    if name == "kv_head":
        head, group = e.axes["h"], e.axes["g"]
        return KvHead(Type(Kind.INT, frozenset({head}), (), group), head)
    if name in e.words:
        return Word(name)
    raise e.unknown(name, expr.span, env)


def _index(axis: Axis) -> Node:
    return Index(Type(Kind.INT, frozenset({axis}), (), axis), axis)


def _axis_value(e: Elaborator, axis: Axis) -> Node:
    if axis.role == "head":
        return Position(Type(Kind.INT, frozenset({axis}), (), axis), axis)
    return Index(Type(Kind.INT, frozenset({axis}), (), e.base_axis(axis)), axis)


def _key_token(e: Elaborator, expr: Expr, env: Env) -> Token:
    if env.query is None:
        return Token(e.sets["context"], _index(e.sets["context"].axis))
    if env.key is None:
        raise e.fail("ATT518", "there is no `j` here", expr.span, env, "`j` is a key of an attend")
    assert env.key_ref is not None
    return Token(env.key, env.key_ref)


def force(e: Elaborator, thunk: Thunk, raw: bool, expr: Expr, env: Env) -> Value:
    """The value of a macro argument, a local binding or `super`."""
    if isinstance(thunk.value, Broken | Null):
        raise Poisoned
    if raw not in thunk.done:
        if thunk.busy:
            name = expr.name if isinstance(expr, syntax.Name) else "this"
            raise e.fail("ATT404", f"`{name}` is defined by itself", expr.span, env)
        thunk.busy = True
        try:
            if isinstance(thunk.value, Table):
                thunk.done[raw] = e.block(thunk.value, thunk.env)
            else:
                thunk.done[raw] = elaborate(e, thunk.value, thunk.env, raw)
        finally:
            thunk.busy = False
    return thunk.done[raw]


def _binary(e: Elaborator, expr: syntax.Binary, env: Env) -> Value:
    left, right = nodes_of(e, (expr.left, expr.right), env)
    if expr.op in ("/", "//", "%"):
        _check_divisor(e, right, expr.right, env)
    return pointwise(_SPELLING[expr.op], left, right)


def _check_divisor(e: Elaborator, divisor: Node, expr: Expr, env: Env) -> None:
    low, high = bounds(divisor, e.spec)
    if isinstance(divisor, Const) and divisor.value == 0:
        help = "safe_div(a, b) is 0 where b is"
        raise e.fail("ATT522", "division by zero", expr.span, env, help)
    if low <= 0 <= high and env.at is None:
        e.report.warning(
            "ATT521",
            "this divisor may be zero",
            expr.span,
            "use safe_div(a, b), which is 0 there, or add an epsilon",
        )


def _logic(e: Elaborator, expr: syntax.Logic, env: Env) -> Value:
    nodes = nodes_of(e, expr.operands, env)
    result = nodes[0]
    for node in nodes[1:]:
        result = pointwise(expr.op, result, node)
    return result if len(nodes) > 1 else pointwise(expr.op, result, result)


def _compare(e: Elaborator, expr: syntax.Compare, env: Env) -> Value:
    values = []
    poisoned = False
    for operand in expr.operands:
        try:
            values.append(elaborate(e, operand, env))
        except Poisoned:
            poisoned = True
    if poisoned:
        raise Poisoned
    result: Node | None = None
    for op, left, right, at in zip(expr.ops, values, values[1:], expr.operands, strict=False):
        part = _compare_two(e, op, left, right, at, expr, env)
        result = part if result is None else pointwise("and", result, part)
    assert result is not None
    return result


def _compare_two(
    e: Elaborator, op: str, left: Value, right: Value, at: Expr, expr: Expr, env: Env
) -> Node:
    if isinstance(left, Word) and isinstance(right, Word):
        if op not in ("==", "!="):
            raise e.fail("ATT501", f"words are compared with == and !=, not {op}", expr.span, env)
        e.check_choice(left, right, expr.span, env)
        return const((left.text == right.text) == (op == "=="))
    return pointwise(op, as_node(e, left, at, env), as_node(e, right, expr, env))


def _read(e: Elaborator, expr: syntax.Read, env: Env) -> Value:
    field = elaborate(e, expr.operand, env, raw=True)
    base = as_node(e, field, expr.operand, env)
    name = expr.operand.name if isinstance(expr.operand, syntax.Name) else "this"
    done: set[Axis] = set()
    plain: list[tuple[Node, Expr]] = []
    for index in expr.indices:
        value = elaborate(e, index, env)
        ref = value.ref if isinstance(value, Token) else as_node(e, value, index, env)
        if ref.type.kind is not Kind.INT:
            raise e.fail("ATT506", f"an index is an int, not {ref.type}", index.span, env)
        target = ref.type.ref
        if target is not None and (found := reach(e, base, target, ref)) is not None:
            base = found
            done |= set(ref.type.axes)
        elif isinstance(value, Token):
            raise not_over(e, base, value, index, name, env)
        else:
            plain.append((ref, index))
    base = adapt(e, base, env, frozenset(done), expr.operand.span, name)
    for ref, index in plain:
        base = read_plain(e, base, ref, index, env)
    return base


def _member(e: Elaborator, expr: syntax.Member, env: Env, raw: bool) -> Value:
    value = elaborate(e, expr.operand, env, raw=True)
    name = expr.name.name
    if isinstance(value, TokenSet):
        fields = dict(value.fields)
        if name in fields:
            return (
                fields[name] if raw else adapt(e, fields[name], env, frozenset(), expr.span, name)
            )
        raise e.no_member(name, tuple(fields), expr.name.span, env)
    if isinstance(value, Bundle):
        if name in value.members:
            found = value.members[name]
            return found if raw else adapt(e, found, env, frozenset(), expr.span, name)
        raise e.no_member(name, tuple(value.members), expr.name.span, env)
    if isinstance(value, Attend) and name in ("lse", "weights", "scores"):
        node = part(value, name)
        return node if raw else adapt(e, node, env, frozenset(), expr.span, name)
    if isinstance(value, Attend):
        raise e.no_member(name, ("lse", "weights", "scores"), expr.name.span, env)
    raise e.no_member(name, (), expr.name.span, env)


def part(attend: Attend, name: str) -> Node:
    """lse, weights or scores of an attend."""
    keys = {axis for source in attend.sources for axis in source.axes}
    axes: frozenset[Axis] = frozenset({attend.query})
    if name == "weights":
        axes |= attend.normalize.type.axes - {attend.joint}
    else:
        for source in attend.sources:
            present = (source.mask, source.at, source.score)
            axes |= union(item for item in present if item is not None)
    axes -= keys
    if name != "lse":
        if len(attend.sources) != 1:
            raise TypeMistake(
                "ATT519",
                f"`.{name}` needs one source",
                "an attend with several sources has several key sets",
            )
        axes |= set(attend.sources[0].axes)
    kinds = {"lse": "lse", "weights": "weights", "scores": "scores"}
    return Part(Type(Kind.REAL, axes), attend, kinds[name])  # type: ignore[arg-type]
