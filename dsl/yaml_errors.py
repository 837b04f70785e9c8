"""The errors of the YAML parser, said in the words of someone who writes a spec."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from .diagnostics import Report
from .source import Source, Span

_ALIAS_HELP = "quote an expression that begins with `*`; an alias needs its `&name` first"
_QUOTE_HELP = "quote the whole value when it holds `: `, ` #`, or begins with a YAML sign"
_FLOW_HELP = "inside `{...}` and `[...]` quote an expression that has a comma or a bracket"
_CONTINUE_HELP = "align it with the keys around it, and put quotes around a whole value or none"


@dataclass(frozen=True, slots=True)
class _Problem:
    """What a message of the YAML parser means to the writer of a spec.

    `pattern` is sought in its context and problem; `{found}` is the character at fault.
    """

    pattern: str
    message: str
    help: str
    code: str = "ATT111"
    is_at_context: bool = False


# In order: the first that fits. libyaml and PyYAML's own parser word some of them differently.
_PROBLEMS = (
    _Problem("escape", "unknown escape after a backslash", "use single quotes"),
    _Problem("quoted scalar", "this quote is never closed", "close it", is_at_context=True),
    _Problem("expected ',' or.*#end", "this bracket is never closed", "close it", "ATT111", True),
    _Problem("expected ',' or", "{found} does not fit in these brackets", _FLOW_HELP, "ATT123"),
    _Problem("mapping values are not", "a `:` does not fit here", _QUOTE_HELP),
    _Problem("expected ':'", "this is not a `key: value` line", "add the `:`", "ATT111", True),
    _Problem("cannot start any", "a value cannot begin with {found}", _QUOTE_HELP),
    _Problem("alphabetic or numeric", "{found} needs a name", _ALIAS_HELP, "ATT111", True),
    _Problem("sequence entries are not", "no list can begin here", "write `-x` without a space"),
    _Problem("expected (the )?node content.*#end", "the file ends inside brackets", "close them"),
    _Problem("expected (the )?node content", "{found} closes nothing", _QUOTE_HELP),
    _Problem("expected.*document start", "the document has ended before this", "delete the `...`"),
    _Problem("expected key|<block end>", "this does not continue what is before", _CONTINUE_HELP),
    _Problem("", "this is not valid YAML", _QUOTE_HELP),
)


def report_yaml_error(error: yaml.YAMLError, source: Source, report: Report) -> None:
    """Say in our own words what the YAML parser stumbled over."""
    at = _mark_index(getattr(error, "problem_mark", None), source)
    since = _mark_index(getattr(error, "context_mark", None), source)
    tab = _indenting_tab(source, at)
    if tab is not None:
        span = Span(source, tab, tab + 1)
        report.error("ATT112", "a tab cannot indent", span, "indent with spaces")
        return
    end = "" if source.text[at:].strip() else "#end"
    said = f"{getattr(error, 'context', '')} {getattr(error, 'problem', '')} {end}"
    problem = next(item for item in _PROBLEMS if re.search(item.pattern, said))
    where = since if problem.is_at_context else at
    if source.text[max(where - 1, 0) : where] == "\\":
        where -= 1  # PyYAML points behind the backslash, libyaml at it
    span = Span(source, where, min(where + 1, len(source.text)))
    message = problem.message.format(found=_quoted(span.text))
    report.error(problem.code, message, span, problem.help)


def _mark_index(mark: Any, source: Source) -> int:
    return 0 if mark is None else min(int(mark.index), len(source.text))


def _quoted(char: str) -> str:
    if not char.strip():
        return "this"
    return f'"{char}"' if char == "`" else f"`{char}`"


def _indenting_tab(source: Source, at: int) -> int | None:
    """The offset of a tab in the indentation of the line at fault."""
    start = source.text.rfind("\n", 0, at) + 1
    line = source.text[start:]
    indentation = line[: len(line) - len(line.lstrip(" \t"))]
    return start + indentation.index("\t") if "\t" in indentation else None
