"""Numbers of pairs as C++ statements."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...dsl.core import Node, Read, ReadDim
from .expressions import Statements
from .leaves import Held


class Pairs(Statements):
    """Numbers of pairs, tables read at places of their own among them.

    index   the tile at hand in the arrays of keys
    """

    def __init__(
        self,
        leaf: Callable[[Node], str | None],
        by_node: Mapping[Node, Held],
        index: str,
        prefix: str = "v",
    ) -> None:
        super().__init__(leaf, prefix)
        self.by_node, self.index = by_node, index

    def _written(self, node: Node) -> str:
        if not isinstance(node, Read | ReadDim):
            return super()._written(node)
        item = self.by_node[node.arg]
        place = self.value(node.index)
        found = f"{item.gathered(self.index)}, {place}, {item.width})"
        if isinstance(node, ReadDim):
            return found
        return f"choose(narrow({place} < 0) | narrow({place} >= {item.width}), all(0.0f), {found})"
