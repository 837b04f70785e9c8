"""Labels in a mask: numbers of queries and of keys that must be equal for a pair to be visible.

`i % 8 == j % 8 and j <= i` has the label `i % 8` of queries and `j % 8` of keys. With the tokens sorted by their labels the mask is made of whole blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..dsl.core import Arg, Axis, Choose, Const, Kind, Map, Node, Sort, Top, walk


@dataclass(frozen=True)
class Labels:
    """Sort keys of the queries and of the keys, the most significant first; empty: as they stand.

    A label counts only where the tokens do not have it in order already: where it is a remainder,
    or chosen by what the tokens hold. It may vary over examples and heads.
    """

    queries: tuple[Node, ...] = ()
    keys: tuple[Node, ...] = ()

    @property
    def key(self) -> object:
        """Equal for masks that want the same order."""
        return (self.queries, self.keys)


def labels_of(mask: Node | None, query: Axis, key: Axis) -> Labels:
    """The order of queries and keys in which a mask is made of whole blocks."""
    queries: list[Node] = []
    keys: list[Node] = []
    for condition in conditions(mask):
        sides = _equal_sides(condition, query, key)
        if sides is not None:
            queries.append(sides[0])
            keys.append(sides[1])
        elif query not in condition.type.axes:
            keys += _of_tokens(condition, key)
        elif key not in condition.type.axes:
            queries += _of_tokens(condition, query)
    if not any(_is_scattered(label) for label in (*queries, *keys)):
        return Labels()
    scattered = any(_is_scattered(label) for label in queries)
    return Labels(tuple(queries) if scattered else (), tuple(keys))


def conditions(mask: Node | None) -> list[Node]:
    """What must hold of a visible pair, one by one."""
    if mask is None or (isinstance(mask, Const) and mask.value is True):
        return []
    if isinstance(mask, Map) and mask.op == "and":
        return [item for arg in mask.args for item in conditions(arg)]
    return [mask]


def _equal_sides(node: Node, query: Axis, key: Axis) -> tuple[Node, Node] | None:
    """The label of the query and of the key where a condition says that they are equal."""
    if not isinstance(node, Map) or node.op != "==":
        return None
    for left, right in (node.args, node.args[::-1]):
        of_query = query in left.type.axes and key not in left.type.axes
        if of_query and right.type.axes == {key} and left.type.kind is Kind.INT:
            varies = left.type.axes - {query}
            if all(axis.role in ("batch", "head", "group") for axis in varies):
                return left, right
    return None


def _of_tokens(condition: Node, axis: Axis) -> list[Node]:
    """What a condition on single tokens says of them; the remainders in it where it varies by head."""
    if condition.type.axes == {axis}:
        return [condition]
    return [
        item
        for item in walk(condition)
        if isinstance(item, Map) and item.op == "%" and item.type.axes == {axis}
    ]


def _is_scattered(node: Node) -> bool:
    """Whether tokens of one label may lie apart."""
    while isinstance(node, Arg):
        node = node.value
    chosen = (Top, Choose, Sort)
    return any(
        (isinstance(item, Map) and item.op == "%") or isinstance(item, chosen)
        for item in walk(node)
    )
