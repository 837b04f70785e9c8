"""References of patterns with global tokens: streams, hubs and global blocks."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from .attention import multi_head
from .case import Arrays, Case, normal
from .pieces import (
    dot_scores,
    linear,
    masked_softmax,
    merge_heads,
    positions,
    project,
)


def etc(weights: Arrays, inputs: Arrays, heads: int, radius: int, clip: int) -> dict[str, Tensor]:
    """Long rows: softmax over [window of x; all of glob]; global rows: over [all glob; all x].

    S = q . (k + a_r) / sqrt(d), r the clipped distance inside a stream, across streams 2 clip + 1
    and one more where part_of links the two.
    """
    x, glob = inputs["x"], inputs["glob"]
    n, g = x.shape[1], glob.shape[1]
    part_of = inputs.get("part_of", torch.full(x.shape[:2], -1))
    linked = part_of[:, :, None] == torch.arange(g)
    across = (2 * clip + 1 + linked.long())[:, None]

    def scores(q: Tensor, k: Tensor, labels: Tensor) -> Tensor:
        per_label = torch.einsum("bhid,hrd->bhir", q, weights["label"])
        picked = per_label.gather(-1, labels.expand(*q.shape[:3], k.shape[2]))
        return (q @ k.mT + picked) / q.shape[-1] ** 0.5

    def inside(size: int) -> Tensor:
        i, j = positions(size, size)
        return (j - i).clamp(-clip, clip) + clip

    p = {name: project(weights, name, x, heads) for name in ("q_l", "k_ll", "k_gl", "v_ll", "v_gl")}
    p |= {
        name: project(weights, name, glob, heads)
        for name in ("q_g", "k_lg", "k_gg", "v_lg", "v_gg")
    }
    i, j = positions(n, n)
    long = scores(p["q_l"], p["k_ll"], inside(n)).masked_fill((i - j).abs() > radius, -torch.inf)
    rows = torch.cat([long, scores(p["q_l"], p["k_lg"], across)], -1).softmax(-1)
    y_l = rows @ torch.cat([p["v_ll"], p["v_lg"]], 2)
    wide = [
        scores(p["q_g"], p["k_gg"], inside(g)),
        scores(p["q_g"], p["k_gl"], across.mT),
    ]
    y_g = torch.cat(wide, -1).softmax(-1) @ torch.cat([p["v_gg"], p["v_gl"]], 2)
    return {
        "x": linear(weights, "out_l", merge_heads(y_l)),
        "glob": linear(weights, "out_g", merge_heads(y_g)),
    }


def bigbird(weights: Arrays, inputs: Arrays, heads: int, block: int, picks: int) -> Tensor:
    """Blocks I, J: |I - J| <= 1, J or I the first or the last, or J drawn for I among the rest."""
    x = inputs["x"]
    length = x.shape[1]
    draw = inputs["draw"]
    last = (length - 1) // block
    sees = torch.zeros(heads, last + 1, last + 1, dtype=torch.bool)
    for h in range(heads):
        for row in range(last + 1):
            fixed = {0, last, row - 1, row, row + 1} & set(range(last + 1))
            free = [col for col in range(last + 1) if col not in fixed]
            drawn = sorted(free, key=lambda col: -draw[h, row, col])[:picks]
            sees[h, row, [*fixed, *drawn]] = True
            if row in (0, last):
                sees[h, row] = True
    place = torch.arange(length) // block
    return multi_head(weights, inputs, heads, mask=sees[:, place][:, :, place])


def bigbird_etc(
    weights: Arrays, inputs: Arrays, heads: int, block: int, picks: int
) -> dict[str, Tensor]:
    """Rows of x: |I - J| <= 1, drawn blocks, all of glob; rows of glob: everything."""
    x = inputs["x"]
    batch, length, _ = x.shape
    glob = inputs.get("glob", weights["first"].expand(batch, -1, -1))
    blocks = -(-length // block)
    sees = torch.zeros(heads, blocks, blocks, dtype=torch.bool)
    for h in range(heads):
        for row in range(blocks):
            near = [col for col in range(blocks) if abs(row - col) <= 1]
            free = [col for col in range(blocks) if abs(row - col) > 1]
            draw = inputs["draw"][h, row]
            sees[h, row, near + sorted(free, key=lambda col: -draw[col])[:picks]] = True
    place = torch.arange(length) // block
    local = sees[:, place][:, :, place]
    both = torch.cat([x, glob], 1)
    q, k, v = (project(weights, name, both, heads) for name in "qkv")
    extra = glob.shape[1]
    rows = torch.cat([local, torch.ones(heads, length, extra, dtype=torch.bool)], 2)
    mask = torch.cat([rows, torch.ones(heads, extra, length + extra, dtype=torch.bool)], 1)
    made = linear(weights, "out", merge_heads(masked_softmax(dot_scores(q, k), mask) @ v))
    return {"x": made[:, :length], "glob": made[:, length:]}


def star_transformer(
    weights: Arrays, inputs: Arrays, heads: int, ring: str, form: str
) -> dict[str, Tensor]:
    """h_i <- LN(relu(MHA(h_i; h_(i-1), h_i, h_(i+1), e_i, s))); s <- LN(relu(MHA(s; s, h))).

    code: h_i <- leaky_relu(MHA(LN(h_i); ..)), the relay without a norm. padded: zero keys outside.
    """
    x = inputs["x"]
    length, width = x.shape[1:]
    relay = inputs.get("relay", x.mean(1, keepdim=True))
    embedded = inputs.get("embedded", x)

    def norm(u: Tensor, name: str) -> Tensor:
        return torch.nn.functional.layer_norm(
            u, (width,), weights[f"{name}.weight"], weights[f"{name}.bias"]
        )

    def act(u: Tensor) -> Tensor:
        return u.relu() if form == "paper" else torch.nn.functional.leaky_relu(u, 0.01)

    h = x if form == "paper" else norm(x, "norm")
    q = project(weights, "ring_q", h, heads)
    k, v = project(weights, "ring_k", h, heads), project(weights, "ring_v", h, heads)
    k_e, v_e = (project(weights, f"ring_{n}", embedded, heads) for n in "kv")
    k_s, v_s = (project(weights, f"ring_{n}", relay, heads) for n in "kv")
    rows = []
    for i in range(length):

        def around(values: Tensor, own: Tensor, hub: Tensor, i: int = i) -> Tensor:
            places = [(i + o) % length if ring == "cyclic" else i + o for o in (-1, 0, 1)]
            inside = [values[:, :, p] if 0 <= p < length else 0 * own[:, :, 0] for p in places]
            return torch.stack([*inside, own[:, :, i], hub[:, :, 0]], 2)

        scores = dot_scores(q[:, :, i : i + 1], around(k, k_e, k_s))
        rows.append(scores.softmax(-1) @ around(v, v_e, v_s))
    h = act(linear(weights, "ring_out", merge_heads(torch.cat(rows, 2))))
    h = norm(h, "norm") if form == "paper" else h
    memory = torch.cat([relay, h], 1)
    q, k, v = (
        project(weights, f"star_{name}", u, heads)
        for name, u in (("q", relay), ("k", memory), ("v", memory))
    )
    relay = act(linear(weights, "star_out", merge_heads(dot_scores(q, k).softmax(-1) @ v)))
    return {"x": h, "relay": norm(relay, "relay_norm") if form == "paper" else relay}


def block_draws(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Uniform numbers for blocks of 2 tokens, two heads."""
    blocks = -(-length // 2)
    return {"draw": torch.rand(2, blocks, blocks, generator=generator, dtype=torch.float64)}


def relay_stream(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Relay and embeddings of the layer before."""
    return {
        "relay": normal(generator, batch, 1, 8),
        "embedded": normal(generator, batch, length, 8),
    }


def global_stream(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Three global tokens, width 8, without links."""
    return {"glob": normal(generator, batch, 3, 8)}


def linked_stream(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Three global tokens, each the summary of some of the long ones."""
    part_of = torch.randint(-1, 3, (batch, length), generator=generator)
    return {"glob": normal(generator, batch, 3, 8), "part_of": part_of}


SMALL: dict[str, object] = {"d_model": 8, "heads": 2}
ODD = ((2, 8, None), (1, 5, None), (2, 11, None))

CASES = (
    Case(
        "etc",
        SMALL | {"radius": 2, "clip_at": 3},
        lambda w, a: etc(w, a, 2, 2, 3),
        ODD,
        inputs=global_stream,
    ),
    Case(
        "etc",
        SMALL | {"radius": 3, "clip_at": 2},
        lambda w, a: etc(w, a, 2, 3, 2),
        inputs=linked_stream,
        label="linked",
    ),
    Case(
        "bigbird",
        SMALL | {"block": 2, "picks": 2},
        lambda w, a: bigbird(w, a, 2, 2, 2),
        ((2, 13, None), (1, 16, None), (1, 3, None)),
        inject=block_draws,
    ),
    Case(
        "bigbird_etc",
        SMALL | {"block": 2, "picks": 1, "extra": 3},
        lambda w, a: bigbird_etc(w, a, 2, 2, 1),
        ((2, 8, None), (1, 13, None), (1, 1, None)),
        inject=block_draws,
    ),
    Case(
        "star_transformer",
        SMALL,
        lambda w, a: star_transformer(w, a, 2, "cyclic", "paper"),
        ((2, 6, None), (1, 9, None), (1, 1, None)),
    ),
    Case(
        "star_transformer",
        SMALL,
        lambda w, a: star_transformer(w, a, 2, "cyclic", "paper"),
        ((2, 6, None),),
        inputs=relay_stream,
        label="second_layer",
    ),
    Case(
        "star_transformer",
        SMALL | {"ring": "padded", "form": "code"},
        lambda w, a: star_transformer(w, a, 2, "padded", "code"),
        ((2, 6, None), (1, 5, None)),
        label="code",
    ),
)
