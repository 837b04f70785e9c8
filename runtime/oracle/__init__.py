"""The oracle: a slow, obvious evaluator of the typed spec in float64, the judge of every lowering.

It follows the docstrings of `dsl.core` node by node and shares no code with the compiler. Results are
differentiable by torch autograd, and what is not there has gradient 0.

    values        arrays with named axes          environment   what a call gives
    scope         where a node has which value    table         which function evaluates which node
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ...dsl.core import Node
from ...dsl.typed import TypedSpec
from .environment import Environment, OracleError, Start
from .scope import Scope
from .table import EVALUATORS
from .values import Value


class Oracle:
    """One call of a spec; every node is evaluated once.

    Takes the fields of `Environment`.
    """

    def __init__(
        self,
        spec: TypedSpec,
        weights: Mapping[str, Tensor] | None = None,
        inputs: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> None:
        self.env = Environment(spec, weights or {}, inputs or {}, **options)
        self.scope = Scope(self.env, EVALUATORS)

    def value(self, node: Node) -> Value:
        """The value of a node over exactly the axes and dims of its type."""
        return self.scope.conformed(self.scope.value(node), node)

    def tensor(self, node: Node) -> Tensor:
        """The value of a node: its axes sorted by rank, then its dims."""
        return self.value(node).tensor

    def named(self, name: str) -> Tensor:
        """An output, binding, loss or update by name."""
        return self.tensor(_node_named(self.env.spec, name))


def _node_named(spec: TypedSpec, name: str) -> Node:
    losses = {loss.name: loss.value for loss in spec.losses.values()}
    for table in (spec.outputs, spec.bindings, losses, spec.updates):
        if name in table:
            return table[name]
    known = ", ".join((*spec.outputs, *spec.bindings, *losses, *spec.updates))
    raise OracleError(f"`{spec.name}` computes no `{name}`; it computes {known}")


def evaluate(
    spec: TypedSpec,
    weights: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    *,
    sizes: Mapping[str, int] | None = None,
    valid: Tensor | None = None,
    context_valid: Tensor | None = None,
    q_start: Start = 0,
    k_start: Start | None = None,
    head_start: int = 0,
    inject: Mapping[str, Tensor] | None = None,
    call_seed: int = 0,
    training: bool = False,
    outputs: Iterable[str] | None = None,
) -> dict[str, Tensor]:
    """Every output of a spec, and the further bindings, losses and updates named in `outputs`.

    Arguments:
        weights   by state-dict name; those of a used spec begin with `<use name>.`
        inputs    x (b, length, dims), context, side inputs, streams, arguments; each laid out as
                  its type is: axes by rank, then dims. context is x where it is absent
        sizes     of axes that no input shows, by Axis.base
        valid, context_valid   bool (b, tokens); context_valid is `valid` where context is x
        q_start, k_start   a number, one per example (b,), or the positions (b, tokens); k_start is
                  q_start where context is x, else 0
        inject    values for int and bool bindings, random arrays, draws, and, in training, masks of
                  what dropout keeps (weights: over their axes by rank, joint keys included)
    Raises:
        OracleError: the call does not fit the spec, or needs random numbers that are not injected.
    """
    oracle = Oracle(
        spec,
        weights,
        inputs,
        sizes=dict(sizes or {}),
        valid=valid,
        context_valid=context_valid,
        q_start=q_start,
        k_start=k_start,
        head_start=head_start,
        inject=dict(inject or {}),
        call_seed=call_seed,
        training=training,
    )
    return {name: oracle.named(name) for name in (*spec.outputs, *(outputs or ()))}


def evaluate_node(
    node: Node,
    *,
    inputs: Mapping[str, Tensor] | None = None,
    weights: Mapping[str, Tensor] | None = None,
    spec: TypedSpec | None = None,
    **options: Any,
) -> Tensor:
    """The value of a node on its own: axes sorted by rank, then dims."""
    spec = TypedSpec(name="node") if spec is None else spec
    return Oracle(spec, weights, inputs, roots=(node,), **options).tensor(node)


__all__ = ["Environment", "Oracle", "OracleError", "Value", "evaluate", "evaluate_node"]
