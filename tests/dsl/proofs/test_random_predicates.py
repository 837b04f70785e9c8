"""Facts about random masks against enumeration: nothing proved fails, every refutation is true."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from attnc.dsl.api import check
from attnc.dsl.proofs.asking import Example
from attnc.dsl.proofs.claims import claims
from attnc.dsl.proofs.facts import Fact, facts_of
from attnc.dsl.proofs.solver import Solver, solver_or_none
from attnc.dsl.source import Source
from attnc.dsl.typed import TypedSpec
from drawn_predicates import HEADS, Masks, Text, grid, random_inputs, spec_text

NORMAL, MANY, TOGETHER = 300, 10_000, 100
#: every fifth mask is also put to z3, where it is installed
WITH_SOLVER = solver_or_none() is not None
LENGTHS = (1, 2, 3, 7, 20, 41, 96)
OTHERS = (1, 2, 3, 8, 19, 64, 96)
BLOCKS = [
    pytest.param(first, marks=[pytest.mark.slow] if first >= NORMAL else [])
    for first in range(0, MANY, TOGETHER)
]


@pytest.mark.parametrize("first", BLOCKS)
def test_facts_of_random_masks_agree_with_enumeration(first: int) -> None:
    for seed in range(first, first + TOGETHER):
        compare(seed)


def compare(seed: int) -> None:
    rng = random.Random(seed)
    same = rng.random() < 0.75
    masks = Masks(rng, rng.random() < 0.4, same)
    mask, other = masks.mask(2), masks.mask(1)
    spec = typed(spec_text(mask, same))
    grids = list(enumerated(rng, mask, same))
    solver = Solver(timeout_ms=200) if WITH_SOLVER and seed % 5 == 0 else None
    for fact in facts_of(spec, solver=solver)[0].facts:
        try:
            CHECKS[fact.name](fact, mask, grids, same)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {mask.spec}: {fact}: {error}") from error
    wider = Text(f"({mask.spec}) or ({other.spec})", f"({mask.numpy}) | ({other.numpy})")
    second = rng.choice([other, wider])
    relation = rng.choice(["implies", "equals"])
    other_spec = typed(spec_text(second, same))
    fact = claims(spec, other_spec, relation, solver=solver)[0].fact  # type: ignore[arg-type]
    try:
        check_claim(fact, mask, second, rng, same)
    except AssertionError as error:
        raise AssertionError(
            f"seed {seed}: {mask.spec} {relation} {second.spec}: {fact}"
        ) from error


def typed(text: str) -> TypedSpec:
    checked = check(source=Source("drawn", text), dims={"d_model": 8, "heads": HEADS})
    assert checked.spec is not None, checked.diagnostics
    return checked.spec


def enumerated(rng: random.Random, mask: Text, same: bool) -> Iterator[tuple[Any, Any]]:
    """The mask and its inputs at several lengths."""
    for n, other in zip(LENGTHS, OTHERS, strict=True):
        inputs = random_inputs(rng, n)
        yield grid(mask, n, n if same else other, inputs), inputs


def world(example: Example, same: bool) -> tuple[int, int, dict[str, Any], int, int, int | None]:
    """Lengths, inputs, head, query and key of a counterexample."""
    n = example.lengths["x"]
    m = n if same else example.lengths.get("context", 1)
    inputs = {"label": np.zeros(n, int), "flag": np.ones(n, bool)}
    for name, value in example.inputs.items():
        found = re.fullmatch(r"(\w+)\[(\d+)\]", name)
        assert found is not None
        inputs[found[1]][int(found[2])] = value
    assert ((inputs["label"] >= 0) & (inputs["label"] <= 2)).all()
    places = example.places
    i, h, j = places.get("x", 0), places.get("h", 0), places.get("context", 0)
    assert 0 <= i < n
    assert 0 <= j < m
    return n, m, inputs, h, i, j


MOST = 3000


def row_of(mask: Text, example: Example, same: bool) -> tuple[Any, int, int]:
    """What the query of a counterexample sees, the query, and the key."""
    n, m, inputs, h, i, j = world(example, same)
    if max(n, m) > MOST:  # one pair only
        return None, i, j
    return grid(mask, n, m, inputs)[h, i], i, j


def sees(mask: Text, example: Example, same: bool, swapped: bool = False) -> bool:
    """Whether the pair of a counterexample is there, evaluated at it alone."""
    n, _, inputs, h, i, j = world(example, same)
    if swapped:
        i, j = j, i
    env = {"i": np.array([[i]]), "j": np.array([[j]]), "h": h, "n": n, **inputs}
    from drawn_predicates import FUNCTIONS

    return bool(np.asarray(eval(mask.numpy, {**FUNCTIONS, **env})).all())


def check_causal(fact: Fact, mask: Text, grids: Any, same: bool) -> None:
    if not same:
        assert fact.verdict == "proved"
    elif fact.verdict == "proved":
        assert not any(np.triu(item, 1).any() for item, _ in grids)
    elif fact.example is not None:
        assert fact.example.places["context"] > fact.example.places.get("x", 0)
        assert sees(mask, fact.example, same)


def check_rows(fact: Fact, mask: Text, grids: Any, same: bool) -> None:
    if fact.verdict == "proved":
        assert all(item.any(-1).all() for item, _ in grids)
    elif fact.example is not None:
        row, _, _ = row_of(mask, fact.example, same)
        assert not row.any()


def check_back(fact: Fact, mask: Text, grids: Any, same: bool) -> None:
    check_reach(fact, mask, grids, same, 1)


def check_ahead(fact: Fact, mask: Text, grids: Any, same: bool) -> None:
    check_reach(fact, mask, grids, same, -1)


def check_reach(fact: Fact, mask: Text, grids: Any, same: bool, sign: int) -> None:
    if not same:
        return
    if fact.example is not None:
        i, j = fact.example.places.get("x", 0), fact.example.places.get("context", 0)
        assert sign * (i - j) >= 2**20
        assert sees(mask, fact.example, same)
    furthest = 0
    for item, _ in grids:
        _, i, j = np.nonzero(item)
        furthest = max(furthest, int((sign * (i - j)).max(initial=0)))
    if fact.verdict == "proved":
        assert fact.value is not None
        assert furthest <= fact.value
    if "none: all" in fact.words:
        side = np.tril if sign == 1 else np.triu
        assert all((item | ~side(np.ones_like(item))).all() for item, _ in grids)


def check_symmetric(fact: Fact, mask: Text, grids: Any, same: bool) -> None:
    if fact.verdict == "proved":
        assert all((item == item.swapaxes(1, 2)).all() for item, _ in grids)
    elif fact.example is not None:
        assert sees(mask, fact.example, same)
        assert not sees(mask, fact.example, same, swapped=True)


def check_pairs(fact: Fact, mask: Text, grids: Any, same: bool) -> None:
    """The closed form as it is printed, at every length that it speaks of."""
    if fact.verdict != "proved" or fact.words == "n*m":
        return
    text, _, start = fact.words.removesuffix(f", all {HEADS} h together").partition(" for n >= ")
    if "exactly" in text:
        return
    text, _, period = text.partition(" with r = n % ")
    per_head = "h together" in fact.words
    for item, inputs in grids:
        n = item.shape[1]
        if n >= int(start or 0):
            form, values = held(text, inputs)
            value = number(form, n=n, r=n % int(period or 1), **values)
            assert value == (item if per_head else item[0]).sum()
    if not per_head:
        assert all((item == item[0]).all() for item, _ in grids)


FLAGS = re.compile(r"(.*) with g = count\((\w+)\)")
LABELS = re.compile(r"(.*)sum of (.*), s the number of tokens of each `(\w+)`")


def held(text: str, inputs: Any) -> tuple[str, dict[str, Any]]:
    """A form, and what it says by how many tokens hold a flag, or each label."""
    if found := FLAGS.fullmatch(text):
        return found[1], {"g": int(inputs[found[2]].sum())}
    if found := LABELS.fullmatch(text):
        _, sizes = np.unique(inputs[found[3]], return_counts=True)
        return found[1] + "own", {"own": sum(number(found[2], s=int(size)) for size in sizes)}
    return text, {}


def number(form: str, **values: Any) -> Fraction:
    exact = {name: Fraction(value) for name, value in values.items()}
    return Fraction(eval(form.replace("^", "**"), exact))


CHECKS = {
    "causal": check_causal,
    "no empty row": check_rows,
    "look-back": check_back,
    "look-ahead": check_ahead,
    "symmetric": check_symmetric,
    "pairs": check_pairs,
}


def check_claim(fact: Fact, mask: Text, other: Text, rng: random.Random, same: bool) -> None:
    if fact.example is not None:
        here, there = sees(mask, fact.example, same), sees(other, fact.example, same)
        assert here is not there
        assert here or fact.name == "equals"
    if fact.verdict != "proved":
        return
    for n, m in zip(LENGTHS, OTHERS, strict=True):
        inputs = random_inputs(rng, n)
        one = grid(mask, n, n if same else m, inputs)
        two = grid(other, n, n if same else m, inputs)
        assert not (one & ~two).any()
        assert fact.name == "implies" or not (two & ~one).any()
