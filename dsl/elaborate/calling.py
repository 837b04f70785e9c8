"""Calls: the macro or function is found by name, and its arguments fit its signature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import syntax
from ..shapes import closest
from ..syntax import Expr
from .arguments import Arguments, Function
from .calls import FUNCTIONS
from .values import Env, Poisoned, Value

if TYPE_CHECKING:
    from .spec import Elaborator


def call(e: Elaborator, expr: syntax.Call, env: Env, raw: bool) -> Value:
    """A call of a macro or a function; a macro without parameters is no rival to a function."""
    function, macro = FUNCTIONS.get(expr.function.name), e.macros.get(expr.function.name)
    if macro is not None and (macro.params or function is None):
        return e.expand(macro, expr, expr.args, expr.keywords, env, raw)
    if function is None:
        raise _unknown_function(e, expr.function, env)
    keywords = _keywords(e, expr, function, env)
    many = function.most is not None and len(expr.args) > function.most
    few = len(expr.args) < function.least or any(key not in keywords for key in function.required)
    if many or few:
        raise e.fail(
            "ATT412",
            f"`{expr.function.name}` has too {'many' if many else 'few'} arguments",
            expr.span,
            env,
            f"usage: {function.usage}",
        )
    return function.apply(Arguments(e, expr, env, expr.args, keywords))


def _unknown_function(e: Elaborator, function: syntax.Name, env: Env) -> Poisoned:
    name = function.name
    hint = closest(name, (*FUNCTIONS, *e.macros))
    if name in e.names():
        return e.fail(
            "ATT410", f"`{name}` is not a function", function.span, env, "read it with [..]"
        )
    return e.fail(
        "ATT410",
        f"unknown function `{name}`",
        function.span,
        env,
        f"did you mean `{hint}`?" if hint else "`attnc list --operators` shows them all",
    )


def _keywords(e: Elaborator, expr: syntax.Call, function: Function, env: Env) -> dict[str, Expr]:
    """The keyword arguments by name, each known and given once."""
    keywords: dict[str, Expr] = {}
    for key, value in expr.keywords:
        if key.name not in function.keywords:
            hint = closest(key.name, function.keywords)
            raise e.fail(
                "ATT411",
                f"`{expr.function.name}` takes no `{key.name}`",
                key.span,
                env,
                f"did you mean `{hint}`?" if hint else f"usage: {function.usage}",
            )
        if key.name in keywords:
            raise e.fail("ATT411", f"`{key.name}` is given twice", key.span, env)
        keywords[key.name] = value
    return keywords
