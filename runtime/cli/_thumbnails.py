"""Masks by blocks, in the terminal or in a file: for lengths at which no pair can be drawn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ._console import PIPED_WIDTH, console, write
from ._figures import figure_in, label

if TYPE_CHECKING:
    from rich.text import Text
    from torch import Tensor

    from ..module import Module
    from ..thumbnails import Thumbnail

MOST_PANELS = 8
#: cells along a side, in the terminal and in a file
TERMINAL, FILE = 64, 512
SHADES = "·░▒▓█"


def plot(module: Module, length: int, attend: str | None, output: Path | None) -> None:
    """Draw the mask of an attend by blocks."""
    from ..thumbnails import thumbnail

    if output is None:
        shown = console()
        width = shown.width if shown.is_terminal else PIPED_WIDTH
        _print(thumbnail(module, length, min(TERMINAL, width - 2), attend), module.spec.name)
        return
    picture = thumbnail(module, length, FILE, attend)
    _save(picture, module.spec.name, output)
    write(picture.note, sys.stderr)
    write(f"wrote {output}", sys.stderr)


def _print(picture: Thumbnail, title: str) -> None:
    from rich.text import Text

    from ..pictures import distinct

    shown = console()
    high, wide = (f"{size:,}" for size in picture.cell)
    shown.print(Text.assemble((title, "bold"), f": blocks of the mask of {picture.attend}"))
    axes = f"rows {picture.rows}, columns {picture.columns}; a cell is {high} x {wide} tokens"
    shown.print(Text(axes, "dim"))
    panels = distinct(picture.array)
    for name, head in panels[:MOST_PANELS]:
        shown.print(drawn(name, head), soft_wrap=True)
    if len(panels) > MOST_PANELS:
        shown.print(Text(f"and {len(panels) - MOST_PANELS} more", "dim"))
    shown.print(Text("█ full, ▓▒░ in part, · empty", "dim"))
    shown.print(Text(picture.note, "dim"), soft_wrap=True)


def drawn(name: str, head: Tensor) -> Text:
    """A line for two rows of cells; what is full, and what is empty, in no other shade."""
    from rich.text import Text

    text = Text(f"{name}\n" if name else "")
    pairs = list(zip(head[::2], [*head[1::2], *head[-1:]], strict=False))
    lines = [((upper + lower) / 2).tolist() for upper, lower in pairs]
    text.append("\n".join("".join(_shade(share) for share in line) for line in lines), "blue")
    return text


def _shade(share: float) -> str:
    if share in (0.0, 1.0):
        return SHADES[-1 if share else 0]
    return SHADES[min(3, 1 + int(3 * share))]


def _save(picture: Thumbnail, title: str, output: Path) -> None:
    from ..pictures import distinct

    panels = distinct(picture.array)[:MOST_PANELS]
    heading = f"{title}: blocks of the mask of {picture.attend}\n{picture.note}"
    with figure_in(output, 1, len(panels), 4, 4.4) as (figure, grid):
        for axes, (name, head) in zip(grid.flat, panels, strict=True):
            high, wide = (n * size for n, size in zip(head.shape, picture.cell, strict=True))
            extent = (0, wide, high, 0)
            axes.imshow(head.numpy(), cmap="Blues", vmin=0, vmax=1, extent=extent, aspect="auto")
            label(axes, name, picture.rows, picture.columns)
        figure.suptitle(heading, fontsize=8)
