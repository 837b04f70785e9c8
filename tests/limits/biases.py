"""Limits of families priors and patterns: priors of nothing, masks of everything."""

from __future__ import annotations

import torch
from references.case import Arrays, Shape
from torch import Generator

from .limit import Limit

SMALL = {"d_model": 16, "heads": 2}
CROSS: tuple[Shape, ...] = ((2, 8, None), (1, 7, 11))


def no_inputs(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """The other spec has no such input."""
    return {}


def whole_prefix(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """All of the text is prefix."""
    return {"prefix": torch.full((batch,), length)}


def no_prefix(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Nothing of the text is prefix."""
    return {"prefix": torch.zeros(batch, dtype=torch.long)}


def one_branch(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """A prompt of two tokens and its continuation."""
    return {"branch": (torch.arange(length) >= 2).long().expand(batch, -1)}


def one_document(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """One document per example."""
    return {"document": torch.full((batch, length), 3)}


def a_line(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """A tree without branches."""
    line = torch.ones(length, length).tril().bool()
    return {"ancestor": line.expand(batch, -1, -1), "trunk": torch.ones(batch, dtype=torch.long)}


def a_task(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """A task embedding of width 3."""
    return {"task": torch.randn(batch, 3, generator=generator, dtype=torch.float64)}


LIMITS = (
    Limit(
        "localness",
        {**SMALL, "window": "fixed", "width": 1e7},
        "softmax",
        SMALL,
        "a wide Gaussian equals softmax",
        shapes=CROSS,
    ),
    Limit("realformer", SMALL, "softmax", SMALL, "the first layer is softmax", shapes=CROSS),
    Limit("realformer_causal", SMALL, "causal_softmax", SMALL, "the first layer is softmax"),
    Limit(
        "task_blocks",
        {**SMALL, "length": 13, "blocks": 2, "d_task": 3},
        "softmax",
        SMALL,
        "empty blocks equal softmax",
        put={"a": 0, "film.weight": 0, "film.bias": 0},
        inputs=a_task,
        other=no_inputs,
    ),
    Limit(
        "synthesizer",
        {**SMALL, "max_length": 13},
        "attnc: 1\nname: means\nextends: softmax\nscore: 0 * super\n",
        SMALL,
        "empty rows equal the mean of the values",
        put={"w_2": 0, "b_2": 1},
        weights=lambda w: {
            **{f"{n}.weight": torch.zeros(16, 16, dtype=torch.float64) for n in ("q", "k")},
            **{f"{n}.bias": torch.zeros(16, dtype=torch.float64) for n in ("q", "k")},
            **w,
        },
    ),
    Limit(
        "synthesizer_mixture",
        {**SMALL, "max_length": 13},
        "softmax",
        SMALL,
        "a share of 0 equals softmax",
        put={"mix": lambda mix: torch.tensor([-60.0, 60.0], dtype=mix.dtype)},
    ),
    Limit(
        "multi_scale",
        {**SMALL, "typical": 64, "layer": 9, "layers": 9, "heads": 1, "edges": "none"},
        "sliding_window",
        {**SMALL, "heads": 1, "left": 4, "right": 4},
        "one head takes the middle scale",
    ),
    Limit(
        "prefix_lm",
        SMALL,
        "softmax",
        SMALL,
        "a prefix of everything equals full",
        inputs=whole_prefix,
        other=no_inputs,
    ),
    Limit(
        "prefix_lm",
        SMALL,
        "causal_softmax",
        SMALL,
        "no prefix is causal",
        inputs=no_prefix,
        other=no_inputs,
    ),
    Limit(
        "documents",
        SMALL,
        "softmax",
        SMALL,
        "one document equals full",
        inputs=one_document,
        other=no_inputs,
    ),
    Limit(
        "tree_attention",
        SMALL,
        "causal_softmax",
        SMALL,
        "a tree without branches is causal",
        inputs=a_line,
        other=no_inputs,
    ),
    Limit(
        "shared_prefix",
        SMALL,
        "causal_softmax",
        SMALL,
        "one branch is causal",
        inputs=one_branch,
        other=no_inputs,
    ),
    Limit(
        "block_diffusion",
        {**SMALL, "block": 20},
        "block_local",
        {**SMALL, "block": 4},
        "one block leaves the halves apart",
        shapes=((2, 8, None),),
    ),
    Limit(
        "conv_hybrid",
        SMALL,
        "softmax",
        SMALL,
        "a gate at attention equals softmax",
        put={"t.weight": 0, "t.bias": 60},
    ),
)
