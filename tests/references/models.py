"""References of family models: layers and stacks, by the names that submodules have.

A `use` or layer is a submodule under its binding's name: `attended.q.weight`, `body.0.ff_1.bias`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn.functional import gelu, layer_norm

from .additive import additive
from .attention import causal, multi_head
from .case import Arrays, Case
from .pieces import linear, under
from .positional import sinusoids

Attention = Callable[[Arrays, Arrays], Tensor]
HEADS = 2


def softmax_attention(weights: Arrays, inputs: Arrays) -> Tensor:
    return multi_head(weights, inputs, HEADS)


def causal_attention(weights: Arrays, inputs: Arrays) -> Tensor:
    return causal(weights, inputs, HEADS)


def causal_additive(weights: Arrays, inputs: Arrays) -> Tensor:
    return additive(weights, inputs, HEADS, causal=True)


def norm(weights: Arrays, name: str, x: Tensor) -> Tensor:
    """Layer norm over the width, eps 1e-5."""
    return layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)


def sublayer(
    weights: Arrays, name: str, x: Tensor, pre: bool, inner: Callable[[Tensor], Tensor]
) -> Tensor:
    """x + inner(LN(x)), or LN(x + inner(x))."""
    if pre:
        return x + inner(norm(weights, name, x))
    return norm(weights, name, x + inner(x))


def feed_forward(weights: Arrays, x: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
    """W_2 act(W_1 x + b_1) + b_2."""
    return linear(weights, "ff_2", act(linear(weights, "ff_1", x)))


def block(
    weights: Arrays,
    x: Tensor,
    pre: bool,
    attention: Attention = softmax_attention,
    act: Callable[[Tensor], Tensor] = torch.relu,
) -> Tensor:
    """Attention and feed-forward sublayers."""
    own = under(weights, "attended")
    x = sublayer(weights, "norm_1", x, pre, lambda y: attention(own, {"x": y}))
    return sublayer(weights, "norm_2", x, pre, lambda y: feed_forward(weights, y, act))


def decoder_block(weights: Arrays, x: Tensor, context: Tensor, pre: bool) -> Tensor:
    """Causal attention, cross-attention and feed-forward sublayers."""
    own, cross = under(weights, "own"), under(weights, "given")
    x = sublayer(weights, "norm_1", x, pre, lambda y: causal_attention(own, {"x": y}))
    x = sublayer(
        weights, "norm_2", x, pre, lambda y: softmax_attention(cross, {"x": y, "context": context})
    )
    return sublayer(weights, "norm_3", x, pre, lambda y: feed_forward(weights, y, torch.relu))


def encoder(weights: Arrays, x: Tensor, pre: bool, layers: int) -> Tensor:
    """Blocks; a last layer norm where they are pre-norm."""
    for layer in range(layers):
        x = block(under(weights, f"body.{layer}"), x, pre)
    return norm(weights, "last", x) if pre else x


def decoder(weights: Arrays, x: Tensor, context: Tensor, pre: bool, layers: int) -> Tensor:
    """Decoder blocks; a last layer norm where they are pre-norm."""
    for layer in range(layers):
        x = decoder_block(under(weights, f"body.{layer}"), x, context, pre)
    return norm(weights, "last", x) if pre else x


def encoder_decoder(weights: Arrays, inputs: Arrays, pre: bool, layers: int) -> Tensor:
    """logits = E decoder(e(tokens), encoder(e(source))), e(t) = sqrt(D) E[t] + P."""
    table = weights["embed"]
    width = table.shape[1]

    def embedded(ids: Tensor) -> Tensor:
        return width**0.5 * table[ids] + sinusoids(ids.shape[1], width, table.dtype)

    memory = encoder(under(weights, "memory"), embedded(inputs["source"]), pre, layers)
    x = embedded(inputs["tokens"])
    return decoder(under(weights, "decoded"), x, memory, pre, layers) @ table.T


def language_model(
    weights: Arrays,
    inputs: Arrays,
    layers: int,
    first: Attention = causal_attention,
    positions: str = "learned",
    pre: bool = True,
) -> Tensor:
    """logits = E LN(x_L), x_0 = E[tokens] + P; causal blocks with GELU."""
    tokens, table = inputs["tokens"], weights["embed"]
    length, width = tokens.shape[1], table.shape[1]
    x = table[tokens]
    if positions == "learned":
        x = x + weights["place"][:length]
    elif positions == "sinusoids":
        x = x + sinusoids(length, width, table.dtype)
    for layer in range(layers):
        attention = first if layer == 0 else causal_attention
        x = block(under(weights, f"body.{layer}"), x, pre, attention, gelu)
    return (norm(weights, "last", x) if pre else x) @ table.T


def some_tokens(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Token ids below 11."""
    return {"tokens": torch.randint(11, (batch, length), generator=generator)}


def two_texts(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Token ids of target and source below 11."""
    source = torch.randint(11, (batch, context or length), generator=generator)
    return {**some_tokens(generator, batch, length, context), "source": source}


DIMS: dict[str, object] = {"d_model": 16, "heads": HEADS, "d_ff": 24}
MODEL: dict[str, object] = DIMS | {"layers": 2}
SELF = ((2, 5, None), (1, 9, None))
CROSS = ((2, 5, 8), (1, 9, 6))

CASES = (
    Case("block", DIMS, lambda w, a: block(w, a["x"], True), SELF),
    Case(
        "block", DIMS | {"norm": "post"}, lambda w, a: block(w, a["x"], False), SELF, label="post"
    ),
    Case(
        "block",
        DIMS | {"attention": "causal_additive", "activation": "gelu"},
        lambda w, a: block(w, a["x"], True, causal_additive, gelu),
        SELF,
        label="additive",
    ),
    Case("decoder_block", DIMS, lambda w, a: decoder_block(w, a["x"], a["context"], True), CROSS),
    Case(
        "decoder_block",
        DIMS | {"norm": "post"},
        lambda w, a: decoder_block(w, a["x"], a["context"], False),
        CROSS,
        label="post",
    ),
    Case("encoder", MODEL, lambda w, a: encoder(w, a["x"], True, 2), SELF),
    Case("decoder", MODEL, lambda w, a: decoder(w, a["x"], a["context"], True, 2), CROSS),
    Case(
        "encoder_decoder",
        MODEL | {"vocab": 11},
        lambda w, a: encoder_decoder(w, a, False, 2),
        CROSS,
        inputs=two_texts,
        streams=False,
    ),
    Case(
        "language_model",
        MODEL | {"vocab": 11, "max_length": 12},
        lambda w, a: language_model(w, a, 2),
        SELF,
        inputs=some_tokens,
        streams=False,
    ),
    Case(
        "language_model",
        MODEL | {"vocab": 11, "layers": 3, "first": "causal_additive", "positions": "sinusoids"},
        lambda w, a: language_model(w, a, 3, causal_additive, "sinusoids"),
        SELF,
        inputs=some_tokens,
        streams=False,
        label="additive_first",
    ),
)
