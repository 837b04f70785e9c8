"""The functions of the language: how each is called, how many arguments it takes, what it does."""

from __future__ import annotations

from collections.abc import Callable

from ..operators import POINTWISE, SYMBOLS
from . import contractions, learned, order, pointwise, reductions, reshaping, stencils, tokens
from .arguments import Arguments, Function
from .values import Value


def _pair(least: int, usage: str, apply: Callable[[Arguments], Value], meaning: str) -> Function:
    return Function(usage, least, least, (), apply, meaning)


_REDUCTIONS = {
    "sum": "sum",
    "mean": "mean",
    "max": "largest",
    "min": "smallest",
    "any": "whether any holds",
    "all": "whether all hold",
    "logsumexp": "log of the sum of exponentials",
    "count": "how many hold",
}


def _table() -> dict[str, Function]:
    table: dict[str, Function] = {}
    for name, row in POINTWISE.items():
        if name not in SYMBOLS:
            usage = f"{name}({', '.join('abc'[: row.least])})"
            keywords = tuple(key for key, _ in row.keywords)
            table[name] = Function(
                usage, row.least, row.most, keywords, pointwise.function_of(name), row.meaning
            )
    table["where"] = Function(
        "where(c, a, b)", 3, 3, (), pointwise.where, "a where c holds, else b"
    )
    for name, meaning in _REDUCTIONS.items():
        most = None if name in ("max", "min") else 1
        table[name] = Function(
            f"{name}(e, over=axis, where=p)",
            1,
            most,
            ("over", "where"),
            reductions.reduction(name),
            f"{meaning}, over axes or dims" + ("; or pointwise" if most is None else ""),
        )
    table.update(_ARRAYS)
    return table


_ARRAYS: dict[str, Function] = {
    "dot": _pair(
        2,
        "dot(a, b)",
        contractions.dot_of,
        "contracts all feature dims, which must be equal",
    ),
    "outer": _pair(
        2, "outer(a, b)", contractions.outer, "products of the dims of a with the dims of b"
    ),
    "linear": Function(
        "linear(e, to=[h, d], bias=true, init=.., as=name)",
        1,
        1,
        ("to", "bias", "init", "as"),
        learned.linear,
        "learned linear map of all feature dims",
    ),
    "layer_norm": Function(
        "layer_norm(e, affine=true, eps=1e-5)",
        1,
        1,
        ("affine", "eps", "as"),
        learned.norm("layer", 1e-5),
        "(e - mean) / sqrt(variance + eps) over feature dims",
    ),
    "rms_norm": Function(
        "rms_norm(e, affine=true, eps=1e-6)",
        1,
        1,
        ("affine", "eps", "as"),
        learned.norm("rms", 1e-6),
        "e / sqrt(mean square + eps) over feature dims",
    ),
    "cumsum": Function(
        "cumsum(e, over=axis, reverse=false, exclusive=false)",
        1,
        1,
        ("over", "reverse", "exclusive"),
        reductions.cumsum,
        "running sum along an axis",
        ("over",),
    ),
    "sparsemax": Function(
        "sparsemax(s, over=j)",
        1,
        1,
        ("over",),
        reductions.simplex(2.0),
        "projection on the simplex",
        ("over",),
    ),
    "entmax": Function(
        "entmax(s, over=j, alpha=1.5)",
        1,
        1,
        ("over", "alpha"),
        reductions.simplex(1.5),
        "Tsallis alpha-entropy regularised projection on the simplex",
        ("over",),
    ),
    "stencil": Function(
        "stencil(e, kernel, over=[axes], from=[offsets])",
        2,
        2,
        ("over", "from"),
        stencils.stencil_of,
        "convolution over axes; one more kernel dim mixes heads",
        ("over", "from"),
    ),
    "convolve": Function(
        "convolve(e, kernel, left=l, right=r)",
        2,
        2,
        ("left", "right", "over"),
        stencils.convolve,
        "depthwise convolution over tokens",
    ),
    "top": Function(
        "top(e, n, over=axis, where=p)",
        2,
        2,
        ("over", "where"),
        order.top,
        "refs to the n largest, largest first",
        ("over",),
    ),
    "argmax": Function(
        "argmax(e, over=axis)",
        1,
        1,
        ("over", "where"),
        order.choose("argmax"),
        "ref to the largest",
    ),
    "argmin": Function(
        "argmin(e, over=axis)",
        1,
        1,
        ("over", "where"),
        order.choose("argmin"),
        "ref to the smallest",
    ),
    "rank": _pair(1, "rank(sorted)", order.rank, "the place that each token took in a sort"),
    "segment_sum": Function(
        "segment_sum(e, label, over=axes)",
        2,
        2,
        ("over",),
        reductions.segment("sum"),
        "sum by label",
    ),
    "segment_mean": Function(
        "segment_mean(e, label, over=axes)",
        2,
        2,
        ("over",),
        reductions.segment("mean"),
        "mean by label",
    ),
    "segment_count": Function(
        "segment_count(label, over=axes)",
        1,
        1,
        ("over",),
        reductions.segment("count"),
        "how many per label",
    ),
    "concat": Function(
        "concat(a, b, ..) or concat(e, over=axis)",
        1,
        None,
        ("over",),
        reshaping.concat,
        "joins first feature dims, or an index axis into the dims",
    ),
    "matrix": Function(
        "matrix(e, axis, ..)",
        2,
        None,
        (),
        reshaping.matrix,
        "index axes become the first feature dims",
    ),
    "unmatrix": Function(
        "unmatrix(e, axis, ..)",
        2,
        None,
        (),
        reshaping.unmatrix,
        "first feature dims become index axes",
    ),
    "transpose": _pair(
        1, "transpose(e)", reshaping.transpose, "exchanges the last two feature dims"
    ),
    "roll": _pair(2, "roll(e, n)", reshaping.roll, "turns the first feature dim by n places"),
    "range": _pair(1, "range(n)", reshaping.range_of, "0 .. n-1 along a feature dim"),
    "eye": _pair(1, "eye(n)", reshaping.eye, "identity matrix"),
    "zeros": Function("zeros(axes, dims)", 0, None, (), reshaping.filled(0.0), "array of zeros"),
    "ones": Function("ones(axes, dims)", 0, None, (), reshaping.filled(1.0), "array of ones"),
    "dropout": _pair(
        2, "dropout(e, rate)", pointwise.dropout, "elements zeroed at random in training"
    ),
    "slot": _pair(1, "slot(i)", tokens.field_of("slot"), "place of a token in its set"),
    "pos": _pair(1, "pos(i)", tokens.field_of("pos"), "ref to the source token"),
    "time": _pair(1, "time(i)", tokens.field_of("time"), "latest source token that a token needs"),
    "start": _pair(1, "start(i)", tokens.field_of("start"), "earliest source token"),
    "token": _pair(2, "token(set, place)", tokens.token, "ref to the token at a place"),
    "node": _pair(3, "node(tree, level, place)", tokens.tree_node, "ref to a tree node"),
    "length": _pair(1, "length(set)", tokens.length, "how many tokens are there"),
    "split": _pair(
        3, "split(e, windows, axis)", tokens.split, "members of each window along an axis"
    ),
    "scatter": Function(
        "scatter(e, onto=set, by=set, at=refs, eps=0)",
        1,
        1,
        ("onto", "by", "at", "eps"),
        tokens.scatter,
        "sends values over chosen tokens back to where they came from",
        ("onto",),
    ),
    "windows": Function(
        "windows(set, size=n, stride=m)",
        1,
        1,
        ("size", "stride"),
        tokens.windows,
        "a token per window",
        ("size", "stride"),
    ),
    "blocks": Function(
        "blocks(set, size=n)", 1, 1, ("size",), tokens.blocks, "a token per block", ("size",)
    ),
    "segments": Function(
        "segments(set, count=n)", 1, 1, ("count",), tokens.segments, "n blocks", ("count",)
    ),
    "take": _pair(2, "take(set, refs)", tokens.take, "chosen tokens"),
    "sort": Function("sort(set, by=[keys])", 1, 1, ("by",), tokens.sort, "sorted", ("by",)),
    "cross": _pair(2, "cross(a, b)", tokens.cross, "pairs of tokens"),
    "slots": _pair(1, "slots(n)", tokens.slots, "n places without position"),
    "hierarchy": Function(
        "hierarchy(set, fanout=2, levels=n)",
        1,
        1,
        ("fanout", "levels"),
        tokens.hierarchy,
        "a tree over the tokens",
        ("fanout", "levels"),
    ),
}

FUNCTIONS: dict[str, Function] = _table()
