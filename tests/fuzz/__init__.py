"""Random specs whose attends have kernels: drawn, built together, compared, and made small."""
