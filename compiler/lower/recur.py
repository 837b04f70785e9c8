"""Loops over tokens: all tokens at once where the loop is linear, else a step called once per token.

What does not depend on the carry is computed for all tokens at once, outside; inside is left what must wait.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, fx

from ...dsl.core import Axis, Kind, Node, Param, Recur, operands
from .emitter import Value, by_rank
from .linear_loop import linear_loop

if TYPE_CHECKING:
    from .dense import Dense


Layout: TypeAlias = tuple[tuple[Axis, ...], int]


@dataclass(frozen=True)
class Results:
    """Of one loop: the final carries, and the yields with the axis of the loop."""

    finals: tuple[Value, ...]
    yields: tuple[Value, ...]


def loop(
    step: Any, inits: list[Tensor], rows: list[Tensor], fixed: list[Tensor], length: int
) -> tuple[list[Tensor], list[Tensor]]:
    """step applied token after token: final carries, and the yields stacked along a first dim.

    rows hold one slice per token along their first dim; fixed is the same for every token.
    """
    carries = list(inits)
    yields: list[list[Tensor]] = []
    # unbound, not read one by one, whose backward would be quadratic in the tokens
    now = list(zip(*(row.unbind(0) for row in rows), strict=True)) if rows else [()] * length
    for place in range(length):
        made = step(*carries, *now[place], *fixed)
        carries, out = list(made[: len(inits)]), list(made[len(inits) :])
        yields.append(out)
    count = len(yields[0]) if yields else 0
    return carries, [torch.stack([row[n] for row in yields]) for n in range(count)]


def recur(e: Dense, node: Recur) -> Value:
    """One result of a loop; the loop itself is emitted once."""
    key = (node.axis, node.names, node.inits, node.nexts, node.yields)
    if key not in e.loops:
        found = e.linear_loops.get(node.names)
        e.loops[key] = _emit(e, node) if found is None else Results(*linear_loop(e, node, found))
    made = e.loops[key]
    return made.finals[-1 - node.which] if node.which < 0 else made.yields[node.which]


def _item(e: Dense, pair: Any, place: int) -> Any:
    return e.call(operator.getitem, pair, place)


def _depends(node: Node, names: tuple[str, ...], memo: dict[Node, bool]) -> bool:
    if node not in memo:
        own = isinstance(node, Param) and node.role == "carry" and node.name in names
        memo[node] = own or any(_depends(child, names, memo) for child in operands(node))
    return memo[node]


def _emit(e: Dense, node: Recur) -> Results:
    memo: dict[Node, bool] = {}
    outside = _frontier(node, memo)
    rows: list[Any] = []
    fixed: list[Any] = []
    inner = type(e)(e.program, {})
    inner.prepare_inner(e)
    carry_layouts: list[Layout] = []
    for name, init, following in zip(node.names, node.inits, node.nexts, strict=True):
        axes = by_rank(a for a in (*following.type.axes, *init.type.axes) if a != node.axis)
        carry_layouts.append((axes, len(init.type.dims)))
        placeholder = inner.graph.placeholder(name.replace(".", "_"))
        inner.carries[name] = Value(placeholder, axes, len(init.type.dims))
        inner.know(axes, placeholder)
    for item in outside:
        value = e.lower(item)
        if value.is_number:
            inner.values[item] = value
            continue
        if node.axis in value.axes:
            rest = tuple(axis for axis in value.axes if axis != node.axis)
            place = value.axes.index(node.axis)
            rows.append((item, e.method("movedim", value.node, place, 0), rest, value))
        else:
            fixed.append((item, e.tensor(value), value.axes, value))
    for n, (item, _, axes, value) in enumerate((*rows, *fixed)):
        placeholder = inner.graph.placeholder(f"now_{n}" if n < len(rows) else f"fixed_{n}")
        inner.values[item] = Value(placeholder, axes, value.dims, value.wide)
        inner.know(axes, placeholder)
    outs: list[Any] = []
    for (axes, _), following in zip(carry_layouts, node.nexts, strict=True):
        value = inner.lower(following)
        if following.type.kind is Kind.REAL:  # in the module's dtype, as the next step reads it
            value = replace(value, node=inner.narrowed(value))
        outs.append(inner.expand(value, axes))
    layouts = list(carry_layouts)
    for item in node.yields:
        value = inner.lower(item)
        outs.append(inner.tensor(value))
        layouts.append((value.axes, value.dims))
    inner.graph.output(tuple(outs))
    name = e.submodule("step", fx.GraphModule(torch.nn.Module(), inner.graph))
    inits = [
        e.expand(_begin(e, init), axes)
        for init, (axes, _) in zip(node.inits, carry_layouts, strict=True)
    ]
    step = e.graph.get_attr(name)
    made = e.call(
        loop, step, inits, [row[1] for row in rows], [item[1] for item in fixed], e.size(node.axis)
    )
    carries, yields = _item(e, made, 0), _item(e, made, 1)
    count = len(node.names)
    return Results(
        tuple(Value(_item(e, carries, n), *layout) for n, layout in enumerate(layouts[:count])),
        tuple(
            e.arrange(_item(e, yields, n), (node.axis, *axes), dims)
            for n, (axes, dims) in enumerate(layouts[count:])
        ),
    )


def _begin(e: Dense, init: Node) -> Value:
    value = e.lower(init)
    return Value(e.tensor(value), value.axes, value.dims, value.wide)


def _frontier(node: Recur, memo: dict[Node, bool]) -> list[Node]:
    """The largest expressions in the body that do not depend on a carry."""
    found: list[Node] = []
    seen: set[Node] = set()
    stack = [*node.nexts, *node.yields]
    while stack:
        item = stack.pop()
        if item in seen:
            continue
        seen.add(item)
        if _depends(item, node.names, memo):
            stack.extend(operands(item))
        else:
            found.append(item)
    return found
