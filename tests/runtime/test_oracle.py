"""The oracle against results worked out by hand or written in plain torch."""

from __future__ import annotations

import math

import pytest
import torch
from attnc.dsl import core
from attnc.dsl.core import (
    Attend,
    AttendSource,
    Axis,
    Const,
    Contract,
    Index,
    Kind,
    KvHead,
    Map,
    Node,
    Param,
    Part,
    Position,
    Read,
    Reduce,
    Scan,
    Scores,
    Segment,
    Simplex,
    Sort,
    Stencil,
    Type,
)
from attnc.dsl.operators import POINTWISE
from attnc.dsl.sizes import constant
from attnc.dsl.typed import TokenSet, TypedSpec
from attnc.runtime.oracle import OracleError, evaluate, evaluate_node
from attnc.runtime.oracle.pointwise import FUNCTIONS
from attnc.runtime.oracle.table import EVALUATORS
from torch import Tensor

B = Axis("b", "batch", 0, None, "b")
H = Axis("h", "head", 10, constant(4), "h")
G = Axis("g", "group", 11, constant(2), "g")
E = Axis("e", "user", 21, constant(3), "e")
X = Axis("x", "token", 1000, None, "x")
J = Axis("context", "token", 1010, None, "context")
JOINT = Axis("j", "joint", 9000)
D = constant(3)
REAL, INT, BOOL = Kind.REAL, Kind.INT, Kind.BOOL


def typed(kind: Kind, *axes: Axis, dims: int = 0, ref: Axis | None = None) -> Type:
    return Type(kind, frozenset(axes), (D,) * dims, ref)


def arg(name: str, *axes: Axis, dims: int = 0, kind: Kind = REAL, ref: Axis | None = None) -> Param:
    return Param(typed(kind, *axes, dims=dims, ref=ref), name, "argument")


def number(value: float) -> Const:
    kind = BOOL if isinstance(value, bool) else INT if isinstance(value, int) else REAL
    return Const(Type(kind), value)


def op(name: str, *args: Node, kind: Kind = REAL) -> Map:
    axes = frozenset().union(*(item.type.axes for item in args))
    dims = max((item.type.dims for item in args), key=len)
    return Map(Type(kind, axes, dims), name, args)


def over(how: str, node: Node, *axes: Axis, where: Node | None = None) -> Reduce:
    kept = node.type.axes | (where.type.axes if where else frozenset())
    return Reduce(
        Type(node.type.kind, kept - set(axes), node.type.dims), how, node, axes, (), where
    )


def softmax(s: Node, axis: Axis) -> Node:
    shifted = op("exp", op("-", s, over("max", s, axis)))
    return op("safe_div", shifted, over("sum", shifted, axis))


def dot(left: Node, right: Node) -> Node:
    return Contract(Type(REAL, left.type.axes | right.type.axes), left, right, (0,), (0,))


def attention(
    score: Node, value: Node, mask: Node | None, axes: tuple[Axis, ...] = (B, H, X)
) -> Attend:
    """Softmax attention of queries x to keys context."""
    source = AttendSource((J,), mask, None, score, value)
    scores = Scores(Type(REAL, score.type.axes | (mask.type.axes if mask else frozenset())))
    return Attend(typed(REAL, *axes, dims=1), X, (source,), J, softmax(scores, J), 0.0, "heads")


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def queries_keys_values(heads: int = 4) -> dict[str, Tensor]:
    return {
        "q": random(2, 4, 5, 3),
        "k": random(2, heads, 6, 3, seed=1),
        "v": random(2, heads, 6, 3, seed=2),
    }


def close(left: Tensor, right: Tensor) -> None:
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


# -- completeness ---------------------------------------------------------------------------


def test_every_node_has_an_evaluator() -> None:
    classes = {item for item in vars(core).values() if isinstance(item, type)}
    nodes = {item for item in classes if issubclass(item, Node)} - {Node}
    assert set(EVALUATORS) == nodes


def test_every_pointwise_operator_has_a_meaning() -> None:
    assert set(FUNCTIONS) == set(POINTWISE)


# -- pointwise ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "left", "right", "expected"),
    [
        ("//", -7, 2, -4),
        ("%", -7, 2, 1),
        ("%", -7, -2, -1),
        ("//", 5, 0, 0),
        ("ceil_div", 7, 2, 4),
        ("ceil_div", -7, 2, -3),
        ("**", 3, 30, 3**30),
        ("**", -1, -3, -1),
        ("**", 2, -1, 0),
    ],
)
def test_ints_floor(name: str, left: int, right: int, expected: int) -> None:
    assert evaluate_node(op(name, number(left), number(right), kind=INT)).item() == expected


def test_what_minus_infinity_is_taken_from_stays_away() -> None:
    lost = number(-math.inf)
    assert evaluate_node(op("-", lost, lost)).item() == -math.inf
    assert evaluate_node(op("exp", op("-", lost, lost))).item() == 0


def test_safe_division_and_leaky_slope() -> None:
    assert evaluate_node(op("safe_div", number(3.0), number(0.0))).item() == 0
    assert evaluate_node(op("leaky_relu", number(-2.0), number(0.25))).item() == -0.5
    assert evaluate_node(op("softplus", number(30.0))).item() == math.log1p(math.exp(-30)) + 30


def test_the_branch_not_taken_leaks_no_gradient() -> None:
    x = arg("x", X)
    node = op("where", op(">", x, number(0.0), kind=BOOL), op("log", x), number(7.0))
    given = torch.tensor([0.0, 2.0, -1.0], dtype=torch.float64, requires_grad=True)
    result = evaluate_node(node, inputs={"x": given})
    close(result, torch.tensor([7.0, math.log(2), 7.0], dtype=torch.float64))
    (gradient,) = torch.autograd.grad(result.sum(), given)
    close(gradient, torch.tensor([0.0, 0.5, 0.0], dtype=torch.float64))


# -- reductions -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "expected"),
    [("sum", 0), ("mean", 0), ("max", -math.inf), ("min", math.inf), ("logsumexp", -math.inf)],
)
def test_reductions_over_nothing(how: str, expected: float) -> None:
    node = over(how, arg("x", X), X, where=arg("w", X, kind=BOOL))
    given = torch.ones(3, dtype=torch.float64, requires_grad=True)
    result = evaluate_node(node, inputs={"x": given, "w": torch.zeros(3, dtype=torch.bool)})
    assert result.item() == expected
    (gradient,) = torch.autograd.grad(result, given)
    assert gradient.tolist() == [0, 0, 0]
    empty = over(how, arg("x", X), X)
    assert evaluate_node(empty, inputs={"x": torch.ones(0)}).item() == expected


def test_logsumexp_skips_minus_infinity() -> None:
    given = torch.tensor([-math.inf, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    result = evaluate_node(over("logsumexp", arg("x", X), X), inputs={"x": given})
    close(result, torch.logsumexp(given[1:], 0))
    (gradient,) = torch.autograd.grad(result, given)
    close(gradient, torch.cat([torch.zeros(1), torch.softmax(given[1:].detach(), 0)]))


def test_an_axis_that_only_the_condition_has_is_counted() -> None:
    node = over("sum", number(1.5), X, where=arg("w", X, kind=BOOL))
    given = {"w": torch.tensor([True, False, True])}
    assert evaluate_node(node, inputs=given).item() == 3


@pytest.mark.parametrize(
    ("reverse", "exclusive", "expected"),
    [
        (False, False, [1, 3, 6]),
        (False, True, [0, 1, 3]),
        (True, False, [6, 5, 3]),
        (True, True, [5, 3, 0]),
    ],
)
def test_running_sums(reverse: bool, exclusive: bool, expected: list[int]) -> None:
    node = Scan(typed(INT, X), arg("x", X, kind=INT), X, reverse, exclusive)
    assert evaluate_node(node, inputs={"x": torch.tensor([1, 2, 3])}).tolist() == expected


# -- attend ---------------------------------------------------------------------------------


def test_softmax_attention_is_that_of_torch() -> None:
    given = queries_keys_values()
    mask = random(2, 5, 6, seed=3) > 0
    mask[:, :, 0] = True
    score = op("/", dot(arg("q", B, H, X, dims=1), arg("k", B, H, J, dims=1)), number(math.sqrt(3)))
    node = attention(score, arg("v", B, H, J, dims=1), arg("m", B, X, J, kind=BOOL))
    expected = torch.nn.functional.scaled_dot_product_attention(
        given["q"], given["k"], given["v"], mask[:, None]
    )
    close(evaluate_node(node, inputs={**given, "m": mask}), expected)


def test_grouped_heads_read_the_key_head_of_their_group() -> None:
    given = queries_keys_values(heads=2)
    place = KvHead(typed(INT, H, ref=G), H)
    k, v = (
        Read(typed(REAL, B, H, J, dims=1), arg(name, B, G, J, dims=1), G, place) for name in "kv"
    )
    node = attention(dot(arg("q", B, H, X, dims=1), k), v, None)
    expected = torch.nn.functional.scaled_dot_product_attention(
        given["q"], given["k"], given["v"], scale=1.0, enable_gqa=True
    )
    close(evaluate_node(node, inputs=given), expected)


def test_an_empty_row_is_zero_and_has_no_gradient() -> None:
    given = {name: item.requires_grad_() for name, item in queries_keys_values().items()}
    mask = torch.ones(5, 6, dtype=torch.bool)
    mask[2] = False
    q = arg("q", B, H, X, dims=1)
    node = attention(
        dot(q, arg("k", B, H, J, dims=1)), arg("v", B, H, J, dims=1), arg("m", X, J, kind=BOOL)
    )
    lse = Part(typed(REAL, B, H, X), node, "lse")
    spec = TypedSpec(name="rows", outputs={"x": node, "lse": lse})
    found = evaluate(spec, {}, {**given, "m": mask})
    assert bool((found["x"][:, :, 2] == 0).all())
    assert bool((found["lse"][:, :, 2] == -math.inf).all())
    total = found["x"].sum() + found["lse"].exp().sum()
    gradients = torch.autograd.grad(total, list(given.values()))
    assert all(bool(item.isfinite().all()) for item in gradients)
    assert bool((gradients[0][:, :, 2] == 0).all())


def test_a_score_of_minus_infinity_is_not_there() -> None:
    given = {
        "s": torch.tensor([[0.0, -math.inf], [-math.inf, -math.inf]]).double().requires_grad_()
    }
    given["v"] = torch.tensor([[1.0, 2, 3], [math.nan, math.nan, math.nan]]).double()
    node = attention(arg("s", X, J), arg("v", J, dims=1), None, (X,))
    parts = {name: Part(typed(REAL, X, J), node, name) for name in ("weights", "scores")}
    found = evaluate(TypedSpec(name="t", outputs={"x": node, **parts}), {}, given)
    assert found["x"].tolist() == [[1, 2, 3], [0, 0, 0]]
    assert found["weights"].tolist() == [[1, 0], [0, 0]]
    assert found["scores"].tolist() == given["s"].tolist()
    (gradient,) = torch.autograd.grad(found["x"].sum(), given["s"])
    assert gradient.tolist() == [[0, 0], [0, 0]]


def listed(at: Node, value: Node) -> AttendSource:
    score = Read(typed(REAL, X, E), arg("s", J), J, at)
    return AttendSource((E,), None, at, score, Read(typed(REAL, X, E, dims=1), value, J, at))


def test_a_list_counts_each_edge_and_skips_absent_ones() -> None:
    at, values = arg("at", X, E, kind=INT, ref=J), arg("v", J, dims=1)
    scores = Scores(typed(REAL, X, JOINT))
    normalize = softmax(scores, JOINT)
    node = Attend(typed(REAL, X, dims=1), X, (listed(at, values),), JOINT, normalize, 0.0, "heads")
    refs = torch.tensor([[0, 0, 1], [-1, 2, -1], [-1, -1, -1]])
    given = {"at": refs.T, "s": random(4), "v": random(4, 3, seed=1)}
    rows = [given["s"][row[row >= 0]].softmax(0) @ given["v"][row[row >= 0]] for row in refs]
    close(evaluate_node(node, inputs=given), torch.stack(rows))
    weights = evaluate_node(Part(typed(REAL, X, E), node, "weights"), inputs=given)
    close(weights[:, 1], torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))


def test_sources_share_one_normalizer() -> None:
    at, values = arg("at", X, E, kind=INT, ref=J), arg("v", J, dims=1)
    plain = AttendSource((J,), arg("m", X, J, kind=BOOL), None, arg("s2", X, J), values)
    normalize = softmax(Scores(typed(REAL, X, JOINT)), JOINT)
    sources = (plain, listed(at, values))
    node = Attend(typed(REAL, X, dims=1), X, sources, JOINT, normalize, 0.0, "heads")
    mask = random(2, 4, seed=4) > 0
    given = {"at": torch.tensor([[0, 0, 1], [-1, 2, -1]]).T, "m": mask, "s": random(4)}
    given |= {"s2": random(2, 4, seed=2), "v": random(4, 3, seed=1)}
    rows = []
    for row, seen in zip(range(2), mask, strict=True):
        refs = given["at"][:, row][given["at"][:, row] >= 0]
        weights = torch.cat([given["s2"][row][seen], given["s"][refs]]).softmax(0)
        rows.append(weights @ torch.cat([given["v"][seen], given["v"][refs]]))
    close(evaluate_node(node, inputs=given), torch.stack(rows))


def test_attention_has_the_right_gradients() -> None:
    mask = torch.tensor([[True, False, True], [False, False, False]])
    node = attention(arg("s", X, J), arg("v", J, dims=1), arg("m", X, J, kind=BOOL), (X,))

    def run(s: Tensor, v: Tensor) -> Tensor:
        return evaluate_node(node, inputs={"s": s, "v": v, "m": mask})

    points = (random(2, 3).requires_grad_(), random(3, 3, seed=1).requires_grad_())
    assert torch.autograd.gradcheck(run, points)
    assert torch.autograd.gradgradcheck(run, points)


# -- normalizers ----------------------------------------------------------------------------


def entmax(alpha: float, given: Tensor) -> Tensor:
    node = Simplex(typed(REAL, B, X), arg("s", B, X), X, number(alpha))
    return evaluate_node(node, inputs={"s": given})


@pytest.mark.parametrize("alpha", [1.0, 1.2, 1.5, 2.0, 3.0])
def test_entmax_rows_are_on_the_simplex(alpha: float) -> None:
    given = 2 * random(5, 9)
    weights = entmax(alpha, given)
    close(weights.sum(1), torch.ones(5, dtype=torch.float64))
    assert bool((weights >= 0).all())
    assert torch.autograd.gradcheck(lambda s: entmax(alpha, s), given.requires_grad_())


def test_sparsemax_is_the_projection() -> None:
    given = 2 * random(5, 9)
    ordered = given.sort(1, descending=True).values
    counts = torch.arange(1, 10)
    inside = 1 + counts * ordered > ordered.cumsum(1)
    support = inside.sum(1, keepdim=True)
    tau = (ordered.cumsum(1).gather(1, support - 1) - 1) / support
    close(entmax(2.0, given), (given - tau).relu())


def test_entmax_of_a_power_is_differentiable() -> None:
    node = Simplex(typed(REAL, B, X), arg("s", B, X), X, arg("a", B))

    def run(s: Tensor, a: Tensor) -> Tensor:
        return evaluate_node(node, inputs={"s": s, "a": a})

    powers = torch.tensor([1.3, 1.7, 2.2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (random(3, 5).requires_grad_(), powers))


# -- order ----------------------------------------------------------------------------------


def sorted_by(*keys: Node, axes: tuple[Axis, ...] = (X,)) -> Sort:
    made = Axis("order", "token", 1020, None, "order")
    return Sort(typed(INT, made), keys, axes, made)


def test_sort_is_lexicographic_and_stable_and_rank_inverts_it() -> None:
    first, second = arg("a", X, kind=INT), arg("b", X)
    given = {"a": torch.tensor([1, 0, 1, 0, 0]), "b": torch.tensor([0.0, 2, -1, 2, 1])}
    order = sorted_by(first, second)
    places = evaluate_node(order, inputs=given, sizes={"order": 5})
    assert places.tolist() == [4, 1, 3, 2, 0]
    rank = core.Rank(typed(INT, X), order)
    ranks = evaluate_node(rank, inputs=given, sizes={"order": 5})
    assert ranks[places].tolist() == list(range(5))


def test_sort_then_scatter_returns() -> None:
    order = sorted_by(arg("key", X))
    moved = Read(typed(REAL, order.made, dims=1), arg("v", X, dims=1), X, order)
    node = core.Scatter(typed(REAL, X, dims=1), moved, (order.made,), (X,), (order,), "set", 0.0)
    given = {"key": random(7), "v": random(7, 3, seed=1)}
    close(evaluate_node(node, inputs=given, sizes={"order": 7}), given["v"])


@pytest.mark.parametrize(
    ("mode", "expected"), [("set", [3, 0, 4]), ("add", [4, 0, 4]), ("mean", [4 / 2.5, 0, 4 / 1.5])]
)
def test_scatter_where_several_or_none_arrive(mode: str, expected: list[float]) -> None:
    four = Axis("f", "user", 22, constant(4), "f")
    refs = arg("at", four, kind=INT, ref=X)
    node = core.Scatter(typed(REAL, X), arg("v", four), (four,), (X,), (refs,), mode, 0.5)
    given = {"at": torch.tensor([0, -1, 0, 2]), "v": torch.tensor([1.0, 2, 3, 4]).double()}
    close(
        evaluate_node(node, inputs=given, sizes={"x": 3}),
        torch.tensor(expected, dtype=torch.float64),
    )


def test_segments_sum_count_and_average_by_label() -> None:
    label = arg("l", X, kind=INT, ref=J)
    given = {"l": torch.tensor([1, 1, -1, 2]), "v": torch.tensor([1.0, 2, 3, 4]).double()}
    expected = {"sum": [0, 3, 4], "mean": [0, 1.5, 4], "count": [0, 2, 1]}
    for how, row in expected.items():
        kind = INT if how == "count" else REAL
        value = number(1) if how == "count" else arg("v", X)
        used = {"l": given["l"]} if how == "count" else given
        node = Segment(typed(kind, J), how, value, label, (X,))
        found = evaluate_node(node, inputs=used, sizes={"x": 4, "context": 3})
        assert found.tolist() == row


def test_top_and_choice_prefer_the_first_and_say_when_there_is_none() -> None:
    value, where = arg("v", B, X), arg("w", B, X, kind=BOOL)
    given = {
        "v": torch.tensor([[1.0, 5, 5, 2], [1, 2, 3, -math.inf]]),
        "w": torch.tensor([[True, True, True, True], [False, True, False, True]]),
    }
    node = core.Top(typed(INT, B, E, ref=X), value, X, E, where)
    assert evaluate_node(node, inputs=given).tolist() == [[1, 2, 3], [1, -1, -1]]
    chosen = core.Choose(typed(INT, B, ref=X), "argmin", value, X, where)
    assert evaluate_node(chosen, inputs=given).tolist()[0] == 0
    nobody = {**given, "w": torch.zeros(2, 4, dtype=torch.bool)}
    assert evaluate_node(chosen, inputs=nobody).tolist() == [-1, -1]


# -- reading --------------------------------------------------------------------------------


def test_a_ref_to_no_place_reads_zero() -> None:
    node = Read(typed(REAL, B, X), arg("v", B, J), J, arg("at", B, X, kind=INT, ref=J))
    given = {"v": random(2, 3), "at": torch.tensor([[0, -1], [2, 1]])}
    row = given["v"]
    expected = torch.stack([row[0, 0], torch.tensor(0.0), row[1, 2], row[1, 1]])
    close(evaluate_node(node, inputs=given).flatten(), expected)


def test_an_int_reads_the_first_feature_dim() -> None:
    index = arg("n", X, kind=INT)
    node = core.ReadDim(Type(REAL, frozenset({H, X}), (D,)), arg("t", H, dims=2), index)
    given = {"t": random(4, 3, 3), "n": torch.tensor([2, 0])}
    close(evaluate_node(node, inputs=given), given["t"][:, given["n"]])
    with pytest.raises(IndexError, match="size 3"):
        evaluate_node(node, inputs={**given, "n": torch.tensor([3, 0])})


def test_a_stencil_is_a_convolution() -> None:
    given = {"s": random(2, 4, 5, 6), "k": random(4, 4, 3, 3, seed=1)}
    dims = (H.size, D, D)
    kernel = Param(Type(REAL, frozenset({H}), dims), "k", "argument")
    node = Stencil(typed(REAL, B, H, X, J), arg("s", B, H, X, J), kernel, (X, J), (-2, -1), H)
    padded = torch.nn.functional.pad(given["s"], (1, 1, 2, 0))
    close(evaluate_node(node, inputs=given), torch.nn.functional.conv2d(padded, given["k"]))


def test_windows_are_split_with_zeros_beyond_the_end() -> None:
    made = Axis("w", "token", 1030, None, "w")
    node = core.Split(typed(REAL, made, E), arg("v", X), X, made, E, 2)
    found = evaluate_node(node, inputs={"v": torch.arange(1.0, 6)}, sizes={"w": 3})
    assert found.T.tolist() == [[1, 2, 3], [3, 4, 5], [5, 0, 0]]


# -- folds ----------------------------------------------------------------------------------


def test_a_recurrence_is_a_loop() -> None:
    state = Param(typed(REAL, B, X, dims=1), "r.s", "carry")
    u, decay = arg("u", B, X, dims=1), arg("a", B, X)
    new = op("+", op("*", state, decay), u)
    inits = core.Fill(typed(REAL, B, dims=1), 0.0)
    body = (X, ("r.s",), (inits,), (new,), (op("tanh", new), op("+", state, u)))
    given = {"u": random(2, 5, 3).requires_grad_(), "a": random(2, 5, seed=1).requires_grad_()}
    memory, yields = torch.zeros(2, 3, dtype=torch.float64), []
    for t in range(5):
        memory = memory * given["a"][:, t, None] + given["u"][:, t]
        yields.append(memory.tanh())
    found = evaluate_node(core.Recur(typed(REAL, B, X, dims=1), *body, 0), inputs=given)
    close(found, torch.stack(yields, 1))
    last = evaluate_node(core.Recur(typed(REAL, B, dims=1), *body, -1), inputs=given)
    close(last, memory)


def small_spec() -> TypedSpec:
    kind = typed(REAL, B, X, dims=1)
    x = Param(kind, "x", "stream")
    label = op("int", op("round", over_dims(x)), kind=INT)
    where = op(">", label, Position(typed(INT, X), X), kind=BOOL)
    out = op("where", where, core.Linear(kind, x, "f", (), (D,), True), number(0.0))
    axes = {axis.name: TokenSet(axis.name, (axis,)) for axis in (X, J)}
    return TypedSpec(name="small", sets=axes, bindings={"label": label}, outputs={"x": out})


def over_dims(node: Node) -> Node:
    return Reduce(Type(REAL, node.type.axes), "sum", node, (), (0,))


def test_a_used_spec_has_weights_of_its_own() -> None:
    x = Param(typed(REAL, B, J, dims=1), "context", "stream")
    inner = small_spec()
    out = core.Use(typed(REAL, B, J, dims=1), "part", ("x",), (x,), "x")
    outer = TypedSpec(name="outer", sets=inner.sets, outputs={"x": out}, uses={"part": inner})
    weights = {"f.weight": random(3, 3), "f.bias": random(3, seed=1)}
    given = 3 * random(2, 4, 3, seed=2)
    expected = evaluate(inner, weights, {"x": given}, q_start=2)["x"]
    found = evaluate(
        outer, {f"part.{k}": v for k, v in weights.items()}, {"context": given}, k_start=2
    )
    close(found["x"], expected)


def test_bindings_can_be_asked_for_and_injected() -> None:
    spec, given = small_spec(), {"x": random(2, 4, 3)}
    weights = {"f.weight": random(3, 3), "f.bias": random(3, seed=1)}
    found = evaluate(spec, weights, given, outputs=["label"])
    assert found["label"].shape == (2, 4)
    all_taken = torch.full((2, 4), 100)
    found = evaluate(spec, weights, given, inject={"label": all_taken})
    close(
        found["x"], torch.nn.functional.linear(given["x"], weights["f.weight"], weights["f.bias"])
    )
    with pytest.raises(OracleError, match="`lable` cannot be injected"):
        evaluate(spec, weights, given, inject={"lable": all_taken})


# -- environment ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (5, [[5, 6, 7], [5, 6, 7]]),
        (torch.tensor([1, 4]), [[1, 2, 3], [4, 5, 6]]),
        (torch.tensor([[0, 0, 1], [7, 8, 9]]), [[0, 0, 1], [7, 8, 9]]),
    ],
)
def test_positions_are_global(start: int | Tensor, expected: list[list[int]]) -> None:
    node = Position(typed(INT, B, X), X)
    found = evaluate_node(node, sizes={"b": 2, "x": 3}, q_start=start)
    assert found.tolist() == expected
    keys = Position(typed(INT, B, J), J)
    assert evaluate_node(keys, sizes={"b": 2, "x": 3}, q_start=start).tolist() == expected


def test_inputs_that_disagree_are_refused() -> None:
    node = op("+", arg("u", B, X), arg("v", B, X))
    with pytest.raises(OracleError, match="axis x has size 3 in `u`, 4 in `v`"):
        evaluate_node(node, inputs={"u": torch.zeros(2, 3), "v": torch.zeros(2, 4)})


def test_dropout_needs_its_mask_in_training() -> None:
    node = core.Dropout(typed(REAL, X), arg("v", X), "drop", 0.5)
    given = {"v": torch.ones(3)}
    assert evaluate_node(node, inputs=given).tolist() == [1, 1, 1]
    with pytest.raises(OracleError, match="inject the mask"):
        evaluate_node(node, inputs=given, training=True)
    keep = {"drop": torch.tensor([True, False, True])}
    assert evaluate_node(node, inputs=given, training=True, inject=keep).tolist() == [2, 0, 2]


def tree(which: str, *args: Node) -> core.Tree:
    axis = Axis("t", "token", 1040, None, "t")
    kind = typed(INT, ref=axis) if args or which == "count" else typed(INT, axis)
    return core.Tree(kind, which, axis, X, 2, 9, args)


def test_a_hierarchy_of_five_leaves() -> None:
    count = evaluate_node(tree("count"), sizes={"x": 5}).item()
    assert count == 5 + 3 + 2 + 1
    fields = {
        which: evaluate_node(tree(which), sizes={"x": 5, "t": 11}).tolist()[5:]
        for which in ("level", "index", "first", "last")
    }
    assert fields["level"] == [1, 1, 1, 2, 2, 3]
    assert fields["index"] == [0, 1, 2, 0, 1, 0]
    assert fields["first"] == [0, 2, 4, 0, 4, 0]
    assert fields["last"] == [1, 3, 4, 3, 4, 4]
    assert evaluate_node(tree("node", number(2), number(1)), sizes={"x": 5}).item() == 9
    assert evaluate_node(tree("node", number(2), number(2)), sizes={"x": 5}).item() == -1


def test_an_index_is_as_long_as_the_set_of_its_axis() -> None:
    primed = Axis("x'", "token", 1001, None, "x")
    node = Index(typed(INT, primed), primed)
    assert evaluate_node(node, sizes={"x": 3}).tolist() == [0, 1, 2]
