"""Forms of a spec measured over lengths.

First each form is taken to ever longer inputs, with its memory and one timing, until the next length would cost too much; then all lengths of all forms are timed in turns, so that a slow spell of the machine meets all of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

from .forms import PARTS, Form, Part
from .memory import peak_bytes
from .workload import FAILURES

#: of a form at a length before it is timed in turns
RUNS = 3
#: the part of a form's seconds that finds how far it goes; what is left is for repeats
EXPLORING = 0.5
#: least and most that the next length, twice as long, is thought to need in place of the last
GROWTH = (2.0, 4.5)
#: `auto` may try what seems to need so many times the bytes: it takes leaner lowerings when long
ROOM = 2


class Watch(Protocol):
    """Told of each run before it begins; a note says what it does beside being measured."""

    def __call__(self, form: str, length: int, note: str = "") -> None: ...


@dataclass(frozen=True)
class Limits:
    """When to stop: seconds for a form, bytes for a run, repeats for a median."""

    seconds: float = 60.0
    bytes: int = 2 << 30
    repeats: int = 5


class Cost(NamedTuple):
    """What a length took: seconds to be built or compiled, seconds of runs, bytes."""

    ready: float
    seconds: float
    size: int


def measure(
    forms: Sequence[Form],
    lengths: Sequence[int],
    limits: Limits,
    watch: Watch,
    device: str = "cpu",
    *,
    approach: Sequence[int] = (),
) -> None:
    """Measure each form by itself, then all of them in turns.

    approach   lengths that tell what the first one costs before it is tried
    """
    for form in forms:
        explore(form, [*approach, *lengths], limits, watch, device)
    repeat(forms, lengths, limits, watch, device)


def explore(form: Form, lengths: Sequence[int], limits: Limits, watch: Watch, device: str) -> None:
    """Memory and one timing at each length, until the next one would cost too much."""
    left = limits.seconds * EXPLORING
    most = limits.bytes * (ROOM if form.name == "auto" else 1)
    costs: dict[Part, list[Cost]] = {part: [] for part in PARTS}
    for length in lengths:
        for part in PARTS:
            found = form.measured(part)
            if not found.stopped:
                found.stopped = _too_much(length, costs[part], left, most, limits.seconds)
            if found.stopped:
                continue
            watch(form.name, length, f"compiling {part}" if form.is_compiled else "")
            try:
                cost = _first(form, part, length, device)
            except FAILURES as error:
                _stop(form, part, f"{length}: {_reason(error)}")
                continue
            left -= cost.seconds
            costs[part].append(cost)


def _too_much(length: int, costs: list[Cost], left: float, most: int, patience: float) -> str:
    """Why a length is not tried, told from the lengths before it; empty when it is."""
    if not costs:
        return ""
    if costs[-1].ready > patience:
        return f"{length}: the length before took {costs[-1].ready:.0f} s to compile"
    seconds = _expected([cost.seconds for cost in costs])
    size = _expected([cost.size for cost in costs])
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


def _first(form: Form, part: Part, length: int, device: str) -> Cost:
    """Run a form until nothing is left to be compiled or built; then its memory, then its time."""
    work = form.work(length, device)
    run = work.forward if part == "forward" else work.step
    start = time.perf_counter()
    run()
    ready = time.perf_counter() - start
    peak = peak_bytes(run, torch.device(device))
    seconds = work.seconds(run)
    found = form.measured(part)
    found.peak[length], found.seconds[length] = peak, [seconds]
    return Cost(ready - seconds, RUNS * seconds, peak)


def _stop(form: Form, part: Part, reason: str) -> None:
    """A form that fails goes on without a backward, but with nothing where its forward fails."""
    form.step.stopped = form.step.stopped or reason
    if part == "forward":
        form.forward.stopped = reason


def repeat(
    forms: Sequence[Form], lengths: Sequence[int], limits: Limits, watch: Watch, device: str
) -> None:
    """Time what was measured once in turns, as long as there is time."""
    end = time.perf_counter() + limits.seconds * (1 - EXPLORING) * len(forms)
    for _ in range(limits.repeats - 1):
        for length in lengths:
            for form in forms:
                if length in form.lengths and _fits(form, length, end):
                    watch(form.name, length)
                    _again(form, length, device)


def _fits(form: Form, length: int, end: float) -> bool:
    samples = (form.measured(part).seconds.get(length, [0.0]) for part in PARTS)
    return time.perf_counter() + sum(times[0] for times in samples) < end


def _again(form: Form, length: int, device: str) -> None:
    work = form.work(length, device)
    for part, run in (("forward", work.forward), ("step", work.step)):
        samples = getattr(form, part).seconds.get(length)
        if samples is not None:
            with suppress(*FAILURES):  # it ran once: what fails now lacks memory, or the like
                samples.append(work.seconds(run))


def _reason(error: BaseException) -> str:
    """The first lines of an error, as far as they announce the next one."""
    lines = str(error).split("\n") if str(error) else [type(error).__name__]
    count = next((n for n, line in enumerate(lines, 1) if not line.endswith(":")), len(lines))
    return " ".join(line.strip() for line in lines[:count])
