"""Kernels on bfloat16 and float16: as accurate as the plain formula in the same dtype, or more."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from typing import Any

import attnc
import pytest
import torch
from accuracy import Errors, with_gradients
from attnc.compiler.codegen.text import prelude
from attnc.runtime.kernels import dtypes as kinds
from attnc.runtime.kernels import load, ops
from attnc.runtime.kernels.launch import Launcher
from compilers import needs_compiler
from torch import Tensor

pytestmark = needs_compiler

HALVES = (torch.bfloat16, torch.float16)
SPECS = (
    "softmax causal_softmax sliding_window alibi t5_bias soft_cap additive gaussian sigmoid sinks"
).split()
HEADER = "attnc: 1\nname: own\nextends: softmax\n"
GROUPS = HEADER + "dims: {kv_heads: 2}\n"
#: numbers of queries, keys and pairs; rows without keys
PAIRS = f"""{HEADER}
inputs:
  by_query: {{type: real, over: x}}
  by_key: {{type: real, over: context}}
  by_pair: {{type: real, over: [x, context]}}
score: dot(q, k) / sqrt(d_head) * by_query + by_pair + by_key
mask: i % 3 > 0 and j < i + 9
"""
#: keys that two products read, and ones that a sum reads too
SHARED = f"{HEADER}dims: {{d_value: {{is: d_head}}}}\nscore: (dot(q, k) + dot(v, q)) / d_head\n"
MIXED = f"{HEADER}score: (dot(q, k) + sum(relu(q + k))) / d_head\n"
#: every kind of term, mask, table and weight
CORES = {name: name for name in SPECS} | {
    "groups": GROUPS,
    "pairs": PAIRS,
    "shared": SHARED,
    "mixed": MIXED,
}
#: pairs of features, of keys and of queries leave something over
WIDTH, QUERIES, KEYS = 37, 51, 275


def module_of(name: str, lowering: str = "cpu") -> attnc.Module:
    """The core of a spec."""
    text = CORES[name]
    loaded = attnc.loads(text) if "\n" in text else attnc.load(text)
    return attnc.compile(loaded, entry="qkv", lowering=lowering, d_model=4 * WIDTH, heads=4)


def leaves_of(module: attnc.Module) -> dict[str, Tensor]:
    """Queries, keys and values as a projection leaves them, inputs, and weights."""
    generator = torch.Generator().manual_seed(5)
    found: dict[str, Tensor] = {}

    def draw(name: str, *shape: int) -> None:
        found[name] = torch.randn(shape, generator=generator, dtype=torch.float64)

    def heads(name: str, tokens: int, count: int) -> None:
        draw(name, 2, tokens, count, WIDTH)
        found[name] = found[name].transpose(1, 2)

    heads("q", QUERIES, 4)
    heads("k", KEYS, module.spec.dims["kv_heads"])
    heads("v", KEYS, module.spec.dims["kv_heads"])
    shapes = {"by_query": (2, QUERIES), "by_key": (2, KEYS), "by_pair": (2, QUERIES, KEYS)}
    for name in module.spec.inputs:
        draw(name, *shapes[name])
    for name, weight in module.named_parameters():
        draw(f"w:{name}", *weight.shape)
    return found


def run(module: attnc.Module, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    weights = {name[2:]: value for name, value in leaves.items() if name.startswith("w:")}
    arrays = {name: value for name, value in leaves.items() if not name.startswith("w:")}
    streams = [arrays.pop(name) for name in "qkv"]
    return {"x": torch.func.functional_call(module, weights, tuple(streams), arrays)}


def differentiated(
    module: attnc.Module,
    leaves: Mapping[str, Tensor],
    dtype: torch.dtype,
    dtypes: Mapping[str, torch.dtype] | None = None,
    numbers: torch.dtype = torch.float64,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The result and all gradients; leaves hold what `numbers` has, so that none is rounded."""
    taken = {
        name: value.to(numbers).to((dtypes or {}).get(name, dtype)).requires_grad_()
        for name, value in leaves.items()
    }
    return with_gradients(lambda item: run(module.to(dtype), item), taken)


def check(name: str, dtype: torch.dtype, dtypes: Mapping[str, torch.dtype] | None = None) -> None:
    """Errors are at most 1.1 times those of the dense form in half precision."""
    ours, dense = module_of(name), module_of(name, "dense")
    leaves = leaves_of(ours)
    truth = differentiated(dense, leaves, torch.float64, numbers=dtype)
    theirs = differentiated(dense, leaves, dtype)
    made = differentiated(ours, leaves, dtype, dtypes, numbers=dtype)
    for exact, plain, found in zip(truth, theirs, made, strict=True):
        for leaf, wanted in exact.items():
            errors = Errors()
            errors.add(wanted, plain[leaf], found[leaf])
            errors.check(leaf, 1.1, 8.0, dtype)


def marked() -> Iterator[Any]:
    """Every core in both dtypes; in the usual run some in bfloat16, and one in float16."""
    some = {torch.bfloat16: ("softmax", "pairs", "additive", "mixed"), torch.float16: ("softmax",)}
    for name in CORES:
        for dtype in HALVES:
            usual = name in some[dtype]
            yield pytest.param(name, dtype, marks=() if usual else (pytest.mark.slow,))


@pytest.mark.parametrize(("name", "dtype"), marked())
def test_halves_are_as_accurate_as_the_plain_formula(name: str, dtype: torch.dtype) -> None:
    check(name, dtype)


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("isa", ["portable", "avx2"])
@pytest.mark.parametrize("name", ["pairs", pytest.param("t5_bias", marks=pytest.mark.slow)])
def test_fewer_instructions(
    name: str, isa: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTNC_ISA", isa)
    check(name, dtype)


@pytest.mark.parametrize("single", ["q", "v", "by_pair", "w:table"])
def test_some_arrays_may_be_of_float32(single: str) -> None:
    name = "t5_bias" if single == "w:table" else "pairs"
    check(name, torch.bfloat16, {single: torch.float32})


def test_every_array_has_its_dtype() -> None:
    dtypes = {"q": torch.bfloat16, "k": torch.float16, "v": torch.float32, "by_key": torch.float64}
    module = module_of("pairs")
    leaves = {
        name: value.bfloat16().to(dtypes.get(name, torch.bfloat16)).requires_grad_()
        for name, value in leaves_of(module).items()
    }
    made, gradients = with_gradients(lambda item: run(module, item), leaves)
    assert made["x"].dtype is torch.float32
    assert {name: item.dtype for name, item in gradients.items()} == {
        name: item.dtype for name, item in leaves.items()
    }


@pytest.mark.parametrize("dtype", HALVES)
def test_rows_without_keys_are_zero(dtype: torch.dtype) -> None:
    module = module_of("pairs")
    made, gradients = differentiated(module, leaves_of(module), dtype)
    assert not made["x"][..., ::3, :].any()
    assert made["x"].dtype is dtype
    assert not gradients["q"][..., ::3, :].any()
    assert all(item.isfinite().all() for item in gradients.values())


def test_of_a_single_key_the_score_has_no_gradient() -> None:
    module = module_of("softmax").bfloat16()
    leaves = {name: value[:, :, :1].bfloat16() for name, value in leaves_of(module).items()}
    made, gradients = with_gradients(
        lambda item: run(module, item), {n: x.requires_grad_() for n, x in leaves.items()}
    )
    assert made["x"].equal(leaves["v"].detach())
    assert not gradients["q"].any()
    assert not gradients["k"].any()


@pytest.mark.parametrize("dtype", HALVES)
def test_recorded_operators_have_the_dtype_of_the_kernel(dtype: torch.dtype) -> None:
    module = module_of("alibi").to(dtype)
    leaves = leaves_of(module)
    q, k, v = (leaves[name].to(dtype).requires_grad_() for name in "qkv")
    torch._dynamo.reset()
    made = torch.compile(module, backend="aot_eager", fullgraph=True)(q, k, v)
    wanted = module(q, k, v)
    torch.testing.assert_close(made, wanted, rtol=0, atol=0)
    found = torch.autograd.grad(made.sum(), (q, k, v))
    for ours, theirs in zip(found, torch.autograd.grad(wanted.sum(), (q, k, v)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", HALVES)
def test_the_operator_keeps_its_contract(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []
    module = module_of("alibi").to(dtype)
    leaves = leaves_of(module)
    kept = Launcher.forward
    monkeypatch.setattr(
        Launcher, "forward", lambda *call, **told: calls.append(call[:3]) or kept(*call, **told)
    )
    module(*(leaves[name].to(dtype) for name in "qkv"))
    ((launcher, sizes, arrays),) = calls
    (key,) = (key for key, known in ops.KNOWN.items() if known.launcher is launcher)
    arrays = [item.detach().requires_grad_(item.is_floating_point()) for item in arrays]
    torch.library.opcheck(ops.attend, (arrays, list(sizes), key))


THROUGH = """
extern "C" void widen(const {type}* from, float* to, long count) {{ widened(to, from, count); }}
extern "C" void round_to(const float* from, {type}* to, long count) {{
  for (long n = 0; n < count; ++n) put(to + n, from[n]);
}}
"""


@pytest.mark.parametrize("isa", ["portable", "avx2", ""])
@pytest.mark.parametrize("dtype", HALVES)
def test_numbers_are_widened_and_rounded_as_in_torch(
    dtype: torch.dtype, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTNC_ISA", isa)
    source = prelude() + THROUGH.format(type=kinds.TYPES[dtype])
    arguments = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long)
    library = load(source, name="through")
    every = torch.arange(-(1 << 15), 1 << 15).to(torch.int16).view(dtype)
    wide = torch.empty(every.numel())
    library.function("widen", *arguments)(every.data_ptr(), wide.data_ptr(), wide.numel())
    torch.testing.assert_close(wide, every.float(), rtol=0, atol=0, equal_nan=True)
    # between neighbours, and halfway
    bits = torch.randint(
        -(1 << 31), 1 << 31, (1 << 18,), generator=torch.Generator().manual_seed(0)
    )
    size = wide.nan_to_num(0, 6e4, -6e4)
    some = torch.cat(
        [bits.int().view(torch.float32), wide, (size[1:] + size[:-1]) / 2, size * 1.0001]
    )
    made = torch.empty(some.numel(), dtype=dtype)
    library.function("round_to", *arguments)(some.data_ptr(), made.data_ptr(), some.numel())
    torch.testing.assert_close(made, some.to(dtype), rtol=0, atol=0, equal_nan=True)
