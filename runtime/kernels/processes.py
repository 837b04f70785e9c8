"""Runs compilers in a process whose other threads may fork."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

_starting = threading.Lock()
# A child of a fork would hold the ends of pipes that are open while a process is started: who reads
# the pipe then waits for the child to end, and the child may wait for the kernel. So forks wait.
os.register_at_fork(
    before=_starting.acquire,
    after_in_parent=_starting.release,
    after_in_child=_starting.release,
)


def run(command: Sequence[str], timeout: float, **options: Any) -> tuple[int, str]:
    """The exit status of a program that is given no input, and all that it prints.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it took more than `timeout` seconds; it and what it started are ended.
    """
    with _starting:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that the passes which a compiler starts end with it
            **options,
        )
    try:
        printed = child.communicate(timeout=timeout)[0]
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    return child.returncode, printed.decode("utf-8", "replace")
