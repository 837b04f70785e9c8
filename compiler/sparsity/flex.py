"""Masks as FlexAttention has them: its BlockMask, and a function of one pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .counters import Counter, Source, sizes_of
from .program import KEY, QUERY, MaskProgram, operands
from .runs import FULL, PARTIAL, Runs
from .values import NoValue, applied

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

#: blocks beyond which their table is no longer formed
MOST_BLOCKS = 1 << 28


class NoBlockMask(ValueError):
    """FlexAttention has no form for this mask."""


def block_mask(
    program: MaskProgram, values: Sequence[Source], runs: Runs, real: torch.dtype
) -> BlockMask:
    """The BlockMask of a mask with its classes; as `create_block_mask` would make it."""
    from torch.nn.attention.flex_attention import BlockMask

    other = [axis for axis in program.lead if axis not in ("b", "h")]
    if other:
        raise NoBlockMask(f"FlexAttention has no axis `{other[0]}`, over which the mask varies")
    if any(step.op in ("some", "any") for step in program.steps):
        raise NoBlockMask("the mask reads what the tokens hold: give them")
    grid = runs.grid
    if grid.count() > MOST_BLOCKS:
        raise NoBlockMask(f"a BlockMask is a table of all blocks, here {grid.count():,}")
    sizes = sizes_of(("b", "h"), program, values)
    order = [sizes[axis] for axis in program.lead]
    classes = runs.classes().view(*order, *grid.shape())
    if program.lead == ("h", "b"):
        classes = classes.transpose(0, 1)
    classes = classes.view(sizes["b"], sizes["h"], *grid.shape()).clone()
    _make_edges_partial(classes, runs)
    partial, full = (_listed(classes == kind) for kind in (PARTIAL, FULL))
    made: BlockMask = BlockMask.from_kv_blocks(
        *partial,
        *full,
        BLOCK_SIZE=grid.block,
        mask_mod=mask_function(program, values, real),
        seq_lengths=(grid.queries, grid.keys),
    )
    return made


def _make_edges_partial(classes: Tensor, runs: Runs) -> None:
    """Blocks that reach beyond the tokens need their mask there: it is what hides the rest."""
    grid = runs.grid
    if grid.queries % grid.block[0]:
        edge = classes[..., -1, :]
        edge[edge == FULL] = PARTIAL
    if grid.keys % grid.block[1]:
        edge = classes[..., -1]
        edge[edge == FULL] = PARTIAL


def _listed(there: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of each row are there, and all columns with these first."""
    order = there.to(torch.uint8).argsort(dim=-1, descending=True, stable=True)
    return there.sum(-1, dtype=torch.int32), order.to(torch.int32)


def mask_function(
    program: MaskProgram, values: Sequence[Source], real: torch.dtype
) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """mask_mod(b, h, q_idx, kv_idx): whether a pair is visible."""
    widths = sizes_of(program.reduced, program, values)

    def visible(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        if not program.steps:
            return query >= 0
        at: dict[str, Any] = {"b": b, "h": h, QUERY: query, KEY: key}
        made = _value(len(program.steps) - 1, at)
        if isinstance(made, Tensor):
            return made
        return query >= 0 if made else query < 0  # what is given may decide it for all pairs

    def _value(place: int, at: dict[str, Any]) -> Any:
        step = program.steps[place]
        match step.op:
            case "input":
                return _read(values[step.args[0]], program.axes[step.args[0]], at)
            case "const":
                return step.args[0]
            case "exists" | "forall":
                name, *rest = step.args[1:]
                if rest:
                    raise NoValue
                parts = [_value(step.args[0], {**at, name: n}) for n in range(widths[name])]
                total = parts[0]
                for part in parts[1:]:
                    total = total | part if step.op == "exists" else total & part
                return total
        return applied(step, [_value(n, at) for n in operands(step)], (), {}, real)

    return visible


def _read(value: Source, axes: tuple[str, ...], at: dict[str, Any]) -> Any:
    """An input at one place; counters without a table."""
    if isinstance(value, Counter):
        return at[axes[0]] + value.start if value.start else at[axes[0]]
    places = [0 if value.size(n) == 1 and a in ("b", "h") else at[a] for n, a in enumerate(axes)]
    if not places:
        return value
    return value[tuple(places)]
