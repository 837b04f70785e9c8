"""A loaded library and its functions. It stays loaded until the process ends."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, Protocol

from .entry import Entry
from .errors import NotLoaded
from .openmp import Runtime


class Function(Protocol):
    """A C function; the GIL is free while it runs."""

    def __call__(self, *arguments: Any) -> Any: ...


class Library:
    """The functions of a kernel, by name."""

    def __init__(self, entry: Entry, runtime: Runtime | None) -> None:
        if entry.record.sanitize:
            _check_sanitizer()
        try:
            if runtime is not None:
                runtime.preload()
            self._handle = ctypes.CDLL(str(entry.library))
        except OSError as error:
            raise NotLoaded(f"`{entry.library}` cannot be loaded: {error}{_hint(error)}") from error
        self.entry = entry
        self._functions: dict[str, Function] = {}

    @property
    def path(self) -> Path:
        return self.entry.library

    def function(self, name: str, *arguments: Any, result: Any = None) -> Function:
        """A function of this name, with the C types of its arguments and of its result.

        It is made once: ask where a kernel is prepared, or at each call.
        """
        known = self._functions.get(name)
        if known is not None:
            return known
        try:
            made = self._handle[name]
        except AttributeError:
            raise NotLoaded(f"`{self.path}` has no function `{name}`") from None
        made.argtypes, made.restype = arguments, result
        return self._functions.setdefault(name, made)

    def most_held(self) -> int:
        """The most bytes that kernels held at once in memory of their own since this was last asked."""
        return int(self.function("most_held", result=ctypes.c_long)())

    def __repr__(self) -> str:
        record = self.entry.record
        return f"<Library {record.name}, {record.isa}, {record.key}>"


def _hint(error: OSError) -> str:
    if "failed to map segment" in str(error):
        return ". Its disk may forbid to run programs (noexec); name another in ATTNC_CACHE_DIR"
    return ""


def _check_sanitizer() -> None:
    """The address sanitizer ends the process when it is loaded late, so that is found out before."""
    try:
        maps = Path("/proc/self/maps").read_text("utf-8", "replace")
    except OSError:
        return
    if "asan" not in maps:
        raise NotLoaded(
            "ATTNC_SANITIZE needs the sanitizer loaded from the start. Run the program again with "
            'LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)" '
            "ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc"
        )
