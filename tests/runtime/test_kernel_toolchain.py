"""What kernels are built for and with: instructions, compiler, flags, settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from attnc.runtime.kernels import isa, toolchain
from attnc.runtime.kernels.errors import InstructionsMissing, NoCompiler
from attnc.runtime.kernels.openmp import Runtime
from attnc.runtime.kernels.settings import settings
from attnc.runtime.kernels.toolchain import Toolchain
from compilers import fresh_environment, script

SKYLAKE = "sse2 avx avx2 fma f16c avx512f avx512dq avx512cd avx512bw avx512vl".split()
GNU = Toolchain(("/usr/bin/g++",), "g++ (Debian) 12.2.0")
CLANG = Toolchain(("/usr/bin/clang++",), "Debian clang version 17.0.6")
LIBGOMP = Runtime(Path("/torch/lib/libgomp-a34b3233.so.1"))
LIBOMP = Runtime(Path("/torch/lib/libomp.so"))
PORTABLE, AVX2, AVX512, BF16 = isa.ISAS


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh_environment(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("features", "name"),
    [
        ([], "portable"),
        (["avx2"], "portable"),
        (["avx2", "fma", "f16c"], "avx2"),
        ([f for f in SKYLAKE if f != "avx512vl"], "avx2"),
        (SKYLAKE, "avx512"),
        ([*SKYLAKE, "avx512_bf16"], "avx512bf16"),
        (["avx512_bf16"], "portable"),
    ],
)
def test_the_instructions_are_all_that_the_features_allow(features: list[str], name: str) -> None:
    assert isa.best(features).name == name


def test_each_set_holds_what_those_below_it_need() -> None:
    for lower, upper in zip(isa.ISAS, isa.ISAS[1:], strict=False):
        assert lower.needs < upper.needs
        assert isa.and_below(upper)[1] == lower


def test_fewer_instructions_may_be_asked_for_but_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isa, "detected", lambda: AVX2)
    assert isa.chosen() == AVX2
    assert isa.chosen("portable") == PORTABLE
    with pytest.raises(InstructionsMissing, match="ATTNC_ISA=avx512: this machine has avx2"):
        isa.chosen("avx512")
    with pytest.raises(InstructionsMissing, match="there are portable, avx2, avx512, avx512bf16"):
        isa.chosen("sse9")


def test_another_architecture_is_portable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert isa.best(isa._features()) == PORTABLE
    assert PORTABLE.flags == ()


def test_infinities_keep_their_meaning() -> None:
    flags = GNU.compile_flags(BF16, LIBGOMP, sanitize=False)
    assert "-mavx512bf16" in flags
    assert "-ffp-contract=fast" in flags
    assert not {"-ffast-math", "-Ofast", "-ffinite-math-only"} & set(flags)


def test_the_runtime_of_torch_is_linked_and_no_other() -> None:
    assert "-fopenmp" in GNU.compile_flags(AVX2, LIBGOMP, sanitize=False)
    linking = GNU.link_flags(LIBGOMP, sanitize=False)
    assert str(LIBGOMP.path) in linking
    assert "-fopenmp" not in linking


def test_clang_is_not_asked_for_calls_that_the_runtime_does_not_know() -> None:
    assert "-fopenmp" not in CLANG.compile_flags(AVX2, LIBGOMP, sanitize=False)
    assert "-fopenmp" in CLANG.compile_flags(AVX2, LIBOMP, sanitize=False)
    assert "-fopenmp" not in CLANG.compile_flags(AVX2, None, sanitize=False)
    assert "-fopenmp-simd" in CLANG.compile_flags(AVX2, LIBGOMP, sanitize=False)


def test_sanitizers_replace_speed() -> None:
    flags = GNU.compile_flags(AVX2, LIBGOMP, sanitize=True)
    assert "-O3" not in flags
    assert "-fsanitize=address,undefined" in flags
    assert "-fsanitize=address,undefined" in GNU.link_flags(LIBGOMP, sanitize=True)


def test_the_compiler_that_is_named_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "mine", 'echo "mine 1.0"')
    script(tmp_path / "theirs", 'echo "theirs 2.0"')
    script(tmp_path / "g++", 'echo "g++ 3.0"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert toolchain.find(settings().compiler).title == "g++ 3.0"
    monkeypatch.setenv("CXX", "theirs")
    assert toolchain.find(settings().compiler).title == "theirs 2.0"
    monkeypatch.setenv("ATTNC_CXX", f"{tmp_path}/mine --with-an-option")
    found = toolchain.find(settings().compiler)
    assert found.title == "mine 1.0"
    assert found.command == (f"{tmp_path}/mine", "--with-an-option")


def test_a_compiler_that_does_not_run_gives_way_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "g++", "exit 3")
    script(tmp_path / "c++", 'echo "c++ 4.0"')
    monkeypatch.setenv("PATH", str(tmp_path))
    assert toolchain.find().title == "c++ 4.0"
    (tmp_path / "c++").unlink()
    monkeypatch.setenv("PATH", f"{tmp_path}:{tmp_path}")
    with pytest.raises(NoCompiler, match=r"`g\+\+` does not run"):
        toolchain.find()


def test_the_cache_is_where_the_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNC_CACHE_DIR", "/a/b")
    assert settings().cache == Path("/a/b")
    monkeypatch.delenv("ATTNC_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert settings().cache == Path("/x/attnc")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    assert settings().cache == Path("/home/me/.cache/attnc")


def test_switches_are_on_unless_they_say_no(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().may_build
    for text, may_build in (("1", False), ("yes", False), ("0", True), ("", True), ("off", True)):
        monkeypatch.setenv("ATTNC_DISABLE_JIT", text)
        assert settings().may_build == may_build
