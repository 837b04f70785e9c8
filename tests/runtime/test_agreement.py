"""Every library spec, in every lowering, against its independent reference and against the oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attnc
import pytest
import torch
from accuracy import (
    arguments_in,
    by_module,
    by_reference,
    is_accurate,
    leaves_of,
    weights_in,
    with_gradients,
)
from agreement import Setting, results, setting
from attnc.runtime.oracle import evaluate
from references import CASES, Case
from references.case import Shape
from torch import Tensor

RUNS = [(case, shape) for case in CASES for shape in case.shapes]
LOWERINGS = ("auto", "dense")


def run_id(value: object) -> str:
    return value.name if isinstance(value, Case) else str(value)


@pytest.mark.parametrize(("case", "shape"), RUNS, ids=run_id)
def test_float64_equals_the_reference_and_the_oracle(case: Case, shape: Shape) -> None:
    item = setting(case, shape)
    leaves = leaves_of(item, torch.float64)
    wanted = with_gradients(by_reference(item), leaves)
    judged = with_gradients(by_oracle(item), leaves)
    for lowering in LOWERINGS:
        made = with_gradients(by_module(setting(case, shape, lowering), torch.float64), leaves)
        assert made[0].keys() == wanted[0].keys()
        for found, reference, oracle in zip(made, wanted, judged, strict=True):
            for name, value in reference.items():
                torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-8)
                torch.testing.assert_close(
                    found[name], oracle[name].expand_as(found[name]), rtol=1e-8, atol=1e-8
                )


def by_oracle(item: Setting) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    def run(leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arguments = arguments_in(leaves)
        inject = {name: arguments.pop(name) for name in item.inject}
        return evaluate(item.module.spec, weights_in(leaves), arguments, inject=inject)

    return run


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("case", CASES, ids=run_id)
def test_float32_is_as_accurate_as_the_reference(case: Case, lowering: str) -> None:
    item = setting(case, case.shapes[-1], lowering)
    # torch's fused CPU kernel recomputes the weights in its backward, from a rounded lse
    fused = "sdpa" in item.module.lowering.values()
    is_accurate(item, (5.0, 20.0) if fused else (2.0, 8.0))


@pytest.mark.parametrize("case", CASES, ids=run_id)
def test_padding_agrees_with_the_oracle(case: Case) -> None:
    if not case.streams:
        pytest.skip("a model over token ids: its attends are padded in the cases of their specs")
    item = setting(case, case.shapes[0])
    batch, length = item.inputs["x"].shape[:2]
    valid = torch.ones(batch, length, dtype=torch.bool)
    valid[0, length // 2 :] = False
    given = {"valid": valid}
    if "context" in item.inputs:
        keys = torch.ones(item.inputs["context"].shape[:2], dtype=torch.bool)
        keys[-1, 1:] = False
        given["context_valid"] = keys
    call = {**item.inputs, **({"inject": item.inject} if item.inject else {})}
    made = results(item.module(**call, **given))
    wanted = evaluate(item.module.spec, item.weights(), item.inputs, inject=item.inject, **given)
    for name, value in wanted.items():
        torch.testing.assert_close(made[name], value.expand_as(made[name]), rtol=1e-9, atol=1e-9)


def test_every_built_in_spec_has_a_reference() -> None:
    covered = {case.spec for case in CASES}
    texts = [case.spec for case in CASES if "\n" in case.spec]
    for name in attnc.library():
        assert name in covered or any(name in text for text in texts), name
