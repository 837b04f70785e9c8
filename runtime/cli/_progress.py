"""How far a training is: a bar on a terminal, a line for each validation elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ._console import console, write

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ..training.loop import Point


class Reporter:
    """Tells of the runs of a training on standard error."""

    def __init__(self, steps: int) -> None:
        self.steps, self.seed = steps, 0
        self.bar: Progress | None = bar() if sys.stderr.isatty() else None
        self.task: TaskID | None = None

    def __enter__(self) -> Reporter:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def begin(self, seed: int, step: int) -> None:
        """A run starts, or goes on at a step."""
        self.seed = seed
        if self.bar is not None:
            self.task = self.bar.add_task(f"seed {seed}", total=self.steps, completed=step, loss="")

    def step(self, step: int) -> None:
        """A step was made."""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=step)

    def point(self, point: Point) -> None:
        """The model was validated."""
        losses = f"training {point.training:.3f}  validation {point.validation:.3f}"
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, loss=losses)
        else:
            head = f"seed {self.seed}  step {point.step}/{self.steps}"
            write(f"{head}  {losses}  {point.seconds:.1f} s", sys.stderr)


def bar() -> Progress:
    """A progress bar on standard error, with a field `loss` for a text."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
        console=console(sys.stderr),
    )
