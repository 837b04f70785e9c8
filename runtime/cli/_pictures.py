"""What `attnc plot` draws: masks, priors, weights and scores as arrays (heads, queries, keys)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...dsl.core import Attend, Kind, Node
from ._console import fail

if TYPE_CHECKING:
    from torch import Tensor

    from ..module import Module

What = Literal["mask", "prior", "weights", "scores"]


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


def draw(module: Module, what: What, length: int, attend: str | None = None, seed: int = 0) -> Picture:
    """Evaluate what is asked for on random tokens; the prior on tokens that are zero."""
    import torch

    name, node = _attend(module, attend)
    piece = "weights" if what == "weights" else "scores"
    with torch.no_grad():
        call = arguments(module, length, seed)
        note = ""
        if what == "prior":
            made = _tap(module, f"{name}.{piece}", {k: _without_content(v) for k, v in call.items()})
            if not _varies(made):
                note = "no prior: the score depends on content alone; these are random scores"
                made = _tap(module, f"{name}.{piece}", call)
        else:
            made = _tap(module, f"{name}.{piece}", call)
        if what == "mask":
            made = torch.isfinite(made)
    rows, columns = node.query.name, node.sources[0].axes[-1].name
    return Picture(what, name, _by_head(made), f"query ({rows})", f"key ({columns})", note)


def _attend(module: Module, wanted: str | None) -> tuple[str, Attend]:
    """The attend to look into, by name, else the one that makes the heads."""
    found = {n: node for n, node in module.spec.bindings.items() if isinstance(node, Attend)}
    if not found:
        inner = ", ".join(sorted({sub.name for sub in module.spec.uses.values()}))
        hint = f"; plot a spec that it uses: {inner}" if inner else ""
        raise fail(f"`{module.spec.name}` has no attend of its own{hint}")
    if wanted is not None and wanted not in found:
        raise fail(f"there is no attend `{wanted}`; there are {', '.join(found)}", 2)
    name = wanted or ("heads" if "heads" in found else next(iter(found)))
    return name, found[name]


def _tap(module: Module, name: str, call: dict[str, Any]) -> Tensor:
    from ...dsl.elaborate.typing import TypeMistake

    try:
        return module.taps(name, **call)[name].float()
    except TypeMistake as mistake:
        raise fail(f"`{name}`: {mistake.message}") from mistake


def arguments(module: Module, length: int, seed: int = 0) -> dict[str, Any]:
    """Random arguments for one example: tokens, and every input that the call must give."""
    import torch

    random = torch.Generator().manual_seed(seed)
    width = int(module.spec.dims.get("d_model", 1))
    call: dict[str, Any] = {}
    if "x" in module.argument_names:
        call["x"] = torch.randn(1, length, width, generator=random)
    for info in module.spec.inputs.values():
        if info.default is None:
            call[info.name] = _input(info, length, random)
    return call


def _input(info: Any, length: int, random: Any) -> Tensor:
    import torch

    sizes = [1 if a.role == "batch" else a.size.value if a.size else length for a in info.type.ordered]
    shape = (*sizes, *(dim.value for dim in info.type.dims))
    if info.type.kind is Kind.REAL:
        return torch.randn(shape, generator=random)
    low, high = info.bounds or (0, 1)
    made = torch.randint(int(low), int(high) + 1, shape, generator=random)
    return made.bool() if info.type.kind is Kind.BOOL else made


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


def is_batchless(node: Node) -> bool:
    """Whether a value is the same for every example."""
    return not any(axis.role == "batch" for axis in node.type.axes)
