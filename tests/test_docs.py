"""What the documents say is true: YAML passes the checks, commands and Python run, output is real.

Blocks of one document share a directory and run in order. ```` ```yaml name.yaml ```` also writes the file; a `text` block after a `sh` block is what that block prints.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import attnc
import pytest
from attnc.dsl import api
from attnc.dsl.mistakes import whole
from attnc.dsl.source import Source

ROOT = Path(attnc.__file__).parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)(?: +(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# The example of the design, section 2, as it stands there.
DESIGN = """\
attnc: 1
name: additive
entry: B2
doc: Additive (Bahdanau) scores, one alignment network per head.
cite: ["arXiv:1409.0473"]
extends: softmax
dims:
  d_align: {default: d_head}
weights:
  u: {shape: [h, d_align], init: xavier}
  c: {shape: [h, d_align], init: zeros}
project:
  q: linear(x, to=[h, d_align], bias=false)
  k: linear(context, to=[h, d_align], bias=false)
score: dot(u, tanh(q + k + c))
"""


class Block(NamedTuple):
    """A fenced block: its language, the word after it, its text, and the line it begins at."""

    language: str
    word: str
    text: str
    line: int


def blocks_of(path: Path) -> list[Block]:
    text = path.read_text("utf-8")
    return [
        Block(found[1], found[2] or "", found[3], text.count("\n", 0, found.start()) + 1)
        for found in _BLOCK.finditer(text)
    ]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to run in, with `attnc` on the path and a kernel cache of its own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "attnc"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m attnc "$@"\n', "utf-8")
    script.chmod(0o755)
    package = tmp_path / "path"
    package.mkdir()
    (package / "attnc").symlink_to(ROOT)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(package))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("ATTNC_CACHE_DIR", str(tmp_path / "kernels"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_of_a_document_holds(path: Path, place: Path) -> None:
    names: dict[str, object] = {"__name__": "document"}
    printed = ""
    for block in blocks_of(path):
        where = f"{path.name}:{block.line}"
        if block.language == "yaml" and block.word != "fragment":
            check_yaml(block, place, where)
        elif block.language == "python":
            exec(compile(block.text, where, "exec"), names)
        elif block.language == "sh":
            printed = run_shell(block, where)
        elif block.language == "text" and block.word != "layout":
            assert printed == block.text, f"{where} is not what the commands before it print"


def check_yaml(block: Block, place: Path, where: str) -> None:
    if block.word:
        (place / block.word).write_text(block.text, "utf-8")
    text = whole(block.text) if "attnc:" not in block.text else block.text
    report = api.check(source=Source(where, text)).report
    report.raise_errors()


def run_shell(block: Block, where: str) -> str:
    lines = [line for line in block.text.splitlines() if not line.startswith("make ")]
    script = "set -e\n" + "\n".join(lines)
    done = subprocess.run(
        ["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120
    )
    printed = done.stdout.decode("utf-8")
    assert done.returncode == 0, f"{where} fails:\n{printed}"
    return printed


def test_the_example_of_the_design_compiles_and_trains() -> None:
    import torch

    module = attnc.compile(attnc.loads(DESIGN, "design"), d_model=16, heads=2)
    result = module(torch.randn(2, 5, 16))
    result.sum().backward()
    assert result.shape == (2, 5, 16)
    assert module.get_parameter("u").grad is not None


def test_the_example_of_the_design_is_in_the_library() -> None:
    found = api.check(source=Source("design", DESIGN)).spec
    library = api.check(name="additive").spec
    assert found is not None
    assert library is not None
    assert found.outputs == library.outputs
