"""Token sets: what each constructor knows of its tokens, and reading, splitting, scattering."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import syntax
from ..core import (
    Axis,
    Index,
    Kind,
    Node,
    Position,
    Reduce,
    Scatter,
    Sort,
    Split,
    Top,
    Tree,
    Type,
    Valid,
)
from ..sizes import constant
from ..typed import TokenSet
from .expressions import as_node, elaborate, node_of
from .reading import at_token, flat_sources, read_axis
from .typing import TypeMistake, as_ref, const, pointwise, union
from .values import Token, Value

if TYPE_CHECKING:
    from .arguments import Arguments
    from .spec import Elaborator

INT, BOOL = Kind.INT, Kind.BOOL


def index(axis: Axis) -> Node:
    """The place along an axis, a ref into it."""
    return Index(Type(INT, frozenset({axis}), (), axis), axis)


def field_of(name: str) -> Callable[[Arguments], Value]:
    """A value of a token set that is read at a token: pos, slot, time, start."""
    return lambda a: token_field(a, name)


def token_field(a: Arguments, name: str) -> Node:
    """pos, slot, time, start of a token; of a token set: over its axis; of refs: read there."""
    value = elaborate(a.e, a.args[0], a.env, raw=True)
    if isinstance(value, TokenSet):
        value = Token(value, index(value.axis))
    if isinstance(a.args[0], syntax.Name) and a.args[0].name in a.e.sets:
        named = a.e.sets[a.args[0].name]
        value = Token(named, index(named.axis))
    if isinstance(value, Node):
        value = as_node(a.e, elaborate(a.e, a.args[0], a.env), a.args[0], a.env)
        target = value.type.ref
        token_set = None if target is None else a.e.set_of_axis(target)
        if token_set is None:
            raise a.e.fail(
                "ATT516", f"`{name}` takes a token, a set or a ref", a.args[0].span, a.env
            )
        value = Token(token_set, value)
    if not isinstance(value, Token):
        raise a.e.fail("ATT516", f"`{name}` takes a token", a.args[0].span, a.env)
    return _token_value(a, value, name)


def _token_value(a: Arguments, token: Token, name: str) -> Node:
    token_set = token.set
    if name == "slot":
        return _slot(token)
    if name == "pos":
        sources = flat_sources(a.e, token_set)
        base = [
            ref for axis, ref in sources if axis in (a.e.sets["x"].axis, a.e.sets["context"].axis)
        ]
        return at_token(base[0], token) if base else token.ref
    field = token_set.time if name == "time" else token_set.start
    if field is None:
        early = name == "time" and not token_set.unknown  # slots are there before everything
        return const(-(2**62)) if early else const(2**62)
    return at_token(field, token)


def _slot(token: Token) -> Node:
    """The place in the set; for a product, in row-major order."""
    if len(token.set.axes) == 1:
        ref = token.ref
        return ref if isinstance(ref, Index) else as_ref(ref, token.set.axis)
    place: Node = const(0)
    for axis in token.set.axes:
        if axis.size is not None:
            place = pointwise("*", place, const(axis.size.value))
        place = pointwise("+", place, index(axis))
    return place


def token(a: Arguments) -> Value:
    """The ref to the token at a place."""
    token_set = a.e.set_of(a.args[0], a.env)
    place = node_of(a.e, a.args[1], a.env)
    if place.type.kind is not INT:
        raise TypeMistake("ATT501", f"a place is an int, not {place.type}")
    return as_ref(place, token_set.axis)


def length(a: Arguments) -> Value:
    """How many tokens are there: valid ones of x and context, all of a derived set."""
    token_set = a.e.set_of(a.args[0], a.env)
    if token_set.name in ("x", "context"):
        axis = token_set.axis
        there = Valid(Type(BOOL, frozenset({a.e.batch, axis})), axis)
        return Reduce(Type(INT, frozenset({a.e.batch})), "count", there, (axis,), (), None)
    assert token_set.count is not None
    return token_set.count


def _new_axis(a: Arguments) -> Axis:
    return a.e.token_axis(a.env.owner, None)


def windows(a: Arguments) -> Value:
    """One token per whole window of `size` tokens, every `stride`."""
    source = a.e.set_of(a.args[0], a.env)
    size, stride = a.whole("size", 1), a.whole("stride", 1)
    _check_positive(a, size, stride)
    count = pointwise("-", _count(source), const(size - stride))
    count = pointwise("max", pointwise("//", count, const(stride)), const(0))
    return _windowed(a, source, size, stride, count, whole=True)


def blocks(a: Arguments) -> Value:
    """One token per block of `size` tokens; the last may be partial."""
    source = a.e.set_of(a.args[0], a.env)
    size = a.whole("size", 1)
    _check_positive(a, size)
    count = pointwise("ceil_div", _count(source), const(size))
    return _windowed(a, source, size, size, count, whole=False)


def _check_positive(a: Arguments, *sizes: int) -> None:
    if min(sizes) < 1:
        raise a.e.fail("ATT307", "sizes and strides are at least 1", a.call.span, a.env)


def _count(source: TokenSet) -> Node:
    assert source.count is not None
    return source.count


def _windowed(
    a: Arguments, source: TokenSet, size: int, stride: int, count: Node, whole: bool
) -> TokenSet:
    """Windows with the position, time and start of their members.

    Over a stream the last member stands size - 1 after the first; a block that is not full yet is
    not there before it would be. Over windows the last member that there is says when.
    """
    ordered = len(source.axes) == 1 and not source.sources
    if not ordered or source.position is None or source.start is None or source.time is None:
        raise TypeMistake("ATT516", "windows are made of tokens with positions, one after another")
    axis = _new_axis(a)
    first = as_ref(pointwise("*", index(axis), const(stride)), source.axis)
    end = pointwise("+", first, const(size - 1))
    if not whole:
        end = pointwise("min", end, pointwise("-", _count(source), const(1)))
    last = as_ref(end, source.axis)

    def late(field: Node) -> Node:
        if isinstance(field, Position):
            return pointwise("+", read_axis(field, source.axis, first), const(size - 1))
        return read_axis(field, source.axis, last)

    valid = source.valid
    if valid is not None:  # whole windows need their last member, blocks only a first
        valid = read_axis(valid, source.axis, last if whole else first)
    return TokenSet(
        name=a.env.owner,
        axes=(axis,),
        over=source.over,
        count=count,
        position=late(source.position),
        time=late(source.time),
        start=read_axis(source.start, source.axis, first),
        valid=valid,
        source=source.name,
        size=size,
        stride=stride,
    )


def segments(a: Arguments) -> Value:
    """`count` blocks of equal length, aligned to the whole: known only at the end."""
    source = a.e.set_of(a.args[0], a.env)
    expr = a.get("count")
    assert expr is not None
    size = a.e.size(expr, a.env)
    _check_positive(a, size.value)
    axis = a.e.token_axis(a.env.owner, size)
    return TokenSet(
        name=a.env.owner,
        axes=(axis,),
        over=source.over,
        count=a.e.size_const(size),
        source=source.name,
        unknown=True,
    )


def slots(a: Arguments) -> Value:
    """n places without position, before everything."""
    size = a.e.count(a.args[0], a.env)
    axis = a.e.token_axis(a.env.owner, size)
    return TokenSet(name=a.env.owner, axes=(axis,), count=a.e.size_const(size))


def take(a: Arguments) -> Value:
    """Tokens chosen by refs; the axis of the list becomes the token axis."""
    source = a.e.set_of(a.args[0], a.env)
    refs = node_of(a.e, a.args[1], a.env)
    if refs.type.ref != source.axis:
        raise a.e.fail("ATT506", f"`take` needs refs into `{source.name}`", a.args[1].span, a.env)
    users = [axis for axis in refs.type.ordered if axis.role == "user"]
    if not users:
        raise a.e.fail("ATT505", "`take` needs a list of refs", a.args[1].span, a.env)
    listed = refs.made if isinstance(refs, Top) else users[-1]
    axis = a.e.token_axis(a.env.owner, listed.size)
    place = as_ref(index(axis), listed)
    chosen = read_axis(refs, listed, place)
    there = pointwise(">=", chosen, const(0))
    return _chosen(a, source, axis, chosen, there, a.e.size_const(listed.size or constant(0)))


def _chosen(
    a: Arguments, source: TokenSet, axis: Axis, refs: Node, there: Node | None, count: Node
) -> TokenSet:
    def moved(field: Node | None) -> Node | None:
        return None if field is None else read_axis(field, source.axis, refs)

    valid = moved(source.valid)
    if there is not None:
        valid = there if valid is None else pointwise("and", there, valid)
    return TokenSet(
        name=a.env.owner,
        axes=(axis,),
        over=(refs.type.axes - {axis}) | source.over,
        count=count,
        position=moved(source.position),
        time=moved(source.time),
        start=moved(source.start),
        valid=valid,
        sources=((source.axis, refs),),
        source=source.name,
        unknown=source.unknown,
    )


def cross(a: Arguments) -> Value:
    """Pairs of an index axis or token set and a token set; fields keep both axes."""
    axes: tuple[Axis, ...] = ()
    for factor in a.args:
        found = a.e.axes_of(factor, a.env, None)
        if isinstance(found, int):
            raise a.e.fail("ATT505", "`cross` takes axes and token sets", factor.span, a.env)
        axes += found.axes if isinstance(found, TokenSet) else found
    sets = [made for axis in axes if (made := a.e.set_of_axis(axis)) is not None]
    with_position = [item for item in sets if item.position is not None]
    last = with_position[-1] if with_position else None
    count: Node = const(1)
    for axis in axes:
        token_set = a.e.set_of_axis(axis)
        size = token_set.count if token_set is not None else None
        if size is None:
            assert axis.size is not None
            size = a.e.size_const(axis.size)
        count = pointwise("*", count, size)
    valid: Node | None = None
    for item in sets:
        if item.valid is not None:
            valid = item.valid if valid is None else pointwise("and", valid, item.valid)
    return TokenSet(
        name=a.env.owner,
        axes=axes,
        over=frozenset().union(*(item.over for item in sets)) if sets else frozenset(),
        count=count,
        position=None if last is None else last.position,
        time=None if last is None else last.time,
        start=None if last is None else last.start,
        valid=valid,
        source=sets[-1].name if sets else "",
    )


def sort(a: Arguments) -> Value:
    """The tokens of a set in the order of some keys; varies over the other axes of the keys."""
    source = a.e.set_of(a.args[0], a.env)
    by = a.get("by")
    assert by is not None
    items = by.items if isinstance(by, syntax.List) else (by,)
    keys = tuple(_sort_key(a, item) for item in items)
    axis = a.e.token_axis(a.env.owner, None)
    over = union(keys) - set(source.axes)
    order = Sort(Type(INT, over | {axis}), keys, source.axes, axis)
    a.e.sorts[a.env.owner] = order
    refs = _unflatten(a, order, source.axes)
    if len(source.axes) == 1:
        return _chosen(a, source, axis, refs[0][1], None, _count(source))

    def moved(field: Node | None) -> Node | None:
        if field is None:
            return None
        for factor, ref in refs:
            if factor in field.type.axes:
                field = read_axis(field, factor, ref)
        return field

    return TokenSet(
        name=a.env.owner,
        axes=(axis,),
        over=over | source.over,
        count=source.count,
        position=moved(source.position),
        time=moved(source.time),
        start=moved(source.start),
        valid=moved(source.valid),
        sources=refs,
        source=source.name,
        unknown=source.unknown,
    )


def _sort_key(a: Arguments, item: syntax.Expr) -> Node:
    if isinstance(item, syntax.Name) and item.name not in a.env.locals:
        axis = a.e.axes.get(item.name)
        token_set = a.e.sets.get(item.name)
        if token_set is not None and len(token_set.axes) == 1:
            axis = token_set.axis
        if axis is not None:
            return index(axis)
    return node_of(a.e, item, a.env)


def _unflatten(a: Arguments, place: Node, axes: tuple[Axis, ...]) -> tuple[tuple[Axis, Node], ...]:
    """The ref along each factor axis of a row-major place."""
    refs: list[tuple[Axis, Node]] = []
    for axis in reversed(axes[1:]):
        size = _axis_count(a.e, axis)
        refs.append((axis, as_ref(pointwise("%", place, size), axis)))
        place = pointwise("//", place, size)
    refs.append((axes[0], as_ref(place, axes[0])))
    return tuple(reversed(refs))


def _axis_count(e: Elaborator, axis: Axis) -> Node:
    token_set = e.set_of_axis(axis)
    if token_set is not None and token_set.count is not None:
        return token_set.count
    assert axis.size is not None
    return e.size_const(axis.size)


def hierarchy(a: Arguments) -> Value:
    """A tree over tokens: level 0 the leaves, each level `fanout` times fewer nodes."""
    source = a.e.set_of(a.args[0], a.env)
    fanout, levels = a.whole("fanout", 2), a.whole("levels", 1)
    _check_positive(a, fanout, levels)
    axis = a.e.token_axis(a.env.owner, None)

    def tree_field(which: str) -> Node:
        axes = frozenset() if which == "count" else frozenset({axis})
        kind = Type(INT, axes)
        return Tree(kind, which, axis, source.axis, fanout, levels)  # type: ignore[arg-type]

    last = tree_field("last")
    leaf = as_ref(last, source.axis)
    return TokenSet(
        name=a.env.owner,
        axes=(axis,),
        over=source.over,
        count=tree_field("count"),
        position=None if source.position is None else read_axis(source.position, source.axis, leaf),
        time=None if source.time is None else read_axis(source.time, source.axis, leaf),
        start=tree_field("first"),
        valid=None if source.valid is None else read_axis(source.valid, source.axis, leaf),
        source=source.name,
        fields=tuple((name, tree_field(name)) for name in ("level", "index", "first", "last")),
    )


def tree_node(a: Arguments) -> Value:
    """The ref to a node of a tree by level and place, -1 where there is none."""
    token_set = a.e.set_of(a.args[0], a.env)
    level = node_of(a.e, a.args[1], a.env)
    if isinstance(a.args[2], syntax.Name) and a.args[2].name in a.e.sets:
        place = index(a.e.sets[a.args[2].name].axis)
    else:
        place = node_of(a.e, a.args[2], a.env)
    count = token_set.count
    if not isinstance(count, Tree):
        raise a.e.fail("ATT516", "`node` takes a hierarchy", a.args[0].span, a.env)
    axis = token_set.axis
    result = Type(INT, union((level, place)), (), axis)
    return Tree(result, "node", axis, count.leaves, count.fanout, count.levels, (level, place))


def split(a: Arguments) -> Value:
    """The members of each window of a set, along a user axis; 0 beyond the last token."""
    arg = a.node(0)
    token_set = a.e.set_of(a.args[1], a.env)
    member = a.e.user_axis(a.args[2], a.env)
    return members(a.e, arg, token_set, member)


def members(e: Elaborator, arg: Node, token_set: TokenSet, member: Axis) -> Node:
    """Split, typed."""
    source = e.sets.get(token_set.source, None)
    if source is None or not token_set.size:
        raise TypeMistake("ATT516", f"`{token_set.name}` is not made of windows")
    if source.axis not in arg.type.axes:
        raise TypeMistake(
            "ATT505", f"{arg.type} has no axis `{source.axis}` of which the windows are made"
        )
    if member.size is None or member.size.value != token_set.size:
        raise TypeMistake(
            "ATT502", f"axis `{member}` has not the size of the windows, {token_set.size}"
        )
    axes = (arg.type.axes - {source.axis}) | {token_set.axis, member}
    result = Type(arg.type.kind, axes, arg.type.dims)
    return Split(result, arg, source.axis, token_set.axis, member, token_set.stride)


def scatter(a: Arguments) -> Value:
    """Values over chosen tokens sent to where the tokens came from."""
    arg = a.node(0)
    onto_expr = a.get("onto")
    assert onto_expr is not None
    onto = a.e.set_of(onto_expr, a.env)
    mode = a.word("by", "set", ("set", "add", "mean"))
    at = a.get("at")
    if at is not None:
        refs: tuple[Node, ...] = (node_of(a.e, at, a.env),)
        source_axes = tuple(axis for axis in refs[0].type.ordered if axis in arg.type.axes)
        source_axes = tuple(axis for axis in source_axes if axis.role == "token")
    else:
        source_axes, refs = _ways_home(a, arg, onto)
    axes = (union((arg, *refs)) - set(source_axes)) | set(onto.axes)
    if at is None and source_axes:
        origin = a.e.set_of_axis(source_axes[0])
        extra = [axis for axis in (origin.over if origin else ()) if axis.role == "user"]
        source_axes = tuple(sorted(extra, key=lambda axis: axis.rank)) + source_axes
        axes -= set(extra)
    result = Type(arg.type.kind, axes, arg.type.dims)
    return Scatter(result, arg, source_axes, onto.axes, refs, mode, a.number("eps", 0.0))  # type: ignore[arg-type]


def _ways_home(
    a: Arguments, arg: Node, onto: TokenSet
) -> tuple[tuple[Axis, ...], tuple[Node, ...]]:
    for axis in arg.type.tokens:
        origin = a.e.set_of_axis(axis)
        if origin is None:
            continue
        sources = dict(flat_sources(a.e, origin))
        if all(target in sources for target in onto.axes):
            return (axis,), tuple(sources[target] for target in onto.axes)
    raise TypeMistake(
        "ATT506",
        f"nothing in {arg.type} was chosen from `{onto.name}`",
        "`scatter` takes values over tokens made by take or sort, or `at=` refs",
    )
