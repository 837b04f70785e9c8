"""Specs in their limiting cases equal the specs that they become, forward and in the gradient."""

from __future__ import annotations

import attnc
import pytest
import torch
from agreement import loaded, results
from limits import LIMITS, Limit
from references.case import Shape
from torch import Tensor


def module_of(spec: str, dims: object) -> attnc.Module:
    module = attnc.compile(loaded(spec), **dims)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return module.double().eval()


def put(module: attnc.Module, limit: Limit) -> None:
    arrays = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, value in limit.put.items():
        made = value(arrays[name].detach()) if callable(value) else value
        with torch.no_grad():
            arrays[name].copy_(made if isinstance(made, Tensor) else torch.as_tensor(made))


def main(made: Tensor | dict[str, Tensor]) -> Tensor:
    """The result over x, or the first where there is none."""
    found = results(made)
    return found["x"] if "x" in found else next(iter(found.values()))


@pytest.mark.parametrize(
    ("limit", "shape"),
    [(limit, shape) for limit in LIMITS for shape in limit.shapes],
    ids=lambda value: value.name if isinstance(value, Limit) else str(value),
)
def test_a_limiting_case_equals_what_it_becomes(limit: Limit, shape: Shape) -> None:
    module, other = module_of(limit.spec, limit.dims), module_of(limit.equals, limit.equal_dims)
    put(module, limit)
    mapped = limit.weights(dict(module.state_dict()))
    wanted = other.state_dict()
    assert wanted.keys() <= mapped.keys(), f"no weights for {wanted.keys() - mapped.keys()}"
    other.load_state_dict({name: mapped[name] for name in wanted})
    generator = torch.Generator().manual_seed(11)
    batch, length, context = shape
    width = module.spec.dims["d_model"]
    streams = {"x": torch.randn(batch, length, width, generator=generator, dtype=torch.float64)}
    if context is not None:
        size = (batch, context, width)
        streams["context"] = torch.randn(size, generator=generator, dtype=torch.float64)
    side = limit.inputs(generator, batch, length, context)
    other_side = side if limit.other is None else limit.other(generator, batch, length, context)
    inject = limit.inject(generator, batch, length, context)
    for stream in streams.values():
        stream.requires_grad_()
    made = main(module(**streams, **side, **({"inject": inject} if inject else {})))
    expected = main(other(**streams, **other_side))
    torch.testing.assert_close(made, expected, rtol=1e-9, atol=limit.tolerance)
    direction = torch.randn(made.shape, generator=generator, dtype=torch.float64)
    leaves = list(streams.values())
    grads = torch.autograd.grad(made, leaves, direction)
    others = torch.autograd.grad(expected, leaves, direction, materialize_grads=True)
    for grad, same in zip(grads, others, strict=True):
        torch.testing.assert_close(grad, same, rtol=1e-9, atol=10 * limit.tolerance)
