"""Figures with panels, in files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ._console import fail


@contextmanager
def figure_in(
    output: Path, rows: int, columns: int, width: float, height: float
) -> Iterator[tuple[Any, Any]]:
    """A figure with a grid of panels of a size in inches, written when all is drawn."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (width * columns, height * rows)
    made, grid = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    try:
        yield made, grid
        _save(made, output)
    finally:
        pyplot.close(made)


def _save(made: Any, output: Path) -> None:
    try:
        made.savefig(output, dpi=150)
    except OSError as error:
        raise fail(f"cannot write {output}: {error.strerror}", 2) from error


def label(axes: Any, name: str, rows: str, columns: str) -> None:
    """Write the name of a panel, and what its rows and columns are."""
    axes.set_title(name, fontsize=9)
    axes.set_xlabel(columns, fontsize=8)
    axes.set_ylabel(rows, fontsize=8)
    axes.tick_params(labelsize=7)
