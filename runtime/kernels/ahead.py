"""Kernels built before anything calls them, for this machine or for another one."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import isa, openmp, toolchain
from .cache import Cache, export, found
from .entry import Broken, Entry
from .errors import BuildFailed, InstructionsMissing, KernelMissing
from .identity import Wanted
from .isa import Isa
from .private import check_private
from .settings import settings
from .temporary import temporary_cache
from .toolchain import Toolchain


@dataclass(frozen=True, slots=True)
class Text:
    """A source of a kernel; way: `forward` or `backward`."""

    name: str
    way: str
    source: str


@dataclass(frozen=True, slots=True)
class Built:
    """An entry; is_new: whether it was built just now."""

    text: Text
    entry: Entry
    is_new: bool


def build_all(
    texts: Iterable[Text], instructions: Iterable[Isa], folder: Path | None, jobs: int
) -> Iterator[Built]:
    """Build each text for each set of instructions, in order, some at a time.

    folder   for ATTNC_KERNELS; None: they stay in the cache of the user alone
    Raises:
        KernelMissing: ATTNC_DISABLE_JIT is set.
        NoCompiler, BuildFailed, BuildBusy: they cannot be built.
        UnsafeDirectory: other users can write to the cache, or to the folder.
    """
    now = settings()
    if not now.may_build:
        raise KernelMissing("ATTNC_DISABLE_JIT forbids to build: unset it, and build again")
    tools, runtime = toolchain.find(now.compiler), openmp.torch_runtime()
    if folder is not None:
        _make_readable(folder)
    pairs = [
        (text, Wanted(text.name, text.source, each, runtime, now.sanitize))
        for text in texts
        for each in instructions
    ]
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(partial(_built, tools, now.cache, folder), pairs)
        finally:
            pool.shutdown(cancel_futures=True)


def levels(names: Iterable[str]) -> tuple[Isa, ...]:
    """The sets of instructions of some names; without any, those that this machine builds for.

    Raises:
        InstructionsMissing: a compiler of this kind of machine does not know them.
    """
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    wanted = tuple(isa.named(name) for name in dict.fromkeys(names))
    for each in wanted:
        if each.needs and not is_x86:
            raise InstructionsMissing(
                f"{each.name} is of x86-64, and this is {platform.machine()}: build portable kernels"
            )
    return wanted or (isa.chosen(settings().isa),)


def _make_readable(folder: Path) -> None:
    """A directory that only this user can write to, whatever the umask is."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        folder.chmod(0o755)
    check_private(folder, {0, os.geteuid()})


def _built(tools: Toolchain, root: Path, folder: Path | None, pair: tuple[Text, Wanted]) -> Built:
    text, wanted = pair
    try:
        cache = Cache(root)
        entry = _whole(cache.kernels / wanted.key(tools))
        made = entry or cache.built(wanted, tools)
    except OSError as error:
        if folder is None:
            raise BuildFailed(
                f"`{root}` cannot be written to ({error}). Set ATTNC_CACHE_DIR to a directory of "
                "your own."
            ) from error
        entry, made = None, temporary_cache(root, error).built(wanted, tools)
    if folder is not None:
        entry = _whole(folder / made.key)
        made = entry or export(made, folder)
    return Built(text, made, entry is None)


def _whole(folder: Path) -> Entry | None:
    """The entry of a folder; None also where it is broken, and has to be made again."""
    try:
        return found(folder)
    except Broken:
        return None
