"""The text of a scalar -> the syntax of an expression, with spans into the file.

Parsed is the raw text of the file between quotes or below a block header, not the value that YAML
makes of it. The grammar ignores white space, so folding and indentation change nothing and every
offset is exact, in all five scalar styles.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import TypeAlias, cast

from lark import Lark, Token, Transformer, UnexpectedInput

from .diagnostics import Note, Report
from .hints import report_syntax
from .nodes import Scalar
from .source import Source, Span
from .syntax import (
    Binary,
    Bool,
    Call,
    Compare,
    Expr,
    List,
    Logic,
    Member,
    Name,
    Number,
    Read,
    Unary,
    children,
)

MAX_BYTES = 4096
MAX_DEPTH = 100


def parse_expression(node: Scalar, report: Report) -> Expr | None:
    """Parse the text of a scalar; None when it has a mistake, which is then in the report."""
    if not _is_parsable(node, report):
        return None
    text = node.content.text
    lark = _lark()
    # The builder makes nodes while Lark parses, and there is one of each for the process.
    with _LOCK:
        _BUILDER.begin(node.content, report)
        try:
            # Lark's types do not know that the builder has made the tree into an expression.
            expr = cast(Expr, lark.parse(text))
        except UnexpectedInput as error:
            report_syntax(error, node, report)
            return None
        if not _BUILDER.is_sound:
            return None
    return expr if _is_shallow(expr, report) else None


_LOCK = Lock()


@cache
def _lark() -> Lark:
    """The parser, made when the first expression is met (about 20 ms)."""
    return Lark(
        Path(__file__).with_name("grammar.lark").read_text("utf-8"),
        parser="lalr",
        lexer="contextual",
        transformer=_BUILDER,
        keep_all_tokens=True,
        maybe_placeholders=False,
    )


def _is_parsable(node: Scalar, report: Report) -> bool:
    """Refuse, before parsing, text that is empty, too long, escaped or nested too deep."""
    text, content = node.content.text, node.content
    if not text.strip():
        help = "write one, such as `true` or `dot(q, k)`"
        report.error("ATT201", "an expression is missing here", node.span, help)
    elif len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        help = "give its parts names under `let` or `macros`"
        message = f"the expression is longer than {MAX_BYTES // 1024} KiB"
        report.error("ATT206", message, Span(content.source, content.start, content.start), help)
    elif node.style == "double" and "\\" in text:
        place = content.start + text.index("\\")
        help = "write expressions without escapes; single quotes or none will do"
        report.error(
            "ATT205", "a backslash in an expression", Span(content.source, place, place + 1), help
        )
    elif (deep := _too_deep_bracket(text)) is not None:
        place = content.start + deep
        _report_depth(Span(content.source, place, place + 1), report)
    else:
        return True
    return False


def _too_deep_bracket(text: str) -> int | None:
    depth = 0
    for match in re.finditer(r"[\[\](){}]", text):
        depth += 1 if match[0] in "([{" else -1
        if depth > MAX_DEPTH:
            return match.start()
    return None


def _is_shallow(expr: Expr, report: Report) -> bool:
    """Hold the depth of the tree, so that whatever walks it later may recurse.

    Long chains count, since `a + b + c` nests to the left.
    """
    level: list[Expr] = [expr]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in children(node)]
        if not level:
            return True
    _report_depth(level[0].span, report)
    return False


def _report_depth(span: Span, report: Report) -> None:
    message = f"the expression is nested more than {MAX_DEPTH} deep"
    report.error("ATT207", message, span, "give its parts names under `let` or `macros`")


_NONZERO = re.compile(r"[0.]*[1-9]")

Keyword: TypeAlias = tuple[Name, Expr]
Part: TypeAlias = Token | Expr | Keyword


class _Builder(Transformer[Token, Expr]):
    """Makes a node for each rule of the grammar, while Lark parses.

    Methods are named by the aliases in grammar.lark and take all parts of a rule, with its tokens.
    """

    def begin(self, content: Span, report: Report) -> None:
        self.source: Source = content.source
        self.offset = content.start
        self.report = report
        self.is_sound = True

    def error(self, code: str, message: str, span: Span, help: str, *notes: Note) -> None:
        self.is_sound = False
        self.report.error(code, message, span, help, notes)

    def token_span(self, token: Token) -> Span:
        start = self.offset + (token.start_pos or 0)
        return Span(self.source, start, start + len(token))

    def span(self, parts: list[Part]) -> Span:
        """From the first part of a rule to its last."""
        return self.part_span(parts[0]).to(self.part_span(parts[-1]))

    def part_span(self, part: Part) -> Span:
        if isinstance(part, Token):
            return self.token_span(part)
        return part[0].span if isinstance(part, tuple) else part.span

    def token_name(self, token: Part) -> Name:
        assert isinstance(token, Token)
        return Name(str(token), span=self.token_span(token))

    def logic(self, parts: list[Part]) -> Expr:
        return Logic(str(parts[1]), tuple(_exprs(parts)), span=self.span(parts))

    def compare(self, parts: list[Part]) -> Expr:
        ops = tuple(str(op) for op in parts[1::2])
        return Compare(ops, tuple(_exprs(parts)), span=self.span(parts))

    def unary(self, parts: list[Part]) -> Expr:
        (operand,) = _exprs(parts)
        return Unary(str(parts[0]), operand, span=self.span(parts))

    def binary(self, parts: list[Part]) -> Expr:
        left, *rights = _exprs(parts)
        for op, right in zip(parts[1::2], rights, strict=True):
            left = Binary(str(op), left, right, span=left.span.to(right.span))
        return left

    def call(self, parts: list[Part]) -> Expr:
        function, *arguments = [part for part in parts if not isinstance(part, Token)]
        assert not isinstance(function, tuple)
        if not isinstance(function, Name):
            help = "write a `*` for a product; functions are called by their name"
            self.error("ATT209", "only a name can be called", function.span, help)
            return function
        keywords = tuple(part for part in arguments if isinstance(part, tuple))
        self.check_arguments(arguments, keywords)
        return Call(function, tuple(_exprs(arguments)), keywords, span=self.span(parts))

    def check_arguments(self, arguments: Sequence[Part], keywords: tuple[Keyword, ...]) -> None:
        for before, after in pairwise(arguments):
            if isinstance(before, tuple) and not isinstance(after, tuple):
                help = "put arguments without a name first"
                message = "an argument without a name stands after a named one"
                self.error("ATT210", message, self.part_span(after), help)
        first: dict[str, Name] = {}
        for name, _ in keywords:
            if name.name in first:
                note = Note(first[name.name].span, "first here")
                self.error("ATT211", f"`{name.name}=` stands twice", name.span, "keep one", note)
            first.setdefault(name.name, name)

    def keyword(self, parts: list[Part]) -> Keyword:
        (value,) = _exprs(parts)
        return self.token_name(parts[0]), value

    def read(self, parts: list[Part]) -> Expr:
        operand, *indices = _exprs(parts)
        return Read(operand, tuple(indices), span=self.span(parts))

    def member(self, parts: list[Part]) -> Expr:
        (operand,) = _exprs(parts)
        return Member(operand, self.token_name(parts[-1]), span=self.span(parts))

    def items(self, parts: list[Part]) -> Expr:
        return List(tuple(_exprs(parts)), span=self.span(parts))

    def group(self, parts: list[Part]) -> Expr:
        """Brackets leave no node, but belong to the span of what they enclose."""
        (inner,) = _exprs(parts)
        return replace(inner, span=self.span(parts))

    def name(self, parts: list[Part]) -> Expr:
        return self.token_name(parts[0])

    def boolean(self, parts: list[Part]) -> Expr:
        return Bool(str(parts[0]) == "true", span=self.span(parts))

    def number(self, parts: list[Part]) -> Expr:
        text, span = str(parts[0]), self.span(parts)
        if text.isdigit():
            value: int | float = int(text)
            is_lost = value >= 2**63
        else:
            value = float(text)
            is_lost = math.isinf(value) or (value == 0 and _NONZERO.match(text) is not None)
        if is_lost:
            help = "integers have 64 bits, other numbers are doubles"
            self.error("ATT208", "this number is out of range", span, help)
            value = 0
        return Number(value, span=span)


def _exprs(parts: Iterable[Part]) -> list[Expr]:
    """The expressions among the parts of a rule."""
    return [part for part in parts if not isinstance(part, (Token, tuple))]


_BUILDER = _Builder()


def parse_text(text: str, span: Span | None, report: Report) -> Expr | None:
    """Parse a text that stands in a file at `span`, or one of our own when span is None."""
    place = span or Span(Source("built-in", text), 0, len(text))
    return parse_expression(Scalar(text, "plain", place, place), report)
