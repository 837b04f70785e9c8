"""Features that are made for some tokens at a time give what those of all tokens at once do."""

from __future__ import annotations

import attnc
import pytest
import torch
from attnc.compiler import segments
from attnc.compiler.segments import Segments
from torch import Tensor

WIDE = torch.float64
CAUSAL = "attnc: 1\nname: {name}_causal\nextends: [{name}, causal]\n"
SMALL = {"d_model": 16, "heads": 2}
#: features that are wide, of few numbers
DIMS = {"favor": {"features": 24}, "favor_plus": {"features": 40, "kernel": "relu"}, "based": {}}
LENGTH = 150


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several segments for few tokens."""
    monkeypatch.setattr("attnc.runtime.lengths.LONG", 1)
    monkeypatch.setattr(segments, "NUMBERS", 1)
    monkeypatch.setattr(segments, "HELD", 0)


def loaded(name: str, is_causal: bool = False) -> attnc.Spec:
    return attnc.loads(CAUSAL.format(name=name)) if is_causal else attnc.load(name)


def pair(spec: attnc.Spec, name: str, **dims: object) -> tuple[attnc.Module, attnc.Module]:
    """A spec with the lowering that takes segments, and densely, with the same weights."""
    found = [
        attnc.compile(spec, **SMALL, **DIMS[name], **dims, lowering=lowering).double().eval()
        for lowering in ("auto", "dense")
    ]
    found[1].load_state_dict(found[0].state_dict())
    return found[0], found[1]


def used(module: attnc.Module) -> bool:
    """Whether anything of a module goes in segments."""
    return any(isinstance(item, Segments) for item in module.modules())


def gradients(module: attnc.Module, call: dict[str, Tensor]) -> list[Tensor]:
    """Of the first derivative squared, so that the second is in it."""
    leaves = [item for item in call.values() if item.requires_grad]
    first = torch.autograd.grad(module(**call).square().sum(), leaves, create_graph=True)
    total = sum(item.square().sum() for item in first)
    assert isinstance(total, Tensor)
    return [*first, *torch.autograd.grad(total, [*leaves, *module.parameters()])]


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("name", DIMS)
def test_results_and_derivatives_are_those_of_all_pairs(name: str, is_causal: bool) -> None:
    if name == "based" and is_causal:
        pytest.skip("it is causal by itself")
    module, plain = pair(loaded(name, is_causal), name)
    call = {"x": torch.randn(2, LENGTH, 16, dtype=WIDE, requires_grad=True)}
    torch.testing.assert_close(module(**call), plain(**call))
    with torch.no_grad():
        torch.testing.assert_close(module(**call), plain(**call))
    for found, wanted in zip(gradients(module, call), gradients(plain, call), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-8)
    assert used(module)


def test_other_keys_padding_and_groups() -> None:
    module, plain = pair(loaded("favor"), "favor", kv_heads=1)
    call = {
        "x": torch.randn(2, 70, 16, dtype=WIDE),
        "context": torch.randn(2, LENGTH, 16, dtype=WIDE, requires_grad=True),
    }
    given = {"context_valid": torch.arange(LENGTH) < torch.tensor([[LENGTH], [9]])}
    torch.testing.assert_close(module(**call, **given), plain(**call, **given))
    assert used(module)


def test_narrow_features_are_there_for_all_tokens() -> None:
    module = attnc.compile("linear_transformer", **SMALL)
    module(torch.randn(1, LENGTH, 16))
    assert not used(module)


def test_compiled_features_are_there_for_all_tokens() -> None:
    module, plain = pair(loaded("favor"), "favor")
    x = torch.randn(1, LENGTH, 16, dtype=WIDE, requires_grad=True)
    made = torch.compile(module, backend="aot_eager")(x)
    torch.testing.assert_close(made, plain(x))
    found, wanted = (torch.autograd.grad(item.sum(), x)[0] for item in (made, plain(x)))
    torch.testing.assert_close(found, wanted)


def test_the_backward_holds_no_wide_features() -> None:
    module, _ = pair(loaded("favor"), "favor")
    x = torch.randn(1, LENGTH, 16, dtype=WIDE, requires_grad=True)
    held: list[int] = []

    def pack(item: Tensor) -> Tensor:
        held.append(item.numel())
        return item

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda item: item):
        module(x)
    assert max(held) < LENGTH * 2 * 48
