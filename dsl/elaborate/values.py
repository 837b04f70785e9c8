"""What an expression can stand for while it is elaborated, and where names are looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ..core import Axis, Node
from ..shapes import Broken, Null, Table
from ..source import Span
from ..syntax import Expr
from ..typed import TokenSet


class Poisoned(Exception):
    """A mistake was reported below; whoever needs the value gives up quietly."""


@dataclass(frozen=True)
class Token:
    """A token of a set, named by a ref: a position in arithmetic, a place to read at."""

    set: TokenSet
    ref: Node


@dataclass(frozen=True)
class Word:
    """A choice of a `one_of` dim, or the name of one; only compared."""

    text: str


@dataclass(frozen=True)
class Bundle:
    """Several values under names, such as the results of a fold; `main` is what it stands for."""

    members: Mapping[str, Node]
    main: Node | None = None


Value: TypeAlias = Node | TokenSet | Token | Word | Bundle


@dataclass(eq=False)
class Thunk:
    """An expression or block with the place where its names are looked up.

    Macro arguments, local `let`s and `super` are thunks; each is elaborated once.
    """

    value: Expr | Table | Broken | Null
    env: Env
    busy: bool = False
    done: dict[bool, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Env:
    """Where names are looked up inside one expression.

    owner     the binding whose expression this is; it names the weights made inside
    query     token set of i, None outside an attend (i then ranges over x)
    key       token set of j; key_ref the ref j; key_axes the axes that are reduced
    listed    whether j comes from a list (`at`)
    joint     the key axis of all sources, inside `normalize`
    macros    the macros that are being expanded; at: where the outermost was called
    folded    inside an unrolled fold, where a weight may meet several arguments
    """

    owner: str
    locals: Mapping[str, Value | Thunk] = field(default_factory=dict)
    query: TokenSet | None = None
    key: TokenSet | None = None
    key_ref: Node | None = None
    key_axes: tuple[Axis, ...] = ()
    listed: bool = False
    joint: Axis | None = None
    macros: tuple[str, ...] = ()
    at: Span | None = None
    folded: bool = False

    def bind(self, names: Mapping[str, Value | Thunk]) -> Env:
        """The scope with more local names."""
        return replace(self, locals={**self.locals, **names})
