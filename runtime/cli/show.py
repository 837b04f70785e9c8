"""`attnc show`: a spec for people to read, or as one of the forms that the compiler makes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._console import console, print_json
from ._specs import Dims, Typed, compiled, dims_option, plain_refusals, typed

if TYPE_CHECKING:
    from ...dsl.document import Document
    from ...dsl.source import Span
    from ...dsl.typed import TypedSpec

EPILOG = """\b
Examples:
  attnc show additive
  attnc show additive --stage syntax
  attnc show mine.yaml --stage ir --dim heads=4
  attnc show language_model --stage fx --dim layers=2
"""
STAGES = ("text", "syntax", "spec", "ir", "fx")


@click.command(epilog=EPILOG)
@click.argument("spec")
@click.option(
    "--stage",
    type=click.Choice(STAGES),
    help="text: the file; syntax: after inheritance, with the origin of each line; spec: typed; "
    "ir: the graph after all passes; fx: the torch graph.",
)
@click.option("--json", "is_json", is_flag=True, help="As JSON, on standard output.")
@dims_option
def command(spec: str, stage: str | None, is_json: bool, dims: tuple[tuple[str, Any], ...]) -> None:
    """Show SPEC: a page to read, or with --stage one of its forms."""
    given: Dims = dict(dims)
    if stage is None and not is_json:
        _page(typed(spec, given))
        return
    if stage is None:
        print_json(page(typed(spec, given)))
        return
    text = _STAGES[stage](spec, given)
    if is_json:
        print_json({"spec": spec, "stage": stage, "text": text})
    else:
        _print(text, stage)


def _text(name: str, dims: Dims) -> str:
    return typed(name, dims).document.source.text


def _syntax(name: str, dims: Dims) -> str:
    from ...dsl.resolved import resolved

    lines = resolved(typed(name, dims).document)
    width = min(72, max(len(line.text) for line in lines))
    shown = []
    for line in lines:
        origins = ", ".join(_place(span) for span in line.origins)
        shown.append(f"{line.text.ljust(width)}  # {origins}" if origins else line.text)
    return "\n".join(shown) + "\n"


def _spec(name: str, dims: Dims) -> str:
    from ...dsl.description import describe

    return describe(typed(name, dims).spec)


def _ir(name: str, dims: Dims) -> str:
    from ...compiler.passes import run_passes
    from ...compiler.printer import print_program
    from ...compiler.program import Program, Signature

    programs = []
    for spec in _each(typed(name, dims).spec):
        program = Program(spec, Signature(), dict(spec.outputs))
        programs.append(print_program(run_passes(program)))
    return "\n".join(programs)


def _each(spec: TypedSpec) -> Iterator[TypedSpec]:
    """A spec and each different spec that it uses."""
    seen: list[int] = []
    stack = [spec]
    while stack:
        item = stack.pop(0)
        if id(item) not in seen:
            seen.append(id(item))
            yield item
            stack += item.uses.values()


def _fx(name: str, dims: Dims) -> str:
    module = compiled(typed(name, dims).document, dims)
    with plain_refusals():
        return str(module.graph_module.print_readable(print_output=False))


_STAGES = {"text": _text, "syntax": _syntax, "spec": _spec, "ir": _ir, "fx": _fx}


def _place(span: Span) -> str:
    """`specs/core/softmax.yaml:13`, from the working directory where that is shorter."""
    return f"{short(span.source.name)}:{span.line}"


def short(name: str) -> str:
    """A path, relative where it lies below the working directory or the library."""
    from ...dsl.library import SPECS

    path = Path(name)
    for base in (Path(os.getcwd()), SPECS.parent):
        if path.is_absolute() and path.is_relative_to(base):
            return str(path.relative_to(base))
    return name


def _print(text: str, stage: str) -> None:
    """The text, with colours on a terminal."""
    shown = console()
    if not shown.is_terminal:
        click.echo(text, nl=False)
        return
    from rich.syntax import Syntax

    lexer = {"text": "yaml", "syntax": "yaml", "fx": "python"}.get(stage)
    if lexer is None:
        shown.print(text, markup=False, end="", soft_wrap=True)
    else:
        shown.print(Syntax(text, lexer, theme="ansi_dark", background_color="default"))


# -- the page -------------------------------------------------------------------------------


def page(found: Typed) -> dict[str, Any]:
    """What the page says, as data."""
    document, spec, contract = found
    from ...dsl.description import array, default_of, maps
    from ...dsl.notation import formula
    from ._library import header

    return {
        "name": spec.name,
        "entries": list(spec.entries),
        "doc": spec.doc,
        "cite": list(spec.cite),
        "header": header(document.source.text),
        "extends": list(document.parents),
        "formula": formula(document, spec),
        "causality": {"declared": document.text("causality"), "derived": contract},
        "dims": [_dim(document, spec, name) for name in spec.dims],
        "inputs": [
            {"name": info.name, "type": str(info.type), "default": default_of(info.default)}
            for info in spec.inputs.values()
        ],
        "weights": [
            *(
                {"name": n, "shape": s, "init": i.removeprefix("init ")}
                for n, s, i in map(array, spec.weights.values())
            ),
            *(
                {"name": name, "shape": maps(node), "init": str(init)}
                for name, (node, init) in spec.owners.items()
            ),
        ],
    }


def _dim(document: Document, spec: TypedSpec, name: str) -> dict[str, Any]:
    from ...dsl.resolved import _inline
    from ...dsl.shapes import Table

    defined = document.sections.get("dims", {}).get(name)
    row: dict[str, Any] = {"name": name, "value": spec.dims[name], "default": "", "limits": ""}
    if defined is None:
        row["default"] = _PREDECLARED.get(name, "")
    elif isinstance(defined.value, Table):
        entries = {key: _inline(entry.value) for key, entry in defined.value.entries.items()}
        derived = f"= {entries['is']}" if "is" in entries else ""
        row["default"] = entries.pop("default", derived)
        limits = ((key, text) for key, text in entries.items() if key != "is")
        row["limits"] = ", ".join(f"{key.replace('_', ' ')} {text}" for key, text in limits)
    else:
        row["default"] = _inline(defined.value)
    return row


_PREDECLARED = {
    "d_model": "512",
    "heads": "8",
    "kv_heads": "heads",
    "d_head": "d_model // heads",
    "d_value": "d_head",
}


def _page(given: Typed) -> None:
    from rich.text import Text

    found, shown = page(given), console()
    shown.print(Text.assemble((found["name"], "bold"), "  ", (", ".join(found["entries"]), "cyan")))
    shown.print(Text(found["doc"]))
    if found["cite"]:
        shown.print(Text(", ".join(found["cite"]), "dim"))
    if found["header"]:
        shown.print(Text("\n" + found["header"], "dim"))
    shown.print(Text("\nFormula", "bold"))
    for line in found["formula"]:
        shown.print(Text("  " + line), soft_wrap=True)
    causality = found["causality"]
    declared = f", declared {causality['declared']}" if causality["declared"] else ""
    shown.print(Text(f"\nCausality: {causality['derived']} (derived){declared}"))
    _table("Parameters", ("name", "value", "default", "limits"), found["dims"])
    _table("Inputs", ("name", "type", "default"), found["inputs"])
    _table("Weights", ("name", "shape", "init"), found["weights"])


def _table(title: str, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    shown = console()
    shown.print(Text(f"\n{title}", "bold"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(row[column])) for column in columns))
    shown.print(table)
