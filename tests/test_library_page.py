"""The page of the library is what the specs say now, and its pictures are the masks that modules compute."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import attnc
import pytest
from attnc.dsl.library import library_paths
from attnc.runtime.cli._library_page import library_page
from attnc.runtime.cli._static_masks import LENGTH, seen
from attnc.runtime.pictures import draw
from command_line import run

PAGE = Path(attnc.__file__).parent / "docs" / "library.md"


@cache
def page() -> str:
    return library_page()


def entry(name: str) -> str:
    return page().split(f"\n### {name}\n")[1].split("\n### ")[0]


def test_the_page_is_current() -> None:
    assert page() == PAGE.read_text("utf-8"), "docs/library.md is not current: run `make docs`"


def test_every_spec_has_its_entry() -> None:
    assert all(f"\n### {name}\n" in page() for name in library_paths())


def test_an_entry_says_what_the_file_says() -> None:
    found = entry("sliding_window")
    for text in (
        "C2: Each token sees `left` tokens before it",
        "if band(left, right), else −∞",
        "Who sees whom in `heads`, with left 4, right 4:",
        "    ▀████████▄······",
        "* Parameters: `left` = `128`, `right` = `128`",
        "* Cost: N (left + right + 1) D in time",
        "* Causality: none, as derived",
        "[arXiv:2004.05150](https://arxiv.org/abs/2004.05150)",
        "Band attention (survey 2106.04554",
    ):
        assert text in found, text


def test_what_is_no_picture_is_told_in_a_line() -> None:
    assert "* `heads`: `x` sees every key up to the query" in entry("causal_softmax")
    assert "* `memory`: a recurrence over `x`" in entry("delta_rule")
    assert "* Tokens: `comp: windows(context, size=width, stride=stride)`" in entry("nsa")
    assert "* Uses: [block](#block)" in entry("language_model")


@pytest.mark.parametrize(
    "name", ["sliding_window", "sparse_fixed", "axial", "routing", "swin", "streaming", "dilated"]
)
def test_pictures_are_the_masks_of_modules(name: str) -> None:
    spec = attnc.load(name)
    pictures = {
        key: view for key, view in seen(name, spec.document, spec.typed).items() if view.masks
    }
    assert pictures
    for attend, view in pictures.items():
        module = attnc.compile(name, d_model=64, heads=spec.typed.dims["heads"], **view.sizes)
        drawn = draw(module, "mask", LENGTH, attend).array.bool()
        found = list(view.masks.values())
        assert tuple(map(tuple, drawn[0].tolist())) == found[0]
        assert tuple(map(tuple, drawn[-1].tolist())) == found[-1]


def test_the_page_is_the_whole_library() -> None:
    assert "give nothing beside it" in run("list", "rope", "--markdown", code=2).stderr
