"""How many queries and keys the specs inside a spec are called with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..dsl.core import Node, TypedSpec, Use, walk


def tokens_inside(spec: TypedSpec, queries: int, keys: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Path, queries and keys of a spec (under no name) and of every spec inside.

    Derived token sets count as many as the queries, which they do not exceed.
    """
    yield "", (queries, keys)
    sizes = {"x": queries, "context": keys}
    for node in walk(*spec.outputs.values()):
        if isinstance(node, Use):
            given = dict(zip(node.keys, node.args, strict=True))
            x = _count(given.get("x"), sizes, queries)
            context = _count(given.get("context"), sizes, x)
            for path, counts in tokens_inside(spec.uses[node.name], x, context):
                yield f"{node.name}.{path}" if path else node.name, counts


def _count(node: Node | None, sizes: Mapping[str, int], default: int) -> int:
    tokens = () if node is None else node.type.tokens
    if not tokens:
        return default
    if tokens[0].size is not None:
        return tokens[0].size.value
    return sizes.get(tokens[0].base or tokens[0].name, sizes["x"])
