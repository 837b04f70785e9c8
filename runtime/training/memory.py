"""The peak memory of this process.

On Linux the high-water mark of the address space, because `ru_maxrss` of a process that was started by a large one begins at the size of its parent (the kernel carries it over `execve`).
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def peak_bytes() -> int:
    """The most resident memory that this process has had."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
