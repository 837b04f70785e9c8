"""Attends in tiles."""

from .attend import TiledAttend
from .layout import Input, Layout, Tile

__all__ = ["Input", "Layout", "Tile", "TiledAttend"]
