"""YAML text -> immutable nodes with exact spans, and nothing else.

Built from parser events, never from PyYAML's constructors, so that no text can create an object,
expand without bound or recurse. What no editor shows is refused.
"""

from __future__ import annotations

import os
import re
import unicodedata

import yaml

from .composer import Stop, compose
from .diagnostics import Report
from .nodes import (
    Mapping,
    Node,
    Scalar,
    ScalarStyle,
    Sequence,
    as_bool,
    as_float,
    as_int,
    is_null,
)
from .source import Source, Span
from .yaml_errors import report_yaml_error

__all__ = [
    "Mapping",
    "Node",
    "Scalar",
    "ScalarStyle",
    "Sequence",
    "as_bool",
    "as_float",
    "as_int",
    "is_null",
    "read",
    "read_source",
]

MAX_BYTES = 256 * 1024


def read(source: Source, report: Report) -> Mapping | None:
    """Read one YAML document whose top level is a mapping.

    Mistakes go to the report. None when there is nothing sound to go on with; a mapping together
    with errors means that later checks may look for more.
    """
    if not _is_small(source, report) or not _is_clean(source, report):
        return None
    try:
        root = compose(source, report)
    except Stop:
        return None
    except yaml.YAMLError as error:
        report_yaml_error(error, source, report)
        return None
    return _top_mapping(root, source, report)


def read_source(path: str | os.PathLike[str], report: Report) -> Source | None:
    """Load a spec file from disk; a file that cannot be had is reported at its name."""
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        _report_unreadable(name, error, report)
        return None
    if len(data) > MAX_BYTES:
        _report_size(Source(name, ""), report)
        return None
    return _decode(name, data, report)


def _report_unreadable(name: str, error: OSError | ValueError, report: Report) -> None:
    span = Span(Source(name, ""), 0, 0)
    if isinstance(error, FileNotFoundError):
        report.error("ATT101", "there is no such file", span, "check the path and the spelling")
    elif isinstance(error, IsADirectoryError):
        report.error("ATT102", "this is a directory", span, "name a spec file inside it")
    else:
        reason = getattr(error, "strerror", None) or str(error)
        report.error("ATT103", f"the file cannot be read: {reason}", span, "check its permissions")


def _decode(name: str, data: bytes, report: Report) -> Source | None:
    data = data.removeprefix(b"\xef\xbb\xbf")  # the mark some editors put before UTF-8
    try:
        return Source(name, data.decode("utf-8"))
    except UnicodeDecodeError as error:
        source = Source(name, data.decode("utf-8", errors="replace"))
        start = len(data[: error.start].decode("utf-8"))
        report.error(
            "ATT105",
            f"byte 0x{data[error.start]:02x} is not UTF-8",
            Span(source, start, start + 1),
            "save the file as UTF-8",
        )
        return None


def _report_size(source: Source, report: Report) -> None:
    report.error(
        "ATT104",
        f"the file is larger than {MAX_BYTES // 1024} KiB",
        Span(source, 0, 0),
        "split the spec; a mechanism seldom needs more than a page",
    )


def _is_small(source: Source, report: Report) -> bool:
    text = source.text
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        _report_size(Source(source.name, ""), report)
        return False
    return True


_SUSPECT = re.compile(r"\r(?!\n)|[^\t\n\r\x20-\x7e]")
_MAX_REPORTED_CHARACTERS = 10


def _is_clean(source: Source, report: Report) -> bool:
    """Refuse what an editor does not show: control characters and invisible formatting."""
    found = 0
    for match in _SUSPECT.finditer(source.text):
        if _report_character(match[0], Span(source, *match.span()), report):
            found += 1
        if found == _MAX_REPORTED_CHARACTERS:
            break
    return not found


def _report_character(char: str, span: Span, report: Report) -> bool:
    """Report the character if it is forbidden; say whether it was."""
    category = unicodedata.category(char)
    shown = f"U+{ord(char):04X}"
    if category in ("Cf", "Zl", "Zp"):
        name = unicodedata.name(char, "unnamed").lower()
        report.error("ATT107", f"invisible character {shown} ({name})", span, _INVISIBLE_HELP)
    elif category in ("Cc", "Cs") or ord(char) & 0xFFFE == 0xFFFE:
        report.error("ATT106", f"control character {shown}", span, _CONTROL_HELP.get(char, _DELETE))
    else:
        return False
    return True


_DELETE = "delete it"
_INVISIBLE_HELP = "delete it; what is read must be what is shown"
_CONTROL_HELP = {
    "\0": "is this a binary file, or UTF-16? save it as UTF-8 text",
    "\r": "end lines with a line feed, or with carriage return and line feed",
}


def _top_mapping(root: Node | None, source: Source, report: Report) -> Mapping | None:
    if isinstance(root, Mapping):
        return root
    if root is None or is_null(root):
        report.error(
            "ATT108", "the file is empty", Span(source, 0, 0), "a spec begins with `attnc: 1`"
        )
    else:
        kind = "a list" if isinstance(root, Sequence) else "a single value"
        report.error(
            "ATT109",
            f"a spec is a mapping, this is {kind}",
            root.span,
            "write sections as `name: value` lines; the first is `attnc: 1`",
        )
    return None
