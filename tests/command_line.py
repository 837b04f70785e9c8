"""Running the command line in tests."""

from __future__ import annotations

import json
from typing import Any

from attnc.runtime.cli import attnc
from click.testing import CliRunner, Result

GOOD = "attnc: 1\nname: mine\nscore: dot(q, k) / sqrt(d_head)\n"
WRONG = "attnc: 1\nname: mine\nscore: dot(q, kk)\n"
DUBIOUS = "attnc: 1\nname: mine\nscore: dot(q, k) / dot(q, q)\n"


def run(*args: str, code: int = 0, input: str | bytes | None = None, **env: str) -> Result:
    """The result of a command, after a look at its exit code."""
    result = CliRunner(env={"NO_COLOR": "1", **env}).invoke(attnc, list(args), input=input)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def run_json(*args: str, **options: Any) -> Any:
    """What a command writes to standard output, read as JSON."""
    return json.loads(run(*args, **options).stdout)
