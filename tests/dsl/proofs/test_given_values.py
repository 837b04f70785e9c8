"""Numbers of pairs by what an input holds, compared with enumeration."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from attnc.dsl.api import check
from attnc.dsl.proofs.asking import Asker
from attnc.dsl.proofs.counting import NotCounted
from attnc.dsl.proofs.cuts import CutForm, cut_form
from attnc.dsl.proofs.facts import facts_of
from attnc.dsl.proofs.holders import FlagForm, LabelForm, held_form
from attnc.dsl.proofs.pairs import Pairs, Reader, located
from attnc.dsl.source import Source
from attnc.dsl.typed import TypedSpec
from hypothesis import given
from hypothesis import strategies as st

TEXT = """attnc: 1
name: given
context: same
inputs:
  label: {{type: int, over: x}}
  flag: {{type: bool, over: x}}
  p: {{type: int}}
  other: {{type: int}}
mask: "{mask}"
"""

#: read alike by the language and by Python
PLACES = [
    "j <= i",
    "j < i",
    "i - 2 <= j <= i + 1",
    "i == j",
    "i - 3 == j",
    "i < 3",
    "i % 2 == j % 2",
]
CUTS = ["j < p", "i < p", "j <= p", "i >= p", "p <= j", "p + 1 > i", "(i < p) == (j < p)"]


def spec_of(mask: str) -> TypedSpec:
    found = check(source=Source("given", TEXT.format(mask=mask)), dims={"d_model": 8, "heads": 2})
    assert found.spec is not None
    return found.spec


def read(spec: TypedSpec) -> tuple[Asker, Pairs]:
    ((owner, attend),) = located(spec).values()
    asker = Asker(spec.inputs)
    (pairs,) = Reader(owner, asker.prover).pairs(attend)
    return asker, pairs


def words(spec: TypedSpec, length: int | None = None) -> str:
    return facts_of(spec, length=length)[0].facts[-1].words


def library(name: str) -> TypedSpec:
    found = check(name=name).spec
    assert found is not None
    return found


def enumerated(mask: str, n: int, **values: Any) -> int:
    code = compile(mask, "mask", "eval")
    return sum(bool(eval(code, {"i": i, "j": j, **values})) for i, j in product(range(n), repeat=2))


def cut_by(text: str, p: int) -> int:
    """The cut before it is clipped."""
    return int(eval(text, {"p": p, "prefix": p}))


# A number that cuts


def agrees_with_enumeration(mask: str, form: CutForm) -> None:
    for n in (1, 2, 5, 9, 12):
        for p in (-2, 0, 1, 4, n - 1, n, n + 3):
            before = min(max(cut_by(form.cut, p), 0), n)
            if before >= form.least[0] and n - before >= form.least[1]:
                assert form.at(before, n - before) == enumerated(mask, n, p=p), (n, p)
                told = form.told(n).split(" with ")[0].replace("^", "**")
                assert eval(told, {"p": before}) == enumerated(mask, n, p=p)
                told = form.told().split(" with ")[0].replace("^", "**")
                assert eval(told, {"n": n, "p": before}) == enumerated(mask, n, p=p)


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        ("j <= i or j < p", "(n^2 + n + p^2 - p)/2 with p = clip(p, 0, n)"),
        ("j <= i or j <= p", "(n^2 + n + p^2 - p)/2 with p = clip(p + 1, 0, n)"),
        ("j < p - 2", "n*p with p = clip(p - 2, 0, n)"),
        ("i < p and j < p", "p^2 with p = clip(p, 0, n)"),
        ("j <= i and j >= p", "(n^2 - 2*n*p + n + p^2 - p)/2 with p = clip(p, 0, n)"),
        (
            "i - 2 <= j <= i or j < p",
            "n*p + 3*n - 3*p - 3 with p = clip(p, 0, n), for n - p >= 2",
        ),
    ],
)
def test_a_cut_has_a_closed_form(mask: str, told: str) -> None:
    spec = spec_of(mask)
    assert words(spec) == told
    agrees_with_enumeration(mask, cut_form(*read(spec)))


@given(
    st.sampled_from(PLACES), st.sampled_from(CUTS), st.sampled_from(CUTS), st.sampled_from(PLACES),
    st.lists(st.sampled_from(["and", "or"]), min_size=3, max_size=3), st.booleans(),
)  # fmt: skip
def test_a_closed_form_agrees_with_enumeration(
    one: str, cut: str, second: str, two: str, ops: list[str], is_negated: bool
) -> None:
    mask = f"({one}) {ops[0]} ({'not ' if is_negated else ''}({cut}) {ops[1]} ({second})) {ops[2]} ({two})"
    try:
        form = cut_form(*read(spec_of(mask)))
    except NotCounted:
        return
    agrees_with_enumeration(mask, form)


def test_prefix_lm_is_counted_for_every_prefix() -> None:
    spec = library("prefix_lm")
    assert words(spec) == "(n^2 + n + p^2 - p)/2 with p = clip(prefix, 0, n)"
    at_length = "(p^2 - p + 1001000)/2 with p = clip(prefix, 0, 1000)"
    assert words(spec, 1000) == at_length
    form = cut_form(*read(spec))
    for n in (1, 2, 7, 16):
        for prefix in (0, 1, n - 1, n, n + 3):
            before = min(prefix, n)
            exact = enumerated("j <= i or j < prefix", n, prefix=prefix)
            assert form.at(before, n - before) == exact


@pytest.mark.parametrize(
    "mask",
    [
        "i - p <= j <= i",
        "j < 2 * p",
        "j < p or j < other",
        "i // 4 == j // 4 or j < p",
        "j % 2 < p",
    ],
)
def test_no_cut_is_guessed(mask: str) -> None:
    assert words(spec_of(mask)).startswith("it depends on `")


# What tokens hold


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        ("flag[i] or flag[j]", "2*n*g - g^2 with g = count(flag)"),
        ("flag[i] and not flag[j]", "n*g - g^2 with g = count(flag)"),
        ("flag[j]", "n*g with g = count(flag)"),
        ("flag[i] == flag[j]", "n^2 - 2*n*g + 2*g^2 with g = count(flag)"),
    ],
)
def test_flags_are_counted(mask: str, told: str) -> None:
    spec = spec_of(mask)
    assert words(spec) == told
    form = held_form(*read(spec))
    assert isinstance(form, FlagForm)
    for flag in product((False, True), repeat=5):
        exact = enumerated(mask, 5, flag=flag)
        assert form.at(sum(flag), 5 - sum(flag)) == exact
        for told in (form.told(), form.told(5)):
            assert (
                eval(told.split(" with ")[0].replace("^", "**"), {"n": 5, "g": sum(flag)}) == exact
            )


SAME = "s the number of tokens of each `label`"


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        ("label[i] == label[j]", f"sum of s^2, {SAME}"),
        ("label[i] == label[j] and j <= i", f"sum of (s^2 + s)/2, {SAME}"),
        ("label[i] != label[j]", f"n^2 - sum of s^2, {SAME}"),
        ("label[i] == label[j] or j < i", f"n^2/2 + sum of s^2/2, {SAME}"),
        ("label[i] != label[j] or i == j", f"n^2 + n - sum of s^2, {SAME}"),
    ],
)
def test_labels_are_counted(mask: str, told: str) -> None:
    spec = spec_of(mask)
    assert words(spec) == told
    form = held_form(*read(spec))
    assert isinstance(form, LabelForm)
    for label in product(range(3), repeat=5):
        assert form.at([label.count(k) for k in range(3)]) == enumerated(mask, 5, label=label)


@pytest.mark.parametrize(
    "mask",
    [
        "flag[j] and j <= i",
        "flag[i] or label[i] == label[j]",
        "label[j] == 0 or label[i] == label[j]",
        "label[i] == label[j] and j < 4",
        "label[i] < label[j]",
        "label[i] == i",
    ],
)
def test_no_number_of_holders_is_guessed(mask: str) -> None:
    assert words(spec_of(mask)).startswith("it depends on `")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("documents", "sum of s^2, s the number of tokens of each `document`"),
        ("global_tokens", "2*n*g - g^2 with g = count(glob)"),
        ("shared_prefix", "it depends on `branch`"),
        ("tree_attention", "it depends on `trunk`"),
    ],
)
def test_masks_of_the_library_with_inputs(name: str, told: str) -> None:
    assert words(library(name)) == told
