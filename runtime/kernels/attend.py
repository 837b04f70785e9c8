"""One attend by its generated kernels: in torch's tape, as an operator, or in operations of torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from ...compiler.codegen.layout import Kernel
from ...compiler.tracing import is_plain, is_traced
from . import dtypes, ops
from .again import differentiable, is_batched
from .arrays import cotangents, results
from .launch import BeyondTable, Launcher, attend


class FusedAttend(nn.Module):
    """One attend by its generated kernels; `dense` is the same in operations of torch.

    Eager calls are a step of torch's tape, which costs less than an operator does; where nothing wants
    a gradient not even that.
    """

    def __init__(self, kernel: Kernel, dense: fx.GraphModule) -> None:
        super().__init__()
        self.launcher, self.dense = Launcher(kernel), dense
        self.key = hashlib.sha256(repr(kernel).encode()).hexdigest()[:24]
        ops.KNOWN[self.key] = ops.Known(self.launcher, dense)

    @property
    def kernel(self) -> Kernel:
        return self.launcher.kernel

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        ops.KNOWN.setdefault(self.key, ops.Known(self.launcher, self.dense))

    def forward(self, sizes: Sequence[int], *arrays: Tensor) -> tuple[Tensor, Tensor | None]:
        """The result and, of a softmax, lse. sizes: batch, heads, queries, keys."""
        if is_plain():
            return self.dense(*sizes, *arrays)  # type: ignore[no-any-return]
        if is_traced():
            out, stats = ops.attend(list(arrays), list(sizes), self.key)
            return results(self.kernel, out, stats, dtypes.of_result(arrays[0]))
        try:
            return self._by_kernel(sizes, *arrays)
        except BeyondTable:  # which torch's own operations tell, or else it is not so
            return self.dense(*sizes, *arrays)  # type: ignore[no-any-return]

    def _by_kernel(self, sizes: Sequence[int], *arrays: Tensor) -> tuple[Tensor, Tensor | None]:
        if torch.is_grad_enabled() and any(array.requires_grad for array in arrays):
            return _Fused.apply(self, tuple(sizes), *arrays)  # type: ignore[no-any-return, no-untyped-call, unused-ignore]
        out, stats = self.launcher.forward(sizes, arrays, self.kernel.has_lse)
        return results(self.kernel, out, stats, dtypes.of_result(arrays[0]))

    def build(self) -> None:
        """Have the kernel of the forward ready."""
        attend(self.kernel)

    def extra_repr(self) -> str:
        return self.kernel.name


class _Fused(torch.autograd.Function):
    """The kernels as one step of torch's tape."""

    @staticmethod
    def forward(ctx: Any, owner: FusedAttend, sizes: tuple[int, ...], *arrays: Tensor) -> Any:
        out, stats = owner.launcher.forward(sizes, arrays, wanted=ctx.needs_input_grad[2:])
        ctx.owner, ctx.sizes = owner, sizes
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*arrays, out, stats)
        return results(owner.kernel, out, stats, dtypes.of_result(arrays[0]))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        owner, sizes, wanted = ctx.owner, ctx.sizes, ctx.needs_input_grad[2:]
        *arrays, out, stats = ctx.saved_tensors
        if torch.is_grad_enabled() or is_batched(*grads):
            return None, None, *differentiable(owner.dense, sizes, arrays, wanted, grads)
        given = cotangents(owner.kernel, out, *grads)
        found = owner.launcher.backward(sizes, arrays, (out, stats), given, wanted)
        return None, None, *found
