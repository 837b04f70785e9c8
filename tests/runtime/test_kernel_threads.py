"""Kernels run on torch's own threads: one OpenMP runtime in the process, one number of threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attnc.runtime.kernels import openmp
from compilers import TEAM, needs_compiler

pytestmark = [
    needs_compiler,
    pytest.mark.skipif(sys.platform != "linux", reason="maps of a process are Linux's"),
]

REPORT = """
import ctypes, json, sys
{first}
from attnc.runtime.kernels import load, openmp
before = openmp.torch_runtime()
library = load({source!r}, name="team")
early = "torch" in sys.modules
import torch
largest, team = (library.function(n, result=ctypes.c_int) for n in ("largest", "team"))
seen = []
for count in (1, 3, 2):
    torch.set_num_threads(count)
    torch.rand(200_000).exp().sum()
    seen.append([count, largest(), team()])
maps = {{line.split()[-1] for line in open("/proc/self/maps") if "omp" in line.split()[-1]}}
after = openmp._loaded()
print(json.dumps([str(before.path), str(after.path), early, seen, sorted(maps)]))
"""


def report(first: str, cache: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", REPORT.format(first=first, source=TEAM)],
        env={**os.environ, "ATTNC_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("first", ["import torch", ""], ids=["after torch", "before torch"])
def test_a_kernel_obeys_torch_and_shares_its_runtime(first: str, tmp_path: Path) -> None:
    before, after, early, seen, maps = report(first, tmp_path / "cache")
    assert early == bool(first)
    assert seen == [[count] * 3 for count in (1, 3, 2)]
    assert maps == [before]
    assert after == before


def test_the_runtime_of_a_wheel_is_found_under_any_name(tmp_path: Path) -> None:
    torch = tmp_path / "torch"
    (torch / "lib").mkdir(parents=True)
    assert openmp._among_files(torch) is None
    libs = tmp_path / "torch.libs"
    libs.mkdir()
    (libs / "libgomp-a34b3233.so.1.0.0").touch()
    assert openmp._among_files(torch) == libs / "libgomp-a34b3233.so.1.0.0"
    assert openmp.Runtime(libs / "libgomp-a34b3233.so.1.0.0").is_gnu
    (torch / "lib" / "libiomp5.so").touch()
    assert openmp._among_files(torch) == torch / "lib" / "libiomp5.so"
    assert openmp._among_files(None) is None
