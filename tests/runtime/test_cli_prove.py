"""`attnc prove`: facts in a table and as JSON, claims, exit codes, and mistakes in calling it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import GOOD, WRONG, run, run_json


def facts(*args: str) -> dict[str, dict[str, object]]:
    found = run_json("prove", *args, "--json")
    return {fact["fact"]: fact for fact in found["attends"][0]["facts"]}


def test_the_facts_of_a_window() -> None:
    shown = run("prove", "sliding_window", "--dim", "left=4", "--dim", "right=0").stdout
    assert "for every length: n tokens without padding, the first at position 0" in shown
    assert [line.strip() for line in shown.split("heads\n")[1].splitlines()] == [
        "causal        proved   no key is later than its query",
        "no empty row  proved   every query sees a key",
        "look-back     proved   at most 4 tokens back",
        "look-ahead    proved   nothing is seen of the future",
        "symmetric     refuted  i = 1 sees j = 0, which does not see it, where n = 2",
        "pairs         proved   5*n - 10 for n >= 4",
    ]


def test_the_facts_as_json() -> None:
    found = facts("sliding_window", "--length", "1000")
    assert found["look-back"]["value"] == 128
    assert found["pairs at n = 1,000"]["value"] == 257 * 1000 - 16512
    example = {"lengths": {"x": 2}, "tokens": {"x": 0, "context": 1}, "inputs": {}}
    assert found["causal"]["counterexample"] == example


def test_layers_that_are_alike_are_told_once() -> None:
    shown = run("prove", "language_model").stdout
    assert "body.*.attended.heads" in shown
    assert shown.count("no empty row") == 1


def test_one_attend_may_be_asked_for() -> None:
    assert [item["attend"] for item in run_json("prove", "nsa", "--json")["attends"]] == [
        "small",
        "picked",
        "near",
    ]
    found = run_json("prove", "nsa", "--attend", "near", "--json")["attends"]
    assert [item["attend"] for item in found] == ["near"]


def test_a_spec_without_attends_has_no_facts() -> None:
    assert "No attend" in run("prove", "delta_rule").stdout


def test_a_spec_may_come_from_standard_input() -> None:
    assert "n^2" in run("prove", "-", input=GOOD).stdout


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("sparse_strided", "--implies", "causal"), 0, "every pair is seen in the other, too"),
        (("causal", "--equals", "causal_softmax"), 0, "both see the same pairs"),
        (("causal", "--implies", "sliding_window"), 1, "i = 129 sees j = 0 here, but not in"),
        (("softmax", "--implies", "cross_attention"), 3, "there are more `context`"),
    ],
)
def test_a_claim_says_its_verdict_by_the_exit_code(
    args: tuple[str, ...], code: int, words: str
) -> None:
    assert words in run("prove", *args, code=code).stdout
    assert run_json("prove", *args, "--json", code=code)["attends"][0]["verdict"] in (
        ("proved",) if code == 0 else ("refuted", "unknown")
    )


def test_dims_go_to_the_spec_that_has_them() -> None:
    run("prove", "sliding_window", "--implies", "causal", "--dim", "right=0", "--dim", "heads=2")
    mistaken = run("prove", "causal", "--implies", "softmax", "--dim", "hads=2", code=1)
    assert "has no dim `hads`" in mistaken.stderr
    assert "did you mean `heads`?" in mistaken.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("longformer", "--attend", "lcal"), "did you mean `local`?"),
        (("causal", "--implies", "softmax", "--equals", "softmax"), "give one of them"),
        (("causal", "--implies", "softmax", "--length", "9"), "give no --length"),
        (("-", "--implies", "-"), "one spec, not two"),
        (("longformer", "--implies", "softmax"), "has no attend `local`; it has `heads`"),
        (("causal", "--length", "0"), "0 is not in the range"),
    ],
)
def test_a_wrong_call_is_told(args: tuple[str, ...], words: str) -> None:
    assert words in run("prove", *args, code=2).stderr


def test_a_spec_at_fault_is_told() -> None:
    assert "did you mean `causal`?" in run("prove", "causl", code=1).stderr
    assert "unknown name `kk`" in run("prove", "-", input=WRONG, code=1).stderr


def test_prove_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom attnc.runtime.cli import attnc\n"
        "attnc(['prove', 'nsa', '--length', '64'], standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


def test_explain_has_a_line_of_facts() -> None:
    shown = run("explain", "sliding_window").stdout
    assert "pairs: not causal, no empty row, at most 128 tokens back" in shown
    found = run_json("explain", "stick_breaking", "--json")["facts"]["heads"]
    assert [item["verdict"] for item in found] == ["proved", "refuted", "refuted"]
