"""Comparing a compiled spec with an independent reference, as PyTorch judges FlexAttention."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from functools import cache

import attnc
import torch
from references.case import Case, Shape
from torch import Tensor

#: modules by spec, dims and lowering: checking a spec takes longer than most tests of it
_COMPILED: dict[tuple[str, str, str], attnc.Module] = {}


@dataclass(frozen=True)
class Setting:
    """One case at one shape, in float64: module, named arguments, injected values."""

    case: Case
    module: attnc.Module
    inputs: dict[str, Tensor]
    inject: dict[str, Tensor]

    def weights(self) -> dict[str, Tensor]:
        """Parameters and frozen random arrays, by state-dict name."""
        arrays = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        return {name: value for name, value in arrays.items() if not name.endswith("_like")}


@cache
def loaded(text: str) -> attnc.Spec:
    """A spec by library name, or by its text."""
    return attnc.loads(text) if "\n" in text else attnc.load(text)


def compiled(case: Case, lowering: str = "auto") -> attnc.Module:
    """The module of a case in float64, with weights drawn so that each of them matters."""
    key = case.spec, str(case.dims), lowering
    if key not in _COMPILED:
        _COMPILED[key] = _drawn(case, lowering)
    return deepcopy(_COMPILED[key])


def _drawn(case: Case, lowering: str) -> attnc.Module:
    module = attnc.compile(loaded(case.spec), lowering=lowering, **case.dims)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator) * 0.4
            bounded = name in module.spec.weights and module.spec.weights[name].bounds
            parameter.copy_(drawn.sigmoid() if bounded else drawn)
    return module.double().eval()


def setting(case: Case, shape: Shape, lowering: str = "auto") -> Setting:
    """A case at one shape, with arguments drawn from a fixed seed."""
    module = compiled(case, lowering)
    generator = torch.Generator().manual_seed(11)
    batch, length, context = shape
    inputs: dict[str, Tensor] = {}
    width = module.spec.dims["d_model"]
    if case.streams:
        inputs["x"] = torch.randn(batch, length, width, generator=generator, dtype=torch.float64)
        if context is not None:
            inputs["context"] = torch.randn(
                batch, context, width, generator=generator, dtype=torch.float64
            )
    inputs |= case.inputs(generator, batch, length, context)
    inject = dict(case.inject(generator, batch, length, context))
    return Setting(case, module, inputs, inject)


def results(made: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    """Results by name, whatever form they have."""
    return dict(made) if isinstance(made, dict) else {"x": made}
