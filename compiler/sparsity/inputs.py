"""What the masks of an attend read in a call: which outputs of a graph, and which of these only count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .counters import Counter, Source
from .program import MaskProgram


@dataclass(frozen=True)
class MaskInputs:
    """The mask of one source of an attend; numbers are places among the outputs of a graph.

    program   the mask over its inputs, or None where its keys are lists
    inputs    the inputs of the program, of counters their start and size; queries, keys: how many there are
    lists     of lists, how many keys each query has
    content   what the tokens hold, which counts as unknown
    is_plain  whether positions alone decide
    """

    program: MaskProgram | None
    inputs: tuple[int | tuple[int, int], ...]
    queries: int
    keys: int
    lists: int = 0
    content: tuple[str, ...] = ()
    is_plain: bool = True


def source_of(place: int | tuple[int, int], values: Sequence[Any]) -> Source:
    """An input of a mask: an output of its graph, or a counter, of which start and size are."""
    if isinstance(place, tuple):
        return Counter(*(int(values[n]) for n in place))
    return torch.as_tensor(values[place]).detach()
