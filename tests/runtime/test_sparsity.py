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
    if name != "dot_product":  # which has one head
        dims["heads"] = 2
    return attnc.compile(loaded(name), d_model=16, lowering="dense", **dims)


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


CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "positions by example": ("causal_softmax", {"q_start": torch.tensor([0, 5]), "k_start": 2}),
    "listed positions": (
        "sliding_window",
        {"q_start": torch.arange(2 * LENGTH).view(2, LENGTH) * 3},
    ),
    "padding": ("sliding_window", {"valid": torch.arange(LENGTH) < torch.tensor([[30], [9]])}),
    "a later start": ("dilated", {"q_start": 1000}),
    "labels": ("documents", {"document": torch.arange(LENGTH).expand(2, LENGTH) // 7}),
    "labels in no order": ("documents", {"document": torch.arange(2 * LENGTH).view(2, -1) * 7 % 5}),
}


@pytest.mark.parametrize("case", CALLS)
@pytest.mark.parametrize("exact", [False, True])
def test_what_a_call_gives_counts(case: str, exact: bool) -> None:
    name, call = CALLS[case]
    module = small(name)
    found = module.sparsity(LENGTH, block=BLOCK, exact=exact, **call)["heads"]
    batch = max(
        value.size(0) for value in (torch.zeros(1), *call.values()) if hasattr(value, "size")
    )
    seen = enumerated(module, "heads", {"x": torch.randn(batch, LENGTH, 16), **call})
    assert seen is not None
    check(found, in_blocks(seen))
    if exact:
        assert (found.classes.view(-1) == in_blocks(seen)[:, 0].reshape(-1)).all() or found.lead


def test_a_memory_has_a_length_of_its_own() -> None:
    found = small("cross_attention").sparsity(64, context=300)["heads"]
    assert (found.queries, found.keys) == (64, 300)
    assert found.count == {"full": 3, "partial": 0, "empty": 0}


# -- FlexAttention --------------------------------------------------------------------------

TOKENS = 300
MASKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sliding_window": ({"left": 300, "right": 20}, {}),
    "causal_softmax": ({}, {"q_start": 7, "k_start": 0}),
    "sparse_fixed": ({"stride": 32}, {}),
    "bigbird": ({"block": 32}, {}),
    "longformer": ({"window": 64}, {"glob": torch.arange(TOKENS)[None] < 5}),
    "block_local": ({}, {"valid": torch.arange(TOKENS) < torch.tensor([[300], [140]])}),
}


@pytest.mark.parametrize("name", MASKS)
def test_block_masks_are_those_of_create_block_mask(name: str) -> None:
    dims, call = MASKS[name]
    for found in small(name, **dims).sparsity(TOKENS, exact=True, **call).values():
        made = found.to_block_mask()
        sizes = made.kv_num_blocks.shape[:2]
        wanted = create_block_mask(made.mask_mod, *sizes, TOKENS, TOKENS, device="cpu")
        assert made.seq_lengths == wanted.seq_lengths
        for part in ("kv", "full_kv", "q", "full_q"):
            ours, theirs = (listed(mask, part) for mask in (made, wanted))
            assert torch.equal(ours, theirs), (found, part)


def listed(mask: Any, part: str) -> Tensor:
    """The blocks of each row that a BlockMask lists, -1 for the others."""
    count, order = getattr(mask, f"{part}_num_blocks"), getattr(mask, f"{part}_indices")
    return order.where(torch.arange(order.size(-1)) < count[..., None], -1)


@pytest.mark.parametrize("name", ["sliding_window", "longformer"])
def test_flex_attention_with_our_block_mask_is_the_dense_form(name: str) -> None:
    dims, call = MASKS[name]
    torch._dynamo.reset()
    for attend, found in small(name, **dims).sparsity(TOKENS, **call).items():
        q, k, v = (torch.randn(1, 2, TOKENS, 16) for _ in range(3))
        made = torch.compile(flex_attention)(q, k, v, block_mask=found.to_block_mask())
        module = small(name, **dims)
        scores = module.taps(f"{attend}.scores", x=torch.zeros(1, TOKENS, 16), **call)
        seen = torch.isfinite(scores[f"{attend}.scores"])
        scores = (q @ k.mT / 4).masked_fill(~seen, -torch.inf)
        wanted = torch.softmax(scores, -1).nan_to_num(0) @ v
        torch.testing.assert_close(made, wanted, rtol=1e-5, atol=1e-5)


# -- what is said ---------------------------------------------------------------------------


def test_content_is_partial_and_said() -> None:
    found = small("nsa").sparsity(64)["picked"]
    assert "content of `x`" in found.note
    module = small("reformer")
    x = torch.randn(1, 64, 16)
    blind, seeing = (module.sparsity(64, block=(8, 8), **k)["round"] for k in ({}, {"x": x}))
    assert seeing.count["partial"] < blind.count["partial"]
    assert "content" in blind.note
    assert not seeing.note


def test_lists_have_a_width_and_no_blocks() -> None:
    text = """attnc: 1
name: listed
extends: softmax
context: same
axes: {e: 3}
at: token(context, slot(x) - e)
mask: null
"""
    found = attnc.compile(attnc.loads(text), d_model=16, heads=2).sparsity(1000)["heads"]
    assert (found.width, found.runs, found.density) == (3, None, 0.003)
    with pytest.raises(ValueError, match="lists of 3 keys"):
        _ = found.count


def test_a_million_tokens_take_no_pairs() -> None:
    found = small("sliding_window").sparsity(1_000_000)["heads"]
    assert sum(found.count.values()) == 7813**2
    assert found.blocks.row_start[-1] < 4 * 7813
    assert found.blocks.begin.is_contiguous()
    with pytest.raises(ValueError, match="blocks"):
        small("causal").sparsity(10_000_000)["heads"].classes  # noqa: B018


def test_wrong_names_are_answered() -> None:
    with pytest.raises(ArgumentMistake, match="takes no argument `lable`"):
        small("softmax").sparsity(8, lable=3)
    with pytest.raises(ArgumentMistake, match="no attend `tails`"):
        small("softmax").sparsity(8, attend="tails")
