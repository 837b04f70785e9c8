"""Declarations of arrays: weights, buffers, random arrays, inputs and streams."""

from __future__ import annotations

from collections.abc import Callable

from .. import sections, syntax
from ..core import Axis, Draw, Kind, Node, Param, Type
from ..shapes import Items, Scalar, Table, closest
from ..sizes import Size
from ..source import Span
from ..syntax import Expr
from ..typed import InputInfo, StateInfo, StreamInfo, WeightInfo
from .reports import check_whole
from .sets import Sets
from .typing import real
from .values import Env, Poisoned


class Declarations(Sets):
    """The arrays that a document declares."""

    def declare_arrays(self) -> None:
        """Every declared array, under its name; None where its declaration has a mistake."""
        declare: dict[str, Callable[[str, Table], None]] = {
            "weights": self._weight,
            "buffers": self._buffer,
            "random": self._random,
            "inputs": self._input,
            "streams": self._stream,
        }
        for section, one in declare.items():
            for name, defined in self.document.sections.get(section, {}).items():
                try:
                    check_whole(defined)
                    assert isinstance(defined.value, Table)
                    one(name, defined.value)
                except Poisoned:
                    self.memo[name] = None

    def _weight(self, name: str, table: Table) -> None:
        axes, dims = self._shape_of(table)
        for axis in axes:
            if axis.size is None:
                raise self.fail(
                    "ATT511",
                    f"axis `{axis}` has no static size, so no weight can have it",
                    self.document.sections["weights"][name].span,
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

    def _buffer(self, name: str, table: Table) -> None:
        axes, dims = self._shape_of(table)
        init = self._init(table.get("init"), "zeros")
        self.spec.states[name] = StateInfo(name, axes, dims, init)
        self.memo[name] = Param(Type(Kind.REAL, frozenset(axes), dims), name, "buffer")

    def _random(self, name: str, table: Table) -> None:
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

    def _input(self, name: str, table: Table) -> None:
        kind_entry = table.get("type")
        kind = Kind(str(kind_entry.value)) if isinstance(kind_entry, Scalar) else Kind.REAL
        axes = {self.batch, *self._over(table.get("over"))}
        dims = self._dims_of(table)
        result = Type(kind, frozenset(axes), dims)
        default_expr = table.get("default")
        default = None
        if isinstance(default_expr, syntax.Syntax):
            default = self.node_of(default_expr, Env(name))
            if default.type.kind is not kind:
                default = self._convert(default, kind, default_expr.span)
        limits = self._pair(table.get("range"))
        whole = None if limits is None else (int(limits[0]), int(limits[1]))
        self.spec.inputs[name] = InputInfo(name, result, default, whole)
        self.memo[name] = Param(result, name, "input")

    def _stream(self, name: str, table: Table) -> None:
        over = table.get("over")
        own = isinstance(over, Scalar) and over.value == "own"
        if own:
            axis = Axis(name, "token", self.next_rank(), None, name)
            self.add_stream_set(name, axis)
            axes = [axis]
        else:
            axes = self._over(over)
        dims = self._dims_of(table)
        block = table.get("block")
        text = str(block.value) if isinstance(block, Scalar) else "none"
        result = Type(Kind.REAL, frozenset({self.batch, *axes}), dims)
        self.spec.streams[name] = StreamInfo(name, result, None, text)
        self.memo[name] = Param(result, name, "stream")

    def init_text(self, expr: Expr, env: Env) -> str | float:
        """The `init` of a linear map."""
        if isinstance(expr, syntax.Name):
            return self._init(Scalar(expr.name, expr.span), "linear")
        return self.static_number(expr, env)

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

    def _shape_of(self, table: Table) -> tuple[tuple[Axis, ...], tuple[Size, ...]]:
        shape = table.get("shape")
        items = shape.items if isinstance(shape, Items) else ()
        return self.shape([item for item in items if isinstance(item, syntax.Syntax)], Env(""))

    def _dims_of(self, table: Table) -> tuple[Size, ...]:
        dims = table.get("dims")
        if not isinstance(dims, Items):
            return ()
        items = [item for item in dims.items if isinstance(item, syntax.Syntax)]
        axes, sizes = self.shape(items, Env(""))
        if axes:
            raise self.fail(
                "ATT502",
                f"`dims` holds feature dims; `{axes[0]}` is an index axis",
                items[0].span,
                help=f"write it in `over`: over: [.., {axes[0]}]",
            )
        return sizes

    def _over(self, value: object) -> list[Axis]:
        scalars = value.items if isinstance(value, Items) else (value,)
        axes: list[Axis] = []
        for item in scalars:
            if not isinstance(item, Scalar):
                continue
            name = str(item.value)
            axis = self.axes.get(name)
            token_set = None if axis else self.named_set(name, item.span)
            if axis is None and token_set is None:
                raise self.unknown(name, item.span, Env(""))
            axes.extend((axis,) if axis else token_set.axes if token_set else ())
        return axes

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

    def _convert(self, node: Node, kind: Kind, span: Span) -> Node:
        if kind is Kind.REAL and node.type.kind is Kind.INT:
            return real(node)
        raise self.fail("ATT501", f"the default is {node.type}, the input {kind.value}", span)
