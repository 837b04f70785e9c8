"""`attnc cache`: the kernels on disk."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._console import console, fail, plural, print_json

if TYPE_CHECKING:
    from ..kernels.cache import Cache
    from ..kernels.entry import Entry

EPILOG = """\b
Examples:
  attnc cache dir
  attnc cache list
  attnc cache prune --older-than 30 --keep-size 500M
  attnc cache clear --yes
"""
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


class Size(click.ParamType[int]):
    """Bytes: `500M`, `2G`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d+)([KMG]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
        if found is None:
            self.fail(f"{value!r} is no size; write 500M or 2G", param, ctx)
        return int(found[1]) * UNITS[found[2].upper()]


@click.group(epilog=EPILOG)
def command() -> None:
    """Show and tidy the kernels that were built on this machine.

    They are built again when they are needed, so nothing is lost by removing them.
    """


@command.command("dir")
def directory() -> None:
    """Print the directory (ATTNC_CACHE_DIR, else attnc in XDG_CACHE_HOME or ~/.cache)."""
    click.echo(_root())


@command.command("list")
@click.option("--json", "is_json", is_flag=True, help="As JSON, on standard output.")
def list_entries(is_json: bool) -> None:
    """List the kernels, the last used first."""
    from ..kernels.housekeeping import whole_entries

    with _cache() as cache:
        entries = whole_entries(cache) if cache else []
    if is_json:
        print_json([_described(entry) for entry in entries])
    elif entries:
        _print_entries(entries)
    else:
        click.echo(f"no kernels in {_root()}", err=True)


@command.command()
def verify() -> None:
    """Compare every kernel with the hash it was stored with; exit code 1 if one differs."""
    from ..kernels.housekeeping import problems

    with _cache() as cache:
        count = len(list(cache.entries())) if cache else 0
        wrong = list(problems(cache)) if cache else []
    for key, problem in wrong:
        click.echo(f"{key}: {problem}", err=True)
    if wrong:
        raise fail(
            f"{len(wrong)} of {plural(count, 'kernel')} broken; attnc cache prune removes them"
        )
    click.echo(f"{plural(count, 'kernel')}, all whole")


@command.command()
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(0),
    metavar="DAYS",
    help="Also what has not been used for so long.",
)
@click.option(
    "--keep-size",
    "keep",
    type=Size(),
    metavar="SIZE",
    help="Also the least recently used beyond so much: 500M, 2G.",
)
def prune(days: float | None, keep: int | None) -> None:
    """Remove what is broken or was left half-finished."""
    from ..kernels import housekeeping

    with _cache() as cache:
        done = housekeeping.prune(cache, days, keep) if cache else housekeeping.Pruned((), 0, 0)
    click.echo(
        f"removed {plural(len(done.keys), 'kernel')} ({_size(done.size)}) and "
        f"{plural(done.leftovers, 'half-finished build')}"
    )


@command.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(yes: bool) -> None:
    """Remove all kernels."""
    from ..kernels import housekeeping

    with _cache() as cache:
        if cache and not yes:
            count = len(list(cache.entries()))
            click.confirm(f"Remove {plural(count, 'kernel')} from {_root()}?", abort=True)
        count = housekeeping.clear(cache) if cache else 0
    click.echo(f"removed {plural(count, 'kernel')}")


def _root() -> Path:
    from ..kernels.settings import settings

    return settings().cache


@contextmanager
def _cache() -> Iterator[Cache | None]:
    """The cache, None where there is none yet."""
    from ..kernels.cache import Cache

    try:
        yield Cache(_root()) if _root().exists() else None
    except OSError as error:
        raise fail(f"`{_root()}` cannot be used: {error}") from error


def _described(entry: Entry) -> dict[str, Any]:
    from ..kernels.housekeeping import size

    record = entry.record
    return {
        "name": record.name,
        "key": record.key,
        "size": size(entry),
        "isa": record.isa,
        "sanitize": record.sanitize,
        "openmp": record.openmp,
        "compiler": " ".join(record.compiler),
        "version": record.version,
        "attnc": record.attnc,
        "built": record.built,
        "seconds": record.seconds,
        "used": entry.used,
        "folder": str(entry.folder),
    }


def _print_entries(entries: list[Entry]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from ..kernels.housekeeping import size

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("name", "key", "isa", "size", "age", "used", "compiler"):
        right = title in ("size", "age", "used")
        table.add_column(title, justify="right" if right else "left", no_wrap=title != "compiler")
    now = time.time()
    for entry in entries:
        record = entry.record
        isa = f"{record.isa}, sanitized" if record.sanitize else record.isa
        ages = (_age(now - record.built), _age(now - entry.used))
        cells = (record.key[:12], isa, _size(size(entry)), *ages, record.version)
        table.add_row(Text(record.name, "bold"), *map(Text, cells))
    shown = console()
    shown.print(table)
    total = sum(map(size, entries))
    shown.print(Text(f"{plural(len(entries), 'kernel')}, {_size(total)} in {_root()}", "dim"))


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
