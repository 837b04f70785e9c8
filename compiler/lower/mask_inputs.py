"""What the masks of an attend read, as one fx graph: positions, labels, flags, learned spans.

Before: an attend with masks over queries and keys
After:  for each mask a program, and a graph of all its inputs, without what the tokens hold
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx

from ...dsl.core import Attend
from ..program import Program
from ..sparsity.inputs import MaskInputs
from . import arguments, deep, placeholders
from .dense import Dense
from .emitter import drop_unused
from .mask_reader import MaskReader


@dataclass(frozen=True)
class MaskGraph:
    """The masks of an attend, and the graph of what they read."""

    graph: fx.Graph
    arguments: tuple[str, ...]
    masks: tuple[MaskInputs, ...]


def mask_graph(program: Program, attend: Attend, known: frozenset[str]) -> MaskGraph:
    """The masks of an attend; `known` are the arguments whose content the caller gives."""
    emitter = Dense(program, {})
    placeholders(emitter, program)
    made = MaskReader(emitter, known)
    with deep():
        masks = tuple(made.of_source(attend, source) for source in attend.sources)
    emitter.graph.output(tuple(made.outputs))
    drop_unused(emitter.graph)
    return MaskGraph(emitter.graph, arguments(program), masks)
