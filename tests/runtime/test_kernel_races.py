"""The cache under processes that start together and processes that are killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from attnc.runtime.kernels import cache
from attnc.runtime.kernels.entry import Entry
from compilers import CountingCompiler, answer, entry_folders, needs_compiler

pytestmark = needs_compiler

CHILD = """
import ctypes, sys
from attnc.runtime.kernels import load
for number in map(int, sys.argv[1:]):
    source = 'extern "C" int answer() { return %d; }\\n' % number
    library = load(source, name="answer")
    assert library.function("answer", result=ctypes.c_int)() == number
assert "torch" not in sys.modules
"""
DEADLINE = 60.0


def start(*numbers: int) -> subprocess.Popen[bytes]:
    """A process that loads the libraries that answer these numbers."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, numbers)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def finished(child: subprocess.Popen[bytes]) -> None:
    """Wait; the child must have done well and said nothing."""
    printed = child.communicate(timeout=DEADLINE)[0].decode()
    assert (child.returncode, printed) == (0, "")


@pytest.mark.parametrize("count", [12, pytest.param(64, marks=pytest.mark.slow)])
def test_processes_that_start_cold_compile_once(
    count: int, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = CountingCompiler(tmp_path, "sleep 0.5")
    monkeypatch.setenv("ATTNC_CXX", str(compiler.path))
    for child in [start(1) for _ in range(count)]:
        finished(child)
    assert compiler.count == 1
    assert len(entry_folders(home)) == 1
    assert not list((home / "building").iterdir())


def test_processes_that_meet_a_damaged_entry_mend_it_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = CountingCompiler(tmp_path, "sleep 0.5")
    monkeypatch.setenv("ATTNC_CXX", str(compiler.path))
    finished(start(1))
    (folder,) = entry_folders(home)
    (folder / "answer.so").write_bytes(b"not a library")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    for child in [start(1) for _ in range(6)]:
        finished(child)
    assert compiler.count == 2


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_processes_leave_nothing_that_hangs_or_loads_wrongly(kills: int, home: Path) -> None:
    """Groups of processes on the same sources are killed at random; the next ones still do well."""
    rng = random.Random(0)
    for round_ in range(kills):
        numbers = [rng.randrange(1000) for _ in range(3)]
        victim, witness = start(*numbers), start(*numbers)
        time.sleep(rng.uniform(0.0, 0.4))
        # Half of the time the compiler dies too, else it is left behind without its parent.
        (os.killpg if round_ % 2 else os.kill)(victim.pid, signal.SIGKILL)
        victim.communicate(timeout=DEADLINE)
        finished(witness)
    for entry in cache.Cache(home).entries():
        assert isinstance(entry, Entry)
        entry.verify()
    cache.Cache(home).sweep()
    assert not list((home / "building").iterdir())


def test_a_lock_is_free_after_its_holder_is_killed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = CountingCompiler(tmp_path, "sleep 5")
    monkeypatch.setenv("ATTNC_CXX", str(slow.path))
    victim = start(1)
    begin = time.monotonic()
    while not slow.count and time.monotonic() - begin < DEADLINE:
        time.sleep(0.01)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    assert list((home / "building").iterdir())
    monkeypatch.delenv("ATTNC_CXX")
    begin = time.monotonic()
    finished(start(1))
    assert time.monotonic() - begin < 20
    (left,) = entry_folders(home)
    assert cache.found(left) is not None


def test_a_child_of_a_fork_loads_what_its_parent_was_building(home: Path) -> None:
    code = (
        "import ctypes, os, subprocess, sys, threading, time\n"
        "from attnc.runtime.kernels import load\n"
        "begin = subprocess.Popen._execute_child\n"
        "def slowly(*given):\n"  # between its pipes and its process
        "    time.sleep(0.1)\n"
        "    begin(*given)\n"
        "subprocess.Popen._execute_child = slowly\n"
        f"source = {answer(7)!r}\n"
        "threading.Thread(target=load, args=(source,), kwargs={'name': 'answer'}).start()\n"
        "time.sleep(float(sys.argv[1]))\n"
        "child = os.fork()\n"
        "value = load(source, name='answer').function('answer', result=ctypes.c_int)()\n"
        "if not child: os._exit(value)\n"
        "sys.exit(value != 7 or os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 7)\n"
    )
    for wait in ("0.01", "0.05", "0.15"):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, wait], timeout=DEADLINE)
        assert done.returncode == 0
