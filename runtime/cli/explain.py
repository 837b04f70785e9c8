"""`attnc explain`: what the compiler does with a spec and why; or what a mistake's code means."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import click

from ._console import console, fail, print_json, style_for, write
from ._specs import Dims, compiled, dims_option, length_option, plain_refusals, typed

if TYPE_CHECKING:
    from ...compiler.cost import Cost
    from ..explanation import Chosen, Reason

EPILOG = """\b
Examples:
  attnc explain additive
  attnc explain mine.yaml --length 4096 --dim heads=16
  attnc explain softmax --json
  attnc explain ATT401
"""
_CODE = re.compile(r"ATT\d{3}", re.IGNORECASE)


@click.command(epilog=EPILOG)
@click.argument("spec", metavar="SPEC|CODE")
@length_option(1024, 2**30)
@click.option("--json", "is_json", is_flag=True, help="As JSON, on standard output.")
@dims_option
def command(spec: str, length: int, is_json: bool, dims: tuple[tuple[str, Any], ...]) -> None:
    """Explain how SPEC is compiled and what it costs, or what the mistake CODE means.

    For each attend: the lowering that a call of that length takes, what is proved of its pairs (`attnc
    prove` says more), and for every other lowering the reason against it, the place in the spec, and the smallest edit that would let it.
    """
    if _CODE.fullmatch(spec):
        _explain_code(spec.upper(), is_json)
        return
    found = explanation(spec, dict(dims), length)
    if is_json:
        print_json(found.to_json())
    else:
        found.print()


class Explanation:
    """All that is known of a spec at given dims and length."""

    def __init__(self, name: str, dims: Dims, length: int) -> None:
        from ...compiler.cost import predict
        from ...dsl.proofs.facts import brief_facts
        from ..explanation import chosen

        document, self.spec, self.derived = typed(name, dims)
        self.length = length
        self.declared = document.text("causality")
        self.cost: Cost = predict(self.spec, length)
        self.facts = brief_facts(self.spec)
        self.chosen: list[Chosen] = []
        self.refused = ""
        try:
            module = compiled(document, dims)
            with plain_refusals():
                self.chosen = chosen(module, length)
        except click.ClickException as error:
            self.refused = error.message

    def to_json(self) -> dict[str, Any]:
        largest = self.cost.largest
        return {
            "name": self.spec.name,
            "dims": self.spec.dims,
            "length": self.length,
            "attends": [item.to_json() for item in self.chosen],
            "facts": {
                name: [fact.to_json() for fact in facts] for name, facts in self.facts.items()
            },
            "refused": self.refused,
            "causality": {"declared": self.declared, "derived": self.derived},
            "parameters": self.cost.parameters,
            "weight_bytes": self.cost.weight_bytes,
            "flops": self.cost.flops,
            "flops_by_part": self.cost.parts,
            "largest_array": None
            if largest is None
            else {"name": largest.name, "type": largest.type, "bytes": largest.bytes},
        }

    def print(self) -> None:
        from rich.text import Text

        from ...dsl.proofs.facts import brief_words

        dims = ", ".join(f"{name}={value}" for name, value in self.spec.dims.items())
        shown = console()
        shown.print(Text.assemble((self.spec.name, "bold"), f"  at {dims}, length {self.length}"))
        for name, same in _alike(self.chosen):
            shown.print(Text.assemble("\n", (name, "bold"), " takes ", (same.lowering, "green")))
            if same.name in self.facts:
                shown.print(Text(f"  pairs: {brief_words(self.facts[same.name])}"))
            for reason in same.refusals:
                _print_reason(reason)
        if self.refused:
            shown.print(Text(f"\nNot compiled: {self.refused}", "red"))
        elif not self.chosen:
            shown.print(Text("\nNo attend: everything is lowered to plain torch operations."))
        shown.print()
        shown.print(self._table())

    def _table(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False)
        declared = f", declared {self.declared}" if self.declared else ""
        rows = [
            ("causality", f"{self.derived} (derived){declared}"),
            ("parameters", f"{self.cost.parameters:,} ({size(self.cost.weight_bytes)} in float32)"),
            ("forward", f"{count(self.cost.flops)}FLOP per example, dense form"),
        ]
        parts = sorted(self.cost.parts.items(), key=lambda item: -item[1])
        rows += [("", f"{count(flops)}FLOP  {part}") for part, flops in parts if flops]
        if self.cost.largest is not None:
            array = self.cost.largest
            text = f"{size(array.bytes)}  {array.type} ({array.name}), dense form"
            rows.append(("largest array", text))
        for name, text in rows:
            table.add_row(Text(name, "bold"), Text(text))
        return table


explanation = Explanation


def _alike(found: list[Chosen]) -> list[tuple[str, Chosen]]:
    """Attends with one name for all that differ only in the layer they stand in."""
    groups: dict[Any, list[Chosen]] = {}
    for item in found:
        key = (re.sub(r"\d+", "*", item.name), item.lowering, item.refusals)
        groups.setdefault(key, []).append(item)
    return [
        (key[0] if len(items) > 1 else items[0].name, items[0]) for key, items in groups.items()
    ]


def _print_reason(reason: Reason) -> None:
    from ...dsl.render import _excerpt, _location, _plain

    style = style_for(sys.stdout) or _plain
    write(f"  {style(f'not {reason.lowering}', 'warning')}: {reason.reason}")
    if reason.span is not None:
        write(f"    at {style(_location(reason.span), 'location')}")
        for line in _excerpt(reason.span, "^", style):
            write(f"    {line}")
    if reason.edit:
        write(f"    {style('smallest edit', 'help')}: {reason.edit}")


def count(number: float) -> str:
    """`15.8 G`: a number with three digits and a unit."""
    units = iter(("", "K", "M", "G", "T"))
    while number >= 999.5:
        number /= 1000
        next(units)
    return f"{number:.3g} {next(units, 'P')}"


def size(number: int) -> str:
    """`2.1 GB`."""
    return f"{count(number)}B"


def _explain_code(code: str, is_json: bool) -> None:
    from ...dsl.mistakes import MISTAKES

    mistake = MISTAKES.get(code)
    if mistake is None:
        first, last = min(MISTAKES), max(MISTAKES)
        raise fail(f"there is no {code}; codes run from {first} to {last}", 2)
    if is_json:
        print_json({"code": code, **mistake._asdict()})
        return
    from rich.text import Text

    shown = console()
    shown.print(Text.assemble((code, "bold red"), "  ", (mistake.title, "bold")))
    shown.print(Text(f"\n{mistake.explanation}"))
    for title, example in (("Wrong", mistake.wrong), ("Right", mistake.right)):
        shown.print(Text(f"\n{title}:", "bold"))
        shown.print(Text("\n".join(f"  {line}" for line in _short(example))))


def _short(example: str) -> list[str]:
    """An example, its invisible characters shown and its long lines cut."""
    from ...dsl.render import _visible

    lines = [_visible(line.replace("\t", "→")) for line in example.split("\n")]
    return [line if len(line) <= 76 else f"{line[:75]}…" for line in lines]
