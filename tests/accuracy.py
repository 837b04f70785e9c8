"""Results and gradients in float32 beside those of the plain formula, judged against float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from agreement import Setting, results
from torch import Tensor


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


#: draws that are pooled; the second number where the first, by chance, says no
DRAWS = (6, 128)
#: what is smaller is zero in exact arithmetic, like the gradient of a key's bias under a softmax
NOISE = 1e-12


def is_accurate(item: Setting, gradients_within: tuple[float, float] = (2.0, 8.0)) -> None:
    """Assert that errors of ours are at most twice those of the reference, both in float32."""
    try:
        check_accuracy(item, DRAWS[0], gradients_within)
    except AssertionError:
        # A few draws may be led by one number that the reference rounds luckily. Of many, one whose numbers
        # are large, or nearly cancel, may have all of the squared error: so most of them must do well.
        check_accuracy(item, DRAWS[1], gradients_within, Errors.check_most)


def check_accuracy(
    item: Setting,
    draws: int,
    gradients_within: tuple[float, float],
    check: Callable[[Errors, str, float, float], None] | None = None,
) -> None:
    """The same, over some draws of weights and tokens, which are pooled if no other check is given."""
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
    check = check or Errors.check
    for name, errors in outputs.items():
        check(errors, name, 2.0, 8.0)
    for name, errors in gradients.items():
        check(errors, name, *gradients_within)


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

    def check(
        self, name: str, factor: float, most: float, dtype: torch.dtype = torch.float32
    ) -> None:
        """rms at most `factor` times the reference's, its maximum `most` times; floor an ulp."""
        ours, theirs, truth = (torch.cat(part) for part in (self.ours, self.theirs, self.size))
        size = truth.square().mean().sqrt()
        if size < NOISE:
            factor = 8.0
        ulp = torch.finfo(dtype).eps * size
        rms, limit = ours.square().mean().sqrt(), theirs.square().mean().sqrt()
        assert rms <= torch.maximum(factor * limit, ulp), f"{name}: {rms:.3g} to {limit:.3g}"
        worst, bound = ours.abs().amax(), theirs.abs().amax()
        assert worst <= torch.maximum(most * bound, 8 * ulp), f"{name}: {worst:.3g} to {bound:.3g}"

    def check_most(self, name: str, factor: float, most: float) -> None:
        """The rms of half of the draws at most `factor` times the reference's, of 8 in 10 `most` times.

        Two errors of one number that are alike have a ratio beyond 2 in 30 % of all draws, beyond 8 in 8 %.
        """
        pairs = list(zip(self.ours, self.theirs, self.size, strict=True))
        for limit, share in ((factor, 0.5), (most, 0.8)):
            within = [_is_within(*pair, limit) for pair in pairs]
            assert sum(within) >= share * len(pairs), f"{name}: {sum(within)} of {len(pairs)} draws"


def _is_within(ours: Tensor, theirs: Tensor, truth: Tensor, factor: float) -> bool:
    size, rms, limit = (item.square().mean().sqrt() for item in (truth, ours, theirs))
    factor = 8.0 if size < NOISE else factor
    return bool(rms <= max(factor * limit, torch.finfo(torch.float32).eps * size))
