"""`attnc show`: each form of a spec."""

from __future__ import annotations

import pytest
from attnc.dsl import api
from attnc.dsl.library import library_paths
from attnc.dsl.source import Source
from command_line import GOOD, run, run_json


def test_the_page_has_formula_parameters_and_weights() -> None:
    shown = run("show", "additive").stdout
    assert "S[h,i,j] = u[h] · tanh(q[h,i] + k[h,j] + c[h])" in shown
    assert "Additive (Bahdanau) scores" in shown
    assert "d_model // heads" in shown
    assert "[h, d_align] = (8, 64)" in shown


def test_the_page_as_json() -> None:
    page = run_json("show", "longformer", "--json")
    window = next(dim for dim in page["dims"] if dim["name"] == "window")
    assert window == {"name": "window", "value": 512, "default": "512", "limits": "multiple of 2"}
    assert page["inputs"] == [{"name": "glob", "type": "bool{b, x}", "default": "default false"}]


def test_text_is_the_file() -> None:
    text = library_paths()["additive"].read_text("utf-8")
    assert run("show", "additive", "--stage", "text").stdout == text


def test_syntax_names_the_origin_of_each_line() -> None:
    shown = run("show", "causal_additive", "--stage", "syntax").stdout
    assert "specs/additive/additive.yaml:19" in shown
    mask = next(line for line in shown.splitlines() if line.startswith("mask:"))
    assert mask.startswith("mask: all and causal")
    assert mask.endswith("# specs/core/causal.yaml:10, specs/core/softmax.yaml:16")


@pytest.mark.parametrize("name", library_paths())
def test_syntax_is_a_spec_that_means_the_same(name: str) -> None:
    shown = run("show", name, "--stage", "syntax").stdout
    again = api.check(source=Source(name, shown))
    assert again.report.errors == ()
    assert again.spec is not None
    original = api.check(name=name).spec
    assert original is not None
    if not original.uses:  # inner specs are other objects each time
        assert again.spec.outputs == original.outputs


def test_spec_lists_types() -> None:
    shown = run("show", "longformer", "--stage", "spec").stdout
    assert "  glob  bool{b, x}  default false\n" in shown
    assert "  local  real{b, h, x}[d_value]        attend\n" in shown


def test_ir_has_a_line_per_value_and_blocks() -> None:
    shown = run("show", "additive", "--stage", "ir", "--dim", "heads=4").stdout
    assert shown.startswith("program additive (d_model=512, heads=4")
    assert "%heads : real{b, h, x}[d_value] = attend x -> context\n        mask true\n" in shown
    assert "tanh(" in shown
    assert shown.endswith("    yield x = %out\n")


def test_ir_shows_each_inner_spec_once() -> None:
    shown = run("show", "language_model", "--stage", "ir").stdout
    assert shown.count("program block ") == 1
    assert shown.count("program causal_softmax ") == 1


def test_fx_is_readable_python() -> None:
    assert "def forward(self, x):" in run("show", "softmax", "--stage", "fx").stdout


def test_standard_input_is_shown_too() -> None:
    assert "S[h,i,j] = q[h,i] · k[g,j] / √d_head" in run("show", "-", input=GOOD).stdout


def test_a_stage_as_json() -> None:
    assert run_json("show", "softmax", "--stage", "spec", "--json")["stage"] == "spec"


def test_an_unknown_spec_exits_1() -> None:
    assert "did you mean `softmax`?" in run("show", "sofmax", code=1).stderr
