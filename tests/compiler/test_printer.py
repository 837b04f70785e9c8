"""Programs as text: every value once, before its use, blocks inside what they belong to."""

from __future__ import annotations

import re

import pytest
from attnc.compiler.passes import run_passes
from attnc.compiler.printer import print_program
from attnc.compiler.program import Program, Signature
from attnc.dsl import api
from attnc.dsl.library import library_paths


def text_of(name: str, passes: bool = True, **dims: int) -> str:
    spec = api.check(name=name, dims=dims).spec
    assert spec is not None
    program = Program(spec, Signature(), dict(spec.outputs))
    return print_program(run_passes(program) if passes else program)


def test_an_attend_shows_mask_score_value_and_normalizer() -> None:
    shown = text_of("dot_product", passes=False, d_model=8)
    assert shown.startswith("program dot_product (d_model=8")
    assert "%q : real{b, x}[d_model] = linear(x, name=q, to_dims=[d_model], bias=false)" in shown
    attend = shown[shown.index("= attend x -> context\n") :]
    found = [attend.index(f"        {part}") for part in ("score", "value", "normalize")]
    assert found == sorted(found)


def test_a_loop_shows_carry_step_and_yield() -> None:
    shown = text_of("delta_rule", d_model=8, heads=2)
    assert "%memory : real{b, h, x}[d_value] = recur x\n        carry memory.w = " in shown
    assert "        next memory.w = %" in shown


@pytest.mark.parametrize("name", library_paths())
def test_every_value_stands_before_its_use(name: str) -> None:
    shown = text_of(name, passes=False)
    known: list[set[str]] = []
    for line in shown.splitlines()[1:]:
        depth = (len(line) - len(line.lstrip())) // 4
        del known[depth:]
        known += [set() for _ in range(depth - len(known))]
        made, sign, value = line.strip().partition(" = ") if " : " in line else ("", "", line)
        uses = re.findall(r"%([\w.']+)", value if sign else line)
        seen = set().union(*known)
        missing = [use for use in uses if use not in seen and use.rstrip(".") not in seen]
        assert not missing, line
        if sign:
            known[depth - 1].add(made.split(" : ")[0].removeprefix("%"))
