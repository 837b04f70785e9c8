"""A kernel on disk: a folder named by its key, with the library, its source and a record.

The record is JSON: nothing in it is run. The digests in it say whether the files are whole.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from .identity import digest, is_key

RECORD = "meta.json"
FORMAT = 1


class Broken(ValueError):
    """An entry is not whole, or not what its record says."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of an entry.

    attnc     version of the package          openmp    file name of the runtime, or empty
    compiler  its command                     version   what it says of itself
    built     seconds since 1970              seconds   that the compiler took
    size      bytes of the library
    """

    format: int
    key: str
    name: str
    isa: str
    openmp: str
    sanitize: bool
    attnc: str
    compiler: list[str]
    version: str
    flags: list[str]
    source_sha256: str
    library_sha256: str
    size: int
    seconds: float
    built: float

    def write(self, folder: Path) -> None:
        (folder / RECORD).write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")


@dataclass(frozen=True, slots=True)
class Entry:
    """A folder and its record."""

    folder: Path
    record: Record

    @property
    def key(self) -> str:
        return self.record.key

    @property
    def library(self) -> Path:
        return self.folder / f"{self.record.name}.so"

    @property
    def source(self) -> Path:
        return self.folder / f"{self.record.name}.cpp"

    @property
    def used(self) -> float:
        """When it was last loaded, in seconds since 1970."""
        return (self.folder / RECORD).stat().st_mtime

    def verify(self) -> None:
        """Compare the files with the record.

        Raises:
            Broken: they differ, or one is missing.
        """
        for path, expected in (
            (self.library, self.record.library_sha256),
            (self.source, self.record.source_sha256),
        ):
            try:
                found = digest(path.read_bytes())
            except OSError as error:
                raise Broken(f"`{path}` cannot be read: {error.strerror}") from error
            if found != expected:
                raise Broken(f"`{path}` has changed since it was built")


def read(folder: Path) -> Entry:
    """The entry in a folder; its files are not looked at yet.

    Raises:
        Broken: the record is missing, damaged or of another folder.
        FileNotFoundError: there is no such folder.
    """
    try:
        data = json.loads((folder / RECORD).read_bytes())
    except FileNotFoundError:
        if folder.is_dir():
            raise Broken(f"`{folder}` has no record") from None
        raise
    except (OSError, ValueError) as error:
        raise Broken(f"the record of `{folder}` cannot be read: {error}") from error
    record = _record(data, folder)
    if record.key != folder.name or not is_key(record.key) or not record.name.isidentifier():
        raise Broken(f"the record of `{folder}` is of another kernel")
    return Entry(folder, record)


def _record(data: Any, folder: Path) -> Record:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise Broken(f"the record of `{folder}` has another format")
    kinds = get_type_hints(Record)
    names = {field.name for field in fields(Record)}
    for name in names:
        kind = getattr(kinds[name], "__origin__", kinds[name])
        if not isinstance(data.get(name), (int, float) if kind is float else kind):
            raise Broken(f"the record of `{folder}` says nothing good of `{name}`")
    return Record(**{name: data[name] for name in names})
