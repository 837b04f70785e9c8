"""What the calls of a module may give and must give: bound to names and checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from ..compiler.program import OFFSETS, VALIDITY
from ..compiler.tracing import is_exported
from ..dsl.shapes import closest
from ..dsl.typed import InputInfo, TypedSpec
from .errors import ArgumentMistake
from .sizes import Sizes


class Arguments:
    """The arguments of a spec, or of its core.

    names   those that may be given by place, in order
    """

    def __init__(
        self,
        spec: TypedSpec,
        *,
        core: bool,
        read: Collection[str],
        needs_context: bool,
        streams: Collection[str],
        draws: Collection[str],
    ) -> None:
        """read: parameters that anything reads; streams: those that must be given; draws: random values."""
        self._spec, self._core = spec, core
        self._draws = frozenset(draws)
        self._needs_memory = bool(spec.memory and needs_context and not core)
        heads = [name for name in spec.project if name in read]
        self.names = (*(heads if core else _tokens(read, needs_context)), *spec.inputs)
        self._known = frozenset((*self.names, "context", *spec.streams, *VALIDITY, *OFFSETS))
        needed = heads if core else ["x"] if "x" in read or needs_context else []
        inputs = (info.name for info in spec.inputs.values() if info.default is None)
        self._sizes = Sizes(spec, heads if core else ())
        self._needed = (*needed, *(name for name in inputs if name in read), *streams)
        self._silent = frozenset(
            (
                "x",
                *(spec.project if core else ()),
                *(("context",) if spec.same_context else ()),
            )
        )

    def bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """What a call gives by name; of `inject` each value as `inject:NAME`.

        Raises:
            ArgumentMistake: an unknown name, a missing input, a wrong shape or dtype.
        """
        name = self._spec.name
        if len(args) > len(self.names):
            raise ArgumentMistake(
                f"`{name}` takes {len(self.names)} positional argument(s): {', '.join(self.names)}"
            )
        given = dict(zip(self.names, args, strict=False))
        inject = kwargs.pop("inject", None) or {}
        for key, value in kwargs.items():
            if key not in self._known:
                raise ArgumentMistake(f"`{name}` takes no argument `{key}`; {self._instead(key)}")
            if given.get(key) is not None:
                raise ArgumentMistake(f"`{key}` is given twice")
            given[key] = value
        given = {key: value for key, value in given.items() if value is not None}
        for key, value in inject.items():
            given[self._injected(key)] = value
        self._check(given)
        return given

    def _instead(self, name: str) -> str:
        hint = closest(name, tuple(self._known))
        return f"did you mean `{hint}`?" if hint else f"it takes {', '.join(sorted(self._known))}"

    def _injected(self, name: str) -> str:
        """The name under which a value is injected."""
        if name in self._spec.bindings or name in self._draws:
            return f"inject:{name}"
        hint = closest(name, tuple(self._spec.bindings))
        raise ArgumentMistake(
            f"there is no binding `{name}` to inject"
            + (f"; did you mean `{hint}`?" if hint else "")
        )

    def signs(self, given: Mapping[str, Any]) -> frozenset[str]:
        """What a call gives beyond what it must: this chooses the graph."""
        found = set()
        for name, value in given.items():
            # without one, keys that are the queries' own tokens begin where these do
            is_apart = name == "k_start" and "q_start" in given
            if name in OFFSETS and isinstance(value, int) and value == 0 and not is_apart:
                continue
            if name in self._silent:
                continue
            found.add(name)
            if name in OFFSETS and isinstance(value, Tensor) and value.dim():
                found.add(f"{name} per example")
        return frozenset(found)

    def _check(self, given: Mapping[str, Any]) -> None:
        spec = self._spec
        for name in self._needed:
            if name not in given:
                raise ArgumentMistake(f"`{spec.name}` needs the argument `{name}`")
        if spec.same_context and "context" in given:
            raise ArgumentMistake(
                f"`{spec.name}` attends to its own tokens (`context: same`): do not give a context"
            )
        if self._needs_memory and "context" not in given:
            raise ArgumentMistake(f"`{spec.name}` attends to a memory: give `context`")
        if not self._core:
            for name in ("x", "context"):
                if name in given:
                    _check_tokens(name, given[name], spec.dims.get("d_model"))
        inputs = [(i, given[i.name]) for i in spec.inputs.values() if i.name in given]
        for info, value in inputs:
            if isinstance(value, Tensor):
                _check_input(info, value)
        if torch.compiler.is_compiling():
            return
        if not is_exported():  # comparisons would be part of the program
            self._sizes.check(given)
        for info, value in inputs:
            if isinstance(value, Tensor) and info.bounds is not None:
                _check_range(info.name, value, *info.bounds)


def _tokens(read: Collection[str], needs_context: bool) -> tuple[str, ...]:
    """The token arguments of a whole spec; a context may be given wherever x is."""
    return ("x", "context") if "x" in read or needs_context else ()


def _check_tokens(name: str, value: Tensor, width: object) -> None:
    if value.dim() != 3:
        raise ArgumentMistake(
            f"`{name}` is (batch, length, d_model); this has shape {tuple(value.shape)}"
        )
    if value.shape[-1] != width:
        raise ArgumentMistake(
            f"`{name}` has width {value.shape[-1]}; the spec was compiled for d_model={width}"
        )


def _check_input(info: InputInfo, value: Tensor) -> None:
    """An input has the kind and the axes that the spec declares."""
    kind = "real" if value.is_floating_point() else "bool" if value.dtype is torch.bool else "int"
    if kind != info.type.kind.value:
        raise ArgumentMistake(f"`{info.name}` is {info.type.kind.value}; this is {value.dtype}")
    layout = [axis.name for axis in info.type.ordered] + [str(dim) for dim in info.type.dims]
    if value.dim() != len(layout):
        raise ArgumentMistake(
            f"`{info.name}` has the dims ({', '.join(layout)}); this has shape {tuple(value.shape)}"
        )


def _check_range(name: str, value: Tensor, least: int, most: int) -> None:
    if value.device.type != "cpu" or not value.numel():
        return
    low, high = int(value.min()), int(value.max())
    if low < least or high > most:
        raise ArgumentMistake(f"`{name}` lies in {least} .. {most}; this has {low} .. {high}")


def positional(*args: Any) -> tuple[Any, ...]:
    """The arguments that were given by place: those up to the last that is not None."""
    count = len(args)
    while count and args[count - 1] is None:
        count -= 1
    return args[:count]
