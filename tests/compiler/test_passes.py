"""Passes: they share what they leave alone, do nothing twice, and leave pair IR in attends."""

from __future__ import annotations

import attnc
import pytest
from attnc.compiler.apart import is_pair
from attnc.compiler.lower import attends_of
from attnc.compiler.normalizer import uses_scores
from attnc.compiler.passes import PASSES, run_passes
from attnc.compiler.passes.hoist import LEAVES
from attnc.compiler.passes.verify import InvalidIR, verify
from attnc.compiler.program import Program, Signature
from attnc.dsl.api import check
from attnc.dsl.core import (
    Arg,
    Attend,
    Map,
    Node,
    Part,
    ReadDim,
    Reduce,
    Type,
    map_operands,
    operands,
    walk,
)
from attnc.dsl.library import library_paths

NAMES = [name for name in library_paths() if name != "etc"]


def program_of(name: str) -> Program:
    spec = check(name=name).spec
    assert spec is not None
    return Program(spec, Signature(), spec.outputs)


@pytest.mark.parametrize("name", library_paths())
def test_map_operands_gives_the_same_object_when_nothing_changes(name: str) -> None:
    for node in walk(*program_of(name).roots.values()):
        assert map_operands(node, lambda item: item) is node


@pytest.mark.parametrize("name", library_paths())
def test_no_pass_changes_anything_twice(name: str) -> None:
    program = program_of(name)
    for step in PASSES:
        program = step(program)
        again = step(program)
        assert all(again.roots[key] is node for key, node in program.roots.items()), step.__name__


def test_equal_expressions_are_one_object() -> None:
    one, two = program_of("additive"), program_of("additive")
    assert one.roots["x"] is two.roots["x"]


@pytest.mark.parametrize("name", library_paths())
def test_attends_hold_pair_ir_after_hoisting(name: str) -> None:
    for attend in attends_of(run_passes(program_of(name))):
        for source in attend.sources:
            for body in (source.score, source.value, source.mask):
                if body is not None:
                    assert_pair(body, attend, frozenset(source.axes))
        for node in walk(attend.normalize):
            for child in operands(node) if uses_scores(node) else ():
                if not uses_scores(child):
                    assert_pair(child, attend, frozenset({attend.joint}))


def assert_pair(node: Node, attend: Attend, keys: frozenset[object]) -> None:
    """Only Args and leaves depend on one side alone."""
    if isinstance(node, (Arg, Part, *LEAVES)):
        return
    assert is_pair(node, attend.query, keys), node  # type: ignore[arg-type]
    for child in operands(node):
        assert_pair(child, attend, keys)


def test_terms_of_one_side_are_added_outside_the_pair_loop() -> None:
    (attend,) = attends_of(run_passes(program_of("additive")))
    args = [node for node in walk(attend.sources[0].score) if isinstance(node, Arg)]
    sums = [arg.value for arg in args if isinstance(arg.value, Map) and arg.value.op == "+"]
    assert len(sums) == 1  # q + c, once per query
    assert attend.query in sums[0].type.axes


def test_a_table_is_contracted_before_it_is_read() -> None:
    spec = attnc.loads(
        "attnc: 1\nname: own\nextends: softmax\nweights: {rel: {shape: [9, d_head]}}\n"
        'score: "super + dot(q, rel[clip(j - i, -4, 4) + 4])"\n'
    )
    (attend,) = attends_of(run_passes(Program(spec.typed, Signature(), spec.typed.outputs)))
    for node in walk(attend.sources[0].score):
        both = {axis.name for axis in node.type.axes} >= {"x", "context"}
        assert not (both and node.type.dims), "no pair holds feature dims"


def test_a_table_with_two_indices_is_read_once() -> None:
    spec = attnc.loads(
        "attnc: 1\nname: own\nextends: softmax\nweights: {rel: {shape: [h, 3, 5]}}\n"
        'score: "super + rel[clip(j - i, 0, 2)][(i - j) % 5]"\n'
    )
    (attend,) = attends_of(run_passes(Program(spec.typed, Signature(), spec.typed.outputs)))
    (read,) = [node for node in walk(attend.sources[0].score) if isinstance(node, ReadDim)]
    assert [dim.value for dim in read.arg.type.dims] == [15]


def test_weights_are_summed_by_class_before_values_are_read() -> None:
    spec = attnc.loads(
        "attnc: 1\nname: own\nextends: softmax\nweights: {rel: {shape: [9, d_value]}}\n"
        'value: "v + rel[clip(j - i, -4, 4) + 4]"\n'
    )
    (attend,) = attends_of(run_passes(Program(spec.typed, Signature(), spec.typed.outputs)))
    assert attend.type.dims[0].value == spec.typed.dims["d_value"] + 9
    read = [node for node in walk(attend.sources[0].value) if isinstance(node, ReadDim)]
    assert read == []


@pytest.mark.parametrize(("places", "written_out"), [(1, True), (32, True), (33, False)])
def test_reductions_of_pairs_over_a_few_places_are_written_out(
    places: int, written_out: bool
) -> None:
    spec = attnc.loads(
        f"attnc: 1\nname: own\nextends: softmax\naxes: {{e: {places}}}\n"
        'mask: "any(i - j == 3 * e, over=e)"\n'
    )
    program = Program(spec.typed, Signature(fused=True), spec.typed.outputs)
    (attend,) = attends_of(run_passes(program))
    mask = attend.sources[0].mask
    assert mask is not None
    assert any(isinstance(node, Reduce) for node in walk(mask)) != written_out


def test_a_broken_program_is_our_bug() -> None:
    program = program_of("softmax")
    node = program.roots["x"]
    broken = Map(Type(node.type.kind, node.type.axes), "frobnicate", (node,))
    with pytest.raises(InvalidIR, match="bug in attnc"):
        verify(program.with_roots({"x": broken}), "test")
