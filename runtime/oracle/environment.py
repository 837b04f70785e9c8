"""What a call knows: weights, inputs, sizes, positions, validity and injected values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...dsl.core import Attend, Axis, Draw, Dropout, Kind, Node, Param, Type, walk
from ...dsl.typed import TokenSet, TypedSpec
from .values import DTYPES, Value, laid_out

Start = int | Tensor
"""Where positions begin: a number, one per example (B,), or the positions themselves (B, N)."""

OUTSIDE = ("input", "stream", "argument")
BATCH = Axis("b", "batch", 0, None, "b")


class OracleError(ValueError):
    """A call that does not fit the spec, or that needs what the oracle does not do."""


@dataclass
class Environment:
    """One call of one spec.

    sizes    of the axes that have none of their own, by Axis.base; what inputs do not show
    k_start  None: that of x where context is x, else 0; so too context_valid
    prefix   the path of a used spec, with which the names of its weights begin; "" at the root
    roots    further nodes that will be asked for
    """

    spec: TypedSpec
    weights: Mapping[str, Tensor]
    inputs: Mapping[str, Tensor]
    sizes: dict[str, int] = field(default_factory=dict)
    valid: Tensor | None = None
    context_valid: Tensor | None = None
    q_start: Start = 0
    k_start: Start | None = None
    head_start: int = 0
    inject: Mapping[str, Tensor] = field(default_factory=dict)
    call_seed: int = 0
    training: bool = False
    prefix: str = ""
    roots: tuple[Node, ...] = ()

    def __post_init__(self) -> None:
        sizes = dict(self._sizes_shown())
        sizes.update(self.sizes)
        sizes.setdefault("b", 1)
        length = sizes.get("x", sizes.get("context", 0))
        sizes.setdefault("x", length)
        sizes.setdefault("context", length)
        self.sizes = sizes
        self.context_is_x = "context" not in self.inputs and sizes["context"] == sizes["x"]
        self._check_injected()

    # -- sizes --------------------------------------------------------------------------------

    def _sizes_shown(self) -> Iterator[tuple[str, int]]:
        """The sizes that the shapes of inputs show; inputs that disagree are a mistake."""
        seen: dict[str, tuple[str, int]] = {}
        types = self._input_types()
        for name, tensor in self.inputs.items():
            for base, size in _shown(name, tensor, types):
                other, known = seen.setdefault(base, (name, size))
                if known != size:
                    raise OracleError(
                        f"axis {base} has size {known} in `{other}`, {size} in `{name}`"
                    )
                yield base, size

    def _input_types(self) -> dict[str, Type]:
        types = declared_types(self.spec)
        for node in walk(*self.nodes()):
            if isinstance(node, Param) and node.role in OUTSIDE:
                types.setdefault(node.name, node.type)
        return types

    def nodes(self) -> list[Node]:
        """Every node that something may ask for."""
        spec = self.spec
        found = [*self.roots, *spec.outputs.values(), *spec.bindings.values()]
        found += spec.updates.values()
        found += [node for loss in spec.losses.values() for node in (loss.value, loss.weight)]
        found += [info.first for info in spec.streams.values() if info.first is not None]
        found += [info.default for info in spec.inputs.values() if info.default is not None]
        return found

    def token_set(self, axis: Axis) -> TokenSet | None:
        """The set over whose tokens an axis runs."""
        for token_set in self.spec.sets.values():
            if len(token_set.axes) == 1 and token_set.axis.name == axis.base:
                return token_set
        return None

    # -- arrays from outside ------------------------------------------------------------------

    def given(self, node: Param) -> Value | None:
        """An input, stream or argument, if the caller gave it; context is x where it is absent."""
        name = node.name
        if name == "context" and name not in self.inputs:
            name = "x"
        if name not in self.inputs:
            return None
        return array(name, self.inputs[name], node.type.ordered, node.type)

    def stored(self, node: Param) -> Value:
        """A weight, buffer or frozen random array; its shape lists the axes as it was declared."""
        name = node.name
        info = self.spec.weights.get(name) or self.spec.states.get(name)
        axes = node.type.ordered if info is None else info.axes
        given = self.inject.get(name) if node.role == "random" else None
        return array(name, self.weight(name) if given is None else given, axes, node.type)

    def weight(self, name: str) -> Tensor:
        """A stored array by name; one that is shared may belong to a spec that uses this one."""
        info = self.spec.weights.get(name)
        path = self.prefix
        while path + name not in self.weights and path and info is not None and info.shared:
            path = path[: path[:-1].rfind(".") + 1]
        if path + name not in self.weights:
            raise OracleError(f"there is no weight `{self.prefix}{name}`")
        return self.weights[path + name]

    def drawn(self, name: str, axes: Sequence[Axis], kind: Type, what: str) -> Value:
        """Random numbers, which the caller makes."""
        if name not in self.inject:
            raise OracleError(f"the oracle draws nothing: inject {what} as `{self.prefix}{name}`")
        return array(name, self.inject[name], axes, kind)

    def _check_injected(self) -> None:
        nodes = list(walk(*self.nodes()))
        names = {node.name for node in nodes if isinstance(node, Draw | Dropout | Attend)}
        names |= {name for name, info in self.spec.states.items() if info.random}
        bindings = self.spec.bindings.items()
        names |= {name for name, node in bindings if node.type.kind is not Kind.REAL}
        uses = tuple(f"{use}." for use in self.spec.uses)
        for name in self.inject:
            if name not in names and not name.startswith(uses):
                raise OracleError(
                    f"`{name}` cannot be injected: `{self.spec.name}` has no int, bool or random "
                    "value of that name"
                )

    # -- positions and validity ---------------------------------------------------------------

    def start(self, axis: Axis) -> Start:
        """Where the positions along an axis begin."""
        if axis.role == "head":
            return self.head_start
        if axis.base == "x":
            return self.q_start
        if axis.base != "context":
            return 0
        if self.k_start is not None:
            return self.k_start
        return self.q_start if self.context_is_x else 0

    def validity(self, axis: Axis) -> Tensor | None:
        """Which tokens of an axis are there, (b, tokens); None: all."""
        if axis.base == "x" or (
            axis.base == "context" and self.context_is_x and self.context_valid is None
        ):
            return self.valid
        return self.context_valid if axis.base == "context" else None


def declared_types(spec: TypedSpec) -> dict[str, Type]:
    """The types of inputs and streams by name."""
    types = {name: info.type for name, info in spec.inputs.items()}
    return types | {name: info.type for name, info in spec.streams.items()}


def _shown(name: str, tensor: Tensor, types: Mapping[str, Type]) -> Iterator[tuple[str, int]]:
    if name in types:
        kind = types[name]
        _check_rank(name, tensor, kind.ordered, kind)
        pairs = zip(kind.ordered, tensor.shape, strict=False)
        yield from ((axis.base, size) for axis, size in pairs if axis.size is None)
    elif name in ("x", "context"):  # given to a spec that does not read it
        yield from (("b", tensor.shape[0]), (name, tensor.shape[1]))
    else:
        known = ", ".join(("x", "context", *types))
        raise OracleError(f"there is no input `{name}`; there are {known}")


def _check_rank(name: str, tensor: Tensor, axes: Sequence[Axis], kind: Type) -> None:
    if tensor.dim() != len(axes) + len(kind.dims):
        listed = ", ".join(str(item) for item in (*axes, *kind.dims))
        raise OracleError(f"`{name}` is laid out as ({listed}), but has shape {list(tensor.shape)}")


def array(name: str, tensor: Tensor, axes: Sequence[Axis], kind: Type) -> Value:
    """A tensor from outside whose dimensions are `axes` and then the dims of `kind`."""
    _check_rank(name, tensor, axes, kind)
    sizes = (*(axis.size for axis in axes), *kind.dims)
    for item, size, found in zip((*axes, *kind.dims), sizes, tensor.shape, strict=True):
        if size is not None and size.value != found:
            raise OracleError(
                f"{item} is {size.value}, but `{name}` has shape {list(tensor.shape)}"
            )
    return laid_out(tensor.to(DTYPES[kind.kind]), axes)


def positions(start: Start, axis: Axis, size: int) -> Value:
    """The place along an axis plus its start; a start (B, N) holds the positions themselves."""
    places = torch.arange(size)
    if isinstance(start, int) or start.dim() == 0:
        return Value(places + start, (axis,))
    start = start.long()
    if start.dim() == 1:
        return Value(start[:, None] + places, (BATCH, axis))
    if start.dim() != 2 or start.shape[1] != size:
        raise OracleError(f"positions of {axis} are (batch, {size}), not {list(start.shape)}")
    return Value(start, (BATCH, axis))
