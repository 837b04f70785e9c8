"""What a function is given: its arguments as nodes, numbers, flags and words, each checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import syntax
from ..core import Kind, Node
from ..syntax import Expr
from .expressions import node_of, nodes_of
from .values import Env, Thunk, Value

if TYPE_CHECKING:
    from .spec import Elaborator


@dataclass(frozen=True)
class Arguments:
    """The arguments of a call, checked against the names that the function takes."""

    e: Elaborator
    call: syntax.Call
    env: Env
    args: tuple[Expr, ...]
    keywords: dict[str, Expr]

    def node(self, place: int) -> Node:
        """One argument."""
        return node_of(self.e, self.args[place], self.env)

    def nodes(self) -> tuple[Node, ...]:
        """All arguments; the mistakes of each are reported."""
        return nodes_of(self.e, self.args, self.env)

    def get(self, name: str) -> Expr | None:
        """A keyword argument, None where it is not given."""
        return self.keywords.get(name)

    def literal(self, name: str) -> tuple[Expr | None, Env]:
        """A keyword argument that is a name rather than a value, and the scope that it is in.

        A parameter of the macro around stands for the name that the macro was given.
        """
        expr, env = self.get(name), self.env
        while isinstance(expr, syntax.Name) and env.macros:
            given = env.locals.get(expr.name)
            if not isinstance(given, Thunk) or not isinstance(given.value, syntax.Syntax):
                break
            expr, env = given.value, given.env
        return expr, env

    def flag(self, name: str, default: bool) -> bool:
        """A keyword argument that is true or false."""
        expr = self.get(name)
        if expr is None:
            return default
        value = self.e.static(expr, self.env)
        if not isinstance(value, bool):
            raise self.e.fail("ATT511", f"`{name}` is true or false", expr.span, self.env)
        return value

    def number(self, name: str, default: float) -> float:
        """A keyword argument that is a number."""
        expr = self.get(name)
        return default if expr is None else self.e.static_number(expr, self.env)

    def whole(self, name: str, default: int) -> int:
        """A keyword argument that is a whole number."""
        expr = self.get(name)
        return default if expr is None else self.e.size(expr, self.env).value

    def where(self) -> Node | None:
        """The condition of a reduction, None where everything counts."""
        expr = self.get("where")
        if expr is None:
            return None
        node = node_of(self.e, expr, self.env)
        if node.type.kind is not Kind.BOOL:
            raise self.e.fail("ATT501", f"`where` is a bool, not {node.type}", expr.span, self.env)
        return node

    def word(self, name: str, default: str, known: tuple[str, ...]) -> str:
        """A keyword argument that is one of some words."""
        expr, env = self.literal(name)
        if expr is None:
            return default
        if isinstance(expr, syntax.Name) and expr.name in known:
            return expr.name
        raise self.e.fail("ATT511", f"`{name}` is one of {', '.join(known)}", expr.span, env)


@dataclass(frozen=True)
class Function:
    """A function: how it is called (for messages), how many arguments, what it does."""

    usage: str
    least: int
    most: int | None
    keywords: tuple[str, ...]
    apply: Callable[[Arguments], Value]
    meaning: str
    required: tuple[str, ...] = ()
