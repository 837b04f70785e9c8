"""A run in one file: safetensors for weights and optimiser, JSON in its header for the rest.

Weights stand under the names of the state dict, what the optimiser knows of a parameter under `optimizer/NAME/KEY`.
The file is written under another name and then renamed, so a reader meets the old one or the new one, never half of one. There is no pickle: a file from elsewhere can be opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ... import __version__
from ..api import Spec, load, loads
from ..module import Module
from .data import Vocabulary
from .loop import Point, Progress, Recipe, Trainer
from .models import character_model

FORMAT = 1
_HEADER = "attnc"
_OPTIMIZER = "optimizer/"


class CheckpointMistake(ValueError):
    """The file is no checkpoint of ours, is broken, or belongs to other data or another spec."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    spec       name, text, and path (empty: of the library) of the model's spec
    choices    dims and choices it was compiled with, vocab apart
    data       the digest of the texts
    """

    tensors: Mapping[str, Tensor]
    spec: Mapping[str, str]
    choices: Mapping[str, bool | int | float | str]
    vocabulary: Vocabulary
    seed: int
    recipe: Recipe
    progress: Progress
    data: str

    def weights(self) -> dict[str, Tensor]:
        """The state dict of the module."""
        return {k: v for k, v in self.tensors.items() if not k.startswith(_OPTIMIZER)}


def save(path: Path, trainer: Trainer, spec: Spec, choices: Mapping[str, Any]) -> None:
    """Write a run to `path`, whole or not at all."""
    about = {
        "format": FORMAT,
        "version": {"attnc": __version__, "torch": str(torch.__version__)},
        "spec": {"name": spec.name, "text": spec.text, "path": _path_of(spec)},
        "choices": dict(choices),
        "vocabulary": trainer.corpus.vocabulary.characters,
        "seed": trainer.seed,
        "recipe": asdict(trainer.recipe),
        "progress": asdict(trainer.progress),
        "data": trainer.corpus.digest,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(_tensors(trainer), partial, metadata={_HEADER: json.dumps(about)})
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _path_of(spec: Spec) -> str:
    from ...dsl.library import library_paths

    if spec.path is None or library_paths().get(spec.name) == spec.path:
        return ""
    return str(spec.path.resolve())


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    found = dict(trainer.module.state_dict())
    for name, parameter in trainer.module.named_parameters():
        for key, value in trainer.optimizer.state[parameter].items():
            found[f"{_OPTIMIZER}{name}/{key}"] = value
    return {name: value.detach().cpu().clone().contiguous() for name, value in found.items()}


def read(path: Path) -> Checkpoint:
    """Open a checkpoint.

    Raises:
        CheckpointMistake: it is missing, broken, or of another format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})[_HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about["format"] != FORMAT:
            raise CheckpointMistake(f"`{path}` has format {about['format']}, not {FORMAT}")
        return _checkpoint(tensors, about)
    except FileNotFoundError as error:
        raise CheckpointMistake(f"there is no checkpoint `{path}`") from error
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError, OSError) as error:
        raise CheckpointMistake(f"`{path}` is no checkpoint, or a broken one: {error}") from error


def _checkpoint(tensors: dict[str, Tensor], about: dict[str, Any]) -> Checkpoint:
    progress = Progress(**about["progress"])
    progress.curve = [Point(**point) for point in about["progress"]["curve"]]
    return Checkpoint(
        tensors=tensors,
        spec=about["spec"],
        choices=about["choices"],
        vocabulary=Vocabulary(about["vocabulary"]),
        seed=about["seed"],
        recipe=Recipe(**about["recipe"]),
        progress=progress,
        data=about["data"],
    )


def resume(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Put a trainer where the checkpoint was.

    Raises:
        CheckpointMistake: the data, the seed or the parameters are others.
    """
    if checkpoint.data != trainer.corpus.digest:
        raise CheckpointMistake("the data has changed since the checkpoint was written")
    if checkpoint.seed != trainer.seed:
        raise CheckpointMistake(f"the checkpoint is of seed {checkpoint.seed}, not {trainer.seed}")
    _fill(trainer.module, checkpoint)
    for name, parameter in trainer.module.named_parameters():
        head = f"{_OPTIMIZER}{name}/"
        found = {
            k.removeprefix(head): v for k, v in checkpoint.tensors.items() if k.startswith(head)
        }
        if found:
            trainer.optimizer.state[parameter] = {
                key: value.to(parameter.device) for key, value in found.items()
            }
    trainer.progress = checkpoint.progress


def _fill(module: Module, checkpoint: Checkpoint) -> None:
    try:
        module.load_state_dict(checkpoint.weights())
    except RuntimeError as error:
        raise CheckpointMistake(f"the checkpoint is of another model: {error}") from error
    for inner in module.modules():
        if isinstance(inner, Module):
            inner.steps = checkpoint.progress.step


def open_model(path: Path) -> tuple[Module, Checkpoint]:
    """The trained module of a checkpoint, in evaluation mode.

    Raises:
        CheckpointMistake: the file is broken, or its spec is not that of the weights any more.
    """
    checkpoint = read(path)
    module = character_model(
        _spec(checkpoint),
        len(checkpoint.vocabulary),
        checkpoint.recipe.length,
        checkpoint.choices,
        checkpoint.seed,
    )
    _fill(module, checkpoint)
    return module.eval(), checkpoint


def _spec(checkpoint: Checkpoint) -> Spec:
    """The spec by its path or its name where it is still the same text, else from its text."""
    about = checkpoint.spec
    path = Path(about["path"]) if about["path"] else None
    if path is None or path.exists():
        spec = load(path or about["name"])
        if spec.text == about["text"]:
            return spec
    return loads(about["text"], about["name"])
