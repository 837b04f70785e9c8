"""Blocks: the value of a binding that is attend, iterate, recur, use or stack."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..shapes import Table
from ..source import Span
from .attends import attend
from .folds import iterate, recur
from .typing import TypeMistake
from .uses import stack, use
from .values import Env, Poisoned, Value

if TYPE_CHECKING:
    from .spec import Elaborator


def block(e: Elaborator, table: Table, env: Env) -> Value:
    """The value of a binding that is a block."""
    entry = next(iter(table.entries.values()))
    if not isinstance(entry.value, Table) or (entry.name != "attend" and entry.value.is_broken):
        raise Poisoned
    build: dict[str, Callable[[Elaborator, Table, Env, Span], Value]] = {
        "attend": attend,
        "iterate": iterate,
        "recur": recur,
        "use": use,
        "stack": stack,
    }
    e.tick(entry.name_span, env)
    try:
        with e.deeper(entry.name_span, env):
            return build[entry.name](e, entry.value, env, entry.name_span)
    except TypeMistake as mistake:
        raise e.fail(mistake.code, mistake.message, entry.name_span, env, mistake.help) from None
