"""The prover against enumeration: what it proves holds, what it refutes fails at its tokens."""

from __future__ import annotations

import itertools
import random
import time

import pytest
from attnc.dsl import affine
from attnc.dsl.affine import Atom, Linear, System
from attnc.dsl.core import Axis, Const, Kind, Node, Param, Reduce, Type
from attnc.dsl.evaluation import Assignment, evaluate
from attnc.dsl.predicates import Translator
from attnc.dsl.prover import Prover, is_satisfiable, prove, upper_bound
from attnc.dsl.sizes import constant
from attnc.dsl.substitution import number, place, pointwise, read, substitute
from hypothesis import given, settings
from hypothesis import strategies as st

X, C = Axis("x", "token", 10), Axis("context", "token", 11)
W = Axis("w", "user", 5, constant(4))
HERE, THERE = place(X), place(C)


def op(name: str, *args: Node | int) -> Node:
    return pointwise(name, *(number(a) if isinstance(a, int) else a for a in args))


def both(*parts: Node) -> Node:
    first, *rest = parts
    return first if not rest else op("and", first, both(*rest))


CAUSAL = op("<=", THERE, HERE)


def band(left: int, right: int, dilation: int = 1) -> Node:
    step = op("-", THERE, HERE)
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
    "past": (both(op("<=", 0, op("-", HERE, THERE)), op("<=", op("-", HERE, THERE), 7)), True),
    "block local": (op("==", op("//", HERE, 64), op("//", THERE, 64)), False),
    "block local and causal": (
        both(op("==", op("//", HERE, 64), op("//", THERE, 64)), CAUSAL),
        True,
    ),
    "blocks before": (op("<", op("//", THERE, 64), op("//", HERE, 64)), True),
    "blocks up to": (op("<=", op("//", THERE, 64), op("//", HERE, 64)), False),
    "block end before": (op("<=", op("+", op("*", op("//", THERE, 16), 16), 15), HERE), True),
    "strided": (
        both(CAUSAL, op("==", op("%", op("-", HERE, THERE), 128), 0)),
        True,
    ),
    "clipped": (op("<=", op("+", THERE, op("clip", op("-", HERE, THERE), -3, 3)), HERE), False),
    "sooner of two": (op("<=", op("max", THERE, 5), HERE), True),
    "later of two": (op("<=", op("min", THERE, 5), HERE), False),
    "close": (op("<=", op("abs", op("-", HERE, THERE)), 3), False),
    "either branch": (op("or", band(3, 0), both(op("<", THERE, 4), op(">=", HERE, 3))), True),
    "negated": (op("not", op(">", THERE, HERE)), True),
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
    inside = both(op("<=", 0, op("-", HERE, THERE)), op("<=", op("-", HERE, THERE), 511))
    longer = both(op("<=", 0, op("-", HERE, THERE)), op("<=", op("-", HERE, THERE), 512))
    assert prove([inside], longer)
    proof = prove([longer], inside)
    assert proof.verdict == "refuted"
    assert proof.counterexample == {"x": 512, "context": 0}


def test_members_of_a_window_are_not_after_its_last() -> None:
    member = op("+", op("*", THERE, 2), place(W))
    last = op("+", op("*", THERE, 2), 3)
    assert prove([op("<=", last, HERE)], op("<=", member, HERE))
    assert not prove([op("<=", op("*", THERE, 2), HERE)], op("<=", member, HERE))


def test_data_are_the_same_unknown_however_they_are_typed() -> None:
    chosen = datum("chosen", Kind.INT, X, ref=C)
    again = op("detach", chosen)
    assert prove([op("<=", chosen, HERE)], op("<=", again, HERE))
    assert not prove([op("<=", chosen, HERE)], op("<=", datum("other", Kind.INT, X), HERE))


def test_a_token_read_at_a_ref_is_the_ref() -> None:
    chosen = datum("chosen", Kind.INT, X, ref=C)
    assert prove([op("<=", read(THERE, C, chosen), HERE)], op("<=", chosen, HERE))


def test_a_bool_of_data_is_opaque_and_its_negation_is_its_negation() -> None:
    glob = datum("glob", Kind.BOOL, X)
    assert prove([op("or", op("not", glob), CAUSAL), glob], CAUSAL)
    assert prove([both(glob, CAUSAL), op("not", glob)], op("<", HERE, 0))
    assert prove([glob], CAUSAL).verdict == "refuted"


def test_some_member_is_a_witness() -> None:
    chosen = datum("chosen", Kind.INT, X, W)
    some = Reduce(
        Type(Kind.BOOL, frozenset({X, C})),
        "any",
        both(op("==", chosen, THERE), CAUSAL),
        (W,),
        (),
        None,
    )
    assert prove([some], CAUSAL)
    assert not prove([op("not", some)], CAUSAL)


def test_the_look_back_is_the_least_bound() -> None:
    assert upper_bound([band(5, 0)], op("-", HERE, THERE)) == 5
    assert upper_bound([band(5, 0, 3)], op("-", HERE, THERE)) == 15
    assert (
        upper_bound([op("==", op("//", HERE, 64), op("//", THERE, 64))], op("-", HERE, THERE)) == 63
    )
    assert upper_bound([CAUSAL], op("-", HERE, THERE)) is None
    assert upper_bound([op("<", HERE, 10)], op("-", HERE, THERE)) == 9


def test_a_contradiction_is_not_satisfiable() -> None:
    assert is_satisfiable([op("<", THERE, HERE), op("<", HERE, THERE)]) == "refuted"
    assert is_satisfiable([op("<", THERE, HERE)]) == "proved"


def test_parity_needs_the_integers() -> None:
    even = op("==", op("%", HERE, 2), 0)
    odd = op("==", op("%", HERE, 2), 1)
    assert is_satisfiable([even, odd]) == "refuted"
    assert prove([even], op("!=", HERE, 7))


def test_hostile_predicates_give_up_in_time() -> None:
    hard = CAUSAL
    for n in range(40):
        apart = op("!=", op("%", op("+", op("*", HERE, n + 2), THERE), 17 + n), n)
        hard = op("and", hard, op("or", apart, op("==", op("//", THERE, n + 2), n)))
    nested: Node = THERE
    for n in range(60):
        nested = op("min", op("max", nested, op("-", HERE, n)), op("+", nested, n))
    begin = time.process_time()
    prove([hard], op("<=", op("*", THERE, 3), op("+", HERE, 1)))
    prove([op("<=", nested, HERE)], CAUSAL)
    assert time.process_time() - begin < 2


def random_int(rng: random.Random, depth: int) -> Node:
    if depth == 0 or rng.random() < 0.2:
        return rng.choice([HERE, THERE, number(rng.randint(-4, 4))])
    kind = rng.choice(["+", "-", "min", "max", "//", "%", "*", "where", "abs", "neg"])
    inner = random_int(rng, depth - 1)
    match kind:
        case "//" | "%":
            return op(kind, inner, rng.randint(1, 4))
        case "*":
            return op(kind, inner, rng.randint(-3, 3))
        case "abs" | "neg":
            return op(kind, inner)
        case "where":
            return op(kind, random_bool(rng, depth - 1), inner, random_int(rng, depth - 1))
        case _:
            return op(kind, inner, random_int(rng, depth - 1))


def random_bool(rng: random.Random, depth: int) -> Node:
    if depth and rng.random() < 0.4:
        if rng.random() < 0.3:
            return op("not", random_bool(rng, depth - 1))
        kind = rng.choice(["and", "or", "=="])
        return op(kind, random_bool(rng, depth - 1), random_bool(rng, depth - 1))
    kind = rng.choice(["<", "<=", ">", ">=", "==", "!="])
    return op(kind, random_int(rng, depth), random_int(rng, depth))


@pytest.mark.parametrize("seed", range(8))
def test_answers_agree_with_enumeration(seed: int) -> None:
    rng = random.Random(seed)
    verdicts = set()
    for _ in range(40):
        guard, goal = random_bool(rng, 3), random_bool(rng, 3)
        prover = Prover()
        answer = prover.prove([guard], goal)
        verdicts.add(answer.verdict)
        atoms = [prover.translator.token(axis) for axis in (X, C)]

        def fails(
            values: tuple[int, ...],
            prover: Prover = prover,
            guard: Node = guard,
            goal: Node = goal,
            atoms: list[Atom] = atoms,
        ) -> bool:
            here = Assignment(prover.translator, dict(zip(atoms, values, strict=True)), {})
            return bool(evaluate(guard, here)) and not evaluate(goal, here)

        if answer.verdict == "proved":
            assert not any(fails(pair) for pair in itertools.product(range(9), repeat=2))
        if answer.counterexample is not None:
            assert fails(tuple(answer.counterexample.get(name, 0) for name in ("x", "context")))
    assert {"proved", "refuted"} <= verdicts


@pytest.mark.parametrize("seed", range(4))
def test_bounds_agree_with_enumeration(seed: int) -> None:
    rng = random.Random(seed)
    bounded = 0
    for _ in range(60):
        guard, term = random_bool(rng, 2), random_int(rng, 3)
        prover = Prover()
        bound = prover.upper_bound([guard], term)
        bounded += bound is not None
        for pair in itertools.product(range(9), repeat=2) if bound is not None else ():
            atoms = (prover.translator.token(axis) for axis in (X, C))
            here = Assignment(prover.translator, dict(zip(atoms, pair, strict=True)), {})
            assert not evaluate(guard, here) or evaluate(term, here) <= bound
    assert bounded


coefficients = st.lists(st.integers(-3, 3), min_size=3, max_size=3)
forms = st.tuples(coefficients, st.integers(-6, 6))


@settings(max_examples=60, derandomize=True)
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
    moved = substitute(both_, C, HERE)
    assert moved is op("and", read(glob, C, HERE), op("<=", HERE, HERE))
    assert substitute(both_, W, HERE) is both_


def test_substitutions_in_a_row_are_one_read() -> None:
    chosen = datum("chosen", Kind.INT, X)
    once = substitute(chosen, X, op("+", place(X), 1))
    twice = substitute(once, X, op("+", place(X), 2))
    assert twice is read(chosen, X, op("+", op("+", place(X), 2), 1))


def test_equal_expressions_share_a_key_and_others_do_not() -> None:
    translator = Translator()
    chosen = datum("chosen", Kind.INT, X)
    assert translator.key(op("detach", chosen)) == translator.key(chosen)
    assert translator.key(op("+", chosen, 1)) != translator.key(op("+", chosen, 2))
    assert translator.key(Const(Type(Kind.BOOL), True)) != translator.key(number(1))
