"""`attnc plot`: masks, priors, weights and scores as pictures, in a file or in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from . import _thumbnails
from ._console import PIPED_WIDTH, console, fail, is_coloured, write
from ._figures import figure_in, label
from ._specs import compiled, dims_option, length_option, plain_refusals, typed

if TYPE_CHECKING:
    from torch import Tensor

    from ..pictures import Picture, What

EPILOG = """\b
Examples:
  attnc plot sliding_window --dim left=8 --dim right=0
  attnc plot alibi --what prior -o alibi.png
  attnc plot sliding_window --length 1000000
  attnc plot longformer --attend wide -o wide.svg --length 64
"""
MOST_PANELS = 16
#: tokens up to which every pair can be drawn
MOST_PAIRED = 4096
SHADES = " ░▒▓█"


@click.command(epilog=EPILOG)
@click.argument("spec")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A .png, .svg or .pdf file; without it the picture is drawn in the terminal.",
)
@click.option(
    "--what",
    type=click.Choice(["mask", "prior", "weights", "scores"]),
    default="mask",
    show_default=True,
    help="mask: who sees whom; prior: what of the score does not depend on content; weights and "
    "scores: on random tokens.",
)
@click.option("--attend", help="Which attend, for specs with several.")
@click.option("--blocks", is_flag=True, help="The mask by blocks; so it is from 4097 tokens on.")
@length_option(48, 100_000_000)
@dims_option
def command(
    spec: str,
    output: Path | None,
    what: str,
    attend: str | None,
    blocks: bool,
    length: int,
    dims: tuple[tuple[str, Any], ...],
) -> None:
    """Plot the mask, prior, weights or scores of SPEC."""
    if output is not None and output.suffix not in (".png", ".svg", ".pdf"):
        raise click.BadParameter("end it with .png, .svg or .pdf", param_hint="--output")
    by_blocks = blocks or (what == "mask" and length > MOST_PAIRED)
    if what != "mask" and (blocks or length > MOST_PAIRED):
        raise click.BadParameter(
            f"only masks are drawn by blocks, or of more than {MOST_PAIRED} tokens",
            param_hint="--what",
        )
    from ..pictures import NoPicture, draw

    module = compiled(typed(spec, dict(dims)).document, dict(dims))
    with plain_refusals():
        try:
            if by_blocks:
                _thumbnails.plot(module, length, attend, output)
                return
            picture = draw(module, cast("What", what), length, attend)
        except NoPicture as error:
            raise fail(str(error)) from error
    if picture.note:
        write(picture.note, sys.stderr)
    if output is None:
        _print(picture, module.spec.name)
    else:
        save(picture, module.spec.name, output)
        write(f"wrote {output}", sys.stderr)


def save(picture: Picture, title: str, output: Path) -> None:
    """The picture as a file, one panel per head that differs."""
    from ..pictures import distinct

    panels = distinct(picture.array)[:MOST_PANELS]
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    with figure_in(output, rows, columns, 3.2, 3.2) as (figure, grid):
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, (name, head) in zip(grid.flat, panels, strict=False):
            _panel(axes, name, head, picture)
        figure.suptitle(f"{title}: {picture.what} of {picture.attend}")


def _panel(axes: Any, name: str, head: Tensor, picture: Picture) -> None:
    is_mask = picture.what == "mask"
    values = head.float().masked_fill(~head.float().isfinite(), float("nan")).numpy()
    limits = {"vmin": 0, "vmax": 1} if is_mask else {}
    shown = axes.imshow(values, cmap="Blues" if is_mask else "viridis", **limits)
    label(axes, name, picture.rows, picture.columns)
    if not is_mask:
        axes.figure.colorbar(shown, ax=axes, shrink=0.8)


# -- in the terminal ------------------------------------------------------------------------


def _print(picture: Picture, title: str) -> None:
    from rich.columns import Columns
    from rich.text import Text

    from ..pictures import distinct

    shown = console()
    width = shown.width if shown.is_terminal else PIPED_WIDTH
    panels = distinct(picture.array)
    shown.print(Text.assemble((title, "bold"), f": {picture.what} of {picture.attend}"))
    shown.print(Text(f"rows {picture.rows}, columns {picture.columns}", "dim"))
    drawn = [_drawn(name, head, picture.what, width) for name, head in panels[:MOST_PANELS]]
    shown.print(Columns(drawn, padding=(0, 2)))
    if len(panels) > MOST_PANELS:
        shown.print(Text(f"and {len(panels) - MOST_PANELS} more", "dim"))


def _drawn(name: str, head: Tensor, what: str, width: int) -> Any:
    from rich.text import Text

    head = _reduced(head, width - 2)
    lines = _halves(head) if what == "mask" else _shades(head)
    text = Text(no_wrap=True)
    text.append(f"{name}\n" if name else "", "bold")
    for line in lines:
        text.append_text(line)
        text.append("\n")
    text.rstrip()
    return text


def _reduced(head: Tensor, width: int) -> Tensor:
    """The array at no more than `width` columns, each a mean of its block."""
    import torch

    values = head.float()
    values = torch.where(values.isfinite(), values, torch.nan)
    if values.shape[1] <= width:
        return values
    step = -(-values.shape[1] // width)
    rows, columns = (-(-size // step) * step for size in values.shape)
    padded = torch.full((rows, columns), torch.nan)
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(rows // step, step, columns // step, step)
    return torch.nanmean(blocks, dim=(1, 3))


def _halves(head: Tensor) -> list[Any]:
    """Two rows of a mask per line, as half blocks."""
    from rich.text import Text

    rows = (head > 0.5).tolist()
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    signs = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): "·"}
    return [
        Text("".join(signs[pair] for pair in zip(upper, lower, strict=True)), "blue")
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]


def _shades(head: Tensor) -> list[Any]:
    """Two rows per line: coloured half blocks, or shades of grey where there are no colours."""
    import torch

    seen = head[head.isfinite()]
    low, high = (float(seen.min()), float(seen.max())) if seen.numel() else (0.0, 1.0)
    level = torch.nan_to_num((head - low) / (high - low or 1.0), nan=-1.0)
    if level.shape[0] % 2:
        level = torch.cat([level, torch.full((1, level.shape[1]), -1.0)])
    pairs = zip(level[::2].tolist(), level[1::2].tolist(), strict=True)
    line = _coloured if is_coloured(sys.stdout) else _grey
    return [line(upper, lower) for upper, lower in pairs]


def _grey(upper: list[float], lower: list[float]) -> Any:
    from rich.text import Text

    means = [(max(a, 0.0) + max(b, 0.0)) / 2 for a, b in zip(upper, lower, strict=True)]
    return Text("".join(SHADES[min(4, int(5 * mean))] for mean in means))


def _coloured(upper: list[float], lower: list[float]) -> Any:
    from rich.text import Text

    text = Text()
    for above, below in zip(upper, lower, strict=True):
        text.append("▀", f"{_colour(above)} on {_colour(below)}")
    return text


def _colour(level: float) -> str:
    """From dark blue over green to yellow; black where there is nothing."""
    if level < 0:
        return "rgb(0,0,0)"
    red, green = int(40 + 215 * level**2), int(20 + 210 * level)
    return f"rgb({red},{green},{int(110 * (1 - level) + 30)})"
