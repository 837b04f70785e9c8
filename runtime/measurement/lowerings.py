"""The lowerings of a spec at one length, timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

from ...compiler.lower import NotLowered
from ..module import Lowering, LoweringRefused, Module
from .scaling import Form
from .workload import workload

Compile = Callable[[Lowering], Module]


@dataclass(frozen=True)
class Refused:
    """A lowering that the spec does not take, and why."""

    name: str
    reason: str


def forms_of(compile: Compile) -> tuple[list[Form], list[Refused]]:
    """Every form that a spec can be compiled to: `auto`, then those that differ from each other.

    Raises:
        NotLowered: there is no form at all.
    """
    forms, refused = [Form("auto", compile("auto"))], []
    seen: list[dict[str, str]] = []
    for name in get_args(Lowering):
        if name == "auto":
            continue
        try:
            module = compile(name)
        except (LoweringRefused, NotLowered) as error:
            refused.append(Refused(name, str(error)))
            continue
        if module.lowering not in seen:
            seen.append(module.lowering)
            forms.append(Form(name, module))
    return forms, refused


def compare(
    forms: Sequence[Form],
    length: int,
    repeats: int,
    watch: Callable[[], None],
    device: str = "cpu",
) -> None:
    """Time forward, and forward with backward, of all forms in turns, after a run to warm up."""
    works = [(form, workload(form.module, length, device)) for form in forms]
    for form, work in works:
        work.step()
        form.forward[length], form.step[length] = [], []
    for _ in range(repeats):
        for form, work in works:
            form.forward[length].append(work.seconds(work.forward))
            form.step[length].append(work.seconds(work.step))
        watch()
