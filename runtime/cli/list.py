"""`attnc list`: the specs of the library, or the operators of the language."""

from __future__ import annotations

from collections.abc import Iterable

import click

from ._console import console, fail, print_json
from ._library import OperatorRow, Row, operators, row

EPILOG = """\b
Examples:
  attnc list
  attnc list linear
  attnc list --family patterns --json
  attnc list --operators soft
"""
COLOURS = {"strict": "green", "masked": "yellow", "none": "dim"}


@click.command(epilog=EPILOG)
@click.argument("word", required=False)
@click.option("--family", "family_name", help="Only one family (a folder of specs).")
@click.option("--operators", "is_operators", is_flag=True, help="The operators instead of specs.")
@click.option("--markdown", is_flag=True, help="The whole library as a page (docs/library.md).")
@click.option("--json", "is_json", is_flag=True, help="As JSON, on standard output.")
def command(
    word: str | None, family_name: str | None, is_operators: bool, markdown: bool, is_json: bool
) -> None:
    """List the built-in specs, or with --operators what expressions are made of.

    WORD keeps the rows that mention it in their name, entry or description.
    """
    if markdown:
        if word or family_name or is_operators or is_json:
            raise click.UsageError("--markdown is the whole library: give nothing beside it")
        from ._library_page import library_page

        click.echo(library_page(), nl=False)
        return
    if is_operators:
        found = [item for item in operators() if _mentions(word, item.name, item.meaning)]
        if is_json:
            print_json([item.to_json() for item in found])
        else:
            _print_operators(found)
        return
    rows = _rows(word, family_name)
    if is_json:
        print_json([item.to_json() for item in rows])
    else:
        _print_specs(rows)


def _rows(word: str | None, wanted: str | None) -> list[Row]:
    from ...dsl.library import family, library_paths

    families = sorted({family(name) for name in library_paths()})
    if wanted is not None and wanted not in families:
        raise click.BadParameter(f"there are {', '.join(families)}", param_hint="--family")
    names = [name for name in library_paths() if wanted in (None, family(name))]
    rows = [item for item in map(row, names) if _mentions(word, item.name, *item.entries, item.doc)]
    if not rows:
        raise fail(f"no spec mentions `{word}`")
    return sorted(rows, key=lambda item: (item.family, item.name))


def _mentions(word: str | None, *texts: str) -> bool:
    return word is None or any(word.lower() in text.lower() for text in texts)


def _print_specs(rows: Iterable[Row]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("name", "entry", "family", "causality", "cost", "lowerings"):
        wrap = title in ("cost", "causality")
        table.add_column(title, no_wrap=not wrap, overflow="fold" if wrap else "ellipsis")
    for item in rows:
        table.add_row(
            f"[bold]{item.name}[/]",
            ", ".join(item.entries),
            item.family,
            _contract(item),
            item.cost.replace("[", r"\["),
            ", ".join(item.lowerings),
        )
    console().print(table)


def _contract(item: Row) -> str:
    """`strict` where declared and derived agree or nothing is declared; else both."""
    shown = f"[{COLOURS[item.derived]}]{item.derived}[/]"
    if not item.declared:
        return f"{shown} (derived)"
    return shown if item.declared == item.derived else f"{item.declared}, derived {shown}"


def _print_operators(found: Iterable[OperatorRow]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("usage", overflow="fold", ratio=3)
    table.add_column("meaning", overflow="fold", ratio=4)
    table.add_column("used in", overflow="fold", ratio=3)
    for item in found:
        specs = ", ".join(item.specs[:6]) or item.reason + (
            f", … ({len(item.specs)})" if item.specs[6:] else ""
        )
        table.add_row(Text(item.usage, "bold"), Text(item.meaning), Text(specs, "dim"))
    console().print(table)
