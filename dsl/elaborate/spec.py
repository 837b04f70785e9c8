"""Elaboration of a whole spec: declarations first, then every binding, then what is kept.

Bindings are elaborated on demand and once, so that their order in the file means nothing. A mistake poisons the binding it stands in; the others go on, and all mistakes are reported together.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import sections, sizes, syntax
from ..core import (
    Attend,
    Axis,
    Draw,
    Fill,
    Index,
    InputInfo,
    Kind,
    Length,
    Linear,
    LossInfo,
    Map,
    Node,
    Norm,
    Param,
    Position,
    Reduce,
    StateInfo,
    StreamInfo,
    TokenSet,
    Type,
    TypedSpec,
    Use,
    Valid,
    WeightInfo,
    walk,
)
from ..diagnostics import Diagnostic, Note
from ..document import Defined, Document, Loader, load_document
from ..library import find, library_paths
from ..shapes import Broken, Decoded, Entry, Items, Null, Scalar, Table, closest
from ..sizes import Size
from ..source import Span
from ..syntax import Expr
from . import blocks, statics
from .expressions import bind_super, elaborate, node_of
from .typing import TypeMistake, const, union
from .values import Bundle, Env, Poisoned, Thunk, Token, Value, Word

if TYPE_CHECKING:
    from .calls import Arguments

LIMIT = 40_000  # about half a second
DEPTH = 24
LEVELS = 100

PREDECLARED = ("d_model", "heads", "kv_heads", "d_head", "d_value")
RESERVED = ("i", "j", "b", "h", "g", "s", "x", "context", "heads", "super")


@dataclass(frozen=True)
class Choices:
    """What a caller decides: dims, and specs for spec-valued parameters.

    Names may reach inwards: `attention.window` is the dim `window` of the parameter `attention`.
    """

    dims: Mapping[str, bool | int | float | str] = field(default_factory=dict)

    def inner(self, name: str) -> dict[str, bool | int | float | str]:
        """The choices meant for what stands under a name."""
        head = f"{name}."
        return {key[len(head) :]: value for key, value in self.dims.items() if key.startswith(head)}


@dataclass(frozen=True)
class Macro:
    """A macro: parameters, which may have defaults, and a body (None: it has a mistake)."""

    name: str
    params: tuple[tuple[str, Expr | None], ...]
    body: Expr | None
    span: Span


@dataclass
class Work:
    """How much has been expanded and how deep, over a spec and all specs used in it."""

    steps: int = 0
    level: int = 0
    is_over: bool = False


class Elaborator:
    """Elaborates one document at given choices."""

    def __init__(
        self,
        document: Document,
        loader: Loader,
        choices: Choices,
        qkv: bool = False,
        depth: int = 0,
        cache: dict[object, TypedSpec] | None = None,
        work: Work | None = None,
    ) -> None:
        self.document, self.loader, self.report = document, loader, loader.report
        self.choices, self.qkv, self.depth = choices, qkv, depth
        self.cache: dict[object, TypedSpec] = {} if cache is None else cache
        self.spec = TypedSpec(
            name=document.text("name"),
            entry=document.text("entry"),
            doc=document.text("doc"),
            cite=document.cite,
            same_context=document.text("context") == "same",
            memory=document.text("context") == "memory",
            causality=document.text("causality") or None,
        )
        self.axes = self.spec.axes
        self.sets = self.spec.sets
        self.memo: dict[str, Value | None] = {}
        self.busy: list[str] = []
        self.statics: dict[str, statics.Static] = {}
        self.poisoned: set[str] = set()
        self.words: dict[str, tuple[str, ...]] = {}
        self.macros: dict[str, Macro] = {}
        self.sorts: dict[str, Node] = {}
        self.owners: dict[str, tuple[Node, str]] = {}
        self.spec_params: dict[str, Scalar] = {}
        self.muted_streams = False
        self.work = work or Work()
        self.dim_spans: dict[str, Span] = {}
        self.token_rank = 1020
        self.batch = Axis("b", "batch", 0, None, "b")

    # -- reporting --------------------------------------------------------------------------

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
        return self.fail(
            "ATT407",
            "there is nothing that `super` could mean",
            span,
            env,
            "`super` is what an extended spec has in this place",
        )

    def no_member(self, name: str, known: tuple[str, ...], span: Span, env: Env) -> Poisoned:
        hint = closest(name, known)
        listed = ", ".join(known) if known else "no parts; results of attends and loops have some"
        return self.fail(
            "ATT413",
            f"there is no `.{name}` here",
            span,
            env,
            f"did you mean `.{hint}`?" if hint else f"it has {listed}",
        )

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

    def names(self) -> tuple[str, ...]:
        """Every declared name."""
        declared = [name for table in self.document.sections.values() for name in table]
        return (*self.document.bindings, *declared, *PREDECLARED, "x", "context", "heads")

    # -- declarations -----------------------------------------------------------------------

    def run(self) -> TypedSpec:
        """The typed spec; mistakes are in the report."""
        self._check_names()
        self._declare_specs()
        self._declare_dims()
        self._declare_sets()
        self._declare_axes()
        self._declare_macros()
        for section in ("weights", "buffers", "random", "inputs", "streams"):
            self._each(section, getattr(self, f"_declare_{section}"))
        self._bind()
        return self.spec

    def _each(self, section: str, declare: object) -> None:
        assert callable(declare)
        for name, defined in self.document.sections.get(section, {}).items():
            try:
                _check_whole(defined)
                declare(name, defined)
            except Poisoned:
                self.memo[name] = None

    def _check_names(self) -> None:
        owners: dict[str, tuple[str, Span]] = {}
        groups = ("dims", "axes", "inputs", "weights", "random", "buffers", "streams", "specs")
        tables = [(group, self.document.sections.get(group, {})) for group in groups]
        reserved: list[tuple[dict[str, Defined], str]] = []
        for group, table in [*tables, ("bindings", self.document.bindings)]:
            for name, defined in table.items():
                if not (group == "dims" and name == "heads") and self.is_reserved(
                    name, defined.span
                ):
                    reserved.append((table, name))
                if group in ("dims", "inputs", "weights") and keyword.iskeyword(name):
                    help = "dims, inputs and weights are named in calls; choose another name"
                    self.report.error("ATT308", f"`{name}` is a word of Python", defined.span, help)
                elif name in owners:
                    other, span = owners[name]
                    self.report.error(
                        "ATT309",
                        f"`{name}` is declared twice",
                        defined.span,
                        "names share one scope",
                        (Note(span, f"also declared here, in {other}"),),
                    )
                owners[name] = (group, defined.span)
        for table, name in reserved:
            del table[name]

    def is_reserved(self, name: str, span: Span) -> bool:
        """Whether a name has a meaning in every spec; to declare it is a mistake."""
        if name not in RESERVED:
            return False
        help = f"choose another; {', '.join(RESERVED)} have a meaning in every spec"
        self.report.error("ATT308", f"`{name}` is a reserved name", span, help)
        return True

    def _declare_specs(self) -> None:
        for name, defined in self.document.sections.get("specs", {}).items():
            value = defined.value
            chosen = value.get("default") if isinstance(value, Table) else value
            given = self.choices.dims.get(name)
            if isinstance(chosen, Scalar):
                text = str(given) if given is not None else str(chosen.value)
                if given is None and text in self.spec_params:
                    text = str(self.spec_params[text].value)
                self.spec_params[name] = Scalar(text, chosen.span)
                self.spec.dims[name] = text

    def _declare_dims(self) -> None:
        declared = self.document.sections.get("dims", {})
        known = {*declared, *PREDECLARED, *self.spec_params}
        for name in self.choices.dims:
            head = name.split(".")[0]
            if head not in known:
                hint = closest(head, tuple(known))
                span = self._name_span()
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

    def _name_span(self) -> Span:
        header = self.document.header.get("name")
        return header.span if header else Span(self.document.source, 0, 0)

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
            where = span or (defined.span if defined else self._name_span())
            ring = " -> ".join((*above[above.index(name) :], name))
            raise self.fail("ATT310", f"dim `{name}` is defined by itself: {ring}", where)
        if len(above) > LEVELS // 2:
            where = span or self._name_span()
            raise self.fail("ATT409", f"dims depend on dims more than {LEVELS // 2} deep", where)
        if defined is not None:
            self.dim_spans[name] = defined.span
            _check_whole(defined)
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
        return spans[0] if spans else self._name_span()

    def _predeclared_dim(self, name: str, above: tuple[str, ...]) -> statics.Static:
        given = self.choices.dims.get(name)
        if given is not None:
            return sizes.symbol(name, self._whole(name, given, self._name_span()))
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
            return self._static(derived, above)
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
                raise self.fail("ATT307", f"`{name}` is a number", self._name_span())
            if isinstance(given, bool):
                return given
            return sizes.symbol(name, given) if isinstance(given, int) else float(given)
        assert default is not None
        value = self._static(default, above)
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
            divisor = self._static(multiple, above)
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

    def _static(self, expr: Expr, above: tuple[str, ...] = ()) -> statics.Static:
        return self._evaluate(expr, Env(""), above)

    def static(self, expr: Expr, env: Env) -> statics.Static:
        """A static value, in a scope that may hold macro arguments."""
        return self._evaluate(expr, env, ())

    def _evaluate(self, expr: Expr, env: Env, above: tuple[str, ...]) -> statics.Static:
        def name(found: syntax.Name) -> statics.Static:
            local = env.locals.get(found.name)
            if isinstance(local, Thunk) and isinstance(local.value, syntax.Syntax):
                self.tick(found.span, env)
                return self._evaluate(local.value, local.env, above)
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
        value = self.static(expr, env)
        if isinstance(value, Word | bool):
            raise self.fail("ATT511", "this must be a number", expr.span, env)
        return statics.number(value, expr.span)

    def dim(self, name: str) -> Size:
        """A predeclared dim."""
        if name in self.poisoned:
            raise Poisoned
        value = self.static_name(name, None, ())
        assert isinstance(value, Size)  # _is_count holds for predeclared dims
        return value

    def size_const(self, size: Size) -> Node:
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

    def _size_or_one(self, name: str) -> Size:
        """A predeclared dim, or 1 where it has a mistake."""
        return sizes.symbol(name, 1) if name in self.poisoned else self.dim(name)

    def _declare_axes(self) -> None:
        self.axes["b"] = self.batch
        self.axes["h"] = Axis("h", "head", 10, self._size_or_one("heads"), "h")
        self.axes["g"] = Axis("g", "group", 11, self._size_or_one("kv_heads"), "g")
        likes: list[tuple[str, Scalar]] = []
        rank = 20
        for name, defined in self.document.sections.get("axes", {}).items():
            rank += 1
            value = defined.value
            try:
                _check_whole(defined)
                if isinstance(value, Table):
                    like = value.get("like")
                    if isinstance(like, Scalar):
                        likes.append((name, like))
                elif isinstance(value, syntax.Syntax):
                    size = self.size(value, Env(name))
                    if size.value < 1:
                        raise self.fail("ATT307", f"axis `{name}` is empty", defined.span)
                    self.axes[name] = Axis(name, "user", rank, size, name)
            except Poisoned:
                self.axes[name] = Axis(name, "user", rank, sizes.symbol(name, 1), name)
        for name, like in likes:
            rank += 1
            base = self.axes.get(str(like.value))
            if base is None and str(like.value) in self.sets:
                stream = self.sets[str(like.value)].axis
                self.axes[name] = Axis(name, "token", stream.rank + 2, None, stream.base)
                continue
            if base is None:
                self.report.error("ATT401", f"unknown axis `{like.value}`", like.span)
                base = Axis(name, "user", rank, sizes.symbol(name, 1), name)
            self.axes[name] = Axis(name, "user", rank, base.size, base.base)

    def _declare_sets(self) -> None:
        for name, rank in (("x", 1000), ("context", 1010)):
            axis = Axis(name, "token", rank, None, name)
            self._add_stream_set(name, axis)

    def _add_stream_set(self, name: str, axis: Axis) -> None:
        position = Position(Type(Kind.INT, frozenset({axis})), axis)
        self.sets[name] = TokenSet(
            name=name,
            axes=(axis,),
            count=Length(Type(Kind.INT), axis),
            position=position,
            time=position,
            start=position,
            valid=Valid(Type(Kind.BOOL, frozenset({self.batch, axis})), axis),
        )

    def _declare_macros(self) -> None:
        for name, defined in self.document.sections.get("macros", {}).items():
            try:
                _check_whole(defined)
                params = self._parameters(defined)
                body: Expr | None = defined.value  # type: ignore[assignment]
            except Poisoned:
                params, body = (), None
            self.macros[name] = Macro(name, params, body, defined.span)

    def _parameters(self, defined: Defined) -> tuple[tuple[str, Expr | None], ...]:
        from ..parser import parse_text

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
        token_set = self._token_set(item.name, item.span)
        return None if token_set is None else token_set.axis

    def _shape_of(self, table: Table) -> tuple[tuple[Axis, ...], tuple[Size, ...]]:
        shape = table.get("shape")
        items = shape.items if isinstance(shape, Items) else ()
        return self.shape([item for item in items if isinstance(item, syntax.Syntax)], Env(""))

    def _declare_weights(self, name: str, defined: Defined) -> None:
        table = defined.value
        assert isinstance(table, Table)
        axes, dims = self._shape_of(table)
        for axis in axes:
            if axis.size is None:
                raise self.fail(
                    "ATT511",
                    f"axis `{axis}` has no static size, so no weight can have it",
                    defined.span,
                    help="give the weight a largest size, and read it at slot(..)",
                )
        limits = self._pair(table.get("range"))
        shared = table.get("shared") is not None
        decay = table.get("decay")
        self.spec.weights[name] = WeightInfo(
            name,
            axes,
            dims,
            self._init(table.get("init"), "xavier"),
            limits,
            shared,
            not (isinstance(decay, Scalar) and decay.value is False),
        )
        self.memo[name] = Param(Type(Kind.REAL, frozenset(axes), dims), name, "weight")

    def _pair(self, value: object) -> tuple[float, float] | None:
        if not isinstance(value, Items):
            return None
        numbers = [
            self.static_number(item, Env(""))
            for item in value.items
            if isinstance(item, syntax.Syntax)
        ]
        if len(numbers) != 2 or numbers[0] > numbers[1]:
            raise self.fail("ATT302", "a range is [smallest, largest]", value.span)
        return numbers[0], numbers[1]

    def _init(self, value: object, default: str) -> str | float:
        if not isinstance(value, Scalar):
            return default
        text = str(value.value)
        if text in sections.INITS:
            return text
        try:
            return float(text)
        except ValueError:
            pass
        if text in self.document.sections.get("weights", {}) or text in self.document.bindings:
            return f"={text}"
        hint = closest(text, sections.INITS)
        raise self.fail(
            "ATT304",
            f"unknown init `{text}`",
            value.span,
            help=f"did you mean `{hint}`?" if hint else f"one of {', '.join(sections.INITS)}",
        )

    def init_text(self, expr: Expr, env: Env) -> str | float:
        """The `init` of a linear map."""
        if isinstance(expr, syntax.Name):
            return self._init(Scalar(expr.name, expr.span), "linear")
        return self.static_number(expr, env)

    def _declare_buffers(self, name: str, defined: Defined) -> None:
        table = defined.value
        assert isinstance(table, Table)
        axes, dims = self._shape_of(table)
        init = self._init(table.get("init"), "zeros")
        self.spec.states[name] = StateInfo(name, axes, dims, init)
        self.memo[name] = Param(Type(Kind.REAL, frozenset(axes), dims), name, "buffer")

    def _declare_random(self, name: str, defined: Defined) -> None:
        table = defined.value
        assert isinstance(table, Table)
        axes, dims = self._shape_of(table)
        dist = table.get("dist")
        text = str(dist.value) if isinstance(dist, Scalar) else "normal"
        result = Type(Kind.REAL, frozenset(axes), dims)
        per_call = table.get("per") is not None
        if per_call or any(axis.size is None for axis in axes):
            self.memo[name] = Draw(result, name, text, per_call)
            return
        self.spec.states[name] = StateInfo(name, axes, dims, text, random=True)
        self.memo[name] = Param(result, name, "random")

    def _declare_inputs(self, name: str, defined: Defined) -> None:
        table = defined.value
        assert isinstance(table, Table)
        kind_entry = table.get("type")
        kind = Kind(str(kind_entry.value)) if isinstance(kind_entry, Scalar) else Kind.REAL
        axes = {self.batch, *self._over(table.get("over"))}
        dims = self._dims_of(table)
        result = Type(kind, frozenset(axes), dims)
        default_expr = table.get("default")
        default = None
        if isinstance(default_expr, syntax.Syntax):
            default = node_of(self, default_expr, Env(name))
            if default.type.kind is not kind:
                default = self._convert(default, kind, default_expr.span)
        limits = self._pair(table.get("range"))
        whole = None if limits is None else (int(limits[0]), int(limits[1]))
        self.spec.inputs[name] = InputInfo(name, result, default, whole)
        self.memo[name] = Param(result, name, "input")

    def _convert(self, node: Node, kind: Kind, span: Span) -> Node:
        from .typing import real

        if kind is Kind.REAL and node.type.kind is Kind.INT:
            return real(node)
        raise self.fail("ATT501", f"the default is {node.type}, the input {kind.value}", span)

    def _dims_of(self, table: Table) -> tuple[Size, ...]:
        dims = table.get("dims")
        if not isinstance(dims, Items):
            return ()
        return self.shape(
            [item for item in dims.items if isinstance(item, syntax.Syntax)],
            Env(""),
        )[1]

    def _over(self, value: object) -> list[Axis]:
        scalars = value.items if isinstance(value, Items) else (value,)
        axes: list[Axis] = []
        for item in scalars:
            if not isinstance(item, Scalar):
                continue
            name = str(item.value)
            axis = self.axes.get(name)
            token_set = None if axis else self._token_set(name, item.span)
            if axis is None and token_set is None:
                raise self.unknown(name, item.span, Env(""))
            axes.extend((axis,) if axis else token_set.axes if token_set else ())
        return axes

    def _declare_streams(self, name: str, defined: Defined) -> None:
        table = defined.value
        assert isinstance(table, Table)
        over = table.get("over")
        own = isinstance(over, Scalar) and over.value == "own"
        if own:
            axis = Axis(name, "token", self._next_rank(), None, name)
            self._add_stream_set(name, axis)
            axes = [axis]
        else:
            axes = self._over(over)
        dims = self._dims_of(table)
        block = table.get("block")
        text = str(block.value) if isinstance(block, Scalar) else "none"
        result = Type(Kind.REAL, frozenset({self.batch, *axes}), dims)
        self.spec.streams[name] = StreamInfo(name, result, None, text)
        self.memo[name] = Param(result, name, "stream")

    def _next_rank(self) -> int:
        self.token_rank += 10
        return self.token_rank

    # -- token sets and axes ----------------------------------------------------------------

    def token_axis(self, name: str, size: Size | None) -> Axis:
        """A new axis for a derived token set, named after its binding."""
        while name in self.axes or any(
            axis.name == name for s in self.sets.values() for axis in s.axes
        ):
            name += "_"
        return Axis(name, "token", self._next_rank(), size, name)

    def primed(self, axis: Axis) -> Axis:
        """The key axis of an attend whose queries and keys are the same set."""
        return Axis(f"{axis.name}'", axis.role, axis.rank + 1, axis.size, axis.base)

    def member_axis(self, token_set: TokenSet) -> Axis:
        """An axis over the members of each window of a set."""
        return Axis(
            f"{token_set.name}.member", "user", 19, sizes.constant(token_set.size), "member"
        )

    def base_axis(self, axis: Axis) -> Axis:
        """The axis itself, without the prime of a key axis or a second name."""
        if axis.name == axis.base:
            return axis
        if axis.base in self.axes:
            return self.axes[axis.base]
        for token_set in self.sets.values():
            for item in token_set.axes:
                if item.name == axis.base:
                    return item
        return axis

    def set_of_axis(self, axis: Axis) -> TokenSet | None:
        """The token set of an axis."""
        for token_set in self.sets.values():
            if len(token_set.axes) == 1 and token_set.axis.name == axis.base:
                return token_set
        return None

    def _token_set(self, name: str, span: Span) -> TokenSet | None:
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
        value = elaborate(self, expr, replace(env, owner=self._inline_name(expr, env)), raw=True)
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
        token_set = self._token_set(name, expr.span)
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

    # -- names and bindings -----------------------------------------------------------------

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
        if name == "heads" and self._has_attend():
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
                value = self.block_or_expression(defined, name)
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
        value = self.block_or_expression(defined, name)
        if not isinstance(value, Node):
            return value
        self.owners = {key: v for key, v in self.owners.items() if key != name}
        return Param(value.type, name, "argument")

    def block_or_expression(self, defined: Defined, owner: str) -> Value:
        _check_whole(defined)
        before = defined.before.value if defined.before is not None else None
        env = Env(owner)
        if isinstance(before, syntax.Syntax | Broken):
            env = self._super_env(env, defined.before)
        if isinstance(defined.value, Table):
            return blocks.block(self, defined.value, env)
        assert isinstance(defined.value, syntax.Syntax)
        return elaborate(self, defined.value, env)

    def _super_env(self, env: Env, before: Defined | None) -> Env:
        """`super` is the definition before; in it, `super` is the one before that."""
        if before is None or not isinstance(before.value, syntax.Syntax | Broken):
            return env
        inner = self._super_env(env, before.before)
        return env.bind({"super": Thunk(before.value, inner)})

    def block(self, table: Table, env: Env) -> Value:
        return blocks.block(self, table, env)

    def _has_attend(self) -> bool:
        return any(name in self.document.fields for name in ("score", "sources"))

    def _heads(self) -> Value:
        fields = self.document.fields
        entries = {}
        for name, defined in fields.items():
            if name == "out":
                continue
            entries[name] = Entry(name, defined.span, defined.value)
        span = fields["sources" if "sources" in fields else "score"].span
        table = Table(entries, span)
        env = Env("heads", SuperScope(self, fields))
        self.busy.append("heads")
        try:
            value = blocks.attend(self, self._with_supers(table), env, span)
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
                entry = replace(entry, value=expand_super(defined, self))
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
        from ..parser import parse_text

        found = parse_text("softmax(s, j)", None, self.report)
        assert found is not None
        return found

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
            return elaborate(self, macro.body, inner, raw)
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

    def own_weight(self, name: str, node: Node, init: str | float, a: Arguments) -> None:
        """Give parameters to a name; two different owners of one name are a mistake."""
        known = self.owners.get(name)
        if known is not None and known[0] is not node:
            explicit = a.get("as") is not None or a.env.folded
            if not explicit or _weight_shape(known[0]) != _weight_shape(node):
                raise self.fail(
                    "ATT311",
                    f"two learned maps are both named `{name}`",
                    a.call.span,
                    a.env,
                    "give the second a name with `as=`; the same `as` shares the weights",
                )
        self.owners.setdefault(name, (node, init))  # type: ignore[arg-type]
        self.owners[name] = (node, self.owners[name][1])

    def draw_name(self, a: Arguments) -> str:
        """A name for the dropout draws of an expression."""
        self.draws = getattr(self, "draws", 0) + 1
        return f"{a.env.owner}.dropout{self.draws}"

    def bounded_by_length(self, index: Node) -> bool:
        """Whether an index is only as large as the sequence, which is checked at run time."""
        return any(
            isinstance(node, Index | Position | Length) and _sizeless(node) for node in walk(index)
        )

    # -- specs in specs ---------------------------------------------------------------------

    def subspec(self, name: Scalar, given: object, env: Env) -> TypedSpec:
        """The typed spec of a name, at the dims that it is used with."""
        target = self.spec_params.get(str(name.value), name)
        if target is name and name.value in self.document.sections.get("specs", {}):
            raise Poisoned
        inner = self.choices.inner(str(name.value))
        path = self._spec_path(target, env)
        loader, document = self._load(path, target, env)
        declared = document.sections.get("dims", {})
        dims: dict[str, bool | int | float | str] = {}
        chosen = {*self.choices.dims, *self.document.sections.get("dims", {})}
        for key in PREDECLARED:  # derived ones are derived again, from what the spec is given
            if key in ("d_model", "heads") or key in chosen:
                dims[key] = self.dim(key).value
        specs = document.sections.get("specs", {})
        for entry in given.entries.values() if isinstance(given, Table) else ():
            dims.update(self._with(entry, declared, specs, env))
        dims.update(inner)
        derived = {
            key
            for key, item in declared.items()
            if isinstance(item.value, Table) and item.value.get("is") is not None
        }
        dims = {key: value for key, value in dims.items() if key not in derived}
        made = (str(path), tuple(sorted(dims.items(), key=str)))
        if made not in self.cache:
            if self.depth > 8:
                help = "a spec cannot hold itself; a stack repeats layers"
                message = f"`{target.value}` uses itself"
                raise self.fail("ATT403", message, target.span, env, help)
            self.tick(target.span, env, 100)
            before = len(self.report.errors)
            self.cache[made] = Elaborator(
                document,
                loader,
                Choices(dims),
                depth=self.depth + 1,
                cache=self.cache,
                work=self.work,
            ).run()
            if len(self.report.errors) > before:
                raise Poisoned
        return self.cache[made]

    def _with(
        self, entry: Entry, declared: Mapping[str, Defined], specs: Mapping[str, Defined], env: Env
    ) -> dict[str, bool | int | float | str]:
        expr, name = entry.value, entry.name
        if not isinstance(expr, syntax.Syntax):
            raise Poisoned
        if name in specs:
            if not isinstance(expr, syntax.Name):
                raise self.fail("ATT402", "a spec is given by its name", expr.span, env)
            chosen = self.spec_params.get(expr.name)
            found: dict[str, bool | int | float | str] = {
                name: expr.name if chosen is None else str(chosen.value)
            }
            reach = self.choices.inner(expr.name)
            found.update({f"{name}.{key}": value for key, value in reach.items()})
            return found
        if name not in declared and name not in PREDECLARED:
            hint = closest(name, (*declared, *specs, *PREDECLARED))
            raise self.fail(
                "ATT312",
                f"the spec has no dim `{name}`",
                entry.name_span,
                env,
                f"did you mean `{hint}`?" if hint else "",
            )
        known = isinstance(expr, syntax.Name) and self.static_name(expr.name, expr.span, ())
        if isinstance(expr, syntax.Name) and known is None:
            return {name: expr.name}
        value = self.static(expr, env)
        if isinstance(value, Size):
            return {name: value.value}
        return {name: value.text if isinstance(value, Word) else value}

    def _spec_path(self, name: Scalar, env: Env) -> Path:
        path = find(str(name.value), self.document.folder)
        if path is None:
            hint = closest(str(name.value), (*library_paths(), *self.spec_params))
            raise self.fail(
                "ATT402",
                f"there is no spec `{name.value}`",
                name.span,
                env,
                f"did you mean `{hint}`?" if hint else "`attnc list` shows the library",
            )
        return path

    def _load(self, path: Path, name: Scalar, env: Env) -> tuple[Loader, Document]:
        document = load_document(self.loader, None, path)
        if document is None:
            raise self.fail("ATT402", f"the spec `{name.value}` has mistakes", name.span, env)
        return self.loader, document

    def stream_value(self, name: str, result: Type, span: Span) -> Node | None:
        """The value of a stream that a used spec needs: the spec's own stream of that name."""
        if self.muted_streams:
            return None
        if name not in self.spec.streams:
            self.spec.streams[name] = StreamInfo(name, result, None, "none")
            self.passed = getattr(self, "passed", {})
            self.passed[name] = None
            self.memo[name] = Param(result, name, "stream")
        passed: dict[str, Node | None] = getattr(self, "passed", {})
        current = passed.get(name)
        if current is not None:
            return current
        value = self.memo.get(name)
        return value if isinstance(value, Node) else None

    def pass_on(self, name: str, node: Node) -> None:
        """The new value of a stream that a used spec changed: the spec's output of that name."""
        if self.muted_streams:
            return
        self.passed = getattr(self, "passed", {})
        self.passed[name] = node

    # -- everything together ----------------------------------------------------------------

    def _bind(self) -> None:
        for name in self._in_order():
            if name not in self.memo:
                try:
                    self.value(name, self.document.bindings[name].span, Env(name))
                except Poisoned:
                    self.memo[name] = None
        self._stream_firsts()
        self._outputs()
        self._losses()
        self._updates()
        self.spec.project = tuple(
            name for name, defined in self.document.bindings.items() if defined.section == "project"
        )
        if not self.report.errors:
            self._keep()

    def _in_order(self) -> Iterator[str]:
        """The bindings, those that others mention first: a long chain must not nest."""
        bindings = self.document.bindings
        macros = self.document.sections.get("macros", {})
        seen: set[str] = set()
        stack: list[tuple[str, Defined, bool]] = [
            (name, defined, False) for name, defined in reversed(bindings.items())
        ]
        while stack:
            name, defined, is_ready = stack.pop()
            if is_ready and defined.section != "macros":
                yield name
            if is_ready or name in seen:
                continue
            seen.add(name)
            stack.append((name, defined, True))
            for other in _mentioned(defined.value):
                found = bindings.get(other) or macros.get(other)
                if found is not None and other not in seen:
                    stack.append((other, found, False))

    def _unused_bindings(self) -> None:
        """What nothing uses is checked all the same where this file says it."""
        for name, defined in self.document.bindings.items():
            if name not in self.memo and defined.span.source is self.document.source:
                try:
                    self.value(name, defined.span, Env(name))
                except Poisoned:
                    self.memo[name] = None

    def _guard(self, expr: Expr, owner: str, env: Env | None = None) -> Node | None:
        try:
            return node_of(self, expr, env or Env(owner))
        except Poisoned:
            return None

    def _stream_firsts(self) -> None:
        for name, defined in self.document.sections.get("streams", {}).items():
            table = defined.value
            first = table.get("first") if isinstance(table, Table) else None
            if isinstance(first, syntax.Syntax) and name in self.spec.streams:
                node = self._guard(first, name)
                self.spec.streams[name] = replace(self.spec.streams[name], first=node)

    def _outputs(self) -> None:
        defined = self.document.fields.get("out")
        outs: dict[str, tuple[Expr, Env]] = {}
        if defined is None:
            if "heads" not in self.memo and self._has_attend():
                self._guard(syntax.Name("heads", span=self._name_span()), "out")
        elif isinstance(defined.value, syntax.Syntax):
            outs["x"] = (defined.value, self._out_env(defined, "out"))
        elif isinstance(defined.value, Table):
            for entry in defined.value.entries.values():
                if isinstance(entry.value, syntax.Syntax):
                    owner = "out" if entry.name == "x" else f"out_{entry.name}"
                    outs[entry.name] = (entry.value, self._out_env(defined, owner))
        for name, (expr, env) in outs.items():
            node = self._guard(expr, "out", env)
            if node is not None:
                self.spec.outputs[name] = node
                self._check_output(name, node, expr)
        for name, passed in getattr(self, "passed", {}).items():
            if passed is not None:
                self.spec.outputs.setdefault(name, passed)
        if not self.spec.outputs and not self.report.errors:
            self.report.error(
                "ATT303",
                "the spec computes nothing",
                self._name_span(),
                "add `out:`, or `extends: softmax` and a `score:`",
            )

    def _out_env(self, defined: Defined, owner: str) -> Env:
        before = defined.before
        env = Env(owner)
        while before is not None and isinstance(before.value, Table):
            entry = before.value.entries.get("x")
            if entry is not None and isinstance(entry.value, syntax.Syntax):
                inner = self._out_env(before, owner)
                return env.bind({"super": Thunk(entry.value, inner)})
            before = before.before
        return self._super_env(env, before)

    def _check_output(self, name: str, node: Node, expr: Expr) -> None:
        stream = self.spec.streams.get(name)
        if stream is not None:
            if not _same_sizes(node.type.dims, stream.type.dims) or not (
                node.type.axes <= stream.type.axes
            ):
                self.report.error(
                    "ATT508",
                    f"stream `{name}` is {stream.type}, but `out` gives {node.type}",
                    expr.span,
                    "a stream keeps its type from layer to layer",
                )
            return
        x = self.memo.get("x")
        if name != "x" or not isinstance(x, Param):
            return
        dims = x.type.dims
        axes = {self.batch, self.sets["x"].axis}
        extra = [axis.name for axis in node.type.ordered if axis not in axes]
        if not _same_sizes(node.type.dims, dims) or extra:
            self.report.error(
                "ATT508",
                f"the output is {node.type}; it must be real{{b, x}}[d_model]",
                expr.span,
                f"reduce or concat over {', '.join(extra)}"
                if extra
                else "linear(..) maps to d_model",
            )

    def _losses(self) -> None:
        for name, defined in self.document.sections.get("losses", {}).items():
            table = defined.value
            value, weight = (
                (table.get("value"), table.get("weight"))
                if isinstance(table, Table)
                else (None,) * 2
            )
            if not isinstance(value, syntax.Syntax):
                continue
            node = self._guard(value, name)
            step = {"step": Param(Type(Kind.INT), "step", "input")}
            factor = const(1.0)
            if isinstance(weight, syntax.Syntax):
                factor = self._guard(weight, name, Env(name).bind(step)) or factor  # type: ignore[assignment]
            if node is not None:
                node = self._scalar(node)
                self.spec.losses[name] = LossInfo(name, node, factor)

    def _scalar(self, node: Node) -> Node:
        """A loss over tokens or the batch is its mean."""
        if not node.type.axes and not node.type.dims:
            return node
        from .calls import reduced

        dims = tuple(range(len(node.type.dims)))
        return reduced("mean", node, node.type.ordered, dims, None)

    def _updates(self) -> None:
        for name, defined in self.document.sections.get("updates", {}).items():
            if not isinstance(defined.value, syntax.Syntax):
                continue
            state = self.spec.states.get(name)
            if state is None or state.random:
                self.report.error(
                    "ATT401", f"`{name}` is not a buffer", defined.span, "updates change buffers"
                )
                continue
            node = self._guard(defined.value, name)
            if node is None:
                continue
            if node.type.dims != state.dims or not node.type.axes <= set(state.axes):
                self.report.error(
                    "ATT508", f"buffer `{name}` cannot become {node.type}", defined.value.span
                )
            self.spec.updates[name] = node

    def _keep(self) -> None:
        """Forget what no output, loss or update uses; note what the rest owns."""
        spec = self.spec
        roots = [*spec.outputs.values(), *spec.updates.values()]
        roots += [loss.value for loss in spec.losses.values()]
        roots += [s.first for s in spec.streams.values() if s.first is not None]
        used = list(walk(*roots))
        names = {node.name for node in used if isinstance(node, Param)}
        owned = {node.name for node in used if isinstance(node, Linear | Norm)}
        spec.weights = {k: v for k, v in spec.weights.items() if k in names}
        spec.states = {k: v for k, v in spec.states.items() if k in names or k in spec.updates}
        spec.inputs = {k: v for k, v in spec.inputs.items() if k in names}
        spec.uses = {
            k: v
            for k, v in spec.uses.items()
            if any(isinstance(n, Use) and n.name == k for n in used)
        }
        spec.owners = {k: v for k, v in self.owners.items() if k in owned}
        spec.core = self._core()
        self._check_batch(roots[: len(spec.outputs)])

    def _core(self) -> Node | None:
        """The heads before they are joined: what `entry="qkv"` gives."""
        node = self.spec.outputs.get("x")
        while node is not None and isinstance(node, Linear):
            node = node.arg
        from ..core import AxisToDim, Reshape

        while isinstance(node, Reshape | AxisToDim):
            node = node.arg
        return node

    def _check_batch(self, roots: list[Node]) -> None:
        coupled = self.document.text("batch") == "coupled"
        for node in walk(*roots):
            if isinstance(node, Reduce) and self.batch in node.axes and not coupled:
                span = self.spec.spans.get(node, self._name_span())
                self.report.error(
                    "ATT510",
                    "this reduces over the batch: an example's result would depend on the others",
                    span,
                    "reduce over b only in losses and updates, or declare `batch: coupled`",
                )


def _check_whole(defined: Defined) -> None:
    """Give up quietly on a declaration whose text has a mistake of its own."""
    value = defined.value
    if isinstance(value, Broken) or (isinstance(value, Table) and value.is_broken):
        raise Poisoned


def _is_count(value: statics.Static) -> bool:
    return isinstance(value, Size) and value.value >= 1


def _options(table: Table) -> set[str]:
    options = table.get("one_of")
    if not isinstance(options, Items):
        return set()
    return {str(item.value) for item in options.items if isinstance(item, Scalar)}


def _same_sizes(left: tuple[Size, ...], right: tuple[Size, ...]) -> bool:
    """Whether dims have equal values: `caps * (d_model // caps)` is d_model where it divides."""
    return [dim.value for dim in left] == [dim.value for dim in right]


def _sizeless(node: Node) -> bool:
    axis = getattr(node, "axis", None)
    return isinstance(axis, Axis) and axis.size is None


def _weight_shape(node: Node) -> object:
    if isinstance(node, Linear):
        total = [dim.value for dim in node.arg.type.dims]
        return (total, node.to_axes, node.to_dims, node.bias)
    return tuple(dim.value for dim in node.type.dims)


class SuperScope(dict[str, "Value | Thunk"]):
    """The scope of top-level fields; `super` has been expanded already."""

    def __init__(self, e: Elaborator, fields: Mapping[str, Defined]) -> None:
        super().__init__()


def expand_super(defined: Defined, e: Elaborator) -> Expr:
    """The expression of a field with `super` replaced by the one it replaced."""
    expr = defined.value
    assert isinstance(expr, syntax.Syntax)
    uses = any(isinstance(item, syntax.Name) and item.name == "super" for item in _all(expr))
    if not uses:
        return expr
    before = defined.before
    if before is not None and isinstance(before.value, Broken):
        raise Poisoned
    if before is None or not isinstance(before.value, syntax.Syntax):
        name = next(i for i in _all(expr) if isinstance(i, syntax.Name) and i.name == "super")
        raise e.no_super(name.span, None)
    return syntax.substitute(expr, "super", expand_super(before, e))


def _mentioned(value: Decoded) -> Iterator[str]:
    """Every name in an expression, list or table."""
    if isinstance(value, Table):
        for entry in value.entries.values():
            yield from _mentioned(entry.value)
    elif isinstance(value, Items):
        for item in value.items:
            yield from _mentioned(item)
    elif isinstance(value, syntax.Syntax):
        yield from (item.name for item in _all(value) if isinstance(item, syntax.Name))


def _all(expr: Expr) -> Iterator[Expr]:
    """An expression and all its parts; functions of calls are names, too."""
    stack: list[Expr] = [expr]
    while stack:
        item = stack.pop()
        yield item
        if isinstance(item, syntax.Call):
            stack.append(item.function)
        stack.extend(syntax.children(item))


__all__ = ["Attend", "Choices", "Elaborator", "Fill", "Map", "Null", "Token", "bind_super", "union"]
