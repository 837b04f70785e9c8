"""From an attend to the text of its fused kernels."""
