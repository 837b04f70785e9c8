"""What a kernel is named by: everything that its code depends on.

The first half of a key (the id) says what is wanted, the second by what it was built. A machine
without a compiler knows only the id, and takes any build of it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from ... import __version__
from .isa import Isa
from .openmp import Runtime
from .toolchain import Toolchain

# How kernels are called. Raise it when the meaning of an argument changes but no source does.
ABI = 1
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_KEY = re.compile(r"[0-9a-f]{32}-[0-9a-f]{16}")


@dataclass(frozen=True)
class Wanted:
    """A kernel that is asked for: its source, and what it shall run on."""

    name: str
    source: str
    isa: Isa
    runtime: Runtime | None
    sanitize: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a kernel: want {_NAME.pattern}")

    @cached_property
    def id(self) -> str:
        parts = (
            ABI,
            __version__,
            self.name,
            self.source,
            self.isa.name,
            self.openmp,
            self.sanitize,
        )
        return digest(json.dumps(parts).encode())[:32]

    @property
    def openmp(self) -> str:
        return self.runtime.name if self.runtime else ""

    @property
    def source_digest(self) -> str:
        return digest(self.source.encode())

    def key(self, toolchain: Toolchain) -> str:
        """The id, and the compiler with its flags; where OpenMP's file lies does not count."""
        flags = toolchain.compile_flags(self.isa, self.runtime, self.sanitize)
        linking = toolchain.link_flags(self.runtime, self.sanitize)
        place = str(self.runtime.path) if self.runtime else ""
        parts = (toolchain.command, toolchain.version, flags, [f for f in linking if f != place])
        return f"{self.id}-{digest(json.dumps(parts).encode())[:16]}"


def is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()
