"""Which specs can be trained on characters, and their modules.

Such a spec takes an int input `tokens` over x, gives logits of width `vocab`, and no output sees a later token: else its validation loss would mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import torch

from ...dsl.causality import judge
from ...dsl.core import Kind
from ...dsl.typed import TypedSpec
from ..api import Spec, compile, load
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
    spec = spec if isinstance(spec, Spec) else load(spec)
    _check_inputs(spec.typed)
    module = compile(spec, choices=_completed(spec.typed, vocab, length, choices or {}), seed=seed)
    _check_outputs(module.spec, vocab)
    return module.to(device)


def _completed(
    spec: TypedSpec, vocab: int, length: int, choices: Choices
) -> dict[str, bool | int | float | str]:
    """The choices with those that follow from the data: `vocab`, and room for the positions."""
    if "vocab" in choices:
        raise NotTrainable("`vocab` follows from the data: leave it out")
    given = {**choices, "vocab": vocab}
    room = given.get("max_length", spec.dims.get("max_length"))
    if isinstance(room, int) and room < length:
        if "max_length" in choices:
            raise NotTrainable(f"max_length={room} leaves no room for windows of --length {length}")
        given["max_length"] = length
    return given


def _check_inputs(spec: TypedSpec) -> None:
    tokens = spec.inputs.get("tokens")
    if tokens is None or tokens.type.kind is not Kind.INT or "vocab" not in spec.dims:
        raise NotTrainable(
            f"`{spec.name}` is no model over characters: it needs an int input `tokens` over x "
            f"and a dim `vocab`. {_advice(spec)}"
        )
    others = [i.name for i in spec.inputs.values() if i.default is None and i.name != "tokens"]
    if spec.memory:
        others.append("context")
    if others:
        raise NotTrainable(
            f"`{spec.name}` needs more than `tokens`: {', '.join(others)}; text alone gives only those"
        )


def _advice(spec: TypedSpec) -> str:
    if spec.core is None and not any(node.type.tokens for node in spec.outputs.values()):
        return "Try `language_model`"
    return f"To train an attention, put it into one: language_model --set attention={spec.name}"


def _check_outputs(spec: TypedSpec, vocab: int) -> None:
    if len(spec.outputs) != 1:
        raise NotTrainable(f"`{spec.name}` has several outputs: {', '.join(spec.outputs)}")
    (logits,) = spec.outputs.values()
    if [dim.value for dim in logits.type.dims] != [vocab]:
        raise NotTrainable(f"`{spec.name}` gives {logits.type}, not logits [vocab]")
    if spec.causality != "strict" and judge(spec).derived != "strict":
        raise NotTrainable(
            f"`{spec.name}` sees the future, so it cannot be asked for the next character; "
            "`causality: strict` in the spec shows by which path"
        )
