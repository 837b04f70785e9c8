"""Attacks on the front end: whatever is written, `check` answers, soon, and points into the file.

Specs of the library are mutated, by lines and tokens and by grafts of one expression into another,
and documents are made up. Thousands of them were run by hand; a sample runs here.
"""

from __future__ import annotations

import random
import re
import time
from functools import cache

from attnc.dsl.api import check
from attnc.dsl.elaborate.calls import FUNCTIONS
from attnc.dsl.library import library_paths
from attnc.dsl.render import render_full
from attnc.dsl.source import Source, Span
from hypothesis import given, settings
from hypothesis import strategies as st

SECONDS = 1.0
TOKEN = re.compile(r"[A-Za-z_]\w*|\d+(?:\.\d+)?|<=|>=|==|!=|\*\*|//|[ ]+|.")
EXPRESSION = re.compile(r"(?<=: )[^{}\[\]#\"'|]*[^{}\[\]#\"'|\s]$", re.MULTILINE)
SIGNS = "+ - * / // % ** @ < <= == != and or not . , : ( ) [ ] { } & * ! | > ' \"".split()
NUMBERS = "0 1 2 -1 7 0.5 1e-5 1e300 4096 99999999999".split()
WORDS = [
    *"""i j b h g s x context heads super d_model d_head d_value kv_head first last own
    true false null attend recur iterate stack use spec with layers times carry next yield step
    over where to as lse weights scores q k v""".split(),
    *sorted(FUNCTIONS),
]
HEADER = ("#", "attnc:", "name:", "doc:", "cite:", "entry:")


@cache
def library() -> tuple[tuple[str, ...], ...]:
    """The lines of every built-in spec, without its header."""
    texts = (path.read_text("utf-8") for path in library_paths().values())
    return tuple(
        tuple(line for line in text.splitlines() if not line.startswith(HEADER)) for text in texts
    )


@cache
def expressions() -> tuple[str, ...]:
    """Plain expressions of the library."""
    return tuple(
        found for lines in library() for found in EXPRESSION.findall("\n".join(lines)) if found
    )


def mutated(rng: random.Random) -> str:
    """A spec of the library with a few things moved, doubled, lost or exchanged."""
    lines = list(rng.choice(library()))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        place = rng.randrange(len(lines))
        what = rng.randrange(10)
        if what == 0 and len(lines) > 1:
            del lines[place]
        elif what == 1:
            other = rng.randrange(len(lines))
            lines[place], lines[other] = lines[other], lines[place]
        elif what == 2:
            lines.insert(place, rng.choice(rng.choice(library())))
        elif what < 6:
            lines[place] = grafted(lines[place], rng)
        else:
            lines[place] = retokened(lines[place], rng)
    return "\n".join(["attnc: 1", "name: m", *lines])


def grafted(line: str, rng: random.Random) -> str:
    """The line with its expression, or a word of it, replaced by another expression."""
    new = rng.choice(expressions())
    if rng.random() < 0.5:
        return EXPRESSION.sub(lambda _: new, line, count=1)
    words = list(re.finditer(r"\b[a-z_]\w*\b(?!\s*[:(=])", line))
    if not words:
        return line
    word = rng.choice(words)
    return f"{line[: word.start()]}({new}){line[word.end() :]}"


def retokened(line: str, rng: random.Random) -> str:
    """The line with one token lost, doubled, moved or exchanged for one of its own sort."""
    tokens = TOKEN.findall(line)
    places = [n for n, token in enumerate(tokens) if token.strip()]
    if not places:
        return line
    place, other = rng.choice(places), rng.choice(places)
    token = tokens[place]
    match rng.randrange(5):
        case 0:
            del tokens[place]
        case 1:
            tokens.insert(other, token)
        case 2:
            tokens[place], tokens[other] = tokens[other], token
        case _:
            sort = WORDS if token[0].isalpha() else NUMBERS if token[0].isdigit() else SIGNS
            tokens[place] = rng.choice(sort)
    return "".join(tokens)


def made_up(rng: random.Random, depth: int = 0) -> str:
    """A random structure in flow style, of words that mean something in places."""
    kind = rng.randrange(5) if depth < 5 else 4
    if kind < 2:
        keys = [rng.choice([*WORDS, "let", "score", "value", "mask"]) for _ in range(3)]
        return "{" + ", ".join(f"{key}: {made_up(rng, depth + 1)}" for key in keys) + "}"
    if kind == 2:
        return "[" + ", ".join(made_up(rng, depth + 1) for _ in range(rng.randrange(3))) + "]"
    return f'"{rng.choice(expressions())}"' if kind == 3 else rng.choice([*WORDS, *NUMBERS])


def check_answers(text: str) -> None:
    """Checking ends in time, without an exception, and every place is inside its file."""
    started = time.process_time()
    diagnostics = check(source=Source("m.yaml", text)).diagnostics
    assert time.process_time() - started < SECONDS
    for item in diagnostics:
        assert item.message
        assert all(is_inside(span) for span in (item.span, *(note.span for note in item.notes)))
        render_full(item)


def is_inside(span: Span) -> bool:
    return 0 <= span.start <= span.end <= len(span.source.text)


@settings(max_examples=250)
@given(st.integers(0, 2**32))
def test_mutated_specs_are_answered(seed: int) -> None:
    check_answers(mutated(random.Random(seed)))


@settings(max_examples=100)
@given(st.integers(0, 2**32))
def test_made_up_structures_are_answered(seed: int) -> None:
    rng = random.Random(seed)
    sections = rng.sample(
        ["dims", "axes", "weights", "let", "tokens", "out", "score", "sources"], 4
    )
    lines = [f"{section}: {made_up(rng)}" for section in sections]
    check_answers("\n".join(["attnc: 1", "name: m", *lines]))


@settings(max_examples=50)
@given(st.text(max_size=200))
def test_any_text_is_answered(text: str) -> None:
    check_answers(text)
