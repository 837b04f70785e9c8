"""From a C++ source to a loaded library: once, verified, and refused with a reason."""

from __future__ import annotations

import ctypes
import errno
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attnc.runtime.kernels import Library, build, cache, load, loading, locks, target, temporary
from attnc.runtime.kernels.entry import RECORD, Broken, read
from attnc.runtime.kernels.errors import (
    BuildBusy,
    BuildFailed,
    KernelMissing,
    NoCompiler,
    NotLoaded,
    UnsafeDirectory,
)
from compilers import (
    CountingCompiler,
    answer,
    as_root,
    entry_folders,
    forget_loaded,
    needs_compiler,
    script,
)

pytestmark = needs_compiler


@pytest.fixture
def compiler(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> CountingCompiler:
    counting = CountingCompiler(tmp_path)
    monkeypatch.setenv("ATTNC_CXX", str(counting.path))
    return counting


@pytest.fixture
def no_temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has not needed a temporary cache yet."""
    monkeypatch.setattr(temporary, "_made", {})
    yield
    for process, made in temporary._made.items():
        temporary._remove(process, made.root)


def value(library: Library) -> int:
    result: int = library.function("answer", result=ctypes.c_int)()
    return result


def test_a_source_becomes_a_library(home: Path) -> None:
    library = load(answer(42), name="answer")
    assert value(library) == 42
    (folder,) = entry_folders(home)
    assert {path.name for path in folder.iterdir()} == {"answer.so", "answer.cpp", RECORD}
    assert read(folder).record.name == "answer"
    assert not list((home / "building").iterdir())


def test_the_cache_is_for_its_owner_alone(home: Path) -> None:
    load(answer(0), name="answer")
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_second_load_is_the_same_object_and_quick(home: Path) -> None:
    source = answer(1)
    library = load(source, name="answer")
    begin = time.perf_counter()
    for _ in range(100):
        assert load(source, name="answer") is library
    assert time.perf_counter() - begin < 0.1


def test_a_new_process_compiles_nothing(
    compiler: CountingCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(answer(2), name="answer")
    forget_loaded(monkeypatch)
    assert value(load(answer(2), name="answer")) == 2
    assert compiler.count == 1


def test_another_source_name_compiler_or_isa_is_another_kernel(
    compiler: CountingCompiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(answer(3), name="answer")
    load(answer(4), name="answer")
    load(answer(3), name="other")
    assert compiler.count == 3
    monkeypatch.setenv("ATTNC_ISA", "portable")
    load(answer(3), name="answer")
    assert compiler.count == 4
    newer = f'if [ "$1" = --version ]; then echo "new 99"; else exec "{compiler.path}" "$@"; fi'
    monkeypatch.setenv("ATTNC_CXX", str(script(tmp_path / "newer-c++", newer)))
    load(answer(3), name="answer")
    assert compiler.count == 5


def test_threads_that_start_together_compile_once(compiler: CountingCompiler) -> None:
    found: list[Library] = []
    threads = [
        threading.Thread(target=lambda: found.append(load(answer(5), name="answer")))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(map(id, found))) == 1
    assert compiler.count == 1


def test_a_name_that_is_no_file_name_is_refused(home: Path) -> None:
    for name in ("", "../up", "Big", "a b", "a" * 65):
        with pytest.raises(ValueError, match="no name of a kernel"):
            load(answer(0), name=name)


def test_a_function_that_is_not_there_is_told(home: Path) -> None:
    with pytest.raises(NotLoaded, match="has no function `question`"):
        load(answer(0), name="answer").function("question")


# -- damage ---------------------------------------------------------------------------------


def test_a_changed_library_is_built_again_with_a_warning(
    compiler: CountingCompiler, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(answer(6), name="answer")
    forget_loaded(monkeypatch)
    (folder,) = entry_folders(home)
    library = folder / "answer.so"
    data = bytearray(library.read_bytes())
    data[len(data) // 2] ^= 1
    library.unlink()  # the one that is loaded must not change under this process
    library.write_bytes(data)
    with pytest.warns(RuntimeWarning, match="built again: .* has changed since it was built"):
        assert value(load(answer(6), name="answer")) == 6
    assert compiler.count == 2
    assert read(folder).verify() is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (RECORD, ""),
        (RECORD, "{}"),
        (RECORD, "[1, 2]"),
        (RECORD, '{"format": 1}'),
        (RECORD, None),
        ("answer.so", ""),
        ("answer.so", None),
        ("answer.cpp", "int changed;"),
    ],
)
def test_every_kind_of_damage_is_noticed(
    name: str, text: str | None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(answer(7), name="answer")
    forget_loaded(monkeypatch)
    (folder,) = entry_folders(home)
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(Broken):
        cache.found(folder)
    with pytest.warns(RuntimeWarning, match="built again"):
        assert value(load(answer(7), name="answer")) == 7
    assert cache.found(folder) is not None


def test_a_record_of_another_key_is_noticed(home: Path) -> None:
    load(answer(8), name="answer")
    (folder,) = entry_folders(home)
    moved = folder.rename(folder.with_name("0" * 32 + "-" + "0" * 16))
    with pytest.raises(Broken, match="another kernel"):
        cache.found(moved)


def test_an_entry_removed_before_it_is_opened_is_built_again(
    compiler: CountingCompiler, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = loading._entry
    removed = []

    def and_removed(*arguments: object) -> object:
        entry = whole(*arguments)  # type: ignore[arg-type]
        if not removed:
            removed.append(entry.key)
            cache.Cache(home).remove(entry.key)
        return entry

    monkeypatch.setattr(loading, "_entry", and_removed)
    assert value(load(answer(9), name="answer")) == 9
    assert compiler.count == 2


def test_what_killed_builds_left_is_swept_by_the_next(home: Path) -> None:
    load(answer(10), name="answer")
    (folder,) = entry_folders(home)
    dead = home / "building" / f"{folder.name}.dead"
    dead.mkdir()
    (dead / "kernel.o").write_text("half")
    assert cache.Cache(home).sweep() == 1
    assert not dead.exists()


# -- beside what goes on ---------------------------------------------------------------------


@pytest.fixture
def cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_CPUS", 2)


def test_what_is_begun_is_compiled_once(
    home: Path, cpus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = CountingCompiler(tmp_path, "sleep 0.5")
    monkeypatch.setenv("ATTNC_CXX", str(slow.path))
    for _ in range(3):
        loading.begin(answer(24), name="answer")
    assert value(load(answer(24), name="answer")) == 24
    assert slow.count == 1


def test_builds_go_on_beside_one_another(
    home: Path, cpus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each compiler waits until it sees the other, and fails if that never starts."""
    two = f'[ $(wc -l < "{tmp_path}/compiled.log") = 2 ]'
    waits = f"for _ in $(seq 100); do {two} && break; sleep 0.1; done; {two} || exit 1"
    monkeypatch.setenv("ATTNC_CXX", str(CountingCompiler(tmp_path, waits).path))
    loading.begin(answer(25), name="answer")
    assert value(load(answer(26), name="answer")) == 26
    assert value(load(answer(25), name="answer")) == 25


@pytest.mark.filterwarnings("error")
def test_what_fails_beside_is_told_when_it_is_asked_for(home: Path, cpus: None) -> None:
    source = 'extern "C" int answer() { return forty_three; }\n'
    loading.begin(source, name="answer")
    with pytest.raises(BuildFailed, match="forty_three"):
        load(source, name="answer")


def test_a_program_that_ends_leaves_what_it_began_whole(home: Path) -> None:
    code = (
        "from attnc.runtime.kernels import loading\n"
        "loading._CPUS = 2\n"
        f"loading.begin({answer(27)!r}, name='answer')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    (folder,) = entry_folders(home)
    assert read(folder).verify() is None
    assert not list((home / "building").iterdir())


# -- directories ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_cache_that_others_can_write_to_is_refused(mode: int, home: Path) -> None:
    home.mkdir()
    home.chmod(mode)
    with pytest.raises(UnsafeDirectory, match="chmod go-w"):
        load(answer(0), name="answer")


def test_a_cache_of_another_owner_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir(mode=0o700)
    own = home.stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: own + 1)
    with pytest.raises(UnsafeDirectory, match=f"belongs to user {own}"):
        load(answer(0), name="answer")


def test_a_cache_that_is_a_file_falls_back_to_a_temporary_one(
    home: Path, no_temporary: None
) -> None:
    home.write_text("not a directory")
    with pytest.warns(RuntimeWarning, match="kernels are not kept"):
        assert value(load(answer(11), name="answer")) == 11


@pytest.mark.skipif(as_root(), reason="root writes everywhere")
def test_a_read_only_cache_is_read_and_new_kernels_are_temporary(
    compiler: CountingCompiler, home: Path, no_temporary: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(answer(12), name="answer")
    forget_loaded(monkeypatch)
    folders = [home / name for name in ("kernels", "building", "locks", "failed", ".")]
    for folder in folders:
        folder.chmod(0o500)
    try:
        assert value(load(answer(12), name="answer")) == 12
        assert compiler.count == 1
        with pytest.warns(RuntimeWarning, match="kernels are not kept"):
            assert value(load(answer(13), name="answer")) == 13
    finally:
        for folder in reversed(folders):
            folder.chmod(0o700)


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOLCK])
def test_a_cache_that_cannot_be_written_falls_back_with_one_warning(
    code: int, home: Path, no_temporary: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = cache.publish

    def refused(folder: Path, target: Path) -> object:
        if target.is_relative_to(home):
            raise OSError(code, "no")
        return publish(folder, target)

    monkeypatch.setattr(cache, "publish", refused)
    with pytest.warns(RuntimeWarning, match="kernels are not kept") as told:
        found = [load(answer(number), name="answer") for number in (14, 15)]
    assert list(map(value, found)) == [14, 15]
    assert len(told) == 1
    assert not entry_folders(home)
    assert not list((home / "building").iterdir())


def test_a_compiler_that_fills_the_disk_counts_as_a_full_disk(
    home: Path, tmp_path: Path, no_temporary: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = CountingCompiler(
        tmp_path, f'case "$PWD" in {home}*) echo "No space left on device"; exit 1;; esac'
    )
    monkeypatch.setenv("ATTNC_CXX", str(counting.path))
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        assert value(load(answer(16), name="answer")) == 16


# -- builds that fail -----------------------------------------------------------------------


def test_a_source_that_does_not_compile_shows_the_compilers_message(home: Path) -> None:
    with pytest.raises(BuildFailed) as failed:
        load('extern "C" int answer() { return forty_two; }\n', name="answer")
    text = str(failed.value)
    assert "answer.cpp:1:" in text
    assert "forty_two" in text
    (kept,) = (home / "failed").glob("*.cpp")
    assert str(kept) in text
    assert "forty_two" in kept.read_text()
    assert "forty_two" in kept.with_suffix(".log").read_text()
    assert not entry_folders(home)
    assert not list((home / "building").iterdir())


def test_a_long_message_is_cut(home: Path) -> None:
    source = "".join(f"int f{n}() {{ return wrong{n}; }}\n" for n in range(100))
    with pytest.raises(BuildFailed, match=r"and \d+ more lines") as failed:
        load(source, name="answer")
    assert len(str(failed.value).splitlines()) < 30


def test_a_function_that_is_used_but_not_defined_is_told(home: Path) -> None:
    source = 'extern "C" int other(); extern "C" int answer() { return other(); }\n'
    with pytest.raises((NotLoaded, BuildFailed), match="other"):
        load(source, name="answer")


def test_a_compiler_that_hangs_is_ended(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = CountingCompiler(tmp_path, "sleep 60")
    monkeypatch.setenv("ATTNC_CXX", str(counting.path))
    monkeypatch.setattr(build, "TIME_LIMIT", 0.3)
    begin = time.monotonic()
    with pytest.raises(BuildFailed, match="took more than"):
        load(answer(17), name="answer")
    assert time.monotonic() - begin < 20


def test_without_a_compiler_the_advice_is_clear(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoCompiler, match=r"`clang\+\+` is not on the PATH(.|\n)*apt install g\+\+"):
        load(answer(0), name="answer")
    monkeypatch.setenv("ATTNC_CXX", "my-c++")
    with pytest.raises(NoCompiler, match=r"ATTNC_CXX or CXX cannot be used: `my-c\+\+` is not"):
        load(answer(0), name="answer")


def test_without_a_compiler_what_is_built_is_loaded(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(answer(18), name="answer")
    forget_loaded(monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert value(load(answer(18), name="answer")) == 18


def test_who_waits_too_long_is_told_for_whom(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from attnc.runtime.kernels.locks import locked\n"
        "with locked(Path(sys.argv[1]), 'ab'): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    try:
        with (
            pytest.raises(BuildBusy, match=f"process {holder.pid} on "),
            locks.locked(tmp_path, "ab", patience=0.1),
        ):
            pass
        with locks.locked_if_free(tmp_path, "ab") as is_held:
            assert not is_held
    finally:
        holder.communicate()
    with locks.locked(tmp_path, "ab", patience=5):
        pass


# -- without builds -------------------------------------------------------------------------


def test_with_builds_forbidden_a_missing_kernel_says_how_to_get_it(
    compiler: CountingCompiler, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTNC_DISABLE_JIT", "1")
    with pytest.raises(KernelMissing, match="attnc build SPEC --aot DIR"):
        load(answer(19), name="answer")
    assert compiler.count == 0
    assert not home.exists()


def test_with_builds_forbidden_the_cache_still_serves(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(answer(20), name="answer")
    forget_loaded(monkeypatch)
    monkeypatch.setenv("ATTNC_DISABLE_JIT", "1")
    assert value(load(answer(20), name="answer")) == 20


@pytest.fixture
def shipped(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with `answer(21)` for portable instructions, where nothing can be built."""
    monkeypatch.setenv("ATTNC_ISA", "portable")
    cache.export(load(answer(21), name="answer").entry, tmp_path / "shipped")
    forget_loaded(monkeypatch)
    monkeypatch.setenv("ATTNC_KERNELS", str(tmp_path / "shipped"))
    monkeypatch.setenv("ATTNC_DISABLE_JIT", "1")
    monkeypatch.setenv("ATTNC_CACHE_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "shipped"


def test_a_shipped_kernel_needs_no_compiler(shipped: Path) -> None:
    library = load(answer(21), name="answer")
    assert value(library) == 21
    assert library.path.is_relative_to(shipped)


def test_a_shipped_kernel_for_fewer_instructions_runs_where_nothing_can_be_built(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ATTNC_ISA")
    assert value(load(answer(21), name="answer")) == 21


def test_a_shipped_kernel_of_another_kind_is_explained(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTNC_SANITIZE", "1")
    with pytest.raises(KernelMissing, match="does not fit: sanitize is False, not True"):
        load(answer(21), name="answer")
    with pytest.raises(KernelMissing, match="not True; its source is another"):
        load(answer(22), name="answer")


def test_the_target_is_what_kernels_are_built_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTNC_ISA", "portable")
    assert target().name == load(answer(23), name="answer").entry.record.isa == "portable"


def test_a_disk_that_forbids_programs_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("answer.so: failed to map segment from shared object")

    monkeypatch.setattr("ctypes.CDLL", refuse)
    with pytest.raises(NotLoaded, match="noexec"):
        load(answer(24), name="answer")


def test_a_damaged_shipped_kernel_is_passed_over(shipped: Path) -> None:
    (folder,) = shipped.iterdir()
    (folder / "answer.so").write_bytes(b"")
    with (
        pytest.warns(RuntimeWarning, match="passed over"),
        pytest.raises(KernelMissing, match="does not fit: it is damaged"),
    ):
        load(answer(21), name="answer")


def test_a_shipped_directory_that_others_can_write_to_is_refused(shipped: Path) -> None:
    shipped.chmod(0o777)
    with pytest.raises(UnsafeDirectory, match="chmod go-w"):
        load(answer(21), name="answer")


def test_an_entry_is_copied_twice_without_harm(home: Path, tmp_path: Path) -> None:
    entry = load(answer(22), name="answer").entry
    for _ in range(2):
        copied = cache.export(entry, tmp_path / "shipped")
        copied.verify()
    assert [path.name for path in (tmp_path / "shipped").iterdir()] == [entry.key]
