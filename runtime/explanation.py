"""Why each attend takes its lowering: choices and refusals with their place in the spec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..dsl.core import Attend, Node, map_operands, operands, walk
from ..dsl.source import Span
from ..dsl.typed import TypedSpec
from .lengths import called

if TYPE_CHECKING:
    from ..compiler.lower import Choice
    from .module import Module

_DOT = "score: dot(q, k) / sqrt(d_head), plus terms without feature dims"


@dataclass(frozen=True)
class Reason:
    """A lowering that does not fit an attend: why, where in the spec, and what would let it."""

    lowering: str
    reason: str
    edit: str
    span: Span | None

    def to_json(self) -> dict[str, Any]:
        place = None
        if self.span is not None:
            line, column = self.span.source.line_column(self.span.start)
            name = self.span.source.name
            place = {"file": name, "line": line, "column": column, "text": self.span.text}
        named = {"lowering": self.lowering, "reason": self.reason, "edit": self.edit}
        return {**named, "location": place}


@dataclass(frozen=True)
class Chosen:
    """The lowering of one attend of a spec or of a spec that it uses."""

    name: str
    lowering: str
    refusals: tuple[Reason, ...]

    def to_json(self) -> dict[str, Any]:
        refusals = [reason.to_json() for reason in self.refusals]
        return {"attend": self.name, "lowering": self.lowering, "refusals": refusals}


def chosen(module: Module, length: int = 1) -> list[Chosen]:
    """The choice of every attend in a call of so many tokens, those of inner specs by path."""
    from .module import Module as Compiled

    found = []
    for call in called(module.spec, length, length):
        inner = module.get_submodule(call.path)
        assert isinstance(inner, Compiled)
        for choice in inner.choices(call.is_long, call.is_fused):
            name = f"{call.path}.{choice.name}" if call.path else choice.name
            found.append(Chosen(name, choice.lowering, tuple(_reasons(inner, choice))))
    return found


def explain(module: Module, length: int = 1) -> str:
    """The lowering of every attend, and of each other lowering why it was not taken."""
    lines = []
    for item in chosen(module, length):
        lines.append(f"{item.name} takes {item.lowering}")
        for reason in item.refusals:
            lines.append(f"  not {reason.lowering}: {reason.reason}")
            if reason.span is not None:
                place = f"{reason.span.source.name}:{reason.span.line}:{reason.span.column}"
                lines.append(f"    at {place}: {' '.join(reason.span.text.split())}")
            if reason.edit:
                lines.append(f"    smallest edit: {reason.edit}")
    return "\n".join(lines)


def _reasons(module: Module, choice: Choice) -> Iterator[Reason]:
    spec = module.spec
    attend = _attend(spec, choice.name)
    for lowering, refusal in choice.refusals:
        span = _span(spec, refusal.node, attend)
        edit = refusal.edit or (_DOT if lowering == "sdpa" and "loop" not in refusal.reason else "")
        yield Reason(lowering, refusal.reason, edit, span)
    for lowering, why in choice.passed_over:
        yield Reason(lowering, why, "", None)


def _attend(spec: TypedSpec, name: str) -> Attend | None:
    nodes = walk(*spec.outputs.values())
    return next((n for n in nodes if isinstance(n, Attend) and n.name == name), None)


def _span(spec: TypedSpec, node: Node | None, attend: Attend | None) -> Span | None:
    """Where a node stands in the spec: its own place, that of its like, or that of its attend."""
    candidates: list[Node] = []
    if node is not None and not isinstance(node, Attend):
        plain = _unhoisted(node)
        candidates = [plain, *_alike(plain, attend)]
    if attend is not None:
        candidates += [attend, *(source.score for source in attend.sources)]
    if node is not None:
        candidates += _breadth_first(node)
    found = (spec.spans.get(item) for item in candidates)
    return next((span for span in found if isinstance(span, Span)), None)


def _alike(node: Node, attend: Attend | None) -> list[Node]:
    """What a pass has regrouped, as it was: the same operation of the same type."""
    if attend is None:
        return []
    kind = (type(node), getattr(node, "op", None), node.type)
    return [n for n in walk(attend) if (type(n), getattr(n, "op", None), n.type) == kind]


def _unhoisted(node: Node) -> Node:
    """The node without the marks that hoisting leaves, as it was elaborated."""
    done: dict[Node, Node] = {}
    for item in walk(node):
        plain = map_operands(item, done.__getitem__)
        done[item] = plain.value if type(plain).__name__ == "Arg" else plain  # type: ignore[attr-defined]
    return done[node]


def _breadth_first(node: Node) -> Iterator[Node]:
    level, seen = [node], {node}
    while level:
        yield from level
        following = []
        for item in level:
            for child in operands(item):
                if child not in seen:
                    seen.add(child)
                    following.append(child)
        level = following
