"""YAML text -> nodes: what is read, where it stands, and what is refused."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml
from attnc.dsl import composer, reader
from attnc.dsl.diagnostics import Report
from attnc.dsl.reader import Mapping, Scalar, Sequence, as_bool, as_float, as_int, is_null, read
from attnc.dsl.source import Source
from hypothesis import given
from hypothesis import strategies as st


def read_text(text: str) -> tuple[Mapping | None, Report]:
    report = Report()
    return read(Source("spec.yaml", text), report), report


def read_value(text: str) -> Scalar:
    """The value of the only key of a sound text."""
    root, report = read_text(text)
    assert root is not None
    assert report.diagnostics == []
    value = root.entries[0][1]
    assert isinstance(value, Scalar)
    return value


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers of PyYAML, since the one in C is not everywhere."""
    monkeypatch.setattr(composer, "_LOADER", getattr(yaml, request.param))


# What is read


@pytest.mark.parametrize(
    ("text", "style", "value", "whole", "content"),
    [
        ("a: x + y\n", "plain", "x + y", "x + y", "x + y"),
        ("a: x +\n  y # c\n", "plain", "x + y", "x +\n  y", "x +\n  y"),
        ("a: 'x + y' # c\n", "single", "x + y", "'x + y'", "x + y"),
        ('a: "x + y"\n', "double", "x + y", '"x + y"', "x + y"),
        ("a: |  # c\n  x\n  y\n\nb: 1\n", "literal", "x\ny\n", "|  # c\n  x\n  y", "  x\n  y"),
        ("a: >-\n  x\n  y\n# c\nb: 1\n", "folded", "x y", ">-\n  x\n  y", "  x\n  y"),
        ("a: &n x\n", "plain", "x", "x", "x"),
        ("a: &n # c\n  x\n", "plain", "x", "x", "x"),
        ("a: &n 'x'\n", "single", "x", "'x'", "x"),
        ("a: &n |\n  # x\n", "literal", "# x\n", "|\n  # x", "  # x"),
        ("a: |2-\n    x", "literal", "  x", "|2-\n    x", "    x"),
        ("a: 'Ω 😀' # c\n", "single", "Ω 😀", "'Ω 😀'", "Ω 😀"),
    ],
)
@pytest.mark.usefixtures("loader")
def test_each_scalar_style_keeps_the_exact_place_of_its_text(
    text: str, style: str, value: str, whole: str, content: str
) -> None:
    for variant in (text, text.replace("\n", "\r\n")):
        root, _ = read_text(variant)
        assert root is not None
        scalar = root.entries[0][1]
        assert isinstance(scalar, Scalar)
        assert (scalar.style, scalar.value) == (style, value)
        assert scalar.span.text.replace("\r", "") == whole
        assert scalar.content.text.replace("\r", "") == content


@pytest.mark.usefixtures("loader")
def test_collections_end_where_their_last_value_does() -> None:
    root, _ = read_text("a:\n  b: [1, 2]\n  c: {d: e}\n\n# comment\nf: 1\n")
    assert root is not None
    a = root.get("a")
    assert isinstance(a, Mapping)
    assert a.span.text == "b: [1, 2]\n  c: {d: e}"
    b = a.get("b")
    assert isinstance(b, Sequence)
    assert b.span.text == "[1, 2]"
    assert [item.span.text for item in b.items] == ["1", "2"]


def test_an_alias_stands_for_the_node_it_names() -> None:
    root, report = read_text("a: &n [x]\nb: *n\n")
    assert root is not None
    assert report.diagnostics == []
    assert root.get("a") is root.get("b")


def test_positions_do_not_change_what_equals_what() -> None:
    assert read_value("a: x") == read_value("\n\na:   x")


def test_keys_can_be_found_with_their_place() -> None:
    root, _ = read_text("a: 1\nb: 2")
    assert root is not None
    key = root.key("b")
    assert key is not None
    assert (key.span.line, key.span.column) == (2, 1)
    assert root.key("c") is None
    assert root.get("c") is None


@pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL"])
def test_null_is_read_as_yaml_1_2_does(text: str) -> None:
    assert is_null(read_value(f"a: {text}"))


@pytest.mark.parametrize("text", ["'null'", '""', "nil", "0", "none"])
def test_what_is_not_null_stays_text(text: str) -> None:
    assert not is_null(read_value(f"a: {text}"))


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("false", False), ("yes", None), ("on", None), ("'true'", None), ("1", None)],
)
def test_only_true_and_false_are_booleans(text: str, value: bool | None) -> None:
    assert as_bool(read_value(f"a: {text}")) is value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("+7", 7),
        ("007", 7),
        ("0o17", 15),
        ("0xff", 255),
        ("1_000", None),
        ("0b1", None),
        ("1:30", None),
        ("1.0", None),
        ("'1'", None),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None),
        ("9" * 5000, None),
        ("0" * 5000, None),
    ],
)
def test_integers_are_read_as_yaml_1_2_does(text: str, value: int | None) -> None:
    assert as_int(read_value(f"a: {text}")) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1.5", 1.5),
        (".5", 0.5),
        ("3.", 3.0),
        ("3", 3.0),
        ("0x10", 16.0),
        ("-.inf", float("-inf")),
        ("1e999", None),
        ("inf", None),
        ("nan", None),
        ("1e", None),
        ("'1.5'", None),
    ],
)
def test_numbers_are_read_as_yaml_1_2_does(text: str, value: float | None) -> None:
    assert as_float(read_value(f"a: {text}")) == value


def test_a_collection_is_no_number() -> None:
    root, _ = read_text("a: [1]")
    assert root is not None
    assert as_int(root.entries[0][1]) is None
    assert as_float(root) is None


# What is refused


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "marked"),
    [
        ("", "ATT108", 1, 1, ""),
        ("# only a comment\n", "ATT108", 1, 1, ""),
        ("---\n", "ATT108", 1, 1, ""),
        ("- a\n- b", "ATT109", 1, 1, "- a\n- b"),
        ("text", "ATT109", 1, 1, "text"),
        ("a: 1\n---\nb: 2", "ATT110", 2, 1, "---"),
        ("a: b: c", "ATT111", 1, 5, ":"),
        ("a: 'x\nb: 1\n", "ATT111", 1, 4, "'"),
        ("a: [x, y", "ATT111", 1, 4, "["),
        ("a: @x", "ATT111", 1, 4, "@"),
        ("a: * 2", "ATT111", 1, 4, "*"),
        ('a: "\\q"', "ATT111", 1, 5, "\\"),
        ("a: }", "ATT111", 1, 4, "}"),
        ("a:\n\tb: 1", "ATT112", 2, 1, "\t"),
        ("a:\n  \tb: 1\n  c: 2", "ATT112", 2, 3, "\t"),
        ("a: &n [1, *n]", "ATT115", 1, 11, "*n"),
        ("a: *n", "ATT116", 1, 4, "*n"),
        ("a: &n 1\nb: &n 2", "ATT117", 2, 4, "&n"),
        ("a:\n  <<: {b: 1}", "ATT118", 2, 3, "<<"),
        ("a: !!int 3", "ATT119", 1, 4, "!!int"),
        ("a: !not x", "ATT119", 1, 4, "!not"),
        ("a: &n !t [x]", "ATT119", 1, 7, "!t"),
        ("a: !!python/object/apply:os.system [ls]", "ATT119", 1, 4, None),
        ("a: 1\n'a': 2", "ATT120", 2, 1, "'a'"),
        ("? [a]\n: 1", "ATT121", 1, 3, "["),
        ("a: &n x\n*n : 1", "ATT121", 2, 1, "*n"),
        ("a: {'': 1}", "ATT122", 1, 5, "''"),
        ("a:\n  ? \n  : 1", "ATT122", 2, 4, ""),
        ("a: {b: f[0]}", "ATT123", 1, 9, "["),
        ("a: x\0y", "ATT106", 1, 5, "\0"),
        ("a: x\x1b[2J", "ATT106", 1, 5, "\x1b"),
        ("a: x\ry", "ATT106", 1, 5, "\r"),
        ("a: x\ud800", "ATT106", 1, 5, "\ud800"),
        ("a: x\uffff", "ATT106", 1, 5, "\uffff"),
        ("a: \u202etxet", "ATT107", 1, 4, "\u202e"),
        ("a: x\u200by", "ATT107", 1, 5, "\u200b"),
        ("\ufeffa: x", "ATT107", 1, 1, "\ufeff"),
        ("a: x\u2028y", "ATT107", 1, 5, "\u2028"),
    ],
)
@pytest.mark.usefixtures("loader")
def test_each_mistake_has_its_code_and_exact_place(
    text: str, code: str, line: int, column: int, marked: str | None
) -> None:
    _, report = read_text(text)
    (found,) = report.diagnostics
    assert (found.code, found.span.line, found.span.column) == (code, line, column)
    assert found.help
    if marked is not None:
        assert found.span.text == marked


def test_a_repeated_key_points_at_the_first_and_keeps_it() -> None:
    root, report = read_text("a: 1\nb: 2\na: 3")
    (note,) = report.diagnostics[0].notes
    assert (note.span.line, note.label) == (1, "first here")
    assert root is not None
    assert [(key.value, node.span.text) for key, node in root.entries] == [("a", "1"), ("b", "2")]


def test_independent_mistakes_are_reported_together() -> None:
    _, report = read_text("a: !t 1\na: 2\n<<: 3\n")
    assert [item.code for item in report.diagnostics] == ["ATT119", "ATT120", "ATT118"]


def test_a_hint_about_quotes_helps_with_cut_expressions() -> None:
    _, report = read_text("a: {b: f[0]}")
    assert "quote" in report.diagnostics[0].help


# Limits


def test_64_levels_are_read_and_65_are_not() -> None:
    assert read_text("a: " + "[" * 62 + "x" + "]" * 62)[0] is not None
    _, report = read_text("a: " + "[" * 63 + "x" + "]" * 63)
    (found,) = report.diagnostics
    assert (found.code, found.span.column) == ("ATT113", 67)


def test_aliases_cannot_go_around_the_limit_of_depth() -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 70)]
    _, report = read_text("\n".join(lines))
    assert [item.code for item in report.diagnostics] == ["ATT113"]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_ten_thousand_levels_are_refused(opening: str) -> None:
    _, report = read_text(opening * 10_000)
    assert [item.code for item in report.diagnostics] == ["ATT113"]


def test_ten_thousand_values_are_the_limit() -> None:
    # Counted are the mapping, its key and the list besides the values.
    assert read_text(f"a: [{'x, ' * 9_997}]")[0] is not None
    _, report = read_text(f"a: [{'x, ' * 9_998}]")
    assert [item.code for item in report.diagnostics] == ["ATT114"]


def test_a_bomb_of_aliases_is_refused_at_the_alias_that_passes_the_limit() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    _, report = read_text("\n".join(lines))
    (found,) = report.diagnostics
    assert (found.code, found.span.line) == ("ATT114", 4)


def test_the_size_limit_counts_bytes() -> None:
    fits = "a: " + "x" * (reader.MAX_BYTES - 3)
    assert read_text(fits)[0] is not None
    assert read_text(fits + "x")[1].diagnostics[0].code == "ATT104"
    assert read_text("a: " + "é" * (reader.MAX_BYTES // 2))[1].diagnostics[0].code == "ATT104"


def test_a_megabyte_is_refused_unread() -> None:
    assert read_text("\0" * 1_000_000)[1].diagnostics[0].code == "ATT104"


def test_a_flood_of_bad_characters_is_reported_in_part() -> None:
    _, report = read_text("\x01" * 1000)
    assert len(report.diagnostics) == 10


# Files


def test_a_file_is_read_with_its_path_as_name(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: \xc3\xa9\r\n")
    source = reader.read_source(path, Report())
    assert source is not None
    assert (source.name, source.text) == (str(path), "a: é\r\n")


def test_a_missing_file_is_reported_at_its_name(tmp_path: Path) -> None:
    report = Report()
    assert reader.read_source(tmp_path / "no.yaml", report) is None
    (found,) = report.diagnostics
    assert (found.code, found.span.source.name) == ("ATT101", str(tmp_path / "no.yaml"))


def test_a_directory_is_no_spec(tmp_path: Path) -> None:
    report = Report()
    assert reader.read_source(tmp_path, report) is None
    assert report.diagnostics[0].code == "ATT102"


@pytest.mark.parametrize("name", ["nul\0name", "x" * 5000])
def test_an_impossible_path_is_reported(name: str) -> None:
    report = Report()
    assert reader.read_source(name, report) is None
    assert report.diagnostics[0].code == "ATT103"


def test_a_device_without_end_is_not_read_to_its_end() -> None:
    report = Report()
    assert reader.read_source("/dev/zero", report) is None
    assert report.diagnostics[0].code == "ATT104"


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [(b"a: \xe9", 1, 4), (b"a: \xc3\xa9\nb: \xff", 2, 4), ("a: é".encode("utf-16"), 1, 1)],
)
def test_bytes_that_are_not_utf8_are_shown_in_place(
    tmp_path: Path, data: bytes, line: int, column: int
) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(data)
    report = Report()
    assert reader.read_source(path, report) is None
    (found,) = report.diagnostics
    assert (found.code, found.span.line, found.span.column) == ("ATT105", line, column)


# Anything at all

YAML_PIECES = st.sampled_from(
    "a¦b: ¦: ¦- ¦[¦]¦{¦}¦,¦&x ¦*x¦!t ¦'¦\"¦|\n¦>-\n¦\n¦\n  ¦\r\n¦\t¦#¦ ¦<<¦---\n¦...¦?¦\\¦%¦é¦\ufeff".split(
        "¦"
    )
)


@given(st.one_of(st.text(), st.lists(YAML_PIECES, max_size=40).map("".join)))
def test_no_text_makes_reading_fail_without_a_diagnostic(text: str) -> None:
    root, report = read_text(text)
    assert root is not None or report.errors
    for item in report.diagnostics:
        assert 0 <= item.span.start <= item.span.end <= len(text)


@given(st.binary())
def test_no_bytes_make_decoding_fail_without_a_diagnostic(data: bytes) -> None:
    report = Report()
    source = reader._decode("spec.yaml", data, report)
    assert source is not None or report.errors


def test_mutations_of_a_spec_never_crash() -> None:
    spec = "dims:\n  d: {default: 3}\nlet:\n  - &n 'x'\n  - *n\nscore: |\n  dot(q, k)\n"
    rng = random.Random(0)
    for _ in range(2000):
        chars = list(spec)
        for _ in range(rng.randint(1, 4)):
            chars[rng.randrange(len(chars))] = rng.choice("{}[]:,&*!|>'\"%@`#\t\n -?")
        root, report = read_text("".join(chars))
        assert root is not None or report.errors
