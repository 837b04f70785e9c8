"""What torch does with a call besides computing it: traces it, exports it, or transforms it."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad


def is_exported() -> bool:
    """Whether a program is made that runs in processes without us: it wants plain torch."""
    # what `is_exporting()` reads: that is always true inside torch.compile of torch 2.11
    flag: bool = torch.compiler._is_exporting_flag
    return flag or torch._C._get_tracing_state() is not None


def is_transformed() -> bool:
    """Whether derivatives or batches are made by functions or dual numbers rather than the tape."""
    functions: bool = torch._C._are_functorch_transforms_active()
    return functions or forward_ad._current_level >= 0


def is_plain() -> bool:
    """Whether a call must be in operations of torch alone."""
    return is_transformed() or is_exported()


def is_traced() -> bool:
    """Whether operators are recorded, so that what they do inside must be hidden in one of them."""
    return torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0


__all__ = ["is_exported", "is_plain", "is_traced", "is_transformed"]
