"""The vector instructions that a kernel may use: what the machine has, or less where told.

The sets form a chain: a machine that has one runs kernels that were built for those below it.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from .errors import InstructionsMissing


class Isa(NamedTuple):
    """A set of instructions.

    needs   what /proc/cpuinfo must list
    flags   what the compiler is told
    """

    name: str
    needs: frozenset[str]
    flags: tuple[str, ...]


_AVX2 = ("avx2", "fma", "f16c")
_AVX512 = (*_AVX2, "avx512f", "avx512dq", "avx512bw", "avx512vl")


def _isa(name: str, needs: tuple[str, ...], *flags: str) -> Isa:
    options = tuple("-m" + need.replace("_", "") for need in needs)
    return Isa(name, frozenset(needs), options + flags)


# From the least to the most.
ISAS = (
    _isa("portable", ()),
    _isa("avx2", _AVX2),
    _isa("avx512", _AVX512, "-mprefer-vector-width=512"),
    _isa("avx512bf16", (*_AVX512, "avx512_bf16"), "-mprefer-vector-width=512"),
)
_BY_NAME = {isa.name: isa for isa in ISAS}


def chosen(wanted: str = "") -> Isa:
    """The instructions to build for: those of this machine, or the lower ones that are wanted.

    Raises:
        InstructionsMissing: `wanted` is no set that we know, or more than this machine has.
    """
    if not wanted:
        return detected()
    if wanted not in _BY_NAME:
        raise InstructionsMissing(f"ATTNC_ISA={wanted} is unknown; there are {', '.join(_BY_NAME)}")
    if named(wanted) not in and_below(detected()):
        raise InstructionsMissing(
            f"ATTNC_ISA={wanted}: this machine has {detected().name} and nothing above it"
        )
    return _BY_NAME[wanted]


def named(name: str) -> Isa:
    """The instructions of a name, whatever this machine has."""
    return _BY_NAME[name]


def and_below(isa: Isa) -> tuple[Isa, ...]:
    """All sets whose kernels run where `isa` is, the best first."""
    return ISAS[ISAS.index(isa) :: -1]


@cache
def detected() -> Isa:
    """The most that this machine has."""
    return best(_features())


def best(features: Iterable[str]) -> Isa:
    """The most that a machine with these features, named as /proc/cpuinfo does, can run."""
    has = frozenset(features)
    return next(isa for isa in reversed(ISAS) if isa.needs <= has)


def _features() -> Iterable[str]:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ()
    if sys.platform == "darwin":
        return _features_of_a_mac()
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            for line in lines:  # the first processor only: a file of 256 takes long
                if line.startswith("flags"):
                    return line.partition(":")[2].split()
    except OSError:
        pass
    return ()


def _features_of_a_mac() -> Iterable[str]:
    keys = ("machdep.cpu.features", "machdep.cpu.leaf7_features")
    try:
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-n", *keys], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return done.stdout.lower().split()
