"""What is kept of a typed spec: only what its outputs, losses and updates use."""

from __future__ import annotations

from ..core import AxisToDim, Linear, Node, Norm, Param, Reduce, Reshape, Use, walk
from ..typed import TypedSpec
from .reports import Reports


def keep(e: Reports) -> None:
    """Forget what no output, loss or update uses; note what the rest owns."""
    spec = e.spec
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
        k: v for k, v in spec.uses.items() if any(isinstance(n, Use) and n.name == k for n in used)
    }
    spec.owners = {k: v for k, v in e.owners.items() if k in owned}
    spec.core = _core(spec)
    _check_batch(e, roots[: len(spec.outputs)])


def _core(spec: TypedSpec) -> Node | None:
    """The heads before they are joined: what `entry="qkv"` gives."""
    node = spec.outputs.get("x")
    while node is not None and isinstance(node, Linear):
        node = node.arg
    while isinstance(node, Reshape | AxisToDim):
        node = node.arg
    return node


def _check_batch(e: Reports, roots: list[Node]) -> None:
    coupled = e.document.text("batch") == "coupled"
    for node in walk(*roots):
        if isinstance(node, Reduce) and e.batch in node.axes and not coupled:
            span = e.spec.spans.get(node, e.name_span())
            e.report.error(
                "ATT510",
                "this reduces over the batch: an example's result would depend on the others",
                span,
                "reduce over b only in losses and updates, or declare `batch: coupled`",
            )
