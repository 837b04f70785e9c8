"""What the environment says about kernels, read in one place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """The values of the environment variables.

    compiler   ATTNC_CXX, else CXX: the compiler to use; empty: the first that is found
    isa        ATTNC_ISA: the instructions to build for; empty: all that the machine has
    cache      ATTNC_CACHE_DIR, else attnc under XDG_CACHE_HOME or ~/.cache
    shipped    ATTNC_KERNELS: directories of ready-made kernels
    may_build  not ATTNC_DISABLE_JIT
    sanitize   ATTNC_SANITIZE: stop at reads and writes beyond an array, and at undefined behaviour
    """

    compiler: str
    isa: str
    cache: Path
    shipped: tuple[Path, ...]
    may_build: bool
    sanitize: bool


def settings() -> Settings:
    """The settings of now; a change of the environment counts from the next kernel on."""
    return _parsed(*map(os.environ.get, _NAMES))


_NAMES = (
    "ATTNC_CXX",
    "CXX",
    "ATTNC_ISA",
    "ATTNC_CACHE_DIR",
    "XDG_CACHE_HOME",
    "ATTNC_KERNELS",
    "ATTNC_DISABLE_JIT",
    "ATTNC_SANITIZE",
)
_last: tuple[tuple[str | None, ...], Settings] | None = None


def _parsed(*values: str | None) -> Settings:
    """The same object as before where no variable has changed, since every load asks."""
    global _last
    last = _last
    if last is not None and last[0] == values:
        return last[1]
    own, common, isa, cache, xdg, shipped, disabled, sanitize = values
    result = Settings(
        compiler=own or common or "",
        isa=isa or "",
        cache=Path(cache).expanduser().absolute() if cache else _user_cache(xdg) / "attnc",
        shipped=tuple(
            Path(p).expanduser().absolute() for p in (shipped or "").split(os.pathsep) if p
        ),
        may_build=not _is_on(disabled),
        sanitize=_is_on(sanitize),
    )
    _last = (values, result)
    return result


def _user_cache(xdg: str | None) -> Path:
    """The base directory of caches; the standard wants relative values of XDG_CACHE_HOME ignored."""
    return Path(xdg) if xdg and Path(xdg).is_absolute() else Path("~/.cache").expanduser()


def _is_on(value: str | None) -> bool:
    return (value or "").strip().lower() not in ("", "0", "false", "no", "off")
