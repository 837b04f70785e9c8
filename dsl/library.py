"""Finding specs: by name beside the file that asks, else in the built-in library; or by path."""

from __future__ import annotations

from functools import cache
from pathlib import Path

SPECS = Path(__file__).resolve().parent.parent / "specs"
PRELUDE = "prelude"


@cache
def library_paths() -> dict[str, Path]:
    """Name -> file of every built-in spec, in alphabetical order; the prelude is not one."""
    found = {path.stem: path for path in SPECS.rglob("*.yaml") if path.stem != PRELUDE}
    return dict(sorted(found.items()))


def prelude_path() -> Path:
    """The file of the macros that every spec sees."""
    return SPECS / f"{PRELUDE}.yaml"


def family(name: str) -> str:
    """The folder of a built-in spec."""
    return library_paths()[name].parent.name


def find(name: str, near: Path | None) -> Path | None:
    """The file of a spec that another file names: a neighbour first, then the library."""
    if near is not None:
        neighbour = near / f"{name}.yaml"
        if neighbour.is_file():
            return neighbour
    return library_paths().get(name)
