"""A training run in a process of its own, so that its peak memory is its own.

The child is `attnc train --out FOLDER`; its log says how far it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

POLL = 0.1


class RunFailed(RuntimeError):
    """A run ended with an error, or was stopped at its deadline."""


def run_apart(
    arguments: Sequence[str],
    folder: Path,
    deadline: float,
    watch: Callable[[int], None] = lambda step: None,
) -> dict[str, Any]:
    """Run `attnc train ARGUMENTS --out FOLDER`; its record.

    deadline  `time.monotonic()` at which it is stopped
    watch     is told the step whenever the log has news
    Raises:
        RunFailed: with the last lines that the run wrote.
    """
    command = [sys.executable, "-m", "attnc", "train", *arguments, "--out", str(folder), "--json"]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.txt").open("w", encoding="utf-8") as output:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            _follow(child, folder, deadline, watch)
        finally:
            _end(child)
    if child.returncode != 0:
        raise RunFailed(_last_lines(folder / "output.txt") or f"exit code {child.returncode}")
    record: dict[str, Any] = json.loads((folder / "record.json").read_text("utf-8"))["runs"][0]
    return record


def share_cores() -> None:
    """Let threads that wait give their core up early, in this process and those it starts.

    It must be called before torch is imported. Beside other work, GNU OpenMP's long spinning at
    every barrier costs several times the work itself (measured: 280 ms against 60 ms a step); on
    an idle machine waiting less costs a tenth.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def _follow(
    child: subprocess.Popen[bytes], folder: Path, deadline: float, watch: Callable[[int], None]
) -> None:
    seen = -1
    while child.poll() is None:
        if time.monotonic() > deadline:
            raise RunFailed("stopped: the time is over")
        step = _step(folder / "log.jsonl")
        if step != seen:
            watch(step)
            seen = step
        time.sleep(POLL)


def _step(log: Path) -> int:
    """The last step in a log; 0 before there is one."""
    try:
        lines = log.read_text("utf-8").splitlines()
        return int(json.loads(lines[-1]).get("step", 0)) if lines else 0
    except (OSError, json.JSONDecodeError):
        return 0


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _last_lines(path: Path, count: int = 5) -> str:
    return "\n".join(path.read_text("utf-8", "replace").splitlines()[-count:])
