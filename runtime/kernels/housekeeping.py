"""What `attnc cache` does to a cache: say what is there, look it over, make room."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .cache import Cache
from .entry import Broken, Entry

DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed: entries by key, half-finished builds, and the bytes of the entries."""

    keys: tuple[str, ...]
    leftovers: int
    size: int


def whole_entries(cache: Cache) -> list[Entry]:
    """The entries whose records can be read, the last used first."""
    entries = [entry for entry in cache.entries() if isinstance(entry, Entry)]
    return sorted(entries, key=_used, reverse=True)


def problems(cache: Cache) -> Iterator[tuple[str, str]]:
    """Each entry that is not whole: its key and what is wrong."""
    for found in cache.entries():
        if isinstance(found, Path):
            yield found.name, "its record is missing or damaged"
            continue
        try:
            found.verify()
        except Broken as broken:
            if found.folder.exists():
                yield found.key, str(broken)


def prune(cache: Cache, days: float | None = None, keep: int | None = None) -> Pruned:
    """Remove what is broken or half-finished; then what has not been used for `days`; then, from
    the least recently used on, what is beyond `keep` bytes."""
    doomed = {key: 0 for key, _ in problems(cache)}
    total = 0
    for entry in whole_entries(cache):
        if entry.key in doomed:
            continue
        is_old = days is not None and time.time() - _used(entry) > days * DAY
        if is_old or (keep is not None and total + size(entry) > keep):
            doomed[entry.key] = size(entry)
        else:
            total += size(entry)
    for key in doomed:
        cache.remove(key)
    return Pruned(tuple(sorted(doomed)), cache.sweep(), sum(doomed.values()))


def clear(cache: Cache) -> int:
    """Remove every entry, and the sources that did not compile; how many entries there were."""
    found = list(cache.entries())
    for entry in found:
        cache.remove(entry.key if isinstance(entry, Entry) else entry.name)
    cache.sweep()
    shutil.rmtree(cache.failed, ignore_errors=True)
    return len(found)


def size(entry: Entry) -> int:
    """The bytes of the files of an entry."""
    total = 0
    for path in entry.folder.glob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _used(entry: Entry) -> float:
    with suppress(FileNotFoundError):
        return entry.used
    return 0.0
