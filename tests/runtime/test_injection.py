"""Every choice by content or at random can be put in, so that a result can be made again."""

from __future__ import annotations

import pytest
import torch
from agreement import Setting, compiled, results, setting
from attnc.dsl.core import Choose, Draw, Kind, Node, Sort, Top, operands, walk
from references import CASES, Case

CHOICES = (Top, Choose, Sort)


def chosen(item: Setting) -> list[str]:
    """Bindings of whole numbers or truth values that say what was chosen."""
    return [
        name
        for name, node in item.module.spec.bindings.items()
        if node.type.kind is not Kind.REAL and any(isinstance(n, CHOICES) for n in walk(node))
    ]


def has_choices(case: Case) -> bool:
    return case.streams and bool(chosen(setting(case, case.shapes[0])))


WITH_CHOICES = [case for case in CASES if has_choices(case)]


@pytest.mark.parametrize("case", WITH_CHOICES, ids=lambda case: case.name)
def test_what_was_chosen_can_be_put_in(case: Case) -> None:
    item = setting(case, case.shapes[0])
    given = dict(item.inject)
    seed = {"call_seed": 4}
    extra = {"inject": given} if given else {}
    wanted = results(item.module(**item.inputs, **seed, **extra))
    for name in chosen(item):
        if name in given:
            continue
        value = item.module.taps(name, **item.inputs, **extra)[name]
        made = results(item.module(**item.inputs, **seed, inject={**given, name: value}))
        for key, result in wanted.items():
            torch.testing.assert_close(made[key], result, rtol=1e-9, atol=1e-9)


def nameless(case: Case) -> list[Node]:
    """Choices that no binding stands for, so that nothing can be put in their place."""
    spec = compiled(case).spec
    named = {node for node in spec.bindings.values() if node.type.kind is not Kind.REAL}
    todo, seen, found = [*spec.outputs.values(), *spec.bindings.values()], set[Node](), []
    while todo:
        node = todo.pop()
        if node in seen or node in named:
            continue
        seen.add(node)
        todo += operands(node)
        keys = node.keys if isinstance(node, Sort) else ()
        if isinstance(node, Top | Choose) or any(key.type.kind is Kind.REAL for key in keys):
            found.append(node)
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_choice_has_a_name(case: Case) -> None:
    assert not nameless(case)


def test_every_spec_that_draws_names_what_it_draws() -> None:
    for case in CASES:
        item = setting(case, case.shapes[0])
        nodes = walk(*item.module.spec.outputs.values())
        assert all(node.name for node in nodes if isinstance(node, Draw)), case.name
