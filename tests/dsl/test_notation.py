"""Expressions as mathematics: what is written means what the expression does."""

from __future__ import annotations

import pytest
from attnc.dsl import api
from attnc.dsl.diagnostics import Report
from attnc.dsl.library import library_paths
from attnc.dsl.notation import formula, notation
from attnc.dsl.parser import parse_text
from attnc.dsl.source import Source
from attnc.dsl.typed import TypedSpec


def shown(text: str) -> str:
    report = Report()
    expr = parse_text(text, None, report)
    assert expr is not None, report.diagnostics
    return notation(expr, TypedSpec("mine"), "q")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a - (b - c)", "a − (b − c)"),
        ("a + -b", "a − b"),
        ("a * (b + c)", "a (b + c)"),
        ("a / b * c", "(a / b) c"),
        ("a / (b * c)", "a / (b c)"),
        ("a * dot(u, w)", "a (u · w)"),
        ("dot(q, k) / sqrt(d_head)", "q · k / √d_head"),
        ("sqrt(a + b)", "√(a + b)"),
        ("a ** 2", "a²"),
        ("(a + b) ** -1", "(a + b)⁻¹"),
        ("2 ** (a + b)", "2^(a + b)"),
        ("-a * b", "−a b"),
        ("a * 2", "a × 2"),
        ("sum(a, over=j) * b", "(Σ_j a) b"),
        ("sum(a * b, over=j)", "Σ_j (a b)"),
        ("sum(a, over=[h, j])", "Σ_{h,j} a"),
        ("cumsum(a, over=x)", "cumsum_i a"),
        ("cumsum(a, over=x, exclusive=true)", "cumsum_{<i} a"),
        ("cumsum(a * b, over=context, reverse=true)", "cumsum_{≥j} (a b)"),
        ("cumsum(a, reverse=true, over=j, exclusive=true)", "cumsum_{>j} a"),
        ("cumsum(a, over=rows, exclusive=false)", "cumsum_{rows} a"),
        ("cumsum(a, over=j, reverse=back)", "cumsum_{j, reverse=back} a"),
        ("max(a, b)", "max(a, b)"),
        ("softmax(s, j) * w", "(softmax_j s) w"),
        ("abs(i - j)", "|i − j|"),
        ("a // b % c", "⌊a / b⌋ mod c"),
        ("i <= j and not a or b", "i ≤ j ∧ ¬a ∨ b"),
        ("all and i <= j", "i ≤ j"),
        ("real(i == j)", "[i = j]"),
        ("where(a < b, 1, 2)", "{1 if a < b, else 2}"),
        ("linear(a, to=[h])", "W_q a + b_q"),
        ("linear(a, to=[h], bias=false, as=up)", "W_up a"),
        ("concat(a, b)", "[a; b]"),
        ("outer(a, b)", "a ⊗ b"),
        ("transpose(a + b)", "(a + b)ᵀ"),
        ("alpha * sigmoid(beta)", "α σ(β)"),
        ("q[i, 0]", "q[i,0]"),
        ("1e-6", "1e−06"),
    ],
)
def test_expressions_are_written_as_in_papers(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize("name", library_paths())
def test_every_spec_of_the_library_has_a_formula(name: str) -> None:
    checked = api.check(name=name)
    assert checked.document is not None
    assert checked.spec is not None
    lines = formula(checked.document, checked.spec)
    assert lines
    assert not any("super" in line or "Defined" in line for line in lines)


def test_indices_come_from_types_and_super_is_written_out() -> None:
    text = "attnc: 1\nname: mine\nextends: softmax\nscore: super - abs(i - j)\nmask: causal\n"
    checked = api.check(source=Source("mine", text))
    assert checked.document is not None
    assert checked.spec is not None
    lines = formula(checked.document, checked.spec)
    assert "S[h,i,j] = q[h,i] · k[g,j] / √d_head − |i − j|    if causal, else −∞" in lines
    assert lines[-1] == "  causal = time(j) ≤ time(i)"


def test_losses_and_updates_are_equations_with_the_macros_that_they_use() -> None:
    text = (
        "attnc: 1\nname: mine\nextends: softmax\ndims: {cost: 0.1}\n"
        "buffers:\n  centre: {shape: [h], init: zeros}\n"
        'macros: {"mix(u)": 0.9 * centre + 0.1 * u}\n'
        "updates: {centre: 'mix(mean(heads.lse, over=[b, x]))'}\n"
        "losses:\n"
        "  diffuse: {value: heads.lse ** 2, weight: 'cost * min(step, 1)'}\n"
        "  own: {value: 'mean(heads.lse, over=[b, h, x])', weight: 2}\n"
        "  plain: {value: centre}\n"
    )
    checked = api.check(source=Source("mine", text))
    assert checked.document is not None
    assert checked.spec is not None, checked.diagnostics
    assert formula(checked.document, checked.spec)[-7:] == [
        "loss_diffuse = cost min(step, 1) (mean_{b,h,i} heads.lse[h,i]²)",
        "loss_own = 2 (mean_{b,h,i} heads.lse[h,i])",
        "loss_plain = mean_h centre[h]",
        "centre[h] ⟵ mix(mean_{b,i} heads.lse[h,i])    after each training step",
        "where",
        "  g = ⌊h kv_heads / heads⌋",
        "  mix(u) = 0.9 centre + 0.1 u",
    ]
