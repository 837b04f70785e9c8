"""Dims: declared, predeclared or given by the caller, each evaluated once and within its limits."""

from __future__ import annotations

from contextlib import suppress

from .. import sizes, syntax
from ..diagnostics import Note
from ..document import Defined
from ..shapes import Items, Scalar, Table, closest
from ..sizes import Size
from ..source import Span
from ..syntax import Expr
from . import statics
from .reports import LEVELS, check_whole
from .state import PREDECLARED
from .static_scope import StaticScope
from .values import Env, Poisoned, Thunk, Word

#: a length at which claims of the cost are tried
SOME_LENGTH = 4096


class Dims(StaticScope):
    """The dims of a document."""

    def declare_dims(self) -> None:
        """Evaluate every dim, and check what the caller gives."""
        declared = self.document.sections.get("dims", {})
        known = {*declared, *PREDECLARED, *self.spec_params}
        for name in self.choices.dims:
            head = name.split(".")[0]
            if head not in known:
                hint = closest(head, tuple(known))
                span = self.name_span()
                self.report.error(
                    "ATT312",
                    f"`{self.spec.name}` has no dim `{head}`",
                    span,
                    f"did you mean `{hint}`?" if hint else f"it has {', '.join(sorted(known))}",
                )
        for name in ("d_model", "heads", "kv_heads", *declared):
            with suppress(Poisoned):
                self.static_name(name, None, ())
        with suppress(Poisoned):
            self._check_groups()

    def declare_cost(self) -> None:
        """Check that each claim of the cost is a number once n and m are."""
        for part, defined in self.document.sections.get("cost", {}).items():
            if not isinstance(defined.value, syntax.Syntax):
                continue
            here = Env(part)
            some = Thunk(syntax.Number(SOME_LENGTH, span=defined.span), here)
            with suppress(Poisoned):
                self.static_number(defined.value, here.bind({"n": some, "m": some}))
                self.spec.cost[part] = defined.value

    def dim(self, name: str) -> Size:
        """A predeclared dim."""
        if name in self.poisoned:
            raise Poisoned
        value = self.static_name(name, None, ())
        assert isinstance(value, Size)  # _is_count holds for predeclared dims
        return value

    def static_name(
        self, name: str, span: Span | None, above: tuple[str, ...]
    ) -> statics.Static | None:
        """The value of a dim, evaluated once; None where there is no such dim."""
        if name in self.statics:
            return self.statics[name]
        if name in self.poisoned:
            raise Poisoned
        try:
            return self._new_static(name, span, above)
        except Poisoned:
            self.poisoned.add(name)
            raise

    def _new_static(
        self, name: str, span: Span | None, above: tuple[str, ...]
    ) -> statics.Static | None:
        defined = self.document.sections.get("dims", {}).get(name)
        if name in above:
            where = span or (defined.span if defined else self.name_span())
            ring = " -> ".join((*above[above.index(name) :], name))
            raise self.fail("ATT310", f"dim `{name}` is defined by itself: {ring}", where)
        if len(above) > LEVELS // 2:
            where = span or self.name_span()
            raise self.fail("ATT409", f"dims depend on dims more than {LEVELS // 2} deep", where)
        if defined is not None:
            self.dim_spans[name] = defined.span
            check_whole(defined)
            value = self._declared_dim(name, defined, (*above, name))
            if name in PREDECLARED and not _is_count(value):
                raise self.fail(
                    "ATT307",
                    f"`{name}` is a whole number, at least 1",
                    defined.value.span,
                    help="it is the size of an axis or a feature dim",
                )
        elif name in PREDECLARED:
            value = self._predeclared_dim(name, above)
        else:
            return None
        self.statics[name] = value
        shown = value.value if isinstance(value, Size) else value
        self.spec.dims[name] = shown.text if isinstance(shown, Word) else shown
        return value

    def _dim_span(self, *names: str) -> Span:
        """Where the first of some dims is declared, else the name of the spec."""
        spans = [self.dim_spans[name] for name in names if name in self.dim_spans]
        return spans[0] if spans else self.name_span()

    def _predeclared_dim(self, name: str, above: tuple[str, ...]) -> statics.Static:
        given = self.choices.dims.get(name)
        if given is not None:
            return sizes.symbol(name, self._whole(name, given, self.name_span()))
        above = (*above, name)

        def value(other: str) -> int:
            static = self.static_name(other, None, above)
            assert isinstance(static, Size)  # _is_count holds for predeclared dims
            return static.value

        if name == "d_head":
            model, heads = value("d_model"), value("heads")
            if model % heads:
                raise self.fail(
                    "ATT307",
                    f"d_model = {model} is not divisible by heads = {heads}",
                    self._dim_span("heads", "d_model"),
                    help="give d_head, or other numbers of d_model and heads",
                )
            return sizes.symbol(name, model // heads)
        defaults = {"d_model": 512, "heads": 8}
        number = defaults.get(name)
        if number is None:
            number = value("heads" if name == "kv_heads" else "d_head")
        return sizes.symbol(name, number)

    def _check_groups(self) -> None:
        heads, groups = self.dim("heads").value, self.dim("kv_heads").value
        if groups == 0 or heads % groups:
            self.report.error(
                "ATT307",
                f"heads = {heads} is not a multiple of kv_heads = {groups}",
                self._dim_span("kv_heads", "heads"),
                "each key/value head serves the same number of heads",
            )

    def _whole(self, name: str, value: object, span: Span) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.fail("ATT307", f"`{name}` is a whole number from 1, not {value!r}", span)
        return value

    def _declared_dim(self, name: str, defined: Defined, above: tuple[str, ...]) -> statics.Static:
        given = self.choices.dims.get(name)
        value = defined.value
        if not isinstance(value, Table):
            assert isinstance(value, syntax.Syntax)
            return self._dim_value(name, given, value, above)
        options = value.get("one_of")
        if isinstance(options, Items):
            return self._choice(name, options, value, given)
        derived = value.get("is")
        if isinstance(derived, syntax.Syntax):
            if given is not None:
                raise self.fail("ATT312", f"`{name}` is derived and cannot be given", defined.span)
            return self.evaluate(derived, Env(""), above)
        default = value.get("default")
        if default is None and given is None:
            raise self.fail(
                "ATT303",
                f"dim `{name}` has no default and was not given",
                defined.span,
                help=f"add `default:`, or give `{name}=` to compile",
            )
        result = self._dim_value(name, given, default, above)  # type: ignore[arg-type]
        self._check_limits(name, result, value, defined, above)
        return result

    def _dim_value(
        self,
        name: str,
        given: bool | int | float | str | None,
        default: Expr | None,
        above: tuple[str, ...],
    ) -> statics.Static:
        if given is not None:
            if isinstance(given, str):
                raise self.fail("ATT307", f"`{name}` is a number", self.name_span())
            if isinstance(given, bool):
                return given
            return sizes.symbol(name, given) if isinstance(given, int) else float(given)
        assert default is not None
        value = self.evaluate(default, Env(""), above)
        return sizes.symbol(name, value.value) if isinstance(value, Size) else value

    def _check_limits(
        self,
        name: str,
        value: statics.Static,
        table: Table,
        defined: Defined,
        above: tuple[str, ...],
    ) -> None:
        if isinstance(value, Word | bool):
            return
        number = statics.number(value, defined.span)
        default = table.get("default")
        is_given = name in self.choices.dims or default is None
        for key, bad in (("min", lambda a, b: a < b), ("max", lambda a, b: a > b)):
            limit = table.get(key)
            if isinstance(limit, Scalar) and bad(number, limit.value):  # type: ignore[no-untyped-call]
                word = "least" if key == "min" else "most"
                raise self.fail(
                    "ATT307",
                    f"`{name}` is at {word} {limit.value}, not {number:g}",
                    limit.span if is_given or default is None else default.span,
                    notes=() if is_given else (Note(limit.span, "the limit"),),
                )
        multiple = table.get("multiple_of")
        if isinstance(multiple, syntax.Syntax):
            divisor = self.evaluate(multiple, Env(""), above)
            if isinstance(divisor, Word | bool):
                raise self.fail("ATT511", "this must be a number", multiple.span)
            step = statics.number(divisor, multiple.span)
            if step == 0 or number % step:
                raise self.fail(
                    "ATT307",
                    f"`{name}` = {number:g} is not a multiple of {step:g}",
                    multiple.span if is_given or default is None else default.span,
                    notes=() if is_given else (Note(multiple.span, "the limit"),),
                )

    def _choice(self, name: str, options: Items, table: Table, given: object) -> Word:
        known = [str(item.value) for item in options.items if isinstance(item, Scalar)]
        for option in known:
            self.words[option] = (*self.words.get(option, ()), name)
        default = table.get("default")
        if given is not None:
            if given not in known:
                raise self.fail(
                    "ATT307", f"`{name}` is one of {', '.join(known)}; not {given}", options.span
                )
            return Word(str(given))
        if default is None:
            return Word(known[0] if known else "")
        if isinstance(default, syntax.Name) and default.name in known:
            return Word(default.name)
        span = default.span if isinstance(default, syntax.Syntax) else table.span
        raise self.fail("ATT307", f"`{name}` is one of {', '.join(known)}", span)


def _is_count(value: statics.Static) -> bool:
    return isinstance(value, Size) and value.value >= 1
