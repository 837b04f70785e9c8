"""Writing to the terminal: colours where they are wanted, JSON where it is asked for."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any

import click

from ...dsl.diagnostics import Diagnostic
from ...dsl.render import Role, Style, render_full

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 120

_STYLES: dict[Role, dict[str, Any]] = {
    "location": {"bold": True},
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow", "bold": True},
    "message": {"bold": True},
    "note": {"fg": "cyan", "bold": True},
    "gutter": {"fg": "blue"},
    "caret": {"fg": "red", "bold": True},
    "help": {"fg": "green", "bold": True},
}


def is_coloured(stream: IO[str]) -> bool:
    """Whether colours go to a stream: NO_COLOR forbids and FORCE_COLOR demands them."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def style_for(stream: IO[str]) -> Style | None:
    """The callback that colours diagnostics, None for plain text."""
    if not is_coloured(stream):
        return None
    return lambda text, role: click.style(text, **_STYLES[role])


def write(text: str, stream: IO[str] | None = None) -> None:
    """A line that is coloured already."""
    click.echo(text, file=stream or sys.stdout, color=is_coloured(stream or sys.stdout))


def print_diagnostics(diagnostics: Iterable[Diagnostic], stream: IO[str] | None = None) -> None:
    """Diagnostics in full, on standard error unless told."""
    stream = stream or sys.stderr
    style = style_for(stream)
    for number, diagnostic in enumerate(diagnostics):
        write(("\n" if number else "") + render_full(diagnostic, style), stream)


def print_json(data: Any) -> None:
    """Data as JSON on standard output; strict, so nothing infinite."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def console(stream: IO[str] | None = None) -> Console:
    """A rich console on standard output, of a fixed width where no terminal is."""
    from rich.console import Console

    stream = stream or sys.stdout
    width = None if stream.isatty() else int(os.environ.get("COLUMNS", PIPED_WIDTH))
    coloured = is_coloured(stream)
    return Console(
        file=stream,
        width=width,
        highlight=False,
        soft_wrap=False,
        emoji=False,
        no_color=not coloured,
        force_terminal=True if coloured else None,
    )


def fail(message: str, code: int = 1) -> click.ClickException:
    """A mistake of the user that is not a diagnostic; the caller raises what this returns."""
    return click.UsageError(message) if code == 2 else click.ClickException(message)


def plural(count: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{count} {noun}" + ("" if count == 1 else "s")
