"""`attnc check`: every mistake of some specs, with its place and what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ._console import plural, print_diagnostics, print_json, style_for, write
from ._specs import check_named, dims_option

if TYPE_CHECKING:
    from ...dsl.diagnostics import Diagnostic

EPILOG = """\b
Examples:
  attnc check mine.yaml
  attnc check specs/*.yaml --output-format concise
  attnc check softmax --dim heads=3
  cat mine.yaml | attnc check - --json

Exit code: 0 where there is no error (warnings do not count), 1 where there is, 2 for a wrong call.
"""


@click.command(epilog=EPILOG)
@click.argument("specs", nargs=-1, required=True, metavar="FILE|NAME...")
@click.option(
    "--output-format",
    "form",
    type=click.Choice(["full", "concise", "json", "github"]),
    default="full",
    show_default=True,
    help="How diagnostics are written, on standard output.",
)
@click.option("--json", "is_json", is_flag=True, help="The same as --output-format json.")
@click.option("--quiet", "-q", is_flag=True, help="No summary.")
@dims_option
def command(
    specs: tuple[str, ...],
    form: str,
    is_json: bool,
    quiet: bool,
    dims: tuple[tuple[str, bool | int | float | str], ...],
) -> None:
    """Check specs, given as files, as library names, or as `-` for standard input."""
    found: list[Diagnostic] = []
    for name in dict.fromkeys(specs):
        report = check_named(name, dict(dims)).report
        found += sorted(
            report.diagnostics, key=lambda item: (item.span.source.name, item.span.start)
        )
    errors = sum(item.severity == "error" for item in found)
    count = len(dict.fromkeys(specs))
    _write(found, "json" if is_json else form, count, errors)
    if not quiet:
        write(_summary(count, errors, len(found) - errors), sys.stderr)
    if errors:
        raise SystemExit(1)


def _write(found: Sequence[Diagnostic], form: str, count: int, errors: int) -> None:
    from ...dsl.render import render_concise, render_github, to_json

    if form == "json":
        totals = {"specs": count, "errors": errors, "warnings": len(found) - errors}
        print_json({**totals, "diagnostics": [to_json(item) for item in found]})
    elif form == "full":
        print_diagnostics(found, sys.stdout)
    elif form == "concise":
        style = style_for(sys.stdout)
        for item in found:
            write(render_concise(item, style))
    else:
        for item in found:
            write(render_github(item))


def _summary(count: int, errors: int, warnings: int) -> str:
    if not errors and not warnings:
        return f"{plural(count, 'spec')}, no mistakes"
    return f"{plural(count, 'spec')}, {plural(errors, 'error')}, {plural(warnings, 'warning')}"
