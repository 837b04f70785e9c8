"""The one scope of a document: no name is reserved, a word of Python, or declared twice."""

from __future__ import annotations

import keyword

from ..attributes import ATTRIBUTES
from ..diagnostics import Note
from ..document import Defined
from ..source import Span
from .reports import Reports
from .state import RESERVED

GROUPS = ("dims", "axes", "inputs", "weights", "random", "buffers", "streams", "specs")


class Names(Reports):
    """Checks of declared names."""

    def check_names(self) -> None:
        """Report names that cannot be declared; those with a meaning in every spec are dropped."""
        owners: dict[str, tuple[str, Span]] = {}
        tables = [(group, self.document.sections.get(group, {})) for group in GROUPS]
        reserved: list[tuple[dict[str, Defined], str]] = []
        for group, table in [*tables, ("bindings", self.document.bindings)]:
            for name, defined in table.items():
                is_heads = group == "dims" and name == "heads"
                if not is_heads and self.is_reserved(name, defined.span):
                    reserved.append((table, name))
                self._check_name(name, group, defined, owners.get(name))
                owners[name] = (group, defined.span)
        for table, name in reserved:
            del table[name]

    def _check_name(
        self, name: str, group: str, defined: Defined, owner: tuple[str, Span] | None
    ) -> None:
        if group in ("dims", "inputs", "weights") and keyword.iskeyword(name):
            help = "dims, inputs and weights are named in calls; choose another name"
            self.report.error("ATT308", f"`{name}` is a word of Python", defined.span, help)
        elif group in ("weights", "random", "buffers") and name in ATTRIBUTES:
            help = "modules have an attribute of that name; choose another"
            self.report.error("ATT308", f"`{name}` cannot name an array", defined.span, help)
        elif owner is not None:
            self.report.error(
                "ATT309",
                f"`{name}` is declared twice",
                defined.span,
                "names share one scope",
                (Note(owner[1], f"also declared here, in {owner[0]}"),),
            )

    def is_reserved(self, name: str, span: Span) -> bool:
        """Whether a name has a meaning in every spec; to declare it is a mistake."""
        if name not in RESERVED:
            return False
        help = f"choose another; {', '.join(RESERVED)} have a meaning in every spec"
        self.report.error("ATT308", f"`{name}` is a reserved name", span, help)
        return True
