"""Names and bindings: what a name stands for, elaborated on demand and once."""

from __future__ import annotations

from dataclasses import replace

from .. import sections, syntax
from ..core import Kind, Node, Param, Type
from ..document import Defined
from ..parser import parse_text
from ..shapes import Broken, Entry, Table
from ..sizes import Size
from ..source import Span
from ..syntax import Expr
from ..typed import TokenSet
from .mentions import parts_of
from .reports import Reports, check_whole
from .sets import Sets
from .typing import TypeMistake, const
from .values import Bundle, Env, Poisoned, Thunk, Value, Word


class Scope(Sets):
    """What names stand for."""

    def value(self, name: str, span: Span, env: Env) -> Value | None:
        """The value of a declared name; None where it is not declared."""
        if name in self.memo:
            found = self.memo[name]
            if found is None:
                raise Poisoned
            return found
        if name in self.busy:
            ring = " -> ".join((*self.busy[self.busy.index(name) :], name))
            raise self.fail("ATT404", f"`{name}` is defined by itself: {ring}", span, env)
        if name in self.document.bindings:
            return self._binding(name)
        if name == "heads" and self.has_attend():
            return self._heads()
        if name in ("x", "context"):
            axis = self.sets[name].axis
            result = Type(Kind.REAL, frozenset({self.batch, axis}), (self.dim("d_model"),))
            self.memo[name] = Param(result, name, "stream")
            return self.memo[name]
        if name in self.sets:
            return self.sets[name]
        if name in self.poisoned:
            raise Poisoned
        static = self.static_name(name, span, ())
        if static is not None:
            if isinstance(static, Word):
                return static
            if isinstance(static, Size):
                return const(static.value, name)
            return const(static, name)
        return None

    def _binding(self, name: str) -> Value:
        defined = self.document.bindings[name]
        self.busy.append(name)
        try:
            if self.qkv and defined.section == "project":
                value = self._argument(name, defined)
            else:
                value = self._block_or_expression(defined, name)
        except Poisoned:
            self.memo[name] = None
            raise
        finally:
            self.busy.pop()
        if isinstance(value, TokenSet):
            value = replace(value, name=name)
            self.sets[name] = value
        self.memo[name] = value
        node = value.main if isinstance(value, Bundle) else value
        if isinstance(node, Node):
            self.spec.bindings[name] = node
        return value

    def _argument(self, name: str, defined: Defined) -> Value:
        """A binding of `project` as an argument of the attention core."""
        value = self._block_or_expression(defined, name)
        if not isinstance(value, Node):
            return value
        self.owners = {key: v for key, v in self.owners.items() if key != name}
        return Param(value.type, name, "argument")

    def _block_or_expression(self, defined: Defined, owner: str) -> Value:
        check_whole(defined)
        before = defined.before.value if defined.before is not None else None
        env = Env(owner)
        if isinstance(before, syntax.Syntax | Broken):
            env = self.super_env(env, defined.before)
        if isinstance(defined.value, Table):
            return self.block(defined.value, env)
        assert isinstance(defined.value, syntax.Syntax)
        return self.elaborate(defined.value, env)

    def super_env(self, env: Env, before: Defined | None) -> Env:
        """`super` is the definition before; in it, `super` is the one before that."""
        if before is None or not isinstance(before.value, syntax.Syntax | Broken):
            return env
        inner = self.super_env(env, before.before)
        return env.bind({"super": Thunk(before.value, inner)})

    def has_attend(self) -> bool:
        """Whether the top level of the document is an attend."""
        return any(name in self.document.fields for name in ("score", "sources"))

    def _is_overruled(self, name: str) -> bool:
        """An inherited field of the only source, where this spec has sources of its own."""
        fields = self.document.fields
        if "sources" not in fields or name not in sections.ATTEND_FIELDS:
            return False
        return fields[name].span.source is not fields["sources"].span.source

    def _heads(self) -> Value:
        fields = self.document.fields
        entries = {}
        for name, defined in fields.items():
            if name == "out" or self._is_overruled(name):
                continue
            entries[name] = Entry(name, defined.span, defined.value)
        span = fields["sources" if "sources" in fields else "score"].span
        table = Table(entries, span)
        env = Env("heads")
        self.busy.append("heads")
        try:
            value = self.attend(self._with_supers(table), env, span)
        except TypeMistake as mistake:
            self.memo["heads"] = None
            raise self.fail(mistake.code, mistake.message, span, env, mistake.help) from None
        except Poisoned:
            self.memo["heads"] = None
            raise
        finally:
            self.busy.pop()
        self.memo["heads"] = value
        self.spec.bindings["heads"] = value
        return value

    def _with_supers(self, table: Table) -> Table:
        """Top-level fields with `super` replaced by what they replace, and `prior` added."""
        entries = {}
        for name, entry in table.entries.items():
            defined = self.document.fields[name]
            if isinstance(entry.value, syntax.Syntax):
                entry = replace(entry, value=_expand_super(defined, self))
            entries[name] = entry
        prior, score = entries.pop("prior", None), entries.get("score")
        if prior is not None and score is not None:
            if not isinstance(score.value, syntax.Syntax) or isinstance(prior.value, Broken):
                raise Poisoned
            total = syntax.Binary("+", score.value, prior.value, span=prior.value.span)  # type: ignore[arg-type]
            entries["score"] = replace(score, value=total)
        return Table(entries, table.span)

    def default_normalize(self) -> Expr:
        """softmax(s, j)."""
        found = parse_text("softmax(s, j)", None, self.report)
        assert found is not None
        return found


def _expand_super(defined: Defined, e: Reports) -> Expr:
    """The expression of a field with `super` replaced by the one it replaced."""
    expr = defined.value
    assert isinstance(expr, syntax.Syntax)
    uses = any(isinstance(item, syntax.Name) and item.name == "super" for item in parts_of(expr))
    if not uses:
        return expr
    before = defined.before
    if before is not None and isinstance(before.value, Broken):
        raise Poisoned
    if before is None or not isinstance(before.value, syntax.Syntax):
        name = next(i for i in parts_of(expr) if isinstance(i, syntax.Name) and i.name == "super")
        raise e.no_super(name.span, None)
    return syntax.substitute(expr, "super", _expand_super(before, e))
