"""From the cotangents of weights to those of everything that scores read."""

from __future__ import annotations

from ...dsl.core import Contract, Kind, Node, Param, Read, ReadDim, Type, walk
from ...dsl.elaborate.typing import pointwise
from .derivatives import flow, of_term
from .expressions import Code, Statements, number
from .leaves import KEY, Held, is_product, padded, query_side
from .levels import Step, inside, is_extreme
from .text import if_wanted, scattered
from .writer import EACH_PAIR, FORMS, Writer, width_of

#: the cotangents of the score, of a weight, of the term and the entry at hand, and of the prior
DS, DW, DT, DE, DM = (Param(Type(Kind.REAL), name, "carry") for name in "ds dw dt de dm".split())


class Cotangents(Writer):
    """The part of a backward kernel that goes from pairs to terms, entries and leaves."""

    index = "n"

    def pair_block(self) -> tuple[Code, Code]:
        """The score of WIDTH pairs (the weight where it is no softmax), and what follows from it."""
        made = self.pairs()
        softmax = self.match.weight is None
        root = self.weighing(made)
        score = made.code
        made.lines.clear()
        seeds: dict[Node, Node] = {root: DS if softmax else DW}
        if self.match.prior is not None:
            prior = self.match.prior.node
            seeds[prior] = pointwise("+", seeds[root], DM) if prior is root else DM
        if self.divided is not None:
            seeds = self.divided.seeds(root, DW)
        found = flow(seeds, self.wanted(root, *self.match.of_pairs))
        lines = [
            f"store({self.cotangent(term)} + r * LD + col, all(0.0f));"
            for term in self.terms
            if not is_extreme(term) and (term in self.inner or term not in found)
        ]
        for node, part in found.items():
            name = made.value(part)
            if self.match.given is not None:
                name = f"choose(alive, {name}, all(0.0f))"
            put = self.put(node, f"(partial ? choose(seen, {name}, all(0.0f)) : {name})", made)
            lines += [*made.lines, *put]
            made.lines.clear()
        return score, Code("\n".join(lines))

    def wanted(self, *roots: Node) -> dict[Node, None]:
        """What a number of a pair is made of that has cotangents."""
        numbers = (node for node in walk(*roots) if self.is_number(node))
        return dict.fromkeys((*self.terms, *self.distances, *numbers))

    def is_number(self, node: Node) -> bool:
        """Whether a node of a score is read from a real array, one number for each pair."""
        item = self.by_node.get(node)
        if item is None:
            return isinstance(node, Read | ReadDim)
        return item.kind is Kind.REAL and not item.is_vector

    def put(self, node: Node, part: str, made: Statements) -> list[str]:
        """Add the cotangents of WIDTH pairs to those of a term or a leaf."""
        if node in self.inner:
            return [_added(f"{self.cotangent(node)} + r * LD + col", part)]
        if node in self.terms:
            return [f"store({self.cotangent(node)} + r * LD + col, {part});"]
        if node in self.distances:
            return self.distances[node].add(part)
        if node not in self.by_node:
            assert isinstance(node, Read | ReadDim)
            item = self.by_node[node.arg]
            return if_wanted(item, [scattered(item, node, made.value(node.index), part)])
        item = self.by_node[node]
        return if_wanted(item, [self.put_number(item, part)])

    def put_number(self, item: Held, part: str) -> str:
        """Add the cotangents of WIDTH pairs to those of a leaf that is no vector."""
        k = item.place
        if item.leaf.domain == "row":
            return f"queries_{k}[r] += {part};"
        if item.leaf.domain == "head":
            return f"some_{k}[0] += {part};"
        if item.leaf.domain == "apart":
            return item.added_apart(part)
        row = "(first + r) * keys_all + " if item.leaf.domain == "pair" else ""
        return _added(f"grad_{k} + {row}{KEY}", part)

    def cotangent(self, term: Node) -> str:
        """Where the cotangents of a term stand: in its place, but where entries need it once more."""
        name = self.terms[term]
        return cotangents_of(name) if term in self.inner else name

    def spread(self, step: Step) -> str:
        """From the cotangents of a term or an entry to those of what it is made of."""
        if step.is_entry:
            return self.entry_end(step.node)
        return "" if is_extreme(step.node) else self.spread_term(step.node)

    def spread_term(self, term: Node) -> str:
        """From the cotangents of a term to those of its factors, for a group and a tile."""
        name = self.cotangent(term)
        if term in self.networks:
            return self.networks[term].backward(
                name, width_of(term), self.put_number, self.entry_put
            )
        if not is_product(term, self.match):
            return self.spread_features(term, name)
        assert isinstance(term, Contract)
        row, key = (self.by_node[side] for side in query_side(term, self.match))
        width = padded(row.width)
        pairs = f"{width}, {name} + n * LANES, LD"
        keys = f"rows_{key.place} + n * LANES * {width}"
        of_row = f"grad_{row.place} + first * {width}, {pairs}, {keys}, count"
        queries = f"restacked(steps_{row.place}, x{row.place}, {row.padded}, count)"
        of_key = f"grad_{key.place} + t * LANES * {width}, {pairs}, {queries}, count"
        lines = if_wanted(row, [f"add_over_keys({of_row}, cotangent_room.at);"])
        lines += if_wanted(key, [f"add_over_rows({of_key}, cotangent_room.at);"])
        return "\n".join(lines)

    def sum_spread(self, term: Node, name: str, loop: str) -> str:
        """From the cotangents of a term to those of its leaves."""
        found, sums = self.fractions[term], self.sums(term)
        row, key = (self.by_node[part.leaf] for part in (found.row, found.key))
        weight = None if found.weight is None else self.by_node[found.weight]
        wanted = ["0" if item is None else f"WANT_{item.place}" for item in (row, key, weight)]
        targets = (
            (row, f"grad_{row.place} + first * {padded(row.width)}", "float"),
            (key, f"keys_{key.place} + n * {key.width} * LANES", "float"),
            (weight, f"heads_{weight.place}" if weight else "", "real"),
        )
        lines = [f"{kind}* to_{side} = nullptr;" for side, (_, _, kind) in enumerate(targets)]
        for side, (item, at, _) in enumerate(targets):
            if item is not None:
                lines += if_wanted(item, [f"to_{side} = {at};"])
        factors = f"{number(found.row.factor)}, {number(found.key.factor)}"
        made = f"{sums}.spread<{', '.join(wanted)}>({name} + n * LANES, LD, tile, form, begin, end, {factors}, to_0, to_1, to_2);"
        tile = f"tiles_{sums} + n * {found.type}::TILE"
        return FORMS.format(tile=tile, sums=sums, made="\n".join([*lines, made]), loop=loop)

    def spread_features(self, term: Node, name: str) -> str:
        """The same feature by feature."""
        made, rows = Statements(self.feature, "f"), self.rows_at_once(term)
        wanted = [
            node
            for node in inside(term, self.match)
            if node in self.entries
            or (node in self.by_node and self.by_node[node].kind is Kind.REAL)
        ]
        found = of_term(term, DT, dict.fromkeys(wanted))
        before: list[str] = []
        within: list[str] = []
        after: list[str] = []
        for node, part in found.items():
            value = made.value(part)
            within += made.lines
            made.lines.clear()
            if node in self.entries:
                within += self.entry_put(node, f"(dt == 0.0f ? all(0.0f) : {value})")
                continue
            item = self.by_node[node]
            parts = self.feature_put(item, f"(dt == 0.0f ? all(0.0f) : {value})", rows)
            for lines, texts in zip((before, within, after), parts, strict=True):
                lines += if_wanted(item, [texts]) if texts else []
        whole = term not in self.fractions
        loop = _SPREAD.format(
            name=name,
            begin="0" if whole else "begin",
            end="count" if whole else "end",
            rows=rows,
            width=width_of(term),
            before="\n".join(before),
            inside="\n".join(within),
            after="\n".join(after),
        )
        return loop if whole else self.sum_spread(term, name, loop)

    def feature_put(self, item: Held, part: str, rows: str) -> tuple[str, str, str]:
        """Before, for and after the vectors of a tile: add to the cotangents of a leaf."""
        k, width = item.place, item.width
        if not item.is_vector:
            return "", self.put_number(item, part), ""
        match item.leaf.domain:
            case "row":
                at = f"grad_{k}[(first + r) * {padded(width)} + d]"
                return (
                    f"real total_{k}[{rows}] = {{}};",
                    f"total_{k}[i] += {part};",
                    f"{at} += sum_of(total_{k}[i]);",
                )
            case "key":
                at = f"keys_{k} + (n * {width} + d) * LANES + c * WIDTH"
                return "", _added(at, part), ""
            case "apart":
                return "", item.added_apart(part), ""
        return "", f"some_{k}[d] += {part};", ""

    def entry_start(self, node: Node) -> str:
        """Nothing is added to the cotangents of an entry of each pair yet."""
        clear = f"store({cotangents_of(self.entries[node])} + r * LD + col, all(0.0f));"
        return "\n".join(self.if_entry_wanted(node, [EACH_PAIR.format(code=clear)]))

    def entry_put(self, node: Node, part: str) -> list[str]:
        """Add the cotangents of WIDTH pairs at one feature."""
        at = f"{cotangents_of(self.entries[node])} + r * LD + n * LANES + c * WIDTH"
        return self.if_entry_wanted(node, [_added(at, part)])

    def entry_end(self, node: Node) -> str:
        """Add those of all pairs of a group and a tile to those of what it is made of."""
        made = self.pairs("e")
        lines = [f"const real de = load({cotangents_of(self.entries[node])} + r * LD + col);"]
        for item, part in flow({node: DE}, self.wanted(node)).items():
            value = made.value(part)
            put = self.put(
                item, value if part is DE else f"(de == 0.0f ? all(0.0f) : {value})", made
            )
            lines += [*made.lines, *put]
            made.lines.clear()
        text = EACH_PAIR.format(code="\n".join(lines))
        return "\n".join(self.if_entry_wanted(node, [text]))

    def if_entry_wanted(self, node: Node, lines: list[str]) -> list[str]:
        """Lines that are there where the gradient of the table is wanted."""
        if node in self.distances:
            return self.distances[node].if_wanted("\n".join(lines)).splitlines()
        if not isinstance(node, Read | ReadDim):
            return lines
        return if_wanted(self.by_node[node.arg], lines)


_SPREAD = """for (long q = {begin}; q < {end}; q += {rows})
  for (long d = 0; d < {width}; ++d) {{
    {before}
    for (long c = 0; c < COLS; ++c)
      for (long i = 0; i < {rows}; ++i) {{
        const long r = q + i;
        const real dt = r < {end} ? load({name} + r * LD + n * LANES + c * WIDTH) : (real){{}};
        {inside}
      }}
    for (long i = 0; i < {rows}; ++i) {{
      const long r = q + i;
      {after}
    }}
  }}"""


def cotangents_of(name: str) -> str:
    """Where the cotangents of an entry or a term of each pair are summed."""
    return f"of_{name}"


def _added(at: str, part: str) -> str:
    """Add a vector to what stands in memory."""
    return f"store({at}, load({at}) + {part});"
