"""`attnc check`, `attnc schema`, and what all commands share: exit codes, streams, imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from attnc.dsl.schema import json_schema
from command_line import DUBIOUS, GOOD, WRONG, run, run_json


def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which `import attnc` finds this checkout, whatever its folder is called."""
    import attnc

    link = tmp_path / "attnc"
    if not link.exists():
        link.symlink_to(Path(attnc.__file__).parent)
    return {**os.environ, "PYTHONPATH": str(tmp_path), "NO_COLOR": "1"}


def process(tmp_path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "attnc", *args]
    env = environment(tmp_path)
    return subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp_path)


def test_a_good_spec_exits_0_and_is_summed_up_on_standard_error() -> None:
    result = run("check", "softmax", "additive")
    assert result.stdout == ""
    assert result.stderr == "2 specs, no mistakes\n"


def test_an_error_exits_1_and_shows_its_place() -> None:
    result = run("check", "-", code=1, input=WRONG)
    assert "<stdin>:3:15: error[ATT401]: unknown name `kk`" in result.stdout
    assert "did you mean `k`?" in result.stdout
    assert result.stderr == "1 spec, 1 error, 0 warnings\n"


def test_warnings_do_not_fail() -> None:
    result = run("check", "-", input=DUBIOUS)
    assert "warning[ATT521]" in result.stdout
    assert result.stderr == "1 spec, 0 errors, 1 warning\n"


def test_a_spec_that_is_not_there_is_a_mistake_with_a_hint() -> None:
    assert "did you mean `softmax`?" in run("check", "sofmax", code=1).stdout
    assert "there is no such file" in run("check", "nowhere.yaml", code=1).stdout


def test_a_file_is_found_before_a_spec_of_no_such_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD, "utf-8")
    assert run("check", str(path)).exit_code == 0


def test_standard_input_that_is_no_text_is_told_so() -> None:
    assert "not UTF-8" in run("check", "-", code=1, input=b"\xff\xfe").stdout


@pytest.mark.parametrize(
    "args", [("check",), ("check", "--output-format", "xml", "softmax"), ("chek",)]
)
def test_a_wrong_call_exits_2(args: tuple[str, ...]) -> None:
    assert run(*args, code=2).stdout == ""


def test_an_unknown_command_is_answered_with_the_one_meant() -> None:
    assert "did you mean `check`?" in run("chek", code=2).stderr


def test_json_has_every_diagnostic_and_the_totals() -> None:
    found = run_json("check", "-", "--json", code=1, input=WRONG)
    assert (found["specs"], found["errors"], found["warnings"]) == (1, 1, 0)
    diagnostic = found["diagnostics"][0]
    assert diagnostic["code"] == "ATT401"
    assert diagnostic["location"] == {"line": 3, "column": 15}


def test_concise_is_one_line_each() -> None:
    result = run("check", "-", "--output-format", "concise", "--quiet", code=1, input=WRONG)
    assert result.stdout == "<stdin>:3:15: error[ATT401]: unknown name `kk`\n"
    assert result.stderr == ""


def test_github_is_a_workflow_command() -> None:
    result = run("check", "-", "--output-format", "github", code=1, input=WRONG)
    assert result.stdout.startswith("::error title=ATT401,file=<stdin>,line=3,col=15")


def test_dims_are_checked() -> None:
    assert "ATT307" in run("check", "softmax", "--dim", "heads=7", code=1).stdout
    assert "no dim `haeds`" in run("check", "softmax", "--dim", "haeds=7", code=1).stdout
    assert "name=value" in run("check", "softmax", "--dim", "heads", code=2).stderr


def test_colours_come_when_forced_and_never_with_no_color() -> None:
    coloured = run("check", "-", code=1, input=WRONG, NO_COLOR="", FORCE_COLOR="1")
    assert "\x1b[" in coloured.stdout
    plain = run("check", "-", code=1, input=WRONG, NO_COLOR="1", FORCE_COLOR="1")
    assert "\x1b[" not in plain.stdout


def test_the_schema_is_json_of_draft_7_and_takes_a_spec() -> None:
    schema = run_json("schema")
    assert schema == json_schema()
    jsonschema.Draft7Validator(schema).validate({"attnc": 1, "name": "mine", "score": "dot(q, k)"})


def test_every_command_has_help_with_examples() -> None:
    from attnc.runtime.cli import _NAMES

    for name in _NAMES:
        assert "attnc " + name in run(name, "--help").stdout, name


def test_the_version_is_told() -> None:
    import attnc

    assert run("--version").stdout == f"attnc {attnc.__version__}\n"


# -- as a process ---------------------------------------------------------------------------

TORCHLESS = """
import sys
from attnc.runtime.cli import attnc
for args in (
    ["check", "softmax"],
    ["list", "--family", "core"],
    ["list", "--operators"],
    ["schema"],
    ["explain", "ATT401"],
    *(["show", "additive", "--stage", stage] for stage in ("text", "syntax", "spec", "ir")),
    ["show", "additive"],
):
    attnc(args, standalone_mode=False)
    assert "torch" not in sys.modules, args
"""


def test_commands_about_the_language_never_import_torch(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TORCHLESS],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_check_imports_nothing_slow(tmp_path: Path) -> None:
    script = (
        "import sys; from attnc.runtime.cli import attnc\n"
        "attnc(['check', 'softmax'], standalone_mode=False)\n"
        "print({'torch', 'rich', 'numpy', 'matplotlib', 'jinja2'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(tmp_path), capture_output=True, text=True
    )
    assert done.stdout == "set()\n"


def test_processes_exit_with_0_1_and_2(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG, "utf-8")
    assert process(tmp_path, "check", "softmax").returncode == 0
    failed = process(tmp_path, "check", "wrong.yaml", "--json")
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["errors"] == 1
    assert process(tmp_path, "check", "--what").returncode == 2


def test_a_spec_at_fault_is_shown_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG, "utf-8")
    for command in ("show", "explain", "plot"):
        done = process(tmp_path, command, "wrong.yaml")
        assert done.returncode == 1
        assert done.stdout == ""
        assert "wrong.yaml:3:15: error[ATT401]" in done.stderr
        assert "Traceback" not in done.stderr
