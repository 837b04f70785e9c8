"""References of family grids: windows around or under each pixel, with a bias by offset."""

from __future__ import annotations

import torch
from torch import Tensor

from .case import Arrays, Case
from .images import raster
from .pieces import dot_scores, linear, masked_softmax, output, qkv


def clamped(place: int, count: int, size: int) -> range:
    """The `size` places nearest to one of `count`, moved inside."""
    first = max(min(place - size // 2, count - size), 0)
    return range(first, min(first + size, count))


def biased(w: Arrays, a: Arrays, mask: Tensor, bias: Tensor, cosine: bool = False) -> Tensor:
    """Softmax of q . k / sqrt(d) + bias, or of the heated cosine + bias, under a mask."""
    q, k, v = qkv(w, a, 2)
    scores = dot_scores(q, k)
    if cosine:
        unit = [u / (u.square().sum(-1, keepdim=True) + 1e-12).sqrt() for u in (q, k)]
        scores = unit[0] @ unit[1].mT * w["heat"].exp().clamp(max=100)[:, None, None]
    return output(w, masked_softmax(scores + bias, mask) @ v)


def neighborhood(w: Arrays, a: Arrays, size: int, dilation: int) -> Tensor:
    """The window of i in its own lane, i mod dilation, clamped; a bias for each offset."""
    length = a["x"].shape[1]
    mask = torch.zeros(length, length, dtype=torch.bool)
    gap = torch.zeros(length, length, dtype=torch.long)
    for i in range(length):
        lane = list(range(i % dilation, length, dilation))
        here = lane.index(i)
        for place in clamped(here, len(lane), size):
            mask[i, lane[place]] = True
            gap[i, lane[place]] = place - here
    return biased(w, a, mask, w["bias"][:, gap + size - 1])


def neighborhood_2d(w: Arrays, a: Arrays, size: int, width: int) -> Tensor:
    """Windows of size x size pixels, clamped in each axis."""
    length = a["x"].shape[1]
    order = raster(length, width)
    height = -(-length // width)
    mask = torch.zeros(length, length, dtype=torch.bool)
    bias = torch.zeros(2, length, length, dtype=a["x"].dtype)
    for i, (row, col) in enumerate(order):
        for r in clamped(row, height, size):
            for c in clamped(col, width, size):
                if r * width + c < length:
                    mask[i, r * width + c] = True
                    bias[:, i, r * width + c] = w["bias"][:, r - row + size - 1, c - col + size - 1]
    return biased(w, a, mask, bias)


def offsets(size: int, dtype: torch.dtype) -> Tensor:
    """sign(r) log2(1 + 8 |r| / (size - 1)) / log2(8) for r = 1 - size .. size - 1, for two axes."""
    r = torch.arange(1 - size, size, dtype=dtype) / max(size - 1, 1)
    wide = r.sign() * (1 + 8 * r.abs()).log2() / 3
    return torch.stack(torch.meshgrid(wide, wide, indexing="ij"), -1)


def swin(
    w: Arrays,
    a: Arrays,
    size: int,
    shift: int,
    height: int,
    width: int,
    apart: str = "hidden",
    two: bool = False,
) -> Tensor:
    """Windows of the turned image; regions as in the published code: three bands in each axis."""
    x = a["x"]
    length = height * width
    turned = [((row - shift) % height, (col - shift) % width) for row, col in raster(length, width)]

    def band(place: int, count: int) -> int:
        return int(place >= count - size) + int(place >= count - shift)

    if two:
        table = offsets(size, x.dtype)
        hidden = linear(w, "bias_1", table).relu()
        bias_table = (16 * linear(w, "bias_2", hidden).sigmoid()).movedim(-1, 0)
    else:
        bias_table = w["bias"]
    mask = torch.zeros(length, length, dtype=torch.bool)
    less = torch.zeros(length, length, dtype=x.dtype)
    down, right = torch.zeros(2, length, length, dtype=torch.long)
    for i, (row, col) in enumerate(turned):
        for j, (r, c) in enumerate(turned):
            if (row // size, col // size) != (r // size, c // size):
                continue
            alike = (band(row, height), band(col, width)) == (band(r, height), band(c, width))
            mask[i, j] = alike or apart == "penalised"
            less[i, j] = 0 if alike else 100
            down[i, j], right[i, j] = row - r + size - 1, col - c + size - 1
    return biased(w, a, mask, bias_table[:, down, right] - less, two)


SMALL: dict[str, object] = {"d_model": 8, "heads": 2}

CASES = (
    Case(
        "neighborhood",
        SMALL | {"size": 3},
        lambda w, a: neighborhood(w, a, 3, 1),
        ((2, 8, None), (1, 13, None), (1, 2, None)),
    ),
    Case(
        "neighborhood",
        SMALL | {"size": 3, "dilation": 2},
        lambda w, a: neighborhood(w, a, 3, 2),
        ((2, 8, None), (1, 5, None)),
        label="dilated",
    ),
    Case(
        "neighborhood_2d",
        SMALL | {"size": 3, "width": 4},
        lambda w, a: neighborhood_2d(w, a, 3, 4),
        ((2, 8, None), (1, 16, None), (1, 13, None)),
    ),
    *(
        Case(
            "swin",
            SMALL | {"size": 2, "shift": shift, "height": 4, "width": 4, "apart": apart},
            lambda w, a, shift=shift, apart=apart: swin(w, a, 2, shift, 4, 4, apart),
            ((2, 16, None),),
            label=f"shift_{shift}_{apart}",
        )
        for shift, apart in ((0, "hidden"), (1, "hidden"), (1, "penalised"))
    ),
    Case(
        "swin",
        SMALL | {"size": 3, "shift": 1, "height": 3, "width": 6},
        lambda w, a: swin(w, a, 3, 1, 3, 6),
        ((1, 18, None),),
        label="wide",
    ),
    Case(
        "swin_v2",
        SMALL | {"size": 2, "shift": 1, "height": 4, "width": 2, "d_bias": 5},
        lambda w, a: swin(w, a, 2, 1, 4, 2, two=True),
        ((2, 8, None), (1, 8, None)),
    ),
)
