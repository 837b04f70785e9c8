"""Kernels and tiles as torch meets them: as operators, under transforms, in threads, copied."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attnc
import pytest
import torch
from agreement import compiled, results, setting
from attnc.compiler.tiling import ops as of_tiles
from attnc.compiler.tiling import sizes
from attnc.compiler.tiling.ops import tiled
from attnc.runtime.kernels import ops as of_kernels
from attnc.runtime.kernels.ops import attend, attend_back
from references import CASES, Case
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

#: (lowering by which it goes at this length, spec)
FORMS = (("cpu", "causal_softmax"), ("cpu", "alibi"), ("tiled", "sliding_window"))
LENGTH = 300


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Calls of a few hundred tokens go in several tiles; nothing is known from other tests."""
    monkeypatch.setattr(sizes, "PAIRS", 1 << 15)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def module_of(lowering: str, name: str, **options: Any) -> attnc.Module:
    return attnc.compile(name, d_model=16, heads=2, lowering=lowering, **options)


def dense_of(module: attnc.Module, name: str) -> attnc.Module:
    dense = module_of("dense", name)
    dense.load_state_dict(module.state_dict())
    return dense


def some(length: int = LENGTH, seed: int = 0) -> Tensor:
    return torch.randn(2, length, 16, generator=torch.Generator().manual_seed(seed))


def first(call: Callable[[Tensor], Tensor], module: nn.Module, x: Tensor) -> list[Tensor]:
    """The result and its gradients, of x and of every parameter."""
    x = x.clone().requires_grad_()
    made = call(x)
    return [made, *torch.autograd.grad(made.square().sum(), [x, *module.parameters()])]


def second(call: Callable[[Tensor], Tensor], module: nn.Module, x: Tensor) -> list[Tensor]:
    """Gradients of the squares of the gradients."""
    x = x.clone().requires_grad_()
    leaves = [x, *module.parameters()]
    found = torch.autograd.grad(call(x).square().sum(), leaves, create_graph=True)
    return list(torch.autograd.grad(sum(item.square().sum() for item in found), leaves))


def assert_near(found: list[Tensor], wanted: list[Tensor], part: float = 1e-5) -> None:
    """Alike, by the largest number of all: some gradients are sums that cancel."""
    scale = max(item.abs().max().item() for item in wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=part * scale)


def operators(counter: CompileCounterWithBackend) -> list[set[str]]:
    return [
        {str(node.target) for node in graph.graph.nodes if "attnc" in str(node.target)}
        for graph in counter.graphs
    ]


@pytest.mark.parametrize(("lowering", "name"), FORMS)
def test_compiled_modules_call_one_operator_at_any_length(lowering: str, name: str) -> None:
    module = module_of(lowering, name)
    counter = CompileCounterWithBackend("aot_eager")
    made = torch.compile(module, backend=counter, fullgraph=True)
    for length in (300, 320, 333):
        x = some(length)
        assert_near(first(made, module, x), first(module, module, x))
    assert counter.frame_count == 2
    wanted = "attnc.attend.default" if lowering == "cpu" else "attnc.tiled.default"
    assert operators(counter) == [{wanted}] * 2


def test_the_length_decides_inside_torch_compile_too() -> None:
    module = attnc.compile("causal_softmax", d_model=16, heads=2)
    counter = CompileCounterWithBackend("aot_eager")
    made = torch.compile(module, backend=counter, fullgraph=True, dynamic=True)
    for length in (20, 300, 40, 320, 1100):
        torch.testing.assert_close(made(some(length)), module(some(length)))
    assert operators(counter) == [set(), {"attnc.attend.default"}, {"attnc.attend.default"}]


def test_modules_that_are_compiled_in_turn_keep_their_own_graphs() -> None:
    modules = [attnc.compile(name, d_model=16, heads=2) for name in ("causal_softmax", "softmax")]
    for length in (LENGTH, 9):
        for module in modules:
            made = torch.compile(module, backend="aot_eager", fullgraph=True)
            torch.testing.assert_close(made(some(length)), module(some(length)))


def test_ways_of_calling_may_be_met_first_inside_torch_compile() -> None:
    module = attnc.compile("causal_softmax", d_model=16, heads=2)
    valid = torch.arange(LENGTH).expand(2, -1) < torch.tensor([[LENGTH], [100]])

    def run(short: Tensor, x: Tensor) -> Tensor:
        return module(short).sum() + module(x).sum() + module(x, valid=valid, q_start=3).sum()

    found = torch.compile(run, backend="aot_eager", fullgraph=True)(some(9), some())
    torch.testing.assert_close(found, run(some(9), some()))
    copied = copy.deepcopy(module)  # what was kept for the tracer is left behind
    torch.testing.assert_close(copied(some()), module(some()))
    assert not copied._traced


@pytest.mark.slow
@pytest.mark.parametrize(("lowering", "name"), FORMS)
def test_inductor_gives_the_same(lowering: str, name: str) -> None:
    module = module_of(lowering, name)
    made = torch.compile(module, fullgraph=True)
    for length in (300, 320):
        x = some(length)
        assert_near(first(made, module, x), first(module, module, x))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("lowering", "name"), [*FORMS, ("auto", "causal_softmax")])
def test_exported_programs_are_of_torch_alone(lowering: str, name: str, strict: bool) -> None:
    module = module_of(lowering, name).eval()
    program = torch.export.export(module, (some(),), strict=strict)
    assert not any("attnc" in str(node.target) for node in program.graph.nodes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    assert_near([torch.export.load(buffer).module()(some())], [module(some())])


# -- operators ----------------------------------------------------------------------------------


def laid_out(array: Tensor, form: str) -> Tensor:
    """The same numbers, in memory as they stand, transposed, or one of them for all examples."""
    if form == "transposed" and array.dim() > 1:
        return array.transpose(-1, -2).contiguous().transpose(-1, -2)
    if form == "expanded" and array.dim() and array.is_floating_point():
        return array[:1].expand_as(array)
    return array


def arguments(
    monkeypatch: pytest.MonkeyPatch, module: attnc.Module, place: Any, name: str
) -> list[Any]:
    """What an operator is called with."""
    seen: list[Any] = []
    original = getattr(place, name)

    def told(*args: Any) -> Any:
        seen.extend(args)
        return original(*args)

    monkeypatch.setattr(place, name, told)
    with FlopCounterMode(display=False):
        module(some(130))
    monkeypatch.undo()
    return seen


@pytest.mark.parametrize("form", ["contiguous", "transposed", "expanded"])
@pytest.mark.parametrize(("lowering", "name"), FORMS)
def test_operators_are_registered_in_full(
    lowering: str, name: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, called = (of_kernels, "attend") if lowering == "cpu" else (of_tiles, "tiled")
    arrays, *more = arguments(monkeypatch, module_of(lowering, name), place, called)
    monkeypatch.setattr(sizes, "PAIRS", 1 << 15)
    arrays = [laid_out(item.detach(), form) for item in arrays]
    arrays = [item.requires_grad_(item.is_floating_point()) for item in arrays]
    operator = attend if lowering == "cpu" else tiled
    torch.library.opcheck(operator, (arrays, *more))
    if lowering == "cpu":
        found, key = more
        with torch.no_grad():
            out, stats = attend(arrays, found, key)
        wanted = [item.is_floating_point() for item in arrays]
        grad = laid_out(torch.randn_like(out), form)
        arrays = [item.detach() for item in arrays]
        torch.library.opcheck(attend_back, (arrays, out, stats, grad, None, found, wanted, key))


def test_what_records_operators_sees_the_kernel() -> None:
    module = module_of("cpu", "causal_softmax")
    graph = make_fx(lambda x: module(x))(some())
    assert "attnc.attend" in graph.code
    torch.testing.assert_close(graph(some(seed=1)), module(some(seed=1)))
    traced = torch.jit.trace(module, some(), check_trace=False)
    torch.testing.assert_close(traced(some(seed=1)), module(some(seed=1)))


# -- derivatives --------------------------------------------------------------------------------


@pytest.mark.parametrize(("lowering", "name"), [*FORMS, ("cpu", "additive")])
def test_second_derivatives_are_those_of_the_dense_form(lowering: str, name: str) -> None:
    module = module_of(lowering, name)
    dense = dense_of(module, name)
    x = some(130)
    assert_near(second(module, module, x), second(dense, dense, x), 1e-4)


@pytest.mark.parametrize(("lowering", "name"), FORMS)
def test_second_derivatives_of_traced_graphs(lowering: str, name: str) -> None:
    """Compilers differentiate once; where the graph runs as traced, its operators do twice."""
    module = module_of(lowering, name)
    dense = dense_of(module, name)
    made = torch.compile(module, backend="eager", fullgraph=True)
    assert_near(second(made, module, some(130)), second(dense, dense, some(130)), 1e-4)


@pytest.mark.parametrize(("lowering", "name"), [*FORMS, ("auto", "causal_softmax")])
def test_transforms_take_the_dense_form(lowering: str, name: str) -> None:
    module = module_of(lowering, name)
    dense = dense_of(module, name)
    x, along = some(), some(seed=1)
    module(x)

    def both(run: Callable[[nn.Module], Tensor]) -> None:
        assert_near([run(module)], [run(dense)])

    both(lambda item: torch.func.jvp(item, (x,), (along,))[1])
    both(lambda item: torch.vmap(item)(torch.stack([x, along])))
    both(lambda item: torch.func.grad(lambda y: item(y).square().sum())(x))
    both(lambda item: torch.func.hessian(lambda y: item(x + y).sum())(torch.zeros(2)[0]))

    def dual(item: nn.Module) -> Tensor:
        with torch.autograd.forward_ad.dual_level():
            made = item(torch.autograd.forward_ad.make_dual(x, along))
            return torch.autograd.forward_ad.unpack_dual(made).tangent

    both(dual)

    def batched(item: nn.Module) -> Tensor:
        y = x.clone().requires_grad_()
        return torch.autograd.grad(item(y), y, torch.stack([x, along]), is_grads_batched=True)[0]

    both(batched)

    def jvp_compiled(item: nn.Module) -> Tensor:
        run = torch.compile(
            lambda y: torch.func.jvp(item, (y,), (along,))[1], backend="aot_eager", fullgraph=True
        )
        return run(x)

    both(jvp_compiled)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_dense_form_of_a_kernel_is_that_of_the_spec(case: Case) -> None:
    item = setting(case, case.shapes[0], "dense")
    try:
        module = compiled(case, "cpu")
    except attnc.LoweringRefused:
        pytest.skip("an attend has no kernel")
    call = {**item.inputs, **({"inject": item.inject} if item.inject else {})}
    with torch.autograd.forward_ad.dual_level():
        found = results(module(**call))
    for name, wanted in results(item.module(**call)).items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-9, atol=1e-9)


# -- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("lowering", "name"), FORMS)
def test_autocast_scaling_and_checkpoints(lowering: str, name: str) -> None:
    module = module_of(lowering, name)
    dense = dense_of(module, name)
    x = some()
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = first(module, module, x), first(dense, dense, x)
        assert found[0].dtype is wanted[0].dtype
        assert_near(found, wanted, 0.03)
    kept = first(lambda y: checkpoint(module, y, use_reentrant=False), module, x)
    assert_near(kept, first(module, module, x), 0)
    scaler = torch.amp.GradScaler("cpu")
    optimizer = torch.optim.SGD(module.parameters(), 1e-3)
    before = module.q.weight.detach().clone()
    scaler.scale(module(x).square().mean()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert not torch.equal(module.q.weight, before)


def test_autocast_inside_torch_compile() -> None:
    for lowering, name in FORMS:
        module = module_of(lowering, name)
        made = torch.compile(module, backend="aot_eager", fullgraph=True)
        with torch.autocast("cpu", torch.bfloat16):
            found, wanted = first(made, module, some()), first(module, module, some())
        assert found[0].dtype is wanted[0].dtype
        assert_near(found, wanted, 0.03)


@pytest.mark.parametrize(("lowering", "name"), FORMS)
def test_copies_of_a_used_module_compute_the_same(lowering: str, name: str) -> None:
    module = module_of(lowering, name)
    wanted = first(module, module, some())
    torch.compile(module, backend="eager", fullgraph=True)(some())
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert_near(first(other, other, some()), wanted, 0)
    graph = copy.deepcopy(module.graph_module)
    assert_near([graph(some())], wanted[:1], 0)
    doubled = {key: 2 * value for key, value in module.state_dict().items()}
    found = torch.func.functional_call(module, doubled, (some(),))
    other = copy.deepcopy(module)
    other.load_state_dict(doubled)
    assert_near([found], [other(some())], 0)


@pytest.mark.parametrize(("lowering", "name"), FORMS)
def test_ways_of_calling_give_the_same(lowering: str, name: str) -> None:
    module = module_of(lowering, name)
    x = some()
    wanted = module(x)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert_near([module(x)], [wanted], 0)
    for given in (x.mT.contiguous().mT, x.flip(1).contiguous().flip(1), x.repeat(2, 1, 1)[::2][:2]):
        assert_near([module(given)], [module(given.contiguous())])
    frozen = copy.deepcopy(module).requires_grad_(False)
    y = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(frozen(y).square().sum(), y)
    assert_near([found], [first(module, module, x)[1]])
    assert not frozen(x).requires_grad


@pytest.mark.parametrize(("lowering", "name"), FORMS)
def test_threads_call_one_module_at_once(lowering: str, name: str) -> None:
    module = module_of(lowering, name)
    arrays = [some(seed=seed) for seed in range(6)]
    wanted = [first(module, module, x) for x in arrays]
    with ThreadPoolExecutor(3) as pool:
        for found, theirs in zip(
            pool.map(lambda x: first(module, module, x), arrays), wanted, strict=True
        ):
            assert_near(found, theirs)


def test_the_number_of_threads_may_change_before_the_backward() -> None:
    module, before = module_of("cpu", "causal_softmax"), torch.get_num_threads()
    x = some().requires_grad_()
    wanted = first(module, module, x.detach())[1]
    try:
        torch.set_num_threads(1)
        made = module(x).square().sum()
        torch.set_num_threads(3)
        assert_near([torch.autograd.grad(made, x)[0]], [wanted])
    finally:
        torch.set_num_threads(before)
