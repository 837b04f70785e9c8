"""Block classes of random predicates against all pairs: never wrong, and exact where they must be."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest
import torch
from attnc.compiler.sparsity import EMPTY, FULL, PARTIAL, Instruction, MaskProgram, Runs, classify
from predicates import AXES, EDGE, KEY, QUERY, Drawn, drawn
from torch import Tensor

NORMAL, MANY, STEP = 300, 10_000, 100
SHAPES = ((8, 8), (4, 8), (8, 4), (16, 4), (5, 3))


@pytest.fixture(autouse=True)
def few_blocks_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short sequences go through levels, and lists through parts, as long ones do."""
    module = importlib.import_module("attnc.compiler.sparsity.classify")
    monkeypatch.setattr(module, "FIRST", 4)
    monkeypatch.setattr(module, "LEAST", 40)
    monkeypatch.setattr(module, "MOST", 50)
    tables = importlib.import_module("attnc.compiler.sparsity.tables")
    monkeypatch.setattr(tables, "PART", 40)


def true_classes(item: Drawn, block: tuple[int, int]) -> Tensor:
    """What enumeration says, (lead, rows, columns)."""
    lead = item.program.lead
    order = [next(n for n, axis in enumerate(AXES) if axis.name == name) for name in lead]
    sizes = [item.sizes[axis] for axis in AXES]
    known = [item.seen.size(n) == sizes[n] or axis == EDGE for n, axis in enumerate(AXES)]
    assert all(known[n] or item.seen.size(n) == 1 for n in range(len(AXES)))
    others = [n for n in range(3) if n not in order]
    shape = [1 if n in others else size for n, size in enumerate(sizes)]
    seen = item.seen.expand(shape).permute(*order, *others, 3, 4).flatten(0, 2)
    return classes_of(seen, block)


def classes_of(seen: Tensor, block: tuple[int, int]) -> Tensor:
    rows, columns = block
    edge = (0, -seen.size(-1) % columns, 0, -seen.size(-2) % rows)

    def any_in_block(value: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(value, edge)
        cut = padded.unflatten(-1, (-1, columns)).unflatten(-3, (-1, rows))
        return cut.any(-1).any(-2)

    some, not_all = any_in_block(seen), any_in_block(~seen)
    return torch.where(some & not_all, PARTIAL, torch.where(some, FULL, EMPTY))


def found(item: Drawn, block: tuple[int, int], **options: bool) -> Runs:
    queries, keys = item.sizes[QUERY], item.sizes[KEY]
    return classify(item.program, item.values, queries, keys, block, **options)


def check(seed: int) -> None:
    """Sound by lead, sound for all together, exact when asked; bits name undecided conjuncts."""
    item = drawn(seed, data=seed % 3 > 0)
    block = SHAPES[seed % len(SHAPES)]
    wanted = true_classes(item, block)
    runs = found(item, block)
    classes = runs.classes()
    assert ((classes == PARTIAL) | (classes == wanted)).all(), seed
    together = found(item, block, by_lead=False).classes()
    assert ((together == PARTIAL) | (wanted == together).all(0)).all(), seed
    exact = found(item, block, exact=True).classes()
    assert torch.equal(exact.long(), wanted), seed
    check_form(runs)


def check_form(runs: Runs) -> None:
    """Runs are sorted, apart, and name each block once."""
    line, begin, end = runs.rows, runs.begin, runs.end
    assert (begin < end).all()
    same = line[1:] == line[:-1]
    assert (begin[1:] >= end[:-1])[same].all()
    touching = same & (begin[1:] == end[:-1])
    assert (runs.undecided[1:] != runs.undecided[:-1])[touching].all()
    count = runs.count()
    classes = runs.classes()
    assert count["full"] == int((classes == FULL).sum())
    assert count["partial"] == int((classes == PARTIAL).sum())


@pytest.mark.parametrize("start", range(0, NORMAL, STEP))
def test_no_block_is_wrongly_full_or_empty(start: int) -> None:
    for seed in range(start, start + STEP):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(NORMAL, MANY, STEP))
def test_no_block_of_many_masks_is_wrongly_full_or_empty(start: int) -> None:
    for seed in range(start, start + STEP):
        check(seed)


def test_predicates_of_one_difference_are_exact_without_enumeration() -> None:
    tried = 0
    for seed in range(400):
        item = drawn(seed, data=False, depth=1)
        last = len(item.program.steps) - 1
        if any(diagonal.step == last for diagonal in item.program.diagonals):
            block = SHAPES[seed % len(SHAPES)]
            assert torch.equal(found(item, block).classes().long(), true_classes(item, block))
            tried += 1
    assert tried > 30


def undecided(runs: Runs) -> Tensor:
    """The bits of each block, -1 where it is empty; (lead, rows, columns)."""
    rows, columns = runs.grid.shape()
    made = torch.full((runs.grid.lead * rows, columns), -1)
    for line, begin, end, bits in zip(
        runs.rows.tolist(), runs.begin, runs.end, runs.undecided, strict=True
    ):
        made[line, begin:end] = bits
    return made.view(runs.grid.lead, rows, columns)


def test_bits_name_every_conjunct_that_may_fail() -> None:
    for seed in range(150):
        item = drawn(seed)
        if len(item.program.conjuncts) < 2:
            continue
        bits = undecided(found(item, (8, 8)))
        for number, place in enumerate(item.program.conjuncts):
            steps = (*item.program.steps, Instruction("and", (place, place)))
            own = replace(item.program, steps=steps, conjuncts=(place,))
            queries, keys = item.sizes[QUERY], item.sizes[KEY]
            exact = classify(own, item.values, queries, keys, (8, 8), exact=True).classes()
            fails = (exact != FULL) & (bits > 0)
            assert (bits[fails] >> number & 1).all(), seed


# -- planted mistakes -----------------------------------------------------------------------


def causal(queries: int, keys: int) -> tuple[MaskProgram, list[Tensor]]:
    steps = (Instruction("input", (0,)), Instruction("input", (1,)), Instruction("<=", (1, 0)))
    program = MaskProgram(steps, (2,), (), (("query#",), ("key#",)))
    return program, [torch.arange(queries), torch.arange(keys)]


@pytest.mark.parametrize("block", [(128, 256), (256, 128), (128, 128)])
def test_a_fast_causal_mask_that_counts_blocks_leaks_and_ours_does_not(
    block: tuple[int, int],
) -> None:
    """attention-gym's fast builder takes the diagonal of the grid of blocks for that of tokens."""
    queries = keys = 1024
    seen = torch.ones(queries, keys, dtype=torch.bool).tril()
    wanted = classes_of(seen[None], block)
    ours = classify(*causal(queries, keys), queries, keys, block).classes()
    assert torch.equal(ours.long(), wanted)
    rows, columns = wanted.shape[1:]
    row, column = torch.arange(rows)[:, None], torch.arange(columns)
    fast = torch.where(column < row, FULL, torch.where(column == row, PARTIAL, EMPTY))
    leaks = (fast == FULL) & (wanted[0] != FULL)
    loses = (fast == EMPTY) & (wanted[0] != EMPTY)
    assert bool(leaks.any()) == (block == (128, 256))
    assert bool(loses.any()) == (block == (256, 128))


def test_nothing_is_there_without_tokens() -> None:
    assert classify(*causal(0, 8), 0, 8, (4, 4)).classes().shape == (1, 0, 2)
    assert len(classify(*causal(8, 0), 8, 0, (4, 4)).begin) == 0
