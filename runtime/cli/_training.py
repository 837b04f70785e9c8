"""The runs behind `attnc train`: one seed after the other, with checkpoints and a log."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from ..api import load
from ..training import checkpoint
from ..training.data import Corpus, corpus_of, read_texts
from ..training.loop import Point, Record, Trainer
from ..training.models import character_model
from ..training.plan import Plan, append_log, check_free, checkpoint_path, write_json
from ._console import write
from ._progress import Reporter

STOPPED = 130


class Runs:
    """The runs of a plan, one seed after the other."""

    def __init__(self, plan: Plan, folder: Path | None, is_resumed: bool) -> None:
        if folder is not None and not is_resumed:
            check_free(folder)
        self.plan, self.folder, self.is_resumed = plan, folder, is_resumed
        self.spec = load(plan.spec)
        texts = read_texts(plan.data, plan.limit)
        self.corpus: Corpus = corpus_of(texts, plan.recipe.length)
        _tell_data(self.corpus, len(texts.files), texts.skipped)

    def all(self) -> list[Record]:
        """Train every seed; the records."""
        with Reporter(self.plan.recipe.steps) as reporter, _interruptible() as stop:
            records = [self._run(seed, reporter, stop) for seed in self.plan.seeds]
        if self.folder is not None:
            runs = [record.to_json() for record in records]
            write_json(self.folder / "record.json", {"plan": self.plan.to_json(), "runs": runs})
        return records

    def _run(self, seed: int, reporter: Reporter, stop: list[int]) -> Record:
        """Train one seed to its end, or until it is stopped."""
        trainer = self._trainer(seed)
        if self.folder is not None:
            self.plan.write(self.folder)
        reporter.begin(seed, trainer.progress.step)
        for point in trainer.run():
            reporter.step(trainer.progress.step)
            if point is not None:
                reporter.point(point)
                self._keep(trainer, point)
            if stop:
                self._stop(trainer)
        return trainer.record()

    def _trainer(self, seed: int) -> Trainer:
        plan, vocab = self.plan, len(self.corpus.vocabulary)
        length, choices = plan.recipe.length, plan.choices
        module = character_model(self.spec, vocab, length, choices, seed, plan.device)
        trainer = Trainer(module, self.corpus, plan.recipe, seed)
        if self.is_resumed and self.folder is not None:
            path = checkpoint_path(self.folder, seed)
            if path.exists():
                checkpoint.resume(trainer, checkpoint.read(path))
        return trainer

    def _keep(self, trainer: Trainer, point: Point) -> None:
        if self.folder is not None:
            self._save(trainer)
            append_log(self.folder, {"seed": trainer.seed, **asdict(point)})

    def _save(self, trainer: Trainer) -> None:
        assert self.folder is not None
        path = checkpoint_path(self.folder, trainer.seed)
        checkpoint.save(path, trainer, self.spec, self.plan.choices)

    def _stop(self, trainer: Trainer) -> NoReturn:
        """Save what there is and end, as after any Ctrl-C, with exit code 130."""
        where = f"stopped after step {trainer.progress.step} of seed {trainer.seed}"
        if self.folder is None:
            write(f"{where}; nothing is kept without --out DIR", sys.stderr)
        else:
            self._save(trainer)
            write(f"{where}; `attnc train --resume {self.folder}` goes on from there", sys.stderr)
        raise SystemExit(STOPPED)


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """A list that holds the signal after Ctrl-C, so that a step is never cut; twice raises."""
    got: list[int] = []

    def note(number: int, frame: object) -> None:
        if got:
            raise KeyboardInterrupt
        got.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield got
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_data(corpus: Corpus, files: int, skipped: int) -> None:
    text = (
        f"{files} file(s), {corpus.training.numel():,} characters to train on and "
        f"{corpus.validation.numel():,} held out, vocabulary {len(corpus.vocabulary)}"
    )
    write(
        text + (f"; {skipped} file(s) that are no text passed over" if skipped else ""), sys.stderr
    )
