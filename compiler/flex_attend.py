"""One attend by FlexAttention, with the blocks of its mask as the formula says them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from .sparsity import classify
from .sparsity.counters import Counter, Source
from .sparsity.flex import block_mask
from .sparsity.inputs import MaskInputs, source_of

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask


class NoBackward(RuntimeError):
    """Gradients are wanted where FlexAttention has none."""


class FlexAttend(nn.Module):
    """softmax_j f(q[i] . k[j]) v[j] over the pairs of a mask.

    score    f over (dot, b, h, i, j, arrays..), or None where it is the product
    mask     the mask over what `count` arguments say
    Shapes:
        query    (batch, heads, queries, width)
        key      (batch, heads or groups, keys, width); value alike
        result   (batch, heads, queries, width of the values)
    """

    def __init__(self, score: fx.GraphModule | None, mask: MaskInputs, count: int) -> None:
        super().__init__()
        self.score = score
        self.mask, self.count = mask, count
        self._last: tuple[tuple[Source, ...], tuple[int, ...], BlockMask] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_last": None}  # type: ignore[no-untyped-call]

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *read: Any) -> Tensor:
        """The attended values. read: what the mask reads, then what the score does."""
        wanted = torch.is_grad_enabled() and any(
            isinstance(item, Tensor) and item.requires_grad for item in (query, key, value, *read)
        )
        if wanted and query.device.type == "cpu":
            raise NoBackward(
                "FlexAttention has no backward on the CPU: call under torch.no_grad(), "
                "or take another lowering"
            )
        arrays = read[self.count :]
        score = self.score and type(self.score).forward

        def score_mod(dot: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            assert score is not None
            made: Tensor = score(None, dot, b, h, i, j, *arrays)
            return made

        made: Tensor = compiled()(
            query,
            key,
            value,
            score_mod=None if score is None else score_mod,
            block_mask=self.blocks(read[: self.count], query),
            scale=1.0,
            enable_gqa=key.shape[1] != query.shape[1],
        )
        return made

    def blocks(self, read: Sequence[Any], like: Tensor) -> BlockMask | None:
        """The blocks of the mask; those of the call before where it reads the same."""
        mask = self.mask
        assert mask.program is not None
        if not mask.program.steps:
            return None
        sizes = int(read[mask.queries]), int(read[mask.keys])
        values = tuple(source_of(place, read) for place in mask.inputs)
        if self._last is not None:
            before, lengths, made = self._last
            if lengths == sizes and all(map(_is_same, before, values)):
                return made
        # of their own: what the caller gave may be written to before the next call
        values = tuple(item.clone() if isinstance(item, Tensor) else item for item in values)
        real = like.dtype
        runs = classify(mask.program, values, *sizes, (128, 128), exact=mask.is_plain, real=real)
        made = block_mask(mask.program, values, runs, real).to(like.device)
        self._last = values, sizes, made
        return made


@cache
def compiled() -> Any:
    """FlexAttention, compiled for each kind of score and mask that is met."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)


def _is_same(left: Source, right: Source) -> bool:
    if isinstance(left, Counter) or isinstance(right, Counter):
        return left == right
    return left.device == right.device and torch.equal(left, right)
