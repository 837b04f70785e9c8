"""Contractions: sums of products, and the learned maps and norms that own parameters."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch

from ...dsl.core import Axis, Contract, Linear, Norm
from .. import torch_ops as ops
from .emitter import Value, by_rank

if TYPE_CHECKING:
    from .dense import Dense


def einsum(
    e: Dense,
    left: Value,
    right: Value,
    left_dims: tuple[int, ...],
    right_dims: tuple[int, ...],
    drop: tuple[Axis, ...] = (),
) -> Value:
    """Sum of products over pairs of dims and over axes to drop."""
    letters: dict[Any, str] = {}

    def letter(key: Any) -> str:
        return letters.setdefault(
            key, "bhijklmnopqrstuvwxyzacdefgABCDEFGHIJKLMNOPQRSTUVWXYZ"[len(letters)]
        )

    axes = by_rank(axis for value in (left, right) for axis in value.axes)
    for axis in axes:
        letter(axis)
    pairs = {("r", b): ("l", a) for a, b in zip(left_dims, right_dims, strict=True)}
    left_keys = [("l", n) for n in range(left.dims)]
    right_keys = [pairs.get(("r", n), ("r", n)) for n in range(right.dims)]
    kept = [key for key in left_keys if key[1] not in left_dims]
    kept += [key for key in right_keys if key[0] == "r"]
    a = "".join(letter(axis) for axis in left.axes) + "".join(letter(key) for key in left_keys)
    b = "".join(letter(axis) for axis in right.axes) + "".join(letter(key) for key in right_keys)
    out_axes = tuple(axis for axis in axes if axis not in drop)
    out = "".join(letter(axis) for axis in out_axes) + "".join(letter(key) for key in kept)
    nodes = [e.tensor(left), e.tensor(right)]
    if left.wide != right.wide:
        both = e.call(ops.same_dtype, *nodes)
        nodes = [e.call(operator.getitem, both, 0), e.call(operator.getitem, both, 1)]
    made = e.call(torch.einsum, f"{a},{b}->{out}", *nodes)
    return Value(made, out_axes, len(kept), left.wide or right.wide)


def contract(e: Dense, node: Contract) -> Value:
    """Sum of products over pairs of feature dims."""
    return einsum(e, e.lower(node.left), e.lower(node.right), node.left_dims, node.right_dims)


def linear(e: Dense, node: Linear) -> Value:
    """A learned linear map: all feature dims in, axes and dims out."""
    arg = e.lower(node.arg)
    tensor = e.narrowed(Value(e.tensor(arg), arg.axes, arg.dims, arg.wide))
    if arg.dims > 1:
        tensor = e.method("flatten", tensor, -arg.dims)
    made = e.module(node.name, tensor)
    axes = (*arg.axes, *node.to_axes)
    sizes = [axis.size.value for axis in node.to_axes if axis.size is not None]
    sizes += [dim.value for dim in node.to_dims]
    if len(sizes) != 1:
        sizes = [-1, *sizes[1:]] if sizes else []
        made = e.method("unflatten", made, -1, sizes) if sizes else e.method("squeeze", made, -1)
    value = e.arrange(made, axes, len(node.to_dims))
    e.know(value.axes, value.node)
    return value


def norm(e: Dense, node: Norm) -> Value:
    """A layer or root-mean-square norm over the feature dims."""
    arg = e.lower(node.arg)
    shape = [dim.value for dim in node.type.dims]
    if node.affine:
        return Value(e.module(node.name, e.narrowed(arg)), arg.axes, arg.dims)
    if node.op == "layer":
        made = e.call(torch.nn.functional.layer_norm, arg.node, shape, None, None, node.eps)
    else:
        made = e.call(torch.nn.functional.rms_norm, arg.node, shape, None, node.eps)
    return Value(made, arg.axes, arg.dims, arg.wide)
