"""Products of wide features that are made for some tokens at a time, and made again in the backward.

    y[i] = sum over j of (f(q[i]) . g(k[j])) v[j]

Of all tokens at once there are only what the features are made of, and the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx
from torch.utils.checkpoint import checkpoint

from .scans import CHUNK, accumulated, prefix_product

#: numbers of the features of a segment: what a core keeps close
NUMBERS = 1 << 19
#: so many numbers of features are kept for the backward; more are made again
HELD = 1 << 23

Segment: TypeAlias = tuple[int, int]
Run: TypeAlias = Callable[..., Any]
Cut: TypeAlias = Callable[[int, int], list[Any]]


@dataclass(frozen=True)
class Features:
    """Features as a graph of what they are made of; along which dim each argument has its tokens.

    width   numbers per token, for one example and head
    """

    graph: fx.GraphModule
    tokens: tuple[int | None, ...]
    width: int

    def cut(self, args: tuple[Any, ...]) -> Cut:
        """The arguments of some tokens, by the first and how many."""

        def found(start: int, size: int) -> list[Any]:
            return [
                item if dim is None else item.narrow(dim, start, size)
                for item, dim in zip(args, self.tokens, strict=True)
            ]

        return found


class Segments(torch.nn.Module):
    """What queries read of keys and values: of all of them, or of those before, `upto` their own."""

    def __init__(self, query: Features, key: Features, past: str) -> None:
        super().__init__()
        self.query, self.key, self.past = query, key, past
        self.query_graph, self.key_graph = query.graph, key.graph

    def forward(self, length: int, value: Tensor, *args: Any) -> Tensor:
        """(queries, values (..., keys, V), arguments of query features, those of key features)"""
        count = len(self.query.tokens)
        asking, asked = self.query.cut(args[:count]), self.key.cut(args[count:])
        (value,) = accumulated(value)
        has_tape = torch.is_grad_enabled() and any(
            isinstance(item, Tensor) and item.requires_grad for item in (value, *args)
        )
        keys = _segments(value.size(-2), value, self.key, has_tape)
        queries = _segments(length, value, self.query, has_tape)
        run = _again if has_tape and len(keys) + len(queries) > 2 else _once
        if self.past != "all":
            return self._past(run, keys, value, asking, asked)
        state: Tensor | None = None
        for start, size in keys:
            added = run(self._write, value.narrow(-2, start, size), *asked(start, size))
            state = added if state is None else state + added
        return _joined([run(self._read, state, *asking(*segment)) for segment in queries])

    def _past(
        self, run: Run, keys: Sequence[Segment], value: Tensor, asking: Cut, asked: Cut
    ) -> Tensor:
        rows: list[Tensor] = []
        state: Tensor | None = None
        for start, size in keys:
            of_value = value.narrow(-2, start, size)
            sides = (*asking(start, size), *asked(start, size))
            row, state = run(self._step, state, of_value, *sides)
            rows.append(row)
        return _joined(rows)

    def _write(self, value: Tensor, *args: Any) -> Tensor:
        key, value = accumulated(self.key_graph(*args), value)
        made: Tensor = key.mT @ value
        return made

    def _read(self, state: Tensor, *args: Any) -> Tensor:
        query, state = accumulated(self.query_graph(*args), state)
        return query @ state

    def _step(self, state: Tensor | None, value: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
        count = len(self.query.tokens)
        sides = self.query_graph(*args[:count]), self.key_graph(*args[count:])
        query, key, value = accumulated(*sides, value)
        made = prefix_product(query, key, value, self.past == "upto")
        added = key.mT @ value
        if state is None:
            return made, added
        return made + query @ state, state + added


def _segments(length: int, value: Tensor, features: Features, has_tape: bool) -> Sequence[Segment]:
    """First token and number of tokens of each; one where few are held, or a compiler records."""
    if torch.compiler.is_compiling():
        return ((0, length),)
    width = max(1, value[..., 0, 0].numel() * features.width)
    if has_tape and width * length <= HELD:
        return ((0, length),)
    size = max(CHUNK, NUMBERS // width // CHUNK * CHUNK)
    return tuple((start, min(size, length - start)) for start in range(0, max(1, length), size))


def _joined(rows: list[Tensor]) -> Tensor:
    return rows[0] if len(rows) == 1 else torch.cat(rows, -2)


def _once(run: Callable[..., Any], *args: Any) -> Any:
    return run(*args)


def _again(run: Callable[..., Any], *args: Any) -> Any:
    """The results, whose backward computes them again."""
    return checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False)
