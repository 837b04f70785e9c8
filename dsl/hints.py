"""What is wrong with an expression that does not parse, in plain words.

Lark says where it stopped and which terminals it would have taken. The place and the character
found there are often enough to say what was meant.
"""

from __future__ import annotations

import re

from lark import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from .diagnostics import Note, Report
from .nodes import Scalar
from .source import Span

# What stands at the error -> what to do. In order: the first that matches from there on.
_HINTS: tuple[tuple[str, str], ...] = (
    (r"&&?", "write `and`"),
    (r"\|\|?", "write `or`"),
    (r"!(?!=)|~|¬", "write `not`"),
    (r"\^", "use `**` for powers, `^` is not an operator"),
    (r"=(?!=)", "use `==` to compare; `name=value` stands only among the arguments of a call"),
    (r"==", "comparisons need something on both sides"),
    (r"::?", "there are no slices or type marks; `:` has no meaning in an expression"),
    (r"['\"]", "there are no strings; write names without quotes"),
    (r"#", "comments cannot stand inside an expression"),
    (r";", "an expression is a single value, without `;`"),
    (r"\?", "write `where(condition, a, b)`"),
    (r"\$", "names stand for themselves, without `$`"),
    (r"[{}]", "there are no sets or dictionaries; group with `(` and `)`"),
    (r"\\", "an expression goes on over several lines without a backslash"),
    (r"[×·∗]", "write `*`"),
    (r"[−–—]", "write `-` (the ASCII one)"),
    (r"÷", "write `/`"),
    (r"≤", "write `<=`"),
    (r"≥", "write `>=`"),
    (r"≠", "write `!=`"),
    (r"[²³]", "write `** 2`, `** 3`"),
    (r"if\b", "write `where(condition, a, b)`"),
    (r"True\b", "write `true`"),
    (r"False\b", "write `false`"),
    (r"None\b|null\b", "there is no null in expressions"),
    (r"in\b|is\b|for\b|lambda\b|else\b", "the language has no such word"),
    (r"not\b", "put brackets around it: `(not a)`"),
    (r"[A-Z]\w*", "names are written in lower case"),
    (r"_\w*", "names begin with a lower-case letter"),
    (r"[^\x00-\x7f]", "names and signs are ASCII; does this only look like a letter?"),
)
_HINT_PATTERNS = tuple((re.compile(pattern), hint) for pattern, hint in _HINTS)

# Terminals, grouped as a reader thinks of them, in the order in which they are named.
_EXPECTED: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"NUMBER", "LPAR"}), "an expression"),
    (frozenset({"NAME"}), "a name"),
    (frozenset({"ADD"}), "an operator"),
    (frozenset({"COMMA"}), "`,`"),
    (frozenset({"RPAR"}), "`)`"),
    (frozenset({"RSQB"}), "`]`"),
)
_WORD = re.compile(r"\w+|<=|>=|==|!=|//|\*\*|&&|\|\||\S|\Z")
_OPENING = {"(": ")", "[": "]"}


def report_syntax(error: UnexpectedInput, node: Scalar, report: Report) -> None:
    """Report the place at which parsing stopped, and what would have fitted there."""
    text = node.content.text
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        _report_end(error, node, report)
        return
    start = error.pos_in_stream or 0
    match = _WORD.match(text, start)
    found = match[0] if match else text[start]
    span = _span(node, start, start + len(found))
    expected = _expected(error)
    code = "ATT202" if isinstance(error, UnexpectedCharacters) else "ATT203"
    note = _unclosed(node, text[:start]) if "`)`" in expected or "`]`" in expected else ()
    message = f"unexpected {_quoted(found)}"
    report.error(code, message, span, _hint(text, start, expected), note)


def _report_end(error: UnexpectedToken, node: Scalar, report: Report) -> None:
    """The expression stops too early: point just behind its last character."""
    text = node.content.text
    end = len(text.rstrip())
    help = f"expected {_expected(error)}"
    if node.style == "plain" and _is_cut_by_flow(node):
        help = "inside `{...}` and `[...]` quote an expression that has a comma or a bracket"
    span = _span(node, end, end)
    report.error("ATT204", "the expression ends too early", span, help, _unclosed(node, text))


def _is_cut_by_flow(node: Scalar) -> bool:
    """Whether YAML took a comma or bracket of the expression for its own."""
    rest = node.span.source.text[node.span.end :].lstrip()
    return rest[:1] in (",", "[", "]", "{", "}") and bool(rest)


def _hint(text: str, start: int, expected: str) -> str:
    for pattern, hint in _HINT_PATTERNS:
        if pattern.match(text, start):
            return hint
    if "operator" in expected and re.search(r"[\d.]$", text[:start]) and text[start].isalpha():
        return "write a product with its `*`, as in `2 * x`"
    return f"expected {expected}"


def _expected(error: UnexpectedInput) -> str:
    """What would have fitted, in words: "an operator, `,` or `)`"."""
    if isinstance(error, UnexpectedToken):
        terminals = set(error.accepts or error.expected)
    else:
        terminals = set(getattr(error, "allowed", None) or ())
    words = [word for needed, word in _EXPECTED if needed <= terminals]
    if "an expression" in words:
        words = [word for word in words if word != "a name"]
    return _either(words) if words else "the end of the expression"


def _either(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _unclosed(node: Scalar, before: str) -> tuple[Note, ...]:
    """The innermost bracket still open where parsing stopped."""
    opened: list[int] = []
    for match in re.finditer(r"[()\[\]]", before):
        if match[0] in _OPENING:
            opened.append(match.start())
        elif opened:
            opened.pop()
    if not opened:
        return ()
    return (Note(_span(node, opened[-1], opened[-1] + 1), "opened here"),)


def _span(node: Scalar, start: int, end: int) -> Span:
    return Span(node.content.source, node.content.start + start, node.content.start + end)


def _quoted(text: str) -> str:
    return f'"{text}"' if "`" in text else f"`{text}`"
