"""z3 as a second opinion: what it proves beyond our prover, and what it may not be believed in."""

from __future__ import annotations

import pytest
from attnc.dsl.api import check
from attnc.dsl.proofs import solver as solvers
from attnc.dsl.proofs.claims import claims
from attnc.dsl.proofs.facts import facts_of
from attnc.dsl.proofs.solver import Solver, solver_or_none
from attnc.dsl.source import Source
from attnc.dsl.typed import TypedSpec

pytestmark = pytest.mark.skipif(
    solver_or_none() is None, reason="z3 is not installed: pip install attnc[proofs]"
)


def spec(mask: str) -> TypedSpec:
    text = f'attnc: 1\nname: hard\ncontext: same\ninputs:\n  label: {{type: int, over: x}}\nmask: "{mask}"\n'
    found = check(source=Source("hard", text), dims={"d_model": 8, "heads": 2}).spec
    assert found is not None
    return found


def verdict(mask: str, fact: str, solver: Solver | None) -> str:
    facts = facts_of(spec(mask), solver=solver)[0].facts
    return next(item.verdict for item in facts if item.name == fact)


@pytest.mark.parametrize(
    ("mask", "fact", "answer"),
    [
        ("j * j <= i * j and j > 0", "causal", "proved"),
        ("(i * i) % 4 == 2 or j <= i", "causal", "proved"),
        ("j * 3 % 7 == i % 7", "no empty row", "refuted"),
    ],
)
def test_z3_decides_what_our_prover_leaves_open(mask: str, fact: str, answer: str) -> None:
    assert verdict(mask, fact, None) in ("unknown", answer)
    assert verdict(mask, fact, Solver()) == answer


def test_a_model_that_the_predicates_do_not_confirm_is_no_refutation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lie(self: Solver, *args: object) -> tuple[str, solvers.Found]:
        return "unknown", solvers.Found({}, {})

    monkeypatch.setattr(Solver, "decide", lie)
    monkeypatch.setattr(Solver, "decide_empty", lie)
    assert verdict("j * j <= i * j and j > 0", "causal", Solver()) == "unknown"


def test_equal_tokens_have_equal_labels() -> None:
    one, two = spec("label[i] == label[j]"), spec("label[i] == label[j] or i == j")
    assert claims(one, two, "equals", solver=Solver())[0].fact.verdict == "proved"


def test_a_question_has_a_time_limit() -> None:
    mask = "i * i * i + j * j * j == (i + 1) * (j + 2) * (j + 3) + 1"
    facts_of(spec(mask), solver=Solver(timeout_ms=50))
