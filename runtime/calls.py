"""Which graph a call takes: by what it gives, its length, and what torch does with it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import is_fake

from ..compiler.program import Signature
from ..compiler.tracing import is_exported, is_plain, is_traced, is_transformed
from .kernels.attend import FusedAttend
from .kernels.errors import KernelError
from .straight import straight

if TYPE_CHECKING:
    from .module import Compiled, Module

#: calls of which a module keeps what they take
KEPT = 256


def key(module: Module, args: tuple[Any, ...], inputs: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What decides the function of a call that gives arrays and first positions alone; None for other calls."""
    if is_traced() or is_plain():
        return None
    grads, autocast = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
    found: list[Any] = [module.training, grads, autocast, torch.get_num_threads(), *inputs]
    for value in (*args, *inputs.values()) if inputs else args:
        if type(value) is Tensor and value.layout is torch.strided:
            found += (value.shape, value.stride(), value.dtype, value.device, value.is_neg())
            found.append(grads and value.requires_grad)
        elif value is None:
            found.append(None)
        elif type(value) is int:  # of positions, whether they begin at 0
            found.append(value == 0)
        else:
            return None
    return None if "call_seed" in inputs else tuple(found)


def remember(
    module: Module,
    known_by: tuple[Any, ...],
    given: Mapping[str, Any],
    signature: Signature,
    made: Compiled,
) -> None:
    """Have a module know the function of a call, if later ones that are known by the same can do without a look at them.

    They cannot where values are checked, where something beside what is given is handed over, where results
    are kept aside, and where parameters, which may be replaced, decide whether kernels fit.
    """
    checked = any(info.bounds is not None for info in module.spec.inputs.values())
    by_parameters = signature.fused and module._owners
    if checked or by_parameters or signature.training or made.names != tuple(given):
        return
    if len(module._functions) >= KEPT:
        module._functions.clear()
    short = None
    if all(isinstance(value, Tensor) for value in given.values()):
        grads = torch.is_grad_enabled() and _wants_gradients(given)
        is_graph = grads or torch.is_autocast_enabled("cpu")
        short = None if is_graph else straight(module, made.lowered.graph, given)
    module._functions[known_by] = short or made.function


def sized(module: Module, given: Mapping[str, Any], signature: Signature) -> Signature:
    """The signature of a call of the length that its arrays have."""
    if module.options.lowering != "auto" or is_exported():
        return signature
    if is_transformed():
        return replace(signature, plain=True)
    sizes = _sizes(module, given)
    if sizes is None:
        return signature
    work, (_, queries, keys) = module._work, sizes
    learns = torch.is_grad_enabled() and (len(module._owners) > 0 or _wants_gradients(given))
    fused = module._has_kernels and work.is_fused(*sizes, learns)
    fused = fused and _fits(*given.values())
    if (
        torch.compiler.is_compiling()
    ):  # which warns of what is looked up, and takes sizes by branches
        if work.is_long(queries, keys):
            return replace(signature, long=True, fused=fused)
        return replace(signature, fused=True) if fused else signature
    return _of_length(signature, work.is_long(queries, keys), fused)


def _wants_gradients(given: Mapping[str, Any]) -> bool:
    return any(isinstance(value, Tensor) and value.requires_grad for value in given.values())


@lru_cache(maxsize=1024)
def _of_length(signature: Signature, long: bool, fused: bool) -> Signature:
    """A signature of long or short calls; it is looked up, for to make it takes longer."""
    return replace(signature, long=long, fused=fused)


def graph(module: Module, signature: Signature) -> Compiled:
    """The graph of a signature, also where it is met first while torch traces."""
    if torch.compiler.is_compiling():
        given, told = tuple(sorted(signature.given)), (signature.training, signature.core)
        name = module._prepared(given, *told, signature.long, signature.fused, signature.plain)
        found: Compiled = getattr(module, name)
        return found
    if signature.fused and not _has_fitting_parameters(module):
        signature = replace(signature, fused=False)
    return module.compiled(signature)


def prepared(module: Module, given: tuple[str, ...], *told: bool) -> str:
    """The attribute that holds a graph, which is compiled outside of what is traced.

    What it calls becomes attributes too: of `_modules` tracers know what it was at an earlier call.
    """
    training, core, long, fused, plain = told
    fused = fused and _has_fitting_parameters(module)
    signature = Signature(frozenset(given), training, (), core, long, fused, plain)
    made = module.compiled(signature)
    try:
        for step in _steps(module, made):
            if isinstance(step, FusedAttend):
                step.build()
    except KernelError as error:
        signature = without_kernels(module, signature, error)
        made = module.compiled(signature)
    steps = dict(zip(made.lowered.submodules, _steps(module, made), strict=True))
    return module._keep_for_tracing(made, steps)


def _steps(module: Module, made: Compiled) -> Iterator[nn.Module]:
    """The kernels, tiles and loops that a graph calls."""
    return (module.get_submodule(name) for name in made.lowered.submodules)


def without_kernels(module: Module, signature: Signature, error: KernelError) -> Signature:
    """The signature to take after a kernel could not be built; from now on none is tried."""
    if module.options.lowering != "auto" or module.options.strict:
        raise error
    warnings.warn(f"without fused kernels: {error}", stacklevel=3)
    module._has_kernels = False
    module._functions.clear()
    return replace(signature, fused=False)


def _sizes(module: Module, given: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Examples, queries and keys of a call; None where no numbers are known."""
    core = module.options.core
    place, tokens = (2, module.spec.project) if core else (1, ("x", "context"))
    is_compiling = torch.compiler.is_compiling()
    found: tuple[int, int, int] | None = None
    for name in tokens:
        value = given.get(name)
        if value is None:
            continue
        if not is_compiling and _is_unknown(value):
            return None
        if value.dim() <= place:
            continue
        count = value.size(place)
        if found is None:
            found = value.size(0), count, count
        elif found[1] == found[2] and count != found[1]:
            found = found[0], found[1], count
    return found


def _is_unknown(value: Tensor) -> bool:
    """Whether an array has a shape but no numbers."""
    return value.is_meta or (type(value) not in (Tensor, nn.Parameter) and is_fake(value))


def _has_fitting_parameters(module: Module) -> bool:
    """Whether kernels take what the parameters make, where `auto` may choose another lowering."""
    if module.options.lowering != "auto":
        return True
    for owner in module._owners:  # an adapter may have taken a parameter's place
        for parameter in owner._parameters.values():
            if parameter is not None:
                return _fits(parameter)
    return _fits(next(module.parameters(), None)) if module._owners else True


def _fits(*values: Any) -> bool:
    """Whether kernels take some arrays: on the CPU, and no wider than they compute."""
    for value in values:
        if not isinstance(value, Tensor):
            continue
        if type(value) is not Tensor and type(value) is not nn.Parameter:
            return False
        if value.device.type != "cpu" or value.dtype is torch.float64:
            return False
    return True
