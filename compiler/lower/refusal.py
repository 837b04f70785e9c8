"""What a lowering answers for an attend: how to emit it, or why it does not take it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ...dsl.core import Node
from .emitter import Value

if TYPE_CHECKING:
    from .dense import Dense

#: emits the result of an attend
Emit: TypeAlias = Callable[["Dense"], Value]


@dataclass(frozen=True)
class Refusal:
    """Why an attend does not fit, at which node, and the smallest edit that would let it."""

    reason: str
    node: Node | None = None
    edit: str = ""
