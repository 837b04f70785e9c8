"""The time judgement on core graphs: the calculus' rules one by one, and planted leaks."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from attnc.dsl.api import check
from attnc.dsl.causality import Judgement, check_contract, judge
from attnc.dsl.core import (
    Attend,
    AttendSource,
    Axis,
    Const,
    Kind,
    Length,
    Linear,
    Map,
    Node,
    Param,
    Part,
    Position,
    Recur,
    Reduce,
    Scan,
    Scatter,
    Scores,
    Sort,
    Split,
    Stencil,
    Top,
    Type,
    Use,
    Valid,
)
from attnc.dsl.diagnostics import Report
from attnc.dsl.library import library_paths
from attnc.dsl.sizes import constant
from attnc.dsl.source import Source, Span
from attnc.dsl.substitution import number, place, pointwise, read
from attnc.dsl.typed import StreamInfo, TokenSet, TypedSpec

BOOL, INT, REAL = Kind.BOOL, Kind.INT, Kind.REAL
B, H = Axis("b", "batch", 0), Axis("h", "head", 1, constant(4))
X, C = Axis("x", "token", 10), Axis("context", "token", 11)
HERE, THERE = place(X), place(C)
COMP, BLK = Axis("comp", "token", 12), Axis("blk", "token", 13)
W, P = Axis("w", "user", 5, constant(32)), Axis("p", "user", 6, constant(4))
D = constant(8)


def field(name: str, *axes: Axis, dims: bool = True, kind: Kind = REAL) -> Node:
    return Param(Type(kind, frozenset({B, *axes}), (D,) if dims else ()), name, "input")


def pos(axis: Axis) -> Node:
    return Position(Type(INT, frozenset({axis}), (), axis), axis)


def op(name: str, *args: Node | int) -> Node:
    return pointwise(name, *(number(a) if isinstance(a, int) else a for a in args))


def real(name: str, *args: Node) -> Node:
    axes = frozenset[Axis]().union(*(arg.type.axes for arg in args))
    dims = next((arg.type.dims for arg in args if arg.type.dims), ())
    return Map(Type(REAL, axes, dims), name, args)


ZERO = Const(Type(REAL), 0.0)
STREAM = field("x", X)
QUERY, KEY, VALUE = field("q", X, H), field("k", C, H), field("v", C, H)
SCORE = real("*", field("qs", X, H, dims=False), field("ks", C, H, dims=False))
CAUSAL = op("<=", pos(C), pos(X))


def reduce_(name: str, arg: Node, *axes: Axis, where: Node | None = None) -> Node:
    return Reduce(
        Type(arg.type.kind, arg.type.axes - set(axes), arg.type.dims), name, arg, axes, (), where
    )


def softmax(scores: Node, axis: Axis) -> Node:
    top = reduce_("max", scores, axis)
    return real(
        "safe_div",
        real("exp", real("-", scores, top)),
        reduce_("sum", real("exp", real("-", scores, top)), axis),
    )


def attend(
    mask: Node | None,
    score: Node = SCORE,
    value: Node = VALUE,
    key: Axis = C,
    query: Axis = X,
    at: Node | None = None,
    edge: Axis | None = None,
) -> Attend:
    axis = edge or key
    joint = Axis("j", "joint", 90) if at is not None else axis
    leaf = Scores(Type(REAL, (score.type.axes - {axis}) | {joint}))
    axes = (score.type.axes | value.type.axes | {query}) - {axis}
    source = AttendSource((axis,), mask, at, score, value)
    return Attend(
        Type(REAL, axes, value.type.dims), query, (source,), joint, softmax(leaf, joint), 0.0, "a"
    )


def windows(axis: Axis, size: int, stride: int) -> TokenSet:
    first = op("*", place(axis), stride)
    last = op("+", read(pos(C), C, first), size - 1)
    return TokenSet(
        axis.name,
        (axis,),
        position=last,
        time=last,
        start=read(pos(C), C, first),
        source="context",
        size=size,
        stride=stride,
    )


SETS = {
    "x": TokenSet("x", (X,), position=pos(X), time=pos(X), start=pos(X)),
    "context": TokenSet("context", (C,), position=pos(C), time=pos(C), start=pos(C)),
    "comp": windows(COMP, 32, 16),
    "blk": windows(BLK, 64, 64),
}


def spec(out: Node, **fields: object) -> TypedSpec:
    made = TypedSpec("made", outputs={"x": out}, sets=dict(SETS), same_context=True)
    return replace(made, **fields)  # type: ignore[arg-type]


def judged(out: Node, **fields: object) -> Judgement:
    return judge(spec(out, **fields))


def derived(text: str) -> str:
    """The contract that is derived of a spec, given without its first lines."""
    head = "attnc: 1\nname: made\ncontext: same\n"
    found = check(source=Source("made.yaml", head + text))
    assert found.spec is not None, found.diagnostics
    return judge(found.spec).derived


# Attend


def test_causal_softmax_is_strict_and_has_no_look_back() -> None:
    found = judged(attend(CAUSAL))
    assert found.derived == "strict"
    assert found.look_back is None
    assert not found.batch_coupled
    assert not found.length_dependent


def test_softmax_without_a_mask_is_none_and_says_why() -> None:
    found = judged(attend(None))
    assert found.derived == "none"
    assert "nothing limits it to tokens up to i" in found.strict.leaks[0].reason


def test_memory_that_is_given_has_no_time() -> None:
    assert judge(spec(attend(None), same_context=False), memory_given=True).derived == "strict"


def past(least: int, most: int) -> Node:
    back = op("-", pos(X), pos(C))
    return op("and", op("<=", least, back), op("<=", back, most))


def test_a_window_is_strict_with_its_look_back() -> None:
    assert judged(attend(past(0, 511))).look_back == 511
    leak = judged(attend(past(-1, 511))).strict.leaks[0]
    assert not leak.unknown
    assert leak.counterexample is not None


def test_padding_is_hidden_by_the_causal_part_of_the_mask() -> None:
    valid = Valid(Type(BOOL, frozenset({B, C})), C)
    assert judged(attend(op("and", valid, CAUSAL))).derived == "strict"
    assert judged(attend(op("and", op("<=", 0, pos(X)), valid))).derived == "none"


def test_a_false_index_part_hides_data_in_either_order() -> None:
    glob = field("glob", C, dims=False, kind=BOOL)
    for mask in (op("and", glob, CAUSAL), op("and", CAUSAL, glob)):
        assert judged(attend(mask)).derived == "strict"
    assert judged(attend(op("or", CAUSAL, glob))).derived == "none"


def test_two_data_conditions_do_not_hide_each_other() -> None:
    early, late = (field(name, C, dims=False, kind=BOOL) for name in ("early", "late"))
    mask = op("or", CAUSAL, op("and", early, late))
    assert judged(attend(mask)).derived == "none"
    assert not judged(attend(mask, value=field("one", H))).strict.holds


# Pair operators under a guard


def pair_sum(guard: Node | None, reverse: bool = True, exclusive: bool = False) -> Node:
    gate = real("sigmoid", SCORE)
    inner = gate if guard is None else real("where", guard, gate, ZERO)
    return Scan(inner.type, inner, C, reverse, exclusive)


def test_cumsum_under_a_causal_guard_is_strict() -> None:
    assert judged(attend(CAUSAL, score=pair_sum(CAUSAL))).derived == "strict"


def test_leak_dropped_guard_under_a_cumsum() -> None:
    found = judged(attend(CAUSAL, score=pair_sum(None)))
    assert found.derived == "masked"
    assert not found.strict.leaks[0].unknown


def test_a_forward_cumsum_of_keys_needs_no_guard() -> None:
    keys = field("gate", C, dims=False)
    running = Scan(keys.type, keys, C, False, False)
    assert judged(attend(CAUSAL, value=real("*", VALUE, running))).derived == "strict"
    shifted = attend(op("<=", THERE, op("+", HERE, 1)), value=Scan(keys.type, keys, C, False, True))
    plain = attend(op("<=", THERE, op("+", HERE, 1)), value=Scan(keys.type, keys, C, False, False))
    assert judged(shifted).masked.holds
    assert not judged(plain).masked.holds


@pytest.mark.parametrize(
    ("running", "place", "strict"),
    [
        ("x, over=x, exclusive=true", "i", True),
        ("x, over=x, exclusive=true", "i + 1", True),
        ("x, over=x, exclusive=true", "i + 2", False),
        ("x, over=x", "i", True),
        ("x, over=x", "i + 1", False),
        ("x, over=x, exclusive=true, reverse=true", "i", False),
    ],
)
def test_an_exclusive_cumsum_holds_what_is_before(running: str, place: str, strict: bool) -> None:
    text = f"let: {{running: 'cumsum({running})'}}\nout: running[token(x, {place})]\n"
    assert derived(text) == ("strict" if strict else "none")


@pytest.mark.parametrize(("exclusive", "is_strict"), [("true", True), ("false", False)])
def test_an_exclusive_cumsum_of_blocks_ends_before_the_block(
    exclusive: str, is_strict: bool
) -> None:
    text = (
        "tokens: {rows: 'blocks(x, size=4)'}\n"
        f"let: {{so_far: 'cumsum(sum(x, over=rows), over=rows, exclusive={exclusive})'}}\n"
        "out: so_far[token(rows, i // 4)]\n"
    )
    assert derived(text) == ("strict" if is_strict else "none")


@pytest.mark.parametrize(
    ("summed", "contract"),
    [
        ("sum(where(slot(context) <= slot(x), context, 0), over=context)", "strict"),
        ("sum(where(causal and dot(context, x) > 0, context, 0), over=context)", "strict"),
        ("sum(where(slot(context) <= slot(x) + 1, context, 0), over=context)", "none"),
        ("sum(where(dot(context, x) > 0, context, 0), over=context)", "none"),
        ("sum(where(causal or dot(context, x) > 0, context, 0), over=context)", "none"),
        ("sum(where(causal, context, 1), over=context)", "none"),
        ("mean(where(causal, context, 0), over=context)", "none"),
    ],
)
def test_neutral_terms_are_guards(summed: str, contract: str) -> None:
    made = summed.replace("causal", "slot(context) <= slot(x)")
    assert derived(f'out: "{made}"\n') == contract


def stencilled(guard: Node | None, start: int, taps: int = 3) -> Node:
    kernel = Param(Type(REAL, frozenset({H}), (constant(taps), constant(3))), "kernel", "weight")
    inner = SCORE if guard is None else real("where", guard, SCORE, ZERO)
    return Stencil(inner.type, inner, kernel, (X, C), (start, -1), None)


def test_stencil_under_a_guard_is_strict() -> None:
    assert judged(attend(CAUSAL, score=stencilled(CAUSAL, -2))).derived == "strict"


@pytest.mark.parametrize(("guard", "start"), [(None, -2), (CAUSAL, -1)])
def test_leak_dropped_guard_or_row_ahead_under_a_stencil(guard: Node | None, start: int) -> None:
    assert judged(attend(CAUSAL, score=stencilled(guard, start))).derived == "masked"


@pytest.mark.parametrize(("start", "derived"), [(-2, "strict"), (-1, "masked")])
def test_a_stencil_over_the_weights_of_a_stencil_is_followed(start: int, derived: str) -> None:
    text = (
        "attnc: 1\nname: nested\nextends: softmax\ncontext: same\nweights:\n"
        "  kernel: {shape: [h, 3, 5], init: zeros}\nlet:\n"
        "  seen: where(causal, dot(q, k), 0)\n"
        "  near: stencil(seen, kernel, over=[x, context], from=[-2, -2])\n"
        "  maps:\n    attend: {mask: causal, score: near, value: v}\n"
        "  kept: where(causal, maps.weights, 0)\n"
        f"mask: causal\nscore: stencil(kept, kernel, over=[x, context], from=[{start}, -2])\n"
    )
    made = check(source=Source("nested.yaml", text)).spec
    assert made is not None
    assert judge(made).derived == derived


def test_a_convolution_must_not_look_right() -> None:
    kernel = Param(Type(REAL, frozenset(), (constant(3),)), "kernel", "weight")
    left = Stencil(STREAM.type, STREAM, kernel, (X,), (-2,), None)
    right = Stencil(STREAM.type, STREAM, kernel, (X,), (-1,), None)
    assert judged(left).derived == "strict"
    assert judged(right).derived == "none"
    assert judged(right).strict.leaks[0].counterexample is not None


# Windows, compression, selection


def compressed() -> Node:
    inside = Split(
        Type(REAL, frozenset({B, H, COMP, W}), (D,)), VALUE, C, COMP, W, SETS["comp"].stride
    )
    return reduce_("sum", inside, W)


def window_score() -> Node:
    kept = reduce_("sum", compressed(), H)
    return Reduce(Type(REAL, frozenset({B, X, H, COMP})), "sum", real("*", kept, QUERY), (), (0,))


COMP_CAUSAL = op("<=", SETS["comp"].time or number(0), pos(X))


def small(mask: Node | None) -> Attend:
    return attend(mask, score=window_score(), value=compressed(), key=COMP)


def test_windows_are_known_at_their_last_member() -> None:
    assert judged(small(COMP_CAUSAL)).derived == "strict"


def test_leak_unmasked_compressed_branch() -> None:
    assert judged(small(None)).derived == "none"


def test_leak_windows_seen_from_their_first_member() -> None:
    begun = op("<=", op("*", place(COMP), 16), pos(X))
    assert judged(small(begun)).derived == "none"


def selected(where: Node | None) -> Node:
    weights = Part(Type(REAL, frozenset({B, X, H, COMP})), small(COMP_CAUSAL), "weights")
    block = op("//", op("*", place(COMP), 16), 64)
    mass = reduce_("sum", real("where", op("==", block, place(BLK)), weights, ZERO), COMP)
    best = Top(Type(INT, frozenset({B, X, H, P}), (), BLK), mass, BLK, P, where)
    chosen = Reduce(
        Type(BOOL, frozenset({B, X, H, C})),
        "any",
        op("==", best, op("//", THERE, 64)),
        (P,),
        (),
        None,
    )
    return attend(op("and", CAUSAL, chosen))


def test_selection_among_blocks_that_have_begun_is_strict() -> None:
    assert judged(selected(op("<=", op("*", place(BLK), 64), pos(X)))).derived == "strict"


@pytest.mark.parametrize("ahead", [None, op("<=", op("*", op("-", place(BLK), 1), 64), pos(X))])
def test_leak_selection_that_peeks_one_block_ahead(ahead: Node | None) -> None:
    assert judged(selected(ahead)).derived == "masked"


# Reductions


def test_leak_sequence_mean() -> None:
    mean = reduce_("mean", STREAM, X)
    found = judged(real("+", STREAM, mean))
    assert found.derived == "none"
    assert "takes the mean over `x`" in found.strict.leaks[0].reason


def test_a_guard_of_a_sum_counts_but_not_of_a_mean() -> None:
    guarded = real("where", CAUSAL, real("+", VALUE, ZERO), ZERO)
    assert judged(real("*", QUERY, reduce_("sum", guarded, C))).derived == "strict"
    assert judged(real("*", QUERY, reduce_("mean", guarded, C))).derived == "none"
    among = reduce_("mean", real("+", VALUE, QUERY), C, where=CAUSAL)
    assert judged(among).derived == "strict"


def test_leak_division_by_the_length() -> None:
    length = Length(Type(INT, frozenset({B})), X)
    found = judged(real("/", attend(CAUSAL), real("real", length)))
    assert found.derived == "masked"
    assert found.length_dependent
    here = real("real", op("+", pos(X), 1))
    assert judged(real("/", attend(CAUSAL), here)).derived == "strict"


def test_a_count_of_tokens_reveals_the_length() -> None:
    ones = Map(Type(REAL, frozenset({X})), "real", (op("*", pos(X), 0),))
    assert judged(real("*", STREAM, reduce_("sum", ones, X))).derived == "none"


def test_reduction_over_the_batch_is_reported() -> None:
    shared = reduce_("max", QUERY, B)
    assert judged(real("+", QUERY, shared)).batch_coupled


# Reading and scattering


def test_reading_ahead_is_a_leak_and_reading_behind_is_not() -> None:
    before = op("max", op("-", HERE, 1), 0)
    assert judged(real("+", STREAM, read(STREAM, X, before))).derived == "strict"
    after = read(STREAM, X, op("+", HERE, 1))
    assert judged(real("+", STREAM, after)).derived == "none"


def test_a_list_is_limited_by_the_time_of_what_it_names() -> None:
    listed = Param(Type(INT, frozenset({B, X, P}), (), C), "listed", "input")
    value, score = read(VALUE, C, listed), read(SCORE, C, listed)
    seen = op("<=", read(pos(C), C, listed), pos(X))
    assert judged(attend(seen, score, value, at=listed, edge=P)).derived == "strict"
    assert judged(attend(None, score, value, at=listed, edge=P)).derived == "none"


ORDER = Axis("order", "token", 14)
ORDER_KEY = Axis("order'", "token", 15, None, "order")


def sorted_attention(mask: bool) -> TypedSpec:
    bucket = field("bucket", X, dims=False, kind=INT)
    refs = Sort(Type(INT, frozenset({B, ORDER}), (), X), (bucket,), (X,), ORDER)
    moment = read(pos(X), X, refs)
    token_set = TokenSet(
        "order",
        (ORDER,),
        position=moment,
        time=moment,
        start=moment,
        sources=((X, refs),),
        source="x",
    )
    other = read(refs, ORDER, place(ORDER_KEY))
    causal = op("<=", read(pos(X), X, other), moment) if mask else None
    own = field("own", X, H, dims=False)
    out = attend(
        causal,
        real("*", read(own, X, refs), read(own, X, other)),
        read(field("vx", X, H), X, other),
        key=ORDER_KEY,
        query=ORDER,
    )
    home = Scatter(Type(REAL, frozenset({B, H, X}), (D,)), out, (ORDER,), (X,), (refs,), "set", 0.0)
    made = spec(home)
    made.sets["order"] = token_set
    return made


def test_sorting_all_tokens_is_masked_when_the_mask_is_causal() -> None:
    found = judge(sorted_attention(True))
    assert found.derived == "masked"
    assert "chooses among `x`" in found.strict.leaks[0].reason
    assert judge(sorted_attention(False)).derived == "none"


# Folds


def recur(inner: Node, which: int, name: str = "w") -> Node:
    carry = Param(Type(REAL, frozenset({B, H, X}), (D,)), name, "carry")
    start = Const(Type(REAL), 0.0)
    following = real("+", carry, inner)
    axes = frozenset({B, H}) | (frozenset({X}) if which >= 0 else frozenset())
    return Recur(
        Type(REAL, axes, (D,)),
        X,
        (name,),
        (start,),
        (following,),
        (real("*", carry, QUERY),),
        which,
    )


def test_a_recurrence_is_strict_and_its_last_carry_is_not() -> None:
    assert judged(recur(QUERY, 0)).derived == "strict"
    assert judged(real("*", QUERY, recur(QUERY, -1))).derived == "none"


def test_a_recurrence_over_all_keys_is_not_strict() -> None:
    assert judged(recur(reduce_("sum", VALUE, C), 0)).derived == "none"


def recurring(got: str, place: str = "where(dot(x, x) > 1, slot(x), place)") -> str:
    """What is derived of a loop that remembers a place and reads at it."""
    return derived(
        "let:\n  walk:\n    recur:\n      over: x\n"
        f'      carry: {{place: "0", sum: zeros(d_model)}}\n      let: {{got: "{got}"}}\n'
        f'      next: {{place: "{place}", sum: sum + got}}\n      yield: {{o: sum + got}}\n'
        "out: walk.o\n"
    )


@pytest.mark.parametrize(
    "got",
    [
        "where(place <= slot(x), x[token(x, place)], 0)",
        "where(place < slot(x), x[token(x, place + 1)], 0)",
        "x[token(x, min(place, slot(x)))]",
        "sum(context, over=context, where=slot(context) == place and place <= slot(x))",
    ],
)
def test_a_read_at_a_place_that_a_carry_holds_is_strict_under_a_guard(got: str) -> None:
    assert recurring(got) == "strict"


@pytest.mark.parametrize(
    "got",
    [
        "x[token(x, place)]",
        "where(place >= slot(x), x[token(x, place)], 0)",
        "where(place <= slot(x) + 1, x[token(x, place)], 0)",
        "where(place <= slot(x), x[token(x, place + 1)], 0)",
        "where(place <= slot(x), x[token(x, 2 * slot(x) - place)], 0)",
        "sum(context, over=context, where=slot(context) == place)",
    ],
)
def test_leak_a_read_at_a_place_that_a_carry_holds(got: str) -> None:
    assert recurring(got) == "none"


def test_leak_a_guarded_place_that_the_future_chose() -> None:
    got = "where(place <= slot(x), x[token(x, place)], 0)"
    assert recurring(got, "where(sum(dot(x, x), over=x) > 1, slot(x), place)") == "masked"


# Streams and applied specs


def test_a_stream_between_layers_keeps_its_time() -> None:
    previous = Param(Type(REAL, frozenset({B, H, X, C})), "prev", "stream")
    mixed = real("where", CAUSAL, real("+", previous, SCORE), ZERO)
    streams = {"prev": StreamInfo("prev", previous.type, None, "none")}
    out = attend(CAUSAL, score=mixed)
    kept = spec(out, outputs={"x": out, "prev": mixed}, streams=streams)
    assert judge(kept).derived == "strict"
    late = real("+", previous, reduce_("sum", STREAM, X))
    assert judge(replace(kept, outputs={"x": out, "prev": late})).derived == "none"


def test_packed_tokens_of_a_whole_sequence_are_not_strict() -> None:
    mem = Axis("mem", "token", 20, constant(16))
    packed = Param(Type(REAL, frozenset({B, mem}), (D,)), "p", "stream")
    pack = attend(None, real("*", packed, VALUE), value=VALUE, query=mem)
    unpack = attend(None, real("*", QUERY, packed), value=packed, key=mem)
    streams = {"p": StreamInfo("p", packed.type, None, "norm")}
    made = spec(unpack, outputs={"x": unpack, "p": pack}, streams=streams)
    made.sets["mem"] = TokenSet("mem", (mem,))
    assert judge(made).derived == "none"
    assert judge(replace(made, outputs={"x": unpack, "p": packed})).derived == "strict"


def applied(inner: TypedSpec, arg: Node) -> TypedSpec:
    made = Use(STREAM.type, "layer", ("x",), (arg,), "x")
    return spec(made, uses={"layer": inner})


def test_an_applied_spec_passes_its_contract_on() -> None:
    strict, none = spec(attend(CAUSAL)), spec(attend(None))
    assert judge(applied(strict, STREAM)).derived == "strict"
    assert judge(applied(none, STREAM)).derived == "none"
    late = real("+", STREAM, reduce_("mean", STREAM, X))
    assert judge(applied(strict, late)).derived == "none"


def test_a_decoder_is_strict_when_memory_is_given() -> None:
    cross = spec(real("+", attend(None), attend(CAUSAL)), same_context=False)
    crossed = real("+", attend(None), Linear(QUERY.type, STREAM, "l", (H,), (D,), True))
    inner = spec(crossed)
    memory = field("context", C)
    made = Use(STREAM.type, "layer", ("x", "context"), (STREAM, memory), "x")
    model = spec(made, uses={"layer": inner}, same_context=False)
    assert judge(model).derived == "none"
    assert judge(model, memory_given=True).derived == "strict"
    assert judge(cross, memory_given=True).derived == "strict"


# Contracts


def test_a_broken_contract_is_reported_with_its_path() -> None:
    text = "let: mass: mean(x, over=x)\nout: x + mass"
    source = Source("made.yaml", text)
    mean = reduce_("mean", STREAM, X)
    out = real("+", STREAM, mean)
    spans = {mean: Span(source, 11, 26), out: Span(source, 32, 40)}
    made = spec(out, causality="strict", spans=spans, bindings={"mass": mean})
    report = Report()
    check_contract(made, report)
    (error,) = report.errors
    assert error.code == "ATT601"
    assert "`mass` takes the mean over `x`; nothing limits it to tokens up to i" in error.message
    assert "conjoin `causal`" in error.help
    assert error.span.text == "mean(x, over=x)"
    assert [note.span.text for note in error.notes] == ["x + mass"]


def test_a_contract_that_is_kept_is_not_reported() -> None:
    report = Report()
    check_contract(spec(attend(CAUSAL), causality="masked"), report)
    assert not report.errors


# The library, and leaks planted in it


def elaborated(name: str, *changes: tuple[str, str]) -> TypedSpec:
    path = library_paths()[name]
    text = path.read_text("utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    found = check(source=Source(str(path), text))
    assert found.spec is not None, found.diagnostics
    return found.spec


@pytest.mark.parametrize("name", library_paths())
def test_every_library_spec_keeps_what_it_declares(name: str) -> None:
    found = check(name=name)
    assert found.spec is not None
    judgement = judge(found.spec, memory_given=found.spec.memory)
    assert judgement.keeps(found.spec.causality or "none")  # type: ignore[arg-type]


#: in a normaliser, only what is made of the scores runs over the visible keys alone
LENGTH = "[softmax, causal]\nnormalize: super * real(length(context))"
ALL_KEYS = "[softmax, causal]\nnormalize: super * dot(sum(k, over=context), sum(k, over=context))"

PLANTED = {
    "cumsum without its guard": ("cope", "where(causal, sigmoid(raw), 0)", "sigmoid(raw)"),
    "stencil without its guard": (
        "predictive",
        "where(causal, beta * prev + (1 - beta) * raw, 0)",
        "beta * prev + (1 - beta) * raw",
    ),
    "stencil one row ahead": ("predictive", "from=[-2, -1]", "from=[-1, -1]"),
    "window one to the right": ("nsa", "mask: past(window - 1)", 'mask: "band(window, 1)"'),
    "compressed branch without a mask": ("nsa", "keys: comp, mask: causal", "keys: comp"),
    "compressed branch by first member": (
        "nsa",
        "keys: comp, mask: causal",
        'keys: comp, mask: "start(j) <= i"',
    ),
    "selection one block ahead": (
        "nsa",
        "slot(blk) * block <= i",
        "(slot(blk) - 1) * block <= i",
    ),
    "selection without causal": ("nsa", "causal and any(", "any("),
    "by the length for by the place": ("luna_causal", "sqrt(d_head) / (i + 1)", "length(x)"),
    "sequence mean": ("cope", "sigmoid(raw)", "sigmoid(raw - mean(dot(q, q), over=x))"),
    "length in a normaliser": ("causal_softmax", "[softmax, causal]", LENGTH),
    "sum of all keys in a normaliser": ("causal_softmax", "[softmax, causal]", ALL_KEYS),
    "blocks of itself": ("sinkhorn_causal", "slot(cols) < slot(rows)", "slot(cols) <= slot(rows)"),
    "block in its own description": ("sinkhorn_causal", "slot(rows) - 1)]", "slot(rows))]"),
    "balancing from the end": ("sinkhorn_causal", "over=rows)\n", "over=rows, reverse=true)\n"),
    "balancing over all blocks": (
        "sinkhorn_causal",
        "over=cols, where=past), 0)",
        "over=cols), 0)",
    ),
    "sorted block of the next": ("sinkhorn_causal", "block == slot(j)", "block + 1 >= slot(j)"),
    "sum over all blocks": ("sinkhorn_causal", "over=cols, where=past)\n", "over=cols)\n"),
    "adaptive span to the right": ("adaptive_span", "0 <= back and", "-1 <= back + 1 and"),
}


@pytest.mark.parametrize("leak", PLANTED)
def test_a_planted_leak_is_refused_with_its_path(leak: str) -> None:
    name, old, new = PLANTED[leak]
    assert judge(elaborated(name)).derived == "strict"
    leaking = elaborated(name, (old, new))
    report = Report()
    judgement = check_contract(leaking, report)
    assert judgement.derived != "strict"
    assert report.errors
    assert all(error.code in ("ATT601", "ATT603") for error in report.errors)
    assert "conjoin `causal`" in report.errors[0].help


def test_hostile_specs_are_judged_in_time() -> None:
    parts = (f"((i * {n + 2} + j) % {17 + n} != {n} or j // {n + 2} == {n})" for n in range(25))
    layers = "".join(
        f"  a{n}:\n    attend: {{mask: causal and (i + j * {n}) % {n + 3} != 1, "
        f'score: "dot(a{n - 1}[i], a{n - 1}[j])", value: "a{n - 1}[j]"}}\n'
        for n in range(1, 30)
    )
    head = "attnc: 1\nname: hostile\nextends: softmax\ncontext: same\n"
    texts = (
        (f"{head}mask: {' and '.join(parts)}\n", "none"),
        (
            f"{head}let:\n  a0: linear(x, to=[h, d_head])\n{layers}"
            "out: linear(concat(a29, over=h))\n",
            "strict",
        ),
    )
    for text, derived in texts:
        made = check(source=Source("hostile.yaml", text)).spec
        assert made is not None
        begin = time.process_time()
        assert judge(made).derived == derived
        assert time.process_time() - begin < 2  # 0.2 s on an idle machine
