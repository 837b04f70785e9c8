"""Facts of known masks, planted mistakes, and what the library says."""

from __future__ import annotations

from typing import Any

import pytest
from attnc.dsl.api import check
from attnc.dsl.library import library_paths
from attnc.dsl.proofs.facts import Fact, brief_facts, brief_words, facts_of
from attnc.dsl.source import Source
from attnc.dsl.typed import TypedSpec

HEADER = """attnc: 1
name: planted
context: {context}
inputs:
  label: {{type: int, over: x, default: 0}}
  flag: {{type: bool, over: x, default: false}}
  width: {{type: int, default: 1, range: [1, 9]}}
mask: "{mask}"
"""


def planted(mask: str, context: str = "same", **dims: Any) -> TypedSpec:
    source = Source("planted", HEADER.format(mask=mask, context=context))
    found = check(source=source, dims={"d_model": 8, "heads": 2, **dims}).spec
    assert found is not None
    return found


def library(name: str, **dims: Any) -> TypedSpec:
    found = check(name=name, dims=dims).spec
    assert found is not None
    return found


def facts(spec: TypedSpec, attend: str = "heads", length: int | None = None) -> dict[str, Fact]:
    found = facts_of(spec, attend, length)
    return {fact.name: fact for fact in found[0].facts}


def verdicts(spec: TypedSpec) -> dict[str, str]:
    return {name: fact.verdict for name, fact in facts(spec).items()}


def test_a_window_is_known_all_round() -> None:
    found = facts(library("sliding_window", left=4, right=2))
    assert found["causal"].verdict == "refuted"
    assert found["no empty row"].verdict == "proved"
    assert found["look-back"].value == 4
    assert found["look-ahead"].value == 2
    assert found["symmetric"].verdict == "refuted"
    assert found["pairs"].words == "7*n - 13 for n >= 4"


def test_a_causal_mask_sees_all_of_the_past() -> None:
    found = facts(library("causal_softmax"))
    assert found["causal"].verdict == "proved"
    assert found["look-back"].words == "none: all of the past is seen"
    assert found["pairs"].words == "(n^2 + n)/2"


# Planted mistakes


@pytest.mark.parametrize(
    ("mask", "ahead"),
    [("i - 3 <= j <= i + 1", 1), ("i - 3 <= j < i + 2", 1), ("i // 4 >= j // 4", 3)],
)
def test_a_window_that_is_off_by_one_is_not_causal(mask: str, ahead: int) -> None:
    found = facts(planted(mask))
    assert found["causal"].verdict == "refuted"
    assert found["look-ahead"].value == ahead


def test_an_inverted_mask_is_found() -> None:
    found = facts(planted("not (j <= i)"))
    assert found["causal"].verdict == "refuted"
    assert found["no empty row"].words == "i = 0 sees no key, where n = 1"


@pytest.mark.parametrize(
    "mask",
    ["j < i", "j <= i - 2", "i - 4 <= j < i", "j <= i and j % 2 == 1", "j // 4 < i // 4"],
)
def test_the_empty_rows_at_the_start_are_found(mask: str) -> None:
    found = facts(planted(mask))
    assert found["causal"].verdict == "proved"
    assert found["no empty row"].words == "i = 0 sees no key, where n = 1"


def test_the_empty_row_at_the_end_is_found() -> None:
    assert verdicts(planted("j > i"))["no empty row"] == "refuted"
    assert verdicts(planted("j > i or i % 3 == 1 and j == i"))["no empty row"] == "refuted"


def test_one_head_is_enough_to_refute() -> None:
    found = facts(planted("j <= i + h"))["causal"]
    assert found.example is not None
    assert found.example.places == {"x": 0, "context": 1, "h": 1}
    assert verdicts(planted("j <= i - h"))["no empty row"] == "refuted"
    assert verdicts(planted("j <= i - h or j == 0"))["no empty row"] == "proved"


@pytest.mark.parametrize(
    "mask",
    [
        "i // 4 == j // 4",
        "i % 4 == j % 4",
        "j // 4 == i // 4 and j % 4 == 0",
        "j == max(i - 3, 0)",
        "j % 8 == 0 and j <= i",
        "label[i] == label[j]",
        "where(flag[i], j <= i, j >= i)",
        "j < width",
        "j <= i or flag[i]",
    ],
)
def test_a_witness_is_found_in_every_row(mask: str) -> None:
    assert facts(planted(mask))["no empty row"].verdict == "proved"


def test_what_is_equal_has_equal_labels() -> None:
    found = verdicts(planted("label[i] == label[j] or i != j"))
    assert found["no empty row"] == "proved"
    assert verdicts(planted("label[i] != label[j]"))["no empty row"] == "refuted"
    assert verdicts(planted("label[i] == label[j]"))["symmetric"] == "proved"


def test_inputs_of_a_counterexample_are_legal() -> None:
    assert verdicts(planted("j <= i and width > 0"))["no empty row"] == "proved"
    found = facts(planted("j < width"))["causal"]
    assert found.example is not None
    assert 2 <= found.example.inputs["width"] <= 9


def test_what_the_data_choose_is_unknown() -> None:
    found = facts(library("nsa"), "picked")
    assert found["causal"].verdict == "proved"
    assert found["no empty row"].words == "it depends on which tokens the data choose"


def test_memory_has_a_length_of_its_own() -> None:
    found = facts(planted("j <= i", "memory"))
    assert found["causal"].verdict == "proved"
    assert found["no empty row"].verdict == "proved"
    assert "symmetric" not in found
    assert facts(planted("j == i", "memory"))["no empty row"].verdict == "refuted"
    assert facts(library("cross_attention"), length=10)["pairs at n = m = 10"].value == 100


# How many pairs


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ("all", "n^2"),
        ("causal", "(n^2 + n)/2"),
        ("j < i", "(n^2 - n)/2"),
        ("band(2, 2)", "5*n - 6 for n >= 2"),
        ("band(2, 2, dilation=3)", "5*n - 18 for n >= 6"),
        ("block_local(4)", "4*n + r^2 - 4*r with r = n % 4"),
        ("causal or j < 3", "(n^2 + n + 6)/2 for n >= 3"),
        ("j < 3", "3*n for n >= 3"),
        ("i % 2 == j % 2", "(n^2 + r)/2 with r = n % 2"),
        ("j > i + 5 and j < i", "0"),
    ],
)
def test_pairs_have_a_closed_form(mask: str, words: str) -> None:
    assert facts(planted(mask))["pairs"].words == words


def test_heads_that_differ_are_counted_together() -> None:
    assert facts(planted("i - h <= j <= i"))["pairs"].words == "3*n - 1, all 2 h together"


def test_a_closed_form_is_as_good_for_a_million_tokens() -> None:
    found = facts(library("sparse_strided"), length=10**6)
    assert found["pairs at n = 1,000,000"].value == 4033741888


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        ("j <= i and i < length(x) // 2", "the mask depends on the length"),
        ("j <= i and flag[j]", "it depends on `flag`"),
        ("i * 2 >= j * 3", "no repetition of the mask was proved"),
    ],
)
def test_no_closed_form_is_guessed(mask: str, reason: str) -> None:
    assert facts(planted(mask))["pairs"].words == reason


def test_what_has_no_closed_form_is_counted_at_a_length() -> None:
    found = facts(planted("i * 2 >= j * 3"), length=9)["pairs at n = 9"]
    assert found.value == sum(2 * i >= 3 * j for i in range(9) for j in range(9))


# The library


@pytest.mark.parametrize("name", library_paths())
def test_every_attend_of_the_library_has_its_facts(name: str) -> None:
    spec = library(name)
    for item in facts_of(spec, length=64):
        assert len(item.facts) >= 5
        for fact in item.facts:
            assert fact.words, fact
            assert fact.verdict != "refuted" or fact.example or "all of the" in fact.words
    assert all(brief_words(found) for found in brief_facts(spec).values())


def test_a_strict_spec_sees_no_future() -> None:
    """What the contract says of outputs, the facts say of pairs, but for keys whose values come from before."""
    others = ("axial_causal rows", "encoder_decoder memory.", "sinkhorn_causal y")
    for name in library_paths():
        checked = check(name=name)
        assert checked.spec is not None
        if checked.judgement is not None and checked.judgement.derived == "strict":
            for attend, found in brief_facts(checked.spec).items():
                if not f"{name} {attend}".startswith(others):
                    assert found[0].verdict == "proved", (name, attend, found[0])


# Masks that are made to be hard


@pytest.mark.parametrize(
    "mask",
    [
        " and ".join(f"j != i - {2 * k + 1}" for k in range(120)),
        "not (" * 40 + "j <= i" + ")" * 40,
        "j <= i + " + " + ".join(f"i // {k}" for k in range(2, 40)),
        "i * i * i + j * j * j == (i + 1) * (j + 2) * (j + 3)",
        "j <= i * 4000000000 * 4000000000",
    ],
)
def test_a_hard_mask_ends_with_an_answer(mask: str) -> None:
    assert len(facts(planted(mask))) == 6


def test_numbers_beyond_int64_are_not_counted() -> None:
    found = facts(planted("j <= i * 4000000000 * 4000000000"), length=5)
    assert found["pairs at n = 5"].verdict == "unknown"
