"""The way from a source to a loaded library, the shortest first.

1. this process has it;
2. a directory of ATTNC_KERNELS has it ready-made;
3. the cache has it;
4. it is built, by one process while others wait, and kept.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from ... import __version__
from . import isa, openmp, toolchain
from .cache import KERNELS, Cache, builds_of
from .entry import RECORD, Broken, Entry, Record, read
from .errors import BuildFailed, KernelError, KernelMissing, NoCompiler, NotLoaded
from .identity import Wanted
from .library import Library
from .private import check_private
from .settings import Settings, settings
from .temporary import temporary_cache
from .toolchain import Toolchain

_Asked: TypeAlias = tuple[str, str, Settings]
_loaded: dict[_Asked, Library] = {}
_building: dict[_Asked, threading.Lock] = {}
_begun: set[_Asked] = set()
_guard = threading.Lock()
_CPUS = os.cpu_count() or 1


def load(source: str, *, name: str) -> Library:
    """The library of a C++ source, built if nobody has built it yet.

    source  complete; what is called from outside is `extern "C"`
    name    of the files, for messages and profilers: lower case, digits and underscores
    Raises:
        NoCompiler, BuildFailed, BuildBusy: it cannot be built.
        KernelMissing: it would have to be built, but ATTNC_DISABLE_JIT is set.
        UnsafeDirectory: other users can write to the cache.
        InstructionsMissing: ATTNC_ISA is beyond this machine.
    """
    return _loaded_once((name, source, settings()))


def begin(source: str, *, name: str) -> None:
    """Load a library beside what goes on, because it is asked for soon.

    What fails is left to `load`. A program that ends meanwhile waits for the compiler.
    """
    asked = (name, source, settings())
    if asked in _loaded or asked in _begun or _CPUS < 2:
        return
    _begun.add(asked)
    with suppress(RuntimeError):  # no more threads
        threading.Thread(target=_load_quietly, args=(asked,), name=f"attnc {name}").start()


def _load_quietly(asked: _Asked) -> None:
    with suppress(Exception):  # a warning may be one
        _loaded_once(asked)


def _loaded_once(asked: _Asked) -> Library:
    known = _loaded.get(asked)
    if known is not None:
        return known
    with _guard:
        alone = _building.setdefault(asked, threading.Lock())
    with alone:
        known = _loaded.get(asked)
        if known is None:
            known = _loaded[asked] = _load(*asked)
    return known


def target() -> isa.Isa:
    """The instructions that `load` builds for now; the text of a kernel may depend on them.

    Raises:
        InstructionsMissing: ATTNC_ISA is beyond this machine.
    """
    return isa.chosen(settings().isa)


def _forget_locks() -> None:
    """In a child of a fork: threads that held locks are not in it."""
    global _guard
    _guard = threading.Lock()
    _building.clear()


os.register_at_fork(after_in_child=_forget_locks)


def _load(name: str, source: str, now: Settings) -> Library:
    runtime = openmp.torch_runtime()
    wanted = Wanted(name, source, isa.chosen(now.isa), runtime, now.sanitize)
    entry = _entry(wanted, now)
    try:
        library = Library(entry, runtime)
    except NotLoaded:
        if entry.folder.exists():
            raise
        library = Library(_entry(wanted, now), runtime)  # it was removed just now
    with suppress(OSError):
        os.utime(entry.folder / RECORD)  # `attnc cache prune` keeps what is in use
    return library


def _entry(wanted: Wanted, now: Settings) -> Entry:
    shipped = _ready_made(wanted, now.shipped)
    if shipped is not None:
        return shipped
    if not now.may_build:
        return _any_build(wanted, now, KernelMissing(_missing(wanted, now)))
    try:
        tools = toolchain.find(now.compiler)
    except NoCompiler as none:
        return _any_build(wanted, now, none)
    return _cached(wanted, tools, now.cache)


def _ready_made(wanted: Wanted, folders: Iterable[Path]) -> Entry | None:
    """A whole build of what is wanted, whatever compiler made it."""
    for folder in folders:
        if not folder.is_dir():
            continue
        check_private(folder, {0, os.geteuid()})
        for entry in builds_of(folder, wanted.id):
            try:
                entry.verify()
            except Broken as broken:
                warnings.warn(f"a kernel is passed over: {broken}", RuntimeWarning, stacklevel=2)
            else:
                return entry
    return None


def _any_build(wanted: Wanted, now: Settings, otherwise: KernelError) -> Entry:
    """Where nothing can be built: a build by any compiler, at worst for fewer instructions."""
    for lower in isa.and_below(wanted.isa):
        entry = _ready_made(replace(wanted, isa=lower), (*now.shipped, now.cache / KERNELS))
        if entry is not None:
            return entry
    raise otherwise


def _cached(wanted: Wanted, tools: Toolchain, root: Path) -> Entry:
    """The entry of the cache, built if it is not there or not whole."""
    try:
        cache = Cache(root)
        try:
            entry = cache.find(wanted.key(tools))
        except Broken as broken:
            warnings.warn(f"a kernel is built again: {broken}", RuntimeWarning, stacklevel=2)
            entry = None
        return entry or cache.built(wanted, tools)
    except OSError as error:  # full, read-only, or without locks
        return _temporary(wanted, tools, root, error)


def _temporary(wanted: Wanted, tools: Toolchain, root: Path, error: OSError) -> Entry:
    try:
        return temporary_cache(root, error).built(wanted, tools)
    except OSError as again:
        raise BuildFailed(
            f"there is no place for the kernel `{wanted.name}`: neither `{root}` ({error}) nor a temporary "
            f"directory ({again}) can be written to. Name one that can in ATTNC_CACHE_DIR."
        ) from again


def _missing(wanted: Wanted, now: Settings) -> str:
    places = ", ".join(f"`{path}`" for path in (*now.shipped, now.cache))
    text = (
        f"the kernel `{wanted.name}` is not built for {wanted.isa.name} in {places}, and "
        "ATTNC_DISABLE_JIT forbids to build it.\n"
        "Build it beforehand, on a machine with a compiler: attnc build SPEC --aot DIR; then set "
        "ATTNC_KERNELS=DIR here. Or unset ATTNC_DISABLE_JIT."
    )
    hint = _nearest(wanted, (*now.shipped, now.cache / KERNELS))
    return f"{text}\n{hint}" if hint else text


def _nearest(wanted: Wanted, folders: Iterable[Path]) -> str:
    """How a build of the same name differs from what is wanted."""
    for folder in folders:
        for path in sorted(folder.glob("*")):
            with suppress(Broken, OSError):
                record = read(path).record
                if record.name == wanted.name:
                    return f"`{path}` does not fit: {_difference(wanted, record)}."
    return ""


def _difference(wanted: Wanted, record: Record) -> str:
    here = {
        "isa": wanted.isa.name,
        "openmp": wanted.openmp,
        "sanitize": wanted.sanitize,
        "attnc": __version__,
    }
    there = {name: getattr(record, name) for name in here}
    differ = [f"{k} is {there[k]}, not {value}" for k, value in here.items() if there[k] != value]
    if record.source_sha256 != wanted.source_digest:
        differ.append("its source is another")
    return "; ".join(differ) or "it is damaged"
