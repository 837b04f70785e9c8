"""`attnc bench`: what it measures is there and is counted right; how long it takes is not judged."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import attnc
import pytest
import torch
from attnc.dsl import api
from attnc.runtime.cli._comparison import _table
from attnc.runtime.cli._measured import row_json, stopped_json, stopped_lines
from attnc.runtime.examples import example
from attnc.runtime.kernels.usage import watched
from attnc.runtime.measurement.forms import Form, Measured
from attnc.runtime.measurement.growth import Exponent, exponent, slope
from attnc.runtime.measurement.lowerings import COMPILED, Refused, compiled_dense, many_lengths
from attnc.runtime.measurement.measuring import Limits, measure
from attnc.runtime.measurement.memory import highest, peak_bytes
from attnc.runtime.measurement.scaling import Scaling, scale
from attnc.runtime.measurement.workload import Workload, in_words, workload
from command_line import GOOD, run, run_json
from compilers import needs_compiler
from rich.console import Console
from torch import Tensor, nn

TINY = ["--dim", "d_model=8", "--threads", "1", "--repeats", "2"]
QUICK = [*TINY, "--no-compile"]
LENGTHS = ["--from", "8", "--to", "32"]


def silent(form: str, length: int, note: str = "") -> None:
    """A watch that tells nothing."""


def forms(name: str, own: dict[int, float], dense: dict[int, float]) -> Scaling:
    module = attnc.compile(name, d_model=8, heads=1)
    made = [Form("auto", module), Form("dense", module)]
    for form, times in zip(made, (own, dense), strict=True):
        form.step.seconds = {length: [seconds] for length, seconds in times.items()}
        form.forward.seconds = {length: [seconds / 3] for length, seconds in times.items()}
    return Scaling(*made)


class Forwards(nn.Module):
    """A module whose results have no backward, as those of FlexAttention on the CPU."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, **call: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise NotImplementedError("no backward here")
        made: Tensor = self.module(**call)
        return made


def softmax(**options: Any) -> attnc.Module:
    return attnc.compile("softmax", d_model=8, heads=1, **options)


def test_forms_are_measured_at_one_length() -> None:
    (found,) = run_json("bench", "softmax", "--length", "8", *QUICK, "--json")
    assert [row["form"] for row in found["forms"]][:3] == ["auto", "dense", "sdpa"]
    assert "linear" in found["refused"]
    assert found["dims"]["d_model"] == 8
    for form in found["forms"][:3]:
        (row,) = form["lengths"]
        assert row["length"] == 8
        assert row["repeats"] == 2
        assert 0 < row["forward_peak_bytes"] <= row["step_peak_bytes"]
        assert row["forward_seconds"] > 0
        assert row["step_seconds"] > 0
        assert form["stopped"] == {"forward": None, "step": None}


def test_what_torch_compile_has_a_part_in_can_be_left_out() -> None:
    (found,) = run_json("bench", "softmax", "--length", "8", *QUICK, "--json")
    assert not {"flex", COMPILED} & {row["form"] for row in found["forms"]}
    assert Form("flex", softmax(lowering="flex")).is_compiled
    assert not Form("auto", softmax()).is_compiled


def test_the_table_of_forms_has_ratios_and_memory() -> None:
    shown = run("bench", "linear_transformer", "--length", "8", *QUICK).stdout
    assert "linear_transformer  at length 8" in shown
    assert "1.00" in shown
    assert "MiB" in shown


def test_the_table_of_forms_is_not_wide() -> None:
    """Each cell as long as it can be."""
    module = attnc.compile("softmax", d_model=8, heads=1)
    measured = [Measured({8: [seconds]}, {8: size}) for seconds, size in ((1e-3, 1), (9.9, 10**9))]
    forms = [Form("a" * 14, module, None, None, part, part) for part in measured]
    for form in forms:
        form.module.lowering_at = lambda length: {"a": "sdpa", "b": "chunked", "c": "dense"}
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(_table(forms, 8))
    assert "9900.00 ms" in console.export_text(clear=False)
    assert max(len(line.rstrip()) for line in console.export_text().splitlines()) <= 100


def test_forms_are_measured_over_lengths_for_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "forms.png"
    options = (*LENGTHS, *QUICK, "--plot", str(picture), "--json")
    found = run_json("bench", "softmax", "linear_transformer", *options)
    assert [item["name"] for item in found] == ["softmax", "linear_transformer"]
    for form in found[0]["forms"][:3]:
        assert [row["length"] for row in form["lengths"]] == [8, 16, 32]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_from_and_to_ask_for_lengths_without_a_picture() -> None:
    shown = run("bench", "softmax", *LENGTHS, *QUICK).stdout
    assert [n for n in (8, 16, 32, 64) if f"softmax  at length {n}" in shown] == [8, 16, 32]


def test_a_form_without_a_backward_does_not_end_the_comparison() -> None:
    forms = [Form("auto", softmax()), Form("flex", softmax(), compile=cache(Forwards))]
    measure(forms, [8, 16], Limits(repeats=2), silent)
    assert [len(forms[1].forward.seconds[n]) for n in (8, 16)] == [2, 2]
    assert forms[1].step.lengths == []
    assert forms[1].step.stopped == "8: no backward here"
    assert forms[0].step.lengths == [8, 16]
    assert row_json(forms[1], 8)["step_seconds"] is None
    assert row_json(forms[1], 8)["step_peak_bytes"] is None
    assert stopped_json(forms[1]) == {"forward": None, "step": "8: no backward here"}
    assert list(stopped_lines(forms[1])) == [
        "flex, with backward: stopped at N = 8: no backward here"
    ]
    shown = Console(width=100, file=io.StringIO(), record=True)
    shown.print(_table(forms, 8))
    (line,) = (line for line in shown.export_text().splitlines() if "flex" in line)
    assert line.split()[-3:] == ["-", "-", "-"]


def test_a_form_that_fails_is_told_and_the_others_go_on() -> None:
    broken = softmax(lowering="dense")
    broken.get_parameter("q.weight").data = torch.zeros(3, 3)
    forms = [Form("dense", broken), Form("auto", softmax())]
    measure(forms, [8, 16], Limits(repeats=1), silent)
    assert forms[0].lengths == []
    assert forms[0].forward.stopped == forms[0].step.stopped
    assert len(list(stopped_lines(forms[0]))) == 1
    assert forms[1].lengths == [8, 16]


def test_lengths_before_the_first_tell_what_it_costs() -> None:
    form = Form("dense", softmax(lowering="dense"))
    measure([form], [64], Limits(1e6, 10_000, 2), silent, approach=(16, 32))
    assert 64 not in form.step.seconds
    assert "GiB" in form.step.stopped


def test_loops_are_not_put_through_torch_compile() -> None:
    loop = Form("dense", attnc.compile("delta_rule", d_model=8, heads=1, lowering="dense"))
    found = compiled_dense([loop])
    assert isinstance(found, Refused)
    assert "`memory` runs token by token" in found.reason
    assert isinstance(compiled_dense([]), Refused)


def test_what_torch_compile_cannot_do_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(module: nn.Module, **options: Any) -> nn.Module:
        raise RuntimeError("backend='inductor' raised:\nCppCompileError: no compiler\n\nlong text")

    monkeypatch.setattr(torch, "compile", fails)
    options = ("--length", "8", *TINY)
    (found,) = run_json("bench", "linear_transformer", *options, "--json")
    form = found["forms"][-1]
    assert form["form"] == COMPILED
    assert form["lengths"][0]["forward_seconds"] is None
    reason = "8: backend='inductor' raised: CppCompileError: no compiler"
    assert form["stopped"] == {"forward": reason, "step": reason}
    assert (
        "compiled dense: stopped at N = 8: backend"
        in run("bench", "linear_transformer", *options).stdout
    )


@pytest.mark.slow
def test_the_dense_form_is_compiled_at_each_length() -> None:
    found = compiled_dense([Form("dense", softmax(lowering="dense"))])
    assert isinstance(found, Form)
    told: list[str] = []
    with many_lengths():
        measure([found], [8, 16], Limits(), lambda form, length, note="": told.append(note))
    assert found.step.stopped == ""
    assert found.lengths == [8, 16]
    assert told[:2] == ["compiling forward", "compiling step"]


def test_a_dim_may_grow_with_the_length() -> None:
    image = ("--dim", "size=2", "--dim", "width=4", "--dim", "height=N/4")
    result = run_json("bench", "--scaling", "swin", *image, *LENGTHS, *TINY, "--json")
    found = result["specs"]["swin"]
    assert [row["length"] for row in found["own"]["lengths"]] == [8, 16, 32]
    assert found["dims"]["height"] == 8
    (found,) = run_json("bench", "swin", *image, "--length", "24", *QUICK, "--json")
    assert found["forms"][0]["lengths"][0]["length"] == 24


def test_a_dim_that_is_no_part_of_a_length_is_refused() -> None:
    told = run("bench", "--scaling", "swin", *LENGTHS, *TINY, "--dim", "height=N/3", code=2)
    assert "`height=N/3` is no whole number at N = 8" in told.stderr
    told = run("bench", "--scaling", "swin", *LENGTHS, *TINY, "--dim", "height=N/0", code=2)
    assert "`height=N/0` is no part of the length: write `N`, or `N/64`" in told.stderr


def test_a_form_has_a_module_for_each_length() -> None:
    modules = {
        n: attnc.compile("swin", size=2, width=4, height=n // 4, heads=1, d_model=8)
        for n in (8, 16)
    }
    form = Form("auto", modules[8], modules.__getitem__)
    assert scale([form], [8, 16], Limits(repeats=1), silent).own.lengths == [8, 16]
    assert [form.at(n).spec.dims["height"] for n in (0, 8, 16)] == [2, 2, 4]


def test_scaling_gives_time_and_memory_by_length(tmp_path: Path) -> None:
    picture = tmp_path / "growth.png"
    specs = ("delta_rule", "cross_attention")
    result = run_json(
        *("bench", "--scaling", *specs, *LENGTHS, *TINY, "--plot", str(picture), "--json")
    )
    own = result["specs"]["delta_rule"]
    assert own["lowering"] == {"memory": "chunked"}
    assert own["dims"]["heads"] == 1
    assert [row["length"] for row in own["own"]["lengths"]] == [8, 16, 32]
    assert [row["length"] for row in own["dense"]["lengths"]] == [8, 16, 32]
    assert all(row["step_peak_bytes"] > 0 for row in own["own"]["lengths"])
    assert own["time"]["verdict"] == ""  # nothing is fitted below N = 2048
    assert picture.stat().st_size > 1000


def test_a_spec_is_read_from_standard_input() -> None:
    (found,) = run_json("bench", "-", "--length", "8", *QUICK, "--json", input=GOOD)
    assert found["name"] == "-"


def test_the_table_of_scaling_tells_what_is_dense() -> None:
    shown = run("bench", "--scaling", "sigmoid", *LENGTHS, *TINY).stdout
    assert "sigmoid" in shown
    assert "is dense" in shown or "N = " in shown or "not up to 32" in shown


def test_longer_inputs_than_memory_allows_are_left_out() -> None:
    module = attnc.compile("softmax", d_model=8, heads=1, lowering="dense")
    found = scale([Form("auto", module)], [8, 16, 32, 64], Limits(1e6, 10_000, 1), silent)
    assert 8 in found.own.step.lengths
    assert "GiB" in found.own.step.stopped


def test_longer_inputs_than_there_is_time_for_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workload, "seconds", lambda self, run: 10.0)
    module = attnc.compile("softmax", d_model=8, heads=1, lowering="dense")
    found = scale([Form("auto", module)], [8, 16], Limits(60, 1 << 40, 1), silent)
    assert found.own.lengths == [8]
    assert found.own.step.stopped == "16: it would take about 135 s, and 0 s are left"


def test_a_run_that_fails_is_told() -> None:
    broken = attnc.compile("softmax", d_model=8, heads=1)
    broken.get_parameter("q.weight").data = torch.zeros(3, 3)
    found = scale([Form("auto", broken)], [8, 16], Limits(), silent)
    assert found.own.lengths == []
    assert found.own.forward.stopped.startswith("8: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scaling", "--from", "64", "--to", "8"], "--from 64 is beyond --to 8"),
        (["--plot", "a.png", "--length", "8"], "--length is for one N"),
        (["--scaling", "--plot", "a.txt"], "end it with .png"),
        (["--device", "nowhere"], "no device `nowhere`"),
    ],
)
def test_wrong_calls_are_refused(options: list[str], message: str) -> None:
    assert message in " ".join(run("bench", "softmax", *options, code=2).stderr.split())


def test_a_spec_at_fault_is_shown_before_anything_is_measured() -> None:
    assert "ATT" in run("bench", "--scaling", "softmax", "sofmax", code=1).stderr


def test_exponents_are_slopes_of_logarithms() -> None:
    assert slope({n: 3.0 * n**1.5 for n in (8, 16, 64)}) == pytest.approx(1.5)
    assert slope({8: 1.0}) is None


def test_a_claim_is_fitted_over_the_same_lengths() -> None:
    spec = api.check(name="aft").spec
    assert spec is not None
    found = exponent(spec, "time", {n: float(n) for n in (512, 2048, 4096)})
    assert found.claimed == pytest.approx(2)
    assert found.measured == pytest.approx(1)
    assert found.verdict == "less"
    assert Exponent(1.0, 1.1, 0.9).verdict == "ok"
    assert Exponent(1.0, 1.2, 0.9).verdict == "more"
    assert Exponent(None, 1.2, 0.9).verdict == ""


def test_the_lowering_is_that_of_the_longest_inputs() -> None:
    form = Form("auto", attnc.compile("sliding_window", d_model=8, heads=1))
    assert in_words(form.lowering) == "sdpa"
    form.step.seconds = {8: [1.0], 4096: [1.0]}
    assert in_words(form.lowering) == "cpu"
    assert in_words({}) == "plain"


def test_the_crossing_is_where_it_stays_faster() -> None:
    found = forms("softmax", {8: 1.0, 16: 3.0, 32: 4.0}, {8: 2.0, 16: 2.0, 32: 8.0})
    assert found.crossing == 32
    assert forms("softmax", {8: 3.0}, {8: 2.0}).crossing is None
    assert forms("softmax", {8: 1.0}, {8: 2.0, 16: 4.0}).crossing == 8
    found.own.forward.seconds[32] = [9.0]
    assert found.crossing is None


def test_a_peak_counts_what_is_held_at_once() -> None:
    assert highest([(3, -8), (1, 8), (2, 4), (4, 2)]) == 12

    def hold_two() -> None:
        first = torch.zeros(1000, dtype=torch.float64)
        second = torch.zeros(1000, dtype=torch.float64)
        del first
        third = torch.zeros(1000, dtype=torch.float64)
        del second, third

    assert peak_bytes(hold_two, torch.device("cpu")) == 16_000


def test_the_memory_of_dense_scores_grows_with_the_pairs() -> None:
    module = attnc.compile("softmax", d_model=8, heads=1, lowering="dense")
    sizes = {n: peak_bytes(workload(module, n).step, torch.device("cpu")) for n in (64, 128, 256)}
    assert slope(sizes) == pytest.approx(2, abs=0.3)


def test_heads_are_one_where_a_spec_can() -> None:
    """The single-head spec derives its heads, and multi-token attention groups them."""
    result = run_json(
        "bench", "softmax", "dot_product", "multi_token", "--length", "8", *QUICK[2:], "--json"
    )
    assert [item["name"] for item in result] == ["softmax", "dot_product", "multi_token"]
    assert "`heads` is derived" in run("bench", "dot_product", "--heads", "1", code=1).stderr


@pytest.mark.parametrize("name", attnc.library())
def test_every_spec_has_an_example(name: str) -> None:
    if api.check(name=name).report.errors:
        pytest.skip("the spec is at fault")
    module = attnc.compile(name, d_model=32)
    call = example(module, 16, batch=2)
    module._arguments.bound(
        (), call
    )  # what the call needs, and that names, kinds and shapes are right


@needs_compiler
def test_peaks_hold_what_kernels_use_themselves() -> None:
    module = attnc.compile("alibi", d_model=64, heads=2, lowering="cpu")
    x = torch.randn(1, 2000, 64, requires_grad=True)
    module(x).sum().backward()
    with watched() as changes:
        with watched():
            pass
        module(x).sum().backward()
    assert len(changes) == 4
    assert sum(change for _, change in changes) == 0
    packed = 2 * 2000 * 2 * 32 * 4  # keys and values of two heads
    assert max(change for _, change in changes) >= packed
    whole = peak_bytes(lambda: module(x).sum().backward(), torch.device("cpu"))
    assert whole > max(change for _, change in changes) + 2000 * 64 * 4
