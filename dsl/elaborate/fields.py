"""Fields of blocks: single expressions, and the scope of a local `let`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .. import syntax
from ..shapes import Broken, Decoded, Entry, Items, Null, Scalar, Table
from ..syntax import Expr
from .values import Env, Poisoned, Thunk, Value

if TYPE_CHECKING:
    from .spec import Elaborator


def local_scope(e: Elaborator, lets: Decoded | None, env: Env) -> Env:
    """The scope with the bindings of a local `let`, which may use each other."""
    if isinstance(lets, Broken):
        raise Poisoned
    if not isinstance(lets, Table):
        return env
    names: dict[str, Value | Thunk] = {}
    inner = env.bind({})
    inner = replace(inner, locals={**env.locals})
    for entry in lets.entries.values():
        if e.is_reserved(entry.name, entry.name_span):
            continue
        if isinstance(entry.value, Null):
            e.fail(
                "ATT408",
                f"there is no `{entry.name}` to remove",
                entry.name_span,
                env,
                "null takes away what an extended spec defines",
            )
        if not isinstance(entry.value, Scalar | Items):
            names[entry.name] = Thunk(entry.value, inner)
    inner.locals.update(names)  # type: ignore[attr-defined]
    return inner


def expression(fields: Mapping[str, Entry], name: str) -> Expr | None:
    """The expression of a field, if the block has it."""
    entry = fields.get(name)
    if entry is not None and isinstance(entry.value, Broken):
        raise Poisoned
    return entry.value if entry is not None and isinstance(entry.value, syntax.Syntax) else None
