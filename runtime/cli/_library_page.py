"""The library as a page of Markdown, `docs/library.md`: what each spec says of itself. Knows no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from ...dsl import api
from ...dsl.core import Axis, Recur, walk
from ...dsl.document import Document
from ...dsl.library import family, library_paths
from ...dsl.printer import format_expression
from ...dsl.resolved import resolved
from ...dsl.typed import TypedSpec
from ._fits import own_attends
from ._library import cost
from ._specs import Typed
from ._static_masks import LENGTH, Seen, picture, seen
from .show import _PREDECLARED, page

HEAD = f"""\
# The library

Written by `make docs` from the files in `specs`: change those, not this page. `attnc show NAME` prints
an entry with its weights, `attnc plot NAME` draws its mask at any size.

In pictures rows are queries, two in a line, columns keys, {LENGTH} of each: █ both queries see the key,
▀ the upper, ▄ the lower, · neither. Costs leave out what all have in common, the projections.
Causality is what is proved: *strict*, no result depends on later tokens; *masked*, choices and weights
may, values do not; *none*. What a spec declares is checked.
"""
_FIRST, _LAST = "core", "models"


def library_page() -> str:
    """The whole page.

    Raises:
        SpecError: a spec of the library is at fault.
    """
    names = sorted(library_paths(), key=lambda name: (_place(family(name)), name))
    entries = [(name, _checked(name)) for name in names]
    return "\n".join([HEAD, *_contents(entries), *_families(entries)]).rstrip("\n") + "\n"


def _place(folder: str) -> tuple[int, str]:
    return ((folder == _LAST) - (folder == _FIRST), folder)


def _checked(name: str) -> Typed:
    checked = api.check(name=name)
    checked.report.raise_errors()
    assert checked.document is not None
    assert checked.spec is not None
    assert checked.judgement is not None
    return Typed(checked.document, checked.spec, checked.judgement.derived)


def _contents(entries: list[tuple[str, Typed]]) -> Iterator[str]:
    """One line per family."""
    for folder, members in groupby(entries, lambda item: family(item[0])):
        links = ", ".join(f"[{name}](#{name})" for name, _ in members)
        yield f"* **{folder}**: {links}"
    yield ""


def _families(entries: list[tuple[str, Typed]]) -> Iterator[str]:
    for folder, members in groupby(entries, lambda item: family(item[0])):
        yield f"## Family {folder}\n"
        for name, item in members:
            yield from _entry(name, item)


def _entry(name: str, item: Typed) -> Iterator[str]:
    """One spec: sentence, equations, pictures, notes; then facts in a list."""
    found = page(item)
    document, spec, _ = item
    attends = seen(name, document, spec)
    yield f"### {name}\n"
    yield f"{', '.join(found['entries'])}: {_plain(found['doc'])}\n"
    yield from _indented(found["formula"])
    for attend, view in attends.items():
        if view.masks and not view.words:
            yield from _picture(attend, view)
    yield from _remarks(found["header"])
    yield from _structure(document, spec, attends)
    yield from _parameters(found)
    yield f"* Cost: {_cost(document, spec)}"
    yield f"* Causality: {_causality(found['causality'])}"
    yield f"* Source: {', '.join(map(_link, found['cite'])) or 'none'}"
    if found["extends"]:
        yield f"* Extends: {', '.join(f'[{parent}](#{parent})' for parent in found['extends'])}"
    yield ""


def _indented(lines: list[str]) -> Iterator[str]:
    yield from (f"    {line}".rstrip() for line in lines)
    yield ""


# -- who sees whom --------------------------------------------------------------------------


def _picture(name: str, view: Seen) -> Iterator[str]:
    """The masks of an attend, of the first and the last head side by side where they differ."""
    sizes = ", ".join(f"{size} {value}" for size, value in view.sizes.items())
    yield f"Who sees whom in `{name}`" + (f", with {sizes}:\n" if sizes else ":\n")
    titles = [title.ljust(LENGTH) for title in view.masks if title]
    panels = [picture(mask) for mask in view.masks.values()]
    lines = ["   ".join(parts) for parts in zip(*panels, strict=True)]
    yield from _indented(["   ".join(titles), *lines] if titles else lines)


def _structure(document: Document, spec: TypedSpec, attends: dict[str, Seen]) -> Iterator[str]:
    """Key sets, token sets, loops and specs inside, in a line each."""
    for node in own_attends(spec):
        view = attends[node.name]
        keys = " and ".join(_keys(source) for source in node.sources)
        if view.words:
            yield f"* `{node.name}`: `{node.query}` sees {view.words}"
        elif not view.masks:
            yield f"* `{node.name}`: `{node.query}` attends to {keys}"
    sets = {key for key, item in document.bindings.items() if item.section == "tokens"}
    lines = (line.text.strip() for line in resolved(document) if line.text.startswith("  "))
    named = dict.fromkeys(text for text in lines if text.split(":")[0] in sets)
    if named:
        yield f"* Tokens: {', '.join(f'`{text}`' for text in named)}"
    for loop, axis in _loops(spec).items():
        yield f"* `{loop}`: a recurrence over `{axis}`"
    if spec.uses:
        inner = sorted({sub.name for sub in spec.uses.values()})
        yield f"* Uses: {', '.join(f'[{sub}](#{sub})' for sub in inner)}"


def _loops(spec: TypedSpec) -> dict[str, Axis]:
    loops = [node for node in walk(*spec.outputs.values()) if isinstance(node, Recur)]
    return {node.names[0].split(".")[0]: node.axis for node in loops}


def _keys(source: Any) -> str:
    """`context`, or a list of keys for each query."""
    if source.at is not None:
        axes = " and ".join(f"`{axis}`" for axis in source.axes)
        return f"a list of `{source.at.type.ref}` by {axes}"
    return " and ".join(f"`{axis}`" for axis in source.axes)


# -- the lines below ------------------------------------------------------------------------


def _parameters(found: dict[str, Any]) -> Iterator[str]:
    """The dims and specs that may be given, and the side inputs."""
    given = [row for row in found["dims"] if _is_given(row)]
    if given:
        yield f"* Parameters: {', '.join(map(_parameter, given))}"
    if found["inputs"]:
        inputs = (f"`{row['name']}` {row['type']} ({row['default']})" for row in found["inputs"])
        yield f"* Inputs: {', '.join(inputs)}"


def _is_given(row: dict[str, Any]) -> bool:
    """Whether a dim is a parameter of the spec's own: not derived, and not what all specs have."""
    is_plain = row["default"] == _PREDECLARED.get(row["name"])
    return not (is_plain or str(row["default"]).startswith("= "))


def _parameter(row: dict[str, Any]) -> str:
    default = row["default"] or str(row["value"]).lower()
    return f"`{row['name']}` = `{default}`" + (f" ({row['limits']})" if row["limits"] else "")


def _cost(document: Document, spec: TypedSpec) -> str:
    claims = [f"{part} `{format_expression(claim)}`" for part, claim in spec.cost.items()]
    said = _plain(cost(document.source.text)) or "not stated"
    return said + (f"; claimed: {', '.join(claims)}" if claims else "")


def _causality(found: dict[str, str]) -> str:
    declared, derived = found["declared"], found["derived"]
    if declared in ("", derived):
        return f"{derived}, declared and proved" if declared else f"{derived}, as derived"
    return f"declared {declared}; {derived} can be derived"


def _link(source: str) -> str:
    """`arXiv:1706.03762` as a link, and a DOI; another source as it stands."""
    kind, _, rest = source.partition(":")
    base = {"arxiv": "https://arxiv.org/abs/", "doi": "https://doi.org/"}.get(kind.lower())
    return f"[{source}]({base}{rest})" if base else _plain(source)


def _remarks(header: str) -> Iterator[str]:
    """The header of the file but for its cost: the paper, its equation, what differs from code."""
    text = re.sub(r"Cost: *.+?(?:\.(?=\s|\Z)|\Z)", "", header, flags=re.DOTALL)
    lines = [line for line in text.splitlines() if line.strip()]
    if lines:
        yield "From the head of the file:\n"
        yield from _indented(lines)


def _plain(text: str) -> str:
    """Text in which nothing is Markdown."""
    return re.sub(r"([\\*<>\[\]|])", r"\\\1", text)
