"""The prover against enumeration: what it proves holds, what it refutes fails at its tokens."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnc.dsl import affine
from attnc.dsl.affine import Atom, Linear, System
from attnc.dsl.core import Axis, Const, Kind, Node, Param, Reduce, Type
from attnc.dsl.evaluation import Assignment, evaluate
from attnc.dsl.predicates import Translator
from attnc.dsl.prover import Prover, is_satisfiable, prove, upper_bound
from attnc.dsl.sizes import constant
from attnc.dsl.substitution import number, place, pointwise, read, substitute

X, C = Axis("x", "token", 10), Axis("context", "token", 11)
W = Axis("w", "user", 5, constant(4))
I, J = place(X), place(C)


def op(name: str, *args: Node | int) -> Node:
    return pointwise(name, *(number(a) if isinstance(a, int) else a for a in args))


def both(*parts: Node) -> Node:
    first, *rest = parts
    return first if not rest else op("and", first, both(*rest))


CAUSAL = op("<=", J, I)


def band(left: int, right: int, dilation: int = 1) -> Node:
    step = op("-", J, I)
    return both(
        op("<=", -left * dilation, step),
        op("<=", step, right * dilation),
        op("==", op("%", step, dilation), 0),
    )


def datum(name: str, kind: Kind, *axes: Axis, ref: Axis | None = None) -> Param:
    return Param(Type(kind, frozenset(axes), (), ref), name, "input")


MASKS = {
    "causal": (CAUSAL, True),
    "band to the left": (band(512, 0), True),
    "band": (band(2, 1), False),
    "dilated": (band(8, 0, 3), True),
    "past": (both(op("<=", 0, op("-", I, J)), op("<=", op("-", I, J), 7)), True),
    "block local": (op("==", op("//", I, 64), op("//", J, 64)), False),
    "block local and causal": (both(op("==", op("//", I, 64), op("//", J, 64)), CAUSAL), True),
    "blocks before": (op("<", op("//", J, 64), op("//", I, 64)), True),
    "blocks up to": (op("<=", op("//", J, 64), op("//", I, 64)), False),
    "block end before": (op("<=", op("+", op("*", op("//", J, 16), 16), 15), I), True),
    "strided": (
        both(CAUSAL, op("==", op("%", op("-", I, J), 128), 0)),
        True,
    ),
    "clipped": (op("<=", op("+", J, op("clip", op("-", I, J), -3, 3)), I), False),
    "sooner of two": (op("<=", op("max", J, 5), I), True),
    "later of two": (op("<=", op("min", J, 5), I), False),
    "close": (op("<=", op("abs", op("-", I, J)), 3), False),
    "either branch": (op("or", band(3, 0), both(op("<", J, 4), op(">=", I, 3))), True),
    "negated": (op("not", op(">", J, I)), True),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_is_proved_causal_exactly_when_it_is(name: str) -> None:
    mask, causal = MASKS[name]
    proof = prove([mask], CAUSAL)
    assert proof.verdict == ("proved" if causal else "refuted")
    if not causal:
        tokens = proof.counterexample
        assert tokens is not None
        assert tokens["context"] > tokens["x"]


def test_a_window_that_is_one_too_long_has_a_counterexample() -> None:
    inside = both(op("<=", 0, op("-", I, J)), op("<=", op("-", I, J), 511))
    longer = both(op("<=", 0, op("-", I, J)), op("<=", op("-", I, J), 512))
    assert prove([inside], longer)
    proof = prove([longer], inside)
    assert proof.verdict == "refuted"
    assert proof.counterexample == {"x": 512, "context": 0}


def test_members_of_a_window_are_not_after_its_last() -> None:
    member = op("+", op("*", J, 2), place(W))
    last = op("+", op("*", J, 2), 3)
    assert prove([op("<=", last, I)], op("<=", member, I))
    assert not prove([op("<=", op("*", J, 2), I)], op("<=", member, I))


def test_data_are_the_same_unknown_however_they_are_typed() -> None:
    chosen = datum("chosen", Kind.INT, X, ref=C)
    again = op("detach", chosen)
    assert prove([op("<=", chosen, I)], op("<=", again, I))
    assert not prove([op("<=", chosen, I)], op("<=", datum("other", Kind.INT, X), I))


def test_a_token_read_at_a_ref_is_the_ref() -> None:
    chosen = datum("chosen", Kind.INT, X, ref=C)
    assert prove([op("<=", read(J, C, chosen), I)], op("<=", chosen, I))


def test_a_bool_of_data_is_opaque_and_its_negation_is_its_negation() -> None:
    glob = datum("glob", Kind.BOOL, X)
    assert prove([op("or", op("not", glob), CAUSAL), glob], CAUSAL)
    assert prove([both(glob, CAUSAL), op("not", glob)], op("<", I, 0))
    assert prove([glob], CAUSAL).verdict == "refuted"


def test_some_member_is_a_witness() -> None:
    chosen = datum("chosen", Kind.INT, X, W)
    some = Reduce(
        Type(Kind.BOOL, frozenset({X, C})), "any", both(op("==", chosen, J), CAUSAL), (W,), (), None
    )
    assert prove([some], CAUSAL)
    assert not prove([op("not", some)], CAUSAL)


def test_the_look_back_is_the_least_bound() -> None:
    assert upper_bound([band(5, 0)], op("-", I, J)) == 5
    assert upper_bound([band(5, 0, 3)], op("-", I, J)) == 15
    assert upper_bound([op("==", op("//", I, 64), op("//", J, 64))], op("-", I, J)) == 63
    assert upper_bound([CAUSAL], op("-", I, J)) is None
    assert upper_bound([op("<", I, 10)], op("-", I, J)) == 9


def test_a_contradiction_is_not_satisfiable() -> None:
    assert is_satisfiable([op("<", J, I), op("<", I, J)]) == "refuted"
    assert is_satisfiable([op("<", J, I)]) == "proved"


def test_parity_needs_the_integers() -> None:
    even = op("==", op("%", I, 2), 0)
    odd = op("==", op("%", I, 2), 1)
    assert is_satisfiable([even, odd]) == "refuted"
    assert prove([even], op("!=", I, 7))


def test_hostile_predicates_give_up_in_time() -> None:
    hard = CAUSAL
    for n in range(40):
        apart = op("!=", op("%", op("+", op("*", I, n + 2), J), 17 + n), n)
        hard = op("and", hard, op("or", apart, op("==", op("//", J, n + 2), n)))
    nested: Node = J
    for n in range(60):
        nested = op("min", op("max", nested, op("-", I, n)), op("+", nested, n))
    begin = time.perf_counter()
    prove([hard], op("<=", op("*", J, 3), op("+", I, 1)))
    prove([op("<=", nested, I)], CAUSAL)
    assert time.perf_counter() - begin < 2


ints = st.deferred(
    lambda: st.one_of(
        st.sampled_from([I, J]),
        st.integers(-4, 4).map(number),
        st.builds(op, st.sampled_from(["+", "-", "min", "max"]), ints, ints),
        st.builds(op, st.sampled_from(["//", "%"]), ints, st.integers(1, 4)),
        st.builds(op, st.just("*"), ints, st.integers(-3, 3)),
        st.builds(op, st.just("where"), bools, ints, ints),
        st.builds(op, st.sampled_from(["abs", "neg"]), ints),
    )
)
bools = st.deferred(
    lambda: st.one_of(
        st.builds(op, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), ints, ints),
        st.builds(op, st.sampled_from(["and", "or", "=="]), bools, bools),
        st.builds(op, st.just("not"), bools),
    )
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(bools, bools)
def test_answers_agree_with_enumeration(guard: Node, goal: Node) -> None:
    prover = Prover()
    answer = prover.prove([guard], goal)
    atoms = [prover.translator.token(axis) for axis in (X, C)]

    def at(values: tuple[int, ...]) -> bool:
        here = Assignment(prover.translator, dict(zip(atoms, values, strict=True)), {})
        return not evaluate(guard, here) or bool(evaluate(goal, here))

    if answer.verdict == "proved":
        assert all(at(pair) for pair in itertools.product(range(6), repeat=2))
    if answer.verdict == "refuted":
        assert answer.counterexample is not None
        assert not at(tuple(answer.counterexample.get(name, 0) for name in ("x", "context")))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(bools, ints)
def test_bounds_agree_with_enumeration(guard: Node, term: Node) -> None:
    prover = Prover()
    bound = prover.upper_bound([guard], term)
    if bound is None:
        return
    for pair in itertools.product(range(6), repeat=2):
        atoms = (prover.translator.token(axis) for axis in (X, C))
        here = Assignment(prover.translator, dict(zip(atoms, pair, strict=True)), {})
        assert not evaluate(guard, here) or evaluate(term, here) <= bound


coefficients = st.lists(st.integers(-3, 3), min_size=3, max_size=3)
forms = st.tuples(coefficients, st.integers(-6, 6))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(forms, max_size=5), st.lists(forms, max_size=2))
def test_systems_agree_with_enumeration(
    at_most: list[tuple[list[int], int]], equal: list[tuple[list[int], int]]
) -> None:
    atoms = [Atom(name, 0, 4) for name in "abc"]

    def form(row: tuple[list[int], int]) -> Linear:
        return Linear({a: c for a, c in zip(atoms, row[0], strict=True) if c}, row[1])

    system = System(tuple(map(form, at_most)), tuple(map(form, equal)))
    answer = affine.solve(system)
    found = any(
        system.holds(dict(zip(atoms, values, strict=True)))
        for values in itertools.product(range(5), repeat=3)
    )
    if answer == "infeasible":
        assert not found
    elif answer is not None:
        assert system.holds(answer)
        assert found or any(not 0 <= answer.get(atom, 0) <= 4 for atom in atoms)


def test_substitution_reads_where_it_cannot_rewrite() -> None:
    glob = datum("glob", Kind.BOOL, C)
    both_ = op("and", glob, CAUSAL)
    moved = substitute(both_, C, I)
    assert moved is op("and", read(glob, C, I), op("<=", I, I))
    assert substitute(both_, W, I) is both_


def test_equal_expressions_share_a_key_and_others_do_not() -> None:
    translator = Translator()
    chosen = datum("chosen", Kind.INT, X)
    assert translator.key(op("detach", chosen)) == translator.key(chosen)
    assert translator.key(op("+", chosen, 1)) != translator.key(op("+", chosen, 2))
    assert translator.key(Const(Type(Kind.BOOL), True)) != translator.key(number(1))
