"""The forms of a spec, and what is measured of each: forward, and forward with backward."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from torch import nn

from ..module import Module
from .workload import Workload, workload

Part = Literal["forward", "step"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass
class Measured:
    """Seconds and peak bytes by length.

    stopped   why longer inputs were left out, after the length from which on they were
    """

    seconds: dict[int, list[float]] = field(default_factory=dict)
    peak: dict[int, int] = field(default_factory=dict)
    stopped: str = ""

    @property
    def lengths(self) -> list[int]:
        return sorted(self.seconds)

    def median(self, length: int) -> float:
        return statistics.median(self.seconds[length])

    def medians(self) -> dict[int, float]:
        return {length: self.median(length) for length in self.lengths}


@dataclass
class Form:
    """One compiled form of a spec.

    sized     its module for a length, where a dim of the spec grows with it
    compile   what is run in place of a module; the same one each time that it is asked
    forward   the results alone; step: with the gradients
    """

    name: str
    module: Module
    sized: Callable[[int], Module] | None = None
    compile: Callable[[Module], nn.Module] | None = None
    forward: Measured = field(default_factory=Measured)
    step: Measured = field(default_factory=Measured)

    @property
    def lengths(self) -> list[int]:
        return sorted({*self.forward.seconds, *self.step.seconds})

    @property
    def lowering(self) -> dict[str, str]:
        """The lowering of each attend and loop, at the longest inputs so far."""
        return self.lowering_at(max(self.lengths, default=0))

    def lowering_at(self, length: int) -> dict[str, str]:
        return self.at(length).lowering_at(max(length, 1))

    @property
    def is_compiled(self) -> bool:
        """Whether torch.compile has a part in it, which takes long to begin with a length."""
        return self.compile is not None or "flex" in self.module.lowering.values()

    def at(self, length: int) -> Module:
        """The module for inputs of a length; 0: that of the first."""
        return self.module if self.sized is None or not length else self.sized(length)

    def measured(self, part: Part) -> Measured:
        return self.forward if part == "forward" else self.step

    def work(self, length: int, device: str) -> Workload:
        """What is run at a length."""
        module = self.at(length)
        work = workload(module, length, device)
        return work if self.compile is None else replace(work, module=self.compile(module))
