"""Every library spec, in every lowering, against its independent reference and against the oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import attnc
import pytest
import torch
from agreement import Setting, results, setting
from attnc.runtime.oracle import evaluate
from references import CASES, Case
from references.case import Shape
from torch import Tensor

RUNS = [(case, shape) for case in CASES for shape in case.shapes]
LOWERINGS = ("auto", "dense")


def run_id(value: object) -> str:
    return value.name if isinstance(value, Case) else str(value)


def cotangents(made: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fixed directions in which results are differentiated."""
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in sorted(made.items())
    }


def with_gradients(
    run: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]], leaves: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Results, and the gradient of their sum against the cotangents for every leaf."""
    made = dict(run(leaves))
    total = sum((value.double() * cotangents(made)[name]).sum() for name, value in made.items())
    assert isinstance(total, Tensor)
    names = [name for name, leaf in leaves.items() if leaf.requires_grad]
    grads = torch.autograd.grad(total, [leaves[name] for name in names], allow_unused=True)
    found = zip(names, grads, strict=True)
    return made, {n: torch.zeros_like(leaves[n]) if g is None else g for n, g in found}


def leaves_of(item: Setting, dtype: torch.dtype) -> dict[str, Tensor]:
    """Weights and real arguments as differentiable leaves of a dtype."""
    arrays = {**{f"w:{k}": v for k, v in item.weights().items()}, **item.inputs, **item.inject}
    found = {}
    for name, value in arrays.items():
        if not value.is_floating_point():
            found[name] = value
            continue
        leaf = value.detach().to(dtype)
        found[name] = leaf.requires_grad_(name not in item.inject)
    return found


def weights_in(leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[2:]: value for name, value in leaves.items() if name.startswith("w:")}


def arguments_in(leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in leaves.items() if not name.startswith("w:")}


def by_reference(item: Setting) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    return lambda leaves: results(item.case.run(weights_in(leaves), arguments_in(leaves)))


def by_module(item: Setting, dtype: torch.dtype) -> Callable[..., dict[str, Tensor]]:
    module = item.module.to(dtype)

    def run(leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arguments = arguments_in(leaves)
        inject = {name: arguments.pop(name) for name in item.inject}
        call = {**arguments, **({"inject": inject} if inject else {})}
        return results(torch.func.functional_call(module, weights_in(leaves), (), call))

    return run


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


#: draws that are pooled; the second number where the first, by chance, says no
DRAWS = (6, 48)


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("case", CASES, ids=run_id)
def test_float32_is_as_accurate_as_the_reference(case: Case, lowering: str) -> None:
    item = setting(case, case.shapes[-1], lowering)
    fused = "sdpa" in item.module.lowering.values()
    try:
        check_accuracy(item, DRAWS[0], fused)
    except AssertionError:
        # a few draws may be led by one number that the reference rounds luckily
        check_accuracy(item, DRAWS[1], fused)


def check_accuracy(item: Setting, draws: int, fused: bool) -> None:
    """Errors of ours beside those of the reference, both in float32, pooled over draws."""
    outputs: dict[str, Errors] = {}
    gradients: dict[str, Errors] = {}
    for draw in range(draws):
        redrawn = redraw(item, draw)
        wide, single = leaves_of(redrawn, torch.float64), leaves_of(redrawn, torch.float32)
        exact = with_gradients(by_reference(redrawn), wide)
        plain = with_gradients(by_reference(redrawn), single)
        ours = with_gradients(by_module(redrawn, torch.float32), single)
        for place, errors in enumerate((outputs, gradients)):
            for name, truth in exact[place].items():
                found = errors.setdefault(name, Errors())
                found.add(truth, plain[place][name], ours[place][name])
    for name, errors in outputs.items():
        errors.check(name, 2.0, 8.0)
    for name, errors in gradients.items():
        # torch's fused CPU kernel recomputes the weights in its backward, from a rounded lse
        errors.check(name, *((5.0, 20.0) if fused else (2.0, 8.0)))


def redraw(item: Setting, draw: int) -> Setting:
    """The same call with other weights and streams, so that errors can be pooled."""
    generator = torch.Generator().manual_seed(100 + draw)
    module = item.module.double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator) * 0.4
            info = module.spec.weights.get(name)
            parameter.copy_(drawn.sigmoid() if info and info.bounds else drawn)
    inputs = dict(item.inputs)
    for name in ("x", "context"):
        if name in inputs:
            shape = inputs[name].shape
            inputs[name] = torch.randn(shape, generator=generator, dtype=torch.float64)
    return Setting(item.case, module, inputs, item.inject)


@dataclass
class Errors:
    """Squared errors of ours and of the reference, pooled over draws; the worst of each."""

    ours: list[Tensor] = field(default_factory=list)
    theirs: list[Tensor] = field(default_factory=list)
    size: list[Tensor] = field(default_factory=list)

    def add(self, truth: Tensor, reference: Tensor, found: Tensor) -> None:
        self.ours.append((found.double() - truth).flatten())
        self.theirs.append((reference.double() - truth).flatten())
        self.size.append(truth.flatten())

    def check(self, name: str, factor: float, most: float) -> None:
        """rms at most `factor` times the reference's, its maximum `most` times; floor an ulp."""
        ours, theirs, truth = (torch.cat(part) for part in (self.ours, self.theirs, self.size))
        size = truth.square().mean().sqrt()
        if size < 1e-12:  # zero in exact arithmetic, like a key bias under a softmax: noise alone
            factor = 8.0
        ulp = torch.finfo(torch.float32).eps * size
        rms, limit = ours.square().mean().sqrt(), theirs.square().mean().sqrt()
        assert rms <= torch.maximum(factor * limit, ulp), f"{name}: {rms:.3g} to {limit:.3g}"
        worst, bound = ours.abs().amax(), theirs.abs().amax()
        assert worst <= torch.maximum(most * bound, 8 * ulp), f"{name}: {worst:.3g} to {bound:.3g}"


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
