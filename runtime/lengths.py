"""How many queries and keys the specs inside a spec are called with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ..dsl.core import Node, TypedSpec, Use, walk

#: pairs of queries and keys from which on attends without a fused function go in tiles
LONG = 1 << 20
#: pairs from which on a kernel is generated for an attend
MANY = 1 << 16


@dataclass(frozen=True)
class Called:
    """A spec, under its path, and the numbers of queries and keys that it is called with."""

    path: str
    spec: TypedSpec
    queries: int
    keys: int

    @property
    def is_long(self) -> bool:
        """Whether there are so many pairs that tiles pay."""
        return self.pairs >= LONG

    @property
    def is_fused(self) -> bool:
        """Whether there are so many pairs that a kernel is worth its making."""
        return self.pairs >= MANY

    @property
    def pairs(self) -> int:
        return self.queries * max(self.queries, self.keys)


def called(spec: TypedSpec, queries: int, keys: int) -> Iterator[Called]:
    """A spec (under no name) and every spec inside, in a call of so many tokens.

    Derived token sets count as many as the queries, which they do not exceed.
    """
    yield Called("", spec, queries, keys)
    sizes = {"x": queries, "context": keys}
    losses = (loss.value for loss in spec.losses.values())
    nodes = walk(*spec.outputs.values(), *spec.updates.values(), *losses)
    uses = {node.name: node for node in nodes if isinstance(node, Use)}
    for name, node in uses.items():
        given = dict(zip(node.keys, node.args, strict=True))
        x = _count(given.get("x"), sizes, queries)
        context = _count(given.get("context"), sizes, x)
        for inner in called(spec.uses[name], x, context):
            yield replace(inner, path=f"{name}.{inner.path}".rstrip("."))


def _count(node: Node | None, sizes: Mapping[str, int], default: int) -> int:
    tokens = () if node is None else node.type.tokens
    if not tokens:
        return default
    if tokens[0].size is not None:
        return tokens[0].size.value
    return sizes.get(tokens[0].base or tokens[0].name, sizes["x"])
