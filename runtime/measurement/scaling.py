"""How a spec scales: time and memory over the length, beside its dense form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .forms import PARTS, Form
from .growth import Exponent, exponent
from .measuring import Limits, Watch, explore, repeat


@dataclass(frozen=True)
class Scaling:
    """A spec over lengths: the form that `auto` takes, and the dense one where it is another."""

    own: Form
    dense: Form | None

    @property
    def time(self) -> Exponent:
        return exponent(self.own.module.spec, "time", self.own.step.medians())

    @property
    def memory(self) -> Exponent:
        values = {length: float(size) for length, size in self.own.step.peak.items()}
        return exponent(self.own.module.spec, "memory", values)

    @property
    def crossing(self) -> int | None:
        """The first length from which on, as far as both go, it is faster than the dense form.

        Both forward alone, and forward with backward.
        """
        if self.dense is None:
            return None
        first = None
        parts = [form.measured(part) for form in (self.own, self.dense) for part in PARTS]
        for length in self.dense.step.lengths:
            if all(length in part.lengths for part in parts):
                first = (first or length) if self._is_faster(length) else None
        return first

    def _is_faster(self, length: int) -> bool:
        assert self.dense is not None
        return all(
            self.own.measured(part).median(length) < self.dense.measured(part).median(length)
            for part in PARTS
        )


def scale(
    forms: Sequence[Form], lengths: Sequence[int], limits: Limits, watch: Watch, device: str = "cpu"
) -> Scaling:
    """Measure the form of `auto`, and after it the dense one if there is one that differs."""
    own, *others = forms
    explore(own, lengths, limits, watch, device)
    differing = [form for form in others if form.lowering != own.lowering]
    for form in differing:
        explore(form, lengths, limits, watch, device)
    repeat([own, *differing], lengths, limits, watch, device)
    return Scaling(own, differing[0] if differing else None)
