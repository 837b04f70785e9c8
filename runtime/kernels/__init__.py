"""C++ text -> a loaded shared library, built once and kept on disk.

loading      the way in: from memory, from shipped kernels, from the cache, or built now
settings     the environment variables, read in one place
isa          the vector instructions that this machine has
openmp       the OpenMP runtime that torch runs its threads on
toolchain    the compiler and its flags
processes    how compilers are run
identity     what a kernel is named by: everything that its code depends on
build        one run of the compiler
private      directories that no other user can write to
locks        one process builds a kernel, the others wait for it
entry        a kernel on disk, with a record by which it is verified
cache        a directory of entries that survives crashes and races
temporary    a cache for one process, where the one on disk cannot be written to
housekeeping what `attnc cache` does: list, verify, prune, clear
library      a loaded library and its functions
errors       one class for each mistake

Torch is not imported where its files say what it runs its threads on.
"""

from .errors import KernelError
from .library import Library
from .loading import load, target

__all__ = ["KernelError", "Library", "load", "target"]
