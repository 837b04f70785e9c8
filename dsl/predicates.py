"""Predicates over tokens as formulas of linear integer arithmetic.

Int nodes become linear forms by cases (`min`, `max`, `where`, `clip`, `abs`), with a new unknown for
every `//` and `%` by a constant; bool nodes become formulas in negation normal form. What is not
arithmetic on tokens is opaque: one unknown per expression, whatever way it is written or typed.

The place of a token is its position: contracts speak of whole sequences, which begin at 0.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

from . import affine
from .affine import Atom, Linear
from .core import (
    Axis,
    Const,
    Fill,
    Index,
    Kind,
    KvHead,
    Length,
    Map,
    Node,
    Position,
    Read,
    Reduce,
    Type,
)
from .substitution import place, pointwise, substitute

MOST_CASES = 32
MOST_DEPTH = 60
MOST_STEPS = 2000


@dataclass(frozen=True, slots=True)
class AtMost:
    """form <= 0."""

    form: Linear


@dataclass(frozen=True, slots=True)
class Equal:
    """form = 0."""

    form: Linear


@dataclass(frozen=True, slots=True)
class Literal:
    """An opaque truth value, or its negation. `key` tells it from others."""

    key: int
    positive: bool


@dataclass(frozen=True, slots=True)
class Both:
    """All of the parts hold; without parts: true."""

    parts: tuple[Formula, ...] = ()


@dataclass(frozen=True, slots=True)
class Either:
    """One of the parts holds; without parts: false."""

    parts: tuple[Formula, ...] = ()


Formula: TypeAlias = AtMost | Equal | Literal | Both | Either

TRUE, FALSE = Both(), Either()


class TooHard(Exception):
    """A cap was hit: too many cases or too large an expression, which is then opaque."""


@dataclass(frozen=True, slots=True)
class Case:
    """What an int is under a condition. The conditions of all cases cover everything."""

    form: Linear
    condition: tuple[Formula, ...] = ()


COMPARISONS = {"<", "<=", ">", ">=", "==", "!="}
NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
PASSING = {"detach", "as_ref"}


class Translator:
    """Turns nodes into formulas; equal expressions get the same unknowns.

    Holds every node it has seen, so that an identity is never used twice.
    """

    def __init__(self) -> None:
        self.alive: list[Node] = []
        self.keys: dict[Hashable, int] = {}
        self.node_keys: dict[int, int] = {}
        self.atoms: dict[Hashable, Atom] = {}
        self.literals: dict[int, Node] = {}
        self.opaque: dict[Atom, Node] = {}
        self.int_cases: dict[int, tuple[Case, ...]] = {}
        self.formulas: dict[tuple[int, bool], Formula] = {}
        self.reads: dict[Read, Node | None] = {}
        self.depth = 0
        self.steps = 0

    # Identity

    def key(self, node: Node) -> int:
        """A number that equal expressions share; types count only where they carry meaning."""
        known = self.node_keys.get(id(node))
        if known is not None:
            return known
        same = self._same(node)
        if same is not None:
            number = self.key(same)
        else:
            number = self.keys.setdefault(self._structure(node), len(self.keys))
        self.alive.append(node)
        self.node_keys[id(node)] = number
        return number

    def _same(self, node: Node) -> Node | None:
        """A simpler node with the same value."""
        match node:
            case Map(op=op) if op in PASSING:
                return node.args[0]
            case Read(index=Index(axis=axis)) if axis == node.axis:
                return node.arg
            case _:
                return None

    def _structure(self, node: Node) -> Hashable:
        match node:
            case Map():
                return (node.op, tuple(self.key(arg) for arg in node.args))
            case Read():
                return self._reads(node)
            case Index() | Position():
                return ("token", node.axis)
            case Const():
                return ("const", type(node.value), node.value)
            case _:
                self.alive.append(node)
                return ("node", id(node))

    def _reads(self, node: Read) -> Hashable:
        foot, found = read_at(node)
        places = [
            (axis, self.key(index))
            for axis, index in found.items()
            if not (isinstance(index, Index) and index.axis == axis)
        ]
        if not places:
            return self._structure(foot)
        return ("read", self.key(foot), frozenset(places))

    # Ints

    def cases(self, node: Node) -> tuple[Case, ...]:
        """The linear forms that an int node may take, each with its condition."""
        known = self.int_cases.get(id(node))
        if known is None:
            try:
                with self._deeper():
                    known = self._cases(node)
            except TooHard:
                known = self._opaque(node)
            self.alive.append(node)
            self.int_cases[id(node)] = known
        return known

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self.depth += 1
        self.steps += 1
        try:
            if self.depth > MOST_DEPTH or self.steps > MOST_STEPS:
                raise TooHard
            yield
        finally:
            self.depth -= 1

    def _cases(self, node: Node) -> tuple[Case, ...]:
        match node:
            case Const(value=value) | Fill(value=value) if isinstance(value, int):
                return (Case(affine.constant(int(value))),)
            case Index() | Position():
                return (Case(affine.variable(self.token(node.axis))),)
            case KvHead(axis=axis, type=type_):
                return self._kv_head(node, axis, type_)
            case Read():
                return self._read(node)
            case Map():
                return self._map(node)
            case _:
                return self._opaque(node)

    def token(self, axis: Axis) -> Atom:
        """The unknown that is the place along an axis."""
        if axis not in self.atoms:
            high = None if axis.size is None else axis.size.value - 1
            self.atoms[axis] = Atom(axis.name, 0, high)
        return self.atoms[axis]

    def axis_atoms(self) -> Iterator[tuple[Axis, Atom]]:
        """Each axis that was met, with the unknown that is its place."""
        for key, atom in self.atoms.items():
            if isinstance(key, Axis):
                yield key, atom

    def _opaque(self, node: Node) -> tuple[Case, ...]:
        key = self.key(node)
        if key not in self.atoms:
            low, high = _range_of(node)
            atom = Atom(f"value{key}", low, high)
            self.atoms[key] = atom
            self.opaque[atom] = node
        return (Case(affine.variable(self.atoms[key])),)

    def _kv_head(self, node: Node, axis: Axis, type_: Type) -> tuple[Case, ...]:
        """h // (heads / groups)."""
        groups = type_.ref.size if type_.ref is not None else None
        if axis.size is None or groups is None or groups.value <= 0:
            return self._opaque(node)
        head = Case(affine.variable(self.token(axis)))
        return (self._quotient(head, max(axis.size.value // groups.value, 1)),)

    def _read(self, node: Read) -> tuple[Case, ...]:
        """f[e] is f with e put for its axis where that can be written, and 0 where e is -1."""
        moved = self.moved(node)
        if moved is None:
            return self._opaque(node)
        found = self.cases(moved)
        if isinstance(node.index, Index):
            return found
        there = self.formula(_not_negative(node.index), True)
        if there == TRUE:
            return found
        absent = self.formula(_not_negative(node.index), False)
        present = tuple(Case(case.form, (*case.condition, there)) for case in found)
        return self._capped((*present, Case(affine.constant(0), (absent,))))

    def moved(self, node: Read) -> Node | None:
        """The read as an expression in the index, if the argument is arithmetic on its axis."""
        if node not in self.reads:
            self.reads[node] = self._moved(node)
        return self.reads[node]

    def _moved(self, node: Read) -> Node | None:
        if isinstance(node.index, Index) and node.index.axis == node.axis:
            return node.arg
        foot = node.arg
        while isinstance(foot, Read):
            foot = foot.arg
        if not isinstance(foot, Index | Position | Map):
            return None
        if foot is node.arg and isinstance(foot, Position):
            return node.index if foot.axis == node.axis else foot
        return substitute(node.arg, node.axis, node.index)

    def _map(self, node: Map) -> tuple[Case, ...]:
        args = node.args
        if any(arg.type.kind is Kind.REAL for arg in args):
            return self._opaque(node)
        match node.op:
            case "+":
                return self._pairs(args, lambda a, b: a + b)
            case "-":
                return self._pairs(args, lambda a, b: a - b)
            case "neg":
                return tuple(Case(c.form.times(-1), c.condition) for c in self.cases(args[0]))
            case "*":
                return self._product(node)
            case "//" | "%" | "ceil_div":
                return self._division(node)
            case "min" | "max":
                return self._least(node.op, *args)
            case "clip":
                value, low, high = args
                return self._least("min", pointwise("max", value, low), high)
            case "abs":
                return self._least("max", args[0], pointwise("neg", args[0]))
            case "where":
                return self._choice(*args)
            case "int":
                return self._integer(node)
            case op if op in PASSING:
                return self.cases(args[0])
            case _:
                return self._opaque(node)

    def _integer(self, node: Map) -> tuple[Case, ...]:
        arg = node.args[0]
        if arg.type.kind is Kind.INT:
            return self.cases(arg)
        yes, no = self.formula(arg, True), self.formula(arg, False)
        return (Case(affine.constant(1), (yes,)), Case(affine.constant(0), (no,)))

    def _pairs(
        self, args: tuple[Node, ...], combine: Callable[[Linear, Linear], Linear]
    ) -> tuple[Case, ...]:
        left, right = self.cases(args[0]), self.cases(args[1])
        return self._capped(
            Case(combine(a.form, b.form), a.condition + b.condition) for a in left for b in right
        )

    def _product(self, node: Map) -> tuple[Case, ...]:
        left, right = (self.cases(arg) for arg in node.args)
        found = []
        for a in left:
            for b in right:
                condition = a.condition + b.condition
                if not a.form.terms:
                    found.append(Case(b.form.times(a.form.constant), condition))
                elif not b.form.terms:
                    found.append(Case(a.form.times(b.form.constant), condition))
                else:
                    return self._opaque(node)
        return self._capped(found)

    def _division(self, node: Map) -> tuple[Case, ...]:
        """e // c, e % c = e - c * (e // c), ceil_div(e, c) = (e + c - 1) // c."""
        value, by = (self.cases(arg) for arg in node.args)
        if len(by) != 1 or by[0].form.terms or by[0].form.constant <= 0:
            return self._opaque(node)
        divisor = by[0].form.constant
        if node.op == "ceil_div":
            value = tuple(Case(c.form.plus(divisor - 1), c.condition) for c in value)
        found = [self._quotient(case, divisor) for case in value]
        if node.op == "%":
            found = [
                Case(case.form - q.form.times(divisor), q.condition)
                for case, q in zip(value, found, strict=True)
            ]
        return self._capped(found)

    def _quotient(self, case: Case, divisor: int) -> Case:
        """form // divisor: the divisible part, and an unknown q for the rest r.

        divisor * q <= r <= divisor * q + divisor - 1
        """
        whole = {a: c // divisor for a, c in case.form.terms.items() if c % divisor == 0}
        rest_terms = {a: c for a, c in case.form.terms.items() if c % divisor}
        whole_form = Linear(whole, case.form.constant // divisor)
        rest = Linear(rest_terms, case.form.constant % divisor)
        if not rest.terms:
            return Case(whole_form, case.condition)
        quotient = self._quotient_atom(rest, divisor)
        scaled = affine.variable(quotient).times(divisor)
        facts = (AtMost(scaled - rest), AtMost((rest - scaled).plus(1 - divisor)))
        return Case(whole_form + affine.variable(quotient), case.condition + facts)

    def _quotient_atom(self, rest: Linear, divisor: int) -> Atom:
        key = ("quotient", frozenset(rest.terms.items()), rest.constant, divisor)
        if key not in self.atoms:
            self.atoms[key] = Atom(f"({rest}) // {divisor}")
        return self.atoms[key]

    def _least(self, op: str, left: Node, right: Node) -> tuple[Case, ...]:
        """min(a, b) is a where a <= b, and b where b < a; max the other way round."""
        first = pointwise("<=" if op == "min" else ">=", left, right)
        return self._choice(first, left, right)

    def _choice(self, condition: Node, yes: Node, no: Node) -> tuple[Case, ...]:
        holds, fails = self.formula(condition, True), self.formula(condition, False)
        found = [Case(c.form, (*c.condition, holds)) for c in self.cases(yes) if holds != FALSE]
        found += [Case(c.form, (*c.condition, fails)) for c in self.cases(no) if fails != FALSE]
        return self._capped(found)

    def _capped(self, cases: Iterable[Case]) -> tuple[Case, ...]:
        found = tuple(cases)
        if len(found) > MOST_CASES:
            raise TooHard
        return found

    # Bools

    def formula(self, node: Node, positive: bool) -> Formula:
        """The node, or its negation, as a formula."""
        known = self.formulas.get((id(node), positive))
        if known is None:
            try:
                with self._deeper():
                    known = self._formula(node, positive)
            except TooHard:
                known = self._literal(node, positive)
            self.alive.append(node)
            self.formulas[id(node), positive] = known
        return known

    def _formula(self, node: Node, positive: bool) -> Formula:
        match node:
            case Const(value=value) | Fill(value=value):
                return TRUE if bool(value) is positive else FALSE
            case Map(op="not"):
                return self.formula(node.args[0], not positive)
            case Map(op="and" | "or"):
                parts = tuple(self.formula(arg, positive) for arg in node.args)
                return _both(parts) if (node.op == "and") is positive else _either(parts)
            case Map(op="where"):
                return self._bool_choice(node, positive)
            case Map(op=op) if op in COMPARISONS:
                return self._comparison(node, op, positive)
            case Read():
                return self._bool_read(node, positive)
            case Reduce(op="any" | "all"):
                return self._quantified(node, positive)
            case _:
                return self._literal(node, positive)

    def _literal(self, node: Node, positive: bool) -> Formula:
        key = self.key(node)
        self.literals.setdefault(key, node)
        return Literal(key, positive)

    def _bool_choice(self, node: Map, positive: bool) -> Formula:
        condition, yes, no = node.args
        holds, fails = self.formula(condition, True), self.formula(condition, False)
        return _either(
            (
                _both((holds, self.formula(yes, positive))),
                _both((fails, self.formula(no, positive))),
            )
        )

    def _comparison(self, node: Map, op: str, positive: bool) -> Formula:
        left, right = node.args
        kinds = {left.type.kind, right.type.kind}
        if kinds == {Kind.BOOL}:
            return self._same_truth(left, right, (op == "==") is positive)
        if kinds != {Kind.INT}:
            return self._literal(node, positive)
        op = op if positive else NEGATED[op]
        cases = self._pairs((left, right), lambda a, b: a - b)
        return _either(tuple(_both((*case.condition, _relation(op, case.form))) for case in cases))

    def _same_truth(self, left: Node, right: Node, same: bool) -> Formula:
        return _either(
            tuple(
                _both((self.formula(left, value), self.formula(right, value is same)))
                for value in (True, False)
            )
        )

    def _bool_read(self, node: Read, positive: bool) -> Formula:
        """p[e]: p with e put for its axis, and False where e is -1."""
        moved = self.moved(node)
        if moved is None or moved.type.kind is not Kind.BOOL:
            return self._literal(node, positive)
        inner = self.formula(moved, positive)
        if isinstance(node.index, Index):
            return inner
        there = _not_negative(node.index)
        if positive:
            return _both((self.formula(there, True), inner))
        return _either((self.formula(there, False), inner))

    def _quantified(self, node: Reduce, positive: bool) -> Formula:
        """`any` that holds has a witness, and `all` that fails too; else nothing is concluded."""
        literal = self._literal(node, positive)
        if (node.op == "any") is not positive or node.dims:
            return literal
        parts = [self._formula_at(node, node.arg, positive)]
        if node.where is not None:
            parts.append(self._formula_at(node, node.where, True))
        return _both((literal, *parts))

    def _formula_at(self, node: Reduce, part: Node, positive: bool) -> Formula:
        """A part of a reduction at its witness, whose axes are named after the reduction."""
        for axis in node.axes:
            witness = replace(
                axis, name=f"{axis.name}?{self.key(node)}", base=axis.base or axis.name
            )
            part = substitute(part, axis, place(witness))
        return self.formula(part, positive)


def read_at(node: Node) -> tuple[Node, dict[Axis, Node]]:
    """A chain of reads as one: the node at its foot, and what each of its axes is read at.

    f[a := e][b := d]    is    f[a := e[b := d], b := d]
    """
    chain: list[Read] = []
    while isinstance(node, Read):
        chain.append(node)
        node = node.arg
    found: dict[Axis, Node] = {}
    for item in reversed(chain):
        found = {a: substitute(e, item.axis, item.index) for a, e in found.items()}
        if item.axis in node.type.axes:
            found.setdefault(item.axis, item.index)
    return node, found


def _range_of(node: Node) -> tuple[int | None, int | None]:
    """What is known of an opaque int: a ref is -1 or a place, a length is not negative."""
    if isinstance(node, Length):
        return 0, None
    ref = node.type.ref
    if ref is None:
        return None, None
    return -1, None if ref.size is None else ref.size.value - 1


def _not_negative(index: Node) -> Node:
    return pointwise(">=", index, Const(Type(Kind.INT), 0))


def _relation(op: str, form: Linear) -> Formula:
    """form op 0, over the integers."""
    match op:
        case "<=":
            return _decided(AtMost(form))
        case "<":
            return _decided(AtMost(form.plus(1)))
        case ">=":
            return _decided(AtMost(form.times(-1)))
        case ">":
            return _decided(AtMost(form.times(-1).plus(1)))
        case "==":
            return _decided(Equal(form))
        case _:
            return _either((_relation("<", form), _relation(">", form)))


def _decided(formula: AtMost | Equal) -> Formula:
    """A constraint without atoms is true or false."""
    form = formula.form
    if form.terms:
        return formula
    holds = form.constant <= 0 if isinstance(formula, AtMost) else form.constant == 0
    return TRUE if holds else FALSE


def _both(parts: tuple[Formula, ...]) -> Formula:
    """true and a -> a; false and a -> false."""
    flat: dict[Formula | int, Formula] = {}
    for part in parts:
        if part == FALSE:
            return FALSE
        for item in part.parts if isinstance(part, Both) else (part,):
            flat[id(item)] = item
    return next(iter(flat.values())) if len(flat) == 1 else Both(tuple(flat.values()))


def _either(parts: tuple[Formula, ...]) -> Formula:
    """false or a -> a; true or a -> true."""
    flat: dict[Formula | int, Formula] = {}
    for part in parts:
        if part == TRUE:
            return TRUE
        for item in part.parts if isinstance(part, Either) else (part,):
            flat[id(item)] = item
    return next(iter(flat.values())) if len(flat) == 1 else Either(tuple(flat.values()))
