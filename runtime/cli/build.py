"""`attnc build`: the kernels of specs built before the first call, here or for other machines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..kernels.isa import ISAS
from ._console import console, fail, plural, print_json
from ._specs import Dims, compiled, dims_option, plain_refusals, typed

if TYPE_CHECKING:
    from rich.table import Table

    from ..explanation import Chosen
    from ..kernels.ahead import Built, Text
    from ..module import Module

EPILOG = """\b
Examples:
  attnc build additive
  attnc build mine.yaml --dim heads=16 --given valid --dtype bfloat16
  attnc build sliding_window --aot kernels --isa avx2 --isa avx512
"""
#: tokens of a call that takes kernels where it can
LENGTH = 1024
DTYPES = ("float32", "bfloat16", "float16")


@click.command(epilog=EPILOG)
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@dims_option
@click.option(
    "--given",
    metavar="NAME,..",
    multiple=True,
    help="Also for calls that give these arguments: valid, q_start, an input; may be repeated.",
)
@click.option(
    "--dtype",
    "dtypes",
    type=click.Choice(DTYPES),
    multiple=True,
    help="Dtype of the module and its calls; may be repeated.  [default: float32]",
)
@click.option(
    "--autocast",
    "autocasts",
    type=click.Choice(DTYPES[1:]),
    multiple=True,
    help="Also for a float32 module under autocast to this dtype; may be repeated.",
)
@click.option("--backward/--no-backward", default=True, help="Also what training needs.")
@click.option(
    "--aot",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="A directory for ATTNC_KERNELS on machines without a compiler.",
)
@click.option(
    "--isa",
    "levels",
    type=click.Choice([isa.name for isa in ISAS]),
    multiple=True,
    help="Instructions, the best that a machine has are loaded; may be repeated.  "
    "[default: those of this machine]",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=min(4, os.cpu_count() or 1),
    show_default="CPUs, at most 4",
    help="Compilers at a time.",
)
@click.option("--json", "is_json", is_flag=True, help="As JSON, on standard output.")
def command(
    specs: tuple[str, ...],
    dims: tuple[tuple[str, Any], ...],
    given: tuple[str, ...],
    dtypes: tuple[str, ...],
    autocasts: tuple[str, ...],
    backward: bool,
    folder: Path | None,
    levels: tuple[str, ...],
    jobs: int,
    is_json: bool,
) -> None:
    """Build the kernels of SPEC ahead of the first call: forward and backward, for any length.

    For dtypes beside float32 example calls of 512 and 1024 tokens are made, to see what arrays have.
    Without --aot they go to the cache of the user, where the next process finds them.
    """
    from ..kernels import ahead

    instructions = ahead.levels(levels)
    calls = tuple(frozenset(part.strip() for part in item.split(",")) for item in given)
    asked = Asked(calls, dtypes or (() if autocasts else DTYPES[:1]), autocasts, backward)
    plans = [_plan(name, dict(dims), asked) for name in dict.fromkeys(specs)]
    texts = list(dict.fromkeys(text for plan in plans for text in plan.texts))
    if not texts:
        raise fail(_nothing(plans))
    try:
        with _watched(len(texts) * len(instructions)) as watch:
            found = []
            for built in ahead.build_all(texts, instructions, folder, jobs):
                watch(built)
                found.append(built)
    except OSError as error:
        raise fail(
            f"`{error.filename or folder}` cannot be written to: {error.strerror}"
        ) from error
    if is_json:
        print_json(_to_json(plans, found, folder))
    else:
        _print(plans, found, folder)


class Asked(NamedTuple):
    """The calls to build for: what they give, their dtypes, and whether they train."""

    calls: Sequence[frozenset[str]]
    dtypes: Sequence[str]
    autocasts: Sequence[str]
    backward: bool


class Plan(NamedTuple):
    """A spec, the texts of its kernels, and its attends that have none."""

    name: str
    texts: Sequence[Text]
    without: Sequence[Chosen]


def _plan(name: str, dims: Dims, asked: Asked) -> Plan:
    import torch

    from ..ahead import Precision, needed
    from ..explanation import chosen

    module = compiled(typed(name, dims).document, dims)
    for given in asked.calls:
        _check_given(module, given)
    precisions = [Precision(getattr(torch, dtype)) for dtype in asked.dtypes]
    precisions += [Precision(getattr(torch, dtype), autocast=True) for dtype in asked.autocasts]
    with plain_refusals():
        without = [item for item in chosen(module, LENGTH) if item.lowering != "cpu"]
        return Plan(name, needed(module, asked.calls, asked.backward, precisions), without)


def _check_given(module: Module, given: frozenset[str]) -> None:
    from ...compiler.program import OFFSETS, VALIDITY
    from ...dsl.shapes import closest

    spec = module.spec
    known = ("context", *VALIDITY, *OFFSETS, *spec.inputs, *spec.streams)
    for name in sorted(given - set(known)):
        hint = closest(name, known)
        meant = f"did you mean `{hint}`?" if hint else f"it takes {', '.join(known)}"
        raise click.BadParameter(
            f"`{spec.name}` takes no argument `{name}`; {meant}", param_hint="--given"
        )


def _nothing(plans: Sequence[Plan]) -> str:
    """Why there is nothing to build."""
    lines = []
    for plan in plans:
        lines.append(f"`{plan.name}` has no kernels to build.")
        lines += [f"  {_why(item)}" for item in plan.without]
        if not plan.without:
            lines.append("  It has no attend: torch's own operations do all.")
    return "\n".join([*lines, "`attnc explain SPEC` says more, and which edit would change it."])


def _why(item: Chosen) -> str:
    """Why an attend has no kernel."""
    reasons = [reason.reason for reason in item.refusals if reason.lowering == "cpu"]
    reason = reasons[0] if reasons else "faster, without a kernel"
    return f"{item.name} takes {item.lowering}: {reason}"


@contextmanager
def _watched(total: int) -> Iterator[Any]:
    """A function to tell what was built: to a bar, where a terminal is."""
    if not sys.stderr.isatty():
        yield lambda built: None
        return
    from ._progress import bar

    with bar() as progress:
        task = progress.add_task("building", total=total, loss="")

        def watch(built: Built) -> None:
            done = f"{built.text.name}, {built.text.way}, {built.entry.record.isa}"
            progress.update(task, advance=1, loss=done)

        yield watch


def _to_json(plans: Sequence[Plan], found: Sequence[Built], folder: Path | None) -> dict[str, Any]:
    kernels = [
        {
            "name": built.text.name,
            "way": built.text.way,
            "isa": built.entry.record.isa,
            "specs": [plan.name for plan in plans if built.text in plan.texts],
            "key": built.entry.key,
            "size": built.entry.record.size,
            "seconds": built.entry.record.seconds,
            "is_new": built.is_new,
            "folder": str(built.entry.folder),
        }
        for built in found
    ]
    without = [
        {"spec": plan.name, "attend": item.name, "lowering": item.lowering, "reason": _why(item)}
        for plan in plans
        for item in plan.without
    ]
    return {"aot": None if folder is None else str(folder), "kernels": kernels, "without": without}


def _print(plans: Sequence[Plan], found: Sequence[Built], folder: Path | None) -> None:
    from rich.text import Text as Line

    shown = console()
    shown.print(_table(found))
    for plan in plans:
        for item in plan.without:
            shown.print(Line(f"no kernel in {plan.name}: {_why(item)}", "dim"))
    new = sum(built.is_new for built in found)
    place = f"`{folder or found[0].entry.folder.parent}`"
    shown.print(Line(f"{plural(len(found), 'kernel')} in {place}, {new} of them new", "dim"))
    if folder is not None:
        line = f"there: ATTNC_KERNELS={folder.absolute()}, and ATTNC_DISABLE_JIT=1 to build nothing"
        shown.print(Line(line, "dim"), soft_wrap=True)


def _table(found: Sequence[Built]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text as Line

    from .cache import _size

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("kernel", "way", "instructions", "size", "built in"):
        right = title in ("size", "built in")
        table.add_column(title, justify="right" if right else "left", no_wrap=True)
    for built in found:
        record = built.entry.record
        took = f"{record.seconds:.1f} s" if built.is_new else "was there"
        cells = (built.text.way, record.isa, _size(record.size), took)
        table.add_row(Line(record.name, "bold"), *map(Line, cells))
    return table
