"""`attnc build`: what it builds is all that calls and training load, also where nothing can be built."""

from __future__ import annotations

import json
from pathlib import Path

import attnc
import fuzz.campaign
import pytest
import torch
from attnc.runtime.ahead import needed
from attnc.runtime.kernels import isa, launch
from attnc.runtime.kernels.errors import KernelMissing
from command_line import run, run_json
from compilers import CountingCompiler, forget_loaded, needs_compiler

TEXT = """attnc: 1
name: built
inputs:
  bias: {type: real, over: [x, context]}
score: dot(q, k) / sqrt(d_head) + bias + detach(dot(k, k)) / d_head
"""
#: enough tokens for `auto` to take kernels
LENGTH = 260


@pytest.fixture
def folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a spec, where kernels are built fast; the working directory."""
    monkeypatch.setenv("ATTNC_CXX", str(fuzz.campaign.HASTY))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "built.yaml").write_text(TEXT, "utf-8")
    return tmp_path


def step(module: attnc.Module, learns_bias: bool = False, **more: torch.Tensor) -> torch.Tensor:
    """The result of a call, after its backward."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, LENGTH, 16, generator=generator)
    bias = torch.randn(1, LENGTH, LENGTH, generator=generator).requires_grad_(learns_bias)
    made: torch.Tensor = module(x, bias=bias, **more)
    made.sum().backward()
    return made.detach()


def module() -> attnc.Module:
    return attnc.compile("built.yaml", d_model=16, heads=2, strict=True)


DIMS = ("--dim", "d_model=16", "--dim", "heads=2")


@needs_compiler
def test_the_next_process_builds_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = CountingCompiler(folder)
    monkeypatch.setenv("ATTNC_CXX", str(compiler.path))
    rows = run_json("build", "built.yaml", *DIMS, "--json")["kernels"]
    assert [row["way"] for row in rows] == ["forward", "backward", "backward"]
    assert all(row["is_new"] and row["specs"] == ["built.yaml"] for row in rows)
    assert compiler.count == 3
    step(module())
    step(module(), learns_bias=True)
    assert compiler.count == 3
    again = run_json("build", "built.yaml", *DIMS, "--json")["kernels"]
    assert [row["is_new"] for row in again] == [False] * 3


@needs_compiler
def test_a_shipped_directory_serves_a_machine_without_a_compiler(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = folder / "shipped"
    told = run("build", "built.yaml", *DIMS, "--aot", str(shipped), COLUMNS="200").stdout
    assert f"3 kernels in `{shipped}`, 3 of them new" in told
    assert f"ATTNC_KERNELS={shipped}" in told
    expected = step(module())
    monkeypatch.setenv("ATTNC_CACHE_DIR", str(folder / "elsewhere"))
    monkeypatch.setenv("ATTNC_KERNELS", str(shipped))
    for nothing_to_build in ({"ATTNC_DISABLE_JIT": "1"}, {"PATH": str(folder)}):
        with monkeypatch.context() as there:
            there.delenv("ATTNC_CXX")
            for name, value in nothing_to_build.items():
                there.setenv(name, value)
            forget_loaded(there)
            assert torch.equal(step(module()), expected)
            step(module(), learns_bias=True)
    assert not (folder / "elsewhere").exists()


@needs_compiler
def test_gradients_of_some_weights_come_from_the_kernel_of_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("build", "built.yaml", *DIMS)
    made = module()
    step(made)
    expected = made.get_parameter("k.weight").grad
    monkeypatch.setenv("ATTNC_DISABLE_JIT", "1")
    frozen = module()
    frozen.load_state_dict(made.state_dict())
    frozen.requires_grad_(False)
    weight = frozen.get_parameter("k.weight").requires_grad_()
    step(frozen)
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, expected)
    assert frozen.get_parameter("q.weight").grad is None


@needs_compiler
def test_calls_with_padding_are_built_where_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    valid = torch.ones(1, LENGTH, dtype=torch.bool)
    run("build", "built.yaml", *DIMS, "--no-backward")
    monkeypatch.setenv("ATTNC_DISABLE_JIT", "1")
    with pytest.raises(KernelMissing):
        step(module(), valid=valid)
    monkeypatch.delenv("ATTNC_DISABLE_JIT")
    run("build", "built.yaml", *DIMS, "--given", "valid")
    monkeypatch.setenv("ATTNC_DISABLE_JIT", "1")
    step(module(), valid=valid)


@needs_compiler
def test_a_directory_holds_several_sets_of_instructions(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = ("--isa", "portable", "--isa", "avx2")
    if isa.detected().name == "portable":
        pytest.skip("a machine that has no sets of instructions above another")
    run("build", "built.yaml", *DIMS, "--no-backward", "--aot", "shipped", *levels)
    rows = [json.loads(path.read_text()) for path in Path("shipped").glob("*/meta.json")]
    assert sorted(row["isa"] for row in rows) == ["avx2", "portable"]
    monkeypatch.setenv("ATTNC_KERNELS", "shipped")
    monkeypatch.setenv("ATTNC_DISABLE_JIT", "1")
    for here, taken in (("portable", "portable"), ("avx2", "avx2"), ("", "avx2")):
        monkeypatch.setenv("ATTNC_ISA", here)
        forget_loaded(monkeypatch)
        (text,) = needed(module(), (), backward=False)
        assert launch.load(text.source, name=text.name).entry.record.isa == taken


def test_what_cannot_be_built_is_told_with_a_way_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = run("build", "linear_transformer", code=1).stderr
    assert "heads takes linear: faster, without a kernel" in told
    assert "did you mean `valid`?" in run("build", "softmax", "--given", "vaild", code=2).stderr
    monkeypatch.setenv("ATTNC_CXX", "no-such-compiler")
    told = run("build", "softmax", code=1).stderr
    assert "`no-such-compiler` is not on the PATH" in told
    assert "apt install g++" in told
    monkeypatch.setenv("ATTNC_DISABLE_JIT", "1")
    assert "unset it" in run("build", "softmax", code=1).stderr


def test_a_directory_that_others_can_write_to_is_refused(folder: Path) -> None:
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    assert "chmod go-w" in run("build", "softmax", "--aot", "open", code=1).stderr


class Unbuilt:
    """A library whose functions do nothing."""

    def function(self, *_: object, **__: object) -> object:
        return lambda *arguments: None


@pytest.mark.parametrize("name", ["additive", "bahdanau", "causal_additive", "alibi"])
def test_what_training_loads_is_what_is_built(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from attnc.runtime.examples import example

    made = attnc.compile(name)
    loaded: set[str] = set()

    def load(source: str, *, name: str) -> Unbuilt:
        loaded.add(source)
        return Unbuilt()

    monkeypatch.setattr(launch, "load", load)
    monkeypatch.setattr(launch, "begin", load)
    made(**example(made, LENGTH)).sum().backward()
    assert loaded
    assert loaded <= {text.source for text in needed(made, (), backward=True)}


def test_a_call_begins_the_backward_that_it_is_going_to_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, loaded = list[str](), list[str]()

    def load(source: str, *, name: str) -> Unbuilt:
        loaded.append(source)
        return Unbuilt()

    monkeypatch.setattr(launch, "load", load)
    monkeypatch.setattr(launch, "begin", lambda source, *, name: begun.append(source))
    core = attnc.compile("causal", entry="qkv", d_model=32, heads=2, lowering="cpu")
    query, key, value = (torch.randn(1, 2, 8, 16) for _ in range(3))
    core(query, key, value)
    assert not begun
    core(query, key[:, :, :7].requires_grad_(), value[:, :, :7]).sum().backward()
    assert begun == loaded[-1:]


@needs_compiler
@pytest.mark.parametrize("by", ["--dtype", "--autocast"])
def test_calls_in_half_precision_find_their_kernels(
    folder: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    compiler = CountingCompiler(folder)
    monkeypatch.setenv("ATTNC_CXX", str(compiler.path))
    rows = run_json("build", "built.yaml", *DIMS, by, "bfloat16", "--given", "valid", "--json")
    assert {row["way"] for row in rows["kernels"]} == {"forward", "backward"}
    built = compiler.count
    x, bias = torch.randn(1, LENGTH, 16), torch.randn(1, LENGTH, LENGTH)
    valid = torch.ones(1, LENGTH, dtype=torch.bool)
    own = module()
    if by == "--dtype":
        own, x, bias = own.bfloat16(), x.bfloat16(), bias.bfloat16()
    for more in ({}, {"valid": valid}):
        with torch.autocast("cpu", torch.bfloat16, enabled=by == "--autocast"):
            made = own(x, bias=bias, **more)
        made.float().sum().backward()
    assert compiler.count == built
    step(module())
    assert compiler.count > built  # those in float32 are others
