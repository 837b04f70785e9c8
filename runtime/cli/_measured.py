"""Specs to be measured, how far that is, and what was measured as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ._console import fail, write
from ._growing import Growing, dims_at, grows
from ._specs import check_named, compiled_as

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ...dsl.document import Document
    from ..measurement.forms import Form
    from ..measurement.measuring import Limits, Watch
    from ..module import Lowering, Module


@dataclass(frozen=True)
class Asked:
    """How to measure: at which lengths, within which limits, where, and how to tell."""

    lengths: Sequence[int]
    limits: Limits
    device: str
    plot: Path | None
    is_json: bool


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
        from ..measurement.forms import Form

        module = self.compiled(lowering)
        if not grows(self.dims):
            return Form(name, module)
        return Form(name, module, cache(lambda length: self.compiled(lowering, length)))


def sized(name: str, heads: int | None, given: Growing, first: int) -> Sized:
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


@contextmanager
def watched(name: str, asked: Asked, forms: int) -> Iterator[Watch]:
    """What is told of each run: a bar, or a line for each form and length without a terminal."""
    if not sys.stderr.isatty():
        yield _in_lines(name)
        return
    from ._progress import bar

    with bar() as progress:
        runs = forms * len(asked.lengths) * (asked.limits.repeats + 1)
        yield _on_bar(progress, progress.add_task(name, total=runs, loss=""))


def _in_lines(name: str) -> Watch:
    seen: set[tuple[str, int, str]] = set()

    def watch(form: str, length: int, note: str = "") -> None:
        if (form, length, note) not in seen:
            seen.update({(form, length, note), (form, length, "")})
            write(f"{name}, {form}: N = {length}{_after(note)}", sys.stderr)

    return watch


def _on_bar(progress: Progress, task: TaskID) -> Watch:
    def watch(form: str, length: int, note: str = "") -> None:
        progress.update(task, advance=1, loss=f"{form}, N = {length}{_after(note)}")

    return watch


def _after(note: str) -> str:
    return f", {note}" if note else ""


def row_json(form: Form, length: int) -> dict[str, Any]:
    """What was measured at a length; null where nothing was."""
    row: dict[str, Any] = {"length": length, "repeats": 0}
    for part, found in (("forward", form.forward), ("step", form.step)):
        is_there = length in found.seconds
        row[f"{part}_seconds"] = found.median(length) if is_there else None
        row[f"{part}_peak_bytes"] = found.peak.get(length)
        row["repeats"] = max(row["repeats"], len(found.seconds.get(length, [])))
    return row


def stopped_json(form: Form) -> dict[str, str | None]:
    """Why longer inputs were left out, or all of them; null where none was."""
    return {"forward": form.forward.stopped or None, "step": form.step.stopped or None}


def stopped_lines(form: Form) -> Iterator[str]:
    """The same in words."""
    forward, step = form.forward.stopped, form.step.stopped
    if forward:
        yield f"{form.name}: stopped at N = {forward}"
    if step and step != forward:
        yield f"{form.name}, with backward: stopped at N = {step}"


def drawn(path: Path | None, draw: Any, found: Mapping[str, Any]) -> None:
    """The picture of what was found, if one is wanted."""
    if path is None:
        return
    try:
        draw(found, path)
    except OSError as error:
        raise fail(f"cannot write {path}: {error.strerror}", 2) from error
    write(f"wrote {path}", sys.stderr)
