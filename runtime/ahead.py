"""Which kernels the calls of a module need, told without a call, or by one for other dtypes than float32."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.module import register_module_forward_pre_hook

from ..compiler.codegen.layout import Kernel
from ..compiler.program import OFFSETS, VALIDITY, Signature
from .examples import example
from .kernels import dtypes
from .kernels.ahead import Text
from .kernels.attend import FusedAttend
from .kernels.launch import texts
from .module import Module

#: tokens of calls that take kernels where they can: short ones, and such as go in tiles else
LENGTHS = (512, 1024)
#: a kernel, and the C++ types of its arrays
Typed = tuple[Kernel, tuple[str, ...]]


@dataclass(frozen=True)
class Precision:
    """The dtype of a call: of the module and all that it is given, or under autocast."""

    dtype: torch.dtype = torch.float32
    autocast: bool = False


def needed(
    module: Module,
    given: Iterable[frozenset[str]],
    backward: bool,
    precisions: Iterable[Precision] = (Precision(),),
) -> list[Text]:
    """The sources of all kernels, each once.

    given        the optional arguments of calls beside the usual one: {"valid"}, {"valid", "q_start"}
    backward     whether training needs the gradients, too
    precisions   in float32 they are told by the graphs alone; else example calls say which dtype each array
                 of a kernel has
    """
    calls = (frozenset[str](), *given)
    found: dict[Typed, None] = {}
    for precision in precisions:
        if precision == Precision():
            found |= dict.fromkeys(_in_float32(module, calls))
        else:
            found |= dict.fromkeys(_met(module, calls, precision))
    made = dict.fromkeys(
        Text(kernel.name, *item) for kernel, types in found for item in texts(kernel, types)
    )
    return [text for text in made if backward or text.way == "forward"]


def _in_float32(module: Module, calls: Iterable[frozenset[str]]) -> Iterator[Typed]:
    for mode in _modes(module):
        usual = mode._usual()
        for more in calls:
            for attend in _attends(mode, replace(usual, given=usual.given | more)):
                yield attend.kernel, dtypes.types(attend.kernel.arguments, None)


def _modes(module: Module) -> Iterator[Module]:
    """A module in training, and not; then as it was."""
    mode = module.training
    try:
        for training in (True, False):
            yield module.train(training)
    finally:
        module.train(mode)


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


# -- by calls -------------------------------------------------------------------------------


def _met(module: Module, calls: Iterable[frozenset[str]], precision: Precision) -> list[Typed]:
    """The kernels that example calls take, with the dtypes of their arrays."""
    own = deepcopy(module)
    if not precision.autocast:
        own.to(precision.dtype)
    run_as = torch.autocast("cpu", precision.dtype) if precision.autocast else nullcontext()
    with _watched() as found, torch.no_grad(), run_as:
        for mode in _modes(own):
            for more in calls:
                for length in LENGTHS:
                    for call in _examples(mode, more, length):
                        mode(**{name: _cast(value, precision) for name, value in call.items()})
    return list(found)


@contextmanager
def _watched() -> Iterator[dict[Typed, None]]:
    """The kernels that are called meanwhile."""
    found: dict[Typed, None] = {}

    def meet(step: torch.nn.Module, args: Any) -> None:
        if isinstance(step, FusedAttend):
            kernel = step.kernel
            found[kernel, dtypes.types(kernel.arguments, args[1:])] = None

    handle = register_module_forward_pre_hook(meet)
    try:
        yield found
    finally:
        handle.remove()


def _examples(module: Module, more: frozenset[str], length: int) -> Iterator[dict[str, Any]]:
    """Calls that give some optional arguments; positions alike for all examples, and by example."""
    every = example(module, length, optional=True)
    call: dict[str, Any] = example(module, length)
    call |= {name: every[name] for name in more if name in every}
    tokens = {"valid": "x", "context_valid": "context"}
    call |= {
        name: torch.ones((1, call.get(tokens[name], call["x"]).size(1)), dtype=torch.bool)
        for name in VALIDITY
        if name in more
    }
    offsets = [name for name in OFFSETS if name in more]
    yield call | dict.fromkeys(offsets, 1)
    if offsets:
        yield call | {name: torch.ones(1, dtype=torch.int64) for name in offsets}


def _cast(value: Any, precision: Precision) -> Any:
    is_real = isinstance(value, Tensor) and value.is_floating_point()
    return value.to(precision.dtype) if is_real and not precision.autocast else value
