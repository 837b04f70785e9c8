"""What a run was asked to do, kept as JSON beside its checkpoints so that it can go on.

A directory of a run holds `plan.json`, a checkpoint `seed-S.safetensors` for each seed that was begun, `log.jsonl` with what happened, and at the end `record.json`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .loop import Recipe

PLAN = "plan.json"


class PlanMistake(ValueError):
    """The directory holds no run, or holds one where a new one was to begin."""


@dataclass(frozen=True)
class Plan:
    """A model spec with choices, data, recipe and seeds; limit None reads all of the data."""

    spec: str
    choices: Mapping[str, bool | int | float | str]
    data: tuple[str, ...]
    limit: int | None
    recipe: Recipe
    seeds: tuple[int, ...]
    device: str = "cpu"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def write(self, folder: Path) -> None:
        """Keep the plan in the directory of the run, which is made where it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / PLAN, self.to_json())


def check_free(folder: Path) -> None:
    """Make sure that a new run can begin in a directory.

    Raises:
        PlanMistake: there is one already.
    """
    if (folder / PLAN).exists():
        raise PlanMistake(
            f"`{folder}` holds a run: continue it with --resume {folder}, or choose another --out"
        )


def plan_of(folder: Path) -> Plan:
    """The plan of a run.

    Raises:
        PlanMistake: there is none.
    """
    path = folder / PLAN
    try:
        found = json.loads(path.read_text("utf-8"))
        found["recipe"] = Recipe(**found["recipe"])
        found["data"], found["seeds"] = tuple(found["data"]), tuple(found["seeds"])
        return Plan(**found)
    except FileNotFoundError as error:
        raise PlanMistake(f"`{folder}` holds no run: there is no {path}") from error
    except (TypeError, KeyError, ValueError, OSError) as error:
        raise PlanMistake(f"`{path}` is broken: {error}") from error


def checkpoint_path(folder: Path, seed: int) -> Path:
    """The checkpoint of one seed."""
    return folder / f"seed-{seed}.safetensors"


def write_json(path: Path, data: Any) -> None:
    """Write JSON, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", "utf-8")
    partial.replace(path)


def append_log(folder: Path, event: Mapping[str, Any]) -> None:
    """One event as a line of `log.jsonl`."""
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(event, allow_nan=False) + "\n")
