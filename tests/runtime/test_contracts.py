"""Causality, measured: what is proved strict leaks nothing, what is masked or none does leak.

The future is replaced by noise at every place of short sequences; results before it may not change.
Published causal forms that are known to leak are refused by the checker, and leak.
"""

from __future__ import annotations

from collections.abc import Iterator

import attnc
import pytest
import torch
from agreement import compiled, results
from attnc.compiler.lower.emitter import by_rank
from attnc.dsl import api
from attnc.dsl.core import Attend, Axis
from attnc.dsl.library import library_paths
from attnc.dsl.source import Source
from attnc.runtime.examples import example
from references import CASES, Case
from torch import Tensor

#: lengths that are no multiples of most blocks; seeds at each of them
LENGTHS = (9, 12)
SEEDS = 20
EXACT, SEEN = 1e-9, 1e-6


def subjects() -> list[Case]:
    """Every form that has a reference, and what of the library has none of its own."""
    named = {case.spec for case in CASES}
    others = [Case(name, {"d_model": 16, "heads": 2}, results) for name in attnc.library()]
    return [*CASES, *(case for case in others if case.spec not in named)]


def derived(case: Case) -> str:
    """The causality that is derived for a form."""
    place = {"source": Source("test", case.spec)} if "\n" in case.spec else {"name": case.spec}
    judgement = api.check(**place, dims=case.dims).judgement
    assert judgement is not None
    return judgement.derived


# -- measuring ------------------------------------------------------------------------------


def call_of(module: attnc.Module, case: Case, length: int, seed: int) -> dict[str, Tensor]:
    """Arguments with all side inputs, in float64, for `SEEDS` examples."""
    call = example(module, length, batch=SEEDS, seed=seed, optional=True)
    generator = torch.Generator().manual_seed(seed)
    call |= case.inputs(generator, SEEDS, length, length if module.spec.memory else None)
    return {name: v.double() if v.is_floating_point() else v for name, v in call.items()}


def layout(module: attnc.Module, name: str) -> list[str]:
    """The index axes of an argument."""
    spec = module.spec
    if name in ("x", "context"):
        return ["b", name]
    info = spec.inputs[name] if name in spec.inputs else spec.streams[name]
    return [axis.name for axis in info.type.ordered]


def is_late(module: attnc.Module, axes: list[str], shape: torch.Size, cut: int) -> Tensor:
    """Where an array belongs to a token from `cut` on; a memory is known before everything."""
    timed = {"x"} if module.spec.memory else {"x", "context"}
    late = torch.zeros(shape, dtype=torch.bool)
    for dim, name in enumerate(axes):
        if name in timed:
            late.transpose(0, dim)[cut:] = True
    return late


def with_future(
    module: attnc.Module, call: dict[str, Tensor], noise: dict[str, Tensor], cut: int
) -> dict[str, Tensor]:
    """The call with everything from `cut` on replaced by noise."""
    return {
        name: torch.where(
            is_late(module, layout(module, name), value.shape, cut), noise[name], value
        )
        for name, value in call.items()
    }


def run(module: attnc.Module, call: dict[str, Tensor]) -> dict[str, Tensor]:
    with torch.no_grad():
        return results(module(**call, call_seed=0))


def change_before(
    module: attnc.Module, made: dict[str, Tensor], other: dict[str, Tensor], cut: int
) -> float:
    """The largest change of results that belong to tokens before `cut`."""
    spec, most = module.spec, 0.0
    for name, value in made.items():
        axes = spec.outputs[name].type.axes
        if name in spec.streams:
            axes = axes | spec.streams[name].type.axes
        names = [axis.name for axis in by_rank(axes)]
        early = ~is_late(module, names, value.shape, cut)
        same = (value == other[name]) | ~early
        change = torch.where(same, 0.0, (value - other[name]).abs().nan_to_num(nan=torch.inf))
        most = max(most, float(change.max()))
    return most


def changes(case: Case, lengths: tuple[int, ...] = LENGTHS) -> Iterator[float]:
    """The largest change before each cut of each length, over all seeds; middle cuts first."""
    module = compiled(case)
    for length in lengths:
        call, noise = (call_of(module, case, length, seed) for seed in (1, 2))
        made = run(module, call)
        for cut in sorted(range(1, length), key=lambda cut: abs(2 * cut - length)):
            other = run(module, with_future(module, call, noise, cut))
            yield change_before(module, made, other, cut)


# -- the library ----------------------------------------------------------------------------


@pytest.mark.parametrize("case", subjects(), ids=lambda case: case.name)
def test_a_form_leaks_if_and_only_if_it_is_not_strict(case: Case) -> None:
    if derived(case) == "strict":
        assert max(changes(case)) <= EXACT
    else:
        assert any(change > SEEN for change in changes(case, (12, 24)))


# -- weights on the future ------------------------------------------------------------------


def times_of(module: attnc.Module, axis: Axis, call: dict[str, Tensor]) -> tuple[Tensor, list[str]]:
    """The time of every token of an axis, and the names of the axes of that array."""
    if axis.name in ("x", "context"):
        return torch.arange(call["x"].shape[1]), [axis.name]
    sets = [item for item in module.spec.sets.values() if len(item.axes) == 1]
    tokens = next(item for item in sets if item.axis.name == (axis.base or axis.name))
    assert tokens.time is not None
    name = f"time of {tokens.name}".replace(".", " ")
    module.spec.bindings[name] = tokens.time
    names = [item.name for item in by_rank(tokens.time.type.axes)]
    named = [axis.name if item == tokens.axis.name else item for item in names]
    return module.taps(name, **call)[name], named


def aligned(array: Tensor, names: list[str], wanted: list[str]) -> Tensor:
    """An array that is broadcast to more axes."""
    order = [names.index(name) for name in wanted if name in names]
    shape = iter(array.permute(order).shape)
    return array.permute(order).reshape([next(shape) if n in names else 1 for n in wanted])


def is_masked(case: Case) -> bool:
    """Whether a form declares, in its own text, that it is masked."""
    path = library_paths().get(case.spec)
    return "\ncausality: masked\n" in (case.spec if path is None else path.read_text("utf-8"))


@pytest.mark.parametrize(
    "case", [case for case in CASES if is_masked(case)], ids=lambda case: case.name
)
def test_masked_attends_put_no_weight_on_the_future(case: Case) -> None:
    module = compiled(case, "dense")
    call = call_of(module, case, 12, 1)
    seen = 0
    for name, node in list(module.spec.bindings.items()):
        if not isinstance(node, Attend) or len(node.sources) > 1 or node.sources[0].at is not None:
            continue
        weights = module.taps(f"{name}.weights", **call)[f"{name}.weights"].detach()
        axes = {*node.type.axes, *node.sources[0].axes, *node.sources[0].score.type.axes}
        names = [axis.name for axis in by_rank(axes)]
        assert weights.dim() == len(names)
        queries = aligned(*times_of(module, node.query, call), names)
        keys = aligned(*times_of(module, node.sources[0].axes[0], call), names)
        assert float((weights * (keys > queries)).abs().max()) == 0
        seen += 1
    assert seen


# -- published causal forms -----------------------------------------------------------------

HEAD = """
attnc: 1
name: {name}
doc: As published.
context: same
"""
PROJECT = """
project:
  q: linear(x, to=[h, d_head])
  k: linear(context, to=[h, d_head])
  v: linear(context, to=[h, d_value])
"""

#: performer-pytorch, causal: the key stabiliser is the maximum over the whole sequence, and eps is
#: added after it, so that it does not cancel
PERFORMER = """
extends: softmax
dims: {features: 8}
random:
  planes: {shape: [features, d_head], dist: orthogonal}
macros:
  wave(u): planes @ u * d_head ** 0.25
  raised(u, peak): exp(wave(u) - dot(u, u) / (2 * sqrt(d_head)) - peak) + 1e-4
let:
  fq: raised(q, max(detach(wave(q))))
  fk: raised(k, max(max(detach(wave(k))), over=context))
mask: causal
score: dot(fq, fk)
normalize: s / (sum(s, over=j) + 1e-6 * sum(fq))
"""

#: routing_transformer, causal: each centroid takes its nearest tokens of the whole sequence
ROUTING = """
dims: {clusters: 2, window: 4, shared: false}
axes: {c: clusters, slot_q: window, slot_k: window}
buffers:
  mu: {shape: [h, c, d_head], init: normal}
project:
  q: linear(x, to=[h, d_head])
  k: where(shared, unit(q[j]), linear(context, to=[h, d_head], as=key))
  v: linear(context, to=[h, d_value])
let:
  near_q: detach(dot(unit(q), mu))
  near_k: detach(dot(unit(k), mu))
  routed:
    attend:
      queries: take(x, top(near_q, slot_q, over=x))
      keys: take(context, top(near_k, slot_k, over=context))
      mask: causal
      score: dot(q, k) / sqrt(d_head)
      value: v
out: linear(concat(scatter(routed, onto=x, by=mean, eps=1e-5), over=h))
"""

#: reformer-pytorch, causal: chunks of the sorted tokens, so that who stands in one depends on the
#: buckets of later tokens; the default also attends across buckets
REFORMER = """
dims: {buckets: 4, half: {is: buckets // 2}, chunk: 4, across: true}
random:
  planes: {shape: [h, half, d_head], dist: normal}
project:
  qk: linear(x, to=[h, d_head], bias=false)
  v: linear(x, to=[h, d_value], bias=false)
tokens:
  order: sort(x, by=[tag, x])
macros:
  near(a, b): (a // chunk - b // chunk) % ceil_div(length(order), chunk) <= 1
let:
  proj: planes @ detach(qk)
  tag: argmax(concat(proj, -proj))
  key: unit(qk)
  round:
    attend:
      queries: order
      keys: order
      mask: causal and near(slot(i), slot(j)) and (across or tag[i] == tag[j])
      score: where(pos(i) == pos(j), -5e4, dot(qk[i], key[j]) / sqrt(d_head))
      value: v[j]
out: linear(concat(scatter(round, onto=x), over=h))
"""

#: Informer2020, mask_flag: which rows are exact depends on all scores; the others take the sum
INFORMER = """
axes: {p: 4}
let:
  raw: detach(dot(q, k))
  best: top(max(raw, over=context) - mean(raw, over=context), p, over=x)
  exact:
    attend:
      queries: take(x, best)
      mask: causal
      score: dot(q, k) / sqrt(d_head)
      value: v
  so_far: cumsum(v, over=context)[i]
out: linear(concat(where(segment_count(best, over=p) > 0, scatter(exact, onto=x), so_far), over=h))
"""

#: idiap CausalLinearAttention, for comparison: nothing but sums up to now
LINEAR = """
extends: softmax
macros: {phi(u): elu(u) + 1}
mask: causal
score: dot(phi(q), phi(k))
normalize: s / (sum(s, over=j) + 1e-6)
"""

PUBLISHED = {
    "performer": (PERFORMER, {}),
    "routing": (ROUTING, {}),
    "routing_shared": (ROUTING, {"shared": True}),
    "reformer": (REFORMER, {}),
    "reformer_within_bucket": (REFORMER, {"across": False}),
    "informer": (PROJECT + INFORMER, {}),
}


def published(name: str, text: str, dims: dict[str, object]) -> Case:
    text = HEAD.format(name=name) + text
    return Case(text, {"d_model": 8, "heads": 2, **dims}, results)


def refusals(case: Case, contract: str) -> list[str]:
    """The mistakes that the checker finds in a form with a contract."""
    source = Source("test", case.spec + f"causality: {contract}\n")
    return [error.code for error in api.check(source=source, dims=case.dims).report.errors]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_forms_that_leak_are_refused_as_strict(name: str) -> None:
    case = published(name, *PUBLISHED[name])
    assert derived(case) == "masked"
    assert set(refusals(case, "strict")) in ({"ATT601"}, {"ATT603"})
    assert refusals(case, "masked") == []
    assert max(changes(case, (12, 24))) > 1e-4


def test_a_published_form_that_is_strict_is_accepted() -> None:
    case = published("linear", LINEAR, {})
    assert derived(case) == "strict"
    assert refusals(case, "strict") == []
    assert max(changes(case)) <= EXACT
