"""Frozen random arrays: what their distributions promise."""

from __future__ import annotations

import attnc
import torch

SPEC = """
attnc: 1
name: rows
random:
  many: {shape: [7, 3], dist: orthogonal}
  few: {shape: [2, 3], dist: orthogonal}
out: x + sum(many) + sum(few)
"""


def test_orthogonal_rows_beyond_the_width_are_orthogonal_in_blocks() -> None:
    module = attnc.compile(attnc.loads(SPEC), d_model=4)
    many, few = module.get_buffer("many"), module.get_buffer("few")
    assert many.shape == (7, 3)
    assert few.shape == (2, 3)
    for rows in (many[:3], many[3:6], many[6:], few):
        torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)))


def test_orthogonal_rows_point_everywhere() -> None:
    drawn = [
        attnc.compile(attnc.loads(SPEC), d_model=4, seed=seed).get_buffer("many")
        for seed in range(150)
    ]
    assert torch.stack(drawn).mean(0).abs().max() < 0.2  # the deviation of a mean is 0.047
