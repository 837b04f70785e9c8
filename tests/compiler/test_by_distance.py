"""Vectors that are functions of a distance are made once for each, in every lowering."""

from __future__ import annotations

import attnc
import pytest
import torch
from attnc.compiler.passes import run_passes
from attnc.compiler.program import Program, Signature
from attnc.dsl.core import AtDistance, Attend, walk
from attnc.dsl.typed import TypedSpec
from attnc.runtime.oracle import evaluate, evaluate_node
from compilers import needs_compiler
from torch import Tensor

REL = "linear(sinusoid(i - j, 8, 100), to=[h, d_head], bias=false, as=r)"
SCORES = {
    "with the query": f"dot(q, k + {REL}) / 3",
    "with the key": f"dot(q, k) / 3 + dot(k, {REL})",
    "inside of a function": f"dot(c, tanh(q + k + {REL}))",
    "a number at last": "dot(q, k) / 3 + linear(relu(linear(sinusoid(2 * (j - i), 8), to=[5], as=a)), to=[h], as=b)",
    "a row of a table": "dot(c, silu(k * rel[clip(i - j, -4, 4) + 4]))",
}
SPEC = """attnc: 1
name: apart
context: memory
weights: {{c: {{shape: [h, d_head]}}, rel: {{shape: [9, d_head]}}}}
project:
  q: linear(x, to=[h, d_head])
  k: linear(context, to=[g, d_head])
  v: linear(context, to=[g, d_value])
mask: "{mask}"
score: "{score}"
value: v
normalize: softmax(s, j)
out: linear(concat(heads, over=h))
"""
DIMS = {"d_model": 20, "heads": 4, "kv_heads": 2}


def module_of(score: str, lowering: str, mask: str = "true") -> attnc.Module:
    torch.manual_seed(0)
    spec = attnc.loads(SPEC.format(score=score, mask=mask))
    return attnc.compile(spec, lowering=lowering, **DIMS).eval()


def program_of(spec: TypedSpec, *given: str) -> Program:
    return run_passes(Program(spec, Signature(frozenset(given)), spec.outputs))


def reads_of(score: str, *given: str) -> list[AtDistance]:
    roots = program_of(module_of(score, "dense").spec, *given).roots.values()
    return [
        node
        for attend in walk(*roots)
        if isinstance(attend, Attend)
        for node in walk(attend.sources[0].score)
        if isinstance(node, AtDistance)
    ]


def made(module: attnc.Module, queries: int, keys: int, **starts: int) -> list[Tensor]:
    """The result, and the gradients of inputs and weights."""
    generator = torch.Generator().manual_seed(queries)
    like = next(module.parameters())
    x, context = (
        torch.randn(2, n, 20, generator=generator).to(like).requires_grad_()
        for n in (queries, keys)
    )
    leaves = [x, context, *module.parameters()]
    out = module(x, context=context, **starts)
    return [out, *torch.autograd.grad(out.square().sum(), leaves, allow_unused=True)]


def alike(ours: list[Tensor], other: list[Tensor], tolerance: float) -> None:
    for one, two in zip(ours, other, strict=True):
        if one is None or two is None:
            assert one is two
            continue
        torch.testing.assert_close(one.double(), two, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_no_vector_is_made_for_a_pair(score: str) -> None:
    (read,) = reads_of(score)
    inside = list(walk(read.arg))
    assert not any({read.query, read.key} <= node.type.axes for node in inside)


@pytest.mark.parametrize(
    ("score", "given"),
    [
        (SCORES["with the query"], ("q_start per example", "q_start")),  # in any order
        ("dot(q, sin(k * (i - j)))", ()),  # a key is in it
        ("dot(q, sin(c * (i + j)))", ()),  # no distance
        ("dot(q, c * (i - j))", ()),  # as fast made as read
        ("dot(q, k) - abs(i - j)", ()),
    ],
)
def test_what_is_left_to_pairs(score: str, given: tuple[str, ...]) -> None:
    assert reads_of(score, *given) == []


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("lengths", [(1, 13), (13, 1), (30, 30), (11, 34)])
@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_tiles_and_the_dense_form_say_what_the_oracle_does(
    score: str, lengths: tuple[int, int]
) -> None:
    plain, tiled = (
        module_of(score, lowering, "i - j < 9 and (i - j) % 3 != 1").double()
        for lowering in ("dense", "tiled")
    )
    starts = {"q_start": 7, "k_start": 4}
    dense = made(plain, *lengths, **starts)
    alike(made(tiled, *lengths, **starts), dense, 1e-9)
    generator = torch.Generator().manual_seed(lengths[0])
    x, context = (torch.randn(2, n, 20, generator=generator).double() for n in lengths)
    weights = dict(plain.named_parameters())
    given = {"x": x, "context": context}
    truth = evaluate(plain.spec, weights, given, **starts)["x"]
    torch.testing.assert_close(dense[0], truth, rtol=1e-9, atol=1e-9)
    after = program_of(plain.spec, "q_start", "k_start", "context").roots["x"]
    again = evaluate_node(after, spec=plain.spec, weights=weights, inputs=given, **starts)
    torch.testing.assert_close(again, truth, rtol=1e-9, atol=1e-9)


@needs_compiler
@pytest.mark.parametrize("lengths", [(1, 77), (25, 65), (65, 25), (150, 150)])
@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_kernels_read_them_at_the_distance(score: str, lengths: tuple[int, int]) -> None:
    kernel, plain = (module_of(score, lowering, "i - j < 90") for lowering in ("cpu", "dense"))
    ours = made(kernel, *lengths, q_start=3)
    alike(ours, made(plain.double(), *lengths, q_start=3), 2e-4)


@pytest.mark.parametrize("lowering", ["dense", "tiled"])
def test_positions_by_example_are_any_numbers(lowering: str) -> None:
    module = module_of(SCORES["with the query"], lowering).double()
    places = torch.tensor([[4, 0, 9], [1, 1, 2]])
    generator = torch.Generator().manual_seed(0)
    x, context = (torch.randn(2, n, 20, generator=generator).double() for n in (3, 5))
    out = module(x, context=context, q_start=places)
    weights = dict(module.named_parameters())
    truth = evaluate(module.spec, weights, {"x": x, "context": context}, q_start=places)["x"]
    torch.testing.assert_close(out, truth, rtol=1e-9, atol=1e-9)


@needs_compiler
@pytest.mark.parametrize("lowering", ["dense", "tiled", "cpu"])
def test_they_are_traced_with_sizes_unknown(lowering: str) -> None:
    torch.compiler.reset()
    module = module_of(SCORES["with the query"], lowering)
    traced = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    for lengths in ((9, 12), (14, 7)):
        alike(made(traced, *lengths), [item.double() for item in made(module, *lengths)], 1e-4)
