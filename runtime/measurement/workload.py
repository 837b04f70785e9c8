"""What is measured: a forward pass, or a forward and a backward pass, of a module on one call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..examples import example
from ..module import Module

#: what a module may raise when it is run: memory that is not there, lengths that do not fit
FAILURES = (RuntimeError, MemoryError, ValueError, TypeError, IndexError)


@dataclass(frozen=True)
class Workload:
    """A module, in evaluation, or what was compiled of it, and one example for it."""

    module: nn.Module
    call: dict[str, Tensor]

    @property
    def device(self) -> torch.device:
        return next(iter(self.call.values())).device

    def forward(self) -> None:
        """The results alone, without gradients."""
        with torch.no_grad():
            self.module(**self.call)

    def step(self) -> None:
        """The results, and the gradients of their sum for weights and real arguments."""
        call = {name: _leaf(value) for name, value in self.call.items()}
        made = self.module(**call)
        results = made.values() if isinstance(made, dict) else [made]
        sums = [value.sum() for value in results if value.requires_grad]
        if sums:
            torch.stack(sums).sum().backward()
        self.module.zero_grad(set_to_none=True)

    def seconds(self, run: Callable[[], None]) -> float:
        """How long one run takes; on one thread of the CPU without what other processes take."""
        alone = self.device.type == "cpu" and torch.get_num_threads() == 1
        clock = time.process_time if alone else time.perf_counter
        self._wait()
        start = clock()
        run()
        self._wait()
        return clock() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def workload(module: Module, length: int, device: str = "cpu") -> Workload:
    """A module on a random example of a length; keys of their own are as many as queries."""
    call = {name: value.to(device) for name, value in example(module, length).items()}
    return Workload(module.to(device).eval(), call)


def _leaf(value: Tensor) -> Tensor:
    return value.detach().requires_grad_(value.is_floating_point())


def in_words(lowering: dict[str, str]) -> str:
    """`dense, sdpa`; `plain` where there is neither an attend nor a loop."""
    return ", ".join(sorted(set(lowering.values()))) or "plain"


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Torch on a fixed number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
