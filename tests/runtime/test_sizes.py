"""Arrays of other sizes than a call should have are refused, by their names; kernels read nothing beside them."""

from __future__ import annotations

from collections.abc import Callable

import attnc
import pytest
import torch
from attnc.runtime.arguments import Arguments
from compilers import needs_compiler
from torch import Tensor

LOWERINGS = ("auto", "dense", "tiled", pytest.param("cpu", marks=needs_compiler))


def heads(groups: int = 4, length: int = 100) -> list[Tensor]:
    return [torch.randn(2, count, length, 16) for count in (4, groups, groups)]


#: what is done to q, k and v, and what is said of it
WRONG: dict[str, tuple[Callable[..., list[Tensor]], str]] = {
    "values of other tokens": (lambda q, k, v: [q, k, v[:, :, :50]], r"`v` is .* `k` has 100 along context"),
    "keys of other tokens": (lambda q, k, v: [q, k[:, :, :50], v], r"`v` is .* `k` has 50 along context"),
    "keys of fewer heads": (lambda q, k, v: [q, k[:, :3], v], r"`v` is .* `k` has 3 along g"),
    "groups of other sizes": (lambda q, k, v: [q, k[:, :2], v[:, :2]], r"`q` has 4 heads and `k` 2 groups"),
    "more examples": (lambda q, k, v: [q[:1], k, v], r"`k` is .* `q` has 1 along b"),
    "narrow queries": (lambda q, k, v: [q[..., :8], k, v], r"`q` is .* the spec has 16"),
    "wide values": (lambda q, k, v: [q, k, torch.cat([v, v], -1)], r"`v` is .* the spec has 16"),
    "no examples": (lambda q, k, v: [q, k, v[0]], r"`v` is \(b, g, context, d_value\)"),
}  # fmt: skip


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("name", WRONG)
def test_cores_of_other_sizes_are_refused(name: str, lowering: str) -> None:
    module = attnc.compile("softmax", entry="qkv", d_model=64, heads=4, lowering=lowering)
    change, message = WRONG[name]
    for _ in range(2):
        with pytest.raises(attnc.ArgumentMistake, match=message):
            module(*change(*heads()))
        module(*heads())


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_inputs_of_other_sizes_are_refused(lowering: str) -> None:
    module = attnc.compile("documents", d_model=16, heads=2, lowering=lowering)
    x = torch.randn(2, 40, 16)
    for shape, owner in (((2, 39), "100 along x"), ((3, 40), "2 along b")):
        document = torch.zeros(shape, dtype=torch.int64)
        with pytest.raises(attnc.ArgumentMistake, match=r"`document` is \(b, x\)") as told:
            module(x, document=document)
        assert owner.replace("100", "40") in str(told.value)
    valid = torch.ones(2, 39, dtype=torch.bool)
    with pytest.raises(attnc.ArgumentMistake, match=r"`valid` is \(b, x\)"):
        attnc.compile("softmax", d_model=16, heads=2, lowering=lowering)(x, valid=valid)


def test_what_is_told_apart_by_a_fixed_axis_has_its_places() -> None:
    module = attnc.compile("differential", entry="qkv", d_model=64, heads=4)
    with pytest.raises(attnc.ArgumentMistake, match=r"`q` is \(b, h, pair, x, d_head\)"):
        module(*heads())
    q, k = (torch.randn(2, 4, 3, 9, 16) for _ in range(2))
    with pytest.raises(attnc.ArgumentMistake, match="the spec has 2 there"):
        module(q, k, heads()[2][:, :, :9])


def test_one_example_and_some_of_the_heads_are_right() -> None:
    module = attnc.compile("grouped_query", entry="qkv", d_model=64, heads=4, kv_heads=2)
    q, k, v = heads(2)
    module(q, k[:1], v[:1])
    assert module(q[:, :2], k[:, :1], v[:, :1]).shape == (2, 2, 100, 16)
    with pytest.raises(attnc.ArgumentMistake, match="`q` has 3 heads and `k` 2 groups"):
        module(q[:, :3], k, v)


def test_streams_have_all_their_axes() -> None:
    module = attnc.compile("realformer", d_model=16, heads=2)
    x = torch.randn(1, 9, 16)
    module(x, carried=torch.zeros(1, 2, 9, 9))
    with pytest.raises(attnc.ArgumentMistake, match=r"`carried` is \(b, h, x, context\)"):
        module(x, carried=torch.zeros(1, 2, 9))


def test_a_part_of_a_group_is_a_shard() -> None:
    module = attnc.compile("multi_query", entry="qkv", d_model=64, heads=4)
    q, k, v = heads(1)
    whole = module(q, k, v)
    for first, count in ((0, 1), (1, 2), (3, 1)):
        part = slice(first, first + count)
        made = module(q[:, part], k, v, head_start=first)
        torch.testing.assert_close(made, whole[:, part])
    for count in (3, 0):
        with pytest.raises(attnc.ArgumentMistake, match="the spec has 4 for each group"):
            module(q[:, :count], k, v)


def test_what_tells_padding_may_be_the_same_for_all_examples() -> None:
    model = attnc.compile("language_model", layers=1, d_model=32, heads=2, vocab=16)
    tokens = torch.randint(16, (2, 9))
    assert model(tokens=tokens, valid=torch.ones(1, 9, dtype=torch.bool)).shape == (2, 9, 16)
    with pytest.raises(attnc.ArgumentMistake, match="`tokens` has 9 along x"):
        model(tokens=tokens, valid=torch.ones(1, 8, dtype=torch.bool))


@needs_compiler
@pytest.mark.parametrize("name", WRONG)
def test_kernels_read_nothing_beside_an_array(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Arguments, "_check", lambda *given: None)
    module = attnc.compile("softmax", entry="qkv", d_model=64, heads=4, lowering="cpu")
    change, _ = WRONG[name]
    if name == "groups of other sizes":
        assert module(*change(*heads())).shape == (2, 4, 100, 16)
        return
    with pytest.raises(ValueError, match=r"kernel `softmax_heads` of .* was given an array"):
        module(*change(*heads()))
