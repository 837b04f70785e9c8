"""Terms that are small networks of a pair: matrices that all pairs share, and functions between.

    s[i, j] = sum_d f(y[d]),  y = W x,  x[e] = g(a[i, e], b[j, e])

For each query and a tile of keys the vectors stand feature by feature in memory that stays in the
first cache. The backward makes them again, then goes from the sum to its last layer, and so on up:

    dx = W^T dy,  dW = sum over pairs of dy x^T
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from ...dsl.core import Contract, Kind, Node, Param, Type, operands
from ..matching.match import Match
from .derivatives import flow, of_term
from .expressions import Statements
from .leaves import Held, padded
from .levels import inside
from .operators import joined, start_of
from .text import if_wanted

#: the cotangent of what a stage makes
DY = Param(Type(Kind.REAL), "dy", "carry")


class Network:
    """One term with layers.

    entries  the names of entries of tables that the term reads
    leaf     the text of a leaf at one feature, for WIDTH pairs
    number   the line that adds to the cotangents of a leaf that is no vector
    """

    def __init__(
        self,
        term: Node,
        match: Match,
        by_node: Mapping[Node, Held],
        entries: Mapping[Node, str],
        leaf: Callable[[Node], str | None],
    ) -> None:
        self.read = set(inside(term, match))
        self.term, self.by_node, self.entries, self.leaf = term, by_node, entries, leaf
        named = ((node, f"layer_{n}") for n, node in enumerate(match.layers))
        self.layers = {node: name for node, name in named if node in self.read}

    def forward(self, name: str, width: int) -> str:
        """The term, for a group and a tile."""
        made = self._statements()
        value = made.summand(self.term)
        return _FORWARD.format(
            name=name,
            width=width,
            layers=self._layers(),
            code=made.code,
            start=start_of(self.term),
            total=joined(self.term, "total", value),
        )

    def _statements(self) -> Statements:
        return Statements(self._feature, "f")

    def _feature(self, node: Node) -> str | None:
        if node is DY:
            return "dy"
        if node in self.layers:
            return f"{self.layers[node]}[d][c]"
        return self.leaf(node)

    def _layers(self) -> str:
        """What each layer reads, and what it makes of it."""
        found = []
        for node, name in self.layers.items():
            made = self._statements()
            value = made.value(node.right)
            found.append(
                _LAYER.format(
                    name=name,
                    rows=_sizes(node)[0],
                    columns=_sizes(node)[1],
                    weight=f"x{self.by_node[node.left].place}",
                    code=made.code,
                    value=value,
                )
            )
        return "\n".join(found)

    def backward(
        self,
        name: str,
        width: int,
        number: Callable[[Held, str], str],
        entry: Callable[[Node, str], list[str]],
    ) -> str:
        """From the cotangents of the term to those of its leaves, and of the entries that it reads."""
        add = partial(self._added, number=number, entry=entry)
        rows = [
            item
            for node, item in self.by_node.items()
            if item.leaf.domain == "row" and item.is_vector and node in self.read
        ]
        before = [
            line
            for item in rows
            for line in if_wanted(item, [f"real total_{item.place}[{item.width}] = {{}};"])
        ]
        after = [
            line
            for item in rows
            for line in if_wanted(
                item, [_ROW.format(k=item.place, width=item.width, padded=padded(item.width))]
            )
        ]
        cleared = [
            f"real d_{layer}[{_sizes(node)[0]}][COLS] = {{}};"
            for node, layer in self.layers.items()
        ]
        seed = f"const real dy = load({name} + r * LD + n * LANES + c * WIDTH);"
        stages = [
            self._stage(
                of_term(self.term, DY, self._wanted(*operands(self.term))), width, seed, add
            )
        ]
        for node, layer in reversed(self.layers.items()):
            count, columns = _sizes(node)
            weight = self.by_node[node.left]
            sizes = f"{count}, {columns}"
            stages.append(f"real into_d_{layer}[{columns}][COLS];")
            stages.append(f"layer_back<{sizes}>(into_d_{layer}, x{weight.place}, d_{layer});")
            outer = f"layer_outer<{sizes}>(some_{weight.place}, d_{layer}, into_{layer});"
            stages += if_wanted(weight, [outer])
            found = flow({node.right: DY}, self._wanted(node.right))
            stages.append(
                self._stage(found, columns, f"const real dy = into_d_{layer}[d][c];", add)
            )
        return _BACKWARD.format(
            before="\n".join(before),
            layers=self._layers(),
            cleared="\n".join(cleared),
            stages="\n".join(stages),
            after="\n".join(after),
        )

    def _wanted(self, *roots: Node) -> dict[Node, None]:
        """The leaves, entries and layers that an expression of features reads."""
        found: dict[Node, None] = {}
        stack = [*roots]
        while stack:
            item = stack.pop()
            if item in self.layers or item in self.entries or item in self.by_node:
                found[item] = None
            else:
                stack.extend(operands(item))
        return found

    def _stage(
        self,
        found: Mapping[Node, Node],
        width: int,
        seed: str,
        add: Callable[[Node, str], list[str]],
    ) -> str:
        """The cotangents of what an expression of features reads, given those of what it makes."""
        made = self._statements()
        lines: list[str] = []
        for node, part in found.items():
            value = f"(dy == 0.0f ? all(0.0f) : {made.value(part)})"
            put = add(node, value)
            lines += [*made.lines, *put]
            made.lines.clear()
        return _STAGE.format(width=width, seed=seed, code="\n".join(lines))

    def _added(
        self,
        node: Node,
        part: str,
        number: Callable[[Held, str], str],
        entry: Callable[[Node, str], list[str]],
    ) -> list[str]:
        """Add to the cotangents of a layer, an entry or a leaf."""
        if node in self.entries:
            return entry(node, part)
        if node in self.layers:
            assert isinstance(node, Contract)
            return [f"d_{self.layers[node]}[d][c] += {part};"]
        item = self.by_node[node]
        return [] if item.kind is not Kind.REAL else if_wanted(item, [_put(item, part, number)])


def _put(item: Held, part: str, number: Callable[[Held, str], str]) -> str:
    """Add to the cotangents of a leaf at one feature."""
    k, width = item.place, item.width
    if not item.is_vector:
        return number(item, part)
    if item.leaf.domain == "key":
        at = f"keys_{k} + (n * {width} + d) * LANES + c * WIDTH"
        return f"store({at}, load({at}) + {part});"
    if item.leaf.domain == "apart":
        return item.added_apart(part)
    return f"{'total' if item.leaf.domain == 'row' else 'some'}_{k}[d] += {part};"


def _sizes(layer: Contract) -> tuple[int, int]:
    """How many numbers a layer makes, and of how many."""
    rows, columns = layer.left.type.dims
    return rows.value, columns.value


_FORWARD = """for (long r = 0; r < count; ++r) {{
  {layers}
  for (long c = 0; c < COLS; ++c) {{
    real total = {start};
    for (long d = 0; d < {width}; ++d) {{
      {code}
      total = {total};
    }}
    store({name} + r * LD + n * LANES + c * WIDTH, total);
  }}
}}"""
_LAYER = """real into_{name}[{columns}][COLS], {name}[{rows}][COLS];
for (long d = 0; d < {columns}; ++d)
  for (long c = 0; c < COLS; ++c) {{
    {code}
    into_{name}[d][c] = {value};
  }}
layer<{rows}, {columns}>({name}, {weight}, into_{name});"""
_BACKWARD = """for (long r = 0; r < count; ++r) {{
  {before}
  {layers}
  {cleared}
  {stages}
  {after}
}}"""
_STAGE = """for (long d = 0; d < {width}; ++d)
  for (long c = 0; c < COLS; ++c) {{
    {seed}
    {code}
  }}"""
_ROW = """for (long d = 0; d < {width}; ++d) grad_{k}[(first + r) * {padded} + d] += sum_of(total_{k}[d]);"""
