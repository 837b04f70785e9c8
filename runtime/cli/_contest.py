"""The contest of `attnc demo`: models that differ in their first layer, trained alike on text."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._console import console, fail, write

if TYPE_CHECKING:
    from ..training.contest import Contest, Outcome
    from ..training.data import Corpus

DIMS = {"d_model": 64, "heads": 4, "layers": 3}
LENGTH, BATCH = 96, 16
FILES, CHARACTERS = 48, 1_000_000
FIRST_LAYERS = {
    "dot product": "causal_softmax",
    "Neural Attention": "causal_neural_attention",
    "additive": "causal_additive",
}
INNER = "body.0.attended"


def prepare(seconds: float, steps: int, seeds: int, threads: int) -> tuple[Contest, Corpus]:
    """The contest with as many steps, at most those given, as fit into a time; and its data."""
    from dataclasses import replace

    from ..training.contest import pace, steps_within
    from ..training.data import corpus_of, read_texts

    start = time.monotonic()
    contest = _wanted(steps, seeds, threads)
    texts = read_texts(contest.data, contest.limit)
    corpus = corpus_of(texts, LENGTH)
    with _threads(threads):
        paces = [pace(contest, contender, corpus) for contender in contest.contenders]
    left = seconds - (time.monotonic() - start)
    fitting = steps_within(left, paces, seeds, steps)
    recipe = replace(contest.recipe, steps=fitting, every=max(1, fitting // 10))
    _tell(contest, corpus, len(texts.files), paces, fitting)
    return replace(contest, recipe=recipe), corpus


def _wanted(steps: int, seeds: int, threads: int) -> Contest:
    from ..training.contest import Contender, Contest
    from ..training.loop import Recipe

    return Contest(
        spec="language_model",
        contenders=tuple(
            Contender(name, {"attention": "causal_softmax", "first": first})
            for name, first in FIRST_LAYERS.items()
        ),
        choices=DIMS,
        data=_sources(),
        limit=CHARACTERS,
        recipe=Recipe(steps=steps, batch=BATCH, length=LENGTH),
        seeds=tuple(range(seeds)),
        threads=threads,
    )


def _sources() -> tuple[Path, ...]:
    """Modules of Python's standard library of middle size, by name; else our own sources."""
    library = Path(sysconfig.get_paths()["stdlib"])
    found = [path for path in sorted(library.glob("*.py")) if 8_000 < path.stat().st_size < 80_000]
    return tuple(found[:FILES]) or (Path(__file__).parents[2] / "dsl",)


def _tell(contest: Contest, corpus: Corpus, files: int, paces: list[float], steps: int) -> None:
    sizes = ", ".join(f"{name} {value}" for name, value in DIMS.items())
    times = ", ".join(f"{1e3 * value:.0f}" for value in paces)
    where = os.path.commonpath([str(path) for path in contest.data])
    write(
        f"Text: {files} files of {where}, {corpus.training.numel():,} characters to train on, "
        f"{corpus.validation.numel():,} held out.\n"
        f"Models: language_model with {sizes}, length {LENGTH}, batch {BATCH}; they differ in the "
        f"first layer: {', '.join(FIRST_LAYERS.values())}.\n"
        f"Steps: {steps} each (a step takes {times} ms here)."
    )
    sys.stdout.flush()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def hold_in(contest: Contest, folder: Path, deadline: float) -> Outcome:
    """Train everything, each run in a folder of its own, and tell how far it is."""
    from ..training.contest import hold, run_folder
    from ..training.processes import RunFailed

    for contender in contest.contenders:
        for seed in contest.seeds:
            _forget(run_folder(folder, contender, seed))
    with _progress(contest) as watch:
        try:
            return hold(contest, folder, deadline, watch)
        except RunFailed as error:
            raise fail(f"a run failed: {error}") from error


def _forget(folder: Path) -> None:
    """Remove a run of an earlier demo, told by its plan."""
    if (folder / "plan.json").is_file() or (folder / "output.txt").is_file():
        shutil.rmtree(folder)


@contextmanager
def _progress(contest: Contest) -> Iterator[Callable[[str, int, int], None]]:
    """A function to tell contender, seed and step: a bar, or a line per run without a terminal."""
    steps, order = contest.recipe.steps, [contender.name for contender in contest.contenders]
    if not sys.stderr.isatty():
        yield _line_per_run
        return
    from ._progress import bar

    with bar() as progress:
        total = steps * len(order) * len(contest.seeds)
        task = progress.add_task("training", total=total, loss="")

        def watch(name: str, seed: int, step: int) -> None:
            done = contest.seeds.index(seed) * len(order) + order.index(name)
            progress.update(task, completed=done * steps + step, loss=f"{name}, seed {seed}")

        yield watch


def _line_per_run(name: str, seed: int, step: int) -> None:
    if step == 0:
        write(f"training {name}, seed {seed}", sys.stderr)


def report(contest: Contest, outcome: Outcome) -> None:
    """Losses, differences and costs as a table, and what may be concluded."""
    from ..training.contest import conclusion

    shown = console()
    shown.print(_table(contest, outcome))
    if outcome.stopped:
        shown.print(f"[yellow]{outcome.stopped}[/]")
    unigram = outcome.records[contest.contenders[0].name][0]["unigram"]
    shown.print(
        "Validation loss in nats per character (character frequencies alone: "
        f"{unigram:.3f}); ± is a 95 % t-interval over seeds; differences are paired by seed.\n"
    )
    shown.print(conclusion(contest, outcome))


def _table(contest: Contest, outcome: Outcome) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("first layer")
    titles = (
        "parameters",
        "validation loss",
        "difference",
        "bits/char",
        "step",
        "tokens",
        "memory",
    )
    for title in titles:
        table.add_column(title, justify="right")
    baseline = contest.contenders[0].name
    for contender in contest.contenders:
        name = contender.name
        gain = "" if name == baseline else outcome.gain(name, baseline).show(signed=True)
        table.add_row(
            name,
            f"{outcome.mean(name, 'parameters'):,.0f}",
            outcome.losses(name).show(),
            gain,
            f"{outcome.mean(name, 'bits'):.3f}",
            f"{1e3 * outcome.mean(name, 'step_seconds'):.1f} ms",
            f"{BATCH * LENGTH / outcome.mean(name, 'step_seconds'):,.0f} /s",
            _memory(outcome, name),
        )
    return table


def _memory(outcome: Outcome, name: str) -> str:
    """Peak of the process, and how much of it training added."""
    peak, base = outcome.mean(name, "peak_bytes"), outcome.mean(name, "base_bytes")
    return f"{peak / 2**20:,.0f} MiB (+{(peak - base) / 2**20:,.0f})"


def draw(contest: Contest, outcome: Outcome, corpus: Corpus, out: Path) -> None:
    """Learning curves, and weights of the first layers, as files."""
    from ..training.checkpoint import open_model
    from ..training.contest import run_folder
    from ..training.pictures import attention_weights, learning_curves
    from ..training.plan import checkpoint_path

    learning_curves(outcome.records, out / "learning_curves.png")
    models = {}
    seed = contest.seeds[0]
    for contender in contest.contenders:
        path = checkpoint_path(run_folder(out / "runs", contender, seed), seed)
        models[contender.name] = (open_model(path)[0], INNER)
    tokens = corpus.validation[:40].long()[None]
    text = corpus.vocabulary.decode(tokens[0])
    attention_weights(models, text, tokens, out / "weights.png")
