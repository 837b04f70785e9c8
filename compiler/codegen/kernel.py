"""The C++ of an attend's kernels, forward and backward.

    forward   for each group of queries: scores of the keys that it may see, 256 at a time, their
              weights by an online softmax, and the sum of the values
    backward  for each stretch of keys, and each group of queries: the weights again, from lse, and
              the cotangents of everything that the score reads

The formulas are those of the pair IR; the layout is that of the templates in `cpp`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from ...dsl.core import (
    Contract,
    Kind,
    Map,
    Node,
    Param,
    Read,
    ReadDim,
    Reduce,
    Type,
    walk,
)
from ..matching.fused import Match
from .algebra import fractions
from .derivatives import adjoints, of_term
from .expressions import Code, Spans, Statements, number
from .leaves import Held, held, is_product, padded, query_side

PLACE = Path(__file__).parent / "cpp"
#: the cotangents of the score, of a weight, and of the term at hand
#: operators of an instruction or two
_LIGHT = frozenset("neg + - * min max abs relu < <= > >= == != where clip sign detach **".split())
DS, DW, DT = (Param(Type(Kind.REAL), name, "carry") for name in ("ds", "dw", "dt"))


@dataclass(frozen=True)
class Sources:
    """The text of the kernels. `backward` wants `#define WANT_k` for the leaves to differentiate."""

    forward: str
    backward: str


def sources(match: Match) -> Sources:
    """The kernels of an attend."""
    return Sources(_Forward(match).text(), _Backward(match).text())


class _Writer:
    """What both kernels have in common. `index` names the tile at hand in the arrays of keys."""

    index = "t"
    template = ""

    def __init__(self, match: Match) -> None:
        self.match = match
        self.held = held(match)
        self.by_node = {item.leaf.node: item for item in self.held}
        self.terms = {term: f"term_{place}" for place, term in enumerate(match.terms)}
        found = ((term, fractions(term, match)) for term in match.terms)
        self.fractions = {term: made for term, made in found if made is not None}

    def text(self) -> str:
        """The whole source."""
        template = _environment().get_template(self.template)
        text = prelude(bool(self.fractions))
        return template.render(prelude=text, **self.blocks()) + "\n"

    def blocks(self) -> dict[str, Any]:
        """What the template is filled with."""
        rows = [item for item in self.held if item.leaf.domain == "row"]
        return {
            "value": self.held[0].leaf,
            "count": len(self.held),
            "softmax": self.match.weight is None,
            "lanes": _lanes(),
            "arrays": _lines(item.array() for item in self.held),
            "row_loads": _lines(
                (*(item.load_rows() for item in rows), *map(self.sum_rows, self.fractions))
            ),
            "row_spans": _lines(
                f"const Span span_{item.place} = {_row_span(item)};"
                for item in rows
                if item.in_mask
            ),
            "classify": self.classify(),
            "terms": _lines(map(self.term, self.match.terms)),
        }

    # -- leaves -----------------------------------------------------------------------------

    def scalar(self, node: Node) -> str | None:
        """What is read for WIDTH pairs."""
        if node in self.terms:
            return f"load({self.terms[node]} + r * LD + col)"
        if isinstance(node, Read | ReadDim):
            return None
        found = self.by_node.get(node)
        if found is not None:
            return found.scalar(self.index)
        return node.name if isinstance(node, Param) else None

    def feature(self, node: Node) -> str | None:
        """What is read for WIDTH pairs at one feature."""
        found = self.by_node.get(node)
        if found is not None:
            return found.feature(self.index)
        return node.name if isinstance(node, Param) else None

    def weighing(self, made: _Pairs) -> Node:
        """Write the score of WIDTH pairs (the weight where it is no softmax) as `s`; what it is.

        Where a score may be -inf, `alive` says which are not: the others are not there.
        """
        root = self.match.root
        value, given = made.value(root), self.match.given
        if given is not None:
            made.lines.append(f"const mask alive = (mask)({made.value(given)} > -INF);")
            if given is not root:
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
            return Code("")
        spans = Spans(self.span)
        value = spans.value(self.match.mask)
        return Code(f"{spans.code}\nfound = kind_of({value});")

    def span(self, node: Node) -> str | None:
        """The extremes of a leaf."""
        item = self.by_node.get(node)
        if item is None or isinstance(node, Read | ReadDim):
            return None
        match item.leaf.domain:
            case "row":
                return f"span_{item.place}"
            case "key":
                return f"spans_{item.place}[{self.index}]"
            case "head" if not item.is_vector:
                return f"over(x{item.place}, 1)"
        return None

    def visible(self) -> Code:
        """Which of WIDTH pairs the mask lets in, `there` among them."""
        if self.match.mask is None:
            return Code("const mask seen = there;")
        made = _Pairs(self, "m")
        value = made.value(self.match.mask)
        return Code(f"{made.code}\nconst mask seen = {value} & there;")

    def term(self, term: Node) -> str:
        """A sum over features, of a group and a tile."""
        name = self.terms[term]
        if is_product(term, self.match):
            assert isinstance(term, Contract)
            row, key = (self.by_node[side] for side in query_side(term, self.match))
            width = row.width
            left = f"x{row.place}, {padded(width)}, 1"
            right = f"x{key.place} + {self.index} * {width} * LANES, LANES"
            rows = "padded" if self.index == "t" else "count"
            return (
                f"product<false>({name} + n * LANES, LD, {left}, {right}, {rows}, COLS, {width});"
            )
        if term not in self.fractions:
            return self.loop(term, name, "0", "count")
        loop = self.loop(term, name, "begin", "end")
        sums = self.sums(term)
        tile = f"tiles_{sums} + {self.index} * {self.fractions[term].type}::TILE"
        made = f"{sums}.scores({name} + n * LANES, LD, tile, form, begin, end);"
        return _FORMS.format(tile=tile, sums=sums, made=made, loop=loop)

    def loop(self, term: Node, name: str, begin: str, end: str) -> str:
        """A sum over features, one after the other."""
        made = Statements(self.feature, "f")
        value = _factors(made, term)
        rows = self.rows_at_once(term)
        return _LOOP.format(
            name=name,
            begin=begin,
            end=end,
            rows=rows,
            width=_width(term),
            code=made.code,
            value=value,
        )

    def rows_at_once(self, term: Node) -> str:
        """How many queries a loop over features takes together, to read keys once for all.

        Padding stands for those beyond a group, but not in arrays by pair. Where functions are
        computed reading is nothing, and the code would be long.
        """
        below = list(walk(term))
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
        weight = "nullptr" if found.weight is None else f"x{self.by_node[found.weight].place}"
        row = f"x{self.by_node[found.row.leaf].place}, count, centre_{sums}"
        factors = f"{number(found.row.factor)}, {number(found.key.factor)}"
        return f"{sums}.weights({weight});\n{sums}.rows({row}, {factors});"


_FORMS = """for (long part = 0; part * CHOSEN < count; ++part) {{
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


class _Pairs(Statements):
    """Numbers of pairs, tables read at places of their own among them."""

    def __init__(self, writer: _Writer, prefix: str = "v") -> None:
        super().__init__(writer.scalar, prefix)
        self.by_node = writer.by_node

    def _written(self, node: Node) -> str:
        if not isinstance(node, Read | ReadDim):
            return super()._written(node)
        item = self.by_node[node.arg]
        place = self.value(node.index)
        found = f"gather(x{item.place}, {place}, {item.width})"
        if isinstance(node, ReadDim):
            return found
        return f"choose(narrow({place} < 0) | narrow({place} >= {item.width}), all(0.0f), {found})"


def _factors(made: Statements, term: Node) -> str:
    """What is summed over features."""
    if isinstance(term, Contract):
        return f"{made.value(term.left)} * {made.value(term.right)}"
    assert isinstance(term, Reduce)
    return made.value(term.arg)


def _width(term: Node) -> int:
    arg = term.left if isinstance(term, Contract) else term.arg  # type: ignore[attr-defined]
    size: int = arg.type.dims[0].value
    return size


class _Forward(_Writer):
    template = "forward.cpp.jinja"

    def blocks(self) -> dict[str, Any]:
        keys = [item for item in self.held if item.leaf.domain == "key"]
        made = _Pairs(self)
        self.weighing(made)
        return super().blocks() | {
            "score": made.code,
            "absent": self.absent(),
            "visible": self.visible(),
            "packs": _lines(
                (
                    *(line for item in keys for line in self.packs(item)),
                    *map(self.sum_packs, self.fractions),
                )
            ),
            "packing": _lines(
                (*map(self.packing, keys), *map(self.sum_packing, self.fractions)),
            ),
            "rooms": _lines(
                (
                    *map(self.room, self.held),
                    *map(_term_room, self.terms.values()),
                    *(f"{made.type} {self.sums(t)};" for t, made in self.fractions.items()),
                )
            ),
            "pointers": _lines(
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
        slots = f"a{k}.batches(B) * a{k}.heads(H)"
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
        width = "PADDED" if k == 0 else str(item.width)
        slots = f"a{k}.batches(B) * a{k}.heads(H)"
        found = [f"const Pack<{item.packed}> p{k}({slots}, tiles * LANES * {width});"]
        if item.in_mask:
            found.append(f"const Pack<Span> s{k}({slots}, tiles);")
        return found

    def packing(self, item: Held) -> str:
        """Pack the keys of all heads, each tile by one thread."""
        k = item.place
        at = f"a{k}.at + slot / a{k}.heads(H) * a{k}.by_batch + slot % a{k}.heads(H) * a{k}.by_head"
        width = "PADDED" if k == 0 else str(item.width)
        to = f"p{k}.of(slot) + t * LANES * {width}"
        if k == 0:
            there = "std::min<long>(LANES, M - t * LANES)"
            load = f"rows_of({to}, PADDED, {at}, a{k}.by_key, VALUE, t * LANES, {there}, LANES);"
        else:
            load = item.load_keys(to, at, "t")
        lines = [
            "#pragma omp for",
            f"for (long u = 0; u < a{k}.batches(B) * a{k}.heads(H) * tiles; ++u) {{",
            "  const long slot = u / tiles, t = u % tiles;",
            f"  {load}",
        ]
        if item.in_mask:
            there = "std::min<long>(LANES, M - t * LANES)"
            lines.append(f"  s{k}.of(slot)[t] = {_truth(item, f'over({to}, {there})')};")
        return "\n".join([*lines, "}"])

    def room(self, item: Held) -> str:
        """Memory of a thread for the queries of a group."""
        return _row_room(item) if item.leaf.domain == "row" else ""

    def pointers(self, item: Held) -> list[str]:
        """The arrays of a head."""
        k = item.place
        match item.leaf.domain:
            case "key":
                name = "values" if k == 0 else f"x{k}"
                slot = f"a{k}.slot(b, h, H)"
                found = [f"const {item.packed}* const {name} = p{k}.of({slot});"]
                if item.in_mask:
                    found.append(f"const Span* const spans_{k} = s{k}.of({slot});")
                return found
            case "row":
                return []
        return [f"const {item.stored}* const x{k} = a{k}.of(b, h);"]


_SUM_PACKING = """#pragma omp for
for (long slot = 0; slot < a{k}.batches(B) * a{k}.heads(H); ++slot) {{
  float* const to = centres_{sums}.of(slot);
  std::fill(to, to + {type}::PADDED, 0.0f);
  centre_keys(to, a{k}.at + slot / a{k}.heads(H) * a{k}.by_batch + slot % a{k}.heads(H) * a{k}.by_head, a{k}.by_key, {width}, M);
}}
#pragma omp for
for (long u = 0; u < a{k}.batches(B) * a{k}.heads(H) * tiles; ++u) {{
  const long slot = u / tiles, t = u % tiles;
  {type}::keys(packed_{sums}.of(slot) + t * {type}::TILE, p{k}.of(slot) + t * LANES * {width}, centres_{sums}.of(slot), {by}, std::min<long>(LANES, M - t * LANES));
}}"""


class _Backward(_Writer):
    index = "n"
    template = "backward.cpp.jinja"

    def blocks(self) -> dict[str, Any]:
        keys = [item for item in self.held if item.leaf.domain == "key"]
        score, follows = self.pair_block()
        return super().blocks() | {
            "score": score,
            "rooms": _lines(
                (
                    *(line for item in self.held for line in self.rooms(item)),
                    *map(_term_room, self.terms.values()),
                    *map(self.sum_rooms, self.fractions),
                )
            ),
            "pointers": _lines(
                f"const {item.stored}* const x{item.place} = a{item.place}.of(b, h);"
                for item in self.held
                if item.leaf.domain in ("head", "pair")
            ),
            "targets": _lines(
                (
                    *(line for item in self.held for line in self.targets(item)),
                    *map(self.sum_centre, self.fractions),
                )
            ),
            "column_loads": self.column_loads(keys),
            "visible_back": Code(self.visible().replace("const mask seen =", "seen =")),
            "adjoints": follows,
            "spread": _lines(map(self.spread, self.match.terms)),
            "group_starts": _lines(map(self.group_starts, self.held)),
            "group_ends": _lines(map(self.group_ends, self.held)),
            "batch_ends": _lines(map(self.batch_ends, self.held)),
            "unit_ends": _lines(map(self.unit_ends, self.held)),
        }

    # -- memory -----------------------------------------------------------------------------

    def rooms(self, item: Held) -> list[str]:
        """Memory of a thread for a leaf, and for its cotangents."""
        k, width = item.place, item.width
        if item.leaf.domain == "row":
            return [_row_room(item)]
        if item.leaf.domain != "key" or k == 0:
            return []
        found = [_room(f"x{k}", item.packed, f"BATCH * LANES * {width}")]
        if item.in_mask:
            found.append(f"Span spans_{k}[BATCH];")
        if item.as_rows:
            found.append(_room(f"rows_{k}", "float", f"BATCH * LANES * {padded(width)}"))
        if self.is_spread(item):
            found.append(_room(f"keys_{k}", "float", f"BATCH * LANES * {width}"))
        return found

    def is_spread(self, item: Held) -> bool:
        """Whether cotangents of a vector of keys are gathered feature by feature."""
        terms = (term for term in self.match.terms if not is_product(term, self.match))
        return (
            item.place > 0
            and item.is_vector
            and any(item.leaf.node in set(walk(term)) for term in terms)
        )

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
            case _:
                at = f"row_unit * {item.width}"
        found = [f"float* const grad_{k} = (float*)grads[{k}] + {at};"]
        if _is_of_head(item):
            found.append(f"real heads_{k}[{item.width}] = {{}};")
        return _if_wanted(item, found)

    def column_loads(self, keys: list[Held]) -> Code:
        """The keys of a batch of tiles."""
        lines: list[str] = []
        value = (
            "value_columns + n * VALUE * LANES, a0.of(b, h), a0.by_key, VALUE, (t0 + n) * LANES, M"
        )
        lines.append(f"columns({value});")
        for item in keys[1:]:
            k, width, at = item.place, item.width, f"a{item.place}.of(b, h)"
            lines.append(item.load_keys(f"x{k} + n * LANES * {width}", at, "(t0 + n)"))
            there = "std::min<long>(LANES, M - (t0 + n) * LANES)"
            if item.in_mask:
                over = f"over(x{k} + n * LANES, {there})"
                lines.append(f"spans_{k}[n] = {_truth(item, over)};")
            if item.as_rows:
                to = f"rows_{k} + n * LANES * {padded(width)}, {padded(width)}"
                span = f"a{k}.by_key, {width}, (t0 + n) * LANES, {there}, LANES"
                lines.append(f"rows_of({to}, {at}, {span});")
            if self.is_spread(item):
                clear = f"std::fill(keys_{k} + n * LANES * {width}, keys_{k} + (n + 1) * LANES * {width}, 0.0f);"
                lines += _if_wanted(item, [clear])
        loads = "for (long n = 0; n < many; ++n) {\n" + "\n".join(lines) + "\n}"
        return Code("\n".join((loads, *map(self.sum_keys, self.fractions))))

    # -- sums of fractions ------------------------------------------------------------------

    def sum_rooms(self, term: Node) -> str:
        """Memory of a thread for the exponentials of a batch of tiles, and for their centre."""
        found, sums = self.fractions[term], self.sums(term)
        return (
            f"{found.type} {sums};\n"
            f"{_room(f'tiles_{sums}', 'float', f'BATCH * {found.type}::TILE')}\n"
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
        there = f"{number(found.key.factor)}, std::min<long>(LANES, M - (t0 + n) * LANES)"
        return f"for (long n = 0; n < many; ++n) {found.type}::keys({to}, {there});"

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
                lines += _if_wanted(item, [f"to_{side} = {at};"])
        factors = f"{number(found.row.factor)}, {number(found.key.factor)}"
        made = f"{sums}.spread<{', '.join(wanted)}>({name} + n * LANES, LD, tile, form, begin, end, {factors}, to_0, to_1, to_2);"
        tile = f"tiles_{sums} + n * {found.type}::TILE"
        return _FORMS.format(tile=tile, sums=sums, made="\n".join([*lines, made]), loop=loop)

    # -- cotangents -------------------------------------------------------------------------

    def pair_block(self) -> tuple[Code, Code]:
        """The score of WIDTH pairs (the weight where it is no softmax), and what follows from it."""
        made = _Pairs(self)
        plain = self.match.weight is None
        root = self.weighing(made)
        score = made.code
        made.lines.clear()
        wanted = [*self.terms, *(node for node in walk(root) if self.is_number(node))]
        found = adjoints(root, DS if plain else DW, dict.fromkeys(wanted))
        lines: list[str] = []
        for node, part in found.items():
            name = made.value(part)
            if self.match.given is not None:
                name = f"choose(alive, {name}, all(0.0f))"
            put = self.put(node, f"(partial ? choose(seen, {name}, all(0.0f)) : {name})", made)
            lines += [*made.lines, *put]
            made.lines.clear()
        lines += [
            f"store({name} + r * LD + col, all(0.0f));"
            for term, name in self.terms.items()
            if term not in found
        ]
        return score, Code("\n".join(lines))

    def is_number(self, node: Node) -> bool:
        """Whether a node of a score is read from a real array, one number for each pair."""
        if isinstance(node, Read | ReadDim):
            return True
        item = self.by_node.get(node)
        return item is not None and item.kind is Kind.REAL and not item.is_vector

    def put(self, node: Node, part: str, made: Statements) -> list[str]:
        """Add the cotangents of WIDTH pairs to those of a term or a leaf."""
        if node in self.terms:
            return [f"store({self.terms[node]} + r * LD + col, {part});"]
        if isinstance(node, Read | ReadDim):
            item = self.by_node[node.arg]
            place = made.value(node.index)
            add = f"scatter(grad_{item.place}, {place}, {part}, {item.width}"
            absent = isinstance(node, Read)
            return _if_wanted(item, [f"{add}, {'true' if absent else 'false'});"])
        item = self.by_node[node]
        k = item.place
        match item.leaf.domain:
            case "row":
                line = f"queries_{k}[r] += {part};"
            case "key":
                at = f"grad_{k} + t * LANES + c * WIDTH"
                line = f"store({at}, load({at}) + {part});"
            case "pair":
                at = f"grad_{k} + (first + r) * keys_all + t * LANES + c * WIDTH"
                line = f"store({at}, {part});"
            case _:
                line = f"some_{k}[0] += {part};"
        return _if_wanted(item, [line])

    def spread(self, term: Node) -> str:
        """From the cotangents of a term to those of its factors, for a group and a tile."""
        name = self.terms[term]
        if not is_product(term, self.match):
            return self.spread_features(term, name)
        assert isinstance(term, Contract)
        row, key = (self.by_node[side] for side in query_side(term, self.match))
        width = padded(row.width)
        vectors = f"{width} / WIDTH"
        of_row = f"grad_{row.place} + first * {width}, {width}, {name} + n * LANES, LD, 1"
        of_key = f"grad_{key.place} + t * LANES * {width}, {width}, {name} + n * LANES, 1, LD"
        keys = f"rows_{key.place} + n * LANES * {width}, {width}"
        lines = _if_wanted(row, [f"product<true>({of_row}, {keys}, count, {vectors}, LANES);"])
        queries = f"x{row.place}, {width}"
        lines += _if_wanted(key, [f"product<true>({of_key}, {queries}, LANES, {vectors}, count);"])
        return "\n".join(lines)

    def spread_features(self, term: Node, name: str) -> str:
        """The same feature by feature."""
        made, rows = Statements(self.feature, "f"), self.rows_at_once(term)
        wanted = [
            node
            for node in walk(term)
            if node in self.by_node and self.by_node[node].kind is Kind.REAL
        ]
        found = of_term(term, DT, dict.fromkeys(wanted))
        before: list[str] = []
        inside: list[str] = []
        after: list[str] = []
        for node, part in found.items():
            item = self.by_node[node]
            value = made.value(part)
            inside += made.lines
            made.lines.clear()
            parts = self.feature_put(item, f"(dt == 0.0f ? all(0.0f) : {value})", rows)
            for lines, texts in zip((before, inside, after), parts, strict=True):
                lines += _if_wanted(item, [texts]) if texts else []
        whole = term not in self.fractions
        loop = _SPREAD.format(
            name=name,
            begin="0" if whole else "begin",
            end="count" if whole else "end",
            rows=rows,
            width=_width(term),
            before="\n".join(before),
            inside="\n".join(inside),
            after="\n".join(after),
        )
        return loop if whole else self.sum_spread(term, name, loop)

    def feature_put(self, item: Held, part: str, rows: str) -> tuple[str, str, str]:
        """Before, for and after the vectors of a tile: add to the cotangents of a leaf."""
        k, width = item.place, item.width
        match item.leaf.domain, item.is_vector:
            case "row", True:
                at = f"grad_{k}[(first + r) * {padded(width)} + d]"
                return (
                    f"real total_{k}[{rows}] = {{}};",
                    f"total_{k}[i] += {part};",
                    f"{at} += sum_of(total_{k}[i]);",
                )
            case "row", False:
                return "", f"queries_{k}[r] += {part};", ""
            case "key", True:
                at = f"keys_{k} + (n * {width} + d) * LANES + c * WIDTH"
                return "", f"store({at}, load({at}) + {part});", ""
            case "key", False:
                at = f"grad_{k} + t * LANES + c * WIDTH"
                return "", f"store({at}, load({at}) + {part});", ""
            case "pair", _:
                at = f"grad_{k} + (first + r) * keys_all + t * LANES + c * WIDTH"
                return "", f"store({at}, load({at}) + {part});", ""
        return "", f"some_{k}[{'d' if item.is_vector else '0'}] += {part};", ""

    def group_starts(self, item: Held) -> str:
        """Cotangents of a group of queries, or of a head by one, summed over the keys of a batch."""
        k = item.place
        if _is_of_head(item):
            return "\n".join(_if_wanted(item, [f"real some_{k}[{item.width}] = {{}};"]))
        if not _is_row_number(item):
            return ""
        return "\n".join(_if_wanted(item, [f"real queries_{k}[GROUP] = {{}};"]))

    def group_ends(self, item: Held) -> str:
        """Put them where they belong."""
        k = item.place
        if _is_of_head(item):
            add = f"for (long d = 0; d < {item.width}; ++d) heads_{k}[d] += some_{k}[d];"
            return "\n".join(_if_wanted(item, [add]))
        if not _is_row_number(item):
            return ""
        add = f"for (long r = 0; r < count; ++r) grad_{k}[first + r] += sum_of(queries_{k}[r]);"
        return "\n".join(_if_wanted(item, [add]))

    def batch_ends(self, item: Held) -> str:
        """From features of keys to keys of features."""
        if not self.is_spread(item) or item.leaf.domain != "key":
            return ""
        k, width = item.place, item.width
        return "\n".join(
            _if_wanted(
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
        return "\n".join(_if_wanted(item, [add]))


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


def _is_of_head(item: Held) -> bool:
    """Whether cotangents are summed over all pairs of a head: in parts, so that they stay accurate."""
    return item.leaf.domain == "head" and not item.leaf.table and item.kind is Kind.REAL


def _is_row_number(item: Held) -> bool:
    return item.leaf.domain == "row" and item.kind is Kind.REAL and not item.is_vector


def _if_wanted(item: Held, lines: list[str]) -> list[str]:
    return [f"#if WANT_{item.place}", *lines, "#endif"]


def _lines(texts: Iterable[str]) -> Code:
    return Code("\n".join(text for text in texts if text))


def _truth(item: Held, span: str) -> str:
    return f"-{span}" if item.kind is Kind.BOOL else span


def _row_span(item: Held) -> str:
    return _truth(item, f"over(x{item.place}, count)")


def _room(name: str, packed: str, size: str) -> str:
    """Memory of a thread under a name."""
    floats = f"({size}) * (long)sizeof({packed}) / 4"
    return f"Room {name}_room({floats});\n{packed}* const {name} = ({packed}*){name}_room.at;"


def _row_room(item: Held) -> str:
    width = padded(item.width) if item.is_vector else 1
    return _room(f"x{item.place}", item.packed, f"GROUP * {width}")


def _term_room(name: str) -> str:
    return _room(name, "float", "GROUP * LD")


@cache
def _lanes() -> Code:
    return Code("LANE_NUMBERS")


@cache
def prelude(with_fractions: bool) -> Code:
    """The headers, in one text: what is built stands in one file."""
    names = ["vectors.hpp", "spans.hpp", "frame.hpp", *["fractions.hpp"] * with_fractions]
    return Code("\n".join((PLACE / name).read_text("utf-8") for name in names))


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(PLACE),
        undefined=jinja2.StrictUndefined,
        finalize=_ours,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )


def _ours(value: Any) -> Any:
    """Templates take numbers and text of ours, never a string from a spec."""
    if isinstance(value, Code | int | jinja2.Undefined):
        return value
    raise TypeError(f"a template was given {type(value).__name__}")
