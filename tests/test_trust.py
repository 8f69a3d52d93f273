"""Who could have changed a file, judged by owners, modes, parent directories and links."""

import os
import stat

import pytest

from deepsphere import _trust as trust
from deepsphere._trust import distrust, make_private_directory

pytestmark = pytest.mark.skipif(os.name == "nt", reason="neither owners nor modes there")


@pytest.fixture
def place(tmp_path):
    directory = tmp_path / "above" / "cache"
    make_private_directory(directory)
    (directory / "file").write_text("text")
    (directory / "file").chmod(0o644)
    return directory


def pretend(monkeypatch, path, **owner):
    """Let `path` belong to another user or group."""
    real = trust.Path.lstat

    def lstat(self):
        status = list(real(self))
        if self == path:
            status[4] = owner.get("uid", status[4])
            status[5] = owner.get("gid", status[5])
        return os.stat_result(status)

    monkeypatch.setattr(trust.Path, "lstat", lstat)


def test_what_is_ones_own(place):
    assert distrust(place / "file") is None
    assert distrust(place) is None
    assert distrust(place / "not yet" / "there") is None


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o720, 0o702, 0o1777])
def test_others_may_write(place, mode, monkeypatch):
    monkeypatch.setattr(trust, "_is_private_group", lambda group: False)
    place.chmod(mode)
    for path in (place, place / "file", place / "not yet"):
        if path == place or not mode & stat.S_ISVTX:
            assert distrust(path) == (
                f"others may write to {place}; if you trust its contents: chmod go-w {place}"
            )
        else:
            assert distrust(path) is None  # as in /tmp: they cannot replace what is mine
    place.chmod(0o755)
    assert distrust(place / "file") is None


def test_others_may_write_above(place):
    """Others could then replace this directory."""
    place.parent.chmod(0o777)
    assert f"others may write to {place.parent};" in distrust(place)
    place.parent.chmod(0o1777)
    assert distrust(place) is None


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_others_may_write_to_the_file(place, mode):
    (place / "file").chmod(mode)
    assert f"others may write to {place / 'file'};" in distrust(place / "file")


def test_owners(place, monkeypatch):
    user = os.geteuid()
    for path in (place.parent, place, place / "file"):
        with monkeypatch.context() as patch:
            pretend(patch, path, uid=user + 7)
            expected = f"{path} belongs to user {user + 7}, not to you (user {user})"
            assert distrust(place / "file") == expected
    with monkeypatch.context() as patch:  # root may do anything anyway
        pretend(patch, place, uid=0)
        assert distrust(place / "file") is None


def test_links(place, tmp_path, monkeypatch):
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (place / "link").symlink_to(outside)
    assert distrust(place / "link" / "file") is None
    outside.chmod(0o777)  # where it leads counts ...
    assert f"others may write to {outside};" in distrust(place / "link" / "file")
    outside.chmod(0o700)
    with monkeypatch.context() as patch:  # ... and who made it
        pretend(patch, place / "link", uid=os.geteuid() + 1)
        assert f"{place / 'link'} belongs to user" in distrust(place / "link" / "file")
    place.chmod(0o777)  # and where it lies
    assert f"others may write to {place};" in distrust(place / "link" / "file")


def test_the_private_group_of_a_user(place, monkeypatch):
    """Parent directories may be group-writable, as with Fedora's umask."""
    place.parent.chmod(0o775)
    monkeypatch.setattr(trust, "_is_private_group", lambda group: True)
    assert distrust(place) is None
    place.chmod(0o775)  # not where the files themselves are
    assert f"others may write to {place};" in distrust(place)
    monkeypatch.setattr(trust, "_is_private_group", lambda group: False)
    assert f"others may write to {place.parent};" in distrust(place)


def test_nobody_in_a_container(place, monkeypatch):
    """A rootless container shows the host's root as nobody."""
    pretend(monkeypatch, place.parent, uid=65534)
    monkeypatch.setattr(trust, "_in_user_namespace", lambda: False)
    assert "belongs to user 65534" in distrust(place)
    monkeypatch.setattr(trust, "_in_user_namespace", lambda: True)
    assert distrust(place) is None
    pretend(monkeypatch, place, uid=65534)
    assert "belongs to user 65534" in distrust(place)


def test_a_directory_that_may_not_be_entered(place, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(trust.Path, "lstat", refuse)
    assert "cannot be examined (Permission denied)" in distrust(place)


def test_private_directories(tmp_path):
    before = os.umask(0)
    try:
        make_private_directory(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    for name in ("a", "a/b"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
    make_private_directory(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        make_private_directory(tmp_path / "file" / "c")
    (tmp_path / "a").chmod(0o777)  # someone was faster, since it was judged
    with pytest.raises(PermissionError, match="others may write to"):
        make_private_directory(tmp_path / "a")
