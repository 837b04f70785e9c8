"""Specs with mistakes, and exactly what is said about each: tests/dsl/malformed/*.txt.

A case is `=== title`, the input, `--- gives`, and the diagnostics in full, or `nothing`. An input
that does not begin with `attnc:` gets the first two lines of a spec, unless its title ends in
`(as is)`. `--- file NAME` begins another file beside it. `⟨x × 9⟩` stands for x nine times,
`⟨U+0009⟩` for a character. `pytest --update-golden` writes what is said now.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from attnc.dsl.api import Checked, check
from attnc.dsl.library import SPECS
from attnc.dsl.mistakes import whole
from attnc.dsl.render import render_full
from attnc.dsl.source import Source
from conftest import Golden

FAMILIES = sorted((Path(__file__).parent / "malformed").glob("*.txt"))
FILE = re.compile(r"^--- file (\S+)\n", re.MULTILINE)
REPEATED = re.compile(r"⟨(.+?) × (\d+)⟩", re.DOTALL)
CHARACTER = re.compile(r"⟨U\+([0-9A-F]{4})⟩")
STRAY = re.compile(r"[^\n\x20-\x7e…]")


@dataclass(frozen=True)
class Case:
    """One malformed input as it stands in a file of the corpus."""

    title: str
    written: str

    @property
    def files(self) -> dict[str, str]:
        """File name -> text; the one to check is first."""
        first, *rest = FILE.split(self.written)
        texts = {"m.yaml": first, **dict(zip(rest[::2], rest[1::2], strict=True))}
        return {name: self._text(text) for name, text in texts.items()}

    def _text(self, text: str) -> str:
        text = REPEATED.sub(lambda match: match[1] * int(match[2]), text)
        text = CHARACTER.sub(lambda match: chr(int(match[1], 16)), text)
        return text if self.title.endswith("(as is)") else whole(text)


def cases(text: str) -> Iterator[Case]:
    for part in text.split("=== ")[1:]:
        title, _, rest = part.partition("\n")
        yield Case(title, rest.partition("--- gives\n")[0])


def checked(case: Case, folder: Path) -> Checked:
    """The result of checking a case, from files only where it has several."""
    files = case.files
    if len(files) == 1:
        return check(source=Source("m.yaml", files["m.yaml"]))
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    return check(path=folder / "m.yaml")


def said(case: Case, folder: Path) -> str:
    """What is said about a case, without what differs from machine to machine."""
    found = checked(case, folder).diagnostics
    text = "\n".join(render_full(item) for item in found) or "nothing"
    text = text.replace(f"{folder}/", "").replace(f"{SPECS}/", "specs/")
    return STRAY.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text)


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_mistakes_are_told_exactly_so(path: Path, golden: Golden, tmp_path: Path) -> None:
    told = []
    for number, case in enumerate(cases(path.read_text("utf-8"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        told.append(f"=== {case.title}\n{case.written}--- gives\n{said(case, folder)}\n\n")
    golden(path, "".join(told).rstrip("\n") + "\n")


def test_the_corpus_is_large() -> None:
    assert sum(len(list(cases(path.read_text("utf-8")))) for path in FAMILIES) >= 110


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    (item,) = check(path=tmp_path / "nowhere.yaml").diagnostics
    assert render_full(item) == (
        f"{tmp_path}/nowhere.yaml:1:1: error[ATT101]: there is no such file\n"
        "  = help: check the path and the spelling"
    )


def test_a_misspelt_spec_of_the_library_is_guessed() -> None:
    (item,) = check(name="additve").diagnostics
    assert render_full(item) == (
        "additve:1:1: error[ATT402]: there is no spec `additve`\n  = help: did you mean `additive`?"
    )
