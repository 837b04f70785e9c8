"""The command line. Each module here is the command of its name; those with an underscore are shared.

A command module holds `command`, and imports what is slow (torch, rich, matplotlib) inside its
functions: `attnc check` starts in a blink.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import click

from ... import __version__

_NAMES = tuple(
    sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem[0] != "_")
)

EPILOG = """\b
Examples:
  attnc list --family patterns
  attnc show additive
  attnc check mine.yaml
  attnc explain additive --length 2048
"""


class Commands(click.Group):
    """Commands found by the names of the modules beside this one, imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_NAMES)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _NAMES:
            return None
        command = import_module(f".{name}", __name__).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _NAMES and not args[0].startswith("-"):
            from ...dsl.shapes import closest

            hint = closest(args[0], _NAMES)
            meant = f"; did you mean `{hint}`?" if hint else f"; there are {', '.join(_NAMES)}"
            ctx.fail(f"no command `{args[0]}`{meant}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a spec at fault is shown, not raised, and so is a kernel not to be had."""
        from ...dsl.diagnostics import SpecError

        try:
            return super().invoke(ctx)
        except (click.Abort, click.exceptions.Exit):  # these are RuntimeErrors too
            raise
        except RuntimeError as error:
            from ..kernels.errors import KernelError

            if not isinstance(error, KernelError):
                raise
            raise click.ClickException(str(error)) from error
        except SpecError as error:
            from ._console import print_diagnostics

            print_diagnostics(error.diagnostics)
            ctx.exit(1)


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="attnc %(version)s")
def attnc() -> None:
    """Attention mechanisms written in YAML, compiled to PyTorch modules."""
