"""`attnc demo`: what is in the library, one mechanism looked at, and three models trained on text."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import click

from . import _contest
from ._console import console, plural, write

EPILOG = """\b
Examples:
  attnc demo
  attnc demo --budget 60 --out shown
"""
PICTURES_TIME = 15.0
GRACE = 85.0


@click.command(epilog=EPILOG)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="demo_out",
    show_default=True,
    help="Directory for pictures and runs.",
)
@click.option(
    "--budget",
    type=click.IntRange(20),
    default=260,
    show_default=True,
    help="Seconds for everything; steps are chosen to fit.",
)
@click.option("--steps", type=click.IntRange(20), default=500, show_default=True, help="At most.")
@click.option(
    "--seeds", type=click.IntRange(1), default=3, show_default=True, help="Runs per model."
)
@click.option(
    "--threads", type=click.IntRange(1), help="Threads of torch.  [default: cores, at most 2]"
)
def command(out: Path, budget: int, steps: int, seeds: int, threads: int | None) -> None:
    """Show the library, explain Neural Attention, and train it beside two others on real text."""
    from ..training.processes import share_cores

    start = time.monotonic()
    share_cores()
    out.mkdir(parents=True, exist_ok=True)
    threads = threads or min(2, os.cpu_count() or 1)
    _library()
    _explain(out)
    amounts = f"{plural(seeds, 'seed')} each, {plural(threads, 'thread')}"
    _title(f"3. Three models on real text, {amounts}")
    left = start + budget - PICTURES_TIME - time.monotonic()
    contest, corpus = _contest.prepare(left, steps, seeds, threads)
    outcome = _contest.hold_in(contest, out / "runs", start + budget + GRACE)
    _contest.report(contest, outcome)
    _contest.draw(contest, outcome, corpus, out)
    write(f"\n{time.monotonic() - start:.0f} s in all; pictures and runs are in {out}/")


def _title(text: str) -> None:
    console().print(f"\n[bold]{text}[/]\n")
    sys.stdout.flush()


# -- the library ----------------------------------------------------------------------------


def _library() -> None:
    from rich.table import Table

    from ...dsl.library import family, library_paths

    names = library_paths()
    _title(f"1. The library: {len(names)} specs (`attnc list` tells more)")
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(family(name), []).append(name)
    table = Table.grid(padding=(0, 2))
    for group, members in sorted(families.items()):
        table.add_row(f"[bold]{group}[/]", ", ".join(members))
    console().print(table)


def _explain(out: Path) -> None:
    _title("2. One of them: Neural Attention (arXiv:2502.17206)")
    dims = [f"--dim={name}={_contest.DIMS[name]}" for name in ("d_model", "heads")]
    picture = out / "neural_attention.png"
    _attnc("show", "neural_attention", "--stage", "text")
    _attnc("explain", "neural_attention", *dims, "--length", str(_contest.LENGTH))
    _attnc("plot", "neural_attention", "--what", "scores", *dims, "-o", str(picture))


def _attnc(*words: str) -> None:
    """Run a command of ours as a user would, and show which; its failure does not end the demo."""
    write("$ attnc " + " ".join(words))
    sys.stdout.flush()
    done = subprocess.run([sys.executable, "-m", "attnc", *words], stdin=subprocess.DEVNULL)
    if done.returncode:
        write(f"attnc {words[0]} ended with exit code {done.returncode}", sys.stderr)
    write("")
