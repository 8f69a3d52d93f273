"""Graphs are built once and kept in memory up to a limit; large ones also on disk."""

import logging
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from deepsphere import _cache as cache
from deepsphere._cache import DiskCache, MemoryCache, cache_directory, clear_cache, matrix_bytes
from deepsphere.graph import Graph, spectral
from deepsphere.graph import cached_laplacians as laplacians
from deepsphere.sampling import Healpix

MATRIX = csr_array(np.diag([1.0, 2.0, 3.0]))
KEY = {"sampling": {"kind": "healpix", "nside": 4}, "graph": {"neighbors": 8}}


def refuse():
    raise RuntimeError("built again")


class TestMemory:
    def texts(self, limit: int) -> MemoryCache[str]:
        return MemoryCache(size=len, limit=limit)

    def test_built_once(self):
        texts = self.texts(10)
        first = texts.get("a", lambda: "value")
        assert texts.get("a", refuse) is first

    def test_least_recently_used_goes_first(self):
        texts = self.texts(limit=9)
        for name in "abc":
            texts.get(name, lambda: "xxx")
        texts.get("a", refuse)  # now b is the oldest
        texts.get("d", lambda: "xxx")
        for name in "cad":
            texts.get(name, refuse)
        with pytest.raises(RuntimeError, match="built again"):
            texts.get("b", refuse)

    def test_several_go_for_a_large_one(self):
        texts = self.texts(limit=9)
        for name in "abc":
            texts.get(name, lambda: "xxx")
        texts.get("large", lambda: "x" * 6)
        texts.get("c", refuse)
        for name in "ab":
            with pytest.raises(RuntimeError, match="built again"):
                texts.get(name, refuse)

    def test_the_last_stays_however_large(self):
        texts = self.texts(limit=9)
        texts.get("a", lambda: "xxx")
        texts.get("huge", lambda: "x" * 100)
        texts.get("huge", refuse)
        with pytest.raises(RuntimeError, match="built again"):
            texts.get("a", refuse)

    def test_a_failed_build_leaves_nothing(self):
        texts = self.texts(9)
        with pytest.raises(RuntimeError, match="built again"):
            texts.get("a", refuse)
        assert texts.get("a", lambda: "now") == "now"

    def test_clear(self):
        texts = self.texts(9)
        texts.get("a", lambda: "old")
        texts.clear()
        assert texts.get("a", lambda: "new") == "new"

    def test_threads_build_once(self):
        texts, built = self.texts(100), []

        def build():
            time.sleep(0.02)
            built.append(1)
            return "x"

        threads = [threading.Thread(target=texts.get, args=("a", build)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(built) == 1

    def test_bytes(self):
        assert matrix_bytes(MATRIX) == 3 * 8 + MATRIX.indices.itemsize * (3 + 4)

    def test_graphs_are_shared(self):
        pixels = np.arange(64, 192)
        graph = spectral(Healpix(8, pixels), Graph(8, laplacian="normalized"))
        assert spectral(Healpix(level=3, pixels=pixels.tolist()), np.int32(8)) is graph
        others = [
            spectral(Healpix(8, pixels), Graph(9, laplacian="normalized")),
            spectral(Healpix(8, pixels), Graph(8, laplacian="combinatorial")),
            spectral(Healpix(8, pixels[:-1]), Graph(8, laplacian="normalized")),
        ]
        assert all(other is not graph for other in others)


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """Return a directory for graphs, with all graphs large enough to be kept there."""
    monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path / "made" / "when needed"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cache, "_told", set())
    monkeypatch.setattr(laplacians, "LARGE", 100)
    clear_cache()
    yield tmp_path / "made" / "when needed"
    clear_cache()


def same(first: laplacians.Spectral, second: laplacians.Spectral) -> bool:
    return (
        first.eigenvalue == second.eigenvalue
        and first.laplacian.dtype == second.laplacian.dtype
        and np.array_equal(first.laplacian.toarray(), second.laplacian.toarray())
    )


class TestGraphsOnDisk:
    def test_written_and_read(self, directory, monkeypatch):
        built = spectral(Healpix(4), Graph(8, laplacian="normalized"))
        (file,) = directory.iterdir()
        assert file.suffix == ".npz"
        clear_cache()
        monkeypatch.setattr(laplacians, "build_spectral", lambda *_: refuse())
        read = spectral(Healpix(4), Graph(8, laplacian="normalized"))
        assert read is not built
        assert same(read, built)
        assert isinstance(read, laplacians.Spectral)
        with pytest.raises(ValueError, match="read-only"):
            read.laplacian.data[0] = 1

    def test_every_request_has_its_file(self, directory):
        part = Healpix(8, np.arange(64, 192))
        for sampling in (Healpix(4), Healpix(8), part, Healpix(8, np.arange(64, 193))):
            for neighbors in (8, 9):
                for kind in ("normalized", "combinatorial"):
                    spectral(sampling, Graph(neighbors, laplacian=kind))
        assert len(list(directory.iterdir())) == 16

    def test_small_graphs_are_not_written(self, directory):
        spectral(Healpix(2), Graph(8, laplacian="normalized"))
        assert not directory.exists()

    def test_the_limit_is_above_nside_64(self):
        """A quick start leaves no files behind, since its graphs take only a second to build."""
        assert 12 * 64**2 < laplacians.LARGE <= 12 * 128**2

    @pytest.mark.parametrize(
        "damage",
        [
            lambda raw: raw[:0],
            lambda raw: b"no such format" + raw,
            lambda raw: raw[: len(raw) // 2],
            lambda raw: raw[:-1],
            lambda raw: raw[:2000] + bytes([raw[2000] ^ 255]) + raw[2001:],
        ],
        ids=["empty", "text", "half", "cut", "changed"],
    )
    def test_damaged(self, directory, monkeypatch, caplog, damage):
        built = spectral(Healpix(4), Graph(8, laplacian="normalized"))
        (file,) = directory.iterdir()
        file.write_bytes(damage(file.read_bytes()))
        clear_cache()
        with caplog.at_level(logging.WARNING):
            assert same(spectral(Healpix(4), Graph(8, laplacian="normalized")), built)
        assert f"rebuilding the damaged cache file {file}" in caplog.text
        # The new file is whole.
        clear_cache()
        monkeypatch.setattr(laplacians, "build_spectral", lambda *_: refuse())
        assert same(spectral(Healpix(4), Graph(8, laplacian="normalized")), built)
        assert list(directory.iterdir()) == [file]

    def test_a_graph_of_another_sampling(self, directory, caplog):
        """A file records its sampling and its number of rows."""
        built = spectral(Healpix(4), Graph(8, laplacian="normalized"))
        (file,) = directory.iterdir()
        raw = file.read_bytes()
        file.unlink()
        spectral(Healpix(4), Graph(9, laplacian="normalized"))
        (other,) = directory.iterdir()
        other.replace(file)
        clear_cache()
        with caplog.at_level(logging.WARNING):
            assert same(spectral(Healpix(4), Graph(8, laplacian="normalized")), built)
        assert f"rebuilding the damaged cache file {file} (it was made for {{" in caplog.text
        assert file.read_bytes() == raw

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"indices": lambda a: np.where(np.arange(len(a)) == 5, 2**30, a)}, "ind"),
            ({"indices": lambda a: np.where(np.arange(len(a)) == 5, -1, a)}, "ind"),
            ({"indices": lambda a: a[::-1].copy()}, "its indices are not in order"),
            ({"indices": lambda a: a.astype(float)}, "its arrays are of float64, float64, int32"),
            ({"indptr": lambda a: a + (np.arange(len(a)) == 7) * 2**30}, ""),
            ({"indptr": lambda a: a[:-1]}, ""),
            ({"data": lambda a: np.where(np.arange(len(a)) == 5, np.nan, a)}, "not all finite"),
            ({"data": lambda a: np.where(np.arange(len(a)) == 5, np.inf, a)}, "not all finite"),
            ({"data": lambda a: a[:-1]}, ""),
            ({"number": lambda a: a * np.nan}, "not all finite"),
            ({"number": lambda a: a * np.inf}, "not all finite"),
            ({"shape": lambda a: a + 1}, "shape (193, 193) instead of (192, 192)"),
            ({"shape": lambda a: np.array([10**12, 192])}, "instead of (192, 192)"),
            (
                {
                    "shape": lambda a: np.array([2, 2]),
                    "data": lambda a: a[:2],
                    "indices": lambda a: a[:2],
                    "indptr": lambda a: np.arange(3),
                },
                "shape (2, 2) instead of (192, 192)",
            ),
            ({"key": lambda a: np.array("")}, "it was made for"),
            ({"data": lambda a: np.array([None])}, "allow_pickle"),
        ],
        ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
    )
    def test_contents_that_cannot_be(self, directory, caplog, change, message):
        """Complete files with correct checksums but invalid matrices."""
        built = spectral(Healpix(4), Graph(8, laplacian="normalized"))
        (file,) = directory.iterdir()
        with np.load(file) as arrays:
            changed = {name: change.get(name, np.array)(arrays[name]) for name in arrays.files}
        np.savez(file, **changed, allow_pickle=True)
        clear_cache()
        with caplog.at_level(logging.WARNING):
            assert same(spectral(Healpix(4), Graph(8, laplacian="normalized")), built)
        (record,) = caplog.records
        assert f"rebuilding the damaged cache file {file} (" in record.getMessage()
        assert message in record.getMessage()
        caplog.clear()
        clear_cache()
        assert same(spectral(Healpix(4), Graph(8, laplacian="normalized")), built)
        assert not caplog.records

    def test_places_that_others_may_write_to(self, directory, caplog, tmp_path):
        built = spectral(Healpix(4), Graph(8, laplacian="normalized"))
        (file,) = directory.iterdir()
        file.chmod(0o666)
        clear_cache()
        with caplog.at_level(logging.WARNING):
            assert same(spectral(Healpix(4), Graph(8, laplacian="normalized")), built)
        assert f"others may write to {file}" in caplog.text
        assert not file.stat().st_mode & 0o022  # a new one
        directory.chmod(0o777)
        caplog.clear()
        for neighbors in (8, 9):
            clear_cache()
            with caplog.at_level(logging.WARNING):
                spectral(Healpix(4), Graph(neighbors, laplacian="normalized"))
        assert f"not using the cache directory {directory}: others may write to" in caplog.text
        assert len(caplog.records) == 1  # told once
        assert list(directory.iterdir()) == [file]
        assert len(list((tmp_path / "home" / "deepsphere").iterdir())) == 2  # the default instead

    @pytest.mark.parametrize("word", ["off", "OFF"])
    def test_off(self, directory, monkeypatch, word):
        monkeypatch.setenv("DEEPSPHERE_CACHE", word)
        monkeypatch.chdir(directory.parents[1])
        spectral(Healpix(4), Graph(8, laplacian="normalized"))
        assert list(directory.parents[1].iterdir()) == []


class TestDisk:
    def test_any_byte_may_be_damaged(self, tmp_path, monkeypatch, caplog):
        """With any byte damaged, the file is read correctly or rebuilt, without an error."""
        monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path))
        disk = DiskCache(1)
        disk.get(KEY, lambda: (MATRIX, 2.5))
        (file,) = tmp_path.iterdir()
        raw = file.read_bytes()
        caplog.set_level(logging.CRITICAL)
        for i in range(len(raw)):
            file.write_bytes(raw[:i] + bytes([raw[i] ^ 0x81]) + raw[i + 1 :])
            matrix, number = disk.get(KEY, lambda: (MATRIX, 2.5))
            assert number == 2.5
            np.testing.assert_array_equal(matrix.toarray(), MATRIX.toarray())

    def test_another_version_reads_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path))
        DiskCache(1).get(KEY, lambda: (MATRIX, 2.5))
        assert DiskCache(1).get(KEY, refuse)[1] == 2.5
        assert DiskCache(2).get(KEY, lambda: (MATRIX, 7.0))[1] == 7.0

    @pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
    def test_nowhere_to_write(self, tmp_path, monkeypatch, caplog, name):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path / name))
        with caplog.at_level(logging.WARNING):
            assert DiskCache(1).get(KEY, lambda: (MATRIX, 2.5)) == (MATRIX, 2.5)
        assert "could not write a graph to" in caplog.text
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_interrupted_writing(self, tmp_path, monkeypatch, caplog):
        """Partial files are never visible, and nothing is left behind."""
        monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path))
        seen = []

        def fill_the_disk(path, **_):
            Path(path).write_bytes(b"the first half")
            seen.extend(tmp_path.glob("graph-*"))
            raise OSError("no space left")

        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
            patch.setattr(cache.np, "savez", fill_the_disk)
            assert DiskCache(1).get(KEY, lambda: (MATRIX, 2.5)) == (MATRIX, 2.5)
        assert "no space left" in caplog.text
        assert seen == []
        assert list(tmp_path.iterdir()) == []

    def test_a_failed_build_is_the_callers(self, tmp_path, monkeypatch):
        monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path))
        with pytest.raises(RuntimeError, match="built again"):
            DiskCache(1).get(KEY, refuse)
        assert list(tmp_path.iterdir()) == []


class TestDirectory:
    def test_named(self, monkeypatch):
        monkeypatch.setenv("DEEPSPHERE_CACHE", "~/graphs")
        assert cache_directory() == Path.home() / "graphs"

    def test_default(self, monkeypatch):
        monkeypatch.delenv("DEEPSPHERE_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
        assert cache_directory() == Path("/some/where/deepsphere")
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert cache_directory() == Path.home() / ".cache" / "deepsphere"

    def test_no_home(self, monkeypatch, caplog):
        monkeypatch.setattr(cache, "_told", set())
        monkeypatch.setenv("DEEPSPHERE_CACHE", "~no_such_user_here/graphs")
        monkeypatch.setenv("XDG_CACHE_HOME", "~no_such_user_here")
        with caplog.at_level(logging.WARNING):
            assert cache_directory() is None
            assert DiskCache(1).get(KEY, lambda: (MATRIX, 2.5)) == (MATRIX, 2.5)
        assert "graphs are not cached on disk" in caplog.text
