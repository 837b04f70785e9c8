"""What tests share: golden files and the option that rewrites them, a cache of kernels, small tiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from compilers import forget_loaded, fresh_environment
from hypothesis import settings

Golden: TypeAlias = Callable[[Path, str], None]

# how long an example takes is the machine's affair
settings.register_profile("timeless", deadline=None)
settings.load_profile("timeless")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` writes what is produced now; review the difference as code."""
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares a text with a golden file, or writes the file under `--update-golden`."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        assert path.read_text("utf-8") == text, f"differs from {path.name}; see --update-golden"

    return compare


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the cache of kernels, which is not there yet."""
    fresh_environment(monkeypatch, tmp_path / "cache")
    forget_loaded(monkeypatch)
    return tmp_path / "cache"


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that short sequences have many, of every kind."""
    small = {"BLOCK": 4, "PAIRS": 64, "LONG_ROW": 2, "TOGETHER": 2}
    for name, size in small.items():
        monkeypatch.setattr(f"attnc.compiler.tiling.sizes.{name}", size)
