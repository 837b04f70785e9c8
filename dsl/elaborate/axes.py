"""Index axes: those of every spec, declared ones, and new ones for derived token sets."""

from __future__ import annotations

from .. import sizes, syntax
from ..core import Axis, Kind, Length, Position, Type, Valid
from ..shapes import Scalar, Table
from ..sizes import Size
from ..typed import TokenSet
from .dims import Dims
from .reports import check_whole
from .values import Env, Poisoned


class Axes(Dims):
    """The axes of a document."""

    def declare_sets(self) -> None:
        """The token sets of every spec: x and context."""
        for name, rank in (("x", 1000), ("context", 1010)):
            axis = Axis(name, "token", rank, None, name)
            self.add_stream_set(name, axis)

    def add_stream_set(self, name: str, axis: Axis) -> None:
        """The token set of tokens that the call gives."""
        position = Position(Type(Kind.INT, frozenset({axis})), axis)
        self.sets[name] = TokenSet(
            name=name,
            axes=(axis,),
            count=Length(Type(Kind.INT), axis),
            position=position,
            time=position,
            start=position,
            valid=Valid(Type(Kind.BOOL, frozenset({self.batch, axis})), axis),
        )

    def declare_axes(self) -> None:
        """The axes of every spec, and the declared ones; one with a mistake has size 1."""
        self.axes["b"] = self.batch
        self.axes["h"] = Axis("h", "head", 10, self._size_or_one("heads"), "h")
        self.axes["g"] = Axis("g", "group", 11, self._size_or_one("kv_heads"), "g")
        likes: list[tuple[str, Scalar]] = []
        rank = 20
        for name, defined in self.document.sections.get("axes", {}).items():
            rank += 1
            value = defined.value
            try:
                check_whole(defined)
                if isinstance(value, Table):
                    like = value.get("like")
                    if isinstance(like, Scalar):
                        likes.append((name, like))
                elif isinstance(value, syntax.Syntax):
                    size = self.size(value, Env(name))
                    if size.value < 1:
                        raise self.fail("ATT307", f"axis `{name}` is empty", defined.span)
                    self.axes[name] = Axis(name, "user", rank, size, name)
            except Poisoned:
                self.axes[name] = Axis(name, "user", rank, sizes.symbol(name, 1), name)
        for name, like in likes:
            rank += 1
            base = self.axes.get(str(like.value))
            if base is None and str(like.value) in self.sets:
                stream = self.sets[str(like.value)].axis
                self.axes[name] = Axis(name, "token", stream.rank + 2, None, stream.base)
                continue
            if base is None:
                self.report.error("ATT401", f"unknown axis `{like.value}`", like.span)
                base = Axis(name, "user", rank, sizes.symbol(name, 1), name)
            self.axes[name] = Axis(name, "user", rank, base.size, base.base)

    def _size_or_one(self, name: str) -> Size:
        """A predeclared dim, or 1 where it has a mistake."""
        return sizes.symbol(name, 1) if name in self.poisoned else self.dim(name)

    def next_rank(self) -> int:
        """A rank for a new token axis, after all others."""
        self.token_rank += 10
        return self.token_rank

    def token_axis(self, name: str, size: Size | None) -> Axis:
        """A new axis for a derived token set, named after its binding."""
        while name in self.axes or any(
            axis.name == name for s in self.sets.values() for axis in s.axes
        ):
            name += "_"
        return Axis(name, "token", self.next_rank(), size, name)

    def primed(self, axis: Axis) -> Axis:
        """The key axis of an attend whose queries and keys are the same set."""
        return Axis(f"{axis.name}'", axis.role, axis.rank + 1, axis.size, axis.base)

    def member_axis(self, token_set: TokenSet) -> Axis:
        """An axis over the members of each window of a set."""
        return Axis(
            f"{token_set.name}.member", "user", 19, sizes.constant(token_set.size), "member"
        )

    def base_axis(self, axis: Axis) -> Axis:
        """The axis itself, without the prime of a key axis or a second name."""
        if axis.name == axis.base:
            return axis
        if axis.base in self.axes:
            return self.axes[axis.base]
        for token_set in self.sets.values():
            for item in token_set.axes:
                if item.name == axis.base:
                    return item
        return axis

    def set_of_axis(self, axis: Axis) -> TokenSet | None:
        """The token set of an axis."""
        for token_set in self.sets.values():
            if len(token_set.axes) == 1 and token_set.axis.name == axis.base:
                return token_set
        return None
