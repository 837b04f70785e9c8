"""Numbers of pairs as C++ statements."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...dsl.core import Node, Read, ReadDim
from .expressions import Statements
from .leaves import Held


class Pairs(Statements):
    """Numbers of pairs, tables read at places of their own among them."""

    def __init__(
        self, leaf: Callable[[Node], str | None], by_node: Mapping[Node, Held], prefix: str = "v"
    ) -> None:
        super().__init__(leaf, prefix)
        self.by_node = by_node

    def _written(self, node: Node) -> str:
        if not isinstance(node, Read | ReadDim):
            return super()._written(node)
        item = self.by_node[node.arg]
        place = self.value(node.index)
        found = f"gather(x{item.place}, {place}, {item.width})"
        if isinstance(node, ReadDim):
            return found
        return f"choose(narrow({place} < 0) | narrow({place} >= {item.width}), all(0.0f), {found})"
