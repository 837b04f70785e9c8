"""Macros: their declarations, and expansion with arguments bound unevaluated."""

from __future__ import annotations

from dataclasses import replace

from .. import syntax
from ..diagnostics import Note
from ..document import Defined
from ..parser import parse_text
from ..source import Span
from ..syntax import Expr
from .reports import Reports, check_whole
from .state import Macro
from .typing import TypeMistake
from .values import Env, Poisoned, Thunk, Value

DEPTH = 24


class Macros(Reports):
    """The macros of a document."""

    def declare_macros(self) -> None:
        """Every macro with its parameters; None for the body of one that has a mistake."""
        for name, defined in self.document.sections.get("macros", {}).items():
            try:
                check_whole(defined)
                params = self._parameters(defined)
                body: Expr | None = defined.value  # type: ignore[assignment]
            except Poisoned:
                params, body = (), None
            self.macros[name] = Macro(name, params, body, defined.span)

    def _parameters(self, defined: Defined) -> tuple[tuple[str, Expr | None], ...]:
        if "(" not in defined.name:
            return ()
        span = defined.span
        if span.text[:1] in ("'", '"'):
            span = Span(span.source, span.start + 1, span.end - 1)
        head = parse_text(defined.name, span, self.report)
        if not isinstance(head, syntax.Call):
            if head is not None:
                self.fail("ATT305", f"`{defined.name}` is not `name(parameters)`", defined.span)
            raise Poisoned
        params: list[tuple[str, Expr | None]] = []
        for arg in head.args:
            if not isinstance(arg, syntax.Name):
                raise self.fail("ATT305", "a macro parameter is a name", arg.span)
            params.append((arg.name, None))
        params.extend((key.name, value) for key, value in head.keywords)
        names = [name for name, _ in params]
        twice = next((name for n, name in enumerate(names) if name in names[:n]), None)
        if twice is not None:
            raise self.fail("ATT309", f"parameter `{twice}` stands twice", defined.span)
        return tuple(params)

    def expand(
        self,
        macro: Macro,
        expr: Expr,
        args: tuple[Expr, ...],
        keywords: tuple[tuple[syntax.Name, Expr], ...],
        env: Env,
        raw: bool,
    ) -> Value:
        """A macro applied: its parameters are bound to the arguments, unevaluated."""
        if macro.body is None:
            raise Poisoned
        if macro.name in env.macros:
            ring = " -> ".join((*env.macros, macro.name))
            raise self.fail("ATT406", f"macro `{macro.name}` calls itself: {ring}", expr.span, env)
        if len(env.macros) >= DEPTH:
            raise self.fail("ATT409", "macros are nested too deeply", expr.span, env)
        bound = self._arguments(macro, expr, args, keywords, env)
        inner = replace(
            env,
            locals={name: Thunk(value, env) for name, value in bound.items()},
            macros=(*env.macros, macro.name),
            at=env.at or expr.span,
        )
        try:
            return self.elaborate(macro.body, inner, raw)
        except TypeMistake as mistake:
            raise self.fail(
                mistake.code, mistake.message, macro.body.span, inner, mistake.help
            ) from None

    def _arguments(
        self,
        macro: Macro,
        expr: Expr,
        args: tuple[Expr, ...],
        keywords: tuple[tuple[syntax.Name, Expr], ...],
        env: Env,
    ) -> dict[str, Expr]:
        names = [name for name, _ in macro.params]
        bound = {name: default for name, default in macro.params if default is not None}
        usage = f"usage: {macro.name}({', '.join(names)})"
        note = (Note(macro.span, f"`{macro.name}` is declared here"),)
        if len(args) > len(names):
            raise self.fail(
                "ATT405", f"`{macro.name}` has too many arguments", expr.span, env, usage, note
            )
        bound.update(zip(names, args, strict=False))
        for key, value in keywords:
            if key.name not in names:
                raise self.fail(
                    "ATT411", f"`{macro.name}` takes no `{key.name}`", key.span, env, usage, note
                )
            if key.name in names[: len(args)]:
                raise self.fail(
                    "ATT411", f"`{key.name}` is given twice", key.span, env, usage, note
                )
            bound[key.name] = value
        lacking = [name for name in names if name not in bound]
        if lacking:
            raise self.fail(
                "ATT405", f"`{macro.name}` needs `{lacking[0]}`", expr.span, env, usage, note
            )
        return bound
