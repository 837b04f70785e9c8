"""What a lowering that fits an attend answers: how to emit it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from .emitter import Value

if TYPE_CHECKING:
    from .dense import Dense

#: emits the result of an attend
Emit: TypeAlias = Callable[["Dense"], Value]
