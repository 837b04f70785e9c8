"""`ATTNC_SANITIZE`: a kernel that reads beyond an array stops the program and says where."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from compilers import GXX, needs_compiler

CODE = """
import ctypes, sys
from attnc.runtime.kernels import load
text = 'extern "C" int at(int* x, int i) { return x[i]; }'
at = load(text, name="at").function("at", ctypes.c_void_p, ctypes.c_int, result=ctypes.c_int)
print(at((ctypes.c_int * 100)(*range(100)), int(sys.argv[1])))
"""


def library(name: str) -> str:
    """The path of a sanitizer's library; only its name where the compiler has none."""
    assert GXX is not None
    asked = [GXX, f"-print-file-name={name}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def run_at(index: int, cache: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CODE, str(index)],
        env={**os.environ, "ATTNC_CACHE_DIR": str(cache), "ATTNC_SANITIZE": "1", **more},
        capture_output=True,
        text=True,
        check=False,
    )


@needs_compiler
def test_without_the_sanitizer_loaded_the_error_says_how(tmp_path: Path) -> None:
    done = run_at(0, tmp_path / "cache")
    assert done.returncode == 1
    assert "ATTNC_SANITIZE needs the sanitizer loaded from the start" in done.stderr


@needs_compiler
def test_a_read_beyond_an_array_is_found(tmp_path: Path) -> None:
    libraries = [library("libasan.so"), library("libubsan.so")]
    if not all(map(os.path.isabs, libraries)):
        pytest.skip("the compiler has no sanitizers")
    preloaded = {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
    }
    good = run_at(99, tmp_path / "cache", **preloaded)
    assert (good.returncode, good.stdout) == (0, "99\n")
    bad = run_at(100, tmp_path / "cache", **preloaded)
    assert bad.returncode != 0
    assert "heap-buffer-overflow" in bad.stderr
    assert "at.cpp:1" in bad.stderr
