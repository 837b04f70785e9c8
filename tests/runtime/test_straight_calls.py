"""A core whose graph is one kernel is called without the graph, and makes what the graph makes."""

from __future__ import annotations

from typing import Any

import attnc
import pytest
import torch
from attnc.runtime.kernels.attend import FusedAttend
from attnc.runtime.kernels.launch import Launcher
from compilers import needs_compiler
from torch import Tensor
from torch.nn.modules.module import register_module_forward_hook
from torch.utils._python_dispatch import TorchDispatchMode

pytestmark = needs_compiler


def core(name: str, **options: Any) -> attnc.Module:
    found = attnc.compile(name, entry="qkv", d_model=64, heads=4, lowering="cpu", **options)
    assert isinstance(found, attnc.Module)
    return found


def arrays(length: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 4, length, 16, generator=generator) for _ in range(3)]


class Recorder(TorchDispatchMode):
    """The names of the operators of attnc that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name().startswith("attnc"):
            self.names.append(func.name())
        return func(*args, **(kwargs or {}))


@pytest.fixture
def through_graphs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The kernels that are called by a graph."""
    found: list[Any] = []
    kept = Launcher.forward
    monkeypatch.setattr(
        Launcher, "forward", lambda *call, **told: found.append(call[0]) or kept(*call, **told)
    )
    return found


@pytest.mark.parametrize("name", ["softmax", "causal", "alibi", "sliding_window", "soft_cap"])
@torch.no_grad()
def test_the_second_call_goes_straight(name: str, through_graphs: list[Any]) -> None:
    module, dense = core(name), attnc.compile(name, entry="qkv", d_model=64, heads=4)
    first, second = arrays(9), arrays(9, seed=1)
    module(*first)
    assert len(through_graphs) == 1
    torch.testing.assert_close(module(*second), dense(*(a.double() for a in second)).float())
    assert len(through_graphs) == 1


@torch.no_grad()
def test_other_strides_threads_and_lengths_are_other_calls(through_graphs: list[Any]) -> None:
    module = core("causal")
    for length in (5, 9):
        plain = arrays(length)
        expected = module(*plain)
        turned = [a.transpose(1, 2).contiguous().transpose(1, 2) for a in plain]
        for _ in range(2):
            torch.testing.assert_close(module(*turned), expected)
            torch.testing.assert_close(module(*plain), expected, rtol=0, atol=0)
    threads, calls = torch.get_num_threads(), len(through_graphs)
    try:
        torch.set_num_threads(threads + 1)
        torch.testing.assert_close(module(*plain), expected, rtol=0, atol=0)
    finally:
        torch.set_num_threads(threads)
    assert calls == 4
    assert len(through_graphs) == 5


def test_what_wants_gradients_does_not(through_graphs: list[Any]) -> None:
    module, given = core("softmax"), arrays(7)
    module(*given)
    module(*given)
    q = given[0].clone().requires_grad_()
    for _ in range(2):
        module(q, *given[1:]).sum().backward()
    assert q.grad is not None
    with torch.no_grad():
        module(q, *given[1:])
    assert len(through_graphs) == 1 + 2 + 1


@torch.no_grad()
def test_hooks_and_what_records_operators_see_the_kernel() -> None:
    module, given = core("softmax"), arrays(7)
    expected = module(*given)
    module(*given)
    (step,) = (item for item in module.modules() if isinstance(item, FusedAttend))
    seen: list[Any] = []
    with step.register_forward_hook(lambda *call: seen.append(call)):
        torch.testing.assert_close(module(*given), expected, rtol=0, atol=0)
    module(*given)
    assert len(seen) == 1
    with Recorder() as recorder:
        module(*given)
    assert recorder.names == ["attnc::attend"]


@torch.no_grad()
def test_specs_whose_kernels_are_read_otherwise_keep_their_graph(
    through_graphs: list[Any],
) -> None:
    whole = attnc.compile("softmax", d_model=64, heads=4, lowering="cpu")
    q, k, v = arrays(7)
    pairs = [torch.stack([q, k], 2)[..., :8], torch.stack([k, q], 2)[..., :8], v]
    for module, given in ((core("differential"), pairs), (whole, [torch.randn(2, 7, 64)])):
        for _ in range(2):
            through_graphs.clear()
            module(*given)
            assert through_graphs


NAMED = """
attnc: 1
name: named
extends: softmax
context: same
inputs:
  {name}: {{type: int, over: x}}
mask: "{name}[i] == {name}[j]"
"""


@pytest.mark.parametrize("name", ["input", "type", "sum", "label"])
@torch.no_grad()
def test_inputs_may_have_names_that_graphs_change(name: str, through_graphs: list[Any]) -> None:
    spec = attnc.loads(NAMED.format(name=name))
    module, dense = (
        attnc.compile(spec, entry="qkv", d_model=64, heads=4, lowering=way)
        for way in ("cpu", "dense")
    )
    given, label = arrays(9), torch.arange(18).reshape(2, 9) % 2
    for _ in range(2):
        torch.testing.assert_close(module(*given, label), dense(*given, label))
    assert len(through_graphs) == 1


@torch.no_grad()
def test_hooks_of_all_modules_see_the_kernel() -> None:
    module, given = core("softmax"), arrays(7)
    module(*given)
    seen: list[Any] = []
    with register_module_forward_hook(lambda step, *_: seen.append(type(step))):
        module(*given)
    assert seen == [FusedAttend, attnc.Module]


@torch.no_grad()
def test_results_are_packed_whatever_the_strides_of_what_is_given() -> None:
    module = core("softmax")
    given = [a[:1].as_strided((1, 4, 1, 16), (64, 16, 999, 1)) for a in arrays(7)]
    for _ in range(2):
        assert module(*given).stride() == (64, 16, 16, 1)


@torch.no_grad()
def test_no_tokens_and_no_pairs() -> None:
    module = core("softmax")
    none = arrays(0)
    for _ in range(2):
        assert module(*none).shape == (2, 4, 0, 16)
        made = module(arrays(3)[0], *none[1:])
        assert made.shape == (2, 4, 3, 16)
        assert not made.any()
