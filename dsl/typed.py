"""A spec after elaboration: its outputs as graphs of the core, and what is known of each name in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .core import Axis, Kind, Node, Type
from .sizes import Size


@dataclass(frozen=True, slots=True)
class TokenSet:
    """The tokens of an axis and what is known of each.

    axes      one axis; several for a product (`cross`), whose fields carry the factor axes
    over      other axes that the set varies over (a sort within each b, h)
    count     how many tokens (int node without token axes)
    position  int node over the axis, None for slots; time: availability (latest source token);
              start: earliest source token
    valid     bool node over the axis, or None where every token is there
    sources   for each axis of the set it was chosen from, the ref by token
    source    name of the set it was made from; members: for windows, size and stride
    fields    extra named fields (`level`, `index`, `first`, `last` of a hierarchy)
    unknown   time is +inf (aligned to the end): derived from the length
    """

    name: str
    axes: tuple[Axis, ...]
    over: frozenset[Axis] = frozenset()
    count: Node | None = None
    position: Node | None = None
    time: Node | None = None
    start: Node | None = None
    valid: Node | None = None
    sources: tuple[tuple[Axis, Node], ...] = ()
    source: str = ""
    size: int = 0
    stride: int = 0
    fields: tuple[tuple[str, Node], ...] = ()
    unknown: bool = False

    @property
    def axis(self) -> Axis:
        return self.axes[0]


@dataclass(frozen=True, slots=True)
class WeightInfo:
    """A learned array: shape [axes, dims], how it starts, what holds it.

    init   a name (`xavier`, `normal`, `uniform`, `zeros`, `ones`, `identity`), a number, or
           `=other` to copy another weight
    bounds projected to after each optimiser step
    """

    name: str
    axes: tuple[Axis, ...]
    dims: tuple[Size, ...]
    init: str | float
    bounds: tuple[float, float] | None = None
    shared: bool = False
    decay: bool = True


@dataclass(frozen=True, slots=True)
class StateInfo:
    """A buffer or a frozen random array: shape [axes, dims] and how it starts."""

    name: str
    axes: tuple[Axis, ...]
    dims: tuple[Size, ...]
    init: str | float
    kind: Kind = Kind.REAL
    random: bool = False


@dataclass(frozen=True, slots=True)
class InputInfo:
    """A side input: type, default (None: required), legal range of ints."""

    name: str
    type: Type
    default: Node | None
    bounds: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A value passed from layer to layer: type, value in the first layer, what a block does."""

    name: str
    type: Type
    first: Node | None
    block: str


@dataclass(frozen=True, slots=True)
class LossInfo:
    """An auxiliary loss: a scalar and its weight, which may depend on the step."""

    name: str
    value: Node
    weight: Node


@dataclass(slots=True)
class TypedSpec:
    """A spec after elaboration, at given dims."""

    name: str
    entries: tuple[str, ...] = ()
    doc: str = ""
    cite: tuple[str, ...] = ()
    cost: dict[str, Any] = field(default_factory=dict)
    dims: dict[str, bool | int | float | str] = field(default_factory=dict)
    axes: dict[str, Axis] = field(default_factory=dict)
    sets: dict[str, TokenSet] = field(default_factory=dict)
    weights: dict[str, WeightInfo] = field(default_factory=dict)
    states: dict[str, StateInfo] = field(default_factory=dict)
    inputs: dict[str, InputInfo] = field(default_factory=dict)
    streams: dict[str, StreamInfo] = field(default_factory=dict)
    bindings: dict[str, Node] = field(default_factory=dict)
    project: tuple[str, ...] = ()
    outputs: dict[str, Node] = field(default_factory=dict)
    core: Node | None = None
    losses: dict[str, LossInfo] = field(default_factory=dict)
    updates: dict[str, Node] = field(default_factory=dict)
    uses: dict[str, TypedSpec] = field(default_factory=dict)
    owners: dict[str, tuple[Node, str | float]] = field(default_factory=dict)
    spans: dict[Node, Any] = field(default_factory=dict)
    intervals: dict[Node, tuple[float, float]] = field(default_factory=dict, repr=False)
    same_context: bool = False
    memory: bool = False
    causality: str | None = None
