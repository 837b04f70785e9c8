"""The passes from a typed spec to what is lowered, in order; each is verified and can be printed."""

from __future__ import annotations

from collections.abc import Callable

from ..program import Program
from .by_distance import by_distance
from .commute_reads import commute_reads
from .for_kernels import for_kernels
from .hoist import hoist
from .join_products import join_products
from .join_reads import join_reads
from .read_inside import read_inside
from .simplify import simplify
from .specialise import specialise
from .split_lse import split_lse
from .split_maps import split_maps
from .split_sources import split_sources
from .split_unions import split_unions
from .sum_after_values import sum_after_values
from .values_by_class import values_by_class
from .verify import verify

PASSES: tuple[Callable[[Program], Program], ...] = (
    specialise,
    read_inside,
    join_products,
    split_maps,
    simplify,
    sum_after_values,
    split_unions,
    split_sources,
    split_lse,
    join_reads,
    values_by_class,
    commute_reads,
    by_distance,
    hoist,
    for_kernels,
)


def run_passes(program: Program, after: Callable[[str, Program], None] | None = None) -> Program:
    """The program after every pass; `after` sees each stage by name."""
    for step in PASSES:
        program = step(program)
        verify(program, step.__name__)
        if after is not None:
            after(step.__name__, program)
    return program
