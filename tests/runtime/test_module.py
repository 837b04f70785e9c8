"""Compiled modules as a user meets them: arguments, positions, padding, draws, losses, taps."""

from __future__ import annotations

from pathlib import Path

import attnc
import pytest
import torch
from attnc.dsl.api import check
from attnc.dsl.core import Kind
from torch import Tensor

WIDTH = 16


def stream(length: int, batch: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, length, WIDTH, generator=generator, dtype=torch.float64)


def compiled(spec: str, **options: object) -> attnc.Module:
    """A library spec, or an own one given as a text, in float64."""
    found = attnc.loads(spec) if "\n" in spec else attnc.load(spec)
    torch.manual_seed(1)
    module = attnc.compile(found, d_model=WIDTH, **{"heads": 2, **options})  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module.double().eval()


def side_inputs(module: attnc.Module, length: int, batch: int = 2) -> dict[str, Tensor]:
    """What a call of a spec must be given beside x: zeros for ints, random bools and reals."""
    generator = torch.Generator().manual_seed(3)
    made = {}
    for info in module.spec.inputs.values():
        if info.default is not None:
            continue
        axes = sorted(info.type.axes, key=lambda axis: axis.rank)[1:]  # without b
        sizes = [length if axis.size is None else axis.size.value for axis in axes]
        sizes += [dim.value for dim in info.type.dims]
        drawn = torch.randn(batch, *sizes, generator=generator, dtype=torch.float64)
        by_kind = {Kind.REAL: drawn, Kind.BOOL: drawn > 0, Kind.INT: torch.zeros_like(drawn).long()}
        made[info.name] = by_kind[info.type.kind]
    return made


def own(body: str) -> str:
    return f"attnc: 1\nname: own\nextends: softmax\n{body}"


CAUSAL = [
    name
    for name in attnc.library()
    if check(name=name).spec is not None
    and check(name=name).spec.causality == "strict"  # type: ignore[union-attr]
    and name not in ("language_model", "encoder_decoder")
]


@pytest.mark.parametrize("name", CAUSAL)
def test_a_strict_spec_never_sees_the_future(name: str) -> None:
    small = {"nsa": {"width": 4, "stride": 2, "block": 4, "picks": 2, "window": 3}}
    choices = small.get(name, {})
    module = compiled(name, **choices)
    length = 12
    x = stream(length)
    memory = {"context": stream(5, seed=9)} if module.spec.memory else {}
    memory |= side_inputs(module, length)
    whole = module(x, call_seed=0, **memory)
    whole = whole["x"] if isinstance(whole, dict) else whole
    for cut in range(1, length):
        other = x.clone()
        other[:, cut:] = stream(length - cut, seed=cut)
        made = module(other, call_seed=0, **memory)
        made = made["x"] if isinstance(made, dict) else made
        assert torch.equal(made[:, :cut], whole[:, :cut]), f"tokens before {cut} changed"


def test_an_empty_row_gives_zero_and_no_gradient() -> None:
    module = compiled(own("mask: j < i\nout: linear(concat(heads, over=h), bias=false)"))
    for lowering in ("auto", "dense"):
        module = compiled(module_text(), lowering=lowering)
        x = stream(5).requires_grad_()
        made = module(x)
        assert torch.equal(made[:, 0], torch.zeros_like(made[:, 0]))
        (grad,) = torch.autograd.grad(made[:, 0].sum(), x, retain_graph=True)
        assert torch.equal(grad, torch.zeros_like(grad))
        (grad,) = torch.autograd.grad(made.sum(), x)
        assert grad.isfinite().all()


def module_text() -> str:
    return own("mask: j < i\nout: linear(concat(heads, over=h), bias=false)\n")


def test_lse_of_an_empty_row_is_minus_infinity() -> None:
    module = compiled(own("mask: j < i\n"))
    lse = module.taps("heads.lse", x=stream(4))["heads.lse"]
    assert (lse[:, :, 0] == -torch.inf).all()
    assert lse[:, :, 1:].isfinite().all()


def test_padding_changes_no_other_token() -> None:
    module = compiled("softmax")
    x = stream(9)
    valid = torch.ones(2, 9, dtype=torch.bool)
    valid[:, 6:] = False
    padded = module(x, valid=valid)
    torch.testing.assert_close(padded[:, :6], module(x[:, :6]))
    noise = x.clone()
    noise[:, 6:] = 1e3
    torch.testing.assert_close(module(noise, valid=valid), padded)


@pytest.mark.parametrize("name", ["alibi", "rope", "t5_bias", "sinusoidal", "causal_softmax"])
def test_positions_are_global(name: str) -> None:
    """The last tokens alone, told where they stand, see the same positions."""
    module = compiled(name)
    x = stream(8)
    if name == "sinusoidal":
        torch.testing.assert_close(module(x[:, 5:], q_start=5), module(x)[:, 5:])
        return
    if module.spec.same_context:  # positions shift together
        torch.testing.assert_close(module(x, q_start=7), module(x))
        return
    whole = module(x)
    torch.testing.assert_close(module(x[:, 5:], x, q_start=5, k_start=0), whole[:, 5:])


def test_positions_may_differ_per_example() -> None:
    module = compiled("sinusoidal")
    x = stream(4)
    starts = torch.tensor([3, 10])
    made = module(x, q_start=starts)
    for row, start in enumerate((3, 10)):
        torch.testing.assert_close(made[row : row + 1], module(x[row : row + 1], q_start=start))
    arrays = starts[:, None] + torch.arange(4)
    torch.testing.assert_close(module(x, q_start=arrays), made)


def test_dropout_is_drawn_by_counter() -> None:
    module = compiled(own("dropout: 0.5\n")).train()
    x = stream(6)
    first = module(x, call_seed=3)
    assert torch.equal(first, module(x, call_seed=3))
    assert not torch.equal(first, module(x, call_seed=4))
    torch.manual_seed(0)
    drawn = module(x)
    torch.manual_seed(0)
    assert torch.equal(drawn, module(x))
    longer = module(torch.cat([x, stream(3, seed=5)], 1), call_seed=3)
    assert longer.shape[1] == 9
    assert torch.equal(module.eval()(x), module(x))


def test_dropout_keeps_the_mean() -> None:
    text = "attnc: 1\nname: own\nout: dropout(x, 0.25)\n"
    module = compiled(text).train()
    made = module(torch.ones(50, 40, WIDTH, dtype=torch.float64), call_seed=1)
    assert abs(made.mean().item() - 1) < 0.02
    assert abs((made == 0).double().mean().item() - 0.25) < 0.01


def test_named_choices_can_be_injected() -> None:
    text = own("let:\n  chosen: argmax(q)\nscore: super + real(chosen[i] == 0)\n")
    module = compiled(text)
    x = stream(5)
    chosen = module.taps("chosen", x=x)["chosen"]
    torch.testing.assert_close(module(x, inject={"chosen": chosen}), module(x))
    assert not torch.equal(module(x, inject={"chosen": torch.zeros_like(chosen)}), module(x))


def test_losses_are_given_and_bounded_weights_projected() -> None:
    module = compiled("adaptive_span", span=8, ramp=4, cost=0.5).train()
    module(stream(6))
    mean = module.z.mean()
    torch.testing.assert_close(module.losses(), 0.5 * 8 * mean)
    with torch.no_grad():
        module.z.fill_(3.0)
    module.after_step()
    assert module.z.max() == 1.0
    assert module.eval()(stream(6)) is not None


def test_updates_change_buffers_after_a_step() -> None:
    text = (
        "attnc: 1\nname: own\nbuffers:\n  mean_x: {shape: [d_model], init: zeros}\n"
        "updates:\n  mean_x: 0.5 * mean_x + 0.5 * mean(x, over=[b, x])\nout: x - mean_x\n"
    )
    module = compiled(text).train()
    x = stream(6)
    module(x)
    assert module.mean_x.abs().max() == 0
    module.after_step()
    torch.testing.assert_close(module.mean_x, 0.5 * x.mean((0, 1)))


def test_streams_go_from_layer_to_layer() -> None:
    module = compiled("predictive")
    x = stream(6)
    first = module(x)
    second = module(x, prev=first["prev"])
    assert first["prev"].shape == (2, 2, 6, 6)
    assert not torch.equal(first["x"], second["x"])


def test_the_core_drops_in_where_sdpa_stands() -> None:
    core = attnc.compile("causal_softmax", d_model=32, heads=4, entry="qkv")
    assert not list(core.parameters())
    q, k, v = (torch.randn(2, 4, 7, 8) for _ in range(3))
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(core(q, k, v), wanted)
    additive = attnc.compile("additive", d_model=32, heads=4, entry="qkv")
    assert [name for name, _ in additive.named_parameters()] == ["u", "c"]
    assert additive(q, k, v).shape == (2, 4, 7, 8)


def test_weights_and_scores_can_be_looked_at() -> None:
    module = compiled("causal_softmax")
    x = stream(5)
    weights, scores = module.weights(x), module.scores(x)
    assert weights.shape == scores.shape == (2, 2, 5, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))
    torch.testing.assert_close(scores.softmax(-1), weights)
    assert (scores.triu(1)[scores.triu(1) != 0] == -torch.inf).all()


def test_lowerings_are_named_and_refused_with_a_reason() -> None:
    assert compiled("softmax").lowering == {"heads": "sdpa"}
    assert compiled("softmax", lowering="dense").lowering == {"heads": "dense"}
    with pytest.raises(attnc.LoweringRefused, match="not one scaled dot product"):
        compiled("additive", lowering="sdpa")
    with pytest.raises(attnc.LoweringRefused, match="normaliser is not the softmax"):
        compiled("sparsemax", lowering="sdpa")
    with pytest.raises(attnc.LoweringRefused, match="there is no lowering `gpu`; there are auto"):
        compiled("softmax", lowering="gpu")


def test_groups_of_heads_share_keys_and_values() -> None:
    module = compiled("grouped_query", heads=4, kv_heads=2)
    assert module.k.out_features == module.q.out_features // 2
    for lowering in ("auto", "dense"):
        other = compiled("grouped_query", heads=4, kv_heads=2, lowering=lowering)
        other.load_state_dict(module.state_dict())
        torch.testing.assert_close(other(stream(7)), module(stream(7)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({}, "needs the argument `x`"),
        ({"x": torch.zeros(2, 3)}, r"\(batch, length, d_model\)"),
        ({"x": torch.zeros(2, 3, 5)}, "compiled for d_model=16"),
        ({"x": torch.zeros(2, 3, 16), "vaild": None, "contxt": 1}, "did you mean"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(call: dict[str, object], message: str) -> None:
    with pytest.raises(attnc.ArgumentMistake, match=message):
        compiled("softmax")(**call)


def test_ids_out_of_range_are_refused() -> None:
    model = attnc.compile("language_model", d_model=16, heads=2, layers=1, vocab=10)
    with pytest.raises(attnc.ArgumentMistake, match=r"lies in 0 \.\. 9"):
        model(torch.tensor([[3, 10]]))


def test_dims_are_checked() -> None:
    with pytest.raises(attnc.SpecError, match="not divisible"):
        attnc.compile("softmax", d_model=10, heads=4)
    with pytest.raises(attnc.SpecError, match="did you mean `window`"):
        attnc.compile("longformer", windw=4)
    with pytest.raises(attnc.SpecError, match="not a multiple"):
        attnc.compile("longformer", window=5)


def test_the_same_seed_gives_the_same_module() -> None:
    one, two = (attnc.compile("reformer", d_model=16, heads=2, seed=3) for _ in range(2))
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name


def test_choices_reach_specs_inside() -> None:
    model = attnc.compile(
        "language_model",
        d_model=16,
        heads=2,
        layers=2,
        vocab=7,
        attention="sliding_window",
        choices={"attention.right": 0},
    )
    assert model.get_submodule("body.1.attended").spec.name == "sliding_window"


def test_a_shared_weight_is_one_array_in_a_model() -> None:
    text = (
        "attnc: 1\nname: model\nlet:\n  body:\n    stack: {x: x, layers: [{times: 3, use: luna}]}\n"
        "out: body.x\n"
    )
    model = attnc.compile(attnc.loads(text), d_model=16, heads=2)
    starts = {model.get_parameter(f"body.{layer}.p0") for layer in range(3)}
    assert len(starts) == 1
    assert model(torch.randn(2, 5, 16)).shape == (2, 5, 16)


MINE = "attnc: 1\nname: mine\nextends: [additive, causal]\nscore: super - 0.1 * (i - j)\n"


def test_an_own_spec_stands_in_a_model_of_the_library(tmp_path: Path) -> None:
    own_spec = tmp_path / "mine.yaml"
    own_spec.write_text(MINE)
    dims = {"d_model": 16, "heads": 2, "layers": 2, "vocab": 9}
    model = attnc.compile("language_model", attention=str(own_spec), **dims)
    assert model.get_submodule("body.1.attended").spec.name == "mine"
    assert model(torch.tensor([[1, 2, 3]])).shape == (1, 3, 9)
    child = tmp_path / "model.yaml"
    child.write_text(
        "attnc: 1\nname: model\nextends: language_model\nspecs: {attention: {default: mine}}\n"
    )
    assert attnc.compile(child, **dims).get_submodule("body.0.attended").spec.name == "mine"


def test_an_input_of_the_wrong_kind_is_refused() -> None:
    model = attnc.compile("language_model", d_model=16, heads=2, layers=1, vocab=10)
    with pytest.raises(attnc.ArgumentMistake, match="`tokens` is int"):
        model(torch.zeros(1, 3))
    with pytest.raises(attnc.ArgumentMistake, match=r"dims \(b, x\)"):
        model(torch.tensor([1, 2, 3]))


def test_gradients_of_embeddings_are_the_same_every_time() -> None:
    model = attnc.compile("language_model", d_model=16, heads=2, layers=1, vocab=5)
    tokens = torch.randint(5, (8, 64))
    found = []
    for _ in range(5):
        model.zero_grad()
        model(tokens).square().sum().backward()
        found.append(model.embed.grad.clone())
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_explain_names_the_line_and_the_smallest_edit() -> None:
    text = attnc.compile("additive", d_model=16, heads=2).explain()
    assert "heads takes dense" in text
    assert "not sdpa: its score is not one scaled dot product" in text
    assert "additive.yaml:19:8: dot(u, tanh(q + k + c))" in text
    assert "smallest edit: score: dot(q, k) / sqrt(d_head)" in text


def test_strict_refuses_to_choose_the_dense_form() -> None:
    assert attnc.compile("softmax", d_model=16, heads=2, strict=True).lowering == {"heads": "sdpa"}
    with pytest.raises(attnc.LoweringRefused, match="smallest edit"):
        attnc.compile("additive", d_model=16, heads=2, strict=True)


def test_keys_begin_at_0_where_the_call_says_so() -> None:
    module = attnc.compile("causal_softmax", entry="qkv", d_model=WIDTH, heads=2)
    query, key, value = torch.randn(3, 1, 2, 9, WIDTH // 2)
    last = module(query[:, :, 5:], key, value, q_start=5, k_start=0)
    torch.testing.assert_close(last, module(query, key, value)[:, :, 5:])
