"""A lock that is released when its process ends."""

import os
import subprocess
import sys
import threading

import pytest

from deepsphere import _locks as locks
from deepsphere._locks import exclusive

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no such locks there")

HOLDER = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("locks", sys.argv[1])  # no package, no Keras
locks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(locks)
with locks.exclusive(pathlib.Path(sys.argv[2]), 10, print) as held:
    print(held, flush=True)
    sys.stdin.readline()
"""


def never():
    raise AssertionError("told of a short wait")


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock until it reads a line."""
    command = [sys.executable, "-c", HOLDER, locks.__file__, str(tmp_path / "lock")]
    process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.communicate()


def test_one_at_a_time(tmp_path):
    inside, most, lock = 0, 0, threading.Lock()

    def work():
        nonlocal inside, most
        with exclusive(tmp_path / "lock", 30, never) as held:
            assert held
            with lock:
                inside += 1
                most = max(most, inside)
            threading.Event().wait(0.002)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert not list(tmp_path.iterdir())


def test_waiting_for_another_process(holder, tmp_path, monkeypatch):
    """The wait is reported once and ends when the other process is done."""
    monkeypatch.setattr(locks, "LONG", 0.05)
    told = []
    with exclusive(tmp_path / "lock", 0.4, lambda: told.append(1)) as held:
        assert not held
    assert told == [1]
    assert (tmp_path / "lock").exists()  # it is the other's
    holder.communicate("\n")
    with exclusive(tmp_path / "lock", 0, never) as held:
        assert held


def test_a_killed_process_locks_nobody_out(holder, tmp_path):
    holder.kill()
    holder.wait()
    assert (tmp_path / "lock").exists()
    with exclusive(tmp_path / "lock", 5, never) as held:
        assert held
    assert not list(tmp_path.iterdir())


def test_where_there_are_no_locks(tmp_path, monkeypatch):
    with exclusive(tmp_path / "missing" / "lock", 5, never) as held:
        assert not held
    with monkeypatch.context() as patch:
        patch.setattr(locks, "fcntl", None)
        with exclusive(tmp_path / "lock", 5, never) as held:
            assert not held

    def fail(*_):
        raise OSError("No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", fail)
    with exclusive(tmp_path / "lock", 5, never) as held:
        assert not held


def test_an_error_gives_the_lock_back(tmp_path):
    with pytest.raises(ValueError, match="inside"), exclusive(tmp_path / "lock", 5, never):
        raise ValueError("inside")
    assert not list(tmp_path.iterdir())
