"""Dims that grow with the length: `--dim height=N/64`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import click

from ._specs import Dims

_FORM = re.compile(r"N(?:\s*/\s*([1-9]\d*))?")
#: what is meant as such a part; other dims are words, too
_MEANT = re.compile(r"N\s*(\W|$)")


@dataclass(frozen=True)
class Part:
    """The length, or a whole part of it."""

    of: int

    def at(self, length: int) -> int:
        return length // self.of


#: dims by name, some of which are parts of the length
Growing: TypeAlias = Mapping[str, bool | int | float | str | Part]


def growing(dims: Dims, lengths: Sequence[int]) -> Growing:
    """The dims, those of the form `N/64` or `N` as parts of the length.

    Raises:
        click.BadParameter: a length has no such part, or what follows `N` is not understood.
    """
    found: dict[str, bool | int | float | str | Part] = dict(dims)
    for name, value in dims.items():
        if not isinstance(value, str) or not _MEANT.match(value):
            continue
        match = _FORM.fullmatch(value)
        if match is None:
            problem = f"`{name}={value}` is no part of the length: write `N`, or `N/64`"
            raise click.BadParameter(problem, param_hint="--dim")
        part = Part(int(match[1] or 1))
        for length in lengths:
            if length % part.of:
                problem = f"`{name}={value}` is no whole number at N = {length}"
                raise click.BadParameter(problem, param_hint="--dim")
        found[name] = part
    return found


def dims_at(dims: Growing, length: int) -> Dims:
    """The dims at a length."""
    return {
        name: value.at(length) if isinstance(value, Part) else value for name, value in dims.items()
    }


def grows(dims: Growing) -> bool:
    """Whether a dim is a part of the length."""
    return any(isinstance(value, Part) for value in dims.values())
