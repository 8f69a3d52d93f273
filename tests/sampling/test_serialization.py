"""Serialization of samplings; excessive sizes are rejected before allocating memory."""

import numpy as np
import pytest

from deepsphere.sampling import (
    CubedSphere,
    Equiangular,
    Fibonacci,
    GaussLegendre,
    Healpix,
    RandomUniform,
    ReducedGaussian,
    Scattered,
    deserialize,
    scattered,
    serialize,
)
from deepsphere.sampling.encoding import _write_planes, decode_pixels, encode_pixels


@pytest.mark.parametrize(
    "make",
    [
        lambda: Fibonacci(2**30),
        lambda: RandomUniform(2**30),
        lambda: CubedSphere(10**6),
        lambda: Equiangular(10**6, 10**6),
        lambda: GaussLegendre(10**6),
        lambda: ReducedGaussian(10**6),
        lambda: Healpix(2**29).pixels,
        lambda: Healpix(2**20).points,
        lambda: Healpix(2**20).areas,
        lambda: deserialize({"kind": "fibonacci", "n": 10**12}),
    ],
)
def test_too_many_points(make):
    with pytest.raises(ValueError, match="points, more than the maximum of 268,435,456"):
        make()


def test_large_ones_that_are_in_use():
    assert len(Healpix(4096)) == 201_326_592
    assert len(Healpix(2**29, [0, 5])) == len(Healpix(2**29, [0, 5]).points) == 2
    assert len(Equiangular(1801, 3600, "clenshaw-curtis")) == 6_483_600
    assert len(ReducedGaussian(8000)) < 2**28


def test_a_few_characters_of_pixels_take_no_memory():
    text = _write_planes(np.array([0, 2**40], dtype="<u8"))
    assert len(text) < 40
    with pytest.raises(ValueError, match=r"the list of encoded pixels has .* points, more than"):
        decode_pixels(text)
    config = {"kind": "healpix", "nside": 8, "pixels": encode_pixels([5, 767])}
    assert len(deserialize(config)) == 2
    config["pixels"] = encode_pixels([5, 768])
    with pytest.raises(ValueError, match="pixels go up to number 768, but there are only 768"):
        deserialize(config)
    whole = serialize(CubedSphere(2))
    with pytest.raises(ValueError, match="pixels go up to number 24, but there are only 24"):
        deserialize({"kind": "subset", "whole": whole, "indices": encode_pixels([3, 24])})


@pytest.mark.parametrize(
    ("config", "error", "match"),
    [
        (
            {"kind": "healpix"},
            ValueError,
            "has no key 'nside'; its keys are nside",
        ),
        ({"kind": "healpix", "nside": 4, "nest": 1}, ValueError, "has an unknown key 'nest'; its"),
        ({"kind": "equiangular", "nlon": 4}, ValueError, "has no key 'nlat'"),
        ({"kind": "subset", "whole": {"kind": "healpix"}}, ValueError, "has no key 'indices'"),
        ({"kind": "scattered"}, ValueError, "has no key 'points'"),
        ({"kind": "cube"}, ValueError, "unknown sampling 'cube'; known: .*cubed-sphere,"),
        ({"kind": ["healpix"]}, ValueError, r"unknown sampling \['healpix'\]"),
        ({}, ValueError, "unknown sampling None"),
        ("healpix", TypeError, "must be a dictionary, got 'healpix'"),
    ],
    ids=str,
)
def test_wrong_keys(config, error, match):
    with pytest.raises(error, match=match):
        deserialize(config)


def test_a_level_of_scattered_points_is_found_once(monkeypatch):
    calls, find = [], scattered.farthest_points

    def counted(points, count):
        calls.append(count)
        return find(points, count)

    monkeypatch.setattr(scattered, "farthest_points", counted)
    points = np.random.default_rng(3).standard_normal((40, 3))
    first, second = Scattered(points), Scattered(points)  # equal, as those of two layers are
    assert first.coarsen(2) == second.coarsen(2)
    first.membership(), second.membership()
    assert calls == [10, 3]
