"""`attnc bench`: the lowerings of a spec timed, or how time and memory grow with the length."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ._console import console, fail, print_json, write
from ._growing import Growing, dims_at, growing, grows
from ._specs import (
    check_named,
    compiled_as,
    dims_option,
    length_option,
    plain_refusals,
)

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ...dsl.document import Document
    from ..measurement.growth import Exponent
    from ..measurement.lowerings import Refused
    from ..measurement.scaling import Form, Limits, Scaling
    from ..module import Lowering, Module

EPILOG = """\b
Examples:
  attnc bench causal_softmax --length 2048
  attnc bench linear_transformer --dim heads=4 --json
  attnc bench --scaling softmax delta_rule --to 8192
  attnc bench --scaling longformer --dim window=64 --plot growth.png
  attnc bench --scaling swin --dim size=8 --dim width=64 --dim height=N/64
"""
COLOURS = {"ok": "green", "more": "red", "less": "yellow", "": "dim"}


@click.command(epilog=EPILOG)
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@click.option("--scaling", is_flag=True, help="Time and memory over N, against what is claimed.")
@length_option(1024, 2**20)
@click.option(
    "--from", "first", type=click.IntRange(1), default=512, show_default=True, help="First N."
)
@click.option(
    "--to", "last", type=click.IntRange(1), default=16384, show_default=True, help="Last N."
)
@click.option("--heads", type=click.IntRange(1), help="Heads.  [default: 1, where a spec can]")
@dims_option
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Time for a form of a spec; longer inputs that do not fit are left out.",
)
@click.option(
    "--gib",
    type=click.FloatRange(0, min_open=True),
    default=2.0,
    show_default=True,
    help="Memory for a run; longer inputs that need more are left out.",
)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Timings.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Of torch.")
@click.option("--device", default="cpu", show_default=True, help="Such as cuda.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Time and memory over N as a .png, .svg or .pdf file.",
)
@click.option("--json", "is_json", is_flag=True, help="As JSON, on standard output.")
def command(
    specs: tuple[str, ...], scaling: bool, threads: int, plot: Path | None, **options: Any
) -> None:
    """Time SPEC: forward, and forward with backward, of each lowering that it can take.

    With --scaling: over N = 512, 1024, .. 16384, with peak memory, exponents of both (fitted over
    N >= 2048), those of the spec's `cost`, and the N from which on it is faster than its dense
    form, forward and with backward. One example, d_model=64 unless --dim says more; medians of timings made in turns.

    A dim that is a part of the length is given as N/64, or N: the height of an image of width 64.
    """
    if plot is not None and not scaling:
        raise click.UsageError("--plot draws what --scaling measures: give both")
    if plot is not None and plot.suffix not in (".png", ".svg", ".pdf"):
        raise click.BadParameter("end it with .png, .svg or .pdf", param_hint="--plot")
    lengths = _lengths(options["first"], options["last"])
    given = growing(dict(options["dims"]), lengths if scaling else [options["length"]])
    first = lengths[0] if scaling else options["length"]
    found = [_sized(name, options["heads"], given, first) for name in specs]
    _check_device(options["device"])
    from ..measurement.workload import threads as on_threads

    with on_threads(threads):
        if scaling:
            _scaling(found, lengths, plot, options)
        else:
            _lowerings(found, options)


class Sized(NamedTuple):
    """A checked spec under the word of the command line, with the dims to compile it at.

    first  the length for which it is compiled where none is told
    """

    name: str
    document: Document
    dims: Growing
    first: int

    def compiled(self, lowering: Lowering, length: int | None = None) -> Module:
        dims = dims_at(self.dims, self.first if length is None else length)
        return compiled_as(self.document, dims, lowering)

    def form(self, name: str, lowering: Lowering) -> Form:
        """A form to be measured, with a module for each length where a dim grows with it."""
        from ..measurement.scaling import Form

        module = self.compiled(lowering)
        if not grows(self.dims):
            return Form(name, module)
        return Form(name, module, cache(lambda length: self.compiled(lowering, length)))


def _sized(name: str, heads: int | None, given: Growing, first: int) -> Sized:
    """The spec with d_model=64 and one head, unless told; its own heads where one cannot be."""
    dims: Growing = {"d_model": 64, "heads": heads or 1, **given}
    checked = check_named(name, dims_at(dims, first))
    is_free = heads is None and "heads" not in given and name != "-"  # which is read once
    if checked.report.errors and is_free:
        dims = {"d_model": 64, **given}
        checked = check_named(name, dims_at(dims, first))
    checked.report.raise_errors()
    assert checked.document is not None
    return Sized(name, checked.document, dims, first)


def _lengths(first: int, last: int) -> list[int]:
    if first > last:
        raise click.UsageError(f"--from {first} is beyond --to {last}")
    return [first << step for step in range((last // first).bit_length())]


def _check_device(name: str) -> None:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise click.BadParameter(f"no device `{name}`: {reason}", param_hint="--device") from error


# -- over lengths ---------------------------------------------------------------------------


def _scaling(
    specs: list[Sized],
    lengths: list[int],
    plot: Path | None,
    options: dict[str, Any],
) -> None:
    from ..measurement.scaling import Limits, scale

    limits = Limits(options["seconds"], int(options["gib"] * 2**30), options["repeats"])
    found: dict[str, Scaling] = {}
    for item in specs:
        forms = _own_and_dense(item)
        with _watched(item.name, len(lengths) * limits.repeats * len(forms)) as watch:
            found[item.name] = scale(forms, lengths, limits, watch, options["device"])
    if plot is not None:
        _draw(found, plot)
    if options["is_json"]:
        print_json(_scaling_json(found, limits))
    else:
        _print_scaling(found)
    broken = [name for name, item in found.items() if not item.own.lengths]
    if broken:
        raise fail(f"nothing could be measured of {', '.join(broken)}")


def _own_and_dense(item: Sized) -> list[Form]:
    """The form that `auto` takes, and the dense one where there is one."""
    from ...compiler.lower import NotLowered

    with plain_refusals():
        own = item.form("auto", "auto")
    try:
        return [own, item.form("dense", "dense")]
    except NotLowered:
        return [own]


@contextmanager
def _watched(name: str, total: int) -> Iterator[Any]:
    """A function to tell form and length: a bar, or a line for each without a terminal."""
    if not sys.stderr.isatty():
        seen: set[tuple[str, int]] = set()

        def line(form: str, length: int) -> None:
            if (form, length) not in seen:
                seen.add((form, length))
                write(f"{name}, {form}: N = {length}", sys.stderr)

        yield line
        return
    from ._progress import bar

    with bar() as progress:
        yield _on_bar(progress, progress.add_task(name, total=total, loss=""))


def _on_bar(progress: Progress, task: TaskID) -> Any:
    def watch(form: str, length: int) -> None:
        progress.update(task, advance=1, loss=f"{form}, N = {length}")

    return watch


def _draw(found: dict[str, Scaling], path: Path) -> None:
    from ..measurement.pictures import growth_curves

    try:
        growth_curves(found, path)
    except OSError as error:
        raise fail(f"cannot write {path}: {error.strerror}", 2) from error
    write(f"wrote {path}", sys.stderr)


def _scaling_json(found: dict[str, Scaling], limits: Limits) -> dict[str, Any]:
    import torch

    return {
        "threads": torch.get_num_threads(),
        "seconds": limits.seconds,
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
    rows = [
        {
            "length": length,
            "forward_seconds": form.median("forward", length),
            "step_seconds": form.median("step", length),
            "repeats": len(form.step[length]),
            "peak_bytes": form.memory[length],
        }
        for length in form.lengths
    ]
    return {"lengths": rows, "stopped": form.stopped}


def _print_scaling(found: dict[str, Scaling]) -> None:
    from rich import box
    from rich.table import Table

    from ..measurement.workload import in_words

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("spec", "lowering", "N up to", "time", "", "memory", "", "beats dense"):
        table.add_column(title, overflow="fold")
    for name, item in found.items():
        last = str(item.own.lengths[-1]) if item.own.lengths else "-"
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
            if form is not None and form.stopped:
                write(f"{name}, {form.name}: stopped before N = {form.stopped}", sys.stderr)


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
    if not item.dense.lengths:
        return "-"
    if item.crossing is None:
        return f"not up to {item.dense.lengths[-1]}"
    return f"from N = {item.crossing}"


# -- at one length --------------------------------------------------------------------------


def _lowerings(specs: list[Sized], options: dict[str, Any]) -> None:
    length = options["length"]
    results = [(item.name, *_compared(item, options)) for item in specs]
    if options["is_json"]:
        print_json([_comparison_json(*result, length) for result in results])
        return
    for result in results:
        _print_comparison(*result, length)


def _compared(item: Sized, options: dict[str, Any]) -> tuple[list[Form], list[Refused]]:
    """The forms of a spec, timed, and the lowerings that it does not take."""
    from ..measurement.lowerings import compare, forms_of
    from ..measurement.workload import FAILURES

    length, repeats = options["length"], options["repeats"]
    with plain_refusals():
        forms, refused = forms_of(item.compiled)
    with _watched(item.name, repeats) as watch:
        try:
            compare(forms, length, repeats, lambda: watch("all", length), options["device"])
        except FAILURES as error:
            raise fail(f"`{item.name}` fails at length {length}: {error}") from error
    return forms, refused


def _comparison_json(
    name: str, forms: list[Form], refused: list[Refused], length: int
) -> dict[str, Any]:
    rows = [
        {
            "form": form.name,
            "lowering": form.lowering,
            "forward_seconds": form.median("forward", length),
            "step_seconds": form.median("step", length),
        }
        for form in forms
    ]
    reasons = {item.name: item.reason for item in refused}
    return {"name": name, "length": length, "forms": rows, "refused": reasons}


def _print_comparison(name: str, forms: list[Form], refused: list[Refused], length: int) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from ..measurement.workload import in_words

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("lowering", "takes", "forward", "ratio", "and backward", "ratio"):
        table.add_column(title, justify="left" if title in ("lowering", "takes") else "right")
    best = {what: min(form.median(what, length) for form in forms) for what in ("forward", "step")}
    for form in forms:
        cells = []
        for what, least in best.items():
            seconds = form.median(what, length)
            cells += [f"{1e3 * seconds:.2f} ms", f"{seconds / least:.2f}"]
        table.add_row(f"[bold]{form.name}[/]", in_words(form.lowering), *cells)
    shown = console()
    shown.print(Text.assemble((name, "bold"), f"  at length {length}"))
    shown.print(table)
    for item in refused:
        shown.print(Text(f"not {item.name}: {item.reason}", "dim"))
