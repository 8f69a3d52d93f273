"""PyTorch's pooling and interpolation."""

import pytest

torch = pytest.importorskip("torch")

import deepsphere.torch as ds  # noqa: E402
from torch_pairs import SPHERE, data  # noqa: E402


def test_half_precision_and_back_keeps_the_low_pass():
    module = ds.SmoothPool(sampling=SPHERE)
    x = torch.tensor(data(SPHERE))
    expected = module(x)
    assert torch.equal(module.bfloat16().float()(x), expected)
    exact = module.double()(x.double())
    torch.testing.assert_close(exact.float(), expected)
    single = ds.SmoothPool(sampling=SPHERE).low_pass.coefficients.double()
    assert not torch.equal(module.low_pass.coefficients, single)
