"""Blocks of vertices, whose neighbors are gathered at a time."""

import pytest

from deepsphere.ops.blockwise import GATHERED, count_blocks


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("n", [1, 12, 768, 3 * 2**18])
@pytest.mark.parametrize("numbers", [1, 1000, 2**20])
def test_blocks_fit(n, numbers, device):
    count, most = count_blocks(n, numbers, device), GATHERED["cpu" if device == "cpu" else "other"]
    assert 1 <= count <= n
    assert count == n or count & (count - 1) == 0
    assert -(-n // count) * numbers <= most or count == n
    # Half as many would not do.
    assert count == 1 or n * numbers > most * (count // 2)
