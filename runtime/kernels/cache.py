"""A directory of entries that survives crashes and races.

    kernels/KEY/  entries      building/KEY.*/  of builds that go on, or were killed
    locks/        one builds   failed/          sources that the compiler refused, and what it said

An entry is built in a folder of its own, written through to the disk, and appears by a rename: it is
whole or not there. Who holds the lock of a key knows that other folders of its builds are dead.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ... import __version__
from .build import build, shortened
from .entry import FORMAT, Broken, Entry, Record, read
from .errors import BuildFailed
from .identity import Wanted, digest
from .locks import locked, locked_if_free
from .private import make_private
from .toolchain import Toolchain

KERNELS = "kernels"


class Cache:
    """Entries under a root; making one makes the root and checks that it is private.

    Raises:
        UnsafeDirectory: another user could write to the root.
        OSError: it cannot be made.
    """

    def __init__(self, root: Path) -> None:
        make_private(root)
        self.root = root
        self.kernels = root / KERNELS
        self.building = root / "building"
        self.locks = root / "locks"
        self.failed = root / "failed"

    def find(self, key: str) -> Entry | None:
        """The verified entry of a key. Nothing is written and no lock taken.

        Raises:
            Broken: it is there, but not whole.
        """
        return found(self.kernels / key)

    def built(self, wanted: Wanted, toolchain: Toolchain) -> Entry:
        """The entry of what is wanted, built unless another process has just done so.

        Raises:
            BuildFailed, BuildBusy, NoCompiler: there is none.
            OSError: the directory cannot be written to.
        """
        key = wanted.key(toolchain)
        self._make_folders()
        with locked(self.locks, key):
            try:
                entry = self.find(key)
            except Broken:
                self._discard(self.kernels / key)
                entry = None
            if entry is None:
                self._sweep(key)
                entry = self._build(key, wanted, toolchain)
        return entry

    def entries(self) -> Iterator[Entry | Path]:
        """All entries, by key; of one whose record cannot be read, the folder."""
        for folder in sorted(self.kernels.glob("*")):
            try:
                yield read(folder)
            except FileNotFoundError:
                continue  # removed meanwhile
            except Broken:
                yield folder

    def remove(self, key: str) -> None:
        """Take an entry away. Who has loaded it keeps it; who is about to load it builds it again."""
        self._make_folders()
        with locked(self.locks, key):
            self._discard(self.kernels / key)

    def sweep(self) -> int:
        """Remove what killed builds have left; how many there were."""
        self._make_folders()
        count = 0
        for key in sorted({folder.name.partition(".")[0] for folder in self.building.iterdir()}):
            with locked_if_free(self.locks, key) as is_held:
                count += self._sweep(key) if is_held else 0
        return count

    def _make_folders(self) -> None:
        for folder in (self.kernels, self.building, self.locks, self.failed):
            make_private(folder)

    def _sweep(self, key: str) -> int:
        """Remove the dead builds of a key, whose lock is held."""
        dead = list(self.building.glob(f"{key}.*"))
        for folder in dead:
            shutil.rmtree(folder, ignore_errors=True)
        return len(dead)

    def _discard(self, folder: Path) -> None:
        """Remove a folder in one step for all who look at it."""
        away = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=self.building))
        with suppress(FileNotFoundError):
            folder.rename(away / "entry")
        shutil.rmtree(away, ignore_errors=True)

    def _build(self, key: str, wanted: Wanted, toolchain: Toolchain) -> Entry:
        folder = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=self.building))
        try:
            begin = time.monotonic()
            library = build(wanted, toolchain, folder)
            seconds = time.monotonic() - begin
            _record(key, wanted, toolchain, library, seconds).write(folder)
            return publish(folder, self.kernels / key)
        except BuildFailed as error:
            raise self._explained(error, key, wanted) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _explained(self, error: BuildFailed, key: str, wanted: Wanted) -> BuildFailed:
        """The failure, after what belongs to it is kept."""
        source = self.failed / f"{key}.cpp"
        source.write_text(wanted.source, "utf-8")
        source.with_suffix(".log").write_text(f"{error}\n", "utf-8")
        return BuildFailed(
            f"the kernel `{wanted.name}` does not compile; its source is `{source}`, all that the "
            f"compiler says in the .log beside it.\n{shortened(str(error))}"
        )


def _record(
    key: str, wanted: Wanted, toolchain: Toolchain, library: Path, seconds: float
) -> Record:
    data = library.read_bytes()
    return Record(
        format=FORMAT,
        key=key,
        name=wanted.name,
        isa=wanted.isa.name,
        openmp=wanted.openmp,
        sanitize=wanted.sanitize,
        attnc=__version__,
        compiler=list(toolchain.command),
        version=toolchain.title,
        flags=list(toolchain.compile_flags(wanted.isa, wanted.runtime, wanted.sanitize)),
        source_sha256=wanted.source_digest,
        library_sha256=digest(data),
        size=len(data),
        seconds=round(seconds, 4),
        built=time.time(),
    )


def found(folder: Path) -> Entry | None:
    """The verified entry in a folder, None where there is no folder.

    Raises:
        Broken: it is not whole.
    """
    try:
        entry = read(folder)
    except FileNotFoundError:
        return None
    entry.verify()
    return entry


def builds_of(kernels: Path, id: str) -> Iterator[Entry]:
    """The entries of an id in a directory, whatever built them, the newest first; unverified."""
    entries = []
    for folder in kernels.glob(f"{id}-*"):
        with suppress(Broken, FileNotFoundError):
            entries.append(read(folder))
    yield from sorted(entries, key=lambda entry: -entry.record.built)


def export(entry: Entry, destination: Path) -> Entry:
    """Copy an entry to a directory for ATTNC_KERNELS; one that is there already is replaced."""
    entry.verify()
    destination.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".copy.", dir=destination))
    try:
        for path in entry.folder.iterdir():
            shutil.copyfile(path, folder / path.name)
        folder.chmod(0o755)  # a directory of ready-made kernels is there for others to read
        target = destination / entry.key
        if target.exists():
            shutil.rmtree(target)
        return publish(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, target: Path) -> Entry:
    """Rename a finished folder to its name, after all of it is on the disk."""
    for path in (*folder.iterdir(), folder):
        _sync(path)
    try:
        folder.rename(target)
    except OSError:
        # Where locks do not work (some network disks) another process may have been faster.
        if (entry := found(target)) is not None:
            return entry
        raise
    _sync(target.parent)
    return read(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
