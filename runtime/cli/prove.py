"""`attnc prove`: what holds of who sees whom, for every length; and claims about two specs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from ._console import console, fail, print_json
from ._specs import Dims, Typed, dims_option, typed

if TYPE_CHECKING:
    from ...dsl.proofs.claims import Claim, Relation
    from ...dsl.proofs.facts import AttendFacts, Fact
    from ...dsl.typed import TypedSpec

EPILOG = """\b
Examples:
  attnc prove sliding_window
  attnc prove sparse_strided --length 4096
  attnc prove causal --json
  attnc prove sliding_window --implies softmax
  attnc prove mine.yaml --equals causal --attend heads

A fact is proved for every length, refuted by an example that was checked, or unknown.

\b
Exit code: 0 where no claim is asked for or all are proved, 1 where one is refuted or the spec is
at fault, 2 for a wrong call, 3 where a claim is unknown.
"""
COLOURS = {"proved": "green", "refuted": "yellow", "unknown": "dim"}
MOST_LENGTH = 2**30


@click.command(epilog=EPILOG)
@click.argument("spec", metavar="SPEC")
@click.option("--implies", metavar="OTHER", help="Claim: who sees in SPEC sees in OTHER.")
@click.option("--equals", metavar="OTHER", help="Claim: both see the same pairs.")
@click.option("--attend", metavar="NAME", help="Only one attend of SPEC.")
@click.option(
    "--length", type=click.IntRange(1, MOST_LENGTH), help="Count the pairs at a length, too."
)
@click.option("--json", "is_json", is_flag=True, help="As JSON, on standard output.")
@dims_option
def command(
    spec: str,
    implies: str | None,
    equals: str | None,
    attend: str | None,
    length: int | None,
    is_json: bool,
    dims: tuple[tuple[str, Any], ...],
) -> None:
    """Prove facts about who sees whom in SPEC, for every length.

    With --implies or --equals: a claim about the masks of SPEC and OTHER, attend by attend. Dims go
    to each of the two that has them.
    """
    if implies is not None and equals is not None:
        raise click.UsageError("--equals says more than --implies: give one of them")
    if spec == "-" and "-" in (implies, equals):
        raise click.UsageError("standard input is one spec, not two")
    if implies is None and equals is None:
        _tell_facts(typed(spec, dict(dims)).spec, attend, length, is_json)
    else:
        if length is not None:
            raise click.UsageError("a claim is about every length: give no --length")
        other = implies if equals is None else equals
        assert other is not None
        _tell_claims(
            spec, other, "implies" if equals is None else "equals", attend, dict(dims), is_json
        )


# Facts


def _tell_facts(spec: TypedSpec, attend: str | None, length: int | None, is_json: bool) -> None:
    from ...dsl.proofs.facts import facts_of
    from ...dsl.proofs.solver import solver_or_none

    _check_attend(spec, attend)
    found = facts_of(spec, attend, length, solver_or_none())
    if is_json:
        told = {"name": spec.name, "dims": spec.dims, "assumed": _assumed(spec)}
        print_json({**told, "attends": [item.to_json() for item in found]})
        return
    _print_head(spec)
    if not found:
        console().print("\nNo attend: nothing sees anything else through a mask.")
    for name, item in _alike(found):
        _print_rows(name, item.facts)
    _print_hint([fact for item in found for fact in item.facts])


def _check_attend(spec: TypedSpec, attend: str | None) -> None:
    from ...dsl.proofs.pairs import located
    from ...dsl.shapes import closest

    names = tuple(located(spec))
    if attend is None or attend in names:
        return
    hint = closest(attend, names)
    meant = f"did you mean `{hint}`?" if hint else f"it has {', '.join(names) or 'none'}"
    raise click.BadParameter(
        f"`{spec.name}` has no attend `{attend}`; {meant}", param_hint="--attend"
    )


def _assumed(spec: TypedSpec) -> str:
    context = "context is memory of length m, known before" if spec.memory else "context is x"
    return f"n tokens without padding, the first at position 0; {context}"


def _print_head(spec: TypedSpec) -> None:
    from rich.text import Text

    dims = ", ".join(f"{name}={value}" for name, value in spec.dims.items())
    console().print(Text.assemble((spec.name, "bold"), f"  at {dims}"))
    console().print(Text(f"for every length: {_assumed(spec)}", "dim"))


def _alike(found: Sequence[AttendFacts]) -> list[tuple[str, AttendFacts]]:
    """Attends with one name for all that differ only in the layer they stand in."""
    groups: dict[Any, list[AttendFacts]] = {}
    for item in found:
        said = tuple((fact.name, fact.verdict, fact.words) for fact in item.facts)
        groups.setdefault((re.sub(r"\d+", "*", item.attend), said), []).append(item)
    return [
        (key[0] if len(items) > 1 else items[0].attend, items[0]) for key, items in groups.items()
    ]


def _print_rows(title: str, facts: Sequence[Fact]) -> None:
    """A fact in a line, however long, so that lines can be searched for."""
    from rich.text import Text

    width = max(len(fact.name) for fact in facts)
    console().print(Text(f"\n{title}", "bold"))
    for fact in facts:
        verdict = (f"{fact.verdict:<8}", COLOURS[fact.verdict])
        line = Text.assemble(f"  {fact.name:<{width}}  ", verdict, f" {fact.words}")
        console().print(line, soft_wrap=True)


def _print_hint(facts: Iterable[Fact]) -> None:
    """What could decide what is unknown, where it is not there."""
    from rich.text import Text

    from ...dsl.proofs.asking import TOO_HARD
    from ...dsl.proofs.solver import solver_or_none

    if solver_or_none() is None and any(fact.words == TOO_HARD for fact in facts):
        hint = "z3 may know more: pip install attnc[proofs]"
        console().print(Text(f"\n{hint}", "dim"))


# Claims


def _tell_claims(
    name: str, other_name: str, relation: Relation, attend: str | None, dims: Dims, is_json: bool
) -> None:
    from ...dsl.proofs.claims import NoMatch, claims
    from ...dsl.proofs.solver import solver_or_none

    one, two = _both(name, other_name, dims)
    _check_attend(one.spec, attend)
    try:
        found = claims(one.spec, two.spec, relation, attend, solver_or_none())
    except NoMatch as mistake:
        raise fail(str(mistake), 2) from None
    if is_json:
        names = {"name": one.spec.name, "other": two.spec.name, "claim": relation}
        told = {**names, "assumed": _assumed(one.spec)}
        print_json({**told, "attends": [item.to_json() for item in found]})
    else:
        _print_claims(one.spec, two.spec, relation, found)
    verdicts = {item.fact.verdict for item in found}
    raise SystemExit(1 if "refuted" in verdicts else 3 if "unknown" in verdicts else 0)


def _both(name: str, other: str, dims: Dims) -> tuple[Typed, Typed]:
    """Both specs, each with the dims that it has; a dim that neither has is told of the first."""
    mine, theirs = _known_dims(name, dims), _known_dims(other, dims)
    nobody = {key: value for key, value in dims.items() if key not in {*mine, *theirs}}
    return typed(name, {**mine, **nobody}), typed(other, theirs)


def _known_dims(name: str, dims: Dims) -> Dims:
    """Those of the dims that a spec has; standard input is read but once, and takes all."""
    if name == "-" or not dims:
        return dims
    known = typed(name).spec.dims
    return {key: value for key, value in dims.items() if key.split(".")[0] in known}


def _print_claims(
    one: TypedSpec, two: TypedSpec, relation: Relation, found: Sequence[Claim]
) -> None:
    from rich.text import Text

    shown = console()
    shown.print(Text.assemble((one.name, "bold"), f" {relation} ", (two.name, "bold")))
    shown.print(Text(f"for every length: {_assumed(one)}", "dim"))
    for item in found:
        title = item.attend if item.attend == item.other else f"{item.attend}, {item.other}"
        _print_rows(title, [item.fact])
    _print_hint([item.fact for item in found])
