"""Time and memory over the length, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from .forms import Form, Measured
from .scaling import Scaling

plt.switch_backend("agg")
#: of forms, so that lines that lie on each other can be told apart
MARKERS = "osD^vPX*<>"
#: a scale over less than that has numbers between the powers of ten
FEW = 300


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
    _save(figure, path)


def form_curves(found: Mapping[str, Sequence[Form]], path: Path) -> None:
    """Time above memory, forward beside forward with backward, for each spec.

    A form has one colour and marker, whatever the spec.
    """
    figure = plt.figure(figsize=(11, 7.2 * len(found)), layout="constrained")
    parts = figure.subfigures(len(found), 1, squeeze=False)[:, 0]
    names = dict.fromkeys(form.name for forms in found.values() for form in forms)
    looks = {
        name: (f"C{place % 10}", mark)
        for place, (name, mark) in enumerate(zip(names, cycle(MARKERS), strict=False))
    }
    for part, (name, forms) in zip(parts, found.items(), strict=True):
        part.suptitle(name, fontweight="bold")
        _panels(part, forms, looks)
    _save(figure, path)


def _panels(figure: Any, forms: Sequence[Form], looks: Mapping[str, tuple[str, str]]) -> None:
    """Panels of a row have one scale, so that the backward can be read beside the forward."""
    (times, sizes) = panels = figure.subplots(2, 2, sharex=True, sharey="row")
    for form in forms:
        colour, marker = looks[form.name]
        for column, measured in enumerate((form.forward, form.step)):
            marked = {"marker": marker, "markersize": 5, "color": colour, "label": form.name}
            milliseconds = {n: 1e3 * seconds for n, seconds in measured.medians().items()}
            _line(times[column], milliseconds, **marked)
            _line(sizes[column], _mebibytes(measured), **marked)
    times[0].set(title="forward", ylabel="time (ms)")
    times[1].set(title="forward and backward")
    sizes[0].set(ylabel="peak memory (MiB)")
    for axes in panels.flat:
        _as_powers(axes, sorted({length for form in forms for length in form.lengths}))
    for axes in sizes:
        axes.set(xlabel="length N")
    handles, labels = times[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)


def _line(axes: Any, values: Mapping[int, float], **marked: Any) -> None:
    """A line, also of no points, for the legend."""
    axes.plot(list(values), list(values.values()), **marked)


def _as_powers(axes: Any, lengths: Sequence[int]) -> None:
    """Both axes by powers, with the lengths and plain numbers on them."""
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.minorticks_off()
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < FEW * low else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)


def _lines(name: str, scaling: Scaling, times: Any, sizes: Any) -> None:
    colour = None
    for form, style in ((scaling.own, "-"), (scaling.dense, "--")):
        if form is None or not form.step.lengths:
            continue
        seconds = form.step.medians()
        label = name if form is scaling.own else None
        marked = {"marker": "o", "markersize": 3, "linestyle": style, "color": colour}
        (line,) = times.plot(list(seconds), list(seconds.values()), label=label, **marked)
        colour = line.get_color()
        _line(sizes, _mebibytes(form.step), **{**marked, "color": colour})


def _mebibytes(measured: Measured) -> dict[int, float]:
    return {length: measured.peak[length] / 2**20 for length in measured.lengths}


def _any_dense(found: Mapping[str, Scaling]) -> bool:
    return any(scaling.dense is not None for scaling in found.values())


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=150)
    finally:
        plt.close(figure)
