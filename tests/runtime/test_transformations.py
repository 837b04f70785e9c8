"""What torch does to modules: export, compile, copy, pickle, autocast, forward mode, second order."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import attnc
import pytest
import torch
from agreement import Setting, compiled, loaded, results, setting
from attnc.dsl.library import library_paths
from references import CASES, Case
from torch import Tensor
from torch._dynamo.testing import CompileCounter

#: one case per spec: what the forms of a spec share is tested once
SPECS = list({case.spec: case for case in reversed(CASES)}.values())[::-1]


def name_of(case: object) -> str:
    return case.name if isinstance(case, Case) else str(case)


def call_of(item: Setting) -> dict[str, object]:
    return {**item.inputs, **({"inject": item.inject} if item.inject else {})}


def assert_same(found: object, wanted: object) -> None:
    ours, theirs = results(found), results(wanted)  # type: ignore[arg-type]
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-9, atol=1e-9)


def is_variant(case: Case) -> bool:
    """Whether a spec states a difference from another."""
    paths = library_paths()
    text = paths[case.spec].read_text("utf-8") if case.spec in paths else case.spec
    return "\nextends:" in text


#: torch takes a second to trace a spec: in the usual run those that stand by themselves
TRACED = [
    pytest.param(case, id=name_of(case), marks=[pytest.mark.slow] if is_variant(case) else [])
    for case in SPECS
]


@pytest.fixture(params=TRACED)
def traced(request: pytest.FixtureRequest) -> Setting:
    return setting(request.param, request.param.shapes[0])


@pytest.fixture(params=SPECS, ids=name_of)
def item(request: pytest.FixtureRequest) -> Setting:
    return setting(request.param, request.param.shapes[0])


def test_copies_compute_the_same(item: Setting) -> None:
    call = call_of(item)
    wanted = item.module(**call)
    assert_same(copy.deepcopy(item.module)(**call), wanted)
    assert_same(pickle.loads(pickle.dumps(item.module))(**call), wanted)


def test_a_state_dict_carries_everything(item: Setting) -> None:
    call = call_of(item)
    other = attnc.compile(loaded(item.case.spec), seed=5, **item.case.dims).double().eval()
    missing = other.load_state_dict(item.module.state_dict())
    assert not missing.missing_keys
    assert not missing.unexpected_keys
    assert_same(other(**call), item.module(**call))


def test_export_save_and_load(traced: Setting) -> None:
    if traced.inject:
        pytest.skip("injected values are for comparisons, not for serving")
    program = torch.export.export(traced.module, (), kwargs=traced.inputs)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    assert_same(torch.export.load(buffer).module()(**traced.inputs), traced.module(**traced.inputs))


def test_compile_takes_the_whole_graph(traced: Setting) -> None:
    call = call_of(traced)
    wanted = traced.module(**call)
    torch._dynamo.reset()
    made = torch.compile(traced.module, fullgraph=True, backend="aot_eager")
    assert_same(made(**call), wanted)


def test_autocast_and_half_precision_give_finite_results(item: Setting) -> None:
    if item.inject:
        pytest.skip("injected values are float64")
    inputs = {k: v.float() if v.is_floating_point() else v for k, v in item.inputs.items()}
    single = copy.deepcopy(item.module).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert all(value.isfinite().all() for value in results(single(**inputs)).values())
    half = copy.deepcopy(item.module).bfloat16()
    inputs = {k: v.bfloat16() if v.is_floating_point() else v for k, v in item.inputs.items()}
    for value in results(half(**inputs)).values():
        assert value.dtype is torch.bfloat16
        assert value.isfinite().all()


def of_x(item: Setting) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The dense form as a function of x."""
    module = compiled(item.case, "dense")
    module.load_state_dict(item.module.state_dict())
    inputs = call_of(item)
    x = item.inputs["x"].detach()

    def run(x: Tensor) -> Tensor:
        made = results(module(**{**inputs, "x": x}))
        return made["x"] if "x" in made else next(iter(made.values()))

    return run, x


def test_forward_mode_agrees_with_differences(item: Setting) -> None:
    if not item.case.streams:
        pytest.skip("takes token ids")
    run, x = of_x(item)
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=x.dtype)
    _, tangent = torch.func.jvp(run, (x,), (direction,))
    step = 1e-6
    difference = (run(x + step * direction) - run(x - step * direction)) / (2 * step)
    scale = difference.abs().max().item()
    torch.testing.assert_close(tangent, difference, rtol=1e-4, atol=1e-5 * max(scale, 1.0))


def test_first_and_second_derivatives_agree_with_differences(item: Setting) -> None:
    if not item.case.streams:
        pytest.skip("takes token ids")
    run, x = of_x(item)
    x = x.clone().requires_grad_()
    assert torch.autograd.gradcheck(run, (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x,), fast_mode=True)


def test_export_keeps_batch_and_length_open() -> None:
    module = attnc.compile("causal_additive", d_model=16, heads=2).eval()
    x = torch.randn(2, 9, 16)
    batch, length = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("length", min=2)
    program = torch.export.export(module, (x,), dynamic_shapes={"x": {0: batch, 1: length}})
    for shape in ((1, 5, 16), (3, 21, 16)):
        other = torch.randn(shape)
        torch.testing.assert_close(program.module()(other), module(other))


def test_compiled_modules_recompile_for_no_new_length() -> None:
    module = attnc.compile("causal_softmax", d_model=16, heads=2).eval()
    torch._dynamo.reset()
    counter = CompileCounter()
    made = torch.compile(module, backend=counter, dynamic=True, fullgraph=True)
    for length in (5, 8, 13, 21):
        x = torch.randn(2, length, 16)
        torch.testing.assert_close(made(x), module(x))
    assert counter.frame_count <= 2


CLAMPED = """attnc: 1
name: clamped
extends: softmax
weights:
  rel: {shape: [h, 9]}
  pair: {shape: [3, d_head]}
project:
  far: linear(x, to=[h, 3])
let:
  near: dot(q, k + pair[max(1, j - i) // 8 % 3]) + far[clip(i - j, 0, 2)]
score: near + rel[max(i - j, 0) // 8]
"""


def test_inductor_takes_places_that_are_clamped_and_divided() -> None:
    spec = attnc.loads(CLAMPED)
    module = attnc.compile(spec, d_model=16, heads=2, lowering="dense").eval()
    torch._dynamo.reset()
    x = torch.randn(2, 64, 16)
    torch.testing.assert_close(torch.compile(module, fullgraph=True)(x), module(x))


def test_a_shard_of_heads_computes_its_part() -> None:
    """Tensor parallel by hand: rows of q, k, v and columns of out, per-head weights sliced."""
    whole = attnc.compile("alibi", d_model=16, heads=4).double().eval()
    x = torch.randn(2, 7, 16, dtype=torch.float64)
    parts = []
    for shard in range(2):
        part = copy.deepcopy(whole)
        for name in ("q", "k", "v"):
            layer = part.get_submodule(name)
            layer.weight = torch.nn.Parameter(layer.weight.chunk(2, 0)[shard])
            layer.bias = torch.nn.Parameter(layer.bias.chunk(2, 0)[shard])
        part.out.weight = torch.nn.Parameter(part.out.weight.chunk(2, 1)[shard])
        part.out.bias = torch.nn.Parameter(part.out.bias / 2)
        parts.append(part(x, head_start=2 * shard))
    torch.testing.assert_close(parts[0] + parts[1], whole(x))


def test_the_graph_module_is_readable_and_shares_weights() -> None:
    module = attnc.compile("softmax", d_model=16, heads=2)
    graph = module.graph_module
    text = graph.print_readable(print_output=False)
    assert "scaled_dot_product_attention" in text
    assert "q = self.q(x)" in text
    assert graph.get_submodule("q").weight is module.q.weight
    x = torch.randn(1, 5, 16)
    torch.testing.assert_close(graph(x), module(x))
