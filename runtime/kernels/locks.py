"""One process builds a kernel, the others wait for it.

The system frees a lock when its holder dies, however it dies. The files of locks are never deleted:
whoever waits on a deleted file waits for nobody. So their number is fixed, and keys share them.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Imported here and not where it is used: a child that is forked while another thread imports a module
# waits for that import for ever.
from filelock import FileLock, Timeout

from .errors import BuildBusy

PATIENCE = 600.0
_POLL = 0.02


@contextmanager
def locked(folder: Path, key: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock of a key, after waiting for it.

    Raises:
        BuildBusy: it is held for longer than `patience` (seconds); the text names the holder.
    """
    lock = folder / key[:2]
    holder = folder / f"{key[:2]}.holder"
    waiting = FileLock(lock, timeout=patience, poll_interval=_POLL)
    try:
        waiting.acquire()
    except Timeout:
        raise BuildBusy(
            f"another process builds this kernel since more than {patience:.0f} s: {_told(holder)} "
            f"holds `{lock}`. End it if it hangs."
        ) from None
    try:
        holder.write_text(f"process {os.getpid()} on {platform.node()}", "utf-8")
        yield
    finally:
        waiting.release()


@contextmanager
def locked_if_free(folder: Path, key: str) -> Iterator[bool]:
    """Hold the lock of a key if nobody does; whether it is held."""
    lock = FileLock(folder / key[:2])
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _told(holder: Path) -> str:
    """Who holds it; the file may be of the one before, or empty at this moment."""
    with suppress(OSError):
        return holder.read_text("utf-8") or "an unknown process"
    return "an unknown process"
