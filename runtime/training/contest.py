"""Several models trained alike on the same text: same steps, batches, seeds; a process per run.

Seeds are the outer loop: a machine that grows slower treats all models alike, and when the time is over after a full round, each model has the same seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeAlias

from .data import Corpus
from .loop import Recipe, Trainer
from .models import character_model
from .processes import RunFailed, run_apart
from .statistics import Estimate, estimate, paired

Records: TypeAlias = list[dict[str, Any]]
STARTUP = 3.5
FEWEST_STEPS = 20


@dataclass(frozen=True)
class Contender:
    """A model in the contest: its name in tables, and the choices that make it."""

    name: str
    choices: Mapping[str, str | int]


@dataclass(frozen=True)
class Contest:
    """What is compared: contenders (the first is the baseline), and what they share.

    choices   dims of the model spec, the same for all
    data      files; limit: characters that are read of them
    """

    spec: str
    contenders: tuple[Contender, ...]
    choices: Mapping[str, int]
    data: tuple[Path, ...]
    limit: int
    recipe: Recipe
    seeds: tuple[int, ...]
    threads: int

    def arguments(self, contender: Contender, seed: int) -> list[str]:
        """The words after `attnc train` for one run."""
        recipe = self.recipe
        numbers = {
            "steps": recipe.steps,
            "batch": recipe.batch,
            "length": recipe.length,
            "lr": recipe.lr,
            "every": recipe.interval,
            "max-chars": self.limit,
            "threads": self.threads,
            "seed": seed,
        }
        words = [self.spec]
        words += [word for path in self.data for word in ("--data", str(path))]
        words += [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
        for name, value in {**self.choices, **contender.choices}.items():
            words += ["--set" if isinstance(value, str) else "--dim", f"{name}={value}"]
        return words


@dataclass
class Outcome:
    """Records (as JSON) of each contender by name, in the order of the seeds that were done."""

    records: dict[str, Records] = field(default_factory=dict)
    stopped: str = ""

    @property
    def rounds(self) -> int:
        """Seeds that every contender has done."""
        return min((len(found) for found in self.records.values()), default=0)

    def losses(self, name: str) -> Estimate:
        """Validation loss, nats per character."""
        return estimate(self._validation(name))

    def gain(self, name: str, baseline: str) -> Estimate:
        """Difference of validation losses, paired by seed; negative is better than the baseline."""
        return paired(self._validation(name), self._validation(baseline))

    def mean(self, name: str, key: str) -> float:
        """The mean over seeds of a number of the records."""
        return fmean(record[key] for record in self.records[name])

    def _validation(self, name: str) -> list[float]:
        return [record["validation"] for record in self.records[name]]


def pace(contest: Contest, contender: Contender, corpus: Corpus, steps: int = 7) -> float:
    """Seconds of a step of one contender, measured here and now."""
    module = character_model(
        contest.spec,
        len(corpus.vocabulary),
        contest.recipe.length,
        {**contest.choices, **contender.choices},
    )
    trainer = Trainer(module, corpus, contest.recipe)
    for _ in range(4 + steps):
        trainer.advance()
    return median(trainer.progress.durations[4:])


def steps_within(seconds: float, paces: Sequence[float], seeds: int, wanted: int) -> int:
    """How many steps, at most those wanted, every run can take in a time for all runs.

    A tenth is added to a step's time for validation, a twentieth of the time kept in reserve.
    """
    left = 0.95 * seconds - seeds * len(paces) * STARTUP
    possible = int(left / (1.1 * seeds * sum(paces)))
    rounded = possible // 10 * 10 if possible > 2 * FEWEST_STEPS else possible
    return max(FEWEST_STEPS, min(wanted, rounded))


def hold(
    contest: Contest,
    folder: Path,
    deadline: float,
    watch: Callable[[str, int, int], None] = lambda name, seed, step: None,
) -> Outcome:
    """Train every contender with every seed, until a full round no longer fits before deadline.

    deadline  `time.monotonic()`; a run that is under way then is stopped
    watch     is told contender, seed and step
    Raises:
        RunFailed: a run failed before one full round was done.
    """
    outcome = Outcome({contender.name: [] for contender in contest.contenders})
    for seed in contest.seeds:
        start = time.monotonic()
        try:
            found = _round(contest, folder, seed, deadline, watch)
        except RunFailed as error:
            if not outcome.rounds:
                raise
            outcome.stopped = f"seed {seed} was stopped: {error}"
            break
        for name, record in found.items():
            outcome.records[name].append(record)
        now = time.monotonic()
        if seed != contest.seeds[-1] and now + (now - start) > deadline:
            outcome.stopped = (
                f"no time for more than {outcome.rounds} of {len(contest.seeds)} seeds"
            )
            break
    return outcome


def _round(
    contest: Contest,
    folder: Path,
    seed: int,
    deadline: float,
    watch: Callable[[str, int, int], None],
) -> dict[str, dict[str, Any]]:
    """One run of each contender with one seed."""
    found = {}
    for contender in contest.contenders:
        name = contender.name
        found[name] = run_apart(
            contest.arguments(contender, seed),
            run_folder(folder, contender, seed),
            deadline,
            lambda step, name=name: watch(name, seed, step),  # type: ignore[misc]
        )
    return found


def run_folder(folder: Path, contender: Contender, seed: int) -> Path:
    """Where one run keeps its checkpoint."""
    return folder / f"{contender.name.replace(' ', '_')}-{seed}"


def conclusion(contest: Contest, outcome: Outcome) -> str:
    """What the numbers allow to say, in a sentence or two."""
    baseline, *others = (contender.name for contender in contest.contenders)
    where = (
        f"at this size ({outcome.records[baseline][0]['parameters']:,} parameters, "
        f"{contest.recipe.steps} steps, seeds: {outcome.rounds})"
    )
    if outcome.rounds < 2:
        return f"One seed {where} has no interval: nothing may be concluded about which is better."
    verdicts = [_verdict(name, outcome.gain(name, baseline)) for name in others]
    return (
        f"{where[0].upper()}{where[1:]}, against {baseline} in the first layer: "
        + "; ".join(verdicts)
        + ". Each interval is a 95 % one by itself, not corrected for making "
        f"{len(others)} comparisons; nothing here tells of larger models or longer training."
    )


def _verdict(name: str, gain: Estimate) -> str:
    if not gain.is_significant:
        return f"{name} cannot be told apart ({gain.show(signed=True)} nats, not significant)"
    better = "lower" if gain.mean < 0 else "higher"
    return f"{name} has a {better} loss ({gain.show(signed=True)} nats, significant)"
