"""z3 as a second opinion where our own prover says unknown: `pip install attnc[proofs]`.

Nodes are translated anew, sharing no rule with `predicates`: ints with floor division, inputs as
functions of their tokens (so equal tokens have equal elements), anything else as an unknown by its
identity. A model is only a proposal: `asking` evaluates the predicates at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ..affine import Atom
from ..core import (
    Axis,
    Const,
    Fill,
    Index,
    Kind,
    KvHead,
    Length,
    Map,
    Node,
    Param,
    Position,
    Read,
)
from ..evaluation import OVERLOADED
from ..predicates import Translator, read_at
from ..prover import Verdict
from .worlds import Cell

TIMEOUT_MS = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """Lengths, tokens and elements of inputs of a model."""

    model: dict[Atom, int]
    lengths: dict[Axis, int]
    cells: dict[Cell, int] = field(default_factory=dict)


class Solver:
    """z3 with a time limit for each question."""

    def __init__(self, timeout_ms: int = TIMEOUT_MS) -> None:
        self.timeout_ms = timeout_ms

    def decide(
        self, guards: Sequence[Node], goal: Node, translator: Translator
    ) -> tuple[Verdict, Found | None]:
        """Whether the guards imply the goal; a model where they may not."""
        terms = _Terms(import_module("z3"), translator)
        return self._refuted(terms, [*map(terms.of, guards), terms.z3.Not(terms.of(goal))])

    def decide_empty(
        self,
        guards: Sequence[Node],
        seen: Sequence[tuple[Sequence[Axis], Node]],
        translator: Translator,
    ) -> tuple[Verdict, Found | None]:
        """Whether no row is without a key; a row where one may be.

        seen  for each set of keys its axes, and when a key of it is there and visible, which must
              follow from places, lengths and inputs
        """
        terms = _Terms(import_module("z3"), translator)
        absent = [terms.nowhere(axes, node) for axes, node in seen]
        return self._refuted(terms, [*map(terms.of, guards), *absent])

    def _refuted(self, terms: _Terms, constraints: list[Any]) -> tuple[Verdict, Found | None]:
        """Proved where the constraints cannot be met; else a model, if one is found in time."""
        solver = terms.z3.Solver()
        solver.set("timeout", self.timeout_ms)
        solver.add(*constraints, *terms.ranges)
        answer = solver.check()
        if answer == terms.z3.unsat:
            return "proved", None
        return "unknown", terms.found(solver.model()) if answer == terms.z3.sat else None


def solver_or_none() -> Solver | None:
    """z3, where it is installed."""
    return None if find_spec("z3") is None else Solver()


class _Terms:
    """Nodes as z3 terms; each once."""

    def __init__(self, z3: Any, translator: Translator) -> None:
        self.z3 = z3
        self.translator = translator
        self.done: dict[Node, Any] = {}
        self.axes: dict[Axis, Any] = {}
        self.lengths: dict[Axis, Any] = {}
        self.cells: list[tuple[str, tuple[tuple[str, Any], ...], Any]] = []
        self.ranges: list[Any] = []

    def of(self, node: Node) -> Any:
        if node not in self.done:
            self.done[node] = self._made(node)
        return self.done[node]

    def _made(self, node: Node) -> Any:
        match node:
            case Const(value=value) | Fill(value=value) if node.type.kind is Kind.BOOL:
                return self.z3.BoolVal(bool(value))
            case Const(value=value) | Fill(value=value) if node.type.kind is Kind.INT:
                return self.z3.IntVal(int(value))
            case Index() | Position():
                return self.axis(node.axis)
            case Length(axis=axis):
                return self._length(axis)
            case KvHead():
                return self._kv_head(node)
            case Read():
                return self._read(node)
            case Param(role="input") if not node.type.dims:
                return self._element(node, {})
            case Map() if all(a.type.kind is not Kind.REAL for a in (node, *node.args)):
                return self._map(node)
            case _:
                return self._opaque(node)

    def nowhere(self, axes: Sequence[Axis], node: Node) -> Any:
        """That a predicate holds at no places of some axes."""
        places, holds = [self.axis(axis) for axis in axes], self.of(node)
        inside = [place >= 0 for place in places]
        for axis, place in zip(axes, places, strict=True):
            if axis.size is not None:
                inside.append(place < axis.size.value)
        return self.z3.ForAll(places, self.z3.Not(self.z3.And(*inside, holds)))

    def axis(self, axis: Axis) -> Any:
        if axis not in self.axes:
            term = self.z3.Int(f"{axis.name}#{len(self.axes)}")
            self.axes[axis] = term
            self.ranges.append(term >= 0)
            if axis.size is not None:
                self.ranges.append(term < axis.size.value)
        return self.axes[axis]

    def _length(self, axis: Axis) -> Any:
        if axis not in self.lengths:
            self.lengths[axis] = self.z3.Int(f"length {axis.name}")
            self.ranges.append(self.lengths[axis] >= 0)
        return self.lengths[axis]

    def _kv_head(self, node: KvHead) -> Any:
        groups = node.type.ref.size if node.type.ref is not None else None
        if node.axis.size is None or groups is None or groups.value <= 0:
            return self._opaque(node)
        return self.axis(node.axis) / max(node.axis.size.value // groups.value, 1)

    def _read(self, node: Read) -> Any:
        """f[e]: an element of an input, or f with e put for its axis; 0 where e is -1."""
        moved = self.translator.moved(node)
        zero = self.z3.BoolVal(False) if node.type.kind is Kind.BOOL else self.z3.IntVal(0)
        if moved is not None:
            inner = self.of(moved)
        else:
            foot, places = read_at(node)
            if not isinstance(foot, Param) or foot.role != "input" or foot.type.dims:
                return self._opaque(node)
            inner = self._element(foot, {axis: self.of(place) for axis, place in places.items()})
        if node.type.kind is Kind.REAL or isinstance(node.index, Index):
            return inner
        return self.z3.If(self.of(node.index) >= 0, inner, zero)

    def _element(self, node: Param, moved: dict[Axis, Any]) -> Any:
        if node.type.kind is Kind.REAL:
            return self._opaque(node)
        axes = node.type.ordered
        places = [moved[axis] if axis in moved else self.axis(axis) for axis in axes]
        sort = self.z3.BoolSort() if node.type.kind is Kind.BOOL else self.z3.IntSort()
        function = self.z3.Function(node.name, *[self.z3.IntSort()] * len(places), sort)
        term = function(*places)
        names = (axis.base or axis.name for axis in axes)
        self.cells.append((node.name, tuple(zip(names, places, strict=True)), term))
        return term

    def _map(self, node: Map) -> Any:
        z3, args = self.z3, [self.of(arg) for arg in node.args]
        match node.op:
            case "//" | "%" | "ceil_div":
                return self._division(node.op, node, args)
            case "not":
                return z3.Not(args[0])
            case "and":
                return z3.And(*args)
            case "or":
                return z3.Or(*args)
            case "where":
                return z3.If(*args)
            case "min":
                return z3.If(args[0] <= args[1], args[0], args[1])
            case "max":
                return z3.If(args[0] >= args[1], args[0], args[1])
            case "clip":
                least = z3.If(args[0] >= args[1], args[0], args[1])
                return z3.If(least <= args[2], least, args[2])
            case "abs":
                return z3.If(args[0] >= 0, args[0], -args[0])
            case "int":
                is_bool = node.args[0].type.kind is Kind.BOOL
                return z3.If(args[0], z3.IntVal(1), z3.IntVal(0)) if is_bool else args[0]
            case op if op in OVERLOADED:
                return OVERLOADED[op](*args)
            case _:
                return self._opaque(node)

    def _division(self, op: str, node: Node, args: list[Any]) -> Any:
        """Floor division; z3's rounds so that the rest is not negative, the same for a positive
        divisor. Any other divisor is left open."""
        value, by = args
        by = self.z3.simplify(by)
        if not self.z3.is_int_value(by) or by.as_long() <= 0:
            return self._opaque(node)
        if op == "ceil_div":
            return (value + (by - 1)) / by
        return value / by if op == "//" else value % by

    def _opaque(self, node: Node) -> Any:
        name = f"unknown {self.translator.key(node)}"
        return self.z3.Bool(name) if node.type.kind is Kind.BOOL else self._unknown_int(node, name)

    def _unknown_int(self, node: Node, name: str) -> Any:
        if node.type.kind is Kind.REAL:
            return self.z3.Real(name)
        term = self.z3.Int(name)
        if node.type.ref is not None:
            self.ranges.append(term >= -1)
            if node.type.ref.size is not None:
                self.ranges.append(term < node.type.ref.size.value)
        return term

    def found(self, model: Any) -> Found:
        """The tokens, lengths and elements of inputs of a model."""

        def value(term: Any) -> int:
            found = model.eval(term, model_completion=True)
            return int(self.z3.is_true(found)) if self.z3.is_bool(found) else int(found.as_long())

        places = {self.translator.token(axis): value(term) for axis, term in self.axes.items()}
        lengths = {axis: value(term) for axis, term in self.lengths.items()}
        cells = {
            (name, tuple(sorted((axis, value(place)) for axis, place in at))): value(term)
            for name, at, term in self.cells
        }
        return Found(places, lengths, cells)
