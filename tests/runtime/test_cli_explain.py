"""`attnc explain`: lowerings with reasons and places, costs, and the pages of mistakes."""

from __future__ import annotations

import math

import attnc
import pytest
from attnc.compiler.cost import parameters, predict
from attnc.dsl import api
from attnc.dsl.mistakes import MISTAKES
from command_line import GOOD, run, run_json


def test_a_refusal_has_its_reason_place_and_edit() -> None:
    found = run_json("explain", "additive", "--json")
    refusals = {item["lowering"]: item for item in found["attends"][0]["refusals"]}
    assert "tanh(q + k + c)" in refusals["sdpa"]["location"]["text"]
    assert refusals["sdpa"]["location"]["line"] == 19
    assert refusals["sdpa"]["edit"].startswith("score: dot(q, k)")


def test_the_excerpt_of_a_refusal_is_marked() -> None:
    shown = run("explain", "additive").stdout
    assert "not sdpa: " in shown
    assert "19 | score: dot(u, tanh(q + k + c))" in shown
    assert "^^^^^^^^^^^^^^^" in shown
    assert "smallest edit: score: dot(q, k)" in shown


def test_layers_that_are_alike_are_told_once() -> None:
    shown = run("explain", "language_model", "--dim", "layers=3", "--dim", "d_model=64").stdout
    assert shown.count("takes ") == 1
    assert "body.*.attended.heads takes " in shown


def test_softmax_attention_costs_what_it_costs() -> None:
    found = run_json("explain", "softmax", "--length", "128", "--dim", "d_model=64", "--json")
    assert found["parameters"] == 4 * (64 * 64 + 64)
    assert found["flops_by_part"]["projections"] == 4 * 128 * 64 * (2 * 64 + 1)
    assert found["flops_by_part"]["contractions"] == 2 * 128 * 128 * 64
    assert found["flops_by_part"]["weighted sums"] == 2 * 128 * 128 * 64
    assert found["largest_array"]["bytes"] == 4 * 8 * 128 * 128
    assert found["causality"] == {"declared": "", "derived": "none"}


@pytest.mark.parametrize(
    "name", ["additive", "bahdanau", "t5_bias", "rope", "delta_rule", "encoder"]
)
def test_parameters_are_those_of_the_module(name: str) -> None:
    module = attnc.compile(name, d_model=32, heads=2)
    found = {key: tuple(value.shape) for key, value in module.named_parameters()}
    assert dict(parameters(module.spec)) == found


def test_cost_grows_with_the_pairs() -> None:
    spec = api.check(name="additive", dims={"d_model": 32, "heads": 2}).spec
    assert spec is not None
    short, long = predict(spec, 100), predict(spec, 200)
    assert math.isclose(long.flops / short.flops, 4, rel_tol=0.1)
    assert predict(spec, 100, 200).flops < long.flops


def test_dims_and_standard_input() -> None:
    found = run_json("explain", "-", "--dim", "heads=2", "--json", input=GOOD)
    assert found["dims"]["heads"] == 2


@pytest.mark.parametrize("code", MISTAKES)
def test_every_mistake_has_a_page(code: str) -> None:
    shown = run("explain", code).stdout
    assert shown.startswith(f"{code}  {MISTAKES[code].title}\n")
    assert "Wrong:" in shown
    assert "Right:" in shown


def test_a_code_that_is_none_is_a_wrong_call() -> None:
    assert "there is no ATT999" in run("explain", "att999", code=2).stderr


def test_a_mistake_as_json() -> None:
    assert run_json("explain", "ATT401", "--json")["title"] == "Unknown name"
