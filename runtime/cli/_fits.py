"""Which lowering each attend and loop of a spec takes, told without importing torch.

What `compiler/lower` chooses for the usual call in evaluation, by the same matching; a test compares the two over the library.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...compiler.matching.choice import choose
from ...compiler.passes import run_passes
from ...compiler.program import Program, Signature
from ...dsl.core import Attend, Recur, walk
from ...dsl.typed import TypedSpec
from ..lengths import Called, called

#: lengths that stand for short calls and for long ones
SHORT, MANY = 8, 4096


def own_attends(spec: TypedSpec) -> list[Attend]:
    """The attends that a spec has itself, beside those of the specs that it uses."""
    return [node for node in walk(*spec.outputs.values()) if isinstance(node, Attend)]


def lowerings(spec: TypedSpec) -> tuple[str, ...]:
    """What `auto` takes in short calls, then what only long ones take; `plain` where nothing is to choose."""
    taken = (*lowering_at(spec, SHORT).values(), *lowering_at(spec, MANY).values())
    return tuple(dict.fromkeys(taken)) or ("plain",)


def lowering_at(spec: TypedSpec, length: int) -> dict[str, str]:
    """The lowering of each attend and loop in a call of so many tokens, by its path."""
    return {
        f"{call.path}.{name}" if call.path else name: lowering
        for call in called(spec, length, length)
        for name, lowering in _taken(call)
    }


def _taken(call: Called) -> Iterator[tuple[str, str]]:
    spec = call.spec
    if not _has_choice(spec):
        return
    signature = replace(_usual(spec), long=call.is_long, fused=call.is_fused)
    program = run_passes(Program(spec, signature, dict(spec.outputs)))
    for choice in choose(program, "auto"):
        yield choice.name, choice.lowering


def _has_choice(spec: TypedSpec) -> bool:
    return any(isinstance(node, Attend | Recur) for node in walk(*spec.outputs.values()))


def _usual(spec: TypedSpec) -> Signature:
    """A call that gives what it must."""
    given = {info.name for info in spec.inputs.values() if info.default is None}
    given |= {info.name for info in spec.streams.values() if info.first is None}
    return Signature(frozenset(given | {"context"} if spec.memory else given))
