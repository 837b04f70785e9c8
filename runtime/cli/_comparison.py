"""`attnc bench`: time and memory of every form of specs, side by side at each length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ._console import console, fail, print_json
from ._growing import grows
from ._measured import Asked, Sized, drawn, row_json, stopped_json, stopped_lines, watched
from ._specs import plain_refusals

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..measurement.forms import Form, Measured
    from ..measurement.lowerings import Refused

#: from here on a single length is approached by shorter ones, which tell whether there is memory for it
LONG = 8192
#: lines are not longer, also where a terminal is wider
WIDTH = 100
NOTE = (
    "ratio: to the fastest; memory: the most that torch holds at once beyond weights and inputs, "
    "without what kernels in C++ take for themselves"
)


class Compared(NamedTuple):
    """The forms of a spec as measured, and those that it does not take."""

    forms: list[Form]
    refused: list[Refused]

    def lengths(self, asked: Asked) -> list[int]:
        """The lengths that at least one form reached."""
        reached = {length for form in self.forms for length in form.lengths}
        return [length for length in asked.lengths if length in reached]


def report_forms(specs: Sequence[Sized], asked: Asked, is_compiled: bool) -> None:
    """Measure all forms of specs, and tell."""
    found = {item.name: _compared(item, asked, is_compiled) for item in specs}
    if asked.plot is not None:
        from ..measurement.pictures import form_curves

        drawn(asked.plot, form_curves, {name: item.forms for name, item in found.items()})
    if asked.is_json:
        print_json([_json(name, item, asked) for name, item in found.items()])
    else:
        _print(found, asked)
    broken = [name for name, item in found.items() if not item.lengths(asked)]
    if broken:
        raise fail(f"nothing could be measured of {', '.join(broken)}")


def _compared(item: Sized, asked: Asked, is_compiled: bool) -> Compared:
    from ..measurement.forms import Form
    from ..measurement.lowerings import compiled_dense, forms_of, many_lengths
    from ..measurement.measuring import measure

    with plain_refusals():
        forms, refused = forms_of(item.form)
    if not is_compiled:
        forms = [form for form in forms if not form.is_compiled]
    elif isinstance(made := compiled_dense(forms), Form):
        forms.append(made)
    else:
        refused.append(made)
    with watched(item.name, asked, len(forms)) as watch, many_lengths():
        limits, approach = asked.limits, _approach(item, asked.lengths)
        measure(forms, asked.lengths, limits, watch, asked.device, approach=approach)
    return Compared(forms, refused)


def _approach(item: Sized, lengths: Sequence[int]) -> tuple[int, ...]:
    first = lengths[0]
    return (first // 4, first // 2) if first >= LONG and not grows(item.dims) else ()


def _json(name: str, found: Compared, asked: Asked) -> dict[str, Any]:
    import torch

    forms = [
        {
            "form": form.name,
            "lowering": form.lowering,
            "lengths": [row_json(form, length) for length in asked.lengths],
            "stopped": stopped_json(form),
        }
        for form in found.forms
    ]
    refused = {item.name: item.reason for item in found.refused}
    dims = found.forms[0].at(asked.lengths[-1]).spec.dims
    threads = torch.get_num_threads()
    return {"name": name, "dims": dims, "threads": threads, "forms": forms, "refused": refused}


# -- as tables ------------------------------------------------------------------------------


def _print(found: Mapping[str, Compared], asked: Asked) -> None:
    shown = console()
    shown.width = min(shown.width, WIDTH)
    for name, item in found.items():
        _print_one(shown, name, item, asked)
    shown.print(NOTE, style="dim")


def _print_one(shown: Console, name: str, found: Compared, asked: Asked) -> None:
    from rich.text import Text

    for length in found.lengths(asked):
        shown.print(Text.assemble((name, "bold"), f"  at length {length}"))
        shown.print(_table(found.forms, length))
    for form in found.forms:
        for line in stopped_lines(form):
            shown.print(Text(line, "yellow"))
    for item in found.refused:
        shown.print(Text(f"not {item.name}: {item.reason}", "dim"))


def _table(forms: Sequence[Form], length: int) -> Table:
    from rich import box
    from rich.table import Table

    from ..measurement.workload import in_words

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, most in (("form", 14), ("takes", 12)):
        table.add_column(title, overflow="fold", max_width=most)
    for title in ("forward", "ratio", "memory", "and backward", "ratio", "memory"):
        table.add_column(title, justify="right", no_wrap=True)
    fastest = [_least([form.forward for form in forms], length)]
    fastest.append(_least([form.step for form in forms], length))
    for form in forms:
        pairs = zip((form.forward, form.step), fastest, strict=True)
        cells = [cell for found, least in pairs for cell in _cells(found, length, least)]
        table.add_row(f"[bold]{form.name}[/]", in_words(form.lowering_at(length)), *cells)
    return table


def _least(found: Sequence[Measured], length: int) -> float:
    return min((item.median(length) for item in found if length in item.seconds), default=1.0)


def _cells(found: Measured, length: int, least: float) -> tuple[str, str, str]:
    """Time, its ratio to the least, and memory."""
    if length not in found.seconds:
        return "-", "-", "-"
    seconds = found.median(length)
    return _time(seconds), _ratio(seconds / least), _size(found.peak[length])


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms" if seconds < 10 else f"{seconds:.2f} s"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _size(count: int) -> str:
    return f"{count / 2**20:.2f} MiB" if count < 2**30 else f"{count / 2**30:.2f} GiB"
