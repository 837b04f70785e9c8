"""How many queries and keys the specs inside a spec are called with, and what pays for so many."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ..dsl.core import Attend, AttendSource, Node, Use, walk
from ..dsl.typed import TypedSpec
from .kernels.errors import InstructionsMissing
from .kernels.isa import chosen
from .kernels.settings import settings

#: pairs of queries and keys from which on attends without a fused function go in tiles
LONG = 1 << 20
#: numbers of all pairs, heads and examples from which on a kernel is generated for an attend
MANY = 1 << 16
#: the same where they are products of queries and keys, which are fast in operations of torch, too: the
#: least numbers, queries and keys; with gradients, without, and of a core, which may be called straight
LEARNED, PRODUCTS, STRAIGHT = (1 << 15, 24, 48), (3 << 12, 1, 24), (1 << 11, 1, 1)
#: how many times as many numbers these take without vectors of 512 bits, which torch may have all the same
NARROW = 8


@dataclass(frozen=True)
class Work:
    """What a spec does for each pair of a query and a key.

    heads      how many there are
    features   the most numbers of a pair and head that the plain form makes on the way to a score
    crossed    whether all keys are tokens of the context
    core       whether it is the core of a spec
    narrow     whether kernels have no vectors of 512 bits
    """

    heads: int
    features: int
    crossed: bool
    core: bool = False
    narrow: bool = False

    def is_long(self, queries: int, keys: int) -> bool:
        """Whether there are so many pairs that tiles pay; keys: the context's, or the queries'."""
        return queries * self._most(queries, keys) >= LONG

    def is_fused(self, examples: int, queries: int, keys: int, gradients: bool = False) -> bool:
        """Whether there are so many numbers that a kernel is worth its making."""
        most = self._most(queries, keys)
        many, rows, columns = self._least(gradients)
        numbers = examples * self.heads * self.features * queries * most
        # one branch, which torch.compile takes by a guard where sizes are symbols
        return bool(min(min(queries - rows, most - columns), numbers - many) >= 0)

    def _least(self, gradients: bool) -> tuple[int, int, int]:
        """The least numbers, queries and keys."""
        if self.features > 1:
            return MANY, 0, 0
        numbers, queries, keys = LEARNED if gradients else STRAIGHT if self.core else PRODUCTS
        return numbers * (NARROW if self.narrow else 1), queries, keys

    def _most(self, queries: int, keys: int) -> int:
        """The most keys that an attend may have."""
        return keys if self.crossed else max(queries, keys)


def work_of(spec: TypedSpec, core: bool = False) -> Work:
    """That of all attends of a spec, those of specs inside left out, or of its core."""
    attends = [node for node in walk(*_roots(spec)) if isinstance(node, Attend)]
    sources = [(source, node) for node in attends for source in node.sources]
    heads = (
        math.prod(
            axis.size.value
            for axis in node.type.axes
            if axis.role in ("head", "group") and axis.size is not None
        )
        for node in attends
    )
    axes = {axis.base or axis.name for source, _ in sources for axis in source.axes}
    return Work(
        max(heads, default=1),
        max((_features(source, node) for source, node in sources), default=1),
        axes == {"context"},
        core,
        _is_narrow(),
    )


def _is_narrow() -> bool:
    """Whether kernels are built for less than AVX-512; what cannot be built for is told by a build."""
    try:
        return not chosen(settings().isa).name.startswith("avx512")
    except InstructionsMissing:
        return False


def _features(source: AttendSource, attend: Attend) -> int:
    """The most features that anything has which is made of each pair on the way to its score."""
    keys = frozenset(source.axes)
    of_pairs = (
        node
        for node in walk(source.score)
        if attend.query in node.type.axes and keys & node.type.axes
    )
    return max((math.prod(dim.value for dim in node.type.dims) for node in of_pairs), default=1)


def _roots(spec: TypedSpec) -> Iterator[Node]:
    yield from spec.outputs.values()
    yield from spec.updates.values()
    for loss in spec.losses.values():
        yield loss.value


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
        return work_of(self.spec).is_long(self.queries, self.keys)

    @property
    def is_fused(self) -> bool:
        """Whether a kernel is worth its making, for one example."""
        return work_of(self.spec).is_fused(1, self.queries, self.keys)


def called(spec: TypedSpec, queries: int, keys: int) -> Iterator[Called]:
    """A spec (under no name) and every spec inside, in a call of so many tokens.

    Derived token sets count as many as the queries, which they do not exceed.
    """
    yield Called("", spec, queries, keys)
    sizes = {"x": queries, "context": keys}
    uses = {node.name: node for node in walk(*_roots(spec)) if isinstance(node, Use)}
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
