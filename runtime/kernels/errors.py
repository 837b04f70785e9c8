"""What can go wrong between a source and a loaded kernel: one class for each mistake."""

from __future__ import annotations


class KernelError(RuntimeError):
    """A kernel cannot be had; the message says why and what to do."""


class NoCompiler(KernelError):
    """There is no C++ compiler, or the one that was asked for does not run."""


class BuildFailed(KernelError):
    """The compiler refuses a source, or takes too long; its own message is in the text."""


class BuildBusy(KernelError):
    """Another process has been building the same kernel for too long."""


class KernelMissing(KernelError):
    """`ATTNC_DISABLE_JIT` forbids to build, and the kernel is not there ready-made."""


class UnsafeDirectory(KernelError):
    """Another user could put code into a directory of kernels."""


class InstructionsMissing(KernelError):
    """`ATTNC_ISA` asks for instructions that this machine does not have, or that we do not know."""


class NotLoaded(KernelError):
    """The system refuses to load a built library, or a function is not in it."""
