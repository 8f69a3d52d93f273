import errno
import os
import time

import pytest

from deepsphere import _files as files
from deepsphere._files import remove_leftovers, replacing


def test_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
        assert temporary.suffix == ".txt"
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("half of the ne")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_takes_its_place_in_one_step(tmp_path):
    """It is renamed, not copied, so readers of the old file can finish."""
    path = tmp_path / "file.txt"
    path.write_text("old")
    with path.open() as reader:
        with replacing(path) as temporary:
            temporary.write_text("new and longer")
            number = temporary.stat().st_ino
        assert path.stat().st_ino == number
        assert reader.read() == "old"
    assert path.read_text() == "new and longer"


def test_the_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, flushed = tmp_path / "file.txt", []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append((number, path.exists())))
    with replacing(path) as temporary:
        temporary.write_text("text")
    assert [exists for _, exists in flushed] == [False]


def test_an_error_of_the_disk_is_told(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"), replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_that_cannot_flush(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fail)
    with replacing(tmp_path / "file.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "file.txt").read_text() == "new"


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "target.txt"
    link = tmp_path / "link.txt"
    link.symlink_to(target)
    with replacing(link) as temporary:
        temporary.write_text("text")
    assert link.is_symlink()
    assert target.read_text() == "text"


@pytest.mark.parametrize("name", ["x" * 250 + ".json", "ü" * 120 + ".json", "noext", ".hidden"])
def test_any_name_that_a_file_may_have(tmp_path, name):
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("text")
    assert (tmp_path / name).read_text() == "text"
    assert len(list(tmp_path.iterdir())) == 1


def test_leftovers_of_killed_processes(tmp_path):
    """Leftovers as after kill -9, with the names that `replacing` creates."""
    path, other = tmp_path / "model.keras", tmp_path / "other.keras"
    names = []
    for target in (path, path, other):
        with replacing(target) as temporary:
            temporary.write_text("half")
            os.link(temporary, tmp_path / "kept")
        names.append(temporary)
        (tmp_path / "kept").rename(temporary)
    for temporary in (names[0], names[2]):
        os.utime(temporary, (time.time() - files.HOUR - 60,) * 2)
    (tmp_path / ".model-notes.keras").write_text("the user's")
    os.utime(tmp_path / ".model-notes.keras", (0, 0))
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert not names[0].exists()
    assert names[1].exists()  # young: another process may be writing
    assert names[2].exists()  # of another file
    assert remove_leftovers(tmp_path) == [names[2]]
    assert sorted(tmp_path.iterdir()) == sorted(
        [path, other, names[1], tmp_path / ".model-notes.keras"]
    )
    assert remove_leftovers(tmp_path / "absent") == []
