"""One run of the compiler: a source in a folder -> a library beside it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from . import processes
from .errors import BuildFailed, NoCompiler
from .identity import Wanted
from .toolchain import Toolchain

TIME_LIMIT = 120.0
SHOWN_LINES = 20
_NO_SPACE = ("No space left on device", "Disk quota exceeded")


def build(wanted: Wanted, toolchain: Toolchain, folder: Path) -> Path:
    """Compile and link `NAME.cpp`, which it writes to the folder, to `NAME.so`.

    The two are separate runs, because a compiler that links with `-fopenmp` adds its own runtime.

    Raises:
        BuildFailed: the text is the compiler's own.
        OSError: the disk is full.
    """
    source, library = f"{wanted.name}.cpp", f"{wanted.name}.so"
    (folder / source).write_text(wanted.source, "utf-8")
    compiling = toolchain.compile_flags(wanted.isa, wanted.runtime, wanted.sanitize)
    linking = toolchain.link_flags(wanted.runtime, wanted.sanitize)
    environment = _environment(folder, wanted.sanitize)
    # Names relative to the folder, so that messages and debug information do not name it.
    _run([*toolchain.command, *compiling, "-c", source, "-o", "kernel.o"], folder, environment)
    _run([*toolchain.command, "kernel.o", *linking, "-o", library], folder, environment)
    (folder / "kernel.o").unlink()
    return folder / library


def _environment(folder: Path, sanitize: bool) -> dict[str, str]:
    """English messages, and temporary files in the private folder."""
    environment = {**os.environ, "LC_ALL": "C", "TMPDIR": str(folder)}
    if sanitize:  # the preloaded sanitizer is for the kernel's process, not for the compiler's
        environment.pop("LD_PRELOAD", None)
    return environment


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    try:
        status, printed = processes.run(command, TIME_LIMIT, cwd=folder, env=environment)
    except OSError as error:
        raise NoCompiler(f"`{command[0]}` does not run: {error}") from error
    except subprocess.TimeoutExpired:
        raise BuildFailed(f"`{command[0]}` took more than {TIME_LIMIT:.0f} s") from None
    if status != 0:
        raise _failure(command, status, printed)


def _failure(command: list[str], code: int, printed: str) -> Exception:
    for text in _NO_SPACE:
        if text in printed:
            return OSError(text)
    return BuildFailed(f"{' '.join(command)}\nended with {code}:\n{printed.strip()}")


def shortened(text: str, lines: int = SHOWN_LINES) -> str:
    """The first lines of a message."""
    found = text.splitlines()
    more = len(found) - lines
    return "\n".join(found[:lines]) + (f"\n... and {more} more lines" if more > 0 else "")
