"""Diagnostics as text: excerpts, carets, notes, and the forms for machines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import attnc.dsl
import pytest
from attnc.dsl.api import check
from attnc.dsl.diagnostics import Diagnostic, Note, Report, SpecError
from attnc.dsl.mistakes import MISTAKES, whole
from attnc.dsl.parser import parse_expression
from attnc.dsl.reader import Mapping, Node, Scalar, Sequence, read
from attnc.dsl.render import (
    MAX_COLUMNS,
    Role,
    render_concise,
    render_full,
    render_github,
    to_json,
)
from attnc.dsl.source import Source, Span
from hypothesis import given
from hypothesis import strategies as st


def diagnostic(text: str, marked: str, message: str = "message", **rest: object) -> Diagnostic:
    source = Source("mha.yaml", text)
    start = text.index(marked)
    span = Span(source, start, start + len(marked))
    return Diagnostic("ATT401", message, span, **rest)  # type: ignore[arg-type]


def marks(item: Diagnostic) -> tuple[str, str]:
    """The excerpt and the line of carets, without what stands left of the text."""
    _, excerpt, carets = render_full(item).splitlines()
    return excerpt[7:], carets[7:]


def test_a_diagnostic_looks_like_this() -> None:
    item = diagnostic("name: x\nscore: q * kk\n", "kk", "unknown name `kk`")
    helped = Diagnostic(item.code, item.message, item.span, "did you mean `k`?")
    assert render_full(helped) == (
        "mha.yaml:2:12: error[ATT401]: unknown name `kk`\n"
        "   2 | score: q * kk\n"
        "     |            ^^\n"
        "  = help: did you mean `k`?"
    )


def test_a_note_has_an_excerpt_of_its_own() -> None:
    item = diagnostic("a: 1\nb: 2\na: 3\n", "a: 3", "the key `a` stands twice")
    note = Note(Span(item.span.source, 0, 1), "first here")
    noted = Diagnostic(item.code, item.message, item.span, "keep one", (note,), "warning")
    assert render_full(noted) == (
        "mha.yaml:3:1: warning[ATT401]: the key `a` stands twice\n"
        "   3 | a: 3\n"
        "     | ^^^^\n"
        "mha.yaml:1:1: note: first here\n"
        "   1 | a: 1\n"
        "     | -\n"
        "  = help: keep one"
    )


def test_a_span_of_several_lines_marks_its_first() -> None:
    item = diagnostic("a: b +   \n  c\n", "b +   \n  c")
    assert marks(item) == ("a: b +", "   ^^^")


def test_an_empty_span_has_one_caret() -> None:
    source = Source("mha.yaml", "a: b +\n")
    item = Diagnostic("ATT204", "too early", Span(source, 6, 6))
    assert marks(item) == ("a: b +", "      ^")


def test_tabs_and_wide_characters_keep_carets_in_place() -> None:
    assert marks(diagnostic("a:\tkk", "kk")) == ("a:  kk", "    ^^")
    assert marks(diagnostic("名: kk", "kk")) == ("名: kk", "    ^^")
    assert marks(diagnostic("é: kk", "kk")) == ("é: kk", "   ^^")
    assert marks(diagnostic("e\u0301: kk", "kk")) == ("e\u0301: kk", "   ^^")


def test_carriage_returns_are_not_shown() -> None:
    assert marks(diagnostic("a: kk\r\nb: 1\r\n", "kk")) == ("a: kk", "   ^^")


def test_invisible_characters_are_shown_by_number() -> None:
    item = diagnostic("a: x\u202ey", "\u202e")
    assert marks(item) == ("a: x<U+202E>y", "    ^^^^^^^^")


def test_messages_cannot_smuggle_control_characters() -> None:
    item = diagnostic("a: kk", "kk", "bad \x1b[2J name")
    assert "\x1b" not in render_full(item)
    assert "\x1b" not in render_concise(item)


@pytest.mark.parametrize("place", [0, 40, 95, 500, 980])
def test_long_lines_are_cut_around_the_carets(place: int) -> None:
    text = "a" * place + "KK" + "b" * (1000 - place)
    excerpt, carets = marks(diagnostic(text, "KK"))
    assert len(excerpt) <= MAX_COLUMNS
    at = excerpt.index("KK")
    assert carets == " " * at + "^^"
    assert excerpt.endswith("…") == (place < 950)
    assert excerpt.startswith("…") == (place > 48)


def test_the_end_of_a_long_line_is_shown_whole() -> None:
    excerpt, carets = marks(diagnostic("a" * 1000 + "KK", "KK"))
    assert excerpt.endswith("aKK")
    assert carets.endswith(" ^^")
    assert len(carets) == len(excerpt)


def test_carets_end_where_the_window_does() -> None:
    text = "a" * 1000
    excerpt, carets = marks(diagnostic(text, text))
    assert len(carets) < len(excerpt) <= MAX_COLUMNS


def test_an_empty_source_has_no_excerpt() -> None:
    item = Diagnostic("ATT101", "there is no such file", Span(Source("no.yaml", ""), 0, 0))
    assert render_full(item) == "no.yaml:1:1: error[ATT101]: there is no such file"


def test_one_line_is_concise() -> None:
    item = diagnostic("a: kk", "kk", "unknown name `kk`", help="did you mean `k`?")
    assert render_concise(item) == "mha.yaml:1:4: error[ATT401]: unknown name `kk`"


def test_github_commands_escape_what_would_end_them() -> None:
    source = Source("a,b:c.yaml", "a: kk")
    item = Diagnostic("ATT401", "50% of\nnames", Span(source, 3, 5), "ask")
    assert render_github(item) == (
        "::error title=ATT401,file=a%2Cb%3Ac.yaml,line=1,col=4,endLine=1,endColumn=6"
        "::50%25 of%0Anames; ask"
    )


def test_json_has_places_that_count_from_one() -> None:
    item = diagnostic("a: kk", "kk", "unknown name `kk`", help="ask")
    noted = Diagnostic(item.code, item.message, item.span, "ask", (Note(item.span, "here"),))
    place = {
        "file": "mha.yaml",
        "location": {"line": 1, "column": 4},
        "end_location": {"line": 1, "column": 6},
    }
    assert to_json(noted) == {
        "code": "ATT401",
        "message": "unknown name `kk`",
        "severity": "error",
        **place,
        "help": "ask",
        "notes": [{"label": "here", **place}],
    }
    json.dumps(to_json(noted))


def test_colour_is_added_by_the_caller() -> None:
    roles: set[Role] = set()

    def style(text: str, role: Role) -> str:
        roles.add(role)
        return f"<{text}>" if role == "caret" else text

    shown = render_full(diagnostic("a: kk", "kk", help="ask"), style)
    assert "<^^>" in shown
    assert {"location", "error", "message", "gutter", "caret", "help"} == roles


def test_an_error_reads_as_its_diagnostics() -> None:
    item = diagnostic("a: kk", "kk")
    assert str(SpecError((item, item))) == f"{render_full(item)}\n\n{render_full(item)}"


@given(st.text(max_size=300), st.data())
def test_any_span_of_any_text_can_be_shown(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    item = Diagnostic("ATT401", text, Span(Source(text, text), start, end), text)
    for shown in (render_full(item), render_concise(item), render_github(item)):
        assert "\x1b" not in shown
    json.dumps(to_json(item))


# The table of mistakes

SOURCES = sorted(Path(attnc.dsl.__file__).parent.rglob("*.py"))
USED = {
    code
    for path in SOURCES
    if path.name != "mistakes.py"
    for code in re.findall(r'"(ATT\d{3})"', path.read_text("utf-8"))
}
# No text can make these: they are about files, and shown by commands.
ABOUT_FILES = {"ATT403", *(f"ATT10{digit}" for digit in range(1, 6))}


def test_every_code_in_use_is_explained() -> None:
    assert sorted(USED - set(MISTAKES)) == []


def test_every_explained_mistake_of_text_and_syntax_is_in_use() -> None:
    assert sorted(code for code in MISTAKES if code < "ATT300" and code not in USED) == []


def test_explanations_are_complete() -> None:
    for mistake in MISTAKES.values():
        assert all(mistake)
        assert mistake.explanation.endswith(".")
        assert not mistake.title.endswith(".")


def codes_of(text: str) -> set[str]:
    """The codes that reading a text and parsing each score in it reports."""
    report = Report()
    root = read(Source("spec.yaml", text), report)
    for node in scores(root) if root else ():
        parse_expression(node, report)
    return {item.code for item in report.diagnostics}


def scores(node: Node) -> list[Scalar]:
    match node:
        case Mapping():
            here = [v for key, v in node.entries if key.value == "score" and isinstance(v, Scalar)]
            return here + [found for _, value in node.entries for found in scores(value)]
        case Sequence():
            return [found for item in node.items for found in scores(item)]
        case Scalar():
            return []


@pytest.mark.parametrize("code", sorted(c for c in MISTAKES if c < "ATT300"))
def test_examples_make_the_mistake_and_mend_it(code: str) -> None:
    if code in ABOUT_FILES:
        pytest.skip("about a file, not its text")
    assert codes_of(MISTAKES[code].wrong) == {code}
    assert codes_of(MISTAKES[code].right) == set()


@pytest.mark.parametrize("code", sorted(c for c in MISTAKES if "ATT300" < c < "ATT600"))
def test_examples_of_whole_specs_make_the_mistake_and_mend_it(code: str) -> None:
    if code in ABOUT_FILES:
        pytest.skip("about several files")
    assert checked_codes(MISTAKES[code].wrong) == {code}
    assert checked_codes(MISTAKES[code].right) == set()


def checked_codes(example: str) -> set[str]:
    """The codes that checking an example as a whole spec reports."""
    checked = check(source=Source("mine.yaml", whole(example)))
    return {item.code for item in checked.diagnostics}


# Speed


def test_reading_and_parsing_import_nothing_heavy() -> None:
    program = (
        "import sys, attnc.dsl.reader, attnc.dsl.parser, attnc.dsl.render;"
        "print([m for m in ('torch', 'numpy', 'rich', 'jinja2', 'click') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
