"""Independent references: each mechanism of the library, written from its paper in plain torch.

They share no code with attnc, run in the dtype of what they are given, and are differentiable.
"""

from __future__ import annotations

from . import (
    additive,
    attention,
    content,
    heads,
    linear_attention,
    memory,
    models,
    normalizers,
    patterns,
    positional,
    priors,
)
from .case import Case

CASES: tuple[Case, ...] = (
    *attention.CASES,
    *additive.CASES,
    *positional.CASES,
    *patterns.CASES,
    *content.CASES,
    *linear_attention.CASES,
    *memory.CASES,
    *priors.CASES,
    *heads.CASES,
    *normalizers.CASES,
    *models.CASES,
)

__all__ = ["CASES", "Case"]
