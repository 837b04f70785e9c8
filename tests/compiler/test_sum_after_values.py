"""Sums over a fixed axis leave a normaliser where that changes nothing but the order of sums."""

from __future__ import annotations

import attnc
import pytest
from attnc.compiler.lower import attends_of
from attnc.compiler.passes import run_passes
from attnc.compiler.printer import print_program
from attnc.compiler.program import Program, Signature

SPEC = """attnc: 1
name: own
extends: softmax
axes: {p: 3}
project: {q: "linear(x, to=[h, p, d_head])", k: "linear(context, to=[g, p, d_head])"}
weights: {c: {shape: [p]}, mix: {shape: [h, p]}}
"""


def passed(*lines: str, training: bool = False) -> Program:
    spec = attnc.loads(SPEC + "\n".join(lines)).typed
    return run_passes(Program(spec, Signature(training=training, fused=True), spec.outputs))


def has_places(program: Program) -> bool:
    """Whether the result of the attend has the places of the sum."""
    (attend,) = attends_of(program)
    return "p" in {axis.name for axis in attend.type.axes}


def test_the_sum_and_its_factors_follow_the_attend() -> None:
    shown = print_program(passed('normalize: "2 * sum(c[p] * softmax(s, j), over=p)"'))
    assert "%heads : real{b, h, p, x}[d_value] = attend x -> context" in shown
    _, after = shown.split("            yield %11\n")
    assert after.startswith(
        "    %12 : real{b, h, p, x}[d_value] = c * %heads\n"
        "    %13 : real{b, h, x}[d_value] = reduce(op=sum, %12, axes=[p])\n"
        "    %14 : real{b, h, x}[d_value] = 2.0 * %13\n"
    )


@pytest.mark.parametrize(
    "lines",
    [
        ['normalize: "mean(mix[h, p] * sigmoid(s), over=p)"'],
        ['normalize: "sum(softmax(s, j), over=p)"', 'mask: "j <= i + p"'],
        ['normalize: "sum(s, over=p)"', 'mask: "j <= i"'],
        ['normalize: "sum(softmax(s, j), over=p)"', "dropout: 0.1"],
    ],
)
def test_it_is_taken_after_the_values(lines: list[str]) -> None:
    assert has_places(passed(*lines))


@pytest.mark.parametrize(
    "lines",
    [
        ['normalize: "max(softmax(s, j), over=p)"'],
        ['normalize: "softmax(sum(s, over=p), j)"'],
        # a pair that is hidden at one place has a weight there
        ['normalize: "sum(sigmoid(s), over=p)"', 'mask: "j <= i + p"'],
        [
            'normalize: "sum(softmax(s, j), over=p)"',
            'out: "linear(concat(heads * max(heads.weights, over=context), over=h))"',
        ],
    ],
)
def test_it_is_left_where_that_means_something_else(lines: list[str]) -> None:
    assert not has_places(passed(*lines))


def test_weights_are_dropped_after_their_sum() -> None:
    lines = ('normalize: "sum(softmax(s, j), over=p)"', "dropout: 0.1")
    assert not has_places(passed(*lines, training=True))


def test_weights_that_would_meet_several_values_are_left() -> None:
    spec = attnc.loads(
        "attnc: 1\nname: own\nextends: softmax\naxes: {r: heads}\nweights: {mix: {shape: [r, h]}}\n"
        'project: {q: "linear(x, to=[r, d_head])", k: "linear(context, to=[r, d_head])"}\n'
        'normalize: "sum(mix[r, h] * softmax(s, j), over=r)"\n'
    ).typed
    (attend,) = attends_of(run_passes(Program(spec, Signature(fused=True), spec.outputs)))
    assert "r" not in {axis.name for axis in attend.type.axes}
