"""Outputs, losses, updates and first values of streams, once every binding has its value."""

from __future__ import annotations

from dataclasses import replace

from .. import syntax
from ..core import Draw, Kind, Node, Param, Type, Use, depends_on
from ..document import Defined
from ..shapes import Table
from ..sizes import Size
from ..syntax import Expr
from ..typed import LossInfo
from .reductions import reduced
from .scope import Scope
from .typing import const
from .values import Env, Poisoned, Thunk


class Outputs(Scope):
    """What a spec computes."""

    def results(self) -> None:
        """Everything that a spec computes, into the typed spec."""
        self._stream_firsts()
        self._outputs()
        self._losses()
        self._updates()

    def _guard(self, expr: Expr, owner: str, env: Env | None = None) -> Node | None:
        """The array of an expression; None where it has a mistake."""
        try:
            return self.node_of(expr, env or Env(owner))
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
            if "heads" not in self.memo and self.has_attend():
                self._guard(syntax.Name("heads", span=self.name_span()), "out")
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
        for name, passed in self.passed.items():
            if passed is not None:
                self.spec.outputs.setdefault(name, passed)
        if not self.spec.outputs and not self.report.errors:
            self.report.error(
                "ATT303",
                "the spec computes nothing",
                self.name_span(),
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
        return self.super_env(env, before)

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
        if node.type.kind is not Kind.REAL:
            self.report.error(
                "ATT508",
                f"the output is {node.type}; it must be real",
                expr.span,
                "real(..) makes a real of a bool or int",
            )
            return
        if not depends_on(node, lambda item: isinstance(item, Param | Use | Draw)):
            self.report.error(
                "ATT508",
                "the output depends on nothing that the call gives",
                expr.span,
                "use x, context or an input",
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


def _same_sizes(left: tuple[Size, ...], right: tuple[Size, ...]) -> bool:
    """Whether dims have equal values: `caps * (d_model // caps)` is d_model where it divides."""
    return [dim.value for dim in left] == [dim.value for dim in right]
