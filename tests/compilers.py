"""Sources for the kernel toolchain that compile in no time, and compilers that tell or misbehave."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

GXX = shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
needs_compiler = pytest.mark.skipif(GXX is None, reason="there is no C++ compiler")

VARIABLES = "ATTNC_CXX CXX ATTNC_ISA ATTNC_CACHE_DIR ATTNC_KERNELS ATTNC_DISABLE_JIT ATTNC_SANITIZE"


def answer(number: int) -> str:
    """A library with `int answer()`."""
    return f'extern "C" int answer() {{ return {number}; }}\n'


TEAM = """\
#include <omp.h>
extern "C" int largest() { return omp_get_max_threads(); }
extern "C" int team() {
  int count = 0;
#pragma omp parallel
#pragma omp single
  count = omp_get_num_threads();
  return count;
}
"""


def fresh_environment(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Settings of the test alone, with a cache of its own."""
    for name in VARIABLES.split():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ATTNC_CACHE_DIR", str(cache))


def forget_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be as a new process is, which has loaded nothing."""
    from attnc.runtime.kernels import loading

    monkeypatch.setattr(loading, "_loaded", {})


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n", "utf-8")
    path.chmod(0o755)
    return path


class CountingCompiler:
    """The real compiler behind a script that writes a line for each source it compiles."""

    def __init__(self, folder: Path, before: str = "") -> None:
        self.log = folder / "compiled.log"
        body = f'case " $* " in *" -c "*) echo one >> "{self.log}"; {before or ":"};; esac'
        self.path = script(folder / "counting-c++", f'{body}\nexec "{GXX}" "$@"')

    @property
    def count(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


def entry_folders(cache: Path) -> list[Path]:
    return sorted((cache / "kernels").glob("*"))


def as_root() -> bool:
    """Root writes also where the mode forbids it."""
    return os.geteuid() == 0
