"""Typed spec -> IR -> passes -> torch.fx graph and kernels."""
