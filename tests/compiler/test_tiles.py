"""Attends in tiles compute what the dense form does, and skip what a mask hides for certain."""

from __future__ import annotations

from collections.abc import Mapping

import attnc
import pytest
import torch
from agreement import loaded, results, setting
from attnc.compiler.sparsity import EMPTY, FULL, PARTIAL
from attnc.compiler.tiling import TiledAttend
from attnc.runtime.module import LoweringRefused
from references import CASES, Case
from torch import Tensor

pytestmark = pytest.mark.usefixtures("small_tiles")

WIDE = torch.float64
#: one case per spec and form that tiles take
FORMS = {case.name: case for case in CASES}


def gradients(made: Mapping[str, Tensor], leaves: list[Tensor]) -> list[Tensor]:
    total = sum(((n + 1) * value.square()).sum() for n, value in enumerate(made.values()))
    assert isinstance(total, Tensor)
    found = torch.autograd.grad(total, leaves, allow_unused=True)
    return [torch.zeros_like(a) if b is None else b for a, b in zip(leaves, found, strict=True)]


@pytest.mark.parametrize("case", FORMS.values(), ids=FORMS)
def test_tiles_compute_what_the_dense_form_does(case: Case) -> None:
    try:
        item = setting(case, case.shapes[-1], "tiled")
    except LoweringRefused as refused:
        pytest.skip(str(refused))
    plain = setting(case, case.shapes[-1], "dense")
    inject = {"inject": item.inject} if item.inject else {}
    inputs = {
        name: value.detach().requires_grad_(value.is_floating_point())
        for name, value in item.inputs.items()
    }
    leaves = [value for value in inputs.values() if value.requires_grad]
    found, wanted = (results(s.module(**inputs, **inject)) for s in (item, plain))
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-8)
    if not any(value.requires_grad for value in wanted.values()):
        return
    ours = gradients(found, [*leaves, *item.module.parameters()])
    theirs = gradients(wanted, [*leaves, *plain.module.parameters()])
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ["sliding_window", "longformer", "additive", "adaptive_span"])
def test_padding_offsets_and_second_derivatives(name: str) -> None:
    module, plain = (
        attnc.compile(loaded(name), d_model=8, heads=2, lowering=lowering).double()
        for lowering in ("tiled", "dense")
    )
    plain.load_state_dict(module.state_dict())
    x = torch.randn(2, 13, 8, dtype=WIDE, requires_grad=True)
    call = {"valid": torch.arange(13) < torch.tensor([[13], [7]]), "q_start": 5}
    torch.testing.assert_close(module(x=x, **call), plain(x=x, **call))
    twice = []
    for item in (module, plain):
        (grad,) = torch.autograd.grad(item(x=x).square().sum(), x, create_graph=True)
        twice.append(torch.autograd.grad(grad.square().sum(), x)[0])
    torch.testing.assert_close(*twice)


def test_dropout_is_the_same_in_tiles() -> None:
    text = "attnc: 1\nname: dropped\nextends: additive\ndropout: 0.3\n"
    module, plain = (
        attnc.compile(attnc.loads(text), d_model=8, heads=2, lowering=low).double()
        for low in ("tiled", "dense")
    )
    plain.load_state_dict(module.state_dict())
    x = torch.randn(2, 13, 8, dtype=WIDE)
    made, wanted = (item.train()(x=x, call_seed=3) for item in (module, plain))
    torch.testing.assert_close(made, wanted)
    assert not torch.allclose(made, module.eval()(x=x))


PICKS = """attnc: 1
name: picks
extends: softmax
context: same
axes: {p: 3}
tokens: {blk: "blocks(context, size=4)"}
let: {best: "top(detach(dot(q, mean(k, over=blk))), p, over=blk, where=slot(blk) < i // 4)"}
mask: j <= i and (i // 4 == j // 4 or any(slot(best) == j // 4, over=p))
"""


@pytest.mark.parametrize("start", [0, -8])
@pytest.mark.parametrize("others", ["i // 4 == j // 4 or ", ""])
def test_picks_of_one_choice_are_counted_once(others: str, start: int) -> None:
    """Also where some are missing, which are -1, as is the block of the tokens from -4 to -1."""
    text = PICKS.replace("i // 4 == j // 4 or ", others)
    module, plain = (
        attnc.compile(attnc.loads(text), d_model=8, heads=2, lowering=low).double()
        for low in ("tiled", "dense")
    )
    plain.load_state_dict(module.state_dict())
    x = torch.randn(2, 30, 8, dtype=WIDE)
    call = {"q_start": start, "k_start": start}
    torch.testing.assert_close(module(x=x, **call), plain(x=x, **call))


def classes_of(name: str, length: int, **dims: object) -> Tensor:
    """The block classes of the attends of a spec (parts of one softmax), together."""
    module = attnc.compile(loaded(name), d_model=8, heads=2, lowering="tiled", **dims)
    found: list[Tensor] = []

    def note(own: TiledAttend, args: tuple[Tensor, ...]) -> None:
        queries, keys, *_ = own.sizes(args)
        found.extend(own.classes(args, queries, keys, [None, None]))

    for attend in module.modules():
        if isinstance(attend, TiledAttend):
            attend.register_forward_pre_hook(note)
    module(x=torch.randn(2, length, 8))
    return torch.stack(found).amax(0)


def test_a_tile_holds_as_many_pairs_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of features, too: the 8 of additive scores, for 2 heads and 40 keys, leave 2 queries of a block of 4."""
    monkeypatch.setattr("attnc.compiler.tiling.sizes.PAIRS", 1400)
    module = attnc.compile("additive", d_model=8, heads=2, lowering="tiled", d_align=8)
    met = []

    def note(own: TiledAttend, args: tuple[Tensor, ...]) -> None:
        met.extend(tile.rows.numel() for tile in own.tiles(args, False, None))

    for attend in module.modules():
        if isinstance(attend, TiledAttend):
            attend.register_forward_pre_hook(note)
    module(torch.randn(1, 40, 8))
    assert met == [2] * 20


MASKS = {
    "sliding_window": {"left": 5, "right": 3},
    "block_local": {"block": 6},
    "causal_softmax": {},
    "dilated": {"left": 2, "right": 1, "dilation": 3},
    "sparse_fixed": {"stride": 8, "summary_size": 2},
    "sparse_strided": {"stride": 5, "form": "strided"},
}


@pytest.mark.parametrize("name", MASKS)
def test_block_classes_are_sound_and_see_through_plain_masks(name: str) -> None:
    length = 30
    module = attnc.compile(loaded(name), d_model=8, heads=2, lowering="dense", **MASKS[name])
    weights = module.weights(x=torch.randn(1, length, 8))
    seen = torch.nn.functional.pad((weights != 0).any(0).any(0), (0, 2, 0, 2))
    there = torch.nn.functional.pad(torch.ones(length, length, dtype=torch.bool), (0, 2, 0, 2))
    blocks = seen.unflatten(1, (-1, 4)).unflatten(0, (-1, 4))
    some = blocks.any(1).any(-1)
    every = (blocks | ~there.unflatten(1, (-1, 4)).unflatten(0, (-1, 4))).all(1).all(-1)
    found = classes_of(name, length, **MASKS[name])
    assert not some[found == EMPTY].any()
    assert every[found == FULL].all()
    if name in ("sliding_window", "causal_softmax"):
        exact = torch.where(every, FULL, torch.where(some, PARTIAL, EMPTY))
        assert torch.equal(found.long(), exact)


def test_long_calls_take_tiles_by_themselves() -> None:
    module = attnc.compile(loaded("stick_breaking"), d_model=8, heads=1)
    x = torch.randn(1, 1024, 8)
    module(x=x)
    taken = {
        choice.lowering for made in module._compiled.values() for choice in made.lowered.choices
    }
    assert taken == {"dense", "tiled"}


SOURCES = """attnc: 1
name: sources
extends: softmax
context: same
tokens: {mem: slots(3)}
weights: {mk: {shape: [h, mem, d_head]}, mv: {shape: [h, mem, d_value]}}
score: null
value: null
mask: null
sources:
"""
BESIDE = {
    "fixed keys, where a row sees no others": SOURCES
    + """  - {keys: mem, score: "dot(q, mk)", value: mv}
  - {keys: context, mask: "j < i - 6", score: "dot(q, k)", value: v}
""",
    "two sources of the same tokens": SOURCES
    + """  - {keys: context, mask: "j < i - 6", score: "dot(q, k)", value: v}
  - {keys: context, mask: "j > i", score: "2 * dot(q, k)", value: v}
""",
    "labels beyond what float64 tells apart": """attnc: 1
name: documents
extends: softmax
context: same
inputs: {doc: {type: int, over: x, default: 0}}
mask: doc[i] + 1152921504606846976 == doc[j] + 1152921504606846976
""",
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_a_tile_does_not_hold(name: str) -> None:
    module, plain = (
        attnc.compile(attnc.loads(BESIDE[name]), d_model=8, heads=2, lowering=lowering).double()
        for lowering in ("tiled", "dense")
    )
    plain.load_state_dict(module.state_dict())
    x = torch.randn(2, 13, 8, dtype=WIDE)
    call = {"doc": (torch.arange(13) // 5).expand(2, 13)} if "doc" in plain.spec.inputs else {}
    torch.testing.assert_close(module(x=x, **call), plain(x=x, **call))


def test_torch_compile_finds_its_graph_after_a_long_call() -> None:
    module = attnc.compile(loaded("sliding_window"), d_model=8, heads=1)
    call = {"x": torch.randn(1, 1024, 8), "valid": torch.arange(1024)[None] < 1000}
    made = module(**call)
    again = torch.compile(module, backend="eager", fullgraph=True)(**call)
    torch.testing.assert_close(again, made)


def test_gradients_in_batches() -> None:
    module, plain = (
        attnc.compile(loaded("sliding_window"), d_model=8, heads=2, lowering=low).double()
        for low in ("tiled", "dense")
    )
    plain.load_state_dict(module.state_dict())
    x = torch.randn(1, 13, 8, dtype=WIDE, requires_grad=True)
    given = torch.randn(3, 1, 13, 8, dtype=WIDE)
    found = [
        torch.autograd.grad(item(x=x), x, given, is_grads_batched=True)[0]
        for item in (module, plain)
    ]
    torch.testing.assert_close(*found)


def test_tensors_without_numbers_take_no_tiles() -> None:
    module = attnc.compile(loaded("additive"), d_model=8, heads=1).to("meta")
    assert module(x=torch.empty(1, 1024, 8, device="meta")).shape == (1, 1024, 8)
