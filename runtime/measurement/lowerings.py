"""The forms that a spec can be compared in: its lowerings, and its dense form by torch.compile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import cast, get_args

import torch
from torch import nn

from ...compiler.lower import NotLowered
from ..module import Lowering, LoweringRefused, Module
from .forms import Form

COMPILED = "compiled dense"
Make = Callable[[str, Lowering], Form]


@dataclass(frozen=True)
class Refused:
    """A form that the spec does not take, and why."""

    name: str
    reason: str


def forms_of(make: Make) -> tuple[list[Form], list[Refused]]:
    """The lowerings of a spec: `auto`, then those that differ from each other.

    Raises:
        NotLowered: there is no form at all.
    """
    forms, refused = [make("auto", "auto")], []
    seen: list[dict[str, str]] = []
    for name in get_args(Lowering):
        if name == "auto":
            continue
        try:
            form = make(name, name)
        except (LoweringRefused, NotLowered) as error:
            refused.append(Refused(name, str(error)))
            continue
        if form.module.lowering not in seen:
            seen.append(form.module.lowering)
            forms.append(form)
    return forms, refused


def compiled_dense(forms: Sequence[Form]) -> Form | Refused:
    """What torch.compile makes of the dense form."""
    dense = next((form for form in forms if form.name == "dense"), None)
    if dense is None:
        return Refused(COMPILED, "there is no dense form")
    loops = [name for name, lowering in dense.lowering.items() if lowering == "loop"]
    if loops:
        reason = f"`{loops[0]}` runs token by token, which torch.compile unrolls, a second for each"
        return Refused(COMPILED, reason)
    return Form(COMPILED, dense.module, dense.sized, cache(_compiled))


def _compiled(module: Module) -> nn.Module:
    """A form for each length, all of it: nothing that is left to eager torch goes unnoticed."""
    return cast(nn.Module, torch.compile(module, dynamic=False, fullgraph=True))


@contextmanager
def many_lengths() -> Iterator[None]:
    """torch.compile gives up after 8 forms of a function, which are all modules at all lengths."""
    import torch._dynamo.config as dynamo

    with dynamo.patch(recompile_limit=10_000, accumulated_recompile_limit=10_000):
        yield
