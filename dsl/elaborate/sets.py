"""Token sets and axes by name: in shapes, in `over=`, and as arguments of functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .. import syntax
from ..core import Axis, Node
from ..sizes import Size
from ..source import Span
from ..syntax import Expr
from ..typed import TokenSet
from .axes import Axes
from .state import PREDECLARED
from .values import Env, Thunk


class Sets(Axes):
    """Look-up of token sets and axes."""

    def shape(self, items: Sequence[Expr], env: Env) -> tuple[tuple[Axis, ...], tuple[Size, ...]]:
        """A shape: index axes first, then feature dims."""
        axes: list[Axis] = []
        dims: list[Size] = []
        for item in items:
            axis = self._shape_axis(item, env)
            if axis is None:
                dims.append(self.count(item, env))
            elif dims:
                raise self.fail("ATT502", "index axes come first in a shape", item.span, env)
            else:
                axes.append(axis)
        return tuple(axes), tuple(dims)

    def _shape_axis(self, item: Expr, env: Env) -> Axis | None:
        if not isinstance(item, syntax.Name):
            return None
        local = env.locals.get(item.name)
        if isinstance(local, Thunk) and isinstance(local.value, syntax.Syntax):
            return self._shape_axis(local.value, local.env)
        if item.name in self.axes:
            return self.axes[item.name]
        token_set = self.named_set(item.name, item.span)
        return None if token_set is None else token_set.axis

    def named_set(self, name: str, span: Span) -> TokenSet | None:
        """The token set of a name; None where it names none."""
        if name in self.sets:
            return self.sets[name]
        defined = self.document.bindings.get(name)
        if defined is None or defined.section != "tokens":
            return None
        value = self.value(name, span, Env(name))
        return value if isinstance(value, TokenSet) else None

    def set_of(self, expr: Expr, env: Env) -> TokenSet:
        """The token set that an expression names or makes."""
        if isinstance(expr, syntax.Name):
            local = env.locals.get(expr.name)
            if isinstance(local, Thunk) and isinstance(local.value, syntax.Syntax):
                return self.set_of(local.value, local.env)
            if expr.name in self.sets:
                return self.sets[expr.name]
        value = self.elaborate(expr, replace(env, owner=self._inline_name(expr, env)), raw=True)
        if isinstance(value, TokenSet):
            self.sets.setdefault(value.name, value)
            return value
        raise self.fail(
            "ATT516",
            "this is not a token set",
            expr.span,
            env,
            "token sets are x, context, streams over their own tokens, and bindings of `tokens`",
        )

    def _inline_name(self, expr: Expr, env: Env) -> str:
        if isinstance(expr, syntax.Call) and env.query is None and expr.args:
            source = expr.args[0]
            inner = source.name if isinstance(source, syntax.Name) else "tokens"
            return f"{env.owner}.{inner}"
        return env.owner

    def axes_of(self, expr: Expr, env: Env, arg: Node | None) -> tuple[Axis, ...] | int | TokenSet:
        """What a name in `over=` means: axes, a feature dim (its place), or a set of windows."""
        if not isinstance(expr, syntax.Name):
            return self.set_of(expr, env).axes
        name = expr.name
        local = env.locals.get(name)
        if isinstance(local, Thunk) and isinstance(local.value, syntax.Syntax):
            return self.axes_of(local.value, local.env, arg)
        if name == "j" and env.query is not None:
            return (env.joint,) if env.joint is not None else env.key_axes
        if name == "i":
            return (env.query or self.sets["x"]).axes
        if arg is not None and name in ("first", "last") and arg.type.dims:
            return 0 if name == "first" else len(arg.type.dims) - 1
        if name in self.axes:
            return (self.axes[name],)
        token_set = self.named_set(name, expr.span)
        if token_set is not None:
            windows = arg is not None and not set(token_set.axes) & arg.type.axes
            if windows and token_set.source:
                return token_set
            return token_set.axes
        if arg is not None and (name in self.statics or name in PREDECLARED):
            size = self.static_name(name, expr.span, ())
            places = [n for n, dim in enumerate(arg.type.dims) if dim == size]
            if len(places) == 1:
                return places[0]
            raise self.fail(
                "ATT505",
                f"{arg.type} has {'several feature dims' if places else 'no feature dim'} `{name}`",
                expr.span,
                env,
            )
        raise self.unknown(name, expr.span, env)

    def user_axis(self, expr: Expr, env: Env) -> Axis:
        """A declared user axis."""
        if isinstance(expr, syntax.Name):
            local = env.locals.get(expr.name)
            if isinstance(local, Thunk) and isinstance(local.value, syntax.Syntax):
                return self.user_axis(local.value, local.env)
            axis = self.axes.get(expr.name)
            if axis is not None and axis.role == "user":
                return axis
        raise self.fail("ATT505", "this must be an axis declared in `axes`", expr.span, env)
