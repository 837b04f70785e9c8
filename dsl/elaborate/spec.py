"""Elaboration of a whole spec: declarations first, then every binding, then what is kept.

Bindings are elaborated on demand and once, so that their order in the file means nothing. A mistake poisons the binding it stands in; the others go on, and all mistakes are reported together.
"""

from __future__ import annotations

from ..typed import TypedSpec
from . import attends, blocks, calling, expressions
from .declarations import Declarations
from .keeping import keep
from .macros import Macros
from .mentions import in_order
from .names import Names
from .outputs import Outputs
from .state import Choices
from .subspecs import Subspecs
from .values import Env, Poisoned


class Elaborator(Names, Declarations, Outputs, Subspecs, Macros):
    """Elaborates one document at given choices."""

    # the recursion, without a frame of its own
    elaborate = expressions.elaborate
    node_of = expressions.node_of
    call = calling.call
    block = blocks.block
    attend = attends.attend

    def run(self) -> TypedSpec:
        """The typed spec; mistakes are in the report."""
        self.check_names()
        self.declare_specs()
        self.declare_dims()
        self.declare_cost()
        self.declare_sets()
        self.declare_axes()
        self.declare_macros()
        self.declare_arrays()
        self._bind()
        self.results()
        self.spec.project = tuple(
            name for name, defined in self.document.bindings.items() if defined.section == "project"
        )
        if not self.report.errors:
            keep(self)
        return self.spec

    def _bind(self) -> None:
        for name in in_order(self.document):
            if name not in self.memo:
                try:
                    self.value(name, self.document.bindings[name].span, Env(name))
                except Poisoned:
                    self.memo[name] = None


__all__ = ["Choices", "Elaborator"]
