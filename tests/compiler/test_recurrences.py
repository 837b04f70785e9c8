"""Linear loops over all tokens at once equal the loop over tokens."""

from __future__ import annotations

from collections.abc import Sequence

import attnc
import pytest
import torch
from agreement import results
from attnc.compiler import scans
from attnc.compiler.decays import logarithm
from attnc.dsl.core import Recur, walk
from torch import Tensor

WIDE = torch.float64
LENGTHS = (1, 5, 16, 17, 64, 65, 150)


def loop(
    first: Tensor,
    decays: Sequence[Tensor],
    features: Sequence[Tensor],
    writes: Sequence[tuple[Tensor | None, Tensor]],
    reads: Sequence[Tensor],
    feeds: Sequence[tuple[int, int, Tensor]],
) -> tuple[list[Tensor], Tensor]:
    """The recurrence of `matrix_scan`, written down."""
    state, made = first, []
    for t in range(reads[0].size(-2)):
        seen = [(state @ ask[..., t, :, None])[..., 0] for ask in reads]
        made.append(seen)
        left = state
        for decay in decays:
            left = left * decay[..., t, None, None].exp()
        for decay in features:
            left = left * decay[..., t, None, :].exp()
        for row, (base, key) in enumerate(writes):
            put = torch.zeros_like(seen[0]) if base is None else base[..., t, :]
            for target, read, factor in feeds:
                if target == row:
                    put = put + factor[..., t, None] * seen[read]
            left = left + put[..., :, None] * key[..., t, None, :]
        state = left
    return [torch.stack(items, -2) for items in zip(*made, strict=True)], state


@pytest.mark.parametrize("feeding", [False, True])
@pytest.mark.parametrize("kind", ["plain", "number", "feature", "both"])
@pytest.mark.parametrize("length", LENGTHS)
def test_matrix_scan_equals_the_loop(length: int, kind: str, feeding: bool) -> None:
    generator = torch.Generator().manual_seed(length)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=WIDE) * 0.4

    decays = [-some(1, 3, length).abs()] if kind in ("number", "both") else []
    features = [-some(2, 3, length, 5).abs() * 9] if kind in ("feature", "both") else []
    writes = [(some(2, 3, length, 4), some(2, 3, length, 5)), (None, some(2, 3, length, 5))]
    reads = [some(2, 3, length, 5) for _ in range(3)]
    feeds = [(0, 0, some(2, 3, length)), (1, 1, some(2, 3, length)), (1, 2, some(2, 3, length))]
    given = (some(2, 3, 4, 5), decays, features, writes, reads, feeds if feeding else [])
    made, last = scans.matrix_scan(*given)
    wanted, final = loop(*given)
    for found, expected in zip((*made, last), (*wanted, final), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("length", [0, *LENGTHS, 700])
@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize("largest", [False, True])
def test_scan_equals_the_loop(length: int, decays: bool, largest: bool) -> None:
    generator = torch.Generator().manual_seed(length)
    value = torch.randn(3, length, 4, generator=generator, dtype=WIDE)
    decay = torch.randn(1, length, 4, generator=generator, dtype=WIDE) if decays else None
    first = torch.randn(3, 1, 4, generator=generator, dtype=WIDE)
    before, last = scans.scan(decay, value, first, 1, largest)
    state, wanted = first[:, 0], []
    for t in range(length):
        wanted.append(state)
        if largest:
            state = torch.maximum(state + (0 if decay is None else decay[:, t]), value[:, t])
        else:
            state = (state if decay is None else decay[:, t] * state) + value[:, t]
    expected = torch.stack(wanted, 1) if wanted else value
    torch.testing.assert_close(before, expected)
    torch.testing.assert_close(last[:, 0], state)


def test_decays_that_are_zero_or_tiny_forget_without_nan() -> None:
    decay = torch.tensor([1.0, 0.0, 1e-30, 1.0, 0.5] * 20, dtype=WIDE, requires_grad=True)
    key = torch.ones(100, 2, dtype=WIDE)
    log = logarithm(decay)
    made, last = scans.matrix_scan(
        torch.zeros(3, 2, dtype=WIDE), [log], [], [(torch.ones(100, 3, dtype=WIDE), key)], [key], []
    )
    wanted, final = loop(
        torch.zeros(3, 2, dtype=WIDE),
        [decay.log()],
        [],
        [(torch.ones(100, 3, dtype=WIDE), key)],
        [key],
        [],
    )
    torch.testing.assert_close(made[0], wanted[0])
    torch.testing.assert_close(last, final)
    (grad,) = torch.autograd.grad(made[0].sum(), decay)
    assert grad.isfinite().all()


@pytest.mark.parametrize("form", ["rate * w", "outer(ones(d_value), rate * ones(d_head)) * w"])
def test_a_decay_of_zero_has_a_gradient(form: str) -> None:
    text = loop_spec(MATRIX, f"{form} + outer(v, k)", "w @ k")
    text = text.replace("let:", "weights: {rate: {shape: [h], range: [0, 1]}}\nlet:", 1)
    x = torch.randn(2, 20, 8, dtype=WIDE)
    found = []
    for lowering in ("auto", "dense"):
        torch.manual_seed(0)
        module = attnc.compile(attnc.loads(text), d_model=8, heads=2, lowering=lowering).double()
        rate = module.get_parameter("rate")
        rate.data.zero_()
        found += torch.autograd.grad(module(x=x).square().sum(), rate)
    assert found[1].abs().min() > 0
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("added", ["c", "c * dot(w, k)"])
def test_a_number_is_added_to_every_feature(added: str) -> None:
    text = loop_spec("zeros(h, d_head)", f"a * w + {added}", "dot(w, k) * k")
    text = text.replace("project:", "project:\n  c: tanh(linear(x, to=[h])) / 9", 1)
    module, plain = (
        attnc.compile(attnc.loads(text), d_model=8, heads=2, lowering=lowering).double()
        for lowering in ("auto", "dense")
    )
    plain.load_state_dict(module.state_dict())
    x = torch.randn(2, 20, 8, dtype=WIDE)
    torch.testing.assert_close(module(x=x), plain(x=x))


def linear_specs() -> list[str]:
    """Library specs with a loop over tokens, but for SAC's controller, which is an LSTM."""
    return [
        name
        for name in attnc.library()
        if not name.startswith("sac")
        and any(isinstance(item, Recur) for item in walk(*attnc.load(name).typed.outputs.values()))
    ]


@pytest.mark.parametrize("name", linear_specs())
def test_loops_of_the_library_run_in_chunks_and_compute_the_same(name: str) -> None:
    spec = attnc.load(name)
    module = attnc.compile(spec, d_model=8, heads=2).double().eval()
    plain = attnc.compile(spec, d_model=8, heads=2, lowering="dense").double().eval()
    assert "chunked" in module.lowering.values()
    assert "loop" not in module.lowering.values()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    plain.load_state_dict(module.state_dict())
    for length in (1, 70, 150):
        x = torch.randn(2, length, 8, dtype=WIDE, requires_grad=True)
        made, wanted = results(module(x=x))["x"], results(plain(x=x))["x"]
        torch.testing.assert_close(made, wanted, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(
            torch.autograd.grad(made.square().sum(), x),
            torch.autograd.grad(wanted.square().sum(), x),
            rtol=1e-7,
            atol=1e-7,
        )


def loop_spec(carry: str, following: str, shown: str) -> str:
    return f"""attnc: 1
name: looped
context: same
project:
  a: sigmoid(linear(x, to=[h]))
  k: linear(x, to=[h, d_head])
  v: linear(x, to=[h, d_value])
let:
  memory:
    recur:
      over: x
      carry: {{w: "{carry}"}}
      next: {{w: "{following}"}}
      yield: {{o: "{shown}"}}
out: linear(concat(memory.o, over=h))
"""


MATRIX = "zeros(h, d_value, d_head)"
FORMS = {
    "decayed rows": (MATRIX, "a * w + outer(v, k)", "w @ k", "chunked"),
    "keys first": ("zeros(h, d_head, d_value)", "a * w + outer(k, v)", "k @ w", "chunked"),
    "by feature": (
        MATRIX,
        "outer(ones(d_value), sigmoid(k)) * w + outer(v, k)",
        "(w + outer(v, k)) @ k",
        "chunked",
    ),
    "delta": (MATRIX, "w - a * outer(w @ k - v, k) / 4", "w @ k", "chunked"),
    "a bonus": (MATRIX, "w + outer(v, k)", "(w + outer(v, 2 * k)) @ k", "chunked"),
    "a constant": ("zeros(h)", "a * w + 1", "w * k", "chunked"),
    "the largest": ("zeros(h, d_head)", "max(w - a, k)", "w", "chunked"),
    "a reset": ("zeros(h, d_head)", "where(a > 0.5, k, w * a + k)", "w", "chunked"),
    "negative decay": ("zeros(h, d_head)", "(a - 0.5) * w + k", "w", "chunked"),
    "the token before": ("zeros(h, d_head)", "k", "k - w", "chunked"),
    "not linear": ("zeros(h, d_head)", "tanh(w + k)", "w", "loop"),
    "two dims read": (MATRIX, "w + outer(v, k) * dot(w @ k, v)", "w @ k", "loop"),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_linear_runs_in_chunks(form: str) -> None:
    *parts, lowering = FORMS[form]
    spec = attnc.loads(loop_spec(*parts))
    made = attnc.compile(spec, d_model=8, heads=2).double()
    plain = attnc.compile(spec, d_model=8, heads=2, lowering="dense").double()
    assert made.lowering == {"memory": lowering}
    plain.load_state_dict(made.state_dict())
    x = torch.randn(2, 40, 8, dtype=WIDE)
    torch.testing.assert_close(made(x=x), plain(x=x))


@pytest.mark.parametrize("mask", ["causal", "j < i"])
def test_a_softmax_over_the_past_of_key_scores_runs_along(mask: str) -> None:
    text = f"attnc: 1\nname: means\nextends: [aft]\ncontext: same\nmask: {mask}\n"
    module, plain = (
        attnc.compile(attnc.loads(text), d_model=8, heads=2, form="simple", lowering=low).double()
        for low in ("auto", "dense")
    )
    assert module.lowering == {"heads": "linear"}
    plain.load_state_dict(module.state_dict())
    for length in (1, 7, 40):
        x = (30 * torch.randn(2, length, 8, dtype=WIDE)).requires_grad_()
        valid = torch.arange(length) >= torch.tensor([[0], [3]])
        for call in ({}, {"valid": valid}):
            made, wanted = module(x=x, **call), plain(x=x, **call)
            torch.testing.assert_close(made, wanted)
            grads = (torch.autograd.grad(item.square().sum(), x) for item in (made, wanted))
            torch.testing.assert_close(*grads)
