"""Programs: the sequence-level graph of one spec for one way of calling it.

A signature says which optional arguments a call gives. Each signature is compiled on its own, so that a graph holds no branches: without padding there are no validity tests, without `q_start` positions are plain counters.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from ..dsl.core import Node, Part, map_operands, walk
from ..dsl.typed import TypedSpec

OFFSETS = ("q_start", "k_start", "head_start")
VALIDITY = ("valid", "context_valid")


@dataclass(frozen=True)
class Signature:
    """Which optional arguments are given, whether in training, which results are wanted.

    given   names among context, valid, context_valid, q_start, k_start, head_start, inputs,
            streams, `inject:name`, and `q_start per example` where positions differ by example
    wants   names of results; empty means the outputs of the spec
    core    the attention core alone: heads from the bindings of `project`
    long    so many tokens that pairs are better computed in tiles
    fused   whether kernels can be generated for the arrays and the machine
    plain   whether every derivative of torch is wanted, which the dense form alone has
    """

    given: frozenset[str] = frozenset()
    training: bool = False
    wants: tuple[str, ...] = ()
    core: bool = False
    long: bool = False
    fused: bool = False
    plain: bool = False


@dataclass(frozen=True)
class Program:
    """Named results of a spec as core nodes, on their way from pass to pass."""

    spec: TypedSpec
    signature: Signature
    roots: Mapping[str, Node] = field(default_factory=dict)

    def with_roots(self, roots: Mapping[str, Node]) -> Program:
        """The program with other results; the same object when nothing changed."""
        if all(roots[name] is self.roots[name] for name in self.roots):
            return self
        return replace(self, roots=dict(roots))


def parts_read(program: Program) -> Mapping[Node, frozenset[str]]:
    """The attends of which more than the value is read, and the names of these parts."""
    found: dict[Node, frozenset[str]] = {}
    for node in walk(*program.roots.values()):
        if isinstance(node, Part):
            found[node.attend] = found.get(node.attend, frozenset()) | {node.part}
    return found


def rewrite(program: Program, rule: Callable[[Node], Node], keep: Collection[Node] = ()) -> Program:
    """Every node but those to keep rewritten once, operands first."""
    done: dict[Node, Node] = {}
    for node in walk(*program.roots.values()):
        made = map_operands(node, done.__getitem__)
        done[node] = made if node in keep else rule(made)
    return program.with_roots({name: done[node] for name, node in program.roots.items()})
