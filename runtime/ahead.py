"""Which kernels the calls of a module need, told without a call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..compiler.program import OFFSETS, Signature
from .kernels.ahead import Text
from .kernels.attend import FusedAttend
from .kernels.launch import texts
from .module import Module


def needed(module: Module, given: Iterable[frozenset[str]], backward: bool) -> list[Text]:
    """The sources of all kernels, each once.

    given      the optional arguments of calls beside the usual one: {"valid"}, {"valid", "q_start"}
    backward   whether training needs the gradients, too
    """
    found: dict[Text, None] = {}
    mode = module.training
    try:
        for training in (True, False):
            module.train(training)
            usual = module._usual()
            for more in (frozenset[str](), *given):
                signature = replace(usual, given=usual.given | more)
                for attend in _attends(module, signature):
                    name = attend.kernel.name
                    found |= {Text(name, *item): None for item in texts(attend.kernel)}
    finally:
        module.train(mode)
    return [text for text in found if backward or text.way == "forward"]


def _attends(module: Module, signature: Signature) -> Iterator[FusedAttend]:
    """What has kernels in the graphs of a call of any length, those of specs inside among them."""
    for each in _of_any_length(module, signature):
        made = module.compiled(each)
        for step in made.lowered.submodules.values():
            yield from (item for item in step.modules() if isinstance(item, FusedAttend))
        for node in made.lowered.graph.nodes:
            inner = module.get_submodule(node.target) if node.op == "call_module" else None
            if isinstance(inner, Module):
                yield from _attends(inner, inner._signature(inner._arguments.signs(node.kwargs)))


def _of_any_length(module: Module, signature: Signature) -> Iterator[Signature]:
    """A signature as long and short calls have it, with positions by example or not."""
    lengths = (False, True) if module.options.lowering == "auto" else (signature.long,)
    by_example = {f"{name} per example" for name in OFFSETS if name in signature.given}
    for long in lengths:
        for more in dict.fromkeys((frozenset[str](), frozenset(by_example))):
            yield replace(signature, given=signature.given | more, long=long, fused=True)
