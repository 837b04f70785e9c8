"""Mistakes: how they are reported, what an unknown name may have meant, and the limits on size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ..core import Node
from ..diagnostics import Diagnostic, Note
from ..document import Defined
from ..shapes import Broken, Table, closest
from ..source import Span
from .state import State
from .values import Env, Poisoned

LIMIT = 40_000  # about half a second
LEVELS = 100


class Reports(State):
    """Reporting of mistakes at the place where they were made."""

    def fail(
        self,
        code: str,
        message: str,
        span: Span,
        env: Env | None = None,
        help: str = "",
        notes: tuple[Note, ...] = (),
    ) -> Poisoned:
        """Report a mistake; the caller raises what this returns."""
        if env is not None and env.at is not None:
            label = f"inside macro `{env.macros[-1]}`" if env.macros else "inside a macro"
            notes = (Note(span, label), *notes)
            span = env.at
        self.report.add(Diagnostic(code, message, span, help, notes))
        return Poisoned()

    def unknown(self, name: str, span: Span, env: Env) -> Poisoned:
        """Report a name that nothing declares."""
        if not self.document.is_whole:
            return Poisoned()  # it may be declared in what could not be read
        if name == "super":
            return self.no_super(span, env)
        known = (*self.names(), *env.locals, *self.macros, *self.axes, *self.words)
        if name in known:
            where = self.declared((name,))
            return self.fail("ATT401", f"`{name}` is not known here", span, env, "", where)
        hint = closest(name, tuple(dict.fromkeys(known)))
        return self.fail(
            "ATT401",
            f"unknown name `{name}`",
            span,
            env,
            f"did you mean `{hint}`?" if hint else "declare it in weights, inputs, dims or let",
        )

    def declared(self, names: Iterable[str]) -> tuple[Note, ...]:
        """Notes that show where names are declared and what they are, for three at most."""
        notes: list[Note] = []
        for name in dict.fromkeys(names):
            tables = (self.document.bindings, *self.document.sections.values())
            found = next((table[name] for table in tables if name in table), None)
            if found is not None and found.section != "macros" and len(notes) < 3:
                value = self.memo.get(name)
                shown = f": {value.type}" if isinstance(value, Node) else ""
                notes.append(Note(found.span, f"`{name}` is declared here{shown}"))
        return tuple(notes)

    def no_super(self, span: Span, env: Env | None) -> Poisoned:
        """Report a `super` in a place where nothing was replaced."""
        return self.fail(
            "ATT407",
            "there is nothing that `super` could mean",
            span,
            env,
            "`super` is what an extended spec has in this place",
        )

    def no_member(self, name: str, known: tuple[str, ...], span: Span, env: Env) -> Poisoned:
        """Report a part that a value does not have."""
        hint = closest(name, known)
        listed = ", ".join(known) if known else "no parts; results of attends and loops have some"
        return self.fail(
            "ATT413",
            f"there is no `.{name}` here",
            span,
            env,
            f"did you mean `.{hint}`?" if hint else f"it has {listed}",
        )

    def name_span(self) -> Span:
        """Where the spec gives its name, for mistakes of the whole."""
        header = self.document.header.get("name")
        return header.span if header else Span(self.document.source, 0, 0)

    def tick(self, span: Span, env: Env, cost: int = 1) -> None:
        """Count expanded nodes; expansion is bounded."""
        self.work.steps += cost
        if self.work.steps > LIMIT and not self.work.is_over:
            self.work.is_over = True
            raise self.fail(
                "ATT409",
                f"the spec expands to more than {LIMIT:,} nodes",
                span,
                env,
                "macros that call macros grow fast, and an `iterate` repeats its body; "
                "give results names in `let`, or use `recur`",
            )
        if self.work.steps > LIMIT:
            raise Poisoned

    @contextmanager
    def deeper(self, span: Span, env: Env) -> Iterator[None]:
        """One level further down; depth is bounded, so that nothing overflows the stack."""
        if self.work.level >= LEVELS:
            raise self.fail(
                "ATT409",
                f"definitions are nested more than {LEVELS} deep",
                span,
                env,
                "give parts of it names in `let`",
            )
        self.work.level += 1
        try:
            yield
        finally:
            self.work.level -= 1


def check_whole(defined: Defined) -> None:
    """Give up quietly on a declaration whose text has a mistake of its own."""
    value = defined.value
    if isinstance(value, Broken) or (isinstance(value, Table) and value.is_broken):
        raise Poisoned
