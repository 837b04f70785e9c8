"""Functions of a distance in kernels: made once, read by pairs, their cotangents summed."""

from __future__ import annotations

from collections.abc import Mapping

from ...dsl.core import Kind, Node, Param, Read, ReadDim, Type, walk
from .derivatives import flow
from .distances import Distance
from .expressions import Code
from .leaves import PACKED, Held
from .pairs import Pairs
from .text import if_any_wanted, scattered

#: the cotangent of a function at one distance
DG = Param(Type(Kind.REAL), "dg", "carry")


class ByDistance:
    """One function of a distance, under a name; `index` names the tile at hand in arrays of keys."""

    def __init__(
        self, name: str, node: Node, found: Distance, by_node: Mapping[Node, Held], index: str
    ) -> None:
        self.name, self.node, self.by_node = name, node, by_node
        self.row, self.key = by_node[found.row], by_node[found.key]
        self.index = index
        self.type = PACKED[node.type.kind]
        inside = set(walk(node)) - {found.row, found.key}
        self.heads = [item for item in by_node.values() if item.place and item.leaf.node in inside]

    @property
    def at(self) -> str:
        """Where the function of WIDTH pairs stands."""
        return f"{self.name} + {self.place}"

    @property
    def place(self) -> str:
        """How far from the start, of an array by distance or by pair."""
        start = f"({self.name}_steady ? t * LANES - first : n * LANES)"
        return f"{start} + r * {self.name}_step + c * WIDTH"

    def declared(self) -> Code:
        """The function, and the array of what it is at each distance."""
        made = Pairs(self._leaf, self.by_node, self.index)
        value = made.value(self.node)
        return Code(
            _DECLARED.format(
                name=self.name,
                type=self.type,
                by_head="true" if self.heads else "false",
                row=self.row.place,
                key=self.key.place,
                body=Code("\n".join((*self._pointers(), *made.lines))),
                value=value,
            )
        )

    def fill(self) -> str:
        """Make it for all distances."""
        return _FILL.format(name=self.name)

    def room(self) -> str:
        """Memory of a thread, for pairs whose places are not in a row."""
        name, type_ = self.name, self.type
        size = f"{name}_steady ? 0 : GROUP * LD * (long)sizeof({type_}) / 4"
        return f"Room {name}_room({size});"

    def pointer(self) -> str:
        """What a head reads."""
        name = self.name
        made = f"{name}_all.of({name}_slots.of(b, h)) + N - 1"
        pairs = f"({self.type}*){name}_room.at"
        return f"{self.type}* const {name} = {name}_steady ? {made} : {pairs};"

    def pairs(self) -> str:
        """Make it for the pairs of a tile, where places are not in a row."""
        return (
            f"if (!{self.name}_steady)\n"
            f"{_EACH}store({self.at}, {self.name}_of(b, h, {self._tokens()}));"
        )

    def _tokens(self) -> str:
        return f"{self.row.scalar(self.index)}, {self.key.scalar(self.index)}"

    def _leaf(self, node: Node) -> str | None:
        """What is read for WIDTH distances, or pairs."""
        if node is DG:
            return "dg"
        item = self.by_node.get(node)
        if item is None:
            return None
        return {self.row.place: "row", self.key.place: "key"}.get(item.place) or item.scalar("0")

    def _pointers(self) -> list[str]:
        """The numbers and tables of a head."""
        return [
            f"const {item.stored}* const x{item.place} = a{item.place}.of(b, h);"
            for item in self.heads
        ]

    # -- cotangents -------------------------------------------------------------------------

    def cotangents(self) -> Code:
        """How the cotangents at some distances go to what the function reads; before a unit."""
        read = {node: self._read(node) for node in walk(self.node)}
        wanted = {node: item for node, item in read.items() if item is not None}
        made = Pairs(self._leaf, self.by_node, self.index)
        lines: list[str] = []
        for node, part in flow({self.node: DG}, dict.fromkeys(wanted)).items():
            item, value = wanted[node], made.value(part)
            if part is not DG:  # of distances that no pair has, too, whose slope may be no number
                value = f"(dg == 0.0f ? all(0.0f) : {value})"
            put = f"heads_{item.place}[0] += {value};"
            if isinstance(node, Read | ReadDim):
                put = scattered(item, node, made.value(node.index), value)
            lines += [*made.lines, *if_any_wanted([item], [put])]
            made.lines.clear()
        body = "\n".join((*self._pointers(), *lines))
        return self.if_wanted(_COTANGENTS.format(name=self.name, body=body))

    def cotangent_room(self) -> Code:
        """Memory of a thread for the sums of cotangents: of all distances, and of a batch of tiles."""
        name = self.name
        size = f"{name}_steady ? {name}_size + WIDTH : 0"
        return self.if_wanted(f"Room {name}_sums({size}), {name}_near(GROUP * LD);")

    def start_unit(self) -> Code:
        """Nothing is summed yet."""
        return self.if_wanted(_START_UNIT.format(name=self.name))

    @property
    def sum_at(self) -> str:
        """Where the cotangents of WIDTH pairs are summed, of a group and a batch of tiles."""
        return f"near_{self.name} + n * LANES + r * {self.name}_step + c * WIDTH"

    def add(self, part: str) -> list[str]:
        """Add the cotangents of WIDTH pairs."""
        return self.if_wanted(f"store({self.sum_at}, load({self.sum_at}) + {part});").splitlines()

    def end_tiles(self) -> Code:
        """The sums of a group and a batch of tiles, added to those of all distances or handed on."""
        return self.if_wanted(
            _END_TILES.format(name=self.name, each=_EACH, at=self.sum_at, tokens=self._tokens())
        )

    def end_unit(self) -> Code:
        """The cotangents of all distances to some keys."""
        return self.if_wanted(_END_UNIT.format(name=self.name))

    def _read(self, node: Node) -> Held | None:
        """The leaf that a number is read from, itself or as a table."""
        if isinstance(node, Read | ReadDim):
            return self.by_node.get(node.arg)
        item = self.by_node.get(node)
        return item if item is not None and item.kind is Kind.REAL and not item.is_vector else None

    def if_wanted(self, text: str) -> Code:
        """Text that is there where the gradient of anything that the function reads is wanted."""
        if self.node.type.kind is not Kind.REAL:
            return Code("")
        items = [item for item in self.heads if item.kind is Kind.REAL]
        return Code("\n".join(if_any_wanted(items, [text])))


_EACH = """for (long r = 0; r < count; ++r)
  for (long c = 0; c < COLS; ++c) """
_DECLARED = """const auto {name}_of = [&](long b, long h, whole row, whole key) -> decltype(load((const {type}*)nullptr)) {{
  {body}
  return {value};
}};
const bool {name}_steady = consecutive(a{row}, a{row}.by_row, B, N) && consecutive(a{key}, a{key}.by_key, B, M);
const long {name}_step = {name}_steady ? -1 : LD, {name}_size = ceil_div(N + tiles * LANES, WIDTH) * WIDTH;
const auto {name}_far = [&](long b, long place) {{ return whole_all(a{row}.of(b, 0)[0] - a{key}.of(b, 0)[0] + N - 1 - place) - widen(lane_numbers()); }};
const Slots {name}_slots(a{row}.by_batch || a{key}.by_batch || {by_head} ? B : 1, {by_head} ? H : 1);
const Pack<{type}> {name}_all({name}_steady ? {name}_slots.count() : 0, {name}_size);"""
_FILL = """if ({name}_steady) {{
#pragma omp for nowait
  for (long u = 0; u < {name}_slots.count() * ({name}_size / WIDTH); ++u) {{
    const long slot = u / ({name}_size / WIDTH), place = u % ({name}_size / WIDTH) * WIDTH;
    const long b = {name}_slots.example(slot), h = {name}_slots.head(slot);
    store({name}_all.of(slot) + place, {name}_of(b, h, {name}_far(b, place), (whole){{}}));
  }}
}}"""
_COTANGENTS = """const auto {name}_back = [&](whole row, whole key, real dg) {{
  {body}
}};"""
_START_UNIT = """float* const near_{name} = {name}_near.at + ({name}_steady ? GROUP - 1 : 0);
std::fill({name}_near.at, {name}_near.at + GROUP * LD, 0.0f);
if ({name}_steady) std::fill({name}_sums.at, {name}_sums.at + {name}_size + WIDTH, 0.0f);"""
_END_TILES = """if ({name}_steady) {{
  float* const sums = {name}_sums.at + (t0 * LANES - first + N - GROUP);
  for (long k = GROUP - count; k < GROUP - 1 + many * LANES; k += WIDTH) {{
    store(sums + k, load(sums + k) + load({name}_near.at + k));
    store({name}_near.at + k, (real){{}});
  }}
}} else {{
  for (long n = 0; n < many; ++n) {{
    if (kind[n] == EMPTY) continue;
    const long t = t0 + n;
    {each}{{
      {name}_back({tokens}, load({at}));
      store({at}, (real){{}});
    }}
  }}
}}"""
_END_UNIT = """if ({name}_steady)
  for (long place = from * LANES; place < to * LANES + N - 1; place += WIDTH)
    {name}_back({name}_far(b, place), (whole){{}}, load({name}_sums.at + place));"""
