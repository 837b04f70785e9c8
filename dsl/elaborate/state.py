"""What is known while one document is elaborated, and the steps that its parts ask of the whole.

Elaboration is one recursion: an expression asks for a name, the name for a binding, the binding for an expression. The recursive steps are declared here, so that each concern is a class of its own below them; `spec.py` puts them together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..core import Axis, Linear, Node, Norm
from ..document import Document, Loader
from ..shapes import Scalar, Table
from ..source import Span
from ..syntax import Expr
from ..typed import TypedSpec
from .statics import Static
from .values import Env, Value

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


class State(ABC):
    """What is known of one document at given choices."""

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
        self.spec = _begun(document)
        self.axes = self.spec.axes
        self.sets = self.spec.sets
        self.memo: dict[str, Value | None] = {}
        self.busy: list[str] = []
        self.statics: dict[str, Static] = {}
        self.poisoned: set[str] = set()
        self.words: dict[str, tuple[str, ...]] = {}
        self.macros: dict[str, Macro] = {}
        self.sorts: dict[str, Node] = {}
        self.owners: dict[str, tuple[Linear | Norm, str | float]] = {}
        self.spec_params: dict[str, Scalar] = {}
        #: spec-valued parameters that are another one by default
        self.spec_aliases: dict[str, str] = {}
        self.muted_streams = False
        #: streams of used specs that this spec passes on, and their new values
        self.passed: dict[str, Node | None] = {}
        #: how many dropouts have been named
        self.draws = 0
        self.work = work or Work()
        self.dim_spans: dict[str, Span] = {}
        self.token_rank = 1020
        self.batch = Axis("b", "batch", 0, None, "b")

    def names(self) -> tuple[str, ...]:
        """Every declared name."""
        declared = [name for table in self.document.sections.values() for name in table]
        return (*self.document.bindings, *declared, *PREDECLARED, "x", "context", "heads")

    # -- the recursion ----------------------------------------------------------------------

    @abstractmethod
    def run(self) -> TypedSpec:
        """The typed spec; mistakes are in the report."""

    @abstractmethod
    def elaborate(self, expr: Expr, env: Env, raw: bool = False) -> Value:
        """What an expression stands for."""

    @abstractmethod
    def node_of(self, expr: Expr, env: Env) -> Node:
        """The array that an expression stands for."""

    @abstractmethod
    def block(self, table: Table, env: Env) -> Value:
        """The value of a block."""

    @abstractmethod
    def attend(self, table: Table, env: Env, span: Span) -> Node:
        """The result of an attend."""

    @abstractmethod
    def value(self, name: str, span: Span, env: Env) -> Value | None:
        """The value of a declared name; None where it is not declared."""

    @abstractmethod
    def static_name(self, name: str, span: Span | None, above: tuple[str, ...]) -> Static | None:
        """The value of a dim, evaluated once; None where there is no such dim."""


def _begun(document: Document) -> TypedSpec:
    """A typed spec with what the header says."""
    return TypedSpec(
        name=document.text("name"),
        entries=document.entries,
        doc=document.text("doc"),
        cite=document.cite,
        same_context=document.text("context") == "same",
        memory=document.text("context") == "memory",
        causality=document.text("causality") or None,
    )
