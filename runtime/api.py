"""The public functions: load, loads, compile, library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..dsl import api as language
from ..dsl.document import Document
from ..dsl.library import library_paths
from ..dsl.source import Source
from ..dsl.typed import TypedSpec
from .module import Lowering, Module, Options


@dataclass(frozen=True)
class Spec:
    """A spec that was read and checked, ready to be compiled at any dims."""

    source: Source
    path: Path | None
    document: Document
    typed: TypedSpec

    @property
    def name(self) -> str:
        return self.typed.name

    @property
    def text(self) -> str:
        return self.source.text

    def _repr_html_(self) -> str:
        """A page for notebooks: formula, parameters and mask."""
        from .pictures import spec_html

        return spec_html(self)


def load(path_or_name: str | Path) -> Spec:
    """Read and check a spec: a name of the library, or the path of a YAML file.

    Raises:
        SpecError: the spec is at fault; its text shows every mistake with its place.
    """
    return _spec(language.check(**_place(path_or_name)))


def _place(spec: Spec | str | Path) -> dict[str, Any]:
    """Where the text of a spec is, as `check` takes it: a name, a path or the text itself."""
    if isinstance(spec, Spec):
        return {"path": spec.path} if spec.path else {"source": spec.source}
    text = str(spec)
    by_name = isinstance(spec, str) and not text.endswith((".yaml", ".yml")) and "/" not in text
    if by_name and (text in library_paths() or not Path(text).exists()):
        return {"name": text}
    return {"path": Path(text)}


def loads(text: str, name: str = "spec") -> Spec:
    """Check a spec given as a text; `name` stands for the file in messages.

    Raises:
        SpecError: the spec is at fault.
    """
    return _spec(language.check(source=Source(name, text)))


def _spec(checked: language.Checked) -> Spec:
    checked.report.raise_errors()
    assert checked.document is not None
    assert checked.spec is not None
    document = checked.document
    return Spec(document.source, document.path, document, checked.spec)


def compile(
    spec: Spec | str | Path,
    *,
    lowering: Lowering = "auto",
    strict: bool = False,
    entry: str = "module",
    seed: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    choices: Mapping[str, bool | int | float | str] | None = None,
    **dims: Any,
) -> Module:
    """Compile a spec to a module.

        forward(x, context=None, **inputs), or with entry="qkv" forward(q, k, v, *others, **inputs)

    Shapes:
        x (batch, length, d_model) -> (batch, length, d_model)
        entry="qkv": the bindings of `project`, each (batch, heads, length, width); heads out
    Options:
        dims       dims and choices of the spec by name: d_model=512, heads=8, window=256,
                   form="split", attention="alibi"; `choices` takes names with dots, such as
                   {"attention.window": 64}, for specs inside
        lowering   auto, dense, linear, cpu, sdpa or tiled; one asked for by name that does not
                   fit is refused; strict=True refuses where auto would take no fused lowering
        seed       of starting values and frozen draws
    Raises:
        SpecError: the spec is at fault, or a dim breaks its limits.
        LoweringRefused: the lowering that was asked for does not fit.
    """
    if entry not in ("module", "qkv"):
        raise ValueError(f'entry is "module" or "qkv", not {entry!r}')
    given = {**dims, **(choices or {})}
    core = entry == "qkv"
    checked = language.check(**_place(spec), dims=given, qkv=core)
    checked.report.raise_errors()
    assert checked.spec is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Module(checked.spec, Options(lowering, strict, core, seed))
    for inner in module.modules():
        if isinstance(inner, Module):
            inner.prepare()
    return module.to(device=device, dtype=dtype)


def library() -> tuple[str, ...]:
    """The names of the built-in specs."""
    return tuple(library_paths())
