"""Pictures of training: learning curves over seeds, and what attention looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from ..module import Module

plt.switch_backend("agg")


def learning_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Validation loss by step and by time: the mean over seeds, and a band from least to most.

    runs: the records (as JSON) of each model, by its name; all validated at the same steps.
    """
    figure, (by_step, by_time) = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for name, records in runs.items():
        losses = np.array([[p["validation"] for p in r["curve"]] for r in records])
        steps = [p["step"] for p in records[0]["curve"]]
        times = np.array([[p["seconds"] for p in r["curve"]] for r in records]).mean(0)
        for axes, at in ((by_step, steps), (by_time, times)):
            (line,) = axes.plot(at, losses.mean(0), label=name)
            axes.fill_between(at, losses.min(0), losses.max(0), color=line.get_color(), alpha=0.2)
    by_step.set(xlabel="step", ylabel="validation loss (nats per character)")
    by_time.set(xlabel="seconds in training steps")
    by_step.legend(title="mean over seeds; band: their range")
    for axes in (by_step, by_time):
        axes.grid(alpha=0.3)
    _save(figure, path)


def attention_weights(
    models: Mapping[str, tuple[Module, str]], text: str, tokens: Tensor, path: Path
) -> None:
    """The weights of one attention per model, all heads, on one piece of text.

    models  the module and the path of the attention in it (`body.0.attended`), by name
    tokens  the ids (1, length) of the text
    """
    found = {name: weights_inside(*where, tokens)[0] for name, where in models.items()}
    heads = max(len(weights) for weights in found.values())
    figure, grid = plt.subplots(
        len(found), heads, figsize=(3 * heads, 3.1 * len(found)), squeeze=False
    )
    signs = [sign if sign.isprintable() and sign != " " else "·" for sign in text]
    for row, (name, weights) in zip(grid, found.items(), strict=True):
        for head, axes in enumerate(row):
            axes.imshow(weights[head] ** 0.5, cmap="magma", vmin=0, vmax=1)
            axes.set_title(f"{name}, head {head}", fontsize=8)
            axes.set_xticks(range(len(signs)), signs, fontsize=5)
            axes.set_yticks(range(len(signs)), signs, fontsize=5)
            axes.tick_params(length=0)
    figure.suptitle("weights of the first layer (query down, key across; shown as square roots)")
    _save(figure, path)


@torch.no_grad()
def weights_inside(model: Module, inner: str, tokens: Tensor) -> Tensor:
    """Weights (batch, heads, queries, keys) of an attention in a model, for given tokens."""
    attention = model.get_submodule(inner)
    assert isinstance(attention, Module)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    handle = attention.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True
    )
    try:
        model(tokens=tokens)
    finally:
        handle.remove()
    args, kwargs = calls[0]
    return attention.weights(*args, **kwargs)


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
