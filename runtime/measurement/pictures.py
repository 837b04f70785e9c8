"""Time and memory over the length, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from .scaling import Scaling

plt.switch_backend("agg")


def growth_curves(found: Mapping[str, Scaling], path: Path) -> None:
    """One line per spec in both panels; the dense form of a spec is dashed in its colour."""
    figure, (times, sizes) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name, scaling in found.items():
        _lines(name, scaling, times, sizes)
    times.set(ylabel="forward and backward (s)")
    sizes.set(ylabel="peak memory (MiB)")
    for axes in (times, sizes):
        axes.set(xlabel="length N", xscale="log", yscale="log")
        axes.set_xscale("log", base=2)
        axes.grid(alpha=0.3)
    times.legend(fontsize=8, title="dashed: dense form" if _any_dense(found) else None)
    try:
        figure.savefig(path, dpi=150)
    finally:
        plt.close(figure)


def _lines(name: str, scaling: Scaling, times: Any, sizes: Any) -> None:
    colour = None
    for form, style in ((scaling.own, "-"), (scaling.dense, "--")):
        if form is None or not form.lengths:
            continue
        seconds = [form.median("step", length) for length in form.lengths]
        mebibytes = [form.memory[length] / 2**20 for length in form.lengths]
        label = name if form is scaling.own else None
        marked = {"marker": "o", "markersize": 3, "linestyle": style, "color": colour}
        (line,) = times.plot(form.lengths, seconds, label=label, **marked)
        sizes.plot(form.lengths, mebibytes, **{**marked, "color": line.get_color()})
        colour = line.get_color()


def _any_dense(found: Mapping[str, Scaling]) -> bool:
    return any(scaling.dense is not None for scaling in found.values())
