"""Which blocks of a mask are full, partial or empty, from its predicate alone, at any length."""

from .blocks import Grid
from .classify import classify
from .program import KEY, QUERY, Instruction, MaskProgram
from .runs import EMPTY, FULL, PARTIAL, Runs

__all__ = [
    "EMPTY",
    "FULL",
    "KEY",
    "PARTIAL",
    "QUERY",
    "Grid",
    "Instruction",
    "MaskProgram",
    "Runs",
    "classify",
]
