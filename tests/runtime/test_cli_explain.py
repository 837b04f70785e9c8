"""`attnc explain`: lowerings with reasons and places, costs, and the pages of mistakes."""

from __future__ import annotations

import math

import attnc
import pytest
import torch
from attnc.compiler.cost import parameters, predict
from attnc.dsl import api
from attnc.dsl.mistakes import MISTAKES
from command_line import GOOD, run, run_json


def test_a_refusal_has_its_reason_place_and_edit() -> None:
    found = run_json("explain", "additive", "--length", "8", "--json")
    refusals = {item["lowering"]: item for item in found["attends"][0]["refusals"]}
    assert "tanh(q + k + c)" in refusals["sdpa"]["location"]["text"]
    assert refusals["sdpa"]["location"]["line"] == 19
    assert refusals["sdpa"]["edit"].startswith("score: dot(q, k)")


def test_the_excerpt_of_a_refusal_is_marked() -> None:
    shown = run("explain", "additive", "--length", "8").stdout
    assert "not sdpa: " in shown
    assert "19 | score: dot(u, tanh(q + k + c))" in shown
    assert "^^^^^^^^^^^^^^^" in shown
    assert "smallest edit: score: dot(q, k)" in shown


@pytest.mark.parametrize(
    ("name", "length", "lowering"),
    [
        ("sliding_window", 16, "sdpa"),
        ("sliding_window", 512, "cpu"),
        ("additive", 8, "dense"),
        ("additive", 4096, "cpu"),
        ("stick_breaking", 512, "dense"),
        ("stick_breaking", 4096, "tiled"),
        ("linear_transformer", 4096, "linear"),
        ("delta_rule", 4096, "chunked"),
    ],
)
def test_the_lowering_is_that_of_the_length(name: str, length: int, lowering: str) -> None:
    small = ("--dim", "d_model=16", "--dim", "heads=2")
    found = run_json("explain", name, "--length", str(length), *small, "--json")
    assert [item["lowering"] for item in found["attends"]] == [lowering]


def test_a_few_queries_take_neither_kernel_nor_tiles() -> None:
    small = ("--dim", "d_model=16", "--dim", "heads=2")
    found = run_json("explain", "star_transformer", "--length", "4096", *small, "--json")
    assert {item["lowering"] for item in found["attends"]} == {"dense"}


def test_weights_that_all_queries_share_are_made_once() -> None:
    shown = run("explain", "aft", "--dim", "form=simple", "--length", "4096").stdout
    assert "heads takes dense" in shown
    for lowering in ("cpu", "tiled"):
        assert f"not {lowering}: all queries share their weights" in shown


def test_what_is_not_taken_for_the_number_of_pairs_is_told() -> None:
    shown = run("explain", "additive", "--length", "8").stdout
    assert "not cpu: a kernel is not worth its making" in shown
    assert "not tiled: the pairs are few" in shown
    assert "not cpu: `Scan` has no form in a kernel" in run("explain", "stick_breaking").stdout


def test_a_call_takes_the_lowering_that_was_told() -> None:
    module = attnc.compile("sliding_window", d_model=8, heads=1).eval()
    assert module.lowering == {"heads": "sdpa"}
    assert module.lowering_at(1024) == {"heads": "cpu"}
    before = set(module._compiled)
    module(torch.randn(1, 1024, 8))
    assert set(module._compiled) == before


def test_specs_inside_are_explained_at_their_own_lengths() -> None:
    sizes = {"d_model": 8, "heads": 1, "latents": 64, "layers": 1}
    module = attnc.compile("perceiver", choices={**sizes, "attention": "soft_cap"}).eval()
    told = module.lowering_at(1024)
    assert told["gathered.heads"] == told["told.heads"] == "cpu"
    assert told["body.0.attended.heads"] == "dense"
    module(torch.randn(1, 1024, 8))
    for name, is_fused in (("body.0.attended", False), ("told", True)):
        inner = module.get_submodule(name)
        met = [key.fused for key in inner._compiled if "context" in key.given]
        assert (True in met) is is_fused


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
