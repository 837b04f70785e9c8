"""The forward kernel: keys packed by tiles, scores, an online softmax, sums of values."""

from __future__ import annotations

from typing import Any

from ...dsl.core import Node
from .expressions import Code, number
from .leaves import Held
from .text import all_extremes, extremes, lines_of, row_room, spans_pack, spans_pointer, term_room
from .writer import Writer


class Forward(Writer):
    template = "forward.cpp.jinja"
    rows, first_vector, vectors = "padded", " + begin[n] * WIDTH", "end[n] - begin[n]"

    def blocks(self) -> dict[str, Any]:
        keys = [item for item in self.held if item.leaf.domain == "key"]
        made = self.pairs()
        self.weighing(made)
        sums: dict[str, Any] = {"visible_sums": Code(""), "all_sums": Code("")}
        if self.divided is not None:
            sums = self.divided.forward(made, self.match.given is not None)
        return super().blocks() | {
            **sums,
            "score": made.code,
            "absent": self.absent(),
            "packs": lines_of(
                (
                    *(line for item in keys for line in self.packs(item)),
                    *map(self.sum_packs, self.fractions),
                )
            ),
            "packing": lines_of(
                (
                    *map(self.packing, keys),
                    *map(self.sum_packing, self.fractions),
                    lines_of(map(self.vector_spans, keys)),
                    all_extremes(keys, "LANES", "keys_of(n, M)"),
                )
            ),
            "row_spans": lines_of(
                f"const Span span_{item.place} = {self.over_rows(item)};"
                for item in self.held
                if item.in_mask and item.leaf.domain == "row"
            ),
            "rooms": lines_of(
                (
                    *map(self.room, self.held),
                    *map(term_room, (*self.terms.values(), *self.entries.values())),
                    *(f"{made.type} {self.sums(t)};" for t, made in self.fractions.items()),
                )
            ),
            "pointers": lines_of(
                (
                    *(line for item in self.held for line in self.pointers(item)),
                    *map(self.sum_pointers, self.fractions),
                )
            ),
        }

    # -- sums of fractions ------------------------------------------------------------------

    def sum_packs(self, term: Node) -> str:
        """Memory for the exponentials of the keys of all heads, and for their centres."""
        found, sums = self.fractions[term], self.sums(term)
        k = self.by_node[found.key.leaf].place
        slots = f"a{k}.slots(B, H)"
        return (
            f"const Pack<float> packed_{sums}({slots}, tiles * {found.type}::TILE);\n"
            f"const Pack<float> centres_{sums}({slots}, {found.type}::PADDED);"
        )

    def sum_packing(self, term: Node) -> str:
        """Make them: centres by head, exponentials by tile."""
        found, sums = self.fractions[term], self.sums(term)
        k = self.by_node[found.key.leaf].place
        return _SUM_PACKING.format(
            k=k,
            sums=sums,
            type=found.type,
            width=found.width,
            by=number(found.key.factor),
        )

    def sum_pointers(self, term: Node) -> str:
        """Those of a head."""
        sums, k = self.sums(term), self.by_node[self.fractions[term].key.leaf].place
        slot = f"a{k}.slot(b, h, H)"
        return (
            f"const float* const tiles_{sums} = packed_{sums}.of({slot});\n"
            f"const float* const centre_{sums} = centres_{sums}.of({slot});"
        )

    def packs(self, item: Held) -> list[str]:
        """Memory for the keys of all heads."""
        k = item.place
        found = [f"const long packed_{k} = {_packed_slots(item)};"]
        found.append(f"const Pack<{item.packed}> p{k}(packed_{k}, tiles * {_tile(item)});")
        if item.in_mask:
            found.append(spans_pack(item, "levels.all + ceil_div(M, WIDTH)"))
        return found

    def packing(self, item: Held) -> str:
        """Pack the keys of all heads, each tile by one thread."""
        k = item.place
        at = f"a{k}.of_slot(slot, H)"
        to = f"p{k}.of(slot) + t * {_tile(item)}"
        if k == 0:
            span = f"a{k}.by_key, VALUE, t * LANES, keys_of(t, M), LANES"
            load = f"stacked({to}, PADDED, {at}, {span});"
        else:
            load = item.load_keys(to, at, "t")
        return "\n".join(
            (
                "#pragma omp for nowait",
                f"for (long u = 0; u < packed_{k} * tiles; ++u) {{",
                "  const long slot = u / tiles, t = u % tiles;",
                f"  {load}",
                "}",
            )
        )

    def vector_spans(self, item: Held) -> str:
        """The extremes of each vector of keys, behind those of tiles and their blocks."""
        k = item.place
        over = extremes(
            item, f"a{k}.of_slot(slot, H)", "n * WIDTH", "std::min<long>(WIDTH, M - n * WIDTH)"
        )
        return _VECTOR_SPANS.format(k=k, extremes=over) if item.in_mask else ""

    def row_span(self, item: Held) -> str:
        return f"span_{item.place}"

    def over_rows(self, item: Held) -> str:
        """The extremes of a group of queries."""
        return extremes(item, f"a{item.place}.of(b, h)", "first", "count")

    def room(self, item: Held) -> str:
        """Memory of a thread for the queries of a group."""
        return row_room(item) if item.leaf.domain == "row" else ""

    def pointers(self, item: Held) -> list[str]:
        """The arrays of a head."""
        k = item.place
        match item.leaf.domain:
            case "key":
                name, at = (
                    (f"x{k}", f"p{k}.of(a{k}.slot(b, h, H))")
                    if k
                    else (
                        "values",
                        "packed_0 ? p0.of(a0.slot(b, h, H)) : (const factor_0*)a0.of(b, h)",
                    )
                )
                found = [f"const {item.packed}* const {name} = {at};"]
                if item.in_mask:
                    found.append(spans_pointer(item))
                return found
            case "row" | "apart":
                return []
        return [f"const {item.stored}* const x{k} = a{k}.of(b, h);"]


def _packed_slots(item: Held) -> str:
    """How many arrays of a leaf are packed; values that stand as products read them are not."""
    slots = f"a{item.place}.slots(B, H)"
    return slots if item.place else f"is_stacked<factor_0>(a0, VALUE, PADDED) ? 0 : {slots}"


def _tile(item: Held) -> str:
    """How many numbers of a leaf a tile of keys has; the values stand key by key."""
    return f"{item.steps} * LANES" if item.place else "STEPS * PADDED"


_VECTOR_SPANS = """#pragma omp for nowait
for (long u = 0; u < a{k}.slots(B, H) * ceil_div(M, WIDTH); ++u) {{
  const long slot = u / ceil_div(M, WIDTH), n = u % ceil_div(M, WIDTH);
  s{k}.of(slot)[levels.all + n] = {extremes};
}}"""
_SUM_PACKING = """#pragma omp for
for (long slot = 0; slot < a{k}.slots(B, H); ++slot) {{
  float* const to = centres_{sums}.of(slot);
  std::fill(to, to + {type}::PADDED, 0.0f);
  centre_keys(to, a{k}.of_slot(slot, H), a{k}.by_key, {width}, M);
}}
#pragma omp for nowait
for (long u = 0; u < a{k}.slots(B, H) * tiles; ++u) {{
  const long slot = u / tiles, t = u % tiles;
  {type}::keys(packed_{sums}.of(slot) + t * {type}::TILE, p{k}.of(slot) + t * LANES * {width}, centres_{sums}.of(slot), {by}, keys_of(t, M));
}}"""
