"""Text encoding of numbers and footprints: exact, short, and checked for damage."""

import base64
import json
import zlib

import healpy as hp
import numpy as np
import pytest

from deepsphere.sampling import Healpix, deserialize, serialize
from deepsphere.sampling.encoding import decode_floats, decode_pixels, encode_floats, encode_pixels


def packed(steps: list[int]) -> str:
    """Write lengths of gaps and runs as the codec does, whatever they are."""
    planes = np.array(steps, "<u8").view(np.uint8).reshape(-1, 8).T
    return base64.b64encode(zlib.compress(planes.tobytes())).decode()


@pytest.mark.parametrize(
    "pixels",
    [
        [0],
        [7],
        [0, 1, 2, 3],
        [4, 5, 6, 9],
        [0, 2, 4, 6],
        [12 * 4**29 - 1],
        [0, 1, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 12 * 4**29 - 2, 12 * 4**29 - 1],
    ],
)
def test_round_trip(pixels):
    text = encode_pixels(pixels)
    decoded = decode_pixels(text)
    assert decoded.tolist() == pixels
    assert decoded.dtype == np.int64
    assert text.isascii()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
def test_random_round_trip(seed, share):
    pixels = np.flatnonzero(np.random.default_rng(seed).random(20_000) < share)
    np.testing.assert_array_equal(decode_pixels(encode_pixels(pixels)), pixels)


def test_random_round_trip_of_large_numbers():
    pixels = np.unique(np.random.default_rng(0).integers(0, 12 * 4**29, 5_000))
    np.testing.assert_array_equal(decode_pixels(encode_pixels(pixels)), pixels)


@pytest.mark.parametrize("pixels", [[], [3, 2], [1, 1], [-1, 0]])
def test_no_footprint(pixels):
    with pytest.raises(ValueError, match="strictly increasing"):
        encode_pixels(pixels)


def test_every_cut_is_noticed():
    text = encode_pixels(np.arange(0, 3000, 7))
    for length in range(len(text)):
        with pytest.raises(ValueError, match="damaged"):
            decode_pixels(text[:length])


def test_every_changed_character_is_noticed():
    pixels = np.arange(0, 3000, 7)
    text = encode_pixels(pixels)
    for i, letter in enumerate(text):
        for other in "A!é":
            if other == letter:
                continue
            damaged = text[:i] + other + text[i + 1 :]
            try:
                decoded = decode_pixels(damaged)
            except ValueError as error:
                assert "damaged" in str(error)  # noqa: PT017
            else:  # a bit that base 64 or deflate do not use
                np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize(
    "steps",
    [
        [],  # nothing
        [5],  # a run without an end
        [5, 0],  # an empty run
        [5, 2, 0, 1],  # two runs that touch are one
        [5, 2**63],  # negative as int64
        [2**64 - 1, 3],
    ],
)
def test_impossible_runs_are_noticed(steps):
    with pytest.raises(ValueError, match="damaged"):
        decode_pixels(packed(steps))


def test_the_packing_of_these_tests_is_that_of_the_codec():
    """Otherwise the test above would pass for the wrong reason."""
    assert decode_pixels(packed([5, 2, 1, 1])).tolist() == [5, 6, 8]


def test_size_of_a_survey_mask():
    """12 % of the sphere at nside 1024 with 20 000 discs around stars cut out: 48 kB."""
    nside = 1024
    colatitude, longitude = hp.pix2ang(nside, np.arange(12 * nside**2), nest=True)
    mask = (np.abs(np.pi / 2 - colatitude) > np.radians(60)) & (longitude < np.radians(320))
    rng = np.random.default_rng(0)
    stars = rng.standard_normal((20_000, 3))
    for star, radius in zip(stars, rng.uniform(0.001, 0.01, 20_000), strict=True):
        mask[hp.query_disc(nside, star, radius, nest=True)] = False
    pixels = np.flatnonzero(mask)
    assert 0.9e6 < len(pixels) < 1.6e6
    check_size(nside, pixels, at_most=100_000)


def test_size_of_random_pixels():
    """A million pixels in random order, the worst case, take 1.1 MB."""
    nside = 1024
    pixels = np.sort(
        np.random.default_rng(0).choice(12 * nside**2, 10**6, replace=False, shuffle=False)
    )
    check_size(nside, pixels, at_most=1_200_000)


def check_size(nside: int, pixels: np.ndarray, at_most: int) -> None:
    sampling = Healpix(nside, pixels)
    text = json.dumps(serialize(sampling))
    print(f"{len(pixels)} pixels: {len(text)} characters")
    assert len(text) < at_most
    restored = deserialize(json.loads(text))
    assert restored == sampling
    np.testing.assert_array_equal(restored.pixels, pixels)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [0.1],
        [-0.0, np.inf, -np.inf, np.nan, 5e-324, 1.7976931348623157e308],
        np.random.default_rng(0).standard_normal(1000),
        np.random.default_rng(0).standard_normal((50, 3)).T,
    ],
)
def test_round_trip_of_floats(values):
    text = json.loads(json.dumps(encode_floats(values)))
    expected = np.asarray(values, np.float64).ravel()
    assert decode_floats(text).tobytes() == expected.tobytes()  # the sign of 0 and NaN too
    assert decode_floats(text).flags.writeable


def test_size_of_floats():
    random = np.random.default_rng(0).standard_normal(10_000)
    assert len(encode_floats(random)) <= 11 * 10_000
    assert len(encode_floats(np.repeat(random[:10], 1000))) < 1000


@pytest.mark.parametrize("text", ["", "no", "AAAA", encode_floats([0.5])[:-4], "é"])
def test_damaged_floats(text):
    with pytest.raises(ValueError, match="encoded numbers are damaged"):
        decode_floats(text)
