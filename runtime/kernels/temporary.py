"""A cache for this process alone, where the one on disk cannot be written to."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
import warnings
from pathlib import Path

from .cache import Cache

_guard = threading.Lock()
_made: dict[int, Cache] = {}


def temporary_cache(instead_of: Path, error: OSError) -> Cache:
    """A private directory, the same for the whole process and removed at its end; told once."""
    with _guard:
        process = os.getpid()  # a child of a fork must not use what its parent removes
        if process not in _made:
            warnings.warn(
                f"kernels are not kept: `{instead_of}` cannot be written to ({error}). "
                "Set ATTNC_CACHE_DIR to a directory of your own.",
                RuntimeWarning,
                stacklevel=2,
            )
            _made[process] = Cache(Path(tempfile.mkdtemp(prefix="attnc-")))
            atexit.register(_remove, process, _made[process].root)
        return _made[process]


def _remove(process: int, root: Path) -> None:
    if os.getpid() == process:
        shutil.rmtree(root, ignore_errors=True)
