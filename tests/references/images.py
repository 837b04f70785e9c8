"""References of family grids: images in raster or block order, N * N masks from coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

from .attention import multi_head
from .case import Arrays, Case, Shape
from .pieces import dot_scores, linear, masked_softmax, merge_heads, project


def raster(length: int, width: int) -> Places:
    """(row, column) of each pixel, row by row."""
    return [divmod(p, width) for p in range(length)]


def block_raster(length: int, rows: int, cols: int, width: int) -> Places:
    """(row, column) of each pixel, block by block, pixels of a block row by row."""
    places = []
    for p in range(length):
        block, inside = divmod(p, rows * cols)
        down, right = divmod(block, width // cols)
        places.append((down * rows + inside // cols, right * cols + inside % cols))
    return places


def mask_of(length: int, sees: object) -> Tensor:
    """The N x N mask of a predicate of two places in the sequence."""
    return torch.tensor([[bool(sees(i, j)) for j in range(length)] for i in range(length)])  # type: ignore[operator]


def image_local_1d(w: Arrays, a: Arrays, block: int, halo: int, causal: bool) -> Tensor:
    """Block of i: from its first pixel - halo to itself, or to its last pixel + halo."""

    def sees(i: int, j: int) -> bool:
        first = i - i % block
        return first - halo <= j <= (i if causal else first + block - 1 + halo)

    return multi_head(w, a, 2, mask=mask_of(a["x"].shape[1], sees))


def image_local_2d(
    w: Arrays,
    a: Arrays,
    rows: int,
    cols: int,
    width: int,
    above: int,
    beside: int,
    causal: bool,
) -> Tensor:
    """Memory: the block of the query and a flange; causal: rows above only, places up to its own."""
    length = a["x"].shape[1]
    order = block_raster(length, rows, cols, width) if causal else raster(length, width)

    def sees(i: int, j: int) -> bool:
        top, left = order[i][0] // rows * rows, order[i][1] // cols * cols
        tall = range(top - above, top + rows + (0 if causal else above))
        wide = range(left - beside, left + cols + beside)
        return order[j][0] in tall and order[j][1] in wide and (j <= i or not causal)

    return multi_head(w, a, 2, mask=mask_of(length, sees))


def along(w: Arrays, x: Tensor, mark: str, mask: Tensor) -> Tensor:
    """Heads of attention under a mask, with the projections of one axis."""
    q, k, v = (project(w, f"{name}_{mark}", x, 2) for name in ("q", "k", "v"))
    return merge_heads(masked_softmax(dot_scores(q, k), mask) @ v)


def axial(w: Arrays, a: Arrays, width: int, form: str) -> Tensor:
    """Same row, and same column: the sum of both, or one after the other."""
    x = a["x"]
    order = raster(x.shape[1], width)
    row = mask_of(len(order), lambda i, j: order[i][0] == order[j][0])
    column = mask_of(len(order), lambda i, j: order[i][1] == order[j][1])
    by_row = linear(w, "out_r", along(w, x, "r", row))
    if form == "sum":
        return by_row + linear(w, "out_c", along(w, x, "c", column))
    return linear(w, "out_c", along(w, by_row, "c", column))


def axial_causal(w: Arrays, a: Arrays, width: int) -> Tensor:
    """Masked columns of unmasked rows, moved down by a row, are added to x; then masked rows."""
    x = a["x"]
    length = x.shape[1]
    order = raster(length, width)
    row = mask_of(length, lambda i, j: order[i][0] == order[j][0])
    column = mask_of(length, lambda i, j: order[i][1] == order[j][1] and order[j][0] <= order[i][0])
    by_row = linear(w, "out_r", along(w, x, "r", row))
    upper = linear(w, "out_c", along(w, by_row, "c", column))
    moved = torch.cat([torch.zeros_like(x[:, :width]), upper], 1)[:, :length]
    seen = row & mask_of(length, lambda i, j: j <= i)
    return linear(w, "out", along(w, x + moved, "i", seen))


Places = list[tuple[int, int]]
SMALL: dict[str, object] = {"d_model": 8, "heads": 2}
SHAPES: tuple[Shape, ...] = ((2, 12, None), (1, 16, None), (1, 7, None))
BLOCKS = SMALL | {"rows": 2, "cols": 2, "width": 4, "above": 1, "beside": 1}

CASES = (
    Case(
        "image_local_1d",
        SMALL | {"block": 4, "halo": 3},
        lambda w, a: image_local_1d(w, a, 4, 3, True),
        SHAPES,
    ),
    Case(
        "image_local_1d_unmasked",
        SMALL | {"block": 3, "halo": 2},
        lambda w, a: image_local_1d(w, a, 3, 2, False),
        SHAPES,
    ),
    Case(
        "image_local_2d",
        BLOCKS,
        lambda w, a: image_local_2d(w, a, 2, 2, 4, 1, 1, True),
        SHAPES,
    ),
    Case(
        "image_local_2d",
        BLOCKS | {"rows": 1, "cols": 3, "width": 6, "above": 2, "beside": 2},
        lambda w, a: image_local_2d(w, a, 1, 3, 6, 2, 2, True),
        ((1, 17, None),),
        label="rows_of_blocks",
    ),
    Case(
        "image_local_2d_unmasked",
        BLOCKS,
        lambda w, a: image_local_2d(w, a, 2, 2, 4, 1, 1, False),
        SHAPES,
    ),
    Case("axial", SMALL | {"width": 4}, lambda w, a: axial(w, a, 4, "sum"), SHAPES),
    Case(
        "axial",
        SMALL | {"width": 3, "form": "sequential"},
        lambda w, a: axial(w, a, 3, "sequential"),
        SHAPES,
        label="sequential",
    ),
    Case("axial_causal", SMALL | {"width": 4}, lambda w, a: axial_causal(w, a, 4), SHAPES),
)
