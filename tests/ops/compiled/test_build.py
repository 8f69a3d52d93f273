"""When and with which compiler the kernels are compiled, and messages on failure."""

import ctypes
import errno
import logging
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from deepsphere import _cache as cache
from deepsphere import _compiler as compiler
from deepsphere.ops.compiled import build

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """A separate cache, without state from other tests."""
    monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DEEPSPHERE_COMPILED", "auto")
    monkeypatch.setattr(build, "SOURCES", ("threads.c",))  # all of them take ten seconds
    monkeypatch.setattr(cache, "_told", set())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    build.library.cache_clear()
    yield
    build.library.cache_clear()


def again():
    """Ask as another process would."""
    build.library.cache_clear()
    return build.library()


@pytest.fixture
def compiled(monkeypatch):
    """Return a library in the cache; compiling another one fails."""
    path = build.library()
    build.library.cache_clear()
    monkeypatch.setattr(compiler, "compile_library", refuse)
    return path


def refuse(*_):
    raise compiler.CompilationError("compiled again", "", lasting=False)


def fake_compiler(folder, script):
    path = folder / "fake-cc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_compiled_once_and_kept(tmp_path, monkeypatch):
    path = build.library()
    assert path.parent == tmp_path / "cache"
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # nothing half written
    before = path.stat().st_mtime_ns
    monkeypatch.setattr(compiler, "compile_library", refuse)
    assert again() == path
    assert path.stat().st_mtime_ns == before


def name(*arguments):
    return build.Build.of(*(arguments or (None, (), ""))).name


def test_what_makes_a_library_another_one(monkeypatch):
    first = name()
    assert name() == first
    others = {name(None, (), "2"), name(None, ("-DOTHER",), ""), name("jax.c", (), "")}
    with monkeypatch.context() as patch:
        patch.setattr(compiler, "processor", lambda: "another one")
        others.add(name())
    with monkeypatch.context() as patch:
        patch.setenv("CC", f"{COMPILER} -DNOTHING")
        others.add(name())
    with monkeypatch.context() as patch:
        patch.setattr(compiler, "compiler_version", lambda _: "99")
        others.add(name())
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: path.name.encode())
        others.add(name())
    assert len(others - {first}) == 7


def damage_empty(path):
    path.write_bytes(b"")


def damage_cut(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def damage_zeroed(path):
    path.write_bytes(bytes(path.stat().st_size))


def damage_bit(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def damage_text(path):
    path.write_text("not found")


@pytest.mark.parametrize(
    "damage", [damage_empty, damage_cut, damage_zeroed, damage_bit, damage_text]
)
def test_a_damaged_library_is_compiled_again(damage, caplog):
    """It is never loaded, which would kill the process by SIGBUS or SIGSEGV."""
    path = build.library()
    damage(path)
    with caplog.at_level(logging.WARNING):
        mended = again()
    assert f"{path}: the file is damaged" in caplog.text
    assert len(caplog.records) == 1
    assert list(path.parent.iterdir()) == [mended]
    assert ctypes.CDLL(str(mended))._handle
    caplog.clear()
    assert again() == mended
    assert not caplog.records


def test_a_library_that_cannot_be_loaded_is_done_without(monkeypatch, caplog):
    def fail(path):
        raise OSError(f"{path}: cannot\n  map it")

    with caplog.at_level(logging.WARNING):
        assert build.load(fail) is None
    (record,) = caplog.records
    assert "running without compiled kernels" in record.getMessage()
    assert "cannot map it" in record.getMessage()
    monkeypatch.setenv("DEEPSPHERE_COMPILED", "on")
    with pytest.raises(RuntimeError, match=r"DEEPSPHERE_COMPILED is on, but .* cannot be loaded"):
        build.load(fail)


def refuse_in(folder, error):
    """Load as if from a file system mounted with noexec."""

    def load(path):
        if Path(path).parent == folder:
            raise OSError(f"{path}: {error}")
        return ctypes.CDLL(path)

    return load


@pytest.mark.parametrize(
    "error", ["failed to map segment from shared object", "Operation not permitted"]
)
def test_a_cache_from_which_nothing_may_be_run(error, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert build.load(refuse_in(tmp_path / "cache", error))._handle
    assert not caplog.records
    used = build.in_use()
    assert used.parent != tmp_path / "cache"
    assert stat.S_IMODE(used.parent.stat().st_mode) == 0o700
    assert used.parent.stat().st_uid == os.geteuid()


def test_nothing_may_be_run_anywhere(tmp_path, caplog):
    def load(path):
        raise OSError(f"{path}: failed to map segment from shared object")

    with caplog.at_level(logging.WARNING):
        assert build.load(load) is None
    (record,) = caplog.records
    message = record.getMessage()
    assert "running without compiled kernels" in message
    assert message.count("failed to map segment") == 2
    assert "set DEEPSPHERE_CACHE to a directory that allows running programs" in message


PROCESS = """
import sys
from deepsphere.ops.compiled import build
build.SOURCES = ("threads.c",)
print("ready", flush=True)
sys.stdin.readline()
print(build.library(), flush=True)
"""


def test_processes_that_start_together_compile_once(tmp_path, monkeypatch, caplog):
    calls = tmp_path / "calls"
    script = f'case "$*" in *" -o "*) echo x >>{calls}; sleep 1;; esac\nexec {COMPILER} "$@"'
    monkeypatch.setenv("CC", fake_compiler(tmp_path, script))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    other = subprocess.Popen([sys.executable, "-c", PROCESS], text=True, **pipes)
    assert other.stdout.readline() == "ready\n"
    other.stdin.write("go\n")
    other.stdin.flush()
    with caplog.at_level(logging.WARNING):
        path = build.library()
    output, errors = other.communicate()
    assert list((tmp_path / "cache").iterdir()) == [path]  # and no lock
    assert output == f"{path}\n"
    assert "waiting" not in errors + caplog.text  # a second is not worth a word
    assert calls.read_text().count("x") == 1


def test_who_waits_for_a_compiler_that_fails_is_told_of_its_failure(failing, tmp_path, caplog):
    """It does not ask the compiler again."""
    real = build._find

    def find(*arguments, tell=True):
        if tell:  # before the lock; the other process then fails while this one waits
            return None
        return real(*arguments, tell=tell)

    assert again() is None
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(build, "_find", find)
        assert again() is None
    assert "its messages are in" in caplog.text
    assert failing.read_text().count("x") == 1


def test_loading(monkeypatch):
    assert build.load(ctypes.CDLL)._handle
    monkeypatch.setenv("DEEPSPHERE_COMPILED", "off")
    build.library.cache_clear()
    assert build.load(refuse) is None


@pytest.mark.skipif(os.name == "nt", reason="no modes there")
@pytest.mark.parametrize("others", [0o775, 0o757, 0o777])
def test_a_directory_that_others_may_write_to(compiled, others, caplog):
    """Its files are not executed, and none are added."""
    compiled.parent.chmod(others)
    with caplog.at_level(logging.WARNING):
        assert again() is None  # where compiling again would be right
    assert f"others may write to {compiled.parent}" in caplog.text
    assert f"chmod go-w {compiled.parent}" in caplog.text
    compiled.parent.chmod(0o755)
    assert again() == compiled


@pytest.mark.skipif(os.name == "nt", reason="no modes there")
def test_a_file_that_others_may_write_to(compiled):
    compiled.chmod(0o777)
    assert again() is None
    compiled.chmod(0o755)
    assert again() == compiled


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no owners there")
@pytest.mark.parametrize("what", ["directory", "file"])
def test_what_belongs_to_another_user(compiled, what, monkeypatch, caplog):
    path = compiled if what == "file" else compiled.parent
    real, user = Path.lstat, os.geteuid()

    def lstat(self):
        status = real(self)
        return os.stat_result([*status[:4], user + 1, *status[5:]]) if self == path else status

    monkeypatch.setattr(Path, "lstat", lstat)
    with caplog.at_level(logging.WARNING):
        assert again() is None
    assert f"{path} belongs to user {user + 1}, not to you (user {user})" in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="no modes there")
def test_a_library_is_safe_whatever_the_umask(monkeypatch):
    before = os.umask(0)
    try:
        path = build.library()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.stat().st_mode & 0o022
    monkeypatch.setattr(compiler, "compile_library", refuse)
    assert again() == path


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / "cache").mkdir()
    old, new = (tmp_path / "cache" / f".kernels-core-{c * 32}.so" for c in "ab")
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    path = build.library()
    assert set(path.parent.iterdir()) == {path, new}  # another process may still be writing


def test_a_compiler_that_does_not_know_the_processor(monkeypatch, tmp_path):
    script = f'case "$*" in *=native*) exit 1;; esac\nexec {COMPILER} "$@"'
    monkeypatch.setenv("CC", fake_compiler(tmp_path, script))
    assert build.library().exists()


def test_an_assembler_that_does_not_know_the_processor(monkeypatch, tmp_path):
    script = f'case "$*" in *native*" -o "*) exit 1;; esac\nexec {COMPILER} "$@"'
    monkeypatch.setenv("CC", fake_compiler(tmp_path, script))
    assert build.library().exists()


def test_off(monkeypatch):
    monkeypatch.setenv("DEEPSPHERE_COMPILED", "off")
    assert build.library() is None


def test_a_word_that_is_none(monkeypatch):
    monkeypatch.setenv("DEEPSPHERE_COMPILED", "perhaps")
    with pytest.raises(ValueError, match="must be auto, on, off; got 'perhaps'"):
        build.library()


def test_an_empty_word_is_the_default(monkeypatch):
    monkeypatch.setenv("DEEPSPHERE_COMPILED", "")
    assert compiler.choice() == "auto"


def test_no_compiler(monkeypatch, caplog):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(compiler, "find_spec", lambda _: None)
    with caplog.at_level(logging.WARNING):
        assert build.library() is None
    assert "deepsphere-keras[compiled]" in caplog.text
    assert build.library() is None  # said once
    assert len(caplog.records) == 1
    build.library.cache_clear()
    monkeypatch.setenv("DEEPSPHERE_COMPILED", "on")
    with pytest.raises(RuntimeError, match="DEEPSPHERE_COMPILED is on, but there is no C compiler"):
        build.library()


def test_the_compiler_of_the_extra(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(compiler, "find_spec", lambda name: name == "ziglang")
    assert compiler.find_compiler()[1:] == ["-m", "ziglang", "cc"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('gcc "', "CC='gcc \"' is not a command (No closing quotation)"),
        ("no-such-cc -O2", "CC='no-such-cc -O2', but there is no program 'no-such-cc'"),
    ],
)
def test_a_compiler_that_is_named_wrongly(value, message, monkeypatch, caplog):
    monkeypatch.setenv("CC", value)
    with caplog.at_level(logging.WARNING):
        assert build.library() is None
    assert message in caplog.text


def test_an_empty_name_is_none(monkeypatch):
    monkeypatch.setenv("CC", " ")
    assert compiler.find_compiler() == [COMPILER]


@pytest.fixture
def failing(monkeypatch, tmp_path):
    """Return a file that gets a line for each failing run of the compiler."""
    calls = tmp_path / "calls"
    calls.write_text("")
    script = f'case "$*" in *--version*) cat {tmp_path}/version;; *" -o "*) echo x >>{calls}; '
    script += "echo 'a.c:1: error: no such thing' >&2; echo 'line two' >&2; exit 1;; esac"
    (tmp_path / "version").write_text("1")
    monkeypatch.setattr(compiler, "TUNING", ())
    monkeypatch.setenv("CC", fake_compiler(tmp_path, script))
    return calls


def test_a_compiler_that_fails_is_not_asked_again(failing, tmp_path, caplog):
    for _ in range(3):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert again() is None
        (record,) = caplog.records  # each process tells it, in one line
        message = record.getMessage()
        assert "\n" not in message
        assert "running without compiled kernels" in message
        (log,) = (tmp_path / "cache").glob("*")
        assert str(log) in message
        text = log.read_text()
        assert "no such thing" in text
        assert "line two" in text
        assert "fake-cc -O3" in text
    assert failing.read_text().count("x") == 1


@pytest.mark.parametrize("reason", ["time", "compiler", "log", "on"])
def test_when_a_compiler_that_failed_is_asked_again(reason, failing, tmp_path, monkeypatch):
    assert again() is None
    (log,) = (tmp_path / "cache").glob("*.log")
    if reason == "time":
        os.utime(log, (time.time() - build.FAILURE_LASTS - 60,) * 2)
    elif reason == "compiler":
        (tmp_path / "version").write_text("2")
    elif reason == "log":
        log.unlink()
    else:
        monkeypatch.setenv("DEEPSPHERE_COMPILED", "on")
        with pytest.raises(RuntimeError, match="DEEPSPHERE_COMPILED is on, but the C compiler"):
            again()
    if reason != "on":
        assert again() is None
    assert failing.read_text().count("x") == 2


def test_success_makes_a_failure_forgotten(failing, tmp_path, monkeypatch):
    assert again() is None
    (log,) = (tmp_path / "cache").glob("*.log")
    monkeypatch.setenv("DEEPSPHERE_COMPILED", "on")
    fake_compiler(
        tmp_path,
        f'case "$*" in *--version*) cat {tmp_path}/version;; *) exec {COMPILER} "$@";; esac',
    )
    assert again().exists()
    assert not log.exists()


def test_a_compiler_that_was_killed_is_asked_again(monkeypatch, tmp_path, caplog):
    calls = tmp_path / "calls"
    script = f'case "$*" in *" -o "*) echo x >>{calls}; kill -9 $$;; esac'
    monkeypatch.setenv("CC", fake_compiler(tmp_path, script))
    for _ in range(2):
        with caplog.at_level(logging.WARNING):
            assert again() is None
    assert calls.read_text().count("x") == 2


def test_a_compiler_without_end(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(compiler, "PATIENCE", 0.2)
    monkeypatch.setenv("CC", fake_compiler(tmp_path, "exec sleep 20"))
    with caplog.at_level(logging.WARNING):
        assert build.library() is None
    assert "stopped after 0.2 seconds" in caplog.text


def test_a_full_disk(monkeypatch, caplog):
    """Compiled once, and used by this process if there is space elsewhere."""

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(build.shutil, "copyfile", fail)
    with caplog.at_level(logging.WARNING):
        path = build.library()
    assert "No space left on device" in caplog.text
    assert ctypes.CDLL(str(path))._handle
    assert not list(Path(os.environ["DEEPSPHERE_CACHE"]).iterdir())


def test_a_full_disk_everywhere(monkeypatch, tmp_path, caplog):
    calls = tmp_path / "calls"
    script = f'case "$*" in *" -o "*) echo x >>{calls}; echo "No space left" >&2; exit 1;; esac'
    monkeypatch.setenv("CC", fake_compiler(tmp_path, script))
    with caplog.at_level(logging.WARNING):
        assert build.library() is None
    assert calls.read_text().count("x") == 1
    assert not list((tmp_path / "cache").glob("*"))  # nothing is remembered of this


def test_a_cache_that_is_off(monkeypatch):
    monkeypatch.setenv("DEEPSPHERE_CACHE", "off")
    assert build.library().exists()


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path / "file" / "folder"))
    with caplog.at_level(logging.WARNING):
        assert build.library().exists()
    assert "cannot keep compiled kernels in" in caplog.text


def test_a_ready_library_in_a_cache_that_is_read_only(compiled):
    compiled.parent.chmod(0o500)
    try:
        assert again() == compiled
    finally:
        compiled.parent.chmod(0o700)


def test_threads(monkeypatch):
    """The number follows `deepsphere._processors`, also after changes."""
    for count in (5, 3):
        monkeypatch.setattr(build, "thread_count", lambda: count)  # noqa: B023
        monkeypatch.setenv("OMP_NUM_THREADS", f"{count}0")
        assert build.threads() == count
        monkeypatch.setattr(build, "thread_count", refuse)
        assert build.threads() == count  # remembered


def test_too_many_threads_are_not_started(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "100000")
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert 1 <= build.threads() <= there
