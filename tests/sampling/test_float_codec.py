"""Numbers as text, and back, bit by bit."""

import json

import numpy as np
import pytest

from deepsphere.sampling.float_codec import decode_floats, encode_floats


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
def test_round_trip(values):
    text = json.loads(json.dumps(encode_floats(values)))
    expected = np.asarray(values, np.float64).ravel()
    assert decode_floats(text).tobytes() == expected.tobytes()  # the sign of 0 and NaN too
    assert decode_floats(text).flags.writeable


def test_size():
    random = np.random.default_rng(0).standard_normal(10_000)
    assert len(encode_floats(random)) <= 11 * 10_000
    assert len(encode_floats(np.repeat(random[:10], 1000))) < 1000


@pytest.mark.parametrize("text", ["", "no", "AAAA", encode_floats([0.5])[:-4], "é"])
def test_damaged(text):
    with pytest.raises(ValueError, match="encoded numbers are damaged"):
        decode_floats(text)
