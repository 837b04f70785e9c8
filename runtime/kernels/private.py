"""Directories that no other user can write to: what lies there is run."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from .errors import UnsafeDirectory

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def make_private(folder: Path) -> None:
    """Make a directory for this user alone, if it is not there, and check it.

    Raises:
        UnsafeDirectory: somebody else could write to it.
        OSError: it cannot be made.
    """
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    check_private(folder, {os.geteuid()})


def check_private(folder: Path, owners: Collection[int]) -> None:
    """Refuse a directory of another owner, and one that its group or everybody may write to.

    Raises:
        UnsafeDirectory: with the command that mends it.
        OSError: it is not there.
    """
    found = folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeDirectory(f"`{folder}` is no directory")
    if found.st_uid not in owners:
        raise UnsafeDirectory(
            f"`{folder}` belongs to user {found.st_uid}, and this is user {os.geteuid()}: kernels "
            "from there would run as you. Name one of your own in "
            "ATTNC_CACHE_DIR, or in ATTNC_KERNELS if it holds kernels ready-made."
        )
    if found.st_mode & _OTHERS_WRITE:
        raise UnsafeDirectory(
            f"others can write to `{folder}` (mode {stat.S_IMODE(found.st_mode):o}), and kernels "
            f"from there would run as you. Mend it: chmod go-w '{folder}'"
        )
