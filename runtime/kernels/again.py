"""Gradients of an attend that can be differentiated again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from ...compiler.tracing import is_transformed


def is_batched(*grads: Tensor | None) -> bool:
    """Whether many gradients are asked for at once."""
    legacy = torch._C._functorch.is_legacy_batchedtensor
    return is_transformed() or any(grad is not None and legacy(grad) for grad in grads)


def differentiable(
    dense: fx.GraphModule,
    sizes: Sequence[int],
    arrays: Sequence[Tensor],
    wanted: Sequence[bool],
    grads: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Gradients by the dense form of an attend: all pairs at once.

    Of aliases: one array may be computed from another, which is no business of the attend.
    """
    with torch.enable_grad():
        arrays = [array.view_as(array) for array in arrays]
        made = dense(*sizes, *arrays)
    inputs = [array for array, want in zip(arrays, wanted, strict=True) if want]
    pairs = [
        (item, grad.to(item.dtype))
        for item, grad in zip(made, grads, strict=True)
        if grad is not None and item is not None and item.requires_grad
    ]
    if not inputs or not pairs:
        return [None] * len(arrays)
    found = iter(
        torch.autograd.grad(
            [item for item, _ in pairs],
            inputs,
            [grad for _, grad in pairs],
            create_graph=torch.is_grad_enabled(),
            allow_unused=True,
        )
    )
    return [next(found) if want else None for want in wanted]
