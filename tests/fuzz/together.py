"""Many kernels in one translation unit: what includes cost is paid once.

A first run of every call collects the texts of its kernels, whose functions do nothing; then all are
built as one source, under names of their own, and a second run calls these.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from attnc.compiler.codegen.text import HEADERS, MORE_HEADERS, header, prelude
from attnc.runtime.kernels import launch
from attnc.runtime.kernels.errors import BuildFailed
from attnc.runtime.kernels.library import Function
from attnc.runtime.kernels.loading import load
from attnc.runtime.kernels.settings import settings

_ENTRY = re.compile(r'extern "C" (?:bool|void) (\w+)\(')
_MACRO = re.compile(r"^#define (\w+)", re.MULTILINE)
#: kernels in one source, and where the sanitizers make each long
_FEW, _FEWER = 100, 20


class Together:
    """The functions of collected sources, by source and name."""

    def __init__(self) -> None:
        self.sources: dict[str, str] = {}
        self.functions: dict[str, Function] = {}

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Calls within run nothing; what they would have built is kept."""
        with _loading(self._collect):
            yield

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Calls within run what was built, or what is built now if it was not collected."""
        with _loading(self._load):
            yield

    def build(self) -> None:
        """Build what was collected, some kernels at a time."""
        wanted = [source for source in self.sources if source not in self.functions]
        few = _FEWER if settings().sanitize else _FEW
        for start in range(0, len(wanted), few):
            with suppress(BuildFailed):  # then each is built by itself, when it is called
                self._build(wanted[start : start + few])

    def _build(self, sources: list[str]) -> None:
        texts = [_renamed(source, place) for place, source in enumerate(sources)]
        library = load("\n".join([str(prelude(*MORE_HEADERS)), *texts]), name="together")
        for place, source in enumerate(sources):
            name = _entry(source)
            self.functions[source] = library.function(
                f"{name}_{place}", *launch.ARGUMENTS, result=ctypes.c_bool
            )

    def _collect(self, source: str, *, name: str) -> Any:
        self.sources.setdefault(source, name)
        return _Library(lambda *arguments: None)

    def _load(self, source: str, *, name: str) -> Any:
        if source not in self.functions:
            return load(source, name=name)
        return _Library(self.functions[source])


class _Library:
    def __init__(self, made: Function) -> None:
        self.made = made

    def function(self, name: str, *arguments: Any, result: Any = None) -> Function:
        return self.made


@contextmanager
def _loading(instead: Any) -> Iterator[None]:
    begin = launch.begin
    launch.load, launch.begin = instead, lambda source, *, name: None
    try:
        yield
    finally:
        launch.load, launch.begin = load, begin


def _entry(source: str) -> str:
    found = _ENTRY.search(source)
    assert found is not None
    return found[1]


def _renamed(source: str, place: int) -> str:
    """A kernel without the prelude, under a name of its own, that leaves no macro behind."""
    text = source
    for name in (*HEADERS, *MORE_HEADERS):
        text = text.replace(str(header(name)), "")
    name = _entry(source)
    undone = "".join(f"#undef {macro}\n" for macro in dict.fromkeys(_MACRO.findall(text)))
    return f"{text.replace(f' {name}(', f' {name}_{place}(', 1)}\n{undone}"
