"""The compiler of this machine, and what it is told.

Fast floating-point modes are out, since they break infinities, which masks are made of. Only errno,
traps and the rounding between a product and a sum are given up. Ints begin again at the other end, as
torch's do.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache

from . import processes
from .errors import NoCompiler
from .isa import Isa
from .openmp import Runtime

CANDIDATES = ("g++", "clang++", "c++")
_LANGUAGE = (
    "-std=c++20",
    "-fwrapv",
    "-fPIC",
    "-fno-semantic-interposition",
    "-pipe",
    "-Wno-unknown-pragmas",
)
_ARITHMETIC = ("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
_FAST = ("-O3",)
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
# without optimisation: every access of the text is watched, and kernels are built three times as fast
_SANITIZED = ("-O0", "-g1", *_SANITIZERS, "-fno-omit-frame-pointer")


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A compiler: its command (a path and perhaps arguments), and what `--version` says."""

    command: tuple[str, ...]
    version: str

    @property
    def title(self) -> str:
        """The first line of the version."""
        return self.version.partition("\n")[0]

    @property
    def is_clang(self) -> bool:
        return "clang" in self.version.lower()

    def compile_flags(self, isa: Isa, runtime: Runtime | None, sanitize: bool) -> tuple[str, ...]:
        """From text to object code."""
        speed = _SANITIZED if sanitize else _FAST
        return (*_LANGUAGE, *_ARITHMETIC, *speed, *isa.flags, *self._threads(runtime))

    def link_flags(self, runtime: Runtime | None, sanitize: bool) -> tuple[str, ...]:
        """From object code to a library. `-fopenmp` is not here: it would bring another runtime."""
        checks = _SANITIZERS if sanitize else ()
        needed = ("-Wl,--as-needed",) if sys.platform == "linux" else ()
        return ("-shared", *checks, *needed, *((str(runtime.path),) if runtime else ()))

    def _threads(self, runtime: Runtime | None) -> tuple[str, ...]:
        """What makes `#pragma omp` call the runtime of torch.

        GCC's calls are answered by all runtimes, clang's not by GCC's. There only `omp simd` is left,
        and a kernel runs on one thread unless it calls `GOMP_parallel` itself.
        """
        if runtime is None or (self.is_clang and runtime.is_gnu):
            return ("-fopenmp-simd",)
        if sys.platform == "darwin":  # Apple's driver hides the option
            return ("-Xpreprocessor", "-fopenmp")
        return ("-fopenmp",)


def find(wanted: str = "") -> Toolchain:
    """The compiler that is wanted (a name, a path, or either with arguments), else the first found.

    Raises:
        NoCompiler: there is none.
    """
    return _find(wanted, os.environ.get("PATH", ""))


@cache
def _find(wanted: str, path: str) -> Toolchain:
    tried = (wanted,) if wanted else CANDIDATES
    reasons = []
    for text in tried:
        command = shlex.split(text)
        program = shutil.which(command[0], path=path) if command else None
        if program is None:
            reasons.append(f"`{text}` is not on the PATH")
            continue
        try:
            absolute = (os.path.abspath(program), *command[1:])
            return Toolchain(absolute, _version(absolute))
        except (OSError, subprocess.SubprocessError) as error:
            reasons.append(f"`{text}` does not run: {error}")
    raise NoCompiler(_advice(wanted, reasons))


def _version(command: tuple[str, ...]) -> str:
    asked = [*command, "--version"]
    status, printed = processes.run(asked, 30, env={**os.environ, "LC_ALL": "C"})
    if status != 0:
        raise subprocess.CalledProcessError(status, asked)
    return printed.strip()


def _advice(wanted: str, reasons: list[str]) -> str:
    asked = "the C++ compiler of ATTNC_CXX or CXX cannot be used" if wanted else "no C++ compiler"
    return (
        f"{asked}: {'; '.join(reasons)}.\n"
        "Install one (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; "
        "macOS: xcode-select --install), name one in ATTNC_CXX, "
        "or point ATTNC_KERNELS to a directory of kernels built elsewhere."
    )
