"""The built-in library of specs: YAML only."""
