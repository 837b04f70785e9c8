"""One training run: AdamW, warm-up and cosine, clipping, auxiliary losses, validation, cost.

Everything random in step n follows from (seed, n): a run that is resumed at n goes on as if it had not stopped, to the bit on one machine with one number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..module import Module
from .data import Corpus, batch_at, fixed_windows
from .memory import peak_bytes

BETAS = (0.9, 0.98)
_VALIDATION_DRAWS = 2**31 - 1
_REMEMBERED = 256


class Diverged(ArithmeticError):
    """The loss is no longer finite."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    lr       peak learning rate, reached after `warmup` of the steps and then falling as a cosine
             to a tenth
    decay    weight decay, on what `Module.decay_groups` lets decay
    clip     largest norm of the gradient
    every    steps between validations (0: twenty times in the run)
    windows  number of validation windows
    """

    steps: int = 1000
    batch: int = 16
    length: int = 128
    lr: float = 3e-3
    warmup: float = 0.1
    decay: float = 0.1
    clip: float = 1.0
    every: int = 0
    windows: int = 64

    @property
    def interval(self) -> int:
        """Steps between validations."""
        return self.every or max(1, self.steps // 20)

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ..., steps - 1."""
        start = max(1, round(self.warmup * self.steps))
        if step < start:
            return self.lr * (step + 1) / start
        share = (step - start) / max(1, self.steps - start)
        return self.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * share)))


@dataclass(frozen=True)
class Point:
    """A point of the learning curve: losses in nats per character, time spent on steps so far.

    training is the mean since the point before.
    """

    step: int
    training: float
    validation: float
    seconds: float


@dataclass(frozen=True)
class Record:
    """What a run gave: losses in nats and bits per character, and what it cost.

    step_seconds  median time of a step, without validation
    peak_bytes    most resident memory of the process (or of the GPU); base_bytes: what it was
                  before the first step, with Python, torch, the data and the model
    unigram       validation loss of character frequencies alone
    """

    spec: str
    seed: int
    steps: int
    parameters: int
    vocab: int
    training: float
    validation: float
    bits: float
    unigram: float
    step_seconds: float
    tokens_per_second: float
    peak_bytes: int
    base_bytes: int
    threads: int
    curve: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data; `curve` becomes a list of objects."""
        return {**asdict(self), "curve": [asdict(point) for point in self.curve]}


@dataclass
class Progress:
    """How far a run is, and what is needed to go on: kept in checkpoints.

    recent     training losses since the last point
    durations  seconds of the last steps, for their median; seconds: of all steps
    """

    step: int = 0
    seconds: float = 0.0
    recent: list[float] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)
    curve: list[Point] = field(default_factory=list)

    def advance(self, loss: float, duration: float) -> None:
        """Count a step."""
        self.step += 1
        self.seconds += duration
        self.recent.append(loss)
        self.durations = [*self.durations[1 - _REMEMBERED :], duration]


class Trainer:
    """A module, its optimiser and its data, advanced step by step."""

    def __init__(self, module: Module, corpus: Corpus, recipe: Recipe, seed: int = 0) -> None:
        self.module, self.corpus, self.recipe, self.seed = module, corpus, recipe, seed
        self.progress = Progress()
        self.device = next(module.parameters()).device
        groups = module.decay_groups(recipe.decay)
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=BETAS, fused=True)
        self.windows = fixed_windows(corpus.validation, recipe.length, recipe.windows)
        self.base_bytes = peak_bytes()

    def run(self) -> Iterator[Point | None]:
        """Advance to the last step; yields a point after steps that were validated, else None."""
        while self.progress.step < self.recipe.steps:
            self.advance()
            step = self.progress.step
            validated = step % self.recipe.interval == 0 or step == self.recipe.steps
            yield self._point() if validated else None

    def advance(self) -> float:
        """One step of the optimiser; the loss in nats per character.

        Raises:
            Diverged: the loss is not finite; parameters are left as they were.
        """
        start = time.perf_counter()
        step = self.progress.step
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(step)
        with reproducible(self.seed, step):
            loss = self._descend(step)
        self.progress.advance(loss, time.perf_counter() - start)
        return loss

    def _descend(self, step: int) -> float:
        recipe, module = self.recipe, self.module.train()
        tokens = batch_at(self.corpus.training, recipe.length, recipe.batch, self.seed, step)
        loss = self._loss(tokens)
        value = loss.item()
        if not math.isfinite(value):
            raise Diverged(f"the loss became {value} at step {step + 1}: try a smaller --lr")
        self.optimizer.zero_grad()
        (loss + module.losses().to(loss.device)).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.clip)
        self.optimizer.step()
        module.after_step()
        return value

    def _loss(self, tokens: Tensor) -> Tensor:
        """Mean cross-entropy of the next characters, windows (n, length + 1)."""
        tokens = tokens.to(self.device)
        logits = self.module(tokens=tokens[:, :-1])
        return cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())

    @torch.no_grad()
    def validate(self) -> float:
        """Mean loss (nats per character) over the fixed validation windows."""
        self.module.eval()
        parts = torch.split(self.windows, self.recipe.batch)
        with reproducible(self.seed, _VALIDATION_DRAWS):
            total = sum(self._loss(part).item() * len(part) for part in parts)
        self.module.train()
        return total / len(self.windows)

    def _point(self) -> Point:
        progress = self.progress
        training = sum(progress.recent) / len(progress.recent)
        point = Point(progress.step, training, self.validate(), progress.seconds)
        progress.recent.clear()
        progress.curve.append(point)
        return point

    def record(self) -> Record:
        """What the run gave so far; it must have been validated once."""
        last, recipe = self.progress.curve[-1], self.recipe
        pace = median(self.progress.durations)
        return Record(
            spec=self.module.spec.name,
            seed=self.seed,
            steps=self.progress.step,
            parameters=sum(p.numel() for p in self.module.parameters()),
            vocab=len(self.corpus.vocabulary),
            training=last.training,
            validation=last.validation,
            bits=last.validation / math.log(2),
            unigram=self.corpus.unigram,
            step_seconds=pace,
            tokens_per_second=recipe.batch * recipe.length / pace,
            peak_bytes=self._peak(),
            base_bytes=self.base_bytes,
            threads=torch.get_num_threads(),
            curve=tuple(self.progress.curve),
        )

    def _peak(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return peak_bytes()


@contextmanager
def reproducible(seed: int, step: int) -> Iterator[None]:
    """Draws that follow from (seed, step), and sums in a fixed order.

    Gradients of table reads are otherwise added by several threads in the order in which they
    come. The caller's generator and settings are as before afterwards.
    """
    settings: Any = torch.utils.deterministic
    strict = torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = settings.fill_uninitialized_memory
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((seed * 0x9E3779B97F4A7C15 + step) % 2**63)
        torch.use_deterministic_algorithms(True, warn_only=True)
        settings.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=warn)
            settings.fill_uninitialized_memory = fill
