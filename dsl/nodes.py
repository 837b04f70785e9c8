"""The nodes of a YAML file: text, lists and mappings, each with its span.

Scalars stay text. `as_int` and its kin read them as the YAML 1.2 core schema does, when a caller
asks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .source import Span

ScalarStyle = Literal["plain", "single", "double", "literal", "folded"]


@dataclass(frozen=True, slots=True)
class Scalar:
    """One piece of text; `content` is where it stands without quotes or block header."""

    value: str
    style: ScalarStyle
    span: Span = field(compare=False, repr=False)
    content: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Sequence:
    """`[a, b]`, or lines that begin with `- `."""

    items: tuple[Node, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Mapping:
    """`{a: b}`, or lines of `a: b`; keys are unique scalars, in the order of the file."""

    entries: tuple[tuple[Scalar, Node], ...]
    span: Span = field(compare=False, repr=False)

    def get(self, name: str) -> Node | None:
        """The value of a key, if it is there."""
        return next((node for key, node in self.entries if key.value == name), None)

    def key(self, name: str) -> Scalar | None:
        """The key itself, for its span."""
        return next((key for key, _ in self.entries if key.value == name), None)


Node: TypeAlias = Scalar | Sequence | Mapping

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_BASES = {"0o": 8, "0x": 16}
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def is_null(node: Node) -> bool:
    """Whether the node is a plain `null`, `~` or nothing at all."""
    return _plain(node) in ("", "~", "null", "Null", "NULL")


def as_bool(node: Node) -> bool | None:
    """The truth value written, None for anything else (`yes` and `on` are text)."""
    return _BOOLS.get(_plain(node) or "")


def as_int(node: Node) -> int | None:
    """The integer written, None for anything else or beyond 64 bits."""
    text = _plain(node) or ""
    # Python refuses to read thousands of digits.
    if not _INT.fullmatch(text) or len(text) > 64:
        return None
    base = _BASES.get(text[:2], 10)
    value = int(text, base)
    return value if -(2**63) <= value < 2**63 else None


def as_float(node: Node) -> float | None:
    """The number written, integers included; None for anything else or beyond range."""
    text = _plain(node) or ""
    if match := _INFINITE.fullmatch(text):
        return float(match[1] + "inf")
    if text in (".nan", ".NaN", ".NAN"):
        return float("nan")
    if not _FLOAT.fullmatch(text):
        integer = as_int(node)
        return None if integer is None else float(integer)
    value = float(text)
    return None if value in (float("inf"), float("-inf")) else value


def _plain(node: Node) -> str | None:
    """The text of a plain scalar; quoted text is never a number, a bool or null."""
    return node.value if isinstance(node, Scalar) and node.style == "plain" else None
