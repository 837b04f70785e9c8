"""The forward kernel: keys packed by tiles, scores, an online softmax, sums of values."""

from __future__ import annotations

from typing import Any

from ...dsl.core import Contract, Node
from ..matching.match import computed
from .expressions import Code, Spans, number
from .leaves import Held, is_product, query_side
from .text import all_extremes, extremes, lines_of, row_room, spans_pack, spans_pointer, term_room
from .writer import Pairing, Writer


class Forward(Writer):
    template = "forward.cpp.jinja"
    part = Pairing("padded", "top_row", "seen[n].from * WIDTH", "seen[n].to - seen[n].from")

    def blocks(self) -> dict[str, Any]:
        keys = [item for item in self.held if item.leaf.domain == "key"]
        cutting = [item for item in self.held if item.in_mask and item.leaf.domain == "row"]
        products = [
            step
            for step in self.steps
            if is_product(step.node, self.match) and step.node not in self.inner
        ]
        made = self.pairs()
        self.weighing(made)
        sums: dict[str, Any] = {"visible_sums": Code(""), "all_sums": Code("")}
        if self.divided is not None:
            sums = self.divided.forward(made, self.match.given is not None)
        return super().blocks() | {
            **sums,
            "score": made.code,
            "absent": self.absent(),
            "reads": self.reads(),
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
            "row_spans": lines_of(map(self.row_spans, cutting)),
            "cut": bool(cutting),
            "terms": lines_of(self.step(step) for step in self.steps if step not in products),
            "products": lines_of(
                f"for (long n = 0; n < batch; ++n) {{\n  const long t = tile_of[n];\n  {self.step(step)}\n}}"
                for step in products
            ),
            "late_packing": lines_of(map(self.late_packing, keys)),
            "fetches": lines_of(map(self.fetch, self.held)),
            "rooms": lines_of(
                (
                    *map(self.shelf, keys),
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

    def reads(self) -> Code:
        """Leave where a table may be read beyond its end, for all that is known of a head."""
        used = dict.fromkeys(leaf for node in self.match.unbounded for leaf in computed(node.index))
        held = [item for leaf in used if (item := self.by_node.get(leaf)) is not None]
        if not self.match.unbounded:
            return Code("")
        made = Spans(self.whole_span)
        tests = [
            f"if (!({made.value(node.index)}.high < {self.by_node[node.arg].width})) return false;"
            for node in self.match.unbounded
        ]
        batches = " || ".join(("false", *(f"a{item.place}.by_batch" for item in held)))
        heads = " || ".join(("false", *(f"a{item.place}.by_head" for item in held)))
        body = "\n".join((*made.lines, *tests))
        return Code(
            _READS.format(batches=f"({batches} ? B : 1)", heads=f"({heads} ? H : 1)", body=body)
        )

    def whole_span(self, node: Node) -> str | None:
        """The extremes of a leaf over all tokens of a head."""
        item = self.by_node.get(node)
        if item is None:
            return None
        steps = {"row": ("by_row", "N"), "key": ("by_key", "M"), "head": ("by_row", "1")}
        if item.is_vector or item.leaf.domain not in steps:
            return "any_number()"
        k, (step, count) = item.place, steps[item.leaf.domain]
        return f"over(a{k}.of(b, h), a{k}.{step}, {count})"

    def product(self, term: Contract, part: Pairing) -> str:
        """The product of a tile, also of keys that are not packed."""
        packed = super().product(term, part)
        row, key = (self.by_node[side] for side in query_side(term, self.match))
        if not _can_be_direct(key):
            return packed
        k, first, vector = key.place, part.first_row, part.first_vector
        to = f"{self.terms[term]} + {first} * LD + n * LANES + {vector}, LD"
        left = f"x{row.place} + {first} * {row.padded}, {row.padded}"
        right = f"a{k}.of(b, h) + (t * LANES + {vector}) * a{k}.by_key, a{k}.by_key"
        sizes = f"{part.rows}, {part.vectors}, keys_of(t, M) - {vector}"
        direct = f"dots<{key.width}>({to}, {left}, {right}, {sizes});"
        return f"if (direct_{k}) {direct}\nelse {packed}"

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
        """Memory for the keys of all heads, or of one head for each thread."""
        k = item.place
        found = [f"const long packed_{k} = {_packed_slots(item)};"]
        if _can_be_direct(item):
            is_direct = f"is_last && is_direct<{item.packed}>(a{k}, {item.width}, H, N)"
            found.insert(0, f"const bool direct_{k} = {is_direct};")
        late, size = "", f"tiles * {_tile(item)}"
        if self.is_late(item):
            asked = f"is_late<{item.packed}>(packed_{k}, {size}, threads)"
            found.append(f"const bool late_{k} = {asked};")
            late = f"late_{k} ? threads : "
        found.append(f"const Pack<{item.packed}> p{k}({late}packed_{k}, {size});")
        if item.in_mask:
            found.append(spans_pack(item, "levels.all + ceil_div(M, WIDTH)"))
        return found

    def packing(self, item: Held) -> str:
        """Pack the keys of all heads, each tile by one thread; none where it is done late."""
        k = item.place
        load = self.pack_tile(item, f"p{k}.of(slot)", f"a{k}.of_slot(slot, H)")
        late = f"late_{k} ? 0 : " if self.is_late(item) else ""
        return _PACKING.format(count=f"({late}packed_{k} * tiles)", load=load)

    def late_packing(self, item: Held) -> str:
        """Pack a tile of the head at hand, where this thread has not."""
        k = item.place
        if not self.is_late(item):
            return ""
        load = self.pack_tile(item, f"p{k}.of(seat)", f"a{k}.of(b, h)")
        return f"if (late_{k} && shelf_{k}.lacks(t, a{k}.slot(b, h, H))) {load}"

    def is_late(self, item: Held) -> bool:
        """Whether a thread can pack keys as it comes to them: vectors of which nothing else is made."""
        made = {found.key.leaf for found in self.fractions.values()}
        return item.is_vector and item.leaf.node not in made

    def pack_tile(self, item: Held, to: str, at: str) -> str:
        """Pack tile `t` of an array."""
        k, place = item.place, f"{to} + t * {_tile(item)}"
        if k:
            return item.load_keys(place, at, "t")
        return f"stacked({place}, PADDED, {at}, a0.by_key, VALUE, t * LANES, keys_of(t, M), LANES);"

    def shelf(self, item: Held) -> str:
        """What a thread knows of its tiles."""
        k = item.place
        return f"const Shelf shelf_{k}(late_{k} ? tiles : 0);" if self.is_late(item) else ""

    def fetch(self, item: Held) -> str:
        """Have a query of the next group fetched."""
        k = item.place
        if item.leaf.domain != "row" or not item.is_vector:
            return ""
        at = f"a{k}.of(b, h) + (first + GROUP + r) * a{k}.by_row"
        return f"if (first + GROUP + r < N) fetch<false>({at}, {item.width});"

    def vector_spans(self, item: Held) -> str:
        """The extremes of each vector of keys, behind those of tiles and their blocks."""
        k = item.place
        over = extremes(
            item, f"a{k}.of_slot(slot, H)", "n * WIDTH", "std::min<long>(WIDTH, M - n * WIDTH)"
        )
        return _VECTOR_SPANS.format(k=k, extremes=over) if item.in_mask else ""

    def row_span(self, item: Held) -> str:
        return f"span_{item.place}[part]"

    def row_spans(self, item: Held) -> str:
        """The extremes of the parts of a group of queries."""
        k, apart = item.place, f"a{item.place}.by_row"
        return (
            f"Span span_{k}[PARTS + 1];\n"
            f"over_parts(span_{k}, PARTS, a{k}.of(b, h) + first * {apart}, {apart}, count, ROWS);"
        )

    def room(self, item: Held) -> str:
        """Memory of a thread for the queries of a group."""
        return row_room(item) if item.leaf.domain == "row" else ""

    def pointers(self, item: Held) -> list[str]:
        """The arrays of a head."""
        k = item.place
        match item.leaf.domain:
            case "key":
                name = f"x{k}" if k else "values"
                late = f"late_{k} ? seat : " if self.is_late(item) else ""
                at = f"p{k}.of({late}a{k}.slot(b, h, H))"
                if k == 0 or _can_be_direct(item):
                    at = f"packed_{k} ? {at} : (const {item.packed}*)a{k}.of(b, h)"
                found = [f"const {item.packed}* const {name} = {at};"]
                if item.in_mask:
                    found.append(spans_pointer(item))
                return found
            case "row" | "apart":
                return []
        return [f"const {item.stored}* const x{k} = a{k}.of(b, h);"]


def _packed_slots(item: Held) -> str:
    """How many arrays of a leaf are packed; those that products read where they stand are not."""
    k, slots = item.place, f"a{item.place}.slots(B, H)"
    if k == 0:
        return f"direct_0 || is_stacked<factor_0>(a0, VALUE, PADDED) ? 0 : {slots}"
    return f"direct_{k} ? 0 : {slots}" if _can_be_direct(item) else slots


def _can_be_direct(item: Held) -> bool:
    """Whether keys can be read where they stand: values, and what products alone read."""
    return bool(item.factors)


def _tile(item: Held) -> str:
    """How many numbers of a leaf a tile of keys has; the values stand key by key."""
    return f"{item.steps} * LANES" if item.place else "STEPS * PADDED"


_PACKING = """#pragma omp for nowait
for (long u = 0; u < {count}; ++u) {{
  const long slot = u / tiles, t = u % tiles;
  {load}
}}"""
_VECTOR_SPANS = """#pragma omp for nowait
for (long u = 0; u < a{k}.slots(B, H) * ceil_div(M, WIDTH); ++u) {{
  const long slot = u / ceil_div(M, WIDTH), n = u % ceil_div(M, WIDTH);
  s{k}.of(slot)[levels.all + n] = {extremes};
}}"""
_READS = """for (long b = 0; b < {batches}; ++b)
  for (long h = 0; h < {heads}; ++h) {{
    {body}
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
