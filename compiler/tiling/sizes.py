"""How large tiles are."""

from __future__ import annotations

#: queries and keys of a block; pairs (times heads and examples) of a tile
BLOCK = 64
PAIRS = 1 << 21
#: rows with more key blocks than this go together with their neighbours, on one list of keys
LONG_ROW = 12
#: query blocks that go together then
TOGETHER = 4
#: share of blocks from which on leaving out the others is not worth more than one tile
MOSTLY = 0.5
