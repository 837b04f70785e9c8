"""Auxiliary losses of library specs, against their references, with their gradients."""

from __future__ import annotations

import pytest
import torch
from agreement import setting
from references.case import Case, Shape
from references.guidance import LOSSES


@pytest.mark.parametrize(
    ("case", "steps", "shape"),
    [(case, steps, shape) for case, steps in LOSSES for shape in case.shapes],
    ids=lambda value: value.name if isinstance(value, Case) else str(value),
)
def test_a_loss_and_its_gradient_equal_the_reference(case: Case, steps: int, shape: Shape) -> None:
    item = setting(case, shape)
    module = item.module.train()
    module.steps = steps
    module(**item.inputs)
    weights = dict(module.named_parameters())
    wanted = case.run(weights, item.inputs)
    assert isinstance(wanted, torch.Tensor)
    found = module.losses()
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    leaves = list(weights.values())
    grads = torch.autograd.grad(found, leaves, allow_unused=True, materialize_grads=True)
    others = torch.autograd.grad(wanted, leaves, allow_unused=True, materialize_grads=True)
    for grad, other in zip(grads, others, strict=True):
        torch.testing.assert_close(grad, other, rtol=1e-9, atol=1e-12)
