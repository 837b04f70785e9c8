"""`Module.sparsity`: every mask of the library by blocks, at any length, and for FlexAttention."""

from __future__ import annotations

from typing import Any

import attnc
import pytest
import torch
from agreement import loaded
from attnc.dsl.core import Attend
from attnc.runtime.examples import example
from attnc.runtime.module import ArgumentMistake, Module
from attnc.runtime.sparsity import Sparsity
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

LENGTH, BLOCK = 37, (8, 4)
EMPTY, PARTIAL, FULL = 0, 1, 2


def small(name: str, **dims: Any) -> Module:
    return attnc.compile(loaded(name), d_model=16, heads=2, lowering="dense", **dims)


def has_attend(name: str) -> bool:
    return any(isinstance(node, Attend) for node in small(name).spec.bindings.values())


def in_blocks(seen: Tensor) -> Tensor:
    """The classes of a mask, by looking at every pair."""
    rows, columns = BLOCK
    edge = (0, -seen.size(-1) % columns, 0, -seen.size(-2) % rows)

    def some(value: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(value, edge)
        return padded.unflatten(-1, (-1, columns)).unflatten(-3, (-1, rows)).any(-1).any(-2)

    there, missing = some(seen), some(~seen)
    return torch.where(there & missing, PARTIAL, torch.where(there, FULL, EMPTY))


def enumerated(module: Module, name: str, call: dict[str, Tensor]) -> Tensor | None:
    """Who sees whom, (batch, heads, queries, keys); None where that is no one picture."""
    node = module.spec.bindings[name]
    assert isinstance(node, Attend)
    if len(node.sources) > 1 or node.sources[0].at is not None or len(node.sources[0].axes) > 1:
        return None
    seen = torch.isfinite(module.taps(f"{name}.scores", **call)[f"{name}.scores"])
    key = node.sources[0].axes[0]
    if (key.rank, key.name) < (node.query.rank, node.query.name):
        seen = seen.transpose(-1, -2)
    return seen if seen.dim() == 4 else None


@pytest.mark.parametrize("name", attnc.library())
def test_no_block_of_the_library_is_wrongly_full_or_empty(name: str) -> None:
    module = small(name)
    call = example(module, LENGTH)
    given = {key: value for key, value in call.items() if key not in ("x", "context")}
    for attend, found in module.sparsity(LENGTH, block=BLOCK, **given).items():
        if found.runs is None or "[" in attend:
            continue
        seen = enumerated(module, attend, call)
        if seen is not None:
            check(found, in_blocks(seen))


def check(found: Sparsity, wanted: Tensor) -> None:
    classes = found.classes
    if list(found.lead) in (["b"], ["h", "b"]):
        classes = classes[:, None] if len(found.lead) == 1 else classes.transpose(0, 1)
    right = (classes == PARTIAL) | (classes == wanted)
    assert right.all(), found
    if not found.note and found.program is not None and not found.program.lead:
        assert (classes == wanted).all(), found


LIST = {"sliding_window": {"left": 300, "right": 20}, "causal_softmax": {}, "block_local": {}}
