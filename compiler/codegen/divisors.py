"""Weights that are divided: the sums over a row with its values, and their cotangents before its pairs.

o[i] = a[i] / g[i],  a[i] = sum_j f[i, j] v[j],  g[i] of z[i] = sum_j z[i, j] and of leaves of the row
ds[i, j] = df[i, j] / g[i],  dg[i] = -do[i] . o[i] / g[i],  dz[i, j] = dg[i] dg/dz[i]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...dsl.core import Kind, Node, Param, Type, walk
from ...dsl.elaborate.typing import const, pointwise
from ..matching.weights import Divisor
from .derivatives import flow
from .expressions import Code, Statements
from .leaves import Held, padded
from .pairs import Pairs
from .text import if_wanted, lines_of, room

#: in pairs: what the weights of a row are multiplied with
SCALE = Param(Type(Kind.REAL), "scale", "carry")
MINUS_ONE = const(-1.0)
#: arrays of a backward before those of the sums: cotangents, results, lse, 1 / divisors, who is alone
BEFORE = 5


class Divided:
    """The divisor of the weights of a row."""

    def __init__(self, divisor: Divisor, by_node: Mapping[Node, Held]) -> None:
        self.divisor, self.by_node = divisor, by_node
        below = (by_node[node] for node in walk(divisor.node) if node in by_node)
        #: what it reads by query or by head that has a gradient
        self.leaves = [item for item in below if item.kind is Kind.REAL and item.place]

    def _leaf(self, node: Node) -> str | None:
        """What is read for one query."""
        found = self.by_node.get(node)
        if found is not None:
            return found.of_row()
        return node.name if isinstance(node, Param) else None

    def forward(self, made: Pairs, alive: bool) -> dict[str, Any]:
        """What is summed of WIDTH pairs, written after their weights, and what the sums of a row make.

        alive   whether scores may be -inf
        """
        of_row = Statements(self._leaf, "g")
        seen = ["there |= visible & alive;" if alive else "there |= visible;"]
        every = ["there |= alive;" if alive else "there = mask_all(true);"]
        for place, (leaf, node) in enumerate(self.divisor.sums):
            value = made.value(node)
            if alive:
                value = f"choose(alive, {value}, all(0.0f))"
            made.lines.append(f"const real summed_{place} = {value};")
            seen.append(f"parts[{place}] += choose(visible, summed_{place}, all(0.0f));")
            every.append(f"parts[{place}] += summed_{place};")
            of_row.lines.append(f"const real {leaf.name} = all(totals[{place}][r]);")
        of_row.lines.append(f"const float whole = {of_row.value(self.divisor.node)}[0];")
        return {
            "sums": len(self.divisor.sums),
            "guarded": self.divisor.guarded,
            "visible_sums": lines_of(seen),
            "all_sums": lines_of(every),
            "divisor": of_row.code,
        }

    # -- cotangents -------------------------------------------------------------------------

    def seeds(self, root: Node, seed: Node) -> dict[Node, Node]:
        """The cotangents of what is summed of a pair, and of its weight, whose own is given."""
        found = {root: seed}
        for leaf, node in self.divisor.sums:
            part = Param(Type(Kind.REAL), _seed(leaf), "carry")
            found[node] = pointwise("+", found[node], part) if node in found else part
        return {node: pointwise("*", part, SCALE) for node, part in found.items()}

    def backward(self, count: int) -> dict[str, Any]:
        """The cotangents of sums and leaves of all rows, made before those of pairs.

        count   arrays that the kernel reads, before those of the backward
        """
        made = Statements(self._leaf, "g")
        for place, (leaf, _) in enumerate(self.divisor.sums):
            at = f"((const float*)data[{count + BEFORE + place}])[place]"
            made.lines.append(f"const real {leaf.name} = all({at});")
        inputs: dict[Node, Held | None] = {leaf: None for leaf, _ in self.divisor.sums}
        inputs |= {item.leaf.node: item for item in self.leaves}
        found = flow({self.divisor.node: MINUS_ONE}, inputs)
        whole = made.value(self.divisor.node)
        rooms: list[str] = []
        lines = [*made.lines, f"wholes[place] = {whole}[0];"]
        made.lines.clear()
        for node, item in inputs.items():
            value = made.value(found[node]) if node in found else "all(0.0f)"
            lines += made.lines
            made.lines.clear()
            name = _back(node, item)
            by = "" if item is None else " * delta * scales[place]"
            put = f"{name}[place] = scales[place] == 0.0f ? 0.0f : {value}[0]{by};"
            rooms += _if_wanted(item, room(name, "float", "B * H * N"))
            lines += _if_wanted(item, put)
        return {
            "row_rooms": lines_of(rooms),
            "row_grads": lines_of(lines),
            "total_grads": lines_of(
                f"const real {_seed(leaf)} = {_back(leaf, None)}[row] * delta;"
                for leaf, _ in self.divisor.sums
            ),
        }

    def targets(self) -> Code:
        """The cotangents of leaves to where they go, once for each head."""
        lines: list[str] = []
        for item in self.leaves:
            from_row = f"{_back(item.leaf.node, item)}[key_unit * N + row]"
            to = f"heads_{item.place}[0][0]"
            if item.leaf.domain == "row":
                to = f"grad_{item.place}[row * {padded(1) if item.is_vector else 1}]"
            lines += if_wanted(item, [f"for (long row = 0; row < N; ++row) {to} += {from_row};"])
        return Code("\n".join(("if (stretch == 0) {", *lines, "}"))) if lines else Code("")


def _seed(leaf: Param) -> str:
    """The cotangent of a sum, in pairs."""
    return f"d{leaf.name}"


def _back(node: Node, item: Held | None) -> str:
    """The array of the cotangents of a sum or a leaf."""
    if item is not None:
        return f"back_{item.place}"
    assert isinstance(node, Param)
    return f"back_{node.name}"


def _if_wanted(item: Held | None, line: str) -> list[str]:
    return [line] if item is None else if_wanted(item, [line])
