"""How a spec scales: time and memory over the length, beside its dense form.

First each form is taken to ever longer inputs, with its memory and one timing, until the next length would cost too much; then all lengths of all forms are timed in turns, so that a slow spell of the machine meets all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from ..module import Module
from .growth import Exponent, exponent
from .memory import peak_bytes
from .workload import FAILURES, workload

#: the part of a form's seconds that finds how far it goes; what is left is for repeats
EXPLORING = 0.5
#: least and most that the next length, twice as long, is thought to need in place of the last
GROWTH = (2.0, 4.5)
#: `auto` may try what seems to need so many times the bytes: it takes leaner lowerings when long
ROOM = 2

Watch = Callable[[str, int], None]


@dataclass(frozen=True)
class Limits:
    """When to stop: seconds for a form, bytes for a run, repeats for a median."""

    seconds: float = 60.0
    bytes: int = 2 << 30
    repeats: int = 5


@dataclass
class Form:
    """One compiled form of a spec and what was measured of it, by length.

    sized     its module for a length, where a dim of the spec grows with it
    stopped   why longer inputs were left out
    """

    name: str
    module: Module
    sized: Callable[[int], Module] | None = None
    forward: dict[int, list[float]] = field(default_factory=dict)
    step: dict[int, list[float]] = field(default_factory=dict)
    memory: dict[int, int] = field(default_factory=dict)
    stopped: str = ""

    @property
    def lengths(self) -> list[int]:
        return sorted(self.step)

    @property
    def lowering(self) -> dict[str, str]:
        """The lowering of each attend and loop, at the longest inputs so far."""
        longest = max(self.lengths, default=0)
        return self.at(longest).lowering_at(max(longest, 1))

    def at(self, length: int) -> Module:
        """The module for inputs of a length; 0: that of the first."""
        return self.module if self.sized is None or not length else self.sized(length)

    def median(self, what: str, length: int) -> float:
        """The median of `forward` or `step` in seconds."""
        samples: Mapping[int, list[float]] = getattr(self, what)
        return statistics.median(samples[length])

    def medians(self, what: str) -> dict[int, float]:
        return {length: self.median(what, length) for length in self.lengths}


@dataclass(frozen=True)
class Scaling:
    """A spec over lengths: the form that `auto` takes, and the dense one where it is another."""

    own: Form
    dense: Form | None

    @property
    def time(self) -> Exponent:
        return exponent(self.own.module.spec, "time", self.own.medians("step"))

    @property
    def memory(self) -> Exponent:
        values = {length: float(size) for length, size in self.own.memory.items()}
        return exponent(self.own.module.spec, "memory", values)

    @property
    def crossing(self) -> int | None:
        """The first length from which on, as far as both go, it is faster than the dense form.

        Both forward alone, and forward with backward.
        """
        if self.dense is None:
            return None
        first = None
        for length in self.dense.lengths:
            if length in self.own.step:
                first = (first or length) if self._is_faster(length) else None
        return first

    def _is_faster(self, length: int) -> bool:
        assert self.dense is not None
        return all(
            self.own.median(what, length) < self.dense.median(what, length)
            for what in ("forward", "step")
        )


def scale(
    forms: Sequence[Form], lengths: Sequence[int], limits: Limits, watch: Watch, device: str = "cpu"
) -> Scaling:
    """Measure the form of `auto`, and after it the dense one if there is one that differs."""
    own, *others = forms
    _explore(own, lengths, limits, watch, device)
    differing = [form for form in others if form.lowering != own.lowering]
    for form in differing:
        _explore(form, lengths, limits, watch, device)
    _repeat([own, *differing], limits, watch, device)
    return Scaling(own, differing[0] if differing else None)


def _explore(form: Form, lengths: Sequence[int], limits: Limits, watch: Watch, device: str) -> None:
    """Memory and one timing at each length, until the next one would cost too much."""
    left = limits.seconds * EXPLORING
    most = limits.bytes * (ROOM if form.name == "auto" else 1)
    costs: list[tuple[float, int]] = []
    for number, length in enumerate((lengths[0], *lengths)):  # once more, to warm up
        form.stopped = _too_much(length, costs, left, most)
        if form.stopped:
            return
        watch(form.name, length)
        try:
            spent = _first(form, length, device)
        except FAILURES as error:
            form.stopped = f"{length}: {_first_line(error)}"
            return
        left -= spent
        if number:
            costs.append((spent, form.memory[length]))


def _too_much(length: int, costs: list[tuple[float, int]], left: float, most: int) -> str:
    """Why a length is not tried, told from the lengths before it; empty when it is."""
    if not costs:
        return ""
    seconds, size = (_expected([cost[part] for cost in costs]) for part in (0, 1))
    if size > most:
        return f"{length}: it would need about {size / 2**30:.1f} GiB"
    if seconds > left:
        return f"{length}: it would take about {seconds:.0f} s, and {max(left, 0):.0f} s are left"
    return ""


def _expected(values: Sequence[float]) -> float:
    """The next of values that grow: by as much as last time, within reason."""
    low, high = GROWTH
    ratio = values[-1] / values[-2] if len(values) > 1 and values[-2] else high
    return values[-1] * min(max(ratio, low), high)


def _first(form: Form, length: int, device: str) -> float:
    """What the runs at a length take; what the first of them has to build is not counted."""
    work = workload(form.at(length), length, device)
    form.memory[length] = peak_bytes(work.step, torch.device(device))
    forward, step = work.seconds(work.forward), work.seconds(work.step)
    form.forward[length], form.step[length] = [forward], [step]
    return forward + 2 * step


def _repeat(forms: Sequence[Form], limits: Limits, watch: Watch, device: str) -> None:
    """Time all lengths of all forms in turns, as long as there is time."""
    end = time.perf_counter() + limits.seconds * (1 - EXPLORING) * len(forms)
    for _ in range(limits.repeats - 1):
        for length in sorted({length for form in forms for length in form.lengths}):
            for form in forms:
                if length in form.step and _fits(form, length, end):
                    watch(form.name, length)
                    _again(form, length, device)


def _fits(form: Form, length: int, end: float) -> bool:
    needed = form.step[length][0] + form.forward[length][0]
    return time.perf_counter() + needed < end


def _again(form: Form, length: int, device: str) -> None:
    work = workload(form.at(length), length, device)
    form.forward[length].append(work.seconds(work.forward))
    form.step[length].append(work.seconds(work.step))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
