"""`attnc list`: what it says of the library is what the compiler and the files say."""

from __future__ import annotations

import subprocess
import sys

import attnc
import pytest
from attnc.dsl import api
from attnc.dsl.growth import growth
from attnc.dsl.library import library_paths
from attnc.dsl.reasons import REASONS
from attnc.runtime.cli._fits import MANY, SHORT, lowering_at
from command_line import run, run_json


def test_every_spec_is_listed_with_its_cost() -> None:
    rows = {row["name"]: row for row in run_json("list", "--json")}
    assert set(rows) == set(library_paths())
    assert all(row["cost"] for row in rows.values())
    assert rows["additive"]["family"] == "additive"
    assert rows["additive"]["cost"] == "N M H (a + d_value) in time"
    assert rows["causal_additive"]["declared"] == rows["causal_additive"]["derived"] == "strict"
    assert rows["softmax"]["lowerings"] == ["sdpa", "cpu"]
    assert rows["additive"]["lowerings"] == ["dense", "cpu"]
    assert rows["sac"]["lowerings"] == ["dense", "loop", "tiled"]
    assert rows["sinusoidal"]["lowerings"] == ["plain"]


def test_a_family_and_a_word_choose_rows() -> None:
    rows = run_json("list", "rotary", "--family", "positions", "--json")
    assert [row["name"] for row in rows] == ["rope"]


def test_an_unknown_family_is_a_wrong_call_that_names_them_all() -> None:
    assert "there are additive, content" in run("list", "--family", "x", code=2).stderr


def test_a_word_that_nothing_mentions_is_told() -> None:
    assert "no spec mentions `zebra`" in run("list", "zebra", "--family", "core", code=1).stderr


def test_the_table_shows_names_and_contracts() -> None:
    shown = run("list", "--family", "core", COLUMNS="160").stdout
    assert "causal_softmax" in shown
    assert "none (derived)" in shown


def test_operators_know_who_uses_them() -> None:
    rows = {row["name"]: row for row in run_json("list", "--operators", "--json")}
    assert "additive" in rows["tanh"]["specs"]
    assert "alibi" in rows["abs"]["specs"]
    assert rows["softmax"]["kind"] == "macro"
    assert rows["@"]["usage"] == "a @ b"
    assert all(row["meaning"] for row in rows.values())


@pytest.mark.parametrize("name", library_paths())
def test_the_lowerings_are_what_the_compiler_chooses(name: str) -> None:
    module = attnc.compile(name, d_model=64).eval()
    for length in (SHORT, MANY):
        assert lowering_at(module.spec, length) == module.lowering_at(length)


def test_the_lowerings_are_told_without_torch() -> None:
    code = "import sys; from attnc.runtime.cli._library import row; row('alibi'); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", library_paths())
def test_every_spec_claims_its_cost(name: str) -> None:
    spec = api.check(name=name).spec
    assert spec is not None
    for part in ("time", "memory"):
        short, long = (growth(spec, part, length, length) for length in (1024, 4096))
        assert short, f"`{name}` claims no {part}"
        assert long, f"`{name}` claims no {part}"
        assert short < long


def test_an_operator_that_serves_fewer_than_two_specs_has_a_reason() -> None:
    few = {
        row["name"] for row in run_json("list", "--operators", "--json") if len(row["specs"]) < 2
    }
    assert few == set(REASONS)
