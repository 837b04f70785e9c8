"""The sparsity of a module's masks at a length, from their predicates: no pair is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from ..compiler.lower.mask_inputs import MaskGraph, mask_graph
from ..compiler.program import OFFSETS, VALIDITY
from ..compiler.sparsity import MaskProgram, Runs, classify
from ..compiler.sparsity.counters import Source, sizes_of
from ..compiler.sparsity.flex import block_mask
from ..compiler.sparsity.inputs import MaskInputs, source_of
from ..dsl.core import Attend, Type, walk

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

    from .module import Module

#: blocks beyond which the table of all classes is no longer formed
MOST_BLOCKS = 1 << 28


@dataclass(frozen=True)
class Sparsity:
    """What a mask leaves of its blocks.

    name      of the attend, with the number of the source where there are several
    lead      sizes of the axes over which the mask varies, such as `h`
    runs      for every block of queries the blocks of keys that it may see; None for lists
    width     of lists, how many keys each query has
    note      what else should be known, in words
    """

    name: str
    queries: int
    keys: int
    lead: dict[str, int]
    runs: Runs | None
    width: int
    note: str
    program: MaskProgram | None
    values: tuple[Source, ...]
    real: torch.dtype

    @property
    def blocks(self) -> Runs:
        """The runs of a mask.

        Raises:
            ValueError: the keys are lists, which have no blocks.
        """
        if self.runs is None:
            raise ValueError(f"`{self.name}` has lists of {self.width} keys, not blocks")
        return self.runs

    @property
    def count(self) -> dict[str, int]:
        """How many blocks are full, partial and empty."""
        return self.blocks.count()

    @property
    def density(self) -> float:
        """The share of blocks that are not empty; of lists, the share of keys."""
        if self.runs is None:
            return min(1.0, self.width / max(1, self.keys))
        count = self.count
        return (count["full"] + count["partial"]) / max(1, sum(count.values()))

    @property
    def classes(self) -> Tensor:
        """0 empty, 1 partial, 2 full, for every block: uint8 (lead axes.., rows, columns).

        Raises:
            ValueError: there are too many blocks to write them all down.
        """
        grid = self.blocks.grid
        if grid.count() > MOST_BLOCKS:
            raise ValueError(f"there are {grid.count():,} blocks; use `.runs`")
        return self.blocks.classes().view(*self.lead.values(), *grid.shape())

    def to_block_mask(self) -> BlockMask:
        """The mask for `torch.nn.attention.flex_attention`.

        Raises:
            ValueError: FlexAttention has no form for it.
        """
        assert self.program is not None, self.blocks
        return block_mask(self.program, self.values, self.blocks, self.real)

    def __repr__(self) -> str:
        size = f"{self.queries} x {self.keys}"
        if self.runs is None:
            return f"Sparsity({self.name}: {size}, lists of {self.width})"
        count = ", ".join(f"{number} {name}" for name, number in self.count.items())
        rows, columns = self.runs.grid.block
        return f"Sparsity({self.name}: {size} in blocks of {rows} x {columns}, {count})"


def sparsity(
    module: Module,
    length: int,
    *,
    context: int | None = None,
    block: tuple[int, int] = (128, 128),
    attend: str | None = None,
    exact: bool | None = None,
    **inputs: Any,
) -> dict[str, Sparsity]:
    """The sparsity of the attends of a module, by their names; see `Module.sparsity`."""
    from .errors import ArgumentMistake

    names = [name for name, node in module.spec.bindings.items() if isinstance(node, Attend)]
    if attend is not None and attend not in names:
        raise ArgumentMistake(f"there is no attend `{attend}`; there are {', '.join(names)}")
    given = module._arguments.bound((), {**_tokens(module, length, context, inputs), **inputs})
    found: dict[str, Sparsity] = {}
    for name in names:
        if attend in (None, name):
            made, values = _evaluated(module, name, given, frozenset(inputs))
            for number, mask in enumerate(made.masks):
                full = name if len(made.masks) == 1 else f"{name}[{number}]"
                found[full] = _of_mask(full, mask, values, block, exact, _real(module))
    return found


def _of_mask(
    name: str,
    mask: MaskInputs,
    values: tuple[Any, ...],
    block: tuple[int, int],
    exact: bool | None,
    real: torch.dtype,
) -> Sparsity:
    queries, keys = int(values[mask.queries]), int(values[mask.keys])
    if mask.program is None:
        note = f"each query has a list of {mask.lists} keys"
        return Sparsity(name, queries, keys, {}, None, mask.lists, note, None, (), real)
    own = tuple(source_of(place, values) for place in mask.inputs)
    if exact is None:
        exact = mask.is_plain
    runs = classify(mask.program, own, queries, keys, block, exact=exact, real=real)
    lead = sizes_of(mask.program.lead, mask.program, own)
    note = ""
    if mask.content:
        names = ", ".join(f"`{item}`" for item in mask.content)
        note = f"what depends on the content of {names} counts as partial; give it to know more"
    return Sparsity(name, queries, keys, lead, runs, 0, note, mask.program, own, real)


def _real(module: Module) -> torch.dtype:
    """The dtype in which the module computes."""
    found = [item.dtype for item in (*module.parameters(), *module.buffers())]
    return next((dtype for dtype in found if dtype.is_floating_point), torch.get_default_dtype())


def _tokens(
    module: Module, length: int, context: int | None, inputs: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Tokens that say how many there are and hold nothing: one number, seen from everywhere."""
    spec, one = module.spec, torch.zeros((), dtype=_real(module))
    lengths = {"context": length if context is None else context}
    batch = _batch(module, inputs)

    def made(kind: Type) -> Tensor:
        sizes = [
            batch
            if axis.role == "batch"
            else lengths.get(axis.base or axis.name, length)
            if axis.size is None
            else axis.size.value
            for axis in kind.ordered
        ]
        return one.expand([*sizes, *(dim.value for dim in kind.dims)])

    found: dict[str, Tensor] = {}
    if module.options.core:
        names = [name for name in spec.project if name in module.argument_names]
        found = {name: made(spec.bindings[name].type) for name in names}
    else:
        width = int(spec.dims.get("d_model", 1))
        if "x" in module.argument_names:
            found["x"] = one.expand(batch, length, width)
        asked = context is not None or spec.memory
        if asked and "context" in module.argument_names and not spec.same_context:
            found["context"] = one.expand(batch, lengths["context"], width)
    for stream in spec.streams.values():
        if stream.first is None:
            found[stream.name] = made(stream.type)
    return {name: value for name, value in found.items() if name not in inputs}


def _batch(module: Module, inputs: Mapping[str, Any]) -> int:
    """How many examples the inputs of a call have."""
    spec = module.spec
    for name, value in inputs.items():
        if not isinstance(value, Tensor):
            continue
        if name in (*VALIDITY, "x", "context") or (name in OFFSETS and value.dim()):
            return value.size(0)
        info = spec.inputs.get(name)
        axes = [axis.name for axis in info.type.ordered] if info is not None else []
        if "b" in axes and value.dim() > axes.index("b"):
            return value.size(axes.index("b"))
    return 1


def _evaluated(
    module: Module, name: str, given: Mapping[str, Any], known: frozenset[str]
) -> tuple[MaskGraph, tuple[Any, ...]]:
    """The masks of an attend, and what they read in a call."""
    signature = module._signature(module._arguments.signs(given), (name,))
    key = (signature, name, known)
    if key not in module._masks:
        program = module.program(signature)
        # passes may leave it inside of what its result is made of
        below = (node for node in walk(program.roots[name]) if isinstance(node, Attend))
        attend = next((node for node in below if node.name == name), None)
        if attend is None:
            raise ValueError(f"`{name}` is no attend after simplification")
        made = mask_graph(program, attend, known)
        module._masks[key] = made, type(fx.GraphModule(module, made.graph)).forward
    made, function = module._masks[key]
    values = module._values(made.arguments, given, 0)
    with torch.no_grad():
        return made, tuple(function(module, *values))
