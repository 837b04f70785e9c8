"""attnc compiles descriptions of attention mechanisms into PyTorch modules."""

__version__ = "0.1.0"
