"""`attnc bench --scaling`: how time and memory of specs grow, beside their claims and dense forms."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ._console import console, fail, print_json, write
from ._measured import Asked, Sized, drawn, row_json, stopped_json, stopped_lines, watched
from ._specs import plain_refusals

if TYPE_CHECKING:
    from ..measurement.forms import Form
    from ..measurement.growth import Exponent
    from ..measurement.scaling import Scaling

COLOURS = {"ok": "green", "more": "red", "less": "yellow", "": "dim"}


def report_scaling(specs: Sequence[Sized], asked: Asked) -> None:
    """Measure specs over the lengths, and tell."""
    found = {item.name: _scaled(item, asked) for item in specs}
    if asked.plot is not None:
        from ..measurement.pictures import growth_curves

        drawn(asked.plot, growth_curves, found)
    if asked.is_json:
        print_json(_json(found, asked))
    else:
        _print(found)
    broken = [name for name, item in found.items() if not item.own.step.lengths]
    if broken:
        raise fail(f"nothing could be measured of {', '.join(broken)}")


def _scaled(item: Sized, asked: Asked) -> Scaling:
    from ..measurement.scaling import scale

    forms = _own_and_dense(item)
    with watched(item.name, asked, len(forms)) as watch:
        return scale(forms, asked.lengths, asked.limits, watch, asked.device)


def _own_and_dense(item: Sized) -> list[Form]:
    """The form that `auto` takes, and the dense one where there is one."""
    from ...compiler.lower import NotLowered

    with plain_refusals():
        own = item.form("auto", "auto")
    try:
        return [own, item.form("dense", "dense")]
    except NotLowered:
        return [own]


def _json(found: dict[str, Scaling], asked: Asked) -> dict[str, Any]:
    import torch

    return {
        "threads": torch.get_num_threads(),
        "seconds": asked.limits.seconds,
        "specs": {name: _one_json(item) for name, item in found.items()},
    }


def _one_json(item: Scaling) -> dict[str, Any]:
    return {
        "dims": item.own.at(max(item.own.lengths, default=0)).spec.dims,
        "lowering": item.own.lowering,
        "time": item.time.to_json(),
        "memory": item.memory.to_json(),
        "beats_dense_from": item.crossing,
        "own": _form_json(item.own),
        "dense": None if item.dense is None else _form_json(item.dense),
    }


def _form_json(form: Form) -> dict[str, Any]:
    rows = [row_json(form, length) for length in form.lengths]
    return {"lengths": rows, "stopped": stopped_json(form)}


def _print(found: dict[str, Scaling]) -> None:
    from rich import box
    from rich.table import Table

    from ..measurement.workload import in_words

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("spec", "lowering", "N up to", "time", "", "memory", "", "beats dense"):
        table.add_column(title, overflow="fold")
    for name, item in found.items():
        last = str(item.own.step.lengths[-1]) if item.own.step.lengths else "-"
        cells = (*_exponent(item.time), *_exponent(item.memory), _crossing(item))
        table.add_row(f"[bold]{name}[/]", in_words(item.own.lowering), last, *cells)
    shown = console()
    shown.print(table)
    shown.print(
        "time of forward and backward, peak memory: exponent measured over N >= 2048 (over all N), "
        "then what is claimed; ok within 0.15"
    )
    for name, item in found.items():
        for form in (item.own, item.dense):
            for line in stopped_lines(form) if form is not None else ():
                write(f"{name}, {line}", sys.stderr)


def _exponent(found: Exponent) -> tuple[str, str]:
    """`1.02 (0.91)` and `1.00 ok`."""
    measured = f"{_number(found.measured)} ({_number(found.overall)})"
    if found.claimed is None:
        return measured, "[dim]no claim[/]" if found.overall is not None else "-"
    verdict = found.verdict
    return measured, f"{found.claimed:.2f} [{COLOURS[verdict]}]{verdict}[/]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _crossing(item: Scaling) -> str:
    if item.dense is None:
        return "[dim]is dense[/]"
    if not item.dense.step.lengths:
        return "-"
    if item.crossing is None:
        return f"not up to {item.dense.step.lengths[-1]}"
    return f"from N = {item.crossing}"
