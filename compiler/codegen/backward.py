"""The backward kernel: the weights again, and from them the cotangents of every leaf."""

from __future__ import annotations

from typing import Any

from ...dsl.core import Kind, Node
from .cotangents import Cotangents, cotangents_of
from .expressions import Code, number
from .leaves import Held, is_product, padded
from .levels import inside
from .text import (
    all_extremes,
    extremes,
    if_wanted,
    lines_of,
    room,
    row_room,
    spans_pack,
    spans_pointer,
    term_room,
)

#: numbers of a leaf whose sums over a head have vectors on the stack
MOST_ON_STACK = 512


class Backward(Cotangents):
    template = "backward.cpp.jinja"

    def blocks(self) -> dict[str, Any]:
        keys = [item for item in self.held if item.leaf.domain == "key"]
        rows = [item for item in self.held if item.leaf.domain == "row"]
        score, follows = self.pair_block()
        by_row = {} if self.divided is None else self.divided.backward(len(self.held))
        return super().blocks() | {
            **by_row,
            "spans": lines_of(spans_pack(item, "levels.all") for item in rows if item.in_mask),
            "extremes": all_extremes(rows, "GROUP", "std::min<long>(GROUP, N - n * GROUP)"),
            "score": score,
            "rooms": lines_of(
                (
                    *(line for item in self.held for line in self.rooms(item)),
                    *map(term_room, (*self.terms.values(), *self.entries.values())),
                    *map(term_room, map(cotangents_of, self.entries.values())),
                    *(
                        term_room(cotangents_of(self.terms[term]))
                        for term in self.terms
                        if term in self.inner
                    ),
                    *map(self.sum_rooms, self.fractions),
                    *(item.cotangent_room() for item in self.distances.values()),
                )
            ),
            "pointers": lines_of(
                (
                    *(spans_pointer(item) for item in rows if item.in_mask),
                    *(
                        f"const {item.stored}* const x{item.place} = a{item.place}.of(b, h);"
                        for item in self.held
                        if item.leaf.domain in ("head", "pair")
                    ),
                )
            ),
            "targets": lines_of(
                (
                    *(line for item in self.held for line in self.targets(item)),
                    *map(self.sum_centre, self.fractions),
                    "" if self.divided is None else self.divided.targets(),
                    *(item.cotangents() for item in self.distances.values()),
                    *(item.start_unit() for item in self.distances.values()),
                )
            ),
            "column_loads": self.column_loads(keys),
            "adjoints": follows,
            "spread": lines_of(
                (*map(self.entry_start, self.entries), *map(self.spread, reversed(self.steps)))
            ),
            "group_starts": lines_of(map(self.group_starts, self.held)),
            "group_ends": lines_of(
                (
                    *(item.end_tiles() for item in self.distances.values()),
                    *map(self.group_ends, self.held),
                )
            ),
            "batch_ends": lines_of(map(self.batch_ends, self.held)),
            "unit_ends": lines_of(
                (
                    *(item.end_unit() for item in self.distances.values()),
                    *map(self.unit_ends, self.held),
                )
            ),
        }

    def row_span(self, item: Held) -> str:
        return f"spans_{item.place}[g]"

    # -- memory -----------------------------------------------------------------------------

    def rooms(self, item: Held) -> list[str]:
        """Memory of a thread for a leaf, and for its cotangents."""
        k, width = item.place, item.width
        if _is_of_head(item) and width > MOST_ON_STACK:
            names = "heads", "some"
            return if_wanted(item, [f"Room {name}_room_{k}({width} * WIDTH);" for name in names])
        if item.leaf.domain == "row":
            steps = room(f"steps_{k}", item.packed, f"GROUP * {padded(width)}")
            return [row_room(item), *([steps] if item.as_rows else [])]
        if item.leaf.domain != "key" or k == 0:
            return []
        found = [room(f"x{k}", item.packed, f"BATCH * LANES * {item.steps}")]
        if item.in_mask:
            found.append(f"Span spans_{k}[BATCH + 1];")
        if item.as_rows:
            found.append(room(f"rows_{k}", item.packed, f"BATCH * LANES * {padded(width)}"))
        if self.is_spread(item):
            found.append(room(f"keys_{k}", "float", f"BATCH * LANES * {width}"))
        return found

    def is_spread(self, item: Held) -> bool:
        """Whether cotangents of a vector of keys are gathered feature by feature."""
        if item.place == 0 or not item.is_vector:
            return False
        terms = (term for term in self.match.terms if not is_product(term, self.match))
        read = (inside(term, self.match) for term in terms)
        return item.leaf.table or any(item.leaf.node in nodes for nodes in read)

    def targets(self, item: Held) -> list[str]:
        """Where the cotangents of a leaf go, and what of a head is summed on the way."""
        k = item.place
        if item.kind is not Kind.REAL:
            return []
        width = padded(item.width) if item.is_vector else 1
        match item.leaf.domain:
            case "key":
                at = f"key_unit * keys_all * {width}"
            case "row":
                at = f"row_unit * rows_all * {width}"
            case "pair":
                at = "key_unit * N * keys_all"
            case "apart":
                at = f"row_unit * {item.width} * size_{k} + FRONT + N - 1"
            case _:
                at = f"row_unit * {item.width}"
        found = [f"float* const grad_{k} = (float*)grads[{k}] + {at};"]
        if _is_of_head(item):
            found.append(_numbers("heads", item))
        return if_wanted(item, found)

    def column_loads(self, keys: list[Held]) -> Code:
        """The keys of a batch of tiles."""
        lines: list[str] = []
        value = (
            "value_columns + n * STEPS * LANES, a0.of(b, h), a0.by_key, VALUE, (t0 + n) * LANES, M"
        )
        lines.append(f"columns({value});")
        for item in keys[1:]:
            k, width, at = item.place, item.width, f"a{item.place}.of(b, h)"
            lines.append(item.load_keys(f"x{k} + n * LANES * {item.steps}", at, "(t0 + n)"))
            there = "keys_of(t0 + n, M)"
            if item.in_mask:
                over = extremes(item, at, "(t0 + n) * LANES", there)
                lines.append(f"spans_{k}[n] = {over};")
                lines.append(
                    f"spans_{k}[BATCH] = n ? both(spans_{k}[BATCH], spans_{k}[n]) : spans_{k}[n];"
                )
            if item.as_rows:
                to = f"rows_{k} + n * LANES * {padded(width)}, {padded(width)}"
                span = f"a{k}.by_key, {width}, (t0 + n) * LANES, {there}, LANES"
                lines.append(f"stacked({to}, {at}, {span});")
            if self.is_spread(item):
                clear = f"std::fill(keys_{k} + n * LANES * {width}, keys_{k} + (n + 1) * LANES * {width}, 0.0f);"
                lines += if_wanted(item, [clear])
        loads = "for (long n = 0; n < many; ++n) {\n" + "\n".join(lines) + "\n}"
        return Code("\n".join((loads, *map(self.sum_keys, self.fractions))))

    # -- sums of fractions ------------------------------------------------------------------

    def sum_rooms(self, term: Node) -> str:
        """Memory of a thread for the exponentials of a batch of tiles, and for their centre."""
        found, sums = self.fractions[term], self.sums(term)
        return (
            f"{found.type} {sums};\n"
            f"{room(f'tiles_{sums}', 'float', f'BATCH * {found.type}::TILE')}\n"
            f"float centre_{sums}[{found.type}::PADDED] = {{}};"
        )

    def sum_centre(self, term: Node) -> str:
        """The centre of the keys of a head, as in the forward."""
        found, sums = self.fractions[term], self.sums(term)
        k = self.by_node[found.key.leaf].place
        return f"centre_keys(centre_{sums}, a{k}.of(b, h), a{k}.by_key, {found.width}, M);"

    def sum_keys(self, term: Node) -> str:
        """The exponentials of a batch of tiles."""
        found, sums = self.fractions[term], self.sums(term)
        k, width = self.by_node[found.key.leaf].place, found.width
        to = f"tiles_{sums} + n * {found.type}::TILE, x{k} + n * LANES * {width}, centre_{sums}"
        there = f"{number(found.key.factor)}, keys_of(t0 + n, M)"
        return f"for (long n = 0; n < many; ++n) {found.type}::keys({to}, {there});"

    # -- cotangents -------------------------------------------------------------------------

    def group_starts(self, item: Held) -> str:
        """Cotangents of a group of queries, or of a head by one, summed over the keys of a batch."""
        k = item.place
        if _is_of_head(item):
            return "\n".join(if_wanted(item, [_numbers("some", item)]))
        if not _is_row_number(item):
            return ""
        return "\n".join(if_wanted(item, [f"real queries_{k}[GROUP] = {{}};"]))

    def group_ends(self, item: Held) -> str:
        """Put them where they belong."""
        k = item.place
        if _is_of_head(item):
            add = f"for (long d = 0; d < {item.width}; ++d) heads_{k}[d] += some_{k}[d];"
            return "\n".join(if_wanted(item, [add]))
        if not _is_row_number(item):
            return ""
        add = f"for (long r = 0; r < count; ++r) grad_{k}[first + r] += sum_of(queries_{k}[r]);"
        return "\n".join(if_wanted(item, [add]))

    def batch_ends(self, item: Held) -> str:
        """From features of keys to keys of features."""
        if not self.is_spread(item) or item.leaf.domain != "key":
            return ""
        k, width = item.place, item.width
        return "\n".join(
            if_wanted(
                item,
                [
                    "for (long n = 0; n < many; ++n)",
                    "  for (long j = 0; j < LANES; ++j)",
                    f"    for (long d = 0; d < {width}; ++d)",
                    f"      grad_{k}[((t0 + n) * LANES + j) * {padded(width)} + d] +="
                    f" keys_{k}[(n * {width} + d) * LANES + j];",
                ],
            )
        )

    def unit_ends(self, item: Held) -> str:
        """What was summed over a head."""
        if not _is_of_head(item):
            return ""
        k = item.place
        add = f"for (long d = 0; d < {item.width}; ++d) grad_{k}[d] = sum_of(heads_{k}[d]);"
        return "\n".join(if_wanted(item, [add]))


def _is_of_head(item: Held) -> bool:
    """Whether cotangents are summed over all pairs of a head: in parts, so that they stay accurate."""
    return item.leaf.domain == "head" and not item.leaf.table and item.kind is Kind.REAL


def _numbers(name: str, item: Held) -> str:
    """A vector of 0 for each number of a leaf; of many numbers not on the stack."""
    k, width = item.place, item.width
    if width <= MOST_ON_STACK:
        return f"real {name}_{k}[{width}] = {{}};"
    start = f"real* const {name}_{k} = (real*){name}_room_{k}.at;"
    return f"{start}\nfor (long d = 0; d < {width}; ++d) {name}_{k}[d] = (real){{}};"


def _is_row_number(item: Held) -> bool:
    return item.leaf.domain == "row" and item.kind is Kind.REAL and not item.is_vector
