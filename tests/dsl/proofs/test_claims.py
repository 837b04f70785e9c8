"""Claims about two specs: inclusion and equality of their masks."""

from __future__ import annotations

import pytest
from attnc.dsl.api import check
from attnc.dsl.proofs.claims import NoMatch, claims
from attnc.dsl.proofs.facts import Fact
from attnc.dsl.source import Source
from attnc.dsl.typed import TypedSpec


def library(name: str, **dims: int) -> TypedSpec:
    found = check(name=name, dims=dims).spec
    assert found is not None
    return found


def masked(mask: str, extends: str = "softmax", heads: int = 2) -> TypedSpec:
    text = f'attnc: 1\nname: mine\nextends: {extends}\nmask: "{mask}"\n'
    found = check(source=Source("mine", text), dims={"d_model": 8, "heads": heads}).spec
    assert found is not None
    return found


def claim(one: TypedSpec, two: TypedSpec, relation: str = "implies") -> Fact:
    return claims(one, two, relation)[0].fact  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("sparse_strided", "causal"),
        ("sparse_fixed", "causal"),
        ("streaming", "causal"),
        ("image_local_1d", "causal"),
        ("stick_breaking", "causal"),
        ("block_local", "softmax"),
        ("shared_prefix", "causal"),
        ("tree_attention", "causal"),
    ],
)
def test_a_pattern_lies_in_a_wider_one(one: str, two: str) -> None:
    assert claim(library(one), library(two)).verdict == "proved"
    assert claim(library(two), library(one)).verdict == "refuted"


def test_two_ways_of_writing_a_mask_are_equal() -> None:
    left = masked("i // 4 == j // 4 and j <= i")
    right = masked("j >= i - i % 4 and not (j > i)")
    assert claim(left, right, "equals").verdict == "proved"
    nearly = masked("j >= i - i % 4 - 1 and not (j > i)")
    fact = claim(left, nearly, "equals")
    assert fact.words == "i = 4 sees j = 3 in the other, but not here, where n = 5"
    assert claim(masked("i // 4 == j // 4"), left).words.endswith("where n = 2")


def test_a_window_lies_in_a_wider_window() -> None:
    wide, narrow = library("sliding_window", left=5), library("sliding_window", left=4)
    assert claim(narrow, wide).verdict == "proved"
    assert claim(wide, narrow).words == "i = 5 sees j = 0 here, but not in the other, where n = 6"


def test_other_heads_are_not_compared() -> None:
    fact = claim(masked("i - h <= j"), masked("i - h <= j", heads=4))
    assert fact.verdict == "unknown"
    assert fact.words == "`h` has size 2 in one and 4 in the other"


def test_memory_is_not_compared_with_x() -> None:
    fact = claim(library("cross_attention"), library("softmax"))
    assert fact.verdict == "unknown"


def test_blocks_of_other_sizes_are_other_tokens() -> None:
    one, two = library("memory_compressed"), library("memory_compressed", ratio=4)
    assert {item.fact.verdict for item in claims(one, two, "implies")} == {"unknown"}
    same = claims(one, library("memory_compressed"), "equals")
    assert {item.fact.verdict for item in same} == {"proved"}


def test_attends_are_matched_by_name() -> None:
    found = claims(library("longformer"), library("longformer"), "equals")
    assert [(item.attend, item.fact.verdict) for item in found] == [
        ("local", "proved"),
        ("wide", "proved"),
    ]
    with pytest.raises(NoMatch, match="has no attend `local`; it has `heads`"):
        claims(library("longformer"), library("softmax"), "implies")
