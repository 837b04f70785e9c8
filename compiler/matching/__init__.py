"""Which lowering fits an attend, and why the others do not; without torch."""
