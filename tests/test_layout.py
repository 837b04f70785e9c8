"""The shape of the house: who imports whom, what the library may hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import attnc
import pytest
from attnc.dsl.attributes import ATTRIBUTES
from command_line import run_json

ROOT = Path(__file__).resolve().parent.parent
ORDER = ("specs", "dsl", "compiler", "runtime")


def imported_packages(path: Path) -> set[str]:
    """The packages of ours that a file imports, also inside functions."""
    parts = path.relative_to(ROOT).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = parts[: len(parts) - node.level + 1]
            target = (*base, *(node.module or "").split("."))
            found.add(next((part for part in target if part), ""))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("attnc."):
            found.add((node.module or "").split(".")[1])
    return found & set(ORDER)


@pytest.mark.parametrize("package", ORDER)
def test_imports_point_one_way(package: str) -> None:
    allowed = set(ORDER[: ORDER.index(package) + 1])
    for path in (ROOT / package).rglob("*.py"):
        assert imported_packages(path) <= allowed, path


def test_the_language_knows_no_torch() -> None:
    for path in (ROOT / "dsl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "torch" for name in names), path


def test_importing_attnc_imports_no_torch() -> None:
    code = "import sys, attnc, attnc.dsl.api; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_library_is_yaml_only() -> None:
    files = [path for path in (ROOT / "specs").rglob("*") if path.is_file()]
    files = [path for path in files if "__pycache__" not in path.parts]
    assert {path.suffix for path in files if path.name != "__init__.py"} == {".yaml"}
    assert not (ROOT / "specs" / "__init__.py").read_text().strip().count("\n")


def prelude_lines() -> dict[str, int]:
    """How many lines each macro of the prelude has."""
    found: dict[str, int] = {}
    name = ""
    for line in (ROOT / "specs" / "prelude.yaml").read_text().splitlines():
        start = re.match(r"  (\w+)(\([^)]*\))?:", line)
        name = start[1] if start else name
        found[name] = found.get(name, 0) + (line.startswith("  ") and "#" not in line)
    return found


@cache
def used_by_one() -> dict[str, int]:
    """For each spec the lines of macros, and one for each operator, that no other spec uses."""
    lines, found = prelude_lines(), dict[str, int]()
    for row in run_json("list", "--operators", "--json"):
        if len(row["specs"]) == 1:
            (spec,) = row["specs"]
            found[spec] = found.get(spec, 0) + lines.get(row["name"], 1)
    return found


def test_what_only_one_spec_uses_is_counted() -> None:
    assert prelude_lines()["softmax_with_sink"] == 3
    assert used_by_one()["sinks"] == 4


@pytest.mark.parametrize("path", sorted((ROOT / "specs").rglob("*.yaml")), ids=lambda p: p.stem)
def test_a_spec_is_a_page(path: Path) -> None:
    lines = path.read_text().splitlines()
    body = [line for line in lines if not line.startswith("#")]
    assert len(lines) <= 60
    assert len(body) + used_by_one().get(path.stem, 0) <= 60
    assert max(len(line) for line in lines) <= 100
    if path.stem != "prelude":
        assert lines[0].startswith("#"), "the header names the paper and the equation"
        assert any(line.startswith("entry: ") for line in lines)


def test_only_the_package_stands_at_the_top() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= {"dsl", "compiler", "runtime", "specs", "tests"}


def test_the_attributes_of_modules_are_all_known() -> None:
    module = attnc.compile("softmax", d_model=16, heads=2)
    own = {"q", "k", "v", "out"}
    names = {name for name in dir(module) if re.fullmatch(r"[a-z][a-z0-9_]*", name)} - own
    assert names <= ATTRIBUTES
