"""`lowering="flex"`: scores and masks of specs as functions that FlexAttention takes."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import attnc
import pytest
import torch
from attnc.compiler import flex_attend
from attnc.compiler.flex_attend import FlexAttend, NoBackward
from attnc.runtime.examples import example
from attnc.runtime.module import LoweringRefused
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

DIMS: dict[str, Any] = {"d_model": 32, "heads": 4}
#: biases by distance, tables, masks on places and labels, groups of heads, a memory, several specs
SOME = (
    *("alibi", "t5_bias", "soft_cap", "sliding_window", "documents", "grouped_query", "longformer"),
    *("cross_attention", "deberta", "prefix_lm", "forgetting", "encoder_decoder", "softmax"),
)
GATED = """attnc: 1
name: gated
extends: softmax
context: same
inputs: {gate: {type: real, over: x}}
score: super + log(gate[j])
mask: causal
"""


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """FlexAttention in operations of torch: to compile it takes long."""
    monkeypatch.setattr(flex_attend, "compiled", lambda: flex_attention)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def compiled(name: str, lowering: Any) -> attnc.Module:
    """A spec of the library, or a text, of few numbers where it lets its dims be chosen."""
    spec = attnc.loads(name) if "\n" in name else name
    try:
        return attnc.compile(spec, lowering=lowering, **DIMS).eval()
    except attnc.SpecError:
        return attnc.compile(spec, lowering=lowering).eval()


def both(name: str, **call: Any) -> tuple[Any, Any]:
    """What a spec makes by FlexAttention, and densely."""
    made, dense = compiled(name, "flex"), compiled(name, "dense")
    dense.load_state_dict(made.state_dict())
    given = example(made, 37) | call
    with torch.no_grad():
        return made(**given, call_seed=0), dense(**given, call_seed=0)


def fitting() -> list[str]:
    """The specs of the library that it takes."""
    found = []
    for name in attnc.library():
        try:
            module = compiled(name, "flex")
            module.prepare()
        except LoweringRefused:
            continue
        if "flex" in module.lowering.values():
            found.append(name)
    return found


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", SOME)
def test_specs_of_the_library_are_what_their_dense_form_is(name: str) -> None:
    torch.testing.assert_close(*both(name), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_all_that_fit_are_what_their_dense_form_is() -> None:
    names = fitting()
    assert len(names) > 50
    for name in {*names} - {*SOME}:
        torch.testing.assert_close(*both(name), rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", ["alibi", "sliding_window", "t5_bias", "causal_softmax"])
def test_padding_and_positions_are_those_of_the_call(name: str) -> None:
    valid = torch.arange(37) < torch.tensor([[37], [20]])
    call = {"x": torch.randn(2, 37, 32), "valid": valid}
    for start in (5, torch.tensor([3, 900])):
        torch.testing.assert_close(*both(name, q_start=start, **call), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("eager")
def test_rows_without_a_score_are_zero() -> None:
    gate = torch.rand(2, 37)
    gate[:, :9] = 0
    made, wanted = both(GATED, x=torch.randn(2, 37, 32), gate=gate)
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5)
    assert made[:, :9].std(dim=(0, 1)).max() == 0


@pytest.mark.slow
def test_what_torch_compiles_is_the_same() -> None:
    for name in ("documents", "t5_bias", "grouped_query", GATED):
        call = {"gate": torch.rand(2, 37), "x": torch.randn(2, 37, 32)} if name == GATED else {}
        torch.testing.assert_close(*both(name, **call), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("eager")
def test_the_blocks_of_a_mask_are_kept_while_it_reads_the_same() -> None:
    module = attnc.compile("documents", lowering="flex", **DIMS).eval()

    def blocks(document: Tensor) -> Any:
        with torch.no_grad():
            module(torch.randn(1, 300, 32), document=document)
        (step,) = (item for item in module.modules() if isinstance(item, FlexAttend))
        assert step._last is not None
        return step._last[-1]

    written = torch.arange(300)[None] // 64
    before = blocks(written)
    written //= 2
    assert blocks(written) is not before
    first = blocks(torch.arange(300)[None] // 128)
    assert blocks(torch.arange(300)[None] // 128) is first
    assert blocks(torch.arange(300)[None] // 64) is not first
    assert first.sparsity() > 40


@pytest.mark.usefixtures("eager")
def test_copies_have_no_blocks_yet() -> None:
    module = attnc.compile("causal_softmax", lowering="flex", **DIMS).eval()
    x = torch.randn(1, 20, 32)
    with torch.no_grad():
        wanted = module(x)
        assert torch.equal(copy.deepcopy(module)(x), wanted)


def test_there_is_no_backward_on_the_cpu() -> None:
    module = attnc.compile("softmax", lowering="flex", **DIMS)
    with pytest.raises(NoBackward, match=r"no backward on the CPU: call under torch.no_grad\(\)"):
        module(torch.randn(1, 20, 32))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("additive", "its score is no function of one dot product"),
        ("sigmoid", "its weights are no softmax of scores alone"),
        ("topk_attention", "it has several sources or a list of keys"),
        ("attention_maps", "its scores, weights are read"),
        ("adaptive_span", "its weights are no softmax of scores alone"),
    ],
)
def test_what_does_not_fit_is_told(name: str, reason: str) -> None:
    with pytest.raises(LoweringRefused, match=f"does not fit flex: {reason}"):
        attnc.compile(name, lowering="flex").prepare()
