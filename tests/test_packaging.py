"""What is installed is what should be: all of attnc and nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path

import attnc

ROOT = Path(attnc.__file__).parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
INSTALLED = ("dsl", "compiler", "runtime", "specs")


def test_every_directory_with_code_is_listed_for_installation() -> None:
    found = {
        path.parent.relative_to(ROOT) for top in INSTALLED for path in (ROOT / top).rglob("*.py")
    }
    names = {"attnc", *(".".join(("attnc", *path.parts)) for path in found)}
    assert set(SETTINGS["tool"]["setuptools"]["packages"]) == names


def test_every_other_file_in_the_package_is_listed_as_data() -> None:
    data = SETTINGS["tool"]["setuptools"]["package-data"]
    for top in INSTALLED:
        covered = {
            path
            for package, patterns in data.items()
            for pattern in patterns
            for path in (ROOT.joinpath(*package.split(".")[1:])).glob(pattern)
        }
        files = {
            path
            for path in (ROOT / top).rglob("*")
            if path.is_file() and path.suffix not in (".py", ".pyc", ".md")
        }
        assert files - covered == set()


def test_the_version_is_stated_once() -> None:
    assert SETTINGS["project"]["dynamic"] == ["version"]
    assert attnc.__version__.count(".") == 2
