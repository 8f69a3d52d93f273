"""Compiling: when, with what, and what is said where it cannot be done."""

import logging
import os
import shutil
import stat

import pytest

from deepsphere.ops.native import build


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """A cache of its own, and nothing remembered from other tests."""
    monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DEEPSPHERE_COMPILED", "auto")
    build.library.cache_clear()
    yield
    build.library.cache_clear()


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
    build.library.cache_clear()
    monkeypatch.setattr(build, "_compile", None)  # would fail
    assert build.library() == path
    assert path.stat().st_mtime_ns == before


def test_another_compiler_or_version_has_its_own(monkeypatch, tmp_path):
    first = build.library()
    assert build.library(version="2") != first
    build.library.cache_clear()
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    monkeypatch.setenv("CC", f"{compiler} -DNOTHING")
    assert build.library() != first


def test_the_processor_is_told_as_it_can_be(monkeypatch, tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    script = f'case "$*" in *=native*) exit 1;; esac\nexec {compiler} "$@"'
    monkeypatch.setenv("CC", fake_compiler(tmp_path, script))
    assert build.library().exists()


def test_off(monkeypatch):
    monkeypatch.setenv("DEEPSPHERE_COMPILED", "off")
    assert build.library() is None


def test_a_word_that_is_none(monkeypatch):
    monkeypatch.setenv("DEEPSPHERE_COMPILED", "perhaps")
    with pytest.raises(ValueError, match="must be auto, on, off; got 'perhaps'"):
        build.library()


def test_no_compiler(monkeypatch, caplog):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(build, "find_spec", lambda _: None)
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
    monkeypatch.setattr(build, "find_spec", lambda name: name == "ziglang")
    assert build._compiler()[1:] == ["-m", "ziglang", "cc"]


def test_a_compiler_that_fails(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("CC", fake_compiler(tmp_path, "echo no such thing >&2; exit 1"))
    with caplog.at_level(logging.WARNING):
        assert build.library() is None
    assert "no such thing" in caplog.text
    assert not list((tmp_path / "cache").glob("*.so"))


def test_a_cache_that_is_off(monkeypatch):
    monkeypatch.setenv("DEEPSPHERE_CACHE", "off")
    assert build.library().exists()


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path / "file" / "folder"))
    with caplog.at_level(logging.WARNING):
        assert build.library().exists()
    assert "keeping no compiled kernels in" in caplog.text


@pytest.mark.parametrize(("value", "threads"), [("3", 3), ("0", 1), ("some", None), (None, None)])
def test_threads(value, threads, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if value is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert build.threads() == (threads or there)
