"""The command line: `attnc`, or `python -m attnc`."""

from __future__ import annotations


def main() -> None:
    """Run the command line; its exit code is 0 (good), 1 (the spec is at fault) or 2 (usage)."""
    from .runtime.cli import attnc

    attnc(prog_name="attnc")


if __name__ == "__main__":
    main()
