"""What calls of a module are refused with."""

from __future__ import annotations


class ArgumentMistake(TypeError):
    """A call does not fit the spec: an unknown name, a missing input, a wrong shape."""
