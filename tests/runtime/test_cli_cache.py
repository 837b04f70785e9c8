"""`attnc cache`: what it lists is there, and what it removes is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from attnc.runtime.kernels import load
from attnc.runtime.kernels.entry import RECORD
from command_line import run, run_json
from compilers import answer, entry_folders, forget_loaded, needs_compiler

pytestmark = needs_compiler


@pytest.fixture
def filled(home: Path) -> Path:
    """A cache with three kernels; the first was used 10 days ago, the second 5."""
    for number, days in ((1, 10), (2, 5), (3, 0)):
        library = load(answer(number), name=f"answer_{number}")
        then = time.time() - days * 86400
        os.utime(library.entry.folder / RECORD, (then, then))
    return home


def names() -> list[str]:
    return [row["name"] for row in run_json("cache", "list", "--json")]


def test_the_directory_is_told_and_not_made(home: Path) -> None:
    assert run("cache", "dir").stdout == f"{home}\n"
    assert not home.exists()


def test_a_cache_that_is_not_there_is_empty(home: Path) -> None:
    assert run_json("cache", "list", "--json") == []
    assert "no kernels in" in run("cache", "list").stderr
    assert run("cache", "verify").stdout == "0 kernels, all whole\n"
    assert run("cache", "clear").stdout == "removed 0 kernels\n"
    run("cache", "prune")
    assert not home.exists()


def test_the_list_says_what_built_each_kernel(filled: Path) -> None:
    rows = run_json("cache", "list", "--json")
    assert [row["name"] for row in rows] == ["answer_3", "answer_2", "answer_1"]
    assert {row["key"] for row in rows} == {path.name for path in entry_folders(filled)}
    assert all(row["size"] > 1000 and row["compiler"] and row["version"] for row in rows)
    shown = run("cache", "list", COLUMNS="200").stdout
    assert "answer_1" in shown
    assert "10 d" in shown
    assert f"3 kernels, {sum(row['size'] for row in rows) / 1024:.0f} KiB" in shown


def test_a_changed_kernel_is_found_and_pruned(filled: Path) -> None:
    assert run("cache", "verify").stdout == "3 kernels, all whole\n"
    first, second, third = entry_folders(filled)
    library = next(first.glob("*.so"))
    library.unlink()
    library.write_bytes(b"changed")
    (second / RECORD).write_text("{")
    told = run("cache", "verify", code=1).stderr
    assert f"{first.name}: `{library}` has changed" in told
    assert f"{second.name}: its record is missing or damaged" in told
    assert "2 of 3 kernels broken" in told
    assert "removed 2 kernels" in run("cache", "prune").stdout
    assert entry_folders(filled) == [third]


def test_pruning_goes_by_the_last_use(filled: Path) -> None:
    run("cache", "prune", "--older-than", "7")
    assert names() == ["answer_3", "answer_2"]
    largest = max(row["size"] for row in run_json("cache", "list", "--json"))
    run("cache", "prune", "--keep-size", str(largest + 10))
    assert names() == ["answer_3"]
    run("cache", "prune", "--keep-size", "1G")
    assert names() == ["answer_3"]
    assert "is no size" in run("cache", "prune", "--keep-size", "much", code=2).stderr


def test_loading_is_a_use(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_loaded(monkeypatch)
    load(answer(1), name="answer_1")
    run("cache", "prune", "--older-than", "7")
    assert "answer_1" in names()


def test_half_finished_builds_are_pruned(filled: Path) -> None:
    left = filled / "building" / f"{entry_folders(filled)[0].name}.dead"
    left.mkdir()
    assert "1 half-finished build\n" in run("cache", "prune").stdout
    assert not left.exists()


def test_clearing_asks_unless_told(filled: Path) -> None:
    run("cache", "clear", input="n\n", code=1)
    assert len(names()) == 3
    assert "removed 3 kernels" in run("cache", "clear", input="y\n").stdout
    assert not names()
    load(answer(4), name="answer")
    run("cache", "clear", "--yes")
    assert not names()


def test_an_unsafe_cache_is_told(filled: Path) -> None:
    filled.chmod(0o777)
    assert "chmod go-w" in run("cache", "list", code=1).stderr


def test_the_command_imports_no_torch(filled: Path) -> None:
    code = "import sys; from attnc.runtime.cli import attnc; attnc(['cache', 'list'], standalone_mode=False); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
