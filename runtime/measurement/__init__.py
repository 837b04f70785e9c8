"""Time and memory of compiled modules: at one length, and how they grow with it."""
