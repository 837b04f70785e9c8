"""Which attends are plain softmax attention, told from the typed spec without importing torch.

An estimate for `attnc list`, of what `compiler/lower/sdpa.py` decides; a test compares the two over the library.
"""

from __future__ import annotations

from ...dsl.core import (
    Attend,
    AttendSource,
    Axis,
    Const,
    Contract,
    Map,
    Node,
    Part,
    Recur,
    Reduce,
    Scores,
    TypedSpec,
    walk,
)


def own_attends(spec: TypedSpec) -> list[Attend]:
    """The attends that a spec has itself, beside those of the specs that it uses."""
    return [node for node in walk(*spec.outputs.values()) if isinstance(node, Attend)]


def fits_sdpa(node: Attend, spec: TypedSpec) -> bool:
    """Whether an attend is softmax(c * dot(q, k) + bias) over one masked source."""
    nodes = list(walk(*spec.outputs.values()))
    if any(isinstance(item, Part) and item.attend is node for item in nodes):
        return False
    looped = walk(*(n for r in nodes if isinstance(r, Recur) for n in (*r.nexts, *r.yields)))
    if node in looped or len(node.sources) != 1:
        return False
    source = node.sources[0]
    whole = source.at is None and source.axes == (node.joint,)
    return whole and _is_softmax(node.normalize) and _is_dot(node, source)


def _is_softmax(normalize: Node) -> bool:
    """safe_div(exp(s - max s), sum exp(s - max s)), over scores themselves."""
    if not (isinstance(normalize, Map) and normalize.op == "safe_div"):
        return False
    top, total = normalize.args
    if not (isinstance(total, Reduce) and total.op == "sum" and total.arg is top):
        return False
    shifted = top.args[0] if isinstance(top, Map) and top.op == "exp" else top
    return isinstance(shifted, Map) and shifted.op == "-" and isinstance(shifted.args[0], Scores)


def _is_dot(node: Attend, source: AttendSource) -> bool:
    dots = [pair for term in _terms(source.score) if (pair := _dot(term)) is not None]
    if len(dots) != 1:
        return False
    left, right = dots[0]
    query, key = (left, right) if node.query in left.type.axes else (right, left)
    return (
        _is_plain(query, node.query)
        and _is_plain(key, node.joint)
        and _is_plain(source.value, node.joint)
    )


def _is_plain(array: Node, tokens: Axis) -> bool:
    """One feature dim, and no axes but batch, head and its own tokens."""
    axes = array.type.axes
    others = [a for a in axes if a != tokens and a.role not in ("batch", "head", "group")]
    return len(array.type.dims) == 1 and tokens in axes and not others


def _terms(score: Node) -> list[Node]:
    if isinstance(score, Map) and score.op in ("+", "-"):
        return [*_terms(score.args[0]), *_terms(score.args[1])]
    return [score]


def _dot(node: Node) -> tuple[Node, Node] | None:
    """The operands of c * dot(q, k)."""
    if isinstance(node, Contract):
        whole = len(node.left.type.dims) == len(node.right.type.dims) == len(node.left_dims) == 1
        return (node.left, node.right) if whole else None
    if isinstance(node, Map) and node.op in ("*", "/"):
        left, right = node.args
        if isinstance(right, Const) or (isinstance(left, Const) and node.op == "*"):
            return _dot(left if isinstance(right, Const) else right)
    return None
