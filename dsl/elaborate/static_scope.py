"""Static expressions in a scope: sizes, counts, numbers and choices, through macro arguments."""

from __future__ import annotations

from collections.abc import Iterable

from .. import syntax
from ..core import Node
from ..shapes import Items, Scalar, Table, closest
from ..sizes import Size
from ..source import Span
from ..syntax import Expr
from . import statics
from .reports import Reports
from .state import RESERVED
from .typing import const
from .values import Env, Thunk, Word


class StaticScope(Reports):
    """Static values, in a scope that may hold macro arguments."""

    def static(self, expr: Expr, env: Env) -> statics.Static:
        """A static value, in a scope that may hold macro arguments."""
        return self.evaluate(expr, env, ())

    def evaluate(self, expr: Expr, env: Env, above: tuple[str, ...]) -> statics.Static:
        """A static value while the dims `above` are being evaluated."""

        def name(found: syntax.Name) -> statics.Static:
            local = env.locals.get(found.name)
            if isinstance(local, Thunk) and isinstance(local.value, syntax.Syntax):
                self.tick(found.span, env)
                return self.evaluate(local.value, local.env, above)
            if local is not None:
                raise statics.NotStatic(found.span)
            value = self.static_name(found.name, found.span, above)
            if value is not None:
                return value
            if found.name in self.words or any(
                found.name in _options(item) for item in self._one_ofs()
            ):
                return Word(found.name)
            if found.name in (*self.names(), *self.axes, *self.macros, *RESERVED):
                raise statics.NotStatic(found.span)
            raise self.unknown(found.name, found.span, env)

        try:
            return statics.evaluate(expr, name)
        except statics.NotStatic as error:
            raise self.fail(
                "ATT511", error.message, error.span, env, "sizes are made of dims and numbers"
            ) from None

    def _one_ofs(self) -> Iterable[Table]:
        for defined in self.document.sections.get("dims", {}).values():
            if isinstance(defined.value, Table):
                yield defined.value

    def size(self, expr: Expr, env: Env) -> Size:
        """A static size."""
        value = self.static(expr, env)
        if isinstance(value, Size):
            return value
        raise self.fail("ATT511", "this must be a whole number", expr.span, env)

    def count(self, expr: Expr, env: Env) -> Size:
        """A static size of something: at least 1."""
        size = self.size(expr, env)
        if size.value < 1:
            raise self.fail("ATT307", f"a size is at least 1, not {size.value}", expr.span, env)
        return size

    def static_number(self, expr: Expr, env: Env) -> float:
        """A static number, of any kind."""
        value = self.static(expr, env)
        if isinstance(value, Word | bool):
            raise self.fail("ATT511", "this must be a number", expr.span, env)
        return statics.number(value, expr.span)

    def size_const(self, size: Size) -> Node:
        """A size as a constant, named where it is one dim."""
        text = str(size)
        return const(size.value, text if text.isidentifier() else "")

    def check_choice(self, left: Word, right: Word, span: Span, env: Env) -> None:
        """Words that belong to different dims are never equal: a misspelling."""
        owners = [self.words.get(word.text, ()) for word in (left, right)]
        if set(owners[0]) & set(owners[1]):
            return
        dim, word = (owners[0][0], right) if owners[0] else ((owners[1] or ("",))[0], left)
        known = [option for option, dims in self.words.items() if dim in dims]
        hint = closest(word.text, tuple(known))
        raise self.fail(
            "ATT507",
            f"`{word.text}` is no choice of `{dim}`",
            span,
            env,
            f"did you mean `{hint}`?" if hint else f"`{dim}` is one of {', '.join(known)}",
        )


def _options(table: Table) -> set[str]:
    options = table.get("one_of")
    if not isinstance(options, Items):
        return set()
    return {str(item.value) for item in options.items if isinstance(item, Scalar)}
