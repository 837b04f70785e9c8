"""The OpenMP runtime that torch runs its threads on, for kernels to share.

Two runtimes in one process have two pools of threads, which fight for the cores, and only one of
them hears `torch.set_num_threads`. So kernels are linked with the very file that torch uses, under
whatever name its wheel gave it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_PATTERNS = ("libgomp*", "libomp*", "libiomp5*")


@dataclass(frozen=True, slots=True)
class Runtime:
    """A library of OpenMP, and whether it speaks as GCC's does (clang's compiled code does not)."""

    path: Path

    @property
    def name(self) -> str:
        """The file name: wheels put a hash of the content there."""
        return self.path.name

    @property
    def is_gnu(self) -> bool:
        return self.name.startswith("libgomp")

    def preload(self) -> None:
        """Load it before a kernel does, so that the kernel's dependency is already met by it.

        The linker wrote only its name into the kernel, and finds nothing by that name but what is
        loaded, or, worse, another copy of the system.
        """
        ctypes.CDLL(str(self.path))


def torch_runtime() -> Runtime | None:
    """What torch runs its threads on; None where it was built without OpenMP.

    It is asked for by symbol where torch is loaded, and looked for among torch's files where not.
    Where those hold none (conda, a system's own build) torch is imported to know.
    """
    if "torch" not in sys.modules and (path := _among_files(_torch_folder())) is not None:
        return Runtime(path)
    return _loaded()


@cache
def _loaded() -> Runtime | None:
    """The library that the symbols of OpenMP come from, as torch's own library sees them."""
    import torch

    suffix = "dylib" if sys.platform == "darwin" else "so"
    library = Path(torch.__file__).parent / "lib" / f"libtorch_cpu.{suffix}"
    try:
        handle = ctypes.CDLL(str(library), mode=os.RTLD_NOW | os.RTLD_NOLOAD)
        address = ctypes.cast(handle.omp_get_max_threads, ctypes.c_void_p).value
    except (OSError, AttributeError):
        return None
    path = _file_of(address or 0)
    return None if path is None else Runtime(path)


class _Place(ctypes.Structure):
    """`Dl_info` of <dlfcn.h>."""

    _fields_ = [
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    ]


def _file_of(address: int) -> Path | None:
    """The library whose code is at an address."""
    place = _Place()
    if not ctypes.CDLL(None).dladdr(ctypes.c_void_p(address), ctypes.byref(place)):
        return None
    return Path(os.fsdecode(place.file)).resolve() if place.file else None


def _torch_folder() -> Path | None:
    spec = find_spec("torch")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _among_files(torch: Path | None) -> Path | None:
    """The runtime that torch's wheel brings: beside its libraries, or in `torch.libs`."""
    if torch is None:
        return None
    for folder in (torch / "lib", torch.with_name("torch.libs"), torch / ".dylibs"):
        for pattern in _PATTERNS:
            for path in sorted(folder.glob(pattern)):
                return path.resolve()
    return None
