"""The JSON Schema accepts exactly what the loader does, as far as structure goes."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attnc.dsl import reader, sections
from attnc.dsl.diagnostics import Report
from attnc.dsl.document import Loader
from attnc.dsl.library import library_paths, prelude_path
from attnc.dsl.reader import Mapping, Node, Sequence
from attnc.dsl.schema import json_schema
from attnc.dsl.shapes import (
    Choice,
    Either,
    Expression,
    Flag,
    Identifier,
    Lazy,
    ListOf,
    MapOf,
    Number,
    Record,
    Shape,
    Text,
)
from attnc.dsl.source import Source
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

VALIDATOR = Draft7Validator(json_schema())
STRUCTURAL = {"ATT122", "ATT123", "ATT201", "ATT301", "ATT302", "ATT303", "ATT304", "ATT305"}


def structural_mistakes(text: str) -> set[str]:
    """The codes that the loader reports about the structure of a text."""
    report = Report()
    Loader(report).read(Source("spec.yaml", text), None)
    return STRUCTURAL & {item.code for item in report.diagnostics}


def plain(node: Node) -> Any:
    """A node as JSON values, read as the YAML 1.2 core schema does."""
    if isinstance(node, Mapping):
        return {key.value: plain(value) for key, value in node.entries}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    if reader.is_null(node):
        return None
    for read in (reader.as_bool, reader.as_int, reader.as_float):
        value = read(node)
        if value is not None:
            return value
    return node.value


# Random documents


def example(shape: Shape, rng: random.Random, depth: int = 0) -> Any:
    """A value that a shape accepts."""
    match shape:
        case Expression():
            return rng.choice(["dot(q, k)", "i - j", "d_head", 3, 0.5, True, "("])
        case Text():
            return rng.choice(["a text", "", 7, 0.5, True, None])
        case Identifier():
            return rng.choice(["softmax", "a1", "q_g"])
        case Number():
            return rng.choice([1, 12]) if shape.whole else rng.choice([1, -0.5, 1e9])
        case Flag():
            return rng.choice([True, False])
        case Choice():
            return rng.choice(shape.values)
        case Lazy():
            return example(sections.NAMED[shape.name], rng, depth + 1)
        case ListOf():
            if shape.single and rng.random() < 0.3:
                return example(shape.item, rng, depth + 1)
            return [example(shape.item, rng, depth + 1) for _ in range(short(rng, depth))]
        case MapOf():
            names = rng.sample(["a", "b2", "long_name"], min(short(rng, depth), 3))
            if shape.signatures:
                names = [rng.choice([name, f"{name}(p, q=1)"]) for name in names]
            return {
                name: example_or_null(shape.value, shape.removable, rng, depth) for name in names
            }
        case Record():
            return example_of_record(shape, rng, depth)
        case Either():
            inner = [item for item in (shape.scalar, shape.mapping, shape.sequence) if item]
            return example(inner[0] if depth > 6 else rng.choice(inner), rng, depth)


def short(rng: random.Random, depth: int) -> int:
    return rng.randrange(max(1, 4 - depth // 2))


def example_or_null(shape: Shape, removable: bool, rng: random.Random, depth: int) -> Any:
    return None if removable and rng.random() < 0.1 else example(shape, rng, depth + 1)


def example_of_record(shape: Record, rng: random.Random, depth: int) -> dict[str, Any]:
    keys = list(shape.fields)
    if shape.is_choice:
        chosen = [rng.choice(keys)]
    else:
        likely = 0.3 / (1 + depth)
        chosen = [key for key in keys if key in shape.required or rng.random() < likely]
    rng.shuffle(chosen)
    made = {
        key: example_or_null(shape.fields[key], key in shape.removable, rng, depth)
        for key in chosen
    }
    if shape.rest is not None and rng.random() < 0.5:
        made["another"] = example(shape.rest, rng, depth + 1)
    return made


JUNK: tuple[Any, ...] = (
    None, True, 0, 1, -3, 0.5, "", "  ", "x", "strict", "true", "1", "Upper", "a-b", "__import__",
    [], ["x"], [None], [["x"]], {}, {"x": "y"}, {"attend": {}}, {"default": 3}, "x\ny",
)  # fmt: skip
KEYS = ("x", "attend", "default", "score", "let", "null", "not", "A", "1", "a b", "f(x)", "", "él")


def mutated(value: Any, rng: random.Random) -> Any:
    """The document with a value replaced, or a key renamed, added or removed."""
    value = copy.deepcopy(value)
    place = rng.choice(list(containers(value)))
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    what = rng.randrange(4)
    if what == 0 and isinstance(place, dict):
        place[rng.choice(KEYS)] = rng.choice(JUNK)
    elif what == 1 and isinstance(place, list):
        place.append(rng.choice(JUNK))
    elif keys and what == 2:
        del place[rng.choice(keys)]
    elif keys and what == 3 and isinstance(place, dict):
        place[rng.choice(KEYS)] = place.pop(rng.choice(keys))
    elif keys:
        place[rng.choice(keys)] = rng.choice(JUNK)
    return value


def containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from containers(item)


# What holds


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_loader_and_schema_accept_documents_of_the_shapes(seed: int) -> None:
    document = example(sections.SPEC, random.Random(seed))
    VALIDATOR.validate(document)
    assert structural_mistakes(json.dumps(document)) == set()


@settings(max_examples=600)
@given(st.integers(0, 2**32))
def test_loader_and_schema_refuse_the_same_documents(seed: int) -> None:
    rng = random.Random(seed)
    document = mutated(example(sections.SPEC, rng), rng)
    text = json.dumps(document)
    assert VALIDATOR.is_valid(document) == (not structural_mistakes(text)), text


@pytest.mark.parametrize("path", [*library_paths().values(), prelude_path()], ids=lambda p: p.stem)
def test_the_library_fits_the_schema(path: Path) -> None:
    report = Report()
    root = reader.read(Source(path.name, path.read_text("utf-8")), report)
    assert root is not None
    VALIDATOR.validate(plain(root))


def test_the_schema_is_sound_and_says_its_version() -> None:
    schema = json_schema()
    Draft7Validator.check_schema(schema)
    assert schema["$schema"].startswith("http://json-schema.org/draft-07/")
    assert schema["$id"].endswith(f":{sections.VERSION}")


def test_every_section_has_a_title_and_a_description() -> None:
    for key, value in json_schema()["properties"].items():
        assert value["title"] == key
        assert value.get("description") or key in ("project", "tokens", "let"), key
