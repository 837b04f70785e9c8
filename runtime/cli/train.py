"""`attnc train`: train a model spec on text, character by character."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._console import console, fail, print_json
from ._specs import dims_option

if TYPE_CHECKING:
    from ..training.loop import Recipe, Record
    from ..training.plan import Plan

EPILOG = """\b
Examples:
  attnc train language_model --data book.txt --dim d_model=64 --dim layers=2 --steps 500
  attnc train language_model --data src/ --set first=causal_additive --seeds 3 --out runs/a
  attnc train my_model.yaml --data a.txt --data b.txt --seed 1 --seed 7
  attnc train --resume runs/a

DATA is text in UTF-8: files, and directories with all files below them; what is no text is passed
over. The last tenth of each file is held out. `vocab` follows from the characters that occur.

With --out, the directory holds a checkpoint for each seed (safetensors), log.jsonl and record.json.
Ctrl-C saves a checkpoint.
"""


def _named_specs(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """`name=spec` each."""
    pairs = [tuple(part.strip() for part in item.partition("=")) for item in value]
    for item, (name, sign, spec) in zip(value, pairs, strict=True):
        if not (name and sign and spec):
            raise click.BadParameter(f"`{item}` is not of the form name=spec, such as first=alibi")
    return tuple((name, spec) for name, _, spec in pairs)


@click.command(epilog=EPILOG)
@click.argument("spec", required=False, metavar="MODEL_SPEC")
@click.argument("more", nargs=-1, metavar="[PATH]...")
@click.option(
    "--data", multiple=True, metavar="PATH", help="Files or directories; may be repeated."
)
@click.option("--max-chars", type=click.IntRange(1), help="Read no more than so many characters.")
@click.option("--steps", type=click.IntRange(1), help="Steps of the optimiser.  [default: 1000]")
@click.option("--batch", type=click.IntRange(1), help="Windows in a step.  [default: 16]")
@click.option("--length", type=click.IntRange(1), help="Characters in a window.  [default: 128]")
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Peak rate.  [default: 0.003]")
@click.option("--every", type=click.IntRange(1), help="Steps between validations.")
@click.option("--seed", type=click.IntRange(0), multiple=True, help="A seed; may be repeated.")
@click.option("--seeds", type=click.IntRange(1), help="The seeds 0 .. K-1.", metavar="K")
@dims_option
@click.option(
    "--set",
    "specs",
    metavar="NAME=SPEC",
    callback=_named_specs,
    multiple=True,
    help="The spec of a part, such as first=causal_additive; may be repeated.",
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Directory of the run."
)
@click.option(
    "--resume", type=click.Path(file_okay=False, path_type=Path), help="Go on with the run in DIR."
)
@click.option("--json", "is_json", is_flag=True, help="The records as JSON, on standard output.")
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.")
@click.option("--device", help="Such as cuda.  [default: cpu]")
def command(
    more: tuple[str, ...],
    data: tuple[str, ...],
    resume: Path | None,
    out: Path | None,
    is_json: bool,
    threads: int | None,
    **options: Any,
) -> None:
    """Train MODEL_SPEC, a spec from `tokens` to logits, on the characters of text."""
    import torch

    from ._training import Runs

    if threads is not None:
        torch.set_num_threads(threads)
    with plain_mistakes():
        if resume is not None:
            plan, out = _resumed(resume, out, (*data, *more), options), resume
        else:
            plan = _new_plan((*data, *more), options)
        records = Runs(plan, out, is_resumed=resume is not None).all()
    if is_json:
        print_json({"plan": plan.to_json(), "runs": [record.to_json() for record in records]})
    else:
        _print(records)


@contextmanager
def plain_mistakes() -> Iterator[None]:
    """Mistakes of data, directories and specs are told in one line, without a traceback."""
    from ..training.checkpoint import CheckpointMistake
    from ..training.data import DataMistake
    from ..training.loop import Diverged
    from ..training.models import NotTrainable
    from ..training.plan import PlanMistake
    from ._specs import plain_refusals

    mistakes = (CheckpointMistake, DataMistake, Diverged, NotTrainable, PlanMistake)
    with plain_refusals():
        try:
            yield
        except mistakes as error:
            raise fail(str(error)) from error


def _new_plan(data: tuple[str, ...], options: dict[str, Any]) -> Plan:
    from ..training.plan import Plan

    if options["spec"] is None:
        raise click.UsageError("name a MODEL_SPEC, such as language_model, or --resume DIR")
    if not data:
        raise click.UsageError("give the text: --data PATH")
    return Plan(
        spec=_lasting(options["spec"]),
        choices={**dict(options["dims"]), **dict(options["specs"])},
        data=tuple(str(Path(path).resolve()) for path in data),
        limit=options["max_chars"],
        recipe=_recipe(options),
        seeds=_seeds(options["seed"], options["seeds"]),
        device=options["device"] or "cpu",
    )


def _lasting(spec: str) -> str:
    """A path is made absolute, so that the run can go on from another directory."""
    return str(Path(spec).resolve()) if Path(spec).is_file() else spec


def _recipe(options: dict[str, Any]) -> Recipe:
    from ..training.loop import Recipe

    names = ("steps", "batch", "length", "lr", "every")
    return Recipe(**{name: options[name] for name in names if options[name] is not None})


def _seeds(listed: tuple[int, ...], count: int | None) -> tuple[int, ...]:
    if listed and count is not None:
        raise click.UsageError("give --seed or --seeds, not both")
    return tuple(dict.fromkeys(listed)) or tuple(range(count or 1))


def _resumed(
    folder: Path, out: Path | None, data: tuple[str, ...], options: dict[str, Any]
) -> Plan:
    """The plan in the directory, with more steps where they are asked for."""
    from dataclasses import replace

    from ..training.plan import plan_of

    given = [name for name, value in {**options, "out": out, "data": data}.items() if value]
    others = [name for name in given if name not in ("steps", "device")]
    if others:
        raise click.UsageError(
            f"--resume goes on with what {folder}/plan.json says; it takes --steps, not "
            + ", ".join(f"`{name}`" for name in others)
        )
    plan = plan_of(folder)
    if options["steps"]:
        plan = replace(plan, recipe=replace(plan.recipe, steps=options["steps"]))
    if options["device"]:
        plan = replace(plan, device=options["device"])
    return plan


def _print(records: list[Record]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("seed", "training", "validation", "bits", "step", "tokens", "peak memory"):
        table.add_column(title, justify="right")
    for record in records:
        table.add_row(str(record.seed), *_cells(record))
    first = records[0]
    shown = console()
    shown.print(f"[bold]{first.spec}[/], {first.parameters:,} parameters, {first.steps} steps")
    shown.print(table)
    shown.print(_summary(records))


def _cells(record: Record) -> list[str]:
    return [
        f"{record.training:.3f} nats/char",
        f"{record.validation:.3f} nats/char",
        f"{record.bits:.3f} /char",
        f"{1e3 * record.step_seconds:.1f} ms",
        f"{record.tokens_per_second:,.0f} /s",
        f"{record.peak_bytes / 2**20:,.0f} MiB",
    ]


def _summary(records: list[Record]) -> str:
    from ..training.statistics import estimate

    loss = estimate([record.validation for record in records])
    text = f"validation loss {loss.show()} nats per character"
    if loss.half is not None:
        text += f" (mean and 95 % t-interval over {len(records)} seeds)"
    return f"{text}; character frequencies alone give {records[0].unigram:.3f}"
