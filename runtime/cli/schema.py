"""`attnc schema`: the JSON Schema of specs, for editors."""

from __future__ import annotations

import click

from ._console import print_json

EPILOG = """\b
Examples:
  attnc schema > attnc.schema.json
Then write this as the first line of a spec, and editors complete and check its keys:
  # yaml-language-server: $schema=attnc.schema.json
"""


@click.command(epilog=EPILOG)
def command() -> None:
    """Write the JSON Schema (draft-07) of specs to standard output."""
    from ...dsl.schema import json_schema

    print_json(json_schema())
