"""Which specs can be trained on characters, and their modules.

Such a spec takes an int input `tokens` over x, gives logits of width `vocab`, and no output sees a later token: else its validation loss would mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import torch

from ...dsl.causality import judge
from ...dsl.core import Kind, TypedSpec
from ..api import Spec, compile
from ..module import Module

Choices: TypeAlias = Mapping[str, bool | int | float | str]


class NotTrainable(ValueError):
    """The spec is no language model over token ids."""


def character_model(
    spec: Spec | str | Path,
    vocab: int,
    length: int,
    choices: Choices | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Module:
    """The module of a model spec for `vocab` characters and windows of `length`.

    Raises:
        NotTrainable: the spec takes no tokens, needs more than tokens, gives no logits, or
            sees the future.
        SpecError: the spec is at fault at these dims.
    """
    given = dict(choices or {})
    if "vocab" in given:
        raise NotTrainable("`vocab` follows from the data: leave it out")
    module = compile(spec, choices={**given, "vocab": vocab}, seed=seed) if _has_vocab(spec) else compile(spec, choices=given, seed=seed)
    _check(module.spec, vocab)
    return module.to(device)
