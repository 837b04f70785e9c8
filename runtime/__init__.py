"""What compiled modules need when they run."""
