"""Arrays that pairs read both at places of their own and as they are, as two arrays.

Before: `a0[i - j] * dot(a0, a1)`
After:  `a2[i - j] * dot(a0, a1)` with `a2 = a0`

For generated kernels only: these hold an array as a table or as vectors.
"""

from __future__ import annotations

from dataclasses import replace

from ...dsl.core import (
    Arg,
    Attend,
    Map,
    Node,
    Read,
    ReadDim,
    down_to,
    is_given,
    map_operands,
    operands,
)


def tables_apart(node: Attend) -> Attend:
    """An attend each of whose arrays is read in one way."""
    fields = (field for source in node.sources for field in (source.mask, source.score))
    roots = node.normalize, *(field for field in fields if field is not None)
    inside = list(down_to(is_given, *roots))
    tables = {item.arg for item in inside if isinstance(item, Read | ReadDim)}
    both = {
        arg
        for item in inside
        for arg in operands(item)
        if isinstance(arg, Arg) and arg in tables and not _is_table(item, arg)
    }
    if not both:
        return node
    done: dict[Node, Node] = {}

    def made(item: Node) -> Node:
        if isinstance(item, Arg):
            return item
        if item not in done:
            found = map_operands(item, made)
            if isinstance(found, Read | ReadDim) and found.arg in both:
                found = replace(found, arg=_again(found.arg))
            done[item] = found
        return done[item]

    sources = tuple(
        replace(
            source,
            mask=None if source.mask is None else made(source.mask),
            score=made(source.score),
        )
        for source in node.sources
    )
    return replace(node, sources=sources, normalize=made(node.normalize))


def _is_table(node: Node, arg: Node) -> bool:
    """Whether an array is read by a node at a place alone."""
    return isinstance(node, Read | ReadDim) and node.arg is arg and node.index is not arg


def _again(arg: Node) -> Node:
    """The same array, by another node."""
    assert isinstance(arg, Arg)
    return Arg(arg.type, Map(arg.value.type, "as_ref", (arg.value,)))
