"""Why a lowering does not take an attend."""

from __future__ import annotations

from dataclasses import dataclass

from ...dsl.core import Node


@dataclass(frozen=True)
class Refusal:
    """Why an attend does not fit, at which node, and the smallest edit that would let it."""

    reason: str
    node: Node | None = None
    edit: str = ""
