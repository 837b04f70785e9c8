"""Specs named on the command line: a library name, a path, or `-` for standard input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import click

from ._console import fail

if TYPE_CHECKING:
    from ...dsl.api import Checked
    from ...dsl.document import Document
    from ...dsl.typed import TypedSpec
    from ..module import Lowering, Module

Dims: TypeAlias = Mapping[str, bool | int | float | str]
Command = TypeVar("Command", bound=Callable[..., Any])


def check_named(name: str, dims: Dims | None = None) -> Checked:
    """Check what a word of the command line names."""
    from ...dsl import api
    from ...dsl.library import library_paths

    if name == "-":
        return _check_text("<stdin>", sys.stdin.buffer.read(), dims)
    looks_like_path = name.endswith((".yaml", ".yml")) or "/" in name
    if looks_like_path or (name not in library_paths() and Path(name).exists()):
        return api.check(path=Path(name), dims=dims)
    return api.check(name=name, dims=dims)


def _check_text(name: str, data: bytes, dims: Dims | None) -> Checked:
    from ...dsl import api
    from ...dsl.diagnostics import Report
    from ...dsl.source import Source, Span

    try:
        return api.check(source=Source(name, data.decode("utf-8-sig")), dims=dims)
    except UnicodeDecodeError:
        report = Report()
        span = Span(Source(name, ""), 0, 0)
        report.error("ATT105", "standard input is not UTF-8", span, "send UTF-8 text")
        return api.Checked(None, None, report)


class Typed(NamedTuple):
    """A spec that was checked; contract is the strongest causality that was derived."""

    document: Document
    spec: TypedSpec
    contract: str


def typed(name: str, dims: Dims | None = None) -> Typed:
    """The typed spec of a word of the command line.

    Raises:
        SpecError: the spec is at fault.
    """
    checked = check_named(name, dims)
    checked.report.raise_errors()
    assert checked.document is not None
    assert checked.spec is not None
    assert checked.judgement is not None
    return Typed(checked.document, checked.spec, checked.judgement.derived)


def compiled(document: Document, dims: Dims | None = None) -> Module:
    """The module of a document that has been checked; what is refused is told in one line."""
    with plain_refusals():
        return compiled_as(document, dims, "auto")


def compiled_as(document: Document, dims: Dims | None, lowering: Lowering) -> Module:
    """The module of a document that has been checked, by a lowering.

    Raises:
        LoweringRefused, NotLowered: it does not fit.
    """
    from ..api import compile, loads

    given: Any = document.path or loads(document.source.text, document.source.name)
    return compile(given, lowering=lowering, choices=dict(dims or {}))


@contextmanager
def plain_refusals() -> Iterator[None]:
    """What the compiler refuses is told in one line, without a traceback."""
    from ...compiler.lower import NotLowered
    from ..module import ArgumentMistake, LoweringRefused

    try:
        yield
    except (ArgumentMistake, LoweringRefused, NotLowered) as error:
        raise fail(str(error)) from error


def _dims(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> tuple[tuple[str, bool | int | float | str], ...]:
    """`name=value` each; the value is a whole number, a real, true, false or a word."""
    found = []
    for item in value:
        name, sign, text = (part.strip() for part in item.partition("="))
        if not (name and sign and text):
            raise click.BadParameter(f"`{item}` is not of the form name=value, such as heads=8")
        found.append((name, _value(text)))
    return tuple(found)


def _value(text: str) -> bool | int | float | str:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def dims_option(command: Command) -> Command:
    """`--dim name=value`, as often as wanted."""
    option = click.option(
        "--dim",
        "dims",
        metavar="NAME=VALUE",
        callback=_dims,
        multiple=True,
        help="A dim or choice of the spec, such as heads=4; may be repeated.",
    )
    return option(command)


def length_option(default: int, most: int) -> Callable[[Command], Command]:
    """`--length N`, from 1 to `most`."""
    return click.option(
        "--length",
        type=click.IntRange(1, most),
        default=default,
        show_default=True,
        help="Number of tokens.",
    )
