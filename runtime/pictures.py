"""Pictures of a module: masks, priors, weights and scores as arrays, and as SVG for notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from ..dsl.core import Attend, Node

if TYPE_CHECKING:
    from torch import Tensor

    from .api import Spec
    from .module import Module

What = Literal["mask", "prior", "weights", "scores"]


class NoPicture(ValueError):
    """There is nothing to draw: no attend of its own, or none of that name."""


@dataclass(frozen=True)
class Picture:
    """An array (heads, queries, keys) with what to write at its axes.

    note   what else should be said, such as that the spec has no prior
    """

    what: What
    attend: str
    array: Tensor
    rows: str
    columns: str
    note: str = ""


def draw(
    module: Module, what: What, length: int, attend: str | None = None, seed: int = 0
) -> Picture:
    """Evaluate what is asked for on random tokens; the prior on tokens that are zero."""
    import torch

    from .examples import example

    path, module, name = attend_of(module, attend)
    piece = f"{name}.{'weights' if what == 'weights' else 'scores'}"
    note = ""
    with torch.no_grad():
        call = example(module, length, seed=seed)
        if what == "prior":
            made = _tap(module, piece, {key: _without_content(v) for key, v in call.items()})
            if not _varies(made):
                note = "no prior: the score depends on content alone; these are random scores"
        if what != "prior" or note:
            made = _tap(module, piece, call)
        if what == "mask":
            made = torch.isfinite(made)
    node = module.spec.bindings[name]
    return Picture(what, f"{path}{name}", _by_head(made), query_name(node), key_name(node), note)


def query_name(node: Node) -> str:
    """What stands at the rows of a picture of an attend."""
    assert isinstance(node, Attend)
    return f"query ({node.query})"


def key_name(node: Node) -> str:
    """What stands at its columns."""
    assert isinstance(node, Attend)
    return f"key ({node.sources[0].axes[-1]})"


def attend_of(module: Module, wanted: str | None) -> tuple[str, Module, str]:
    """Path, module and name of an attend: the one wanted, else the one that makes the heads.

    A spec without attends of its own shows the first of a spec that it uses.
    """
    from .module import Module as Compiled

    found: dict[str, tuple[str, Module, str]] = {}
    for path, inner in module.named_modules():
        if isinstance(inner, Compiled):
            head = f"{path}." if path else ""
            names = [n for n, node in inner.spec.bindings.items() if isinstance(node, Attend)]
            found.update({head + name: (head, inner, name) for name in names})
    if not found:
        raise NoPicture(f"`{module.spec.name}` has no attend")
    if wanted is not None and wanted not in found:
        raise NoPicture(f"there is no attend `{wanted}`; there are {', '.join(found)}")
    return found[wanted or ("heads" if "heads" in found else next(iter(found)))]


def _tap(module: Module, name: str, call: dict[str, Any]) -> Tensor:
    from ..dsl.elaborate.typing import TypeMistake

    try:
        return module.taps(name, **call)[name].float()
    except TypeMistake as mistake:
        head = name.split(".")[0]
        raise NoPicture(f"`{head}` has several key sets, which are no one picture") from mistake


def _without_content(value: Any) -> Any:
    return value * 0 if value.is_floating_point() else value


def _varies(scores: Tensor) -> bool:
    """Whether visible scores differ from each other."""
    seen = scores[scores.isfinite()]
    return bool(seen.numel()) and bool((seen.max() - seen.min()).abs() > 1e-6)


def _by_head(array: Tensor) -> Tensor:
    """(heads, queries, keys) of the first example; other axes count as heads."""
    array = array[0] if array.dim() > 2 else array
    return array.reshape(-1, *array.shape[-2:])


def distinct(array: Tensor) -> list[tuple[str, Tensor]]:
    """The heads with their names, equal neighbours together: `heads 0-7`."""
    import torch

    groups: list[tuple[int, int, Any]] = []
    for number, head in enumerate(array):
        if groups and torch.equal(groups[-1][2], head):
            groups[-1] = (groups[-1][0], number, head)
        else:
            groups.append((number, number, head))
    if len(groups) == 1:
        return [("", groups[0][2])] if len(array) == 1 else [("every head", groups[0][2])]
    return [
        (f"head {first}" if first == last else f"heads {first}-{last}", head)
        for first, last, head in groups
    ]


# -- notebooks ------------------------------------------------------------------------------

_CELL = 6
_MOST_CELLS = 96


@dataclass(frozen=True)
class Mask:
    """Who sees whom, (heads, queries, keys) of bools, shown as a picture in notebooks."""

    name: str
    array: Tensor

    def __repr__(self) -> str:
        heads, queries, keys = self.array.shape
        seen = float(self.array.float().mean())
        return f"Mask({self.name}: {heads} heads, {queries} x {keys}, {seen:.1%} allowed)"

    def _repr_svg_(self) -> str:
        return "".join(["<svg xmlns='http://www.w3.org/2000/svg'", *self._svg()])

    def _repr_html_(self) -> str:
        return f"<figure>{self._repr_svg_()}<figcaption>{escape(repr(self))}</figcaption></figure>"

    def _svg(self) -> Iterator[str]:
        panels = [
            (name, head[:_MOST_CELLS, :_MOST_CELLS]) for name, head in distinct(self.array)[:8]
        ]
        rows, columns = panels[0][1].shape
        step = columns * _CELL + 12
        yield f" width='{step * len(panels)}' height='{rows * _CELL + 18}' font-size='11'>"
        for number, (name, head) in enumerate(panels):
            yield f"<g transform='translate({number * step},0)'>"
            yield f"<text x='0' y='12' fill='currentColor'>{escape(name)}</text>"
            yield _frame(rows, columns)
            yield from _cells(head)
            yield "</g>"
        yield "</svg>"


def _frame(rows: int, columns: int) -> str:
    width, height = columns * _CELL, rows * _CELL
    return f"<rect y='16' width='{width}' height='{height}' fill='#eef' stroke='#99a'/>"


def _cells(head: Tensor) -> Iterator[str]:
    """One rectangle per run of allowed keys."""
    for row, values in enumerate(head.tolist()):
        start = None
        for column, allowed in enumerate([*values, False]):
            if allowed and start is None:
                start = column
            elif not allowed and start is not None:
                x, width = start * _CELL, (column - start) * _CELL
                y = 16 + row * _CELL
                yield f"<rect x='{x}' y='{y}' width='{width}' height='{_CELL}' fill='#36c'/>"
                start = None


def mask_of(module: Module, length: int = 32, attend: str | None = None) -> Mask:
    """The mask of an attend of a module at some length."""
    picture = draw(module, "mask", length, attend)
    return Mask(f"{module.spec.name}, {picture.attend}", picture.array.bool())


def spec_html(spec: Spec) -> str:
    """A spec for a notebook: what it is, its formula, its parameters, its mask."""
    from ..dsl.notation import formula

    typed = spec.typed
    lines = "\n".join(formula(spec.document, typed))
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(str(value).lower())}</td></tr>"
        for name, value in typed.dims.items()
    )
    return (
        f"<div><h4>{escape(spec.name)} {escape(', '.join(typed.entries))}</h4><p>{escape(typed.doc)}</p>"
        f"<pre>{escape(lines)}</pre><table>{rows}</table>{_small_mask(spec)}</div>"
    )


def _small_mask(spec: Spec) -> str:
    from ..compiler.lower import NotLowered
    from .api import compile
    from .errors import ArgumentMistake

    try:
        return mask_of(compile(spec, lowering="dense"), 32)._repr_html_()
    except (NoPicture, ArgumentMistake, NotLowered):
        return ""
