"""Reference of the perceiver: latents between inputs and output queries."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import gelu

from .attention import multi_head
from .case import CROSS, Arrays, Case
from .models import block, norm
from .pieces import context_of, linear, under


def attended(weights: Arrays, name: str, x: Tensor, context: Tensor) -> Tensor:
    """Multi-head attention of a submodule."""
    return multi_head(under(weights, name), {"x": x, "context": context}, 2)


def fed(weights: Arrays, name: str, x: Tensor) -> Tensor:
    """x + W_2 gelu(W_1 LN(x) + b_1) + b_2."""
    inner = gelu(linear(weights, f"{name}_1", norm(weights, f"norm_{name}", x)))
    return x + linear(weights, f"{name}_2", inner)


def perceiver(weights: Arrays, inputs: Arrays, layers: int, residual: bool) -> Tensor:
    """Latents read the context, pass through blocks, and are read by x."""
    x, context = inputs["x"], context_of(inputs)
    z = weights["first"].expand(x.shape[0], -1, -1)
    read = norm(weights, "norm_in", context)
    z = fed(
        weights, "taken", z + attended(weights, "gathered", norm(weights, "norm_first", z), read)
    )
    for layer in range(layers):
        z = block(under(weights, f"body.{layer}"), z, True, act=gelu)
    z = norm(weights, "norm_latent", z)
    told = attended(weights, "told", norm(weights, "norm_out", x), z)
    return fed(weights, "made", x + told if residual else told)


DIMS: dict[str, object] = {"d_model": 8, "heads": 2, "latents": 3, "layers": 2, "d_ff": 8}

CASES = (
    Case("perceiver", DIMS, lambda w, a: perceiver(w, a, 2, True), CROSS),
    Case(
        "perceiver",
        DIMS | {"layers": 1, "residual": "none"},
        lambda w, a: perceiver(w, a, 1, False),
        CROSS,
        label="plain_queries",
    ),
)
