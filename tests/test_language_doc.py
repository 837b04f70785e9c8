"""docs/language.md against the code: every function, key, limit and macro is there, as it is there.

That its examples pass the checks is the business of test_docs.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attnc
import pytest
import torch
from attnc.dsl import api, composer, parser, reader, sections
from attnc.dsl.core import Kind
from attnc.dsl.document import Loader
from attnc.dsl.elaborate import macros, reports, state, uses
from attnc.dsl.elaborate.calls import FUNCTIONS
from attnc.dsl.library import prelude_path
from attnc.dsl.operators import SYMBOLS
from attnc.dsl.render import render_concise
from attnc.dsl.shapes import Either, ListOf, MapOf, Record, Shape, Table
from attnc.dsl.source import Source

ROOT = Path(attnc.__file__).parent
TEXT = (ROOT / "docs" / "language.md").read_text("utf-8")
SPECS = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
REFUSED = re.findall(
    r"^```yaml fragment\n(.*?)^```\n\n```error\n(.*?)\n```$", TEXT, re.MULTILINE | re.DOTALL
)
ROWS = dict(re.findall(r"^\| `((\w+)\(.*?)` \| .+ \| .+ \|$", TEXT, re.MULTILINE))


def test_every_function_has_a_row_with_its_usage() -> None:
    assert set(ROWS.values()) == set(FUNCTIONS)
    assert set(ROWS) == {function.usage for function in FUNCTIONS.values()}


@pytest.mark.parametrize("symbol", sorted(SYMBOLS - {"neg", "as_ref"}))
def test_every_operator_is_described(symbol: str) -> None:
    described = TEXT[TEXT.index("Operators: ") : TEXT.index("Element-wise functions")]
    logic = TEXT[TEXT.index("Comparisons chain") : TEXT.index("**One scope.**")]
    assert re.search(rf"[` ]{re.escape(symbol)}[` ]", described + logic)


def test_the_grammar_is_that_of_the_parser() -> None:
    shown = re.search(r"^```lark\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert _rules(shown[1]) == _rules((ROOT / "dsl" / "grammar.lark").read_text("utf-8"))


def _rules(text: str) -> list[str]:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("//")]


def _keys(shape: Shape | None) -> Iterator[str]:
    """Every key that a shape names, at any depth."""
    match shape:
        case Record(fields=fields, rest=rest):
            yield from fields
            for inner in (*fields.values(), rest):
                yield from _keys(inner)
        case MapOf(value=value):
            yield from _keys(value)
        case ListOf(item=item):
            yield from _keys(item)
        case Either(scalar=scalar, mapping=mapping, sequence=sequence):
            for inner in (scalar, mapping, sequence):
                yield from _keys(inner)
        case _:
            pass


@pytest.mark.parametrize("key", sorted({*_keys(sections.SPEC), *_keys(sections.NAMED["layers"])}))
def test_every_key_is_described(key: str) -> None:
    assert re.search(rf"[`{{, ]{key}[`}},: ]", TEXT)


@pytest.mark.parametrize("word", [*sections.INITS, *sections.DISTRIBUTIONS, *state.RESERVED])
def test_words_with_a_meaning_are_listed(word: str) -> None:
    assert f"`{word}`" in TEXT


def test_the_limits_are_those_of_the_code() -> None:
    limits = TEXT[TEXT.index("**Limits.**") : TEXT.index("## 2.")]
    shown = [int(number.replace(",", "")) for number in re.findall(r"\b\d[\d,]*\b", limits)]
    assert shown == [
        reader.MAX_BYTES // 1024,
        composer.MAX_NODES,
        composer.MAX_DEPTH,
        parser.MAX_BYTES // 1024,
        parser.MAX_DEPTH,
        reports.LIMIT,
        macros.DEPTH,
        reports.LEVELS,
        uses.MOST_LAYERS,
        8,
        64,
    ]


def test_the_macros_of_the_prelude_are_listed() -> None:
    from attnc.dsl.diagnostics import Report

    layer = Loader(Report()).layer_of(prelude_path())
    assert layer is not None
    macros = layer.table.get("macros")
    assert isinstance(macros, Table)
    internal = {"sink_peak(s, sink, axis)"}
    assert [
        name for name in macros.entries if name not in internal and f"`{name}`" not in TEXT
    ] == []


@pytest.mark.parametrize("text", SPECS, ids=[re.findall(r"name: (\w+)", text)[0] for text in SPECS])
def test_an_example_computes(text: str) -> None:
    module = attnc.compile(attnc.loads(text), d_model=16, heads=4)
    inputs = {
        info.name: torch.zeros(2, 5, dtype=torch.int64)
        for info in module.spec.inputs.values()
        if info.type.kind is Kind.INT and info.default is None
    }
    lead = () if inputs else (torch.randn(2, 5, 16),)
    result = module.eval()(*lead, **inputs)
    main = result["x"] if isinstance(result, dict) else result
    assert main.isfinite().all()


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_is_said_to_be_refused_is_refused(text: str, message: str) -> None:
    report = api.check(source=Source("mine", text)).report
    assert f"mine:{message}" in [render_concise(item) for item in report.errors]


def test_there_are_examples() -> None:
    assert len(SPECS) >= 6
    assert len(REFUSED) == 2
