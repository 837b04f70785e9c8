"""What the forward and the backward kernel have in common: leaves, terms, masks and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...dsl.core import Contract, Map, Node, Param, Reduce
from ..matching.match import Match
from .algebra import fractions
from .by_distance import ByDistance
from .distances import distances
from .divisors import Divided
from .expressions import Code, Spans, Statements, number
from .leaves import KEY, Held, held, is_product, query_side
from .levels import Step, inside, is_extreme, steps, terms_of
from .networks import Network
from .operators import joined, start_of
from .pairs import Pairs
from .text import (
    MORE_HEADERS,
    apart_fill,
    apart_pack,
    apart_pointer,
    environment,
    lines_of,
    prelude,
)

#: operators of an instruction or two
_LIGHT = frozenset("neg + - * min max abs relu < <= > >= == != where clip sign detach **".split())


@dataclass(frozen=True)
class Pairing:
    """Pairs of a group and a tile: queries and vectors of keys, the first of either and how many."""

    rows: str
    first_row: str
    first_vector: str
    vectors: str


#: all of them
WHOLE = Pairing("count", "0", "0", "COLS")


class Writer:
    """What both kernels have in common. `index` names the tile at hand in the arrays of keys."""

    index = "t"
    template = ""
    #: of which products are taken
    part = WHOLE

    def __init__(self, match: Match) -> None:
        self.match = match
        self.held = held(match)
        self.by_node = {item.leaf.node: item for item in self.held}
        self.terms = {term: f"term_{place}" for place, term in enumerate(match.terms)}
        found = ((term, fractions(term, match)) for term in match.terms)
        self.fractions = {term: made for term, made in found if made is not None}
        self.entries = {node: f"entry_{place}" for place, node in enumerate(match.entries)}
        self.steps = steps(match)
        #: terms that entries are made of
        self.inner = {term for node in match.entries for term in terms_of(node, match)}
        self.networks = {
            term: Network(term, match, self.by_node, self.entries, self.feature)
            for term in match.terms
            if not set(match.layers).isdisjoint(inside(term, match))
        }
        self.distances = {
            node: ByDistance(f"apart_{place}", node, found, self.by_node, self.index)
            for place, (node, found) in enumerate(distances(match).items())
        }

        divisor = match.divisor
        self.divided = None if divisor is None else Divided(divisor, self.by_node)

    def text(self) -> str:
        """The whole source."""
        template = environment().get_template(self.template)
        used = zip(MORE_HEADERS, (self.fractions, self.networks), strict=True)
        text = prelude(*(name for name, terms in used if terms))
        return template.render(prelude=text, **self.blocks()) + "\n"

    def blocks(self) -> dict[str, Any]:
        """What the template is filled with."""
        rows = [item for item in self.held if item.leaf.domain == "row"]
        apart = [item for item in self.held if item.leaf.domain == "apart"]
        prior = self.match.prior
        return {
            "value": self.held[0].leaf,
            "count": len(self.held),
            "softmax": self.match.weight is None,
            "kept": self.kept(),
            "classes": 0 if self.match.classes is None else self.match.classes.count,
            "class_place": self.class_place(),
            "prior": self.prior(),
            "of_weighed": Code("" if prior is None else number(prior.of_weighed)),
            "of_all": Code("" if prior is None else number(prior.of_all)),
            "divided": self.divided is not None,
            "arrays": lines_of(item.array() for item in self.held),
            "factors": lines_of(item.factor for item in self.held),
            "row_loads": lines_of(
                (*(item.load_rows() for item in rows), *map(self.sum_rows, self.fractions))
            ),
            "distances": lines_of(
                (*(item.declared() for item in self.distances.values()), *map(apart_pack, apart))
            ),
            "distance_fills": lines_of(
                (*(item.fill() for item in self.distances.values()), *map(apart_fill, apart))
            ),
            "distance_rooms": lines_of(item.room() for item in self.distances.values()),
            "distance_pointers": lines_of(
                (*(item.pointer() for item in self.distances.values()), *map(apart_pointer, apart))
            ),
            "distance_pairs": lines_of(item.pairs() for item in self.distances.values()),
            "classify": self.classify(),
            "visible": self.visible(),
            "terms": lines_of(map(self.step, self.steps)),
        }

    def pairs(self, prefix: str = "v") -> Pairs:
        """Statements about WIDTH pairs."""
        return Pairs(self.scalar, self.by_node, self.index, prefix)

    # -- leaves -----------------------------------------------------------------------------

    def scalar(self, node: Node) -> str | None:
        """What is read for WIDTH pairs."""
        if node in self.terms:
            return f"load({self.terms[node]} + r * LD + col)"
        if node in self.distances:
            return f"load({self.distances[node].at})"
        found = self.by_node.get(node)
        if found is not None:
            return found.scalar(self.index)
        return node.name if isinstance(node, Param) else None

    def feature(self, node: Node) -> str | None:
        """What is read for WIDTH pairs at one feature."""
        if node in self.entries:
            return f"load({self.entries[node]} + r * LD + n * LANES + c * WIDTH)"
        found = self.by_node.get(node)
        if found is not None:
            return found.feature(self.index)
        return node.name if isinstance(node, Param) else None

    def weighing(self, made: Pairs) -> Node:
        """Write the score of WIDTH pairs (the weight where it is no softmax) as `s`; what it is.

        Where a score may be -inf, `alive` says which are not: the others are not there.
        """
        root = self.match.root
        made.rounds = self.match.weight is not None or bool(self.match.rows)
        value, given = made.value(root), self.match.given
        if given is not None:
            made.lines.append(f"const mask alive = (mask)({made.value(given)} != -INF);")
            if given is not root or self.match.weight is not None:
                value = f"choose(alive, {value}, all({self.absent()}))"
        made.lines.append(f"const real s = {value};")
        return root

    def absent(self) -> Code:
        """The score, or weight, of a pair that is not there."""
        return Code("-INF" if self.match.weight is None else "0.0f")

    # -- blocks -----------------------------------------------------------------------------

    def classify(self) -> Code:
        """Whether the mask lets in all pairs of a group and a tile, or none."""
        if self.match.mask is None:
            return Code("return FULL;")
        spans = Spans(self.span)
        value = spans.value(self.match.mask)
        return Code(f"{spans.code}\nreturn kind_of({value});")

    def span(self, node: Node) -> str | None:
        """The extremes of a leaf."""
        item = self.by_node.get(node)
        if item is None:
            return None
        match item.leaf.domain:
            case "row":
                return self.row_span(item)
            case "key":
                return f"spans_{item.place}[{self.index}]"
            case "head" if not item.is_vector:
                return f"over(x{item.place}, 1, 1)"
        return None

    def row_span(self, item: Held) -> str:
        """Those of a leaf of queries."""
        raise NotImplementedError

    def visible(self) -> Code:
        """Which of WIDTH pairs are there and let in by the mask, as `visible`."""
        if self.match.mask is None:
            return Code(f"const mask visible = existing({KEY}, M);")
        made = self.pairs("m")
        value = made.value(self.match.mask)
        return Code(f"{made.code}\nconst mask visible = {value} & existing({KEY}, M);")

    def prior(self) -> Code:
        """What the weights of a softmax are multiplied with, as `m`; empty where there is none."""
        if self.match.prior is None:
            return Code("")
        made = self.pairs("p")
        value = made.value(self.match.prior.node)
        return Code(f"{made.code}\nconst real m = {value};")

    def class_place(self) -> Code:
        """The classes of WIDTH pairs, as `place`; empty where there are none."""
        if self.match.classes is None:
            return Code("")
        made = self.pairs("k")
        value = made.value(self.match.classes.place)
        return Code(f"{made.code}\nconst whole place = {value};")

    def kept(self) -> Code:
        """What dropout makes of weights of 1, for WIDTH pairs; empty where there is none."""
        dropped = self.match.dropped
        if dropped is None:
            return Code("")
        rows, keys = (self.by_node[node] for node in (dropped.rows, dropped.keys))
        bits = f"{rows.scalar(self.index)}, {keys.scalar(self.index)}, {number(dropped.rate)}"
        return Code(f"choose(keep({bits}), all({number(1 / (1 - dropped.rate))}), all(0.0f))")

    def step(self, step: Step) -> str:
        """A term or an entry, of a group and a tile."""
        return self.entry(step.node) if step.is_entry else self.term(step.node)

    def entry(self, node: Node) -> str:
        """An entry for each pair, of a group and a tile."""
        made = self.pairs("e")
        put = f"store({self.entries[node]} + r * LD + col, {made.value(node)});"
        return EACH_PAIR.format(code="\n".join((*made.lines, put)))

    def term(self, term: Node) -> str:
        """A sum over features, of a group and a tile."""
        name = self.terms[term]
        if is_product(term, self.match):
            assert isinstance(term, Contract)
            return self.product(term, WHOLE if term in self.inner else self.part)
        if term in self.networks:
            return self.networks[term].forward(name, width_of(term))
        if term not in self.fractions:
            return self.loop(term, name, "0", "count")
        loop = self.loop(term, name, "begin", "end")
        sums = self.sums(term)
        tile = f"tiles_{sums} + {self.index} * {self.fractions[term].type}::TILE"
        made = f"{sums}.scores({name} + n * LANES, LD, tile, form, begin, end);"
        return FORMS.format(tile=tile, sums=sums, made=made, loop=loop)

    def product(self, term: Contract, part: Pairing) -> str:
        """Dot products of queries and keys, of some pairs of a group and a tile."""
        row, key = (self.by_node[side] for side in query_side(term, self.match))
        first, vector = part.first_row, part.first_vector
        to = f"{self.terms[term]} + {first} * LD + n * LANES + {vector}, LD"
        left = f"x{row.place} + {first} * {row.padded}, {row.padded}, 1"
        right = f"x{key.place} + {self.index} * {key.steps} * LANES + {vector}, LANES"
        sizes = f"{part.rows}, {part.vectors}, {key.steps}"
        return f"product<false>({to}, {left}, {right}, {sizes});"

    def loop(self, term: Node, name: str, begin: str, end: str) -> str:
        """A sum over features, one after the other."""
        made = Statements(self.feature, "f")
        value = made.summand(term)
        if is_extreme(term):
            start, best = start_of(term), joined(term, "best", value)
            width = width_of(term)
            return _EXTREME.format(name=name, start=start, width=width, code=made.code, best=best)
        rows = self.rows_at_once(term)
        return _LOOP.format(
            name=name,
            begin=begin,
            end=end,
            rows=rows,
            width=width_of(term),
            code=made.code,
            value=value,
        )

    def rows_at_once(self, term: Node) -> str:
        """How many queries a loop over features takes together, to read keys once for all.

        Padding stands for those beyond a group, but not in arrays by pair. Where functions are
        computed reading is nothing, and the code would be long.
        """
        below = list(inside(term, self.match))
        pairs = {leaf.node for leaf in self.match.leaves if leaf.domain == "pair"}
        light = all(not isinstance(node, Map) or node.op in _LIGHT for node in below)
        return "SUM_ROWS" if light and pairs.isdisjoint(below) else "1"

    # -- sums of fractions ------------------------------------------------------------------

    def sums(self, term: Node) -> str:
        """What adds up the fractions of a term."""
        return self.terms[term].replace("term", "sums")

    def sum_rows(self, term: Node) -> str:
        """The weights, and the queries of a group."""
        found, sums = self.fractions[term], self.sums(term)
        weight = (
            "(const float*)nullptr"
            if found.weight is None
            else f"x{self.by_node[found.weight].place}"
        )
        row = f"x{self.by_node[found.row.leaf].place}, count, centre_{sums}"
        factors = f"{number(found.row.factor)}, {number(found.key.factor)}"
        return f"{sums}.weights({weight});\n{sums}.rows({row}, {factors});"


EACH_PAIR = """for (long r = 0; r < count; ++r)
  for (long c = 0; c < COLS; ++c) {{
    const long col = n * LANES + c * WIDTH;
    {code}
  }}"""
FORMS = """for (long part = 0; part * CHOSEN < count; ++part) {{
  const long begin = part * CHOSEN, end = std::min<long>(count, begin + CHOSEN);
  const float* const tile = {tile};
  const int form = {sums}.form(tile, part);
  if (form != EXACT) {{
    {made}
  }} else {{
    {loop}
  }}
}}"""


#: sums of 16 features are added to each other: less rounding than one after the other
_LOOP = """for (long q = {begin}; q < {end}; q += {rows})
  for (long e = 0; e < {width}; e += 16) {{
    real made[{rows}][COLS] = {{}};
    for (long d = e; d < std::min<long>(e + 16, {width}); ++d)
      for (long i = 0; i < {rows}; ++i)
        for (long c = 0; c < COLS; ++c) {{
          const long r = q + i;
          {code}
          made[i][c] += {value};
        }}
    for (long i = 0; i < {rows}; ++i)
      for (long c = 0; c < COLS; ++c) {{
        float* const at = {name} + (q + i) * LD + n * LANES + c * WIDTH;
        store(at, made[i][c] + (e ? load(at) : (real){{}}));
      }}
  }}"""


_EXTREME = """for (long r = 0; r < count; ++r)
  for (long c = 0; c < COLS; ++c) {{
    real best = {start};
    for (long d = 0; d < {width}; ++d) {{
      {code}
      best = {best};
    }}
    store({name} + r * LD + n * LANES + c * WIDTH, best);
  }}"""


def width_of(term: Node) -> int:
    """Over how many features a term is summed."""
    assert isinstance(term, Contract | Reduce)
    arg = term.left if isinstance(term, Contract) else term.arg
    return arg.type.dims[0].value
